/**
 * Who runs a job, and how its last run went.
 *
 * Every instance has the same timetable, so each wants to run each job. The one
 * that takes the lease of the minute does; a lease that is not given back, since
 * its instance was killed, ends by time. Clocks differ and a process may sleep
 * beyond its time: what keeps two runs apart is not the clock but the token,
 * which every write of a run can be made to pass ({@linkcode leaseGuard}).
 *
 * @module
 */
import { AppError } from "../errors.ts";
import * as keys from "../kv/keys.ts";
import type { JobRun, JobRunStatus, Lease } from "../kv/records.ts";
import { type Guard, transact } from "../kv/transact.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import type { StoreServices } from "../kv/store.ts";
import { DAY_MS, HOUR_MS, isoTime, MINUTE_MS, SECOND_MS } from "../time.ts";

export type { JobRun, JobRunStatus } from "../kv/records.ts";

/** A run of a job that has the right to be. */
export interface Claim {
  /** The job. */
  readonly job: string;
  /** The run's id; its exchange, for all that it writes. */
  readonly runId: string;
  /** One more than that of the run before. */
  readonly token: number;
}

/** How a job is claimed. */
export interface ClaimOptions {
  /** Names the run. */
  runId: string;
  /** How long it may take; the lease is a little longer. */
  timeLimitMs: number;
  /** Someone asked for it: it may run although this minute has had its run. */
  isByHand: boolean;
}

/** From a run's time limit until it is anyone's: it has to be told to end, and to end. */
const LEASE_GRACE_MS = 15 * SECOND_MS;
/** A timer may be early by this. */
const EARLY_MS = SECOND_MS;
/** Longer than the rarest job's interval. */
const LEASE_KEEP_MS = 60 * DAY_MS;
const RECEIPT_KEEP_MS = HOUR_MS;

/**
 * Takes the lease of a job, if nobody has it and nobody had it this minute. One
 * read and one commit.
 *
 * @returns null when it is not to be run
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

/**
 * Makes a write pass only while the run has its lease: after another one has
 * taken it over, nothing of the old run can be stored.
 */
export function leaseGuard({ job, token }: Claim): Guard<Lease> {
  return {
    key: keys.lease(job),
    pass(found) {
      if (found?.token !== token) {
        throw new AppError("conflict", `Another run has taken over the job ${job}`);
      }
      return { value: found, expireIn: LEASE_KEEP_MS };
    },
  };
}

/** Who writes in a run: its use cases take it, and its writes are fenced by the lease. */
export function callerOf(job: string, runId: string, claim: Claim | null): Caller {
  return {
    actor: `job:${job}`,
    requestId: runId,
    idempotencyKey: null,
    ...(claim ? { guards: [leaseGuard(claim)] } : {}),
  };
}

/** How a run ended. */
export interface RunResult {
  /** The job. */
  job: string;
  /** The run's id. */
  runId: string;
  /** Milliseconds UTC. */
  startedAt: number;
  /** How it ended. */
  status: JobRunStatus;
  /** What it did; empty unless it is `ok`. With `isMore` something is left to the next run. */
  outcome: JobRun["outcome"];
  /** What it failed with, redacted; null unless it failed. */
  error: string | null;
  /** It did not end when it was told to: its lease is left to end by time. */
  isStillRunning: boolean;
}

/**
 * Keeps how a run went, and gives its lease back in the same commit. One read
 * and one commit.
 *
 * @param claim null for a job that every instance runs
 * @returns null, with nothing written, when another run has the lease by now
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
      ...{ job, runId, status, outcome, error },
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

/** How the last run of each job went. @throws {AppError} `unavailable` */
export async function listJobRuns({ store }: StoreServices): Promise<JobRun[]> {
  const listed = await store.list(keys.jobRuns, { limit: JOBS_MAX });
  return listed.map(({ value }) => value);
}

/** Deno registers no more. */
const JOBS_MAX = 100;

function operationOfRun(job: string, runId: string, now: number) {
  const caller = callerOf(job, runId, null);
  return operationOf(caller, "job", null, { now, keepMs: RECEIPT_KEEP_MS });
}
