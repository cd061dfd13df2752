/**
 * Backups are taken when they are due, by whoever can, to their end; and what has
 * lost its lease writes nothing more.
 */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { type Job, runJob } from "../../../cron/_job.ts";
import { jobsOf } from "../../../cron/mod.ts";
import { verifyBackup } from "../../../lib/backup/check.ts";
import { drill } from "../../../lib/backup/drill.ts";
import { listBackups } from "../../../lib/backup/manifest.ts";
import {
  type BackupNeed,
  type DrillNeed,
  isBackupDue,
  isBackupJobDue,
  isDrillDue,
  readBackupOverview,
  requestJob,
  runBackup,
} from "../../../lib/backup/mod.ts";
import { fencedBy } from "../../../lib/backup/needs.ts";
import { restore } from "../../../lib/backup/restore.ts";
import { retain } from "../../../lib/backup/retain.ts";
import { shipLog } from "../../../lib/backup/ship.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import { readConfig } from "../../../lib/config/mod.ts";
import { HealthMonitor } from "../../../lib/health/mod.ts";
import { callerOf, claimJob, listJobRuns } from "../../../lib/jobs/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { type KvPort, Store } from "../../../lib/kv/store.ts";
import { openLog } from "../../../lib/telemetry/mod.ts";
import { openServices } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/mod.ts";
import type { ObjectStorage } from "../../../lib/storage/mod.ts";
import { DAY_MS, HOUR_MS, isoTime, MINUTE_MS } from "../../../lib/time.ts";
import { TEST_START, TESTER } from "../../support/program/app.ts";
import {
  openBackupShop,
  openTwin,
  sellTo,
  shopBooksOf,
} from "../../support/processes/backup_shop.ts";
import { FaultyStorage } from "../../support/store/plain_storage.ts";

function jobNamed(services: Services, name: string): Job<Services> {
  return jobsOf(services, new HealthMonitor(services)).find((job) => job.name === name)!;
}

/** 15 June 2026, 09:00 UTC, a Monday. */
const NOW = TEST_START;

function backupOf(pointInTime: number, epoch = "e") {
  return { id: "b", epoch, pointInTime: isoTime(pointInTime) };
}

Deno.test("isBackupDue() wants one a day, when asked, when begun, and when the log goes on from none", () => {
  const none: BackupNeed = { newest: null, run: null, epoch: "e", request: null };
  const fresh = { ...none, newest: backupOf(NOW - HOUR_MS) };
  const requestAt = (at: number) => ({ at: isoTime(at), requestId: "r" });

  equal(isBackupDue(none, NOW), true);
  equal(isBackupDue(fresh, NOW), false);
  equal(isBackupDue({ ...fresh, newest: backupOf(NOW - 7 * HOUR_MS) }, NOW), false);
  equal(isBackupDue({ ...fresh, newest: backupOf(NOW - 7 * HOUR_MS - 1) }, NOW), true);
  equal(isBackupDue(fresh, NOW + 17 * HOUR_MS), true);
  equal(isBackupDue({ ...fresh, epoch: "another" }, NOW), true);
  equal(isBackupDue({ ...fresh, epoch: null }, NOW), false);
  equal(isBackupDue({ ...fresh, request: requestAt(NOW) }, NOW), true);
  // What was asked for before its point in time is in it.
  equal(isBackupDue({ ...fresh, request: requestAt(NOW - HOUR_MS) }, NOW), false);
});

Deno.test("isDrillDue() wants one a week, when asked, and after each backup while they fail", () => {
  const proofOf = (at: number, isProven = true, backupId = "b") => ({
    ...{ at: isoTime(at), kind: "drill" as const, backupId, isProven, problem: null },
    ...{ pointInTime: isoTime(at), entries: 1, findings: 0, durationMs: 1 },
  });
  const none: DrillNeed = { newest: null, proof: null, request: null };
  const newest = backupOf(NOW - HOUR_MS);

  equal(isDrillDue(none, NOW), false);
  equal(isDrillDue({ ...none, newest }, NOW), true);
  // The last Sunday at 04:00 is 29 hours ago.
  equal(isDrillDue({ newest, proof: proofOf(NOW - 29 * HOUR_MS), request: null }, NOW), false);
  equal(isDrillDue({ newest, proof: proofOf(NOW - 29 * HOUR_MS - 1), request: null }, NOW), true);
  equal(isDrillDue({ newest, proof: proofOf(NOW, false), request: null }, NOW), false);
  equal(isDrillDue({ newest, proof: proofOf(NOW, false, "older"), request: null }, NOW), true);
  const request = { at: isoTime(NOW), requestId: "r" };
  equal(isDrillDue({ newest, proof: proofOf(NOW - 1), request }, NOW), true);
  equal(isDrillDue({ newest, proof: proofOf(NOW), request }, NOW), false);
});

Deno.test("the job backup costs one read when there is nothing to do, and leaves no trace", async () => {
  await using shop = await openBackupShop();
  const { services } = shop;
  const job = jobNamed(services, "backup");
  await sellTo(shop, 3);
  equal(await runJob(services, job), "ok");
  shop.advance(5 * MINUTE_MS);
  const [before] = await listJobRuns(services);
  const calls: string[] = [];
  const kv: KvPort = {
    ...bound(services.kv),
    getMany: (keys, options) => (calls.push("read"), services.kv.getMany(keys, options)),
    list: (selector, options) => (calls.push("list"), services.kv.list(selector, options)),
    atomic: () => (calls.push("write"), services.kv.atomic()),
  };
  const watched = withKv(services, kv);

  equal(await runJob(watched, job), "skipped");

  deepEqual(calls, ["read"]);
  deepEqual(await listJobRuns(services), [before]);
  equal(typeof before?.outcome.backupId, "string");
});

function bound(kv: KvPort): KvPort {
  return {
    getMany: (keys, options) => kv.getMany(keys, options),
    list: (selector, options) => kv.list(selector, options),
    atomic: () => kv.atomic(),
    commitVersionstamp: () => kv.commitVersionstamp(),
    close: () => kv.close(),
  };
}

/** The same services over a KV that is looked at. */
function withKv(services: Services, kv: KvPort): Services {
  const { clock } = services;
  const options = { clock, random: Math.random, isEmbedded: true, checksMax: 100 };
  return { ...services, kv, store: new Store(kv, options) };
}

Deno.test("a backup is finished by many instances that live for one slice each", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 400);
  const { services } = shop;
  const job: Job<Services> = {
    ...jobNamed(services, "backup"),
    run: (_, signal, by) => runBackup(shop.services, { signal, by, budgetMs: 0 }),
  };

  let runs = 0;
  const phases = new Set<unknown>();
  while (await isBackupJobDue(services)) {
    ok(++runs < 100);
    equal(await runJob(services, job), "ok");
    const [run] = await listJobRuns(services);
    const isDone = run!.outcome.isMore !== true;
    phases.add(run!.outcome.phase);
    equal(run!.lastOkAt === null, !isDone);
    shop.advance(5 * MINUTE_MS);
    // A slice of no time at all never gets past a writer who is always ahead of it.
    if (runs < 9) await sellTo(shop, 5, 10_000 * runs);
  }

  ok(runs >= 3, `${runs}`);
  ok(phases.has("log") && phases.has("check"), [...phases].join());
  const [backup] = await listBackups(services);
  equal((await verifyBackup(services, backup!.id)).unexplained, 0);
  const { backups, underWay, askedAt } = await readBackupOverview(services);
  deepEqual([backups.map(({ id }) => id), underWay, askedAt], [[backup!.id], null, null]);
});

Deno.test("what is asked for is taken with what is there, once however often it was asked", async () => {
  await using shop = await openBackupShop();
  const { services } = shop;
  const job = jobNamed(services, "backup");
  await sellTo(shop, 3);
  await runJob(services, job);
  shop.advance(HOUR_MS);
  await sellTo(shop, 3, 100);
  const asked = await requestJob(services, "backup", TESTER);
  await requestJob(services, "backup", TESTER);
  const owed = await readBackupOverview(services);
  shop.advance(MINUTE_MS);

  const statuses = [await runJob(services, job), await runJob(services, job)];
  shop.advance(5 * MINUTE_MS);
  statuses.push(await runJob(services, job));

  equal(owed.askedAt, asked.askedAt);
  deepEqual(statuses, ["ok", "skipped", "skipped"]);
  const { backups, askedAt } = await readBackupOverview(services);
  // Of one day the newest is kept.
  deepEqual([backups.length, askedAt], [1, null]);
  equal(Date.parse(backups[0]!.pointInTime) > Date.parse(asked.askedAt), true);
  await using twin = await openTwin(shop, { clock: services.clock });
  await restore(twin.services, backups[0]!.id);
  deepEqual(await shopBooksOf(twin.kv), await shopBooksOf(shop.kv));
});

Deno.test("what failed stays due, and is done when it can be", async () => {
  await using shop = await openBackupShop();
  const { services } = shop;
  const job = jobNamed(services, "backup");
  await sellTo(shop, 3);
  shop.faults.fault = ({ does }) => does === "put" ? "fail" : "ok";

  const statuses: string[] = [];
  for (let i = 0; i < 4; i++) {
    if (i === 3) shop.faults.fault = () => "ok";
    statuses.push(await runJob(services, job));
    shop.advance(5 * MINUTE_MS);
  }

  deepEqual(statuses, ["failed", "failed", "failed", "ok"]);
  equal((await listBackups(services)).length, 1);
});

Deno.test("a restored store wants a backup of its own at once", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  await takeBackup(shop.services);
  await shipLog(shop.services);
  await using twin = await openTwin(shop, { clock: shop.services.clock });
  await restore(twin.services, "latest");

  equal(await isBackupJobDue(shop.services), false);
  equal(await isBackupJobDue(twin.services), true);
  const { proofs } = await readBackupOverview(twin.services);
  deepEqual(proofs.map(({ kind, isProven }) => [kind, isProven]), [["restore", true]]);
});

Deno.test("the job restore_drill restores into a scratch store, where one can be opened", async () => {
  await using shop = await openBackupShop();
  const { services } = shop;
  await sellTo(shop, 3);
  await takeBackup(services);
  let opened = 0;
  const openScratch = () => (opened++, Deno.openKv(":memory:"));
  const deploy: Services = { ...services };
  delete (deploy as { openScratch?: unknown }).openScratch;

  equal(
    await runJob(
      { ...services, openScratch },
      jobNamed({ ...services, openScratch }, "restore_drill"),
    ),
    "ok",
  );
  shop.advance(HOUR_MS);
  await requestJob(services, "restore_drill", TESTER);
  shop.advance(MINUTE_MS);
  equal(await runJob(deploy, jobNamed(deploy, "restore_drill")), "ok");
  equal(await runJob(deploy, jobNamed(deploy, "restore_drill")), "skipped");

  equal(opened, 1);
  const { proofs } = await readBackupOverview(services);
  deepEqual(proofs.map(({ isProven }) => isProven), [true, true]);
});

Deno.test("a scratch store is offered everywhere but on Deno Deploy", async () => {
  const config = readConfig({ APP_ENV: "test" });
  const log = openLog({ level: "error", format: "json", write() {} });
  const open = (isDeploy: boolean) =>
    openServices({ ...config, isDeploy }, { log, clock: () => NOW, random: Math.random });
  const here = await open(false);
  const deploy = await open(true);

  const scratch = await here.openScratch!();

  deepEqual(await Array.fromAsync(scratch.list({ prefix: [] })), []);
  equal(deploy.openScratch, undefined);
  scratch.close();
  for (const { store } of [here, deploy]) await store.close();
});

/** All that is stored, but for what says nothing: receipts, leases and the marker. */
async function dump(kv: KvPort): Promise<string[]> {
  const lines: string[] = [];
  for await (const { key, versionstamp } of kv.list({ prefix: [] })) {
    const isQuiet = ["op", "lease", "log_mark", "job_run", "incident"].includes(String(key[0]));
    if (!isQuiet) lines.push(`${JSON.stringify(key)} ${versionstamp}`);
  }
  return lines;
}

Deno.test("a run that has lost its lease can take, ship, thin out and prove nothing any more", async () => {
  await using shop = await openBackupShop({
    retention: { dailies: 1, weeklies: 0, monthlies: 0 },
  });
  const { services } = shop;
  for (let day = 0; day < 2; day++) {
    await sellTo(shop, 3, 10 * day);
    await takeBackup(services);
    await shipLog(services);
    shop.advance(DAY_MS);
  }
  await sellTo(shop, 3, 100);
  const claim = async (runId: string) => {
    const found = await claimJob(services, "backup", { runId, timeLimitMs: 1, isByHand: true });
    shop.advance(HOUR_MS);
    return fencedBy(services, callerOf("backup", runId, found));
  };
  const outrun = await claim("first");
  const holder = await claim("second");
  const [before, objects] = [await dump(shop.kv), await shop.storage.names("backup/")];
  const refused = { kind: "conflict", message: "Another run of the job backup has taken over" };

  await rejects(takeBackup(outrun), refused);
  await rejects(shipLog(outrun), refused);
  await rejects(retain(outrun), refused);
  await rejects(drill(outrun), refused);

  deepEqual(await dump(shop.kv), before);
  deepEqual(await shop.storage.names("backup/"), objects);
  equal((await takeBackup(holder)).status, "taken");
  equal((await shipLog(holder)).objects, 1);
  equal((await retain(holder)).deleted.length, 2);
  equal((await drill(holder)).isProven, true);
});

Deno.test("a run that overstays is taken over, its next write is refused, and nothing is lost", async () => {
  await using shop = await openBackupShop();
  await using other = await openTwin(shop);
  await sellTo(shop, 200);
  // Two instances of one store; in the first one the storage hangs with the second part.
  const { promise: isStuck, resolve: stick } = Promise.withResolvers<void>();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const slow = new FaultyStorage(shop.faults);
  slow.put = async (...args: Parameters<ObjectStorage["put"]>) => {
    stick();
    await released;
    return await shop.faults.put(...args);
  };
  const one: Services = { ...shop.services, storage: slow };
  const two: Services = { ...shop.services, storage: other.services.storage };
  const first = runJob(one, jobNamed(one, "backup"));
  await isStuck;
  await sellTo(shop, 50, 1_000);

  equal(await runJob(two, jobNamed(two, "backup")), "skipped");
  shop.advance(5 * MINUTE_MS);
  equal(await runJob(two, jobNamed(two, "backup")), "ok");
  release();
  equal(await first, "lost");

  const [run, ...others] = await listJobRuns(shop.services);
  deepEqual([run?.status, others.length], ["ok", 0]);
  const backups = await listBackups(shop.services);
  equal(backups.length, 1);
  equal(run?.outcome.backupId, backups[0]!.id);
  equal((await verifyBackup(shop.services, backups[0]!.id)).unexplained, 0);
  equal((await shop.services.store.get(keys.newestBackup))?.id, backups[0]!.id);
  equal(await isBackupJobDue(shop.services), false);
  await using twin = await openTwin(shop, { clock: shop.services.clock });
  await restore(twin.services, backups[0]!.id);
  deepEqual(await shopBooksOf(twin.kv), await shopBooksOf(shop.kv));
});
