/**
 * What goes wrong with backups is told to people once, and once that it is over.
 */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { listIncidents } from "../../../lib/alerts/mod.ts";
import { drill } from "../../../lib/backup/drill.ts";
import { listBackups } from "../../../lib/backup/manifest.ts";
import { retain } from "../../../lib/backup/retain.ts";
import { shipLog } from "../../../lib/backup/ship.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import { logState } from "../../../lib/backup/state.ts";
import { listSegments } from "../../../lib/backup/journal.ts";
import { encode } from "../../../lib/kv/codec.ts";
import { openStorage } from "../../../lib/storage/open.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../../lib/time.ts";
import { type BackupShop, openBackupShop, sellTo } from "../../support/processes/backup_shop.ts";

/** Names of the incidents that are open, and of those that are over. */
async function incidentsOf({ services }: BackupShop): Promise<{ open: string[]; over: string[] }> {
  const all = await listIncidents(services);
  const names = (isOpen: boolean) =>
    all.filter(({ resolvedAt }) => (resolvedAt === null) === isOpen).map(({ name }) => name).sort();
  return { open: names(true), over: names(false) };
}

async function takeOne({ services }: BackupShop): Promise<string> {
  const result = await takeBackup(services);
  if (result.status !== "taken") throw new Error("The backup was not finished");
  return result.manifest.id;
}

async function bend(shop: BackupShop, name: string): Promise<() => Promise<void>> {
  const path = shop.storage.path(name);
  const whole = await Deno.readFile(path);
  const bent = whole.slice();
  bent[bent.length - 20]! ^= 1;
  await Deno.writeFile(path, bent);
  return () => Deno.writeFile(path, whole);
}

Deno.test("log.unshipped is raised after a day, and over when all is shipped", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  shop.advance(DAY_MS + MINUTE_MS);
  shop.faults.fault = ({ does }) => does === "put" ? "fail" : "ok";

  await rejects(shipLog(shop.services));
  const wrong = await incidentsOf(shop);
  shop.faults.fault = () => "ok";
  shop.advance(MINUTE_MS);
  await sellTo(shop, 1, 100);
  await shipLog(shop.services);
  const well = await incidentsOf(shop);

  deepEqual(wrong, { open: ["log.unshipped"], over: [] });
  deepEqual(well, { open: [], over: ["log.unshipped"] });
});

Deno.test("log.broken is raised when log is lost, and over with a backup that the log goes on from", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  await takeOne(shop);
  await shipLog(shop.services);
  shop.advance(7 * DAY_MS);

  await shipLog(shop.services);
  const wrong = await incidentsOf(shop);
  shop.advance(HOUR_MS);
  await shipLog(shop.services);
  const still = await incidentsOf(shop);
  await takeOne(shop);

  deepEqual(wrong.open, ["log.broken"]);
  deepEqual(still.open, ["log.broken"]);
  deepEqual(await incidentsOf(shop), { open: [], over: ["log.broken"] });
});

Deno.test("log.segment_missing is raised when a segment is gone, and over with the next run", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  await shipLog(shop.services);
  const { epoch } = await logState(shop.services);
  await shop.storage.delete((await listSegments(shop.storage, epoch)).at(-1)!.name);

  await shipLog(shop.services);
  const wrong = await incidentsOf(shop);
  shop.advance(MINUTE_MS);
  await shipLog(shop.services);

  deepEqual(wrong.open, ["log.segment_missing"]);
  deepEqual(await incidentsOf(shop), { open: [], over: ["log.segment_missing"] });
});

Deno.test("what was written around the log is raised, and over with a backup without", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  await takeBackup(shop.services, { budgetMs: 0 });
  await shop.kv.atomic().set(["zebra", "1"], encode({ stripes: 30 })).commit();

  await takeOne(shop);
  const wrong = await incidentsOf(shop);
  shop.advance(HOUR_MS);
  await takeOne(shop);

  deepEqual(wrong.open, ["backup.inconsistent", "backup.unexplained"]);
  deepEqual((await incidentsOf(shop)).open, []);
});

Deno.test("backup.damaged is raised when the newest is not whole, and over when it is", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  const id = await takeOne(shop);
  const [part] = await shop.storage.names(`backup/${id}/base`);
  const path = shop.storage.path(part!);
  const whole = await Deno.readFile(path);
  await Deno.remove(path);

  await retain(shop.services);
  const wrong = await incidentsOf(shop);
  await Deno.writeFile(path, whole);
  await retain(shop.services);

  deepEqual(wrong.open, ["backup.damaged"]);
  deepEqual(await incidentsOf(shop), { open: [], over: ["backup.damaged"] });
});

Deno.test("backup.given_up is raised when one never ends, and over with the next that does", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  await takeBackup(shop.services, { budgetMs: 0 });
  shop.advance(3 * DAY_MS);

  await takeBackup(shop.services, { budgetMs: 0 });
  const wrong = await incidentsOf(shop);
  await takeOne(shop);

  deepEqual(wrong.open, ["backup.given_up"]);
  deepEqual(await incidentsOf(shop), { open: [], over: ["backup.given_up"] });
});

Deno.test("backup.unreadable is raised for a manifest that was altered, and over when all can be read", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  const id = await takeOne(shop);
  shop.advance(DAY_MS);
  await takeOne(shop);
  const mend = await bend(shop, `backup/${id}/manifest.json`);

  equal((await listBackups(shop.services)).length, 1);
  const wrong = await incidentsOf(shop);
  await retain(shop.services);
  const still = await incidentsOf(shop);
  await mend();
  await retain(shop.services);

  deepEqual(wrong.open, ["backup.unreadable"]);
  deepEqual(still.open, ["backup.unreadable"]);
  deepEqual(await incidentsOf(shop), { open: [], over: ["backup.unreadable"] });
});

Deno.test("backup.not_restorable is raised by a drill, and over with one that proves a backup", async () => {
  await using shop = await openBackupShop();
  await sellTo(shop, 3);
  const id = await takeOne(shop);
  const [part] = await shop.storage.names(`backup/${id}/base`);
  const mend = await bend(shop, part!);

  equal((await drill(shop.services)).isProven, false);
  const [incident] = await listIncidents(shop.services);
  await mend();
  shop.advance(HOUR_MS);
  await drill(shop.services);

  equal(incident?.name, "backup.not_restorable");
  equal(incident?.severity, "critical");
  ok(incident?.detail.includes(id), incident?.detail);
  deepEqual(await incidentsOf(shop), { open: [], over: ["backup.not_restorable"] });
});

Deno.test("listBackups() says what to set when the folder is not there", async () => {
  await using shop = await openBackupShop();
  const folder = `${shop.storage.folder}/nowhere`;
  const { clock } = shop.services;
  const storage = await openStorage({
    url: `file:${folder}`,
    s3: undefined,
    clock,
    random: Math.random,
  });

  await rejects(listBackups({ ...shop.services, storage }), {
    kind: "unavailable",
    message:
      `Cannot read from "${folder}": the folder does not exist; create it, or correct STORAGE_URL`,
  });
});
