/**
 * When each job is due, and which jobs did not finish in time.
 *
 * A failing job reports itself. A job that does not start, is killed each time or
 * never finishes reports nothing: it is missed. To detect that from any instance,
 * the job `watch` stores the timetable. After an outage of all jobs, lateness
 * counts from when jobs started to run again.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { Cron } from "croner";
import { newId } from "../ids.ts";
import { type JobRun, listJobRuns } from "./mod.ts";
import type { StoreServices } from "../kv/store.ts";
import * as keys from "../kv/keys.ts";
import type { Timetable } from "../kv/job_records.ts";
import { transact } from "../kv/mod.ts";
import { operationOf } from "../entities/caller.ts";
import { HOUR_MS, isoTime, MINUTE_MS, SECOND_MS } from "../time.ts";

export type { Timetable } from "../kv/job_records.ts";

/** A job and when it is due. */
export interface DueJob {
  /** Its name in the log and the store. */
  name: string;
  /** Five cron fields, UTC; weekdays by name, since programs number them differently. */
  schedule: string;
  /** How long after each of these moments it must have finished. */
  withinMs: number;
}

/** A job that fails or is missed. */
export interface JobProblem {
  /** The job. */
  job: string;
  /** It fails; else it did not finish in time. */
  isFailing: boolean;
  /** A sentence without its full stop; redacted. */
  reason: string;
}

/** What the store records of the jobs. */
export interface JobsState {
  /** Null before the first run of `watch`. */
  timetable: Timetable | null;
  /** The last run of each. */
  runs: JobRun[];
}

/** The job that stores the timetable. */
const WATCH = "watch";
/** Timers may fire early by this. */
const EARLY_MS = SECOND_MS;
/** Without a run of `watch`, due every minute, for this long no other job ran either. */
const GAP_MS = 2.5 * MINUTE_MS;
const RECEIPT_KEEP_MS = HOUR_MS;

/** Parsing a schedule costs more than evaluating it. */
const crons = new Map<string, Cron>();

function cronOf(schedule: string): Cron {
  let cron = crons.get(schedule);
  if (!cron) crons.set(schedule, cron = new Cron(schedule, { timezone: "UTC" }));
  return cron;
}

/**
 * The last moment of a schedule up to `now`, to a second.
 *
 * @throws If the schedule is invalid, or has no such moment.
 */
export function lastDue(schedule: string, now: number): number {
  const [last] = cronOf(schedule).previousRuns(1, new Date(now + EARLY_MS));
  if (!last) throw new RangeError(`The schedule ${schedule} was never due`);
  return last.getTime();
}

/**
 * The first moment of a schedule after `now`, to a second.
 *
 * @throws If the schedule is invalid, or has no such moment.
 */
export function nextDue(schedule: string, now: number): number {
  const next = cronOf(schedule).nextRun(new Date(now + EARLY_MS));
  if (!next) throw new RangeError(`The schedule ${schedule} is never due`);
  return next.getTime();
}

/** Reads the state of the jobs. Two reads in parallel. @throws {AppError} `unavailable` */
export async function readJobs(services: StoreServices): Promise<JobsState> {
  const [timetable, runs] = await Promise.all([
    services.store.get(keys.timetable),
    listJobRuns(services),
  ]);
  return { timetable, runs };
}

/**
 * The jobs of the timetable that fail or are missed.
 *
 * @param upSince When the calling instance started, in milliseconds UTC. A fresh
 * instance does not report that jobs stand still: the restart may be the reason.
 */
export function jobProblems(
  { timetable, runs }: JobsState,
  now: number,
  upSince = 0,
): JobProblem[] {
  if (!timetable) return [];
  const lateSince = (job: string, resumedAt: number) => {
    const { schedule, withinMs, since } = timetable.jobs[job]!;
    const okAt = runs.find((run) => run.job === job)?.lastOkAt ?? null;
    const dueAt = nextDue(schedule, Math.max(Date.parse(since), parsed(okAt)));
    return now - Math.max(dueAt, resumedAt) > withinMs ? dueAt : null;
  };
  // A run of the watch is what resumes the jobs, so for the watch no resumption counts.
  const isAtStandstill = WATCH in timetable.jobs && lateSince(WATCH, 0) !== null;
  const resumedAt = Date.parse(timetable.resumedAt);
  const problems: JobProblem[] = [];
  for (const job of Object.keys(timetable.jobs)) {
    const run = runs.find((run) => run.job === job);
    const dueAt = lateSince(job, job === WATCH ? upSince : resumedAt);
    if (run && run.failures > 0) {
      const often = run.failures === 1 ? "failed" : `failed ${run.failures} times`;
      const reason = `${job} ${often}: ${run.error ?? "the latest run was stopped"}`;
      problems.push({ job, isFailing: true, reason });
    } else if (dueAt !== null && (job === WATCH || !isAtStandstill)) {
      const reason = `${job} was due at ${isoTime(dueAt)} and has not finished`;
      problems.push({ job, isFailing: false, reason });
    }
  }
  return problems;
}

function parsed(time: string | null): number {
  return time === null ? 0 : Date.parse(time);
}

/**
 * Stores the list of jobs, and when jobs resumed after an outage. To be called by
 * `watch`. One read when nothing changed, else also a transaction.
 *
 * @throws {AppError} `unavailable`
 */
export async function storeTimetable(
  services: StoreServices,
  jobs: readonly DueJob[],
): Promise<void> {
  const now = services.clock();
  const [known, watch] = await services.store.getMany([
    keys.timetable,
    keys.jobRun(WATCH),
  ]);
  const okAt = watch?.lastOkAt ?? null;
  const isResumed = okAt !== null && now - Date.parse(okAt) > GAP_MS;
  if (!isResumed && isDeepStrictEqual(renewed(known, jobs, now), known)) return;

  const caller = {
    actor: `job:${WATCH}` as const,
    requestId: newId(now),
    idempotencyKey: null,
  };
  const operation = operationOf(caller, "timetable", null, { now, keepMs: RECEIPT_KEEP_MS });
  await transact(services, { known: keys.timetable }, ({ known }, writes) => {
    const next = renewed(known, jobs, now);
    if (isResumed) next.resumedAt = isoTime(now);
    writes.set(keys.timetable, next);
  }, { operation });
}

/** The timetable of exactly these jobs. */
function renewed(known: Timetable | null, jobs: readonly DueJob[], now: number): Timetable {
  const entries = jobs.map(({ name, schedule, withinMs }) => {
    const before = known?.jobs[name];
    const isSame = before?.schedule === schedule && before.withinMs === withinMs;
    return [name, { schedule, withinMs, since: isSame ? before.since : isoTime(now) }] as const;
  });
  return { jobs: Object.fromEntries(entries), resumedAt: known?.resumedAt ?? isoTime(now) };
}
