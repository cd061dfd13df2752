/**
 * Leases of jobs, and the record of each job's last run.
 *
 * Every instance has the same timetable; the one that acquires the lease of the
 * minute runs the job. The lease of a killed instance expires. Since clocks differ
 * and a process may be suspended beyond its lease, runs are kept apart not by time
 * but by the lease's token, which guards every write of a run ({@linkcode leaseGuard}).
 *
 * @module
 */
import { AppError } from "../errors.ts";
import * as keys from "../kv/keys.ts";
import type { JobRun, JobRunStatus, Lease } from "../kv/job_records.ts";
import { transact } from "../kv/mod.ts";
import type { Guard } from "../kv/transaction.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import type { StoreServices } from "../kv/store.ts";
import { DAY_MS, HOUR_MS, isoTime, MINUTE_MS, SECOND_MS } from "../time.ts";

export { JOB_RUN_STATUSES, type JobRun, type JobRunStatus } from "../kv/job_records.ts";

/** A run that has acquired its job's lease. */
export interface Claim {
  /** The job. */
  readonly job: string;
  /** The run's id; the request id of all that it writes. */
  readonly runId: string;
  /** The fencing token: one more than that of the run before. */
  readonly token: number;
}

/** How a job is claimed. */
export interface ClaimOptions {
  /** The id of the run. */
  runId: string;
  /** Its time limit; the lease is 15 seconds longer. */
  timeLimitMs: number;
  /** Requested by a person: may run although this minute already had a run. */
  isByHand: boolean;
}

/** From a run's time limit to the end of its lease: the time to abort it. */
const LEASE_GRACE_MS = 15 * SECOND_MS;
/** Timers may fire early by this. */
const EARLY_MS = SECOND_MS;
/** Longer than the rarest job's interval. */
const LEASE_KEEP_MS = 60 * DAY_MS;
const RECEIPT_KEEP_MS = HOUR_MS;

/**
 * Acquires the lease of a job, unless a run holds it or had it this minute. One
 * read and one commit.
 *
 * @returns null when the job must not run
 * @throws {AppError} `unavailable`
 */
export async function claimJob(
  services: StoreServices,
  job: string,
  { runId, timeLimitMs, isByHand }: ClaimOptions,
): Promise<Claim | null> {
  const now = services.clock();
  const minute = Math.floor((now + EARLY_MS) / MINUTE_MS);
  const token = await transact(services, { lease: keys.lease(job) }, ({ lease }, writes) => {
    if (lease && lease.until > now) return null;
    if (lease && lease.minute >= minute && !isByHand) return null;
    const token = (lease?.token ?? 0) + 1;
    writes.set(
      keys.lease(job),
      { by: runId, token, minute, until: now + timeLimitMs + LEASE_GRACE_MS },
      { expireIn: LEASE_KEEP_MS },
    );
    return token;
  }, { operation: operationOfRun(job, runId, now) });
  return token === null ? null : { job, runId, token };
}

/** Lets a write pass only while the run has its lease: a superseded run can store nothing. */
export function leaseGuard({ job, token }: Claim): Guard<Lease> {
  return {
    key: keys.lease(job),
    pass(found) {
      if (found?.token !== token) {
        throw new AppError("conflict", `Another run of the job ${job} has taken over`);
      }
      return { value: found, expireIn: LEASE_KEEP_MS };
    },
  };
}

/** The caller for the use cases of a run; their writes are fenced by its lease. */
export function callerOf(job: string, runId: string, claim: Claim | null): Caller {
  return {
    actor: `job:${job}`,
    requestId: runId,
    idempotencyKey: null,
    ...(claim ? { guards: [leaseGuard(claim)] } : {}),
  };
}

/** The result of a run. */
export interface RunResult {
  /** The job. */
  job: string;
  /** The run's id. */
  runId: string;
  /** Milliseconds UTC. */
  startedAt: number;
  /** How the run ended. */
  status: JobRunStatus;
  /** What it did; empty unless `ok`. `isMore` means that work is left for the next run. */
  outcome: JobRun["outcome"];
  /** The error, redacted; null unless it failed. */
  error: string | null;
  /** It ignored its abort signal: its lease is left to expire. */
  isStillRunning: boolean;
}

/**
 * Records the result of a run and releases its lease, in one commit. One read and
 * one commit.
 *
 * @param claim null for a job that every instance runs
 * @returns null, with nothing written, if another run has the lease by now
 * @throws {AppError} `unavailable`
 */
export async function finishJob(
  services: StoreServices,
  { job, runId, startedAt, status, outcome, error, isStillRunning }: RunResult,
  claim: Claim | null,
): Promise<JobRun | null> {
  const now = services.clock();
  const reads = { lease: keys.lease(job), last: keys.jobRun(job) };
  return await transact(services, reads, ({ lease, last }, writes) => {
    if (claim) {
      if (lease?.token !== claim.token) return null;
      const until = isStillRunning ? lease.until : 0;
      writes.set(keys.lease(job), { ...lease, until }, { expireIn: LEASE_KEEP_MS });
    }
    const isOk = status === "ok";
    const isDone = isOk && outcome.isMore !== true;
    const isFailure = status === "failed" || status === "timed_out";
    const run: JobRun = {
      job,
      runId,
      status,
      outcome,
      error,
      startedAt: isoTime(startedAt),
      endedAt: isoTime(now),
      durationMs: Math.max(0, now - startedAt),
      failures: isOk ? 0 : (last?.failures ?? 0) + (isFailure ? 1 : 0),
      lastOkAt: isDone ? isoTime(now) : last?.lastOkAt ?? null,
    };
    writes.set(keys.jobRun(job), run);
    return run;
  }, { operation: operationOfRun(job, runId, now) });
}

/** The record of each job's last run. @throws {AppError} `unavailable` */
export async function listJobRuns({ store }: StoreServices): Promise<JobRun[]> {
  const listed = await store.list(keys.jobRuns, { limit: JOBS_MAX });
  return listed.map(({ value }) => value);
}

/** More than Deno registers. */
const JOBS_MAX = 100;

function operationOfRun(job: string, runId: string, now: number) {
  const caller = callerOf(job, runId, null);
  return operationOf(caller, "job", null, { now, keepMs: RECEIPT_KEEP_MS });
}
