/**
 * The shop's backups as its operators see them: when they are due, how a run of
 * their jobs goes, what there is, and asking for one more.
 *
 * A backup is due once a day, when somebody asks, when one was begun and not
 * finished, and when the stored log goes on from none: in a new or restored
 * store, and after a gap. What is due stays so until it is done, however often
 * that fails; so nothing has to be remembered but what was asked for, and when.
 *
 * @module
 */
import {
  type BackupRecord,
  type BackupRun,
  type BackupServices,
  drill,
  fencedBy,
  type RestoreProof,
  retain,
  shipLog,
  takeBackup,
} from "./mod.ts";
import { AppError } from "../errors.ts";
import type { NewestBackup, Wish } from "../kv/backup_records.ts";
import * as keys from "../kv/keys.ts";
import type { JobRun, Timetable } from "../kv/records.ts";
import { transact } from "../kv/transact.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import type { KvPort, StoreServices } from "../kv/store.ts";
import { isoTime, MINUTE_MS } from "../time.ts";
import { lastDue } from "../jobs/timetable.ts";

/** What the jobs need. */
export interface DrillServices extends BackupServices {
  /** Opens an empty KV that is gone when closed; absent where there can be only one, as on Deno Deploy. */
  readonly openScratch?: () => Promise<KvPort>;
}

export { hasBackups } from "./mod.ts";

/** A job that somebody may ask for. */
export type WishedJob = "backup" | "restore_drill";

/** When a backup is due: five fields of cron, UTC. */
export const BACKUP_SCHEDULE = "0 2 * * *";
/** When a restore is due to be tried. */
export const DRILL_SCHEDULE = "0 4 * * SUN";

/** What one run of the job does of a backup; an instance may not live for much more. */
const BUDGET_MS = 3 * MINUTE_MS;
/** More than retention keeps. */
const BACKUPS_MAX = 200;
const PROOFS_SHOWN = 10;

/** What says whether a backup is due. */
export interface BackupNeed {
  /** The newest verified one of this store. */
  newest: NewestBackup | null;
  /** One that was begun. */
  run: BackupRun | null;
  /** Which database the log is of now; null before its first stretch. */
  epoch: string | null;
  /** That somebody asked for one. */
  wish: Wish | null;
}

/** Whether a backup is to be begun, or gone on with. */
export function isBackupDue({ newest, run, epoch, wish }: BackupNeed, now: number): boolean {
  if (run !== null || newest === null) return true;
  if (epoch !== null && newest.epoch !== epoch) return true;
  return isBefore(newest.pointInTime, lastDue(BACKUP_SCHEDULE, now)) || isWished(wish, newest);
}

/** What says whether a drill is due. */
export interface DrillNeed {
  /** The newest verified backup of this store. */
  newest: NewestBackup | null;
  /** What the last restore showed. */
  proof: RestoreProof | null;
  /** That somebody asked for a drill. */
  wish: Wish | null;
}

/** Whether the newest backup is to be tried out: weekly, when asked, and when the one before failed. */
export function isDrillDue({ newest, proof, wish }: DrillNeed, now: number): boolean {
  if (newest === null) return false;
  if (proof === null || isBefore(proof.at, lastDue(DRILL_SCHEDULE, now))) return true;
  if (!proof.isProven && proof.backupId !== newest.id) return true;
  return wish !== null && isBefore(proof.at, Date.parse(wish.at));
}

function isBefore(time: string, moment: number): boolean {
  return Date.parse(time) < moment;
}

/** What is asked for now has to have what is there now. */
function isWished(wish: Wish | null, { pointInTime }: NewestBackup): boolean {
  return wish !== null && isBefore(pointInTime, Date.parse(wish.at));
}

/** Whether the job `backup` has anything to do. One read. @throws {AppError} `unavailable` */
export async function isBackupWanted(
  services: StoreServices,
): Promise<boolean> {
  const [newest, run, epoch, wish] = await services.store.getMany<unknown>([
    keys.newestBackup,
    keys.backupRun,
    keys.epoch,
    keys.wish("backup"),
  ]) as [NewestBackup | null, BackupRun | null, string | null, Wish | null];
  return isBackupDue({ newest, run, epoch, wish }, services.clock());
}

/** Whether the job `restore_drill` has anything to do. One read. @throws {AppError} `unavailable` */
export async function isDrillWanted(services: StoreServices): Promise<boolean> {
  const [newest, proof, wish] = await services.store.getMany<unknown>([
    keys.newestBackup,
    keys.newestProof,
    keys.wish("restore_drill"),
  ]) as [NewestBackup | null, RestoreProof | null, Wish | null];
  return isDrillDue({ newest, proof, wish }, services.clock());
}

/** Options for a run of a job. */
export interface BackupJobOptions {
  /** Ends it; the next run goes on. */
  signal: AbortSignal;
  /** Its lease fences all that is written. */
  by: Caller;
  /** How long to work on the backup itself, in milliseconds; 3 minutes when absent. */
  budgetMs?: number;
}

/**
 * One run of the job `backup`: as much of the backup as there is time for, and
 * once it is taken, the log since and what is kept no more.
 *
 * @throws what `takeBackup()`, `shipLog()` and `retain()` throw; the next run goes on
 */
export async function runBackup(
  services: DrillServices,
  { signal, by, budgetMs = BUDGET_MS }: BackupJobOptions,
): Promise<JobRun["outcome"]> {
  // Another instance may have done it since it was looked for.
  if (!await isBackupWanted(services)) return {};
  const fenced = fencedBy(services, by);
  const result = await takeBackup(fenced, { signal, budgetMs });
  if (result.status === "unfinished") {
    return { isMore: true, backupId: result.id, phase: result.phase, entries: result.entries };
  }
  await shipLog(fenced, { signal });
  const { kept, deleted } = await retain(fenced, { signal });
  const { id, entries, bytes } = result.manifest;
  return { backupId: id, entries, bytes, kept: kept.length, deleted: deleted.length };
}

/**
 * One run of the job `restore_drill`. A backup that cannot be restored is an
 * alert, and the run is none the less good: it did its work.
 *
 * @throws {AppError} `unavailable`, and what the storage throws
 */
export async function runDrill(
  services: DrillServices,
  { signal, by }: BackupJobOptions,
): Promise<JobRun["outcome"]> {
  if (!await isDrillWanted(services)) return {};
  const { openScratch } = services;
  const options = { signal, ...(openScratch ? { openScratch } : {}) };
  const { isProven, backupId, entries, durationMs } = await drill(fencedBy(services, by), options);
  return { isProven, backupId, entries, durationMs };
}

/** What there is of backups. */
export interface BackupOverview {
  /** Verified ones, newest first. */
  backups: BackupRecord[];
  /** The one that is being taken; null for none. */
  underWay: BackupRun | null;
  /** When a backup was asked for that is not there yet; null if none is owed. */
  askedAt: string | null;
  /** What restores and drills showed, newest first. */
  proofs: RestoreProof[];
}

/** What there is of backups. Three reads, side by side. @throws {AppError} `unavailable` */
export async function readBackupOverview(
  { store }: Pick<StoreServices, "store">,
): Promise<BackupOverview> {
  const [backups, proofs, [underWay, newest, wish]] = await Promise.all([
    store.list(keys.backups, { limit: BACKUPS_MAX, reverse: true }),
    store.list(keys.restoreProofs, { limit: PROOFS_SHOWN, reverse: true }),
    store.getMany<unknown>([keys.backupRun, keys.newestBackup, keys.wish("backup")]) as Promise<
      [BackupRun | null, NewestBackup | null, Wish | null]
    >,
  ]);
  const isOwed = wish !== null && (newest === null || isWished(wish, newest));
  return {
    backups: backups.map(({ value }) => value),
    underWay,
    askedAt: isOwed ? wish.at : null,
    proofs: proofs.map(({ value }) => value),
  };
}

/**
 * Asks for a job to be done before its time: a run of it takes it up within five
 * minutes. What was asked for several times before is done once.
 *
 * @returns When it was asked for.
 * @throws {AppError} `conflict` when a backup is to be restored and there is none;
 * what `transact()` throws
 */
export async function askFor(
  services: DrillServices,
  job: WishedJob,
  by: Caller,
): Promise<{ job: WishedJob; askedAt: string }> {
  const now = services.clock();
  const operation = operationOf(by, `${job}.ask`, null, { now });
  return await transact(services, { newest: keys.newestBackup }, ({ newest }, writes) => {
    if (job === "restore_drill" && newest === null) {
      throw new AppError("conflict", "There is no backup yet that could be restored");
    }
    const at = isoTime(now);
    writes.set(keys.wish(job), { at, requestId: by.requestId });
    return { job, askedAt: at };
  }, { operation });
}

/** The newest of what there is of backups. */
export interface NewestOfBackups {
  /** The newest verified backup of this store; null for none. */
  newest: NewestBackup | null;
  /** What the last restore or drill showed; null for none. */
  proof: RestoreProof | null;
  /** Since when the store has had the job at least; null before the first watch. */
  knownSince: string | null;
}

/** Reads the newest of what there is. One read. @throws {AppError} `unavailable` */
export async function readNewest(
  { store }: Pick<StoreServices, "store">,
): Promise<NewestOfBackups> {
  const [newest, proof, timetable] = await store.getMany<unknown>([
    keys.newestBackup,
    keys.newestProof,
    keys.timetable,
  ]) as [NewestBackup | null, RestoreProof | null, Timetable | null];
  return { newest, proof, knownSince: timetable?.jobs.backup?.since ?? null };
}
