/**
 * Backups: taken beside a working store, read back before they count, restored
 * to any moment since the oldest, and proven by restoring them. This file has the
 * jobs and the operators' overview and requests.
 *
 * The storage holds
 *
 * ```text
 * backup/<id>/base-<n>-<random>.gz   entries as they were scanned, in key order
 * backup/<id>/log-<n>-<random>.gz    the commits during the scan
 * backup/<id>/manifest.json          written last: without it there is no backup
 * log/<epoch>/<from>-<to>-<random>   the commits after `from` up to `to`
 * ```
 *
 * `take.ts` proves that this is a consistent state, `object.ts` and `lines.ts`
 * define the format of an object, and `journal.ts` joins segments to one log.
 *
 * A backup is due once a day, on request, while one is unfinished, and when the
 * shipped log continues no backup: in a new or restored store, and after a gap. It
 * stays due until it is taken, however often that fails, so only the request and
 * its time are stored.
 *
 * @module
 */
import { drill } from "./drill.ts";
import { type BackupServices, fencedBy } from "./needs.ts";
import { retain } from "./retain.ts";
import { shipLog } from "./ship.ts";
import { takeBackup } from "./take.ts";
import type {
  BackupRecord,
  BackupRun,
  JobRequest,
  NewestBackup,
  RequestableJob,
  RestoreProof,
} from "../kv/backup_records.ts";
import { AppError } from "../errors.ts";
import * as keys from "../kv/keys.ts";
import type { JobRun } from "../kv/job_records.ts";
import { transact } from "../kv/mod.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import type { KvPort, StoreServices } from "../kv/store.ts";
import { isoTime, MINUTE_MS } from "../time.ts";
import { lastDue } from "../jobs/timetable.ts";

/** The services that the jobs need. */
export interface DrillServices extends BackupServices {
  /** Opens an empty KV that closing deletes; absent if there is only one KV, as on Deno Deploy. */
  readonly openScratch?: () => Promise<KvPort>;
}

export { BACKUP_PHASES, REQUESTABLE_JOBS, RESTORE_KINDS } from "../kv/backup_records.ts";

/** When a backup is due: five fields of cron, UTC. */
export const BACKUP_SCHEDULE = "0 2 * * *";
/** When a restore drill is due: five fields of cron, UTC. */
export const DRILL_SCHEDULE = "0 4 * * SUN";

/** The time of one run for the backup itself; an instance may not live much longer. */
const BUDGET_MS = 3 * MINUTE_MS;
/** More than retention keeps. */
const BACKUPS_MAX = 200;
const PROOFS_SHOWN = 10;

/** The facts that decide whether a backup is due. */
export interface BackupNeed {
  /** The newest verified backup of this store. */
  newest: NewestBackup | null;
  /** The unfinished backup. */
  run: BackupRun | null;
  /** The database of the shipped log; null before its first segment. */
  epoch: string | null;
  /** The last request. */
  request: JobRequest | null;
}

/** Whether a backup has to be begun or continued. */
export function isBackupDue({ newest, run, epoch, request }: BackupNeed, now: number): boolean {
  if (run !== null || newest === null) return true;
  if (epoch !== null && newest.epoch !== epoch) return true;
  return isBefore(newest.pointInTime, lastDue(BACKUP_SCHEDULE, now)) ||
    isRequestOpen(request, newest);
}

/** The facts that decide whether a drill is due. */
export interface DrillNeed {
  /** The newest verified backup of this store. */
  newest: NewestBackup | null;
  /** The result of the last restore or drill. */
  proof: RestoreProof | null;
  /** The last request. */
  request: JobRequest | null;
}

/** Whether a drill is due: weekly, on request, and after a failed drill of an older backup. */
export function isDrillDue({ newest, proof, request }: DrillNeed, now: number): boolean {
  if (newest === null) return false;
  if (proof === null || isBefore(proof.at, lastDue(DRILL_SCHEDULE, now))) return true;
  if (!proof.isProven && proof.backupId !== newest.id) return true;
  return request !== null && isBefore(proof.at, Date.parse(request.at));
}

function isBefore(time: string, moment: number): boolean {
  return Date.parse(time) < moment;
}

/** A requested backup must hold everything acknowledged before the request. */
function isRequestOpen(request: JobRequest | null, { pointInTime }: NewestBackup): boolean {
  return request !== null && isBefore(pointInTime, Date.parse(request.at));
}

/** Whether the job `backup` is due. One read. @throws {AppError} `unavailable` */
export async function isBackupJobDue(services: StoreServices): Promise<boolean> {
  const [newest, run, epoch, request] = await services.store.getMany([
    keys.newestBackup,
    keys.backupRun,
    keys.epoch,
    keys.wish("backup"),
  ]);
  return isBackupDue({ newest, run, epoch, request }, services.clock());
}

/** Whether the job `restore_drill` is due. One read. @throws {AppError} `unavailable` */
export async function isDrillJobDue(services: StoreServices): Promise<boolean> {
  const [newest, proof, request] = await services.store.getMany([
    keys.newestBackup,
    keys.newestProof,
    keys.wish("restore_drill"),
  ]);
  return isDrillDue({ newest, proof, request }, services.clock());
}

/** Options for a run of a job. */
export interface BackupJobOptions {
  /** Ends the run; the next one continues. */
  signal: AbortSignal;
  /** The lease of the caller fences all writes. */
  by: Caller;
  /** The time for the backup itself, in milliseconds; 3 minutes if absent. */
  budgetMs?: number;
}

/**
 * One run of the job `backup`: takes or continues the backup within its time. Once
 * the backup is taken, ships the log and applies the retention.
 *
 * @throws what `takeBackup()`, `shipLog()` and `retain()` throw; the next run continues
 */
export async function runBackup(
  services: DrillServices,
  { signal, by, budgetMs = BUDGET_MS }: BackupJobOptions,
): Promise<JobRun["outcome"]> {
  // Another instance may have taken it since the job was found due.
  if (!await isBackupJobDue(services)) return {};
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
 * One run of the job `restore_drill`. A backup that cannot be restored raises an
 * alert; the run itself is successful.
 *
 * @throws {AppError} `unavailable`, and what the storage throws
 */
export async function runDrill(
  services: DrillServices,
  { signal, by }: BackupJobOptions,
): Promise<JobRun["outcome"]> {
  if (!await isDrillJobDue(services)) return {};
  const { openScratch } = services;
  const options = { signal, ...(openScratch ? { openScratch } : {}) };
  const { isProven, backupId, entries, durationMs } = await drill(fencedBy(services, by), options);
  return { isProven, backupId, entries, durationMs };
}

/** The state of backups. */
export interface BackupOverview {
  /** Verified backups, newest first. */
  backups: BackupRecord[];
  /** The unfinished backup; null for none. */
  underWay: BackupRun | null;
  /** When the open request was made; null for none. */
  askedAt: string | null;
  /** The results of restores and drills, newest first. */
  proofs: RestoreProof[];
}

/** Reads the state of backups. Three concurrent reads. @throws {AppError} `unavailable` */
export async function readBackupOverview(
  { store }: Pick<StoreServices, "store">,
): Promise<BackupOverview> {
  const [backups, proofs, [underWay, newest, request]] = await Promise.all([
    store.list(keys.backups, { limit: BACKUPS_MAX, reverse: true }),
    store.list(keys.restoreProofs, { limit: PROOFS_SHOWN, reverse: true }),
    store.getMany([keys.backupRun, keys.newestBackup, keys.wish("backup")]),
  ]);
  const isOpen = request !== null && (newest === null || isRequestOpen(request, newest));
  return {
    backups: backups.map(({ value }) => value),
    underWay,
    askedAt: isOpen ? request.at : null,
    proofs: proofs.map(({ value }) => value),
  };
}

/**
 * Requests a job before it is due: a run starts within five minutes. Requests made
 * before that run are served together.
 *
 * @returns The job and the time of the request.
 * @throws {AppError} `conflict` for a drill without a backup; what `transact()` throws
 */
export async function requestJob(
  services: DrillServices,
  job: RequestableJob,
  by: Caller,
): Promise<{ job: RequestableJob; askedAt: string }> {
  const now = services.clock();
  const operation = operationOf(by, `${job}.ask`, null, { now });
  return await transact(services, { newest: keys.newestBackup }, ({ newest }, writes) => {
    if (job === "restore_drill" && newest === null) {
      throw new AppError("conflict", "Cannot run a restore drill: there is no backup yet");
    }
    const at = isoTime(now);
    writes.set(keys.wish(job), { at, requestId: by.requestId });
    return { job, askedAt: at };
  }, { operation });
}

/** The newest backup and the newest proof. */
export interface NewestOfBackups {
  /** The newest verified backup of this store; null for none. */
  newest: NewestBackup | null;
  /** The result of the last restore or drill; null for none. */
  proof: RestoreProof | null;
  /** Since when the timetable has had the job `backup`; null before its first entry. */
  knownSince: string | null;
}

/** Reads the newest backup and proof. One read. @throws {AppError} `unavailable` */
export async function readNewest(
  { store }: Pick<StoreServices, "store">,
): Promise<NewestOfBackups> {
  const [newest, proof, timetable] = await store.getMany([
    keys.newestBackup,
    keys.newestProof,
    keys.timetable,
  ]);
  return { newest, proof, knownSince: timetable?.jobs.backup?.since ?? null };
}
