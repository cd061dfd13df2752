/** Restores that are stopped anywhere, and go on. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { listBackups } from "../../../lib/backup/manifest.ts";
import { isRestoring, restore } from "../../../lib/backup/restore.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import {
  openBackupShop,
  openTwin,
  sellTo,
  shopBooksOf,
} from "../../support/processes/backup_shop.ts";

Deno.test("a restore that is stopped after any of its writes goes on, and nothing serves before", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 400);
  await takeBackup(shop.services, { budgetMs: 0 });
  await sellTo(shop, 100, 10_000);
  const result = await takeBackup(shop.services);
  if (result.status !== "taken") throw new Error("The backup was not finished");
  const { id } = result.manifest;
  await using twin = await openTwin(shop);

  let stops = 0;
  for (let steps = 1; steps < 1_000; steps++) {
    const stop = new AbortController();
    let left = 3;
    try {
      await restore(twin.services, id, {
        signal: stop.signal,
        onProgress: () => --left < 0 && stop.abort(),
      });
      break;
    } catch (error) {
      if (!stop.signal.aborted) throw error;
      stops++;
      equal(await isRestoring(twin.services), true);
      // Another target is not taken for this one.
      await rejects(restore(twin.services, "latest"), { message: /is unfinished/ });
    }
  }

  ok(stops > 2, `${stops}`);
  equal(await isRestoring(twin.services), false);
  deepEqual(await shopBooksOf(twin.kv), await shopBooksOf(shop.kv));
});

Deno.test("a store that is not empty is refused, or backed up first", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 10);
  const first = await takeBackup(shop.services);
  if (first.status !== "taken") throw new Error("The backup was not finished");
  const old = await shopBooksOf(shop.kv);
  shop.advance(60_000);
  await sellTo(shop, 10, 100);
  const present = await shopBooksOf(shop.kv);
  const { id } = first.manifest;

  await rejects(restore(shop.services, id), { message: /^The store is not empty/ });
  deepEqual(await shopBooksOf(shop.kv), present);
  await restore(shop.services, id, { overwrite: true });

  deepEqual(await shopBooksOf(shop.kv), old);
  const [safety] = await listBackups(shop.services);
  await using twin = await openTwin(shop);
  await restore(twin.services, safety!.id);
  deepEqual(await shopBooksOf(twin.kv), present);
  // No receipt answers for an entry that is gone.
  const receipts = await Array.fromAsync(shop.kv.list({ prefix: ["op"] }));
  ok(receipts.length <= 2, `${receipts.length}`);
});

Deno.test("a damaged backup does not cost the store that it was to replace", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 10);
  const first = await takeBackup(shop.services);
  if (first.status !== "taken") throw new Error("The backup was not finished");
  const books = await shopBooksOf(shop.kv);
  await shop.storage.delete(first.manifest.parts[0]!.name);

  await rejects(restore(shop.services, first.manifest.id, { overwrite: true }), {
    message: /is missing/,
  });

  deepEqual(await shopBooksOf(shop.kv), books);
  equal(await isRestoring(shop.services), false);
});

Deno.test("two restores into one store do not mix", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 300);
  const result = await takeBackup(shop.services);
  if (result.status !== "taken") throw new Error("The backup was not finished");
  const { id } = result.manifest;
  await using twin = await openTwin(shop);

  const ended = await Promise.allSettled([
    restore(twin.services, id),
    restore(twin.services, id),
  ]);
  const isDone = ended.some(({ status }) => status === "fulfilled");
  if (!isDone) await restore(twin.services, id);

  deepEqual(await shopBooksOf(twin.kv), await shopBooksOf(shop.kv));
});
