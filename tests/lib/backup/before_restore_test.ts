/**
 * The newest backup is not always what somebody wants back: it may be of what a
 * restore was to replace, or of the empty store that a server began after the
 * loss of the one before.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { listBackups } from "../../../lib/backup/manifest.ts";
import { restore } from "../../../lib/backup/restore.ts";
import { retain } from "../../../lib/backup/retain.ts";
import { shipLog } from "../../../lib/backup/ship.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import { breakLog, logState } from "../../../lib/backup/state.ts";
import { DAY_MS, HOUR_MS } from "../../../lib/time.ts";
import { TEST_START } from "../../support/program/app.ts";
import {
  type BackupShop,
  openBackupShop,
  openTwin,
  sellTo,
  shopBooksOf,
} from "../../support/processes/backup_shop.ts";
import { expectSameBooks } from "../../support/store/same_books.ts";

async function takeOne({ services }: BackupShop): Promise<string> {
  const result = await takeBackup(services);
  ok(result.status === "taken");
  return result.manifest.id;
}

Deno.test("restore() of latest, a moment or a commit passes over what an earlier restore replaced", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 20);
  const id = await takeOne(shop);
  const { stamp } = await shipLog(shop.services);
  const wanted = await shopBooksOf(shop.kv);
  // A new store was served for a while before somebody thought of the backup.
  await using other = await openTwin(shop, { clock: () => shop.services.clock() + DAY_MS });
  await sellTo(other, 2);
  const replaced = await shopBooksOf(other.kv);

  const moment = new Date(other.services.clock()).toISOString();
  for (const target of ["latest", "latest", moment, stamp]) {
    const report = await restore(other.services, target, { overwrite: true });
    shop.advance(HOUR_MS);
    equal(report.backupId, id);
    expectSameBooks(await shopBooksOf(other.kv), wanted);
  }

  const before = (await listBackups(other.services)).filter((backup) => backup.isBeforeRestore);
  equal(before.length, 4);
  await restore(other.services, before.map(({ id }) => id).sort()[0]!, { overwrite: true });
  expectSameBooks(await shopBooksOf(other.kv), replaced);
});

Deno.test("restore() of latest asks which store is meant once another has begun anew beside the lost one", async () => {
  await using lost = await openBackupShop();
  await sellTo(lost, 20);
  await takeOne(lost);
  lost.advance(HOUR_MS);
  await sellTo(lost, 5, 100);
  await shipLog(lost.services);
  const books = await shopBooksOf(lost.kv);
  // The server finds no store, begins one, and backs that up as well.
  let offset = 2 * HOUR_MS;
  const clock = () => TEST_START + offset;
  await using begun = await openTwin(lost, { clock });
  await sellTo(begun, 2);
  const first = await takeOne(begun);
  offset += HOUR_MS;
  await sellTo(begun, 2, 100);
  const newest = await takeOne(begun);
  await shipLog(begun.services);
  await using saved = await openTwin(lost, { clock });

  const refusal = await restore(saved.services, "latest").catch(String);

  const choice = /Restore (\S+) for the earlier store .* or (\S+) for the later one$/.exec(
    String(refusal),
  );
  equal(choice?.[2], newest);
  ok(first !== newest);
  await restore(saved.services, choice[1]!);
  expectSameBooks(await shopBooksOf(saved.kv), books);
  // What it was restored from is known: from now on it is clear.
  offset += HOUR_MS;
  await sellTo(saved, 2, 1_000);
  await takeOne(saved);
  await using again = await openTwin(lost, { clock });
  await restore(again.services, "latest");
  expectSameBooks(await shopBooksOf(again.kv), await shopBooksOf(saved.kv));
});

Deno.test("restore() of latest is clear where the log of one store was broken, or no other was there", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 5);
  await takeOne(shop);
  shop.advance(HOUR_MS);
  await breakLog(shop.services, (await logState(shop.services)).epoch);
  await takeOne(shop);
  await sellTo(shop, 5, 100);
  await shipLog(shop.services);
  await using twin = await openTwin(shop, { clock: shop.services.clock });

  await restore(twin.services, "latest");

  expectSameBooks(await shopBooksOf(twin.kv), await shopBooksOf(shop.kv));
});

Deno.test("retain() keeps what a restore replaced for 30 days, and the day's own backup beside it", async () => {
  await using shop = await openBackupShop({ retention: { dailies: 2, weeklies: 0, monthlies: 0 } });
  await sellTo(shop, 5);
  const first = await takeOne(shop);
  shop.advance(HOUR_MS);
  await restore(shop.services, first, { overwrite: true });
  const replaced = (await listBackups(shop.services))[0]!.id;

  const { deleted } = await retain(shop.services);
  shop.advance(29 * DAY_MS);
  const second = await takeOne(shop);
  const early = await retain(shop.services);
  shop.advance(2 * DAY_MS);
  const late = await retain(shop.services);

  deepEqual(deleted, []);
  deepEqual(early.kept, [second, replaced, first]);
  deepEqual(late.deleted, [replaced]);
});

Deno.test("takeBackup() that goes on with a run counts it as what it is asked for now", async () => {
  for (const isBeforeRestore of [true, false]) {
    await using shop = await openBackupShop();
    await sellTo(shop, 5);
    const begun = await takeBackup(shop.services, {
      budgetMs: 0,
      isBeforeRestore: !isBeforeRestore,
    });

    const taken = await takeBackup(shop.services, { isBeforeRestore });

    ok(begun.status === "unfinished" && taken.status === "taken");
    equal(taken.manifest.id, begun.id);
    equal(taken.manifest.isBeforeRestore ?? false, isBeforeRestore);
  }
});
