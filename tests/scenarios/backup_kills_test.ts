/**
 * kill -9 at random moments of the tasks for backups, as real processes: whatever
 * is left, no backup is listed that is broken, none is lost that was proven, no
 * store is served that is restored in part, and the next run mends it all.
 *
 * `BACKUP_KILLS` is how often each task is killed.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { listSegments, readLog, readShipped, STAMP_ZERO } from "../../lib/backup/journal.ts";
import { verifyBackup } from "../../lib/backup/check.ts";
import { drill } from "../../lib/backup/drill.ts";
import { listBackups } from "../../lib/backup/manifest.ts";
import { isRestoring, restore } from "../../lib/backup/restore.ts";
import { shipLog } from "../../lib/backup/ship.ts";
import { takeBackup } from "../../lib/backup/take.ts";
import { BACKUP_RETENTION } from "../../lib/config/mod.ts";
import { choose } from "../../lib/backup/retain.ts";
import { logState } from "../../lib/backup/state.ts";
import { sweep } from "../../lib/integrity/mod.ts";
import * as keys from "../../lib/kv/keys.ts";
import { createProduct } from "../../lib/products/mod.ts";
import { DAY_MS } from "../../lib/time.ts";
import { PRODUCT, TESTER } from "../support/program/app.ts";
import {
  type BackupShop,
  booksOf,
  openBackupShop,
  openTwin,
  sellTo,
  shopBooksOf,
} from "../support/processes/backup_shop.ts";
import { campaignSize } from "../support/program/campaign.ts";
import { newSeed, seededRandom } from "../support/store/faulty_kv.ts";
import { expectSameBooks } from "../support/store/same_books.ts";
import { runServer } from "../support/processes/server_process.ts";
import { killTask, Pace, runTask } from "../support/processes/task_process.ts";

const KILLS = campaignSize("BACKUP_KILLS", { everyday: 3, soak: 900 });
/** So many at once: each waits half of its time, and fills a shop of its own first. */
const LANES = Math.min(3, Math.ceil(KILLS / 7));

/** One of those who do the same at once, each with a folder of its own. */
interface Lane {
  folder: string;
  kvPath: string;
  kills: number;
  random: () => number;
}

/** Does something in lanes until there were `KILLS`, and says what was hit. */
async function inLanes(
  purpose: string,
  run: (lane: Lane, hits: Map<string, number>) => Promise<void>,
): Promise<void> {
  const seed = newSeed(purpose);
  const folder = await Deno.makeTempDir();
  const hits = new Map<string, number>();
  const lanes = Array.from({ length: LANES }, async (_, i) => {
    const own = `${folder}/${i}`;
    await Deno.mkdir(own);
    const random = seededRandom(seed + i);
    await run(
      { folder: own, kvPath: `${own}/shop.kv`, kills: Math.ceil(KILLS / LANES), random },
      hits,
    );
  });
  const ended = await Promise.allSettled(lanes);
  await Deno.remove(folder, { recursive: true });
  for (const end of ended) if (end.status === "rejected") throw end.reason;
  const total = hits.values().reduce((sum, times) => sum + times, 0);
  const told = [...hits].sort(([, a], [, b]) => b - a).map(([what, times]) => `${what} ${times}`);
  console.log(`  ${total} kills: ${told.join(", ")}`);
}

function open({ folder, kvPath }: Pick<Lane, "folder" | "kvPath">): Promise<BackupShop> {
  return openBackupShop({ kvPath, folder: `${folder}/backups`, clock: Date.now });
}

/** Leads, and products whose text does not compress. */
async function fill(lane: Lane, { leads, products }: { leads: number; products: number }) {
  await Deno.mkdir(`${lane.folder}/backups`, { recursive: true });
  await using shop = await open(lane);
  await sellTo(shop, leads);
  await Promise.all(Array.from({ length: products }, (_, i) => {
    const features = Array.from({ length: 50 }, () => noise(150));
    return createProduct(shop.services, { ...PRODUCT, slug: `p-${i}`, features }, TESTER);
  }));
}

function noise(length: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return btoa(String.fromCharCode(...bytes)).slice(0, length);
}

function hit(hits: Map<string, number>, what: string): void {
  hits.set(what, (hits.get(what) ?? 0) + 1);
}

/** All listed backups are whole, and those of `proven` are among them. @returns The ids. */
async function expectSound(shop: BackupShop, proven: string[]): Promise<string[]> {
  const ids = (await listBackups(shop.services)).map(({ id }) => id);
  deepEqual(proven.filter((id) => !ids.includes(id)), [], "a proven backup is lost");
  for (const id of ids) await verifyBackup(shop.services, id);
  deepEqual(shop.alarms, []);
  return ids;
}

/** Nothing is left of what was stopped, and what is there is all there is. */
async function expectTidy(shop: BackupShop, id: string): Promise<void> {
  const { services, kv, storage } = shop;
  const { parts } = (await listBackups(services)).find((backup) => backup.id === id)!;
  const names = [...parts.map(({ name }) => name), `backup/${id}/manifest.json`];
  deepEqual(await storage.names(`backup/${id}/`), names.sort());
  equal(await services.store.get(keys.backupRun), null);
  deepEqual(await Array.fromAsync(kv.list({ prefix: [...keys.backupParts] })), []);
  const { epoch } = await logState(services);
  const stored = (await Array.fromAsync(readLog(kv, STAMP_ZERO))).flat();
  const shipped = await Array.fromAsync(readShipped(services, epoch, STAMP_ZERO));
  deepEqual(shipped.map(({ stamp }) => stamp), stored.map(({ stamp }) => stamp));
}

Deno.test(`deno task backup, killed ${KILLS} times, lists nothing broken and loses nothing proven`, async () => {
  await inLanes("kills of backup", async (lane, hits) => {
    const pace = new Pace();
    let proven: string[] = [];
    let sold = 0;
    let kills = 0;
    let sinceWhole = 0;
    await fill(lane, { leads: 150, products: 1_000 });

    while (kills < lane.kills || sinceWhole > 0) {
      const { isKilled } = await killTask("backup", [], { ...lane, pace });
      {
        await using shop = await open(lane);
        proven = await expectSound(shop, proven);
        const run = await shop.services.store.get(keys.backupRun);
        if (isKilled) hit(hits, run ? run.phase : "no run");
        await sellTo(shop, 2, 1_000 + 2 * sold++);
      }
      if (isKilled) kills++;
      if (++sinceWhole % 5 !== 0 && kills < lane.kills) continue;

      const { code, stdout, stderr } = await runTask("backup", [], lane);

      equal(code, 0, stderr);
      await using shop = await open(lane);
      const [newest, ...older] = await expectSound(shop, proven);
      equal(stdout.trim(), newest);
      await expectTidy(shop, newest!);
      await using twin = await openTwin(shop, { clock: Date.now });
      equal((await restore(twin.services, "latest")).findings, 0);
      expectSameBooks(await shopBooksOf(twin.kv), await shopBooksOf(shop.kv));
      for (const id of older) {
        await Deno.remove(`${lane.folder}/backups/backup/${id}`, { recursive: true });
      }
      proven = [newest!];
      sinceWhole = 0;
    }
  });
});

/** Copies a folder as it is, times included. */
async function copy(from: string, to: string): Promise<void> {
  await Deno.remove(to, { recursive: true }).catch(() => {});
  const { success } = await new Deno.Command("cp", { args: ["-a", from, to] }).output();
  ok(success);
}

async function removeStore(kvPath: string): Promise<void> {
  for (const suffix of ["", "-wal", "-shm"]) await Deno.remove(kvPath + suffix).catch(() => {});
}

Deno.test(`deno task restore, killed ${KILLS} times, leaves no store that is served in part`, async () => {
  await inLanes("kills of restore", async (lane, hits) => {
    const pace = new Pace();
    await fill(lane, { leads: 150, products: 300 });
    let books: Map<string, string>;
    let template: string[];
    {
      await using shop = await open(lane);
      await takeBackup(shop.services);
      await sellTo(shop, 50, 1_000);
      await shipLog(shop.services);
      books = await shopBooksOf(shop.kv);
      template = await shop.storage.names("backup/");
    }
    const target = { ...lane, kvPath: `${lane.folder}/twin.kv` };

    let kills = 0;
    for (let round = 0; kills < lane.kills; round++) {
      await removeStore(target.kvPath);
      const isOverwriting = round % 2 === 1;
      const args = ["latest", ...isOverwriting ? ["--overwrite"] : []];
      let before = new Map<string, string>();
      if (isOverwriting) {
        await using twin = await open(target);
        await sellTo(twin, 20);
        before = await shopBooksOf(twin.kv);
      }

      for (let tries = 1 + Math.floor(lane.random() * 3); tries > 0; tries--) {
        const { isKilled, stderr } = await killTask("restore", args, { ...target, pace });
        let isHalf: boolean;
        {
          await using twin = await open(target);
          await expectSound(twin, []);
          isHalf = await isRestoring(twin.services);
          const { phase } = await twin.services.store.get(keys.restoring) ?? { phase: "none" };
          if (isKilled) hit(hits, phase);
          const found = await shopBooksOf(twin.kv);
          const whole = found.size === before.size ? before : books;
          if (!isHalf) expectSameBooks(found, whole);
        }
        if (isKilled) kills++;
        else ok(!isHalf, stderr);
        if (!isHalf) break;
        const server = await runServer(target);
        equal(server.code, 1);
        match(server.stderr, /A restore of this store has not finished/);
      }

      const isDone = await isDoneWith(target, books);
      const { code, stderr } = isDone
        ? { code: 0, stderr: "" }
        : await runTask("restore", args, target);

      equal(code, 0, stderr);
      await using twin = await open(target);
      equal(await isRestoring(twin.services), false);
      expectSameBooks(await shopBooksOf(twin.kv), books);
      equal((await sweep(twin.services)).findingsTotal, 0);
      for (const name of await twin.storage.names("backup/")) {
        if (!template.includes(name)) await twin.services.storage.delete(name);
      }
    }
  });
});

/** Whether the restore came to its end before it was killed. */
async function isDoneWith(target: Lane, books: Map<string, string>): Promise<boolean> {
  await using twin = await open(target);
  if (await isRestoring(twin.services)) return false;
  return (await shopBooksOf(twin.kv)).size === books.size;
}

/** Sixty days of backups, of which an old one is proven, and one that never got to its end. */
async function fillDays(lane: Lane): Promise<{ kept: string[] }> {
  const days = 60;
  const now = Date.now();
  const folder = `${lane.folder}/template`;
  await Deno.mkdir(`${folder}/backups`, { recursive: true });
  const options = { kvPath: `${folder}/shop.kv`, folder: `${folder}/backups` };
  let at = now - days * DAY_MS;
  await using shop = await openBackupShop({ ...options, clock: () => at });
  const ids: { id: string; pointInTime: string }[] = [];
  let proven = "";
  for (let day = 1; day <= days; day++) {
    at = now - (days - day) * DAY_MS;
    await sellTo(shop, 1, day);
    await shipLog(shop.services);
    if (day === days - 10) await takeBackup(shop.services, { budgetMs: 0 });
    if (day > days - 10 && day < days - 7) continue; // it is given up after two days
    const result = await takeBackup(shop.services);
    ok(result.status === "taken");
    ids.push(result.manifest);
    if (day === 3) proven = (await drill(shop.services)).backupId;
  }
  // As old as they say, so that what is left over may go.
  for (const name of await shop.storage.names()) {
    const day = /\d{4}-\d\d-\d\d/.exec(name)![0];
    await Deno.utime(shop.storage.path(name), new Date(day), new Date(day));
  }
  return { kept: [...choose(ids, BACKUP_RETENTION).add(proven)].sort() };
}

Deno.test(`deno task backup retain, killed ${KILLS} times, keeps all that is to be kept`, async () => {
  await inLanes("kills of retention", async (lane, hits) => {
    const pace = new Pace();
    const { kept } = await fillDays(lane);
    const world = { folder: `${lane.folder}/copy`, kvPath: `${lane.folder}/copy/shop.kv` };

    for (let kills = 0; kills < lane.kills;) {
      await copy(`${lane.folder}/template`, world.folder);
      for (let tries = 1 + Math.floor(lane.random() * 3); tries > 0; tries--) {
        const options = { kvPath: world.kvPath, random: lane.random, pace };
        const { isKilled, stderr } = await killTask("backup", ["retain"], options);
        await using shop = await open(world);
        const ids = await expectSound(shop, kept);
        if (isKilled) {
          kills++;
          hit(hits, `${ids.length} left`);
        } else equal(stderr, "");
      }

      const { code, stderr } = await runTask("backup", ["retain"], world);

      equal(code, 0, stderr);
      await using shop = await open(world);
      deepEqual((await expectSound(shop, kept)).sort(), kept);
      const folders = (await shop.storage.names("backup/")).map((name) => name.split("/")[1]!);
      deepEqual([...new Set(folders)].sort(), kept);
      const records = await shop.services.store.list(keys.backups, { limit: 1_000 });
      deepEqual(records.map(({ value }) => value.id).sort(), kept);
      const { epoch } = await logState(shop.services);
      ok((await listSegments(shop.storage, epoch)).length > 0);
      await using twin = await openTwin(shop, { clock: Date.now });
      await restore(twin.services, "latest");
      expectSameBooks(await shopBooksOf(twin.kv), await shopBooksOf(shop.kv));
    }
  });
});

/** The books' entries whose keys look so. */
function entriesOf(books: Map<string, string>, pattern: RegExp): Map<string, string> {
  return new Map([...books].filter(([key]) => pattern.test(key)));
}

/** What is derived from other entries. */
const DERIVED = /_by_/;
/** What is neither derived nor about repairs: they must leave it alone. */
const PRIMARY = /^\["(?!\w+_by_|audit|repair|sweep)/;

Deno.test(`deno task sweep --repair, killed ${KILLS} times, mends the indexes and changes nothing else`, async () => {
  await inLanes("kills of repair", async (lane, hits) => {
    const pace = new Pace();
    await fill(lane, { leads: 200, products: 20 });

    for (let kills = 0; kills < lane.kills;) {
      let sound: Map<string, string>;
      let planted: number;
      {
        await using shop = await open(lane);
        sound = await booksOf(shop.kv);
        for (const key of entriesOf(sound, DERIVED).keys()) {
          if (lane.random() < 0.2) await shop.kv.atomic().delete(JSON.parse(key)).commit();
        }
        planted = (await sweep(shop.services)).findingsTotal;
        ok(planted > 0);
      }
      for (let tries = 1 + Math.floor(lane.random() * 3); tries > 0; tries--) {
        const options = { ...lane, pace };
        const { isKilled } = await killTask("sweep", ["--repair"], options);
        await using shop = await open(lane);
        const { findingsTotal } = await sweep(shop.services);
        if (isKilled) {
          kills++;
          hit(hits, `${Math.round(findingsTotal / planted * 4) * 25} % left`);
        } else equal(findingsTotal, 0);
        ok(findingsTotal <= planted);
        expectSameBooks(entriesOf(await booksOf(shop.kv), PRIMARY), entriesOf(sound, PRIMARY));
      }

      const { code, stdout, stderr } = await runTask("sweep", ["--repair"], lane);

      equal(code, 0, stdout + stderr);
      await using shop = await open(lane);
      equal((await sweep(shop.services)).findingsTotal, 0);
      const mended = await booksOf(shop.kv);
      expectSameBooks(entriesOf(mended, PRIMARY), entriesOf(sound, PRIMARY));
      expectSameBooks(entriesOf(mended, DERIVED), entriesOf(sound, DERIVED));
    }
  });
});
