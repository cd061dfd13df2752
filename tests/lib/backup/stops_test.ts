/**
 * A kill before every `BACKUP_STOP_EVERY`-th lasting step: commits and changes of
 * the storage. 1 is all of them. `tests/scenarios/backup_kills_test.ts` kills at
 * random, in the middle of a step.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { verifyBackup } from "../../../lib/backup/check.ts";
import { drill } from "../../../lib/backup/drill.ts";
import { listBackups } from "../../../lib/backup/manifest.ts";
import { isRestoring, restore } from "../../../lib/backup/restore.ts";
import { shipLog } from "../../../lib/backup/ship.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../../lib/time.ts";
import {
  type BackupShop,
  openBackupShop,
  openTwin,
  sellTo,
  shopBooksOf,
} from "../../support/processes/backup_shop.ts";
import { campaignSize } from "../../support/program/campaign.ts";
import { newSeed, seededRandom } from "../../support/store/faulty_kv.ts";
import { expectSameBooks } from "../../support/store/same_books.ts";
import { doAll, type Stopped, STOPPED_RETENTION } from "../../support/processes/stopped_backup.ts";

/** Steps from one stop to the next; a restore into an empty store has few, and stops before each. */
const STRIDE = campaignSize("BACKUP_STOP_EVERY", { everyday: 3, soak: 1 });
/** So many at once. */
const LANES = 3;
const NOW = Date.UTC(2026, 5, 15, 9, 0, 0);
const ROOT = new URL("../../../", import.meta.url).pathname;

interface World {
  kvPath: string;
  folder: string;
}

const worldAt = (path: string): World => ({ kvPath: `${path}/shop.kv`, folder: `${path}/objects` });

function open(world: World, now = NOW): Promise<BackupShop> {
  return openBackupShop({ ...world, clock: () => now, retention: STOPPED_RETENTION });
}

/** Days of backups, the first proven, one of them stopped; log between them. @returns Its ids, oldest first. */
async function makeWorld(world: World): Promise<string[]> {
  await Deno.mkdir(world.folder, { recursive: true });
  for (let day = 9; day > 0; day--) {
    await using shop = await open(world, NOW - day * DAY_MS);
    await sellTo(shop, day === 9 ? 70 : 3, 100 * day + 1_000);
    await shipLog(shop.services);
    await takeBackup(shop.services, day === 9 || day < 7 ? {} : { budgetMs: 0 });
    if (day === 9) await drill(shop.services);
  }
  // Since the last one.
  await using shop = await open(world, NOW - HOUR_MS);
  await sellTo(shop, 5, 100);
  await shipLog(shop.services);
  // As old as they say, so that what is left over may go.
  for (const name of await shop.storage.names()) {
    const day = /\d{4}-\d\d-\d\d/.exec(name)![0];
    await Deno.utime(shop.storage.path(name), new Date(day), new Date(day));
  }
  return (await listBackups(shop.services)).map(({ id }) => id).reverse();
}

/** Runs the program up to the n-th thing. @returns Whether it was killed there. */
async function runTo(n: number, what: Stopped, { kvPath, folder }: World): Promise<boolean> {
  const program = `${ROOT}tests/support/processes/stopped_backup.ts`;
  const { code, signal, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--cached-only",
      "-A",
      program,
      what,
      kvPath,
      folder,
      `${NOW}`,
      `${n}`,
    ],
    cwd: ROOT,
    stdin: "null",
    stdout: "null",
  }).output();
  ok(code === 0 || signal === "SIGKILL", new TextDecoder().decode(stderr));
  return code !== 0;
}

/** Stops it before every `STRIDE`-th lasting step, each time in a fresh copy of the world, until none is left. */
async function stopEverywhere(
  what: Stopped,
  template: string,
  look: (world: World, n: number) => Promise<void>,
): Promise<void> {
  const stride = what === "restore" ? 1 : STRIDE;
  const random = seededRandom(newSeed(`stops of ${what}`));
  let next = 1 + Math.floor(random() * stride);
  let stops = 0;
  let isOver = false;
  const lane = async () => {
    while (!isOver) {
      const n = next;
      next += stride;
      const path = `${template}-${what}-${n}`;
      const copied = await new Deno.Command("cp", { args: ["-a", template, path] }).output();
      ok(copied.success);
      const world = worldAt(path);
      if (what === "restore") await Deno.remove(world.kvPath);
      if (what === "overwrite") await Deno.rename(`${path}/other.kv`, world.kvPath);
      const isStopped = await runTo(n, what, world);
      if (isStopped) stops++;
      else isOver = true;
      try {
        await look(world, n);
      } catch (error) {
        throw new Error(`Stopped before thing ${n}`, { cause: error });
      }
      await Deno.remove(path, { recursive: true });
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: LANES }, lane));
  for (const end of ended) if (end.status === "rejected") throw end.reason;
  console.log(`  stopped at ${stops} places`);
  ok(stops > 3);
}

async function expectSound({ services, alarms }: BackupShop, proven: string[]): Promise<string[]> {
  const ids = (await listBackups(services)).map(({ id }) => id);
  deepEqual(proven.filter((id) => !ids.includes(id)), [], "a proven backup is lost");
  for (const id of ids) await verifyBackup(services, id);
  deepEqual(alarms, []);
  return ids;
}

async function inFolder(run: (template: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run(`${folder}/world`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("takeBackup() that is killed before anything that it does lists nothing broken, and leaves nothing", async () => {
  await inFolder(async (template) => {
    const proven = await makeWorld(worldAt(template));

    await stopEverywhere("take", template, async (world) => {
      await using shop = await open(world, NOW + MINUTE_MS);
      const { services, kv, storage } = shop;
      await expectSound(shop, proven);

      await doAll("take", shop);

      const [newest] = await expectSound(shop, proven);
      ok(!proven.includes(newest!));
      equal(await services.store.get(keys.backupRun), null);
      deepEqual(await Array.fromAsync(kv.list({ prefix: [...keys.backupParts] })), []);
      const [manifest] = await listBackups(services);
      const names = manifest!.parts.map(({ name }) => name);
      deepEqual(
        await storage.names(`backup/${newest}/`),
        [...names, `backup/${newest}/manifest.json`].sort(),
      );
      const records = await services.store.list(keys.backups, { limit: 100 });
      const listed = await listBackups(services);
      deepEqual(records.map(({ value }) => value.id), listed.map(({ id }) => id).reverse());
      await using twin = await openTwin(shop);
      await restore(twin.services, "latest");
      expectSameBooks(await shopBooksOf(twin.kv), await shopBooksOf(kv));
    });
  });
});

Deno.test("retain() that is killed before anything that it does keeps what is to be kept, and the next one deletes the rest", async () => {
  await inFolder(async (template) => {
    const all = await makeWorld(worldAt(template));
    const kept = [all[0]!, ...all.slice(-2)];
    ok(all.length > kept.length);

    await stopEverywhere("retain", template, async (world) => {
      await using shop = await open(world);
      await expectSound(shop, kept);

      await doAll("retain", shop);

      deepEqual((await expectSound(shop, kept)).reverse(), kept);
      const names = await shop.storage.names("backup/");
      deepEqual([...new Set(names.map((name) => name.split("/")[1]))], kept);
      const records = await shop.services.store.list(keys.backups, { limit: 100 });
      deepEqual(records.map(({ value }) => value.id), kept);
      await using twin = await openTwin(shop);
      await restore(twin.services, "latest");
      expectSameBooks(await shopBooksOf(twin.kv), await shopBooksOf(shop.kv));
    });
  });
});

for (const what of ["restore", "overwrite"] as const) {
  const how = what === "overwrite" ? "over another store " : "";
  Deno.test(`restore() ${how}that is killed before anything that it does serves nothing in part, and comes to the same state`, async () => {
    await inFolder(async (template) => {
      await makeWorld(worldAt(template));
      let books: Map<string, string>;
      {
        await using shop = await open(worldAt(template));
        books = await shopBooksOf(shop.kv);
      }
      let before = new Map<string, string>();
      if (what === "overwrite") {
        await using other = await open({ ...worldAt(template), kvPath: `${template}/other.kv` });
        await sellTo(other, 5);
        before = await shopBooksOf(other.kv);
      }

      await stopEverywhere(what, template, async (world) => {
        await using shop = await open(world);
        await expectSound(shop, []);
        const isHalf = await isRestoring(shop.services);
        const found = await shopBooksOf(shop.kv);
        if (!isHalf) expectSameBooks(found, found.size === before.size ? before : books);

        if (isHalf || found.size === before.size) await doAll(what, shop);

        equal(await isRestoring(shop.services), false);
        expectSameBooks(await shopBooksOf(shop.kv), books);
      });
    });
  });
}
