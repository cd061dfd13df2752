/**
 * Retention: which backups are kept, and for how long.
 *
 * Nothing is deleted before something newer is known to be good: the newest backup
 * and the newest proven by a restore are always kept, and while the newest is
 * incomplete in the storage, nothing is deleted.
 *
 * @module
 */
import type { Retention } from "../config/mod.ts";
import type { RestoreProof } from "../kv/backup_records.ts";
import * as keys from "../kv/keys.ts";
import { transact } from "../kv/mod.ts";
import { DAY_MS, isoTime } from "../time.ts";
import { raiseAlarm, resolveAlarms } from "./alarms.ts";
import { LOGS, segmentOf } from "./journal.ts";
import { backupIdOf, BACKUPS, type Manifest, manifestName, readBackups } from "./manifest.ts";
import { type BackupServices, throwIfAborted } from "./needs.ts";
import { currentRun, logState, ownOperation, passGuards } from "./state.ts";

/** The result of a retention run. */
export interface RetainReport {
  /** Ids of the backups that are left, newest first. */
  kept: string[];
  /** Ids of the deleted backups. */
  deleted: string[];
  /** Deleted objects of unfinished backups. */
  partials: number;
  /** Deleted segments of the log that no kept backup needs. */
  segments: number;
}

/** The part of a backup that the retention rules need. */
export type KeptBackup = Pick<Manifest, "id" | "pointInTime">;

/** Age at which objects of an unfinished backup are deleted: a run ends after two days. */
const PARTIAL_KEEP_MS = 3 * DAY_MS;
/** Age up to which the backup of a replaced store is kept, in case the restore was a mistake. */
const BEFORE_RESTORE_KEEP_MS = 30 * DAY_MS;
/** 1 January 1970 was a Thursday. */
const MONDAY_SHIFT_DAYS = 3;
/** Proofs that are read, newest first. */
const PROOFS = 100;
/** Records that are read, oldest first: several times what is ever kept. */
const RECORDS = 500;

/**
 * The ids of the backups to keep: the newest of each of the last days, weeks (Monday
 * to Sunday) and months (UTC) with a backup; and the newest of all.
 */
export function choose(backups: readonly KeptBackup[], retention: Retention): Set<string> {
  const newestFirst = backups.toSorted((a, b) => a.pointInTime < b.pointInTime ? 1 : -1);
  const kept = new Set<string>(newestFirst.slice(0, 1).map(({ id }) => id));
  const rules: [count: number, periodOf: (at: number) => string | number][] = [
    [retention.dailies, (at) => Math.floor(at / DAY_MS)],
    [retention.weeklies, (at) => Math.floor((at / DAY_MS + MONDAY_SHIFT_DAYS) / 7)],
    [retention.monthlies, (at) => isoTime(at).slice(0, 7)],
  ];
  for (const [count, periodOf] of rules) {
    const periods = new Set<string | number>();
    for (const { id, pointInTime } of newestFirst) {
      const period = periodOf(Date.parse(pointInTime));
      if (periods.has(period)) continue;
      if (periods.size === count) break;
      periods.add(period);
      kept.add(id);
    }
  }
  return kept;
}

/**
 * Deletes backups beyond the retention, the log that only they needed, and objects
 * of unfinished backups.
 *
 * The record of a backup is deleted first, so that no deleted backup is listed, then
 * the manifest: without it there is no backup, and if the run stops there, the other
 * objects are deleted later as those of an unfinished backup.
 */
export async function retain(
  services: BackupServices,
  { signal }: { signal?: AbortSignal } = {},
): Promise<RetainReport> {
  const { storage, config, clock } = services;
  const report: RetainReport = { kept: [], deleted: [], partials: 0, segments: 0 };
  const { backups, unreadable } = await readBackups(services);
  if (unreadable === 0) await resolveAlarms(services, "backup.unreadable");
  report.kept = backups.map(({ id }) => id);
  // The backup of a replaced store does not count as the backup of its day.
  const regular = backups.filter(({ isBeforeRestore }) => !isBeforeRestore);
  const [newest] = regular;
  if (!newest) return report;
  const missing = await missingPart(services, newest);
  if (missing !== undefined) {
    await raiseAlarm(services, "backup.damaged", { backupId: newest.id, name: missing });
    return report;
  }
  await resolveAlarms(services, "backup.damaged");

  const kept = choose(regular, config.backupRetention);
  for (const { id, pointInTime, isBeforeRestore } of backups) {
    const ageMs = clock() - Date.parse(pointInTime);
    if (isBeforeRestore && ageMs < BEFORE_RESTORE_KEEP_MS) kept.add(id);
  }
  const proven = await newestProven(services, backups);
  if (proven !== undefined) kept.add(proven);
  for (const { id } of backups.filter(({ id }) => !kept.has(id)).reverse()) {
    throwIfAborted(signal);
    await deleteRecord(services, id);
    await storage.delete(manifestName(id));
    for await (const { key } of storage.list(`${BACKUPS}${id}/`)) await storage.delete(key);
    report.deleted.push(id);
  }
  await deleteStaleRecords(services, new Set(kept));
  report.kept = report.kept.filter((id) => kept.has(id));
  await passGuards(services);
  report.partials = await deletePartials(services, signal);
  await passGuards(services);
  report.segments = await trimLog(services, backups.filter(({ id }) => kept.has(id)), signal);
  await storage.tidy();
  return report;
}

/** The name of the first object that is missing or has the wrong size. */
async function missingPart(
  { storage }: BackupServices,
  { parts }: Manifest,
): Promise<string | undefined> {
  for (const { name, bytes } of parts) {
    if ((await storage.head(name))?.size !== bytes) return name;
  }
}

async function newestProven(
  { store }: BackupServices,
  backups: Manifest[],
): Promise<string | undefined> {
  const proofs = await store.list<RestoreProof>(keys.restoreProofs, {
    limit: PROOFS,
    reverse: true,
  });
  const proven = new Set(
    proofs.filter(({ value }) => value.isProven).map(({ value }) => value.backupId),
  );
  return backups.find(({ id }) => proven.has(id))?.id;
}

/** Deletes the records of deleted backups, including those of an earlier, stopped run. */
async function deleteStaleRecords(
  services: BackupServices,
  kept: ReadonlySet<string>,
): Promise<void> {
  const { store, storage } = services;
  for (const { value: { id } } of await store.list(keys.backups, { limit: RECORDS })) {
    // A backup that was taken meanwhile has a manifest.
    if (kept.has(id) || await storage.head(manifestName(id)) !== null) continue;
    await deleteRecord(services, id);
  }
}

async function deleteRecord(services: BackupServices, id: string): Promise<void> {
  await transact(services, { record: keys.backup(id) }, ({ record }, writes) => {
    if (record) writes.delete(keys.backup(id));
  }, { operation: ownOperation(services) });
}

/** Deletes objects of backups without a manifest, except the current run's. */
async function deletePartials(
  services: BackupServices,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { storage, clock } = services;
  const run = await currentRun(services);
  const objects = new Map<string, { names: string[]; storedAt: number }>();
  for await (const { key, modifiedAt } of storage.list(BACKUPS)) {
    const id = backupIdOf(key);
    if (id === undefined || id === run?.id) continue;
    const found = objects.get(id) ?? { names: [], storedAt: 0 };
    found.names.push(key);
    found.storedAt = Math.max(found.storedAt, modifiedAt);
    objects.set(id, found);
  }
  let deleted = 0;
  for (const [id, { names, storedAt }] of objects) {
    // A backup with an unreadable manifest is left to a person.
    if (names.includes(manifestName(id)) || clock() - storedAt < PARTIAL_KEEP_MS) continue;
    for (const name of names) {
      throwIfAborted(signal);
      await storage.delete(name);
      deleted++;
    }
  }
  return deleted;
}

/** Deletes the segments that end before every kept backup of their epoch. */
async function trimLog(
  services: BackupServices,
  kept: Manifest[],
  signal: AbortSignal | undefined,
): Promise<number> {
  const { storage } = services;
  const { epoch: current, position } = await logState(services);
  const oldestAt = Math.min(...kept.map(({ pointInTime }) => Date.parse(pointInTime)));
  const neededFrom = new Map<string, string>();
  for (const { epoch, v1 } of kept) {
    const from = neededFrom.get(epoch);
    if (from === undefined || v1 < from) neededFrom.set(epoch, v1);
  }
  let deleted = 0;
  for await (const { key, modifiedAt } of storage.list(LOGS)) {
    const segment = segmentOf(key);
    // Shipping confirms its position by the last segment.
    if (segment === undefined || key === position.name) continue;
    throwIfAborted(signal);
    const { epoch, to } = segment;
    const from = neededFrom.get(epoch);
    const isOrphan = from === undefined && epoch !== current && modifiedAt < oldestAt;
    if (isOrphan || (from !== undefined && to <= from)) {
      await storage.delete(key);
      deleted++;
    }
  }
  return deleted;
}
