import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { listSegments, readLog, readShipped, STAMP_ZERO } from "../../../lib/backup/journal.ts";
import { restore } from "../../../lib/backup/restore.ts";
import { retain } from "../../../lib/backup/retain.ts";
import { shipLog } from "../../../lib/backup/ship.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import { logState } from "../../../lib/backup/state.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { KvPort } from "../../../lib/kv/store.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../../lib/time.ts";
import {
  type BackupShop,
  openBackupShop,
  openTwin,
  sellTo,
  shopBooksOf,
} from "../../support/processes/backup_shop.ts";
import { newSeed, seededRandom } from "../../support/store/faulty_kv.ts";

async function stampsIn(kv: KvPort): Promise<string[]> {
  const stamps: string[] = [];
  for await (const commits of readLog(kv, STAMP_ZERO)) {
    stamps.push(...commits.map(({ stamp }) => stamp));
  }
  return stamps;
}

async function shippedBy({ services }: BackupShop): Promise<string[]> {
  const { epoch } = await logState(services);
  const commits = await Array.fromAsync(readShipped(services, epoch, STAMP_ZERO));
  return commits.map(({ stamp }) => stamp);
}

Deno.test("every commit is shipped once, and shipping nothing stores nothing", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 50);

  const first = await shipLog(shop.services);
  const again = await shipLog(shop.services);
  await sellTo(shop, 1, 100);
  const more = await shipLog(shop.services);

  equal(first.objects, 1);
  deepEqual([again.commits, again.objects], [0, 0]);
  deepEqual([more.commits, more.objects], [1, 1]);
  deepEqual(await shippedBy(shop), await stampsIn(shop.kv));
});

Deno.test("two who ship at once beside a writer, and requests that fail, leave no gap", async () => {
  const random = seededRandom(newSeed("two shippers"));
  await using shop = await openBackupShop();
  await using other = await openTwin(shop);
  // Another instance of the same program: the same store, its own requests.
  const second = { ...other.services, kv: shop.kv, store: shop.services.store };
  const faults = ["fail", "lose", "cut"] as const;
  const fault = () => random() < 0.2 ? faults[Math.floor(random() * 3)]! : "ok";
  shop.faults.fault = fault;
  other.faults.fault = fault;
  let isWriting = true;
  const writer = (async () => {
    for (let i = 0; isWriting; i++) await sellTo(shop, 3, 10 * i);
  })();
  let failed = 0;
  for (let i = 0; i < 60; i++) {
    const ended = await Promise.allSettled([shipLog(shop.services), shipLog(second)]);
    failed += ended.filter(({ status }) => status === "rejected").length;
  }
  isWriting = false;
  await writer;
  shop.faults.fault = () => "ok";
  await shipLog(shop.services);

  ok(failed > 0);
  deepEqual(await shippedBy(shop), await stampsIn(shop.kv));
});

Deno.test("log leaves the store two days after it was made, and never unshipped", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 30);
  const old = await stampsIn(shop.kv);
  shop.advance(2 * DAY_MS + 1);
  shop.faults.fault = ({ does }) => does === "put" ? "fail" : "ok";
  await rejects(shipLog(shop.services));
  const unshipped = await stampsIn(shop.kv);
  shop.faults.fault = () => "ok";
  await sellTo(shop, 2, 100);

  const report = await shipLog(shop.services);

  deepEqual(unshipped, old);
  equal(report.pruned, old.length);
  deepEqual((await stampsIn(shop.kv)).filter((stamp) => old.includes(stamp)), []);
  equal((await stampsIn(shop.kv)).length, report.commits - old.length);
  deepEqual((await shippedBy(shop)).slice(0, old.length), old);
  for await (const { key } of shop.kv.list({ prefix: ["log"] })) {
    ok(!old.includes(String(key[2])), "a part of a pruned entry is left");
  }
});

Deno.test("log that a backup under way needs stays in the store", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 10);
  await takeBackup(shop.services, { budgetMs: 0 });
  await sellTo(shop, 5, 100);
  shop.advance(2 * DAY_MS - HOUR_MS);
  await shipLog(shop.services);
  shop.advance(HOUR_MS - MINUTE_MS);
  await shipLog(shop.services);

  const result = await takeBackup(shop.services);

  equal(result.status, "taken");
  await using twin = await openTwin(shop);
  if (result.status === "taken") await restore(twin.services, result.manifest.id);
  deepEqual(await shopBooksOf(twin.kv), await shopBooksOf(shop.kv));
});

Deno.test("log that waits for a day is an alarm; after a week the chain is broken, and says so", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  await shipLog(shop.services);
  const { epoch } = await logState(shop.services);
  await sellTo(shop, 3, 100);
  shop.advance(DAY_MS + MINUTE_MS);

  const report = await shipLog(shop.services);

  equal(report.lagMs, DAY_MS + MINUTE_MS);
  deepEqual(shop.alarms, ["log.unshipped"]);

  shop.advance(7 * DAY_MS);
  await shipLog(shop.services);

  deepEqual(shop.alarms, ["log.unshipped", "log.broken"]);
  ok((await logState(shop.services)).epoch !== epoch);
});

Deno.test("a segment that is gone from the storage is shipped again", async () => {
  await using shop = await openBackupShop();
  for (let i = 0; i < 4; i++) {
    await sellTo(shop, 3, 10 * i);
    await shipLog(shop.services);
  }
  const { epoch } = await logState(shop.services);
  const segments = await listSegments(shop.storage, epoch);
  await shop.storage.delete(segments.at(-1)!.name);
  await sellTo(shop, 3, 100);

  await shipLog(shop.services);

  deepEqual(shop.alarms, ["log.segment_missing"]);
  deepEqual(await shippedBy(shop), await stampsIn(shop.kv));
});

Deno.test("a gap in the log is refused by name, not restored over", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  await takeBackup(shop.services);
  for (let i = 1; i < 5; i++) {
    await sellTo(shop, 3, 10 * i);
    await shipLog(shop.services);
  }
  const { epoch } = await logState(shop.services);
  const segments = await listSegments(shop.storage, epoch);
  await shop.storage.delete(segments[2]!.name);
  await using twin = await openTwin(shop);

  await rejects(restore(twin.services, "latest"), {
    message: `Cannot use ${segments[3]!.name}: the log between ${
      segments[1]!.to
    } and it is missing`,
  });
  // As far as there is log, it can be had.
  await using another = await openTwin(shop);
  equal((await restore(another.services, segments[1]!.to)).findings, 0);
});

Deno.test("log from before the oldest kept backup is deleted, the rest stays", async () => {
  await using shop = await openBackupShop({
    retention: { dailies: 2, weeklies: 0, monthlies: 0 },
  });
  for (let day = 0; day < 5; day++) {
    await sellTo(shop, 3, 10 * day);
    await shipLog(shop.services);
    await takeBackup(shop.services);
    shop.advance(HOUR_MS);
    await sellTo(shop, 3, 1_000 + 10 * day);
    await shipLog(shop.services);
    shop.advance(DAY_MS - HOUR_MS);
  }
  const moment = new Date(shop.services.clock() - DAY_MS - 12 * HOUR_MS).toISOString();
  const { epoch } = await logState(shop.services);
  const before = await listSegments(shop.storage, epoch);

  const report = await retain(shop.services);

  equal(report.kept.length, 2);
  equal(report.deleted.length, 3);
  ok(report.segments > 0 && report.segments < before.length);
  await using twin = await openTwin(shop, { clock: shop.services.clock });
  equal((await restore(twin.services, moment)).backupId, report.kept.at(-1));
  await using latest = await openTwin(shop, { clock: shop.services.clock });
  await restore(latest.services, "latest");
  deepEqual(await shopBooksOf(latest.kv), await shopBooksOf(shop.kv));
  deepEqual((await shipLog(shop.services)).commits > 0, true);
  deepEqual(shop.alarms, []);
});

Deno.test("a restored store is another epoch: its log is not taken for the old one's", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  await takeBackup(shop.services);
  await shipLog(shop.services);
  const { epoch } = await logState(shop.services);
  await using twin = await openTwin(shop, { clock: shop.services.clock });
  await restore(twin.services, "latest");
  await sellTo(twin, 3, 100);

  await shipLog(twin.services);

  ok((await logState(twin.services)).epoch !== epoch);
  equal(await twin.services.store.get(keys.restoring), null);
});
