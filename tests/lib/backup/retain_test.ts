import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import fc from "fast-check";
import { drill } from "../../../lib/backup/drill.ts";
import { listBackups } from "../../../lib/backup/manifest.ts";
import { choose, type KeptBackup, retain } from "../../../lib/backup/retain.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import { BACKUP_RETENTION } from "../../../lib/config/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { DAY_MS, HOUR_MS } from "../../../lib/time.ts";
import { type BackupShop, openBackupShop, sellTo } from "../../support/processes/backup_shop.ts";
import { newSeed } from "../../support/store/faulty_kv.ts";

const START = Date.UTC(2026, 0, 1);

function backupsAt(times: number[]): KeptBackup[] {
  return times.map((at, i) => ({ id: `b${i}`, pointInTime: new Date(at).toISOString() }));
}

/** What stays, said in another way: a backup does if it is the last of one of the last periods. */
function modelOf(backups: KeptBackup[], rules: [number, (date: Date) => string][]): string[] {
  const newestFirst = [...backups].sort((a, b) => a.pointInTime < b.pointInTime ? 1 : -1);
  return newestFirst.filter(({ pointInTime, id }, i) =>
    i === 0 || rules.some(([count, period]) => {
      const own = period(new Date(pointInTime));
      const all = newestFirst.map((other) => period(new Date(other.pointInTime)));
      const recent = [...new Set(all)].slice(0, count);
      const last = newestFirst.find((other) => period(new Date(other.pointInTime)) === own);
      return recent.includes(own) && last?.id === id;
    })
  ).map(({ id }) => id).sort();
}

const day = (date: Date) => date.toISOString().slice(0, 10);
const month = (date: Date) => date.toISOString().slice(0, 7);
const week = (date: Date) => {
  const monday = new Date(date);
  monday.setUTCDate(date.getUTCDate() - (date.getUTCDay() + 6) % 7);
  return day(monday);
};

Deno.test("choose() keeps what a plain model keeps, and always the newest", () => {
  const times = fc.uniqueArray(fc.integer({ min: 0, max: 900 * 24 }), { maxLength: 120 })
    .map((hours) => hours.map((hour) => START + hour * HOUR_MS));
  const count = fc.integer({ min: 0, max: 40 });
  fc.assert(
    fc.property(times, count, count, count, (times, dailies, weeklies, monthlies) => {
      const backups = backupsAt(times);
      const kept = choose(backups, { dailies, weeklies, monthlies });
      const rules: [number, (date: Date) => string][] = [
        [dailies, day],
        [weeklies, week],
        [monthlies, month],
      ];
      deepEqual([...kept].sort(), modelOf(backups, rules));
      const newest = backups.toSorted((a, b) => a.pointInTime < b.pointInTime ? 1 : -1)[0];
      if (newest) ok(kept.has(newest.id));
    }),
    { seed: newSeed("retention") | 0, numRuns: 300 },
  );
});

Deno.test("of two years of daily backups 30 dailies, 8 weeklies and 12 monthlies stay", () => {
  const backups = backupsAt(
    Array.from({ length: 730 }, (_, i) => START + i * DAY_MS + 2 * HOUR_MS),
  );

  const kept = choose(backups, BACKUP_RETENTION);

  // Weeks and months begin among the dailies.
  ok(kept.size >= 30 + 3 + 10 && kept.size <= 50, `${kept.size}`);
});

async function takeOne({ services }: BackupShop): Promise<string> {
  const result = await takeBackup(services);
  if (result.status !== "taken") throw new Error("The backup was not finished");
  return result.manifest.id;
}

Deno.test("nothing is deleted while the newest backup is not whole", async () => {
  await using shop = await openBackupShop({
    retention: { dailies: 1, weeklies: 0, monthlies: 0 },
  });
  await sellTo(shop, 5);
  const old = await takeOne(shop);
  shop.advance(DAY_MS);
  const newest = await takeOne(shop);
  const [part] = await shop.storage.names(`backup/${newest}/base`);
  const whole = await Deno.readFile(shop.storage.path(part!));
  await shop.storage.delete(part!);

  const refused = await retain(shop.services);
  await Deno.writeFile(shop.storage.path(part!), whole);
  const done = await retain(shop.services);

  deepEqual(refused.deleted, []);
  deepEqual(shop.alarms, ["backup.damaged"]);
  deepEqual(done.deleted, [old]);
  deepEqual((await listBackups(shop.services)).map(({ id }) => id), [newest]);
  deepEqual(await shop.storage.names(`backup/${old}/`), []);
  const records = await shop.services.store.list(keys.backups, { limit: 10 });
  deepEqual(records.map(({ value }) => value.id), [newest]);
});

Deno.test("the newest backup that a restore has proven is kept, whatever its age", async () => {
  await using shop = await openBackupShop({
    retention: { dailies: 1, weeklies: 0, monthlies: 0 },
  });
  await sellTo(shop, 5);
  const old = await takeOne(shop);
  shop.advance(DAY_MS);
  const proven = await takeOne(shop);
  await drill(shop.services);
  shop.advance(DAY_MS);
  const newest = await takeOne(shop);

  deepEqual((await retain(shop.services)).deleted, [old]);
  deepEqual((await listBackups(shop.services)).map(({ id }) => id), [newest, proven]);
});

Deno.test("an upload that fails midway is no backup, and the next run goes on or begins anew", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 5);
  const whole = await takeOne(shop);
  for (const fault of ["fail", "lose"] as const) {
    // The base part goes, the manifest does not.
    let puts = 0;
    shop.faults.fault = ({ does }) => does === "put" && ++puts === 2 ? fault : "ok";
    await rejects(takeBackup(shop.services));
    shop.faults.fault = () => "ok";
    const { id } = (await shop.services.store.get(keys.backupRun))!;
    if (fault === "fail") {
      deepEqual((await listBackups(shop.services)).map(({ id }) => id), [whole]);
      equal((await shop.storage.names(`backup/${id}/`)).length, 1);
      equal((await retain(shop.services)).partials, 0); // it may be resumed
    }
    shop.advance(4 * DAY_MS);
    // It is given up; what it left is no backup.
    await takeOne(shop);
    shop.alarms.length = 0;
  }
  const backups = await listBackups(shop.services);
  equal(backups.some(({ id }) => id === whole), true);
});

Deno.test("objects of a backup that never got to its end are deleted after three days", async () => {
  let offset = 0;
  await using shop = await openBackupShop({ clock: () => Date.now() + offset });
  await sellTo(shop, 5);
  await takeBackup(shop.services, { budgetMs: 0 });
  const { id } = (await shop.services.store.get(keys.backupRun))!;
  const stranded = await shop.storage.names(`backup/${id}/`);
  equal(stranded.length, 1);
  offset = 2 * DAY_MS + HOUR_MS;
  const next = await takeOne(shop);

  const early = await retain(shop.services);
  offset = 3 * DAY_MS + HOUR_MS;
  const late = await retain(shop.services);

  deepEqual(shop.alarms, ["backup.given_up"]);
  equal(early.partials, 0);
  equal(late.partials, 1);
  deepEqual(await shop.storage.names(`backup/${id}/`), []);
  deepEqual(late.kept, [next]);
});

Deno.test("parts that were cut on their way are found before the backup counts", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 5);
  shop.faults.fault = ({ does, key }) => does === "put" && key.includes("/base-") ? "cut" : "ok";

  await rejects(takeBackup(shop.services), { message: /base-00000-.*bytes instead of/ });
  deepEqual(await listBackups(shop.services), []);

  shop.faults.fault = () => "ok";
  const id = await takeOne(shop);
  deepEqual((await listBackups(shop.services)).map(({ id }) => id), [id]);
});
