import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { listBackups } from "../../../lib/backup/manifest.ts";
import type { BackupServices } from "../../../lib/backup/needs.ts";
import { restore } from "../../../lib/backup/restore.ts";
import { shipLog } from "../../../lib/backup/ship.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import { sweep } from "../../../lib/integrity/mod.ts";
import { scanAll } from "../../../lib/kv/bulk.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { KvPort } from "../../../lib/kv/store.ts";
import {
  type BackupShop,
  booksOf,
  openBackupShop,
  openTwin,
  sellTo,
  sendLead,
  shopBooksOf,
  stock,
} from "../../support/processes/backup_shop.ts";
import { campaignSize } from "../../support/program/campaign.ts";
import { newSeed, seededRandom } from "../../support/store/faulty_kv.ts";

const ROUNDS = campaignSize("BACKUP_ROUNDS", { everyday: 2, soak: 20 });
/** From so many on, the writer's speed is asserted: it depends on what else the machine does. */
const TIMED_ROUNDS = 20;
/** Moments that are restored, from one history. */
const RESTORES = Math.min(ROUNDS + 1, 6);
const WRITERS = 32;
const SEEDED = 1_000;
const LEADS_PER_SECOND_MIN = 500;

interface Acknowledged {
  leadId: string;
  clientId: string;
  invoiceId: string;
  at: number;
}

/** Sends leads as fast as they are taken until stopped. */
function startWriter(shop: BackupShop, productId: string, first: number) {
  const acknowledged: Acknowledged[] = [];
  let isRunning = true;
  let next = first;
  const write = async () => {
    while (isRunning) {
      const ids = await sendLead(shop, productId, next++);
      acknowledged.push({ ...ids, at: Date.now() });
    }
  };
  const writers = Array.from({ length: WRITERS }, write);
  return {
    acknowledged,
    async stop(): Promise<void> {
      isRunning = false;
      await Promise.all(writers);
    },
  };
}

/** Copies the books by listing them, as a backup without a log would. */
async function copyPlainly(from: KvPort, to: KvPort): Promise<void> {
  for await (const page of scanAll(from)) {
    const atomic = to.atomic();
    for (const { key, value } of page) atomic.set(key, value);
    await atomic.commit();
  }
}

async function taken(services: BackupServices) {
  const result = await takeBackup(services);
  if (result.status !== "taken") throw new Error("The backup was not finished");
  return result.manifest;
}

Deno.test("a backup beside a writer at full speed is a state that the store had", async (t) => {
  const alarms: string[] = [];
  let torn = 0;
  let leads = 0;
  let seconds = 0;

  for (let round = 0; round < ROUNDS; round++) {
    await using shop = await openBackupShop({ clock: Date.now });
    const productId = await stock(shop);
    await sellTo(shop, SEEDED);
    const startedAt = performance.now();
    const writer = startWriter(shop, productId, SEEDED);
    await using plain = await openBackupShop();
    const [manifest] = await Promise.all([
      taken(shop.services),
      copyPlainly(shop.kv, plain.kv),
    ]);
    await writer.stop();
    leads += writer.acknowledged.length;
    seconds += (performance.now() - startedAt) / 1_000;
    if ((await sweep(plain.services)).findingsTotal > 0) torn++;
    const logged = manifest.parts.reduce((n, p) => n + (p.kind === "log" ? p.entries : 0), 0);

    await using twin = await openTwin(shop);
    const report = await restore(twin.services, manifest.id);

    equal(report.findings, 0);
    equal(report.isExact, true);
    equal(manifest.unexplained, 0);
    const point = Date.parse(manifest.pointInTime);
    const before = writer.acknowledged.filter(({ at }) => at < point);
    ok(before.length > 0);
    const books = await booksOf(twin.kv);
    for (const { leadId, clientId, invoiceId } of before) {
      for (const key of [keys.lead(leadId), keys.client(clientId), keys.invoice(invoiceId)]) {
        ok(books.has(JSON.stringify(key)), `${key[0]} of an acknowledged lead is missing`);
      }
    }
    ok(logged > 0, "nothing was written meanwhile");
    alarms.push(...shop.alarms);
  }

  const rate = Math.round(leads / seconds);
  console.log(`${rate} leads/s beside backups; plain scans torn: ${torn} of ${ROUNDS}`);
  await t.step({
    name: "the writer was at full speed",
    ignore: ROUNDS < TIMED_ROUNDS,
    fn: () => ok(rate >= LEADS_PER_SECOND_MIN, `${rate}/s`),
  });
  await t.step("a plain scan beside it was torn", () => ok(torn > 0));
  deepEqual(alarms, []);
});

interface Commit {
  stamp: string;
  changes: [key: string, value: string | null][];
}

/** A KV that remembers what was committed, without regard to any log. */
function recording(kv: KvPort, commits: Commit[]): KvPort {
  const decoder = new TextDecoder();
  const port: Pick<KvPort, keyof KvPort> = {
    getMany: (keys, options) => kv.getMany(keys, options),
    list: (selector, options) => kv.list(selector, options),
    commitVersionstamp: () => kv.commitVersionstamp(),
    close: () => kv.close(),
    atomic() {
      const atomic = kv.atomic();
      const changes: Commit["changes"] = [];
      const set = atomic.set.bind(atomic);
      const remove = atomic.delete.bind(atomic);
      const commit = atomic.commit.bind(atomic);
      atomic.set = (key, value, options) => {
        if (keys.isDurable(key)) {
          changes.push([JSON.stringify(key), decoder.decode(value as Uint8Array)]);
        }
        return set(key, value, options);
      };
      atomic.delete = (key) => {
        if (keys.isDurable(key)) changes.push([JSON.stringify(key), null]);
        return remove(key);
      };
      atomic.commit = async () => {
        const answer = await commit();
        if (answer.ok && changes.length > 0) commits.push({ stamp: answer.versionstamp, changes });
        return answer;
      };
      return atomic;
    },
  };
  return port;
}

/** The shop's books after the commit `stamp`. */
function modelAt(commits: Commit[], stamp: string): Map<string, string> {
  const books = new Map<string, string>();
  for (const commit of commits) {
    if (commit.stamp > stamp) break;
    for (const [key, value] of commit.changes) {
      if (/^\["(?:backup|restore_proof)"/.test(key)) continue;
      if (value === null) books.delete(key);
      else books.set(key, value);
    }
  }
  return books;
}

function sorted(books: Map<string, string>): [string, string][] {
  return [...books].sort(([a], [b]) => a < b ? -1 : 1);
}

Deno.test("a restore to any commit gives what was committed up to it, and nothing else", async () => {
  const random = seededRandom(newSeed("restore to any commit"));
  const commits: Commit[] = [];
  await using shop = await openBackupShop({
    clock: Date.now,
    wrapKv: (kv) => recording(kv, commits),
  });
  const productId = await stock(shop);
  await sellTo(shop, 200);
  const manifest = await taken(shop.services);
  const writer = startWriter(shop, productId, 10_000);
  for (let i = 0; i < 8; i++) {
    // Two at once, as two instances would.
    await Promise.all([shipLog(shop.services), shipLog(shop.services)]);
    await new Promise((done) => setTimeout(done, 20));
  }
  await writer.stop();
  await shipLog(shop.services);
  commits.sort((a, b) => a.stamp < b.stamp ? -1 : 1);
  const later = commits.filter(({ stamp }) => stamp > manifest.v1);
  ok(later.length > 20);

  for (let round = 0; round < RESTORES; round++) {
    const { stamp } = later[Math.floor(random() * later.length)]!;
    await using twin = await openTwin(shop, { clock: Date.now });

    const report = await restore(twin.services, stamp);

    equal(report.stamp, stamp);
    deepEqual(sorted(await shopBooksOf(twin.kv)), sorted(modelAt(commits, stamp)));
  }
  deepEqual(shop.alarms, []);
});

Deno.test("a restore to a moment ends before the first commit that was made later", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 20);
  await taken(shop.services);
  shop.advance(60_000);
  await sellTo(shop, 5, 100);
  const wanted = await shopBooksOf(shop.kv);
  const moment = new Date(shop.services.clock()).toISOString();
  shop.advance(1);
  await sellTo(shop, 5, 200);
  shop.advance(60_000);
  await shipLog(shop.services);
  await taken(shop.services);
  const backups = await listBackups(shop.services);
  await using twin = await openTwin(shop, { clock: shop.services.clock });

  const report = await restore(twin.services, moment);

  equal(report.backupId, backups[1]!.id);
  equal(report.pointInTime, moment);
  deepEqual(sorted(await shopBooksOf(twin.kv)), sorted(wanted));
});

Deno.test("latest is the newest backup and all log since", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 20);
  await taken(shop.services);
  shop.advance(60_000);
  await sellTo(shop, 5, 100);
  await shipLog(shop.services);
  await using twin = await openTwin(shop, { clock: shop.services.clock });

  await restore(twin.services, "latest");

  deepEqual(sorted(await shopBooksOf(twin.kv)), sorted(await shopBooksOf(shop.kv)));
});

Deno.test("what was written around the log is an alarm, and stands in the manifest", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 20);

  // It pauses between the first marker and the second.
  const result = await takeBackup(shop.services, { budgetMs: 0 });
  equal(result.status, "unfinished");
  await shop.kv.atomic().set(["zebra", 1], new Uint8Array([49, 32, 49])).commit();
  const manifest = await taken(shop.services);

  equal(manifest.unexplained, 1);
  deepEqual([...new Set(shop.alarms)], ["backup.unexplained", "backup.inconsistent"]);
});
