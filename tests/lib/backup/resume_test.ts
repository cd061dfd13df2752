/**
 * Backups and restores that are stopped anywhere, and go on.
 *
 * This file is also the program that is killed:
 * `resume_test.ts take|restore <store> <folder> [backup]`.
 */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import {
  isRestoring,
  listBackups,
  type Manifest,
  restore,
  takeBackup,
  verifyBackup,
} from "../../../lib/backup/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import {
  type BackupShop,
  openBackupShop,
  openTwin,
  sellTo,
  shopBooksOf,
} from "../../support/backup_shop.ts";
import { newSeed, seededRandom } from "../../support/faulty_kv.ts";

const KILLS = 5;
const LEADS = 4_000;
/** Short slices, as on an instance that is stopped often. */
const SLICE_MS = 60;

async function takeInSlices(shop: BackupShop): Promise<Manifest> {
  for (;;) {
    const result = await takeBackup(shop.services, { budgetMs: SLICE_MS });
    if (result.status === "taken") return result.manifest;
  }
}

if (import.meta.main && Deno.args.length > 2) {
  const [does, kvPath, folder, id] = Deno.args as [string, string, string, string];
  await using shop = await openBackupShop({ kvPath, folder, clock: Date.now });
  console.log("started");
  if (does === "take") await takeInSlices(shop);
  else await restore(shop.services, id);
}

/** Runs the program and kills it after `ms`. @returns Whether it was killed before its end. */
async function runAndKill(args: string[], ms: number): Promise<boolean> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-lock", "--allow-net", "--allow-env", "--allow-read"],
      ...["--allow-write", "--allow-sys", new URL(import.meta.url).pathname, ...args],
    ],
    cwd: new URL("../../../", import.meta.url).pathname,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  reader.releaseLock();
  const timer = setTimeout(() => child.kill("SIGKILL"), ms);
  await child.stdout.cancel();
  const { success, signal } = await child.status;
  clearTimeout(timer);
  ok(success || signal === "SIGKILL", "The child failed by itself");
  return !success;
}

Deno.test(`a backup killed ${KILLS} times and a restore killed ${KILLS} times come to the same state`, async () => {
  const random = seededRandom(newSeed("kills"));
  const folder = await Deno.makeTempDir();
  const kvPath = `${folder}/shop.kv`;
  const storage = `${folder}/objects`;
  const twinPath = `${folder}/twin.kv`;
  await Deno.mkdir(storage);
  const options = { kvPath, folder: storage, clock: Date.now };
  {
    await using shop = await openBackupShop(options);
    await sellTo(shop, LEADS);
  }

  let kills = 0;
  let longest = 1_000;
  const phases = new Set<string>();
  while (kills < KILLS) {
    const isKilled = await runAndKill(["take", kvPath, storage], random() * longest);
    await using shop = await openBackupShop(options);
    for (const { id } of await listBackups(shop.services)) await verifyBackup(shop.services, id);
    const run = await shop.services.store.get(keys.backupRun);
    if (run) phases.add(`${run.phase} ${run.parts}`);
    if (isKilled) kills++;
    else longest *= 0.7;
    // Something changes between the runs, up to the state that the backup is of.
    if (!run?.v1) await sellTo(shop, 5, 1_000_000 + 10 * kills + Math.floor(random() * 1e9));
  }
  await using shop = await openBackupShop(options);
  const books = await shopBooksOf(shop.kv);
  const manifest = await takeInSlices(shop);
  const backups = await listBackups(shop.services);
  equal(backups[0]?.id, manifest.id);
  const names = (await shop.storage.names(`backup/${manifest.id}/`)).length;
  equal(names, manifest.parts.length + 1);
  equal(manifest.unexplained, 0);

  let restoreKills = 0;
  longest = 800;
  while (restoreKills < KILLS) {
    const isKilled = await runAndKill(
      ["restore", twinPath, storage, manifest.id],
      random() * longest,
    );
    if (isKilled) {
      restoreKills++;
      continue;
    }
    longest *= 0.6;
    await Deno.remove(twinPath);
    for (const suffix of ["-wal", "-shm"]) {
      await Deno.remove(twinPath + suffix).catch(() => {});
    }
  }
  await using twin = await openBackupShop({ ...options, kvPath: twinPath });
  const wasUnderWay = await isRestoring(twin.services);
  const report = await restore(twin.services, manifest.id);

  console.log(`backup killed in ${[...phases].join(", ")}; restore under way: ${wasUnderWay}`);
  equal(report.isExact, true);
  equal(report.findings, 0);
  equal(await isRestoring(twin.services), false);
  deepEqual(await shopBooksOf(twin.kv), books);
  await Deno.remove(folder, { recursive: true });
});

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
      await rejects(restore(twin.services, "latest"), { message: /was not finished/ });
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
