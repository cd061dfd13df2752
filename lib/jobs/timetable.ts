/**
 * When the work of each job is due, and what was not done in time.
 *
 * A job that fails says so by itself. One that is not run, is killed each time,
 * or never gets to its end says nothing: it is missed. For that the store knows
 * the timetable, which the job `watch` notes there, and with it any instance can
 * tell. After a time in which nothing ran at all, what is late counts from when
 * jobs began to run again.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { Cron } from "croner";
import { newId } from "../ids.ts";
import { type JobRun, listJobRuns } from "./runs.ts";
import type { StoreServices } from "../kv/store.ts";
import * as keys from "../kv/keys.ts";
import type { Timetable } from "../kv/records.ts";
import { transact } from "../kv/transact.ts";
import { operationOf } from "../entities/caller.ts";
import { HOUR_MS, isoTime, MINUTE_MS, SECOND_MS } from "../time.ts";

export type { Timetable } from "../kv/records.ts";

/** A job, and when its work is due. */
export interface DueJob {
  /** As the log and the store call it. */
  name: string;
  /** Five fields of cron, UTC; weekdays by name, for numbers mean other days to other programs. */
  schedule: string;
  /** How long after each of these moments it has to be done. */
  withinMs: number;
}

/** A job that is unwell. */
export interface JobTrouble {
  /** The job. */
  job: string;
  /** It fails and says why; else it was not done in time. */
  isFailing: boolean;
  /** In a sentence without its end; redacted. */
  reason: string;
}

/** What is known of the jobs. */
export interface JobsState {
  /** Null before the first watch. */
  timetable: Timetable | null;
  /** The last run of each. */
  runs: JobRun[];
}

/** The job that notes the timetable. */
const WATCH = "watch";
/** A timer may be early by this. */
const EARLY_MS = SECOND_MS;
/** After so long without a watch, which is due every minute, nothing else ran either. */
const GAP_MS = 2.5 * MINUTE_MS;
const RECEIPT_KEEP_MS = HOUR_MS;

/** Reading a schedule costs more than asking it. */
const crons = new Map<string, Cron>();

function cronOf(schedule: string): Cron {
  let cron = crons.get(schedule);
  if (!cron) crons.set(schedule, cron = new Cron(schedule, { timezone: "UTC" }));
  return cron;
}

/** The last moment of a schedule up to `now`, to a second. @throws if it is none, or has none */
export function lastDue(schedule: string, now: number): number {
  const [last] = cronOf(schedule).previousRuns(1, new Date(now + EARLY_MS));
  if (!last) throw new RangeError(`The schedule ${schedule} was never due`);
  return last.getTime();
}

/** The first moment of a schedule after `now`, to a second. @throws if it is none, or has none */
export function nextDue(schedule: string, now: number): number {
  const next = cronOf(schedule).nextRun(new Date(now + EARLY_MS));
  if (!next) throw new RangeError(`The schedule ${schedule} is never due`);
  return next.getTime();
}

/** Reads what is known of the jobs. Two reads, side by side. @throws {AppError} `unavailable` */
export async function readJobs(services: StoreServices): Promise<JobsState> {
  const [timetable, runs] = await Promise.all([
    services.store.get(keys.timetable),
    listJobRuns(services),
  ]);
  return { timetable, runs };
}

/**
 * The jobs of the timetable that are unwell.
 *
 * @param upSince When the instance that asks began, in milliseconds UTC. One that
 * has just begun says nothing of a timetable at a standstill, which may be why.
 */
export function troublesOf({ timetable, runs }: JobsState, now: number, upSince = 0): JobTrouble[] {
  if (!timetable) return [];
  const lateOf = (job: string, resumedAt: number) => {
    const { schedule, withinMs, since } = timetable.jobs[job]!;
    const okAt = runs.find((run) => run.job === job)?.lastOkAt ?? null;
    const dueAt = nextDue(schedule, Math.max(Date.parse(since), parsed(okAt)));
    return now - Math.max(dueAt, resumedAt) > withinMs ? dueAt : null;
  };
  // Who resumes is the watch: it alone is late from the beginning.
  const isAtStandstill = WATCH in timetable.jobs && lateOf(WATCH, 0) !== null;
  const troubles: JobTrouble[] = [];
  for (const job of Object.keys(timetable.jobs)) {
    const run = runs.find((run) => run.job === job);
    const resumedAt = Date.parse(timetable.resumedAt);
    const lateSince = job === WATCH ? lateOf(job, upSince) : lateOf(job, resumedAt);
    if (run && run.failures > 0) {
      const often = run.failures === 1 ? "failed" : `failed ${run.failures} times`;
      const reason = `${job} ${often}: ${run.error ?? "it was stopped since"}`;
      troubles.push({ job, isFailing: true, reason });
    } else if (lateSince !== null && (job === WATCH || !isAtStandstill)) {
      const reason = `${job} was due at ${isoTime(lateSince)} and is not done`;
      troubles.push({ job, isFailing: false, reason });
    }
  }
  return troubles;
}

function parsed(time: string | null): number {
  return time === null ? 0 : Date.parse(time);
}

/**
 * Notes in the store which jobs there are, and that jobs run again if none did.
 * To be called by the watch. One read, unless something is new.
 *
 * @throws {AppError} `unavailable`
 */
export async function noteTimetable(
  services: StoreServices,
  jobs: readonly DueJob[],
): Promise<void> {
  const now = services.clock();
  const [known, watch] = await services.store.getMany<Timetable | JobRun>([
    keys.timetable,
    keys.jobRun(WATCH),
  ]) as [Timetable | null, JobRun | null];
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

/** The timetable with these jobs and no others. */
function renewed(known: Timetable | null, jobs: readonly DueJob[], now: number): Timetable {
  const entries = jobs.map(({ name, schedule, withinMs }) => {
    const before = known?.jobs[name];
    const isSame = before?.schedule === schedule && before.withinMs === withinMs;
    return [name, { schedule, withinMs, since: isSame ? before.since : isoTime(now) }] as const;
  });
  return { jobs: Object.fromEntries(entries), resumedAt: known?.resumedAt ?? isoTime(now) };
}
