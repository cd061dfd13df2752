/**
 * Which backups are kept, and for how long.
 *
 * Nothing goes before something newer is known to be good: the newest backup is
 * always kept, as is the newest that a restore has proven, and as long as the
 * newest is not whole in the storage nothing is deleted at all.
 *
 * @module
 */
import type { Retention } from "../config/mod.ts";
import type { RestoreProof } from "../kv/backup_records.ts";
import * as keys from "../kv/keys.ts";
import { transact } from "../kv/transact.ts";
import { DAY_MS, isoTime } from "../time.ts";
import { raiseAlarm, resolveAlarms } from "./alarms.ts";
import { LOGS, segmentOf } from "./journal.ts";
import { backupIdOf, BACKUPS, type Manifest, manifestName, readBackups } from "./manifest.ts";
import { type BackupServices, throwIfAborted } from "./needs.ts";
import { currentRun, logState, ownOperation, passGuards } from "./state.ts";

/** What a retention run did. */
export interface RetainReport {
  /** Ids of the backups that are there now, newest first. */
  kept: string[];
  /** Ids of those that were deleted. */
  deleted: string[];
  /** Objects of backups that never got to their end, deleted. */
  partials: number;
  /** Stretches of log that no kept backup needs, deleted. */
  segments: number;
}

/** A backup, as far as it matters here. */
export type KeptBackup = Pick<Manifest, "id" | "pointInTime">;

/** Objects of an unfinished backup stay so long: a run is given up after two days. */
const PARTIAL_KEEP_MS = 3 * DAY_MS;
/** What a restore replaced is kept so long, for the case that it should not have been. */
const BEFORE_RESTORE_KEEP_MS = 30 * DAY_MS;
/** 1 January 1970 was a Thursday. */
const MONDAY_SHIFT_DAYS = 3;
/** Proofs looked at, newest first. */
const PROOFS = 100;
/** Records looked at, oldest first: several times what is ever kept. */
const RECORDS = 500;

/**
 * Which of `backups` stay: of each of the last days, weeks (Monday to Sunday)
 * and months (UTC) that have any, the newest; and the newest of all.
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
 * Deletes backups that are not kept any more, the log that only they needed, and
 * what is left of backups that never got to their end.
 *
 * A backup's record goes first, so that none is shown which is not there, then
 * its manifest: from then on it is none, and if this is stopped the rest is
 * cleaned up as that of an unfinished one.
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
  // Of a store that was replaced: it is no substitute for any other of its day.
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
    await forget(services, id);
    await storage.delete(manifestName(id));
    for await (const { key } of storage.list(`${BACKUPS}${id}/`)) await storage.delete(key);
    report.deleted.push(id);
  }
  await forgetDeleted(services, new Set(kept));
  report.kept = report.kept.filter((id) => kept.has(id));
  await passGuards(services);
  report.partials = await cleanUp(services, signal);
  await passGuards(services);
  report.segments = await trimLog(services, backups.filter(({ id }) => kept.has(id)), signal);
  await storage.tidy();
  return report;
}

/** An object of the backup that is not there, or not as large as it should be. */
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

/** Deletes the records of backups that are gone, also of those that an earlier run was stopped after. */
async function forgetDeleted(services: BackupServices, kept: ReadonlySet<string>): Promise<void> {
  const { store, storage } = services;
  for (const { value: { id } } of await store.list(keys.backups, { limit: RECORDS })) {
    // What was taken meanwhile had its manifest before its record.
    if (kept.has(id) || await storage.head(manifestName(id)) !== null) continue;
    await forget(services, id);
  }
}

async function forget(services: BackupServices, id: string): Promise<void> {
  await transact(services, { record: keys.backup(id) }, ({ record }, writes) => {
    if (record) writes.delete(keys.backup(id));
  }, { operation: ownOperation(services) });
}

/** Deletes objects of backups without a manifest, but for the one that is being taken. */
async function cleanUp(
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
    // One with a manifest that cannot be read is for a person to look at.
    if (names.includes(manifestName(id)) || clock() - storedAt < PARTIAL_KEEP_MS) continue;
    for (const name of names) {
      throwIfAborted(signal);
      await storage.delete(name);
      deleted++;
    }
  }
  return deleted;
}

/** Deletes the stretches of log that end before every kept backup of their epoch. */
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
    // The last one is what shipping finds its place by.
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
