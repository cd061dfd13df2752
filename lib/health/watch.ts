/**
 * What is watched, and what is said of it when it is unwell.
 *
 * @module
 */
import { type Alert, type AlertServices, raiseAlert, settleAlerts } from "../alerts/mod.ts";
import { errorLine } from "../telemetry/error_copy.ts";
import type { ErrorContext, ErrorTracker } from "../telemetry/error_tracking.ts";
import type { Health, HealthMonitor } from "./mod.ts";
import { MINUTE_MS } from "../time.ts";
import type { ErrorRate } from "../telemetry/error_rate.ts";
import { type DueJob, noteTimetable, readJobs, troublesOf } from "../jobs/timetable.ts";

/** What the rules look at. */
export interface Sight {
  /** Of this instance. */
  health: Health;
  /** Unexpected errors of this instance in the last 5 minutes. */
  errors: number;
  /** How many of them are usual. */
  errorsMax: number;
}

/** Something that is looked at every minute. */
export interface WatchRule extends Omit<Alert, "detail"> {
  /** What is unwell, in a sentence; null when it is well. */
  look(sight: Sight): string | null;
}

/** What is watched on every instance. A failed job is told of by its run: {@linkcode jobFailed}. */
export const WATCH_RULES: readonly WatchRule[] = [
  {
    name: "store_unhealthy",
    severity: "critical",
    title: "The store does not answer",
    // Long enough that instances which see different things do not take turns.
    quietMs: 3 * MINUTE_MS,
    look: ({ health: { checks: { store } } }) =>
      store.status === "unhealthy" ? store.reason ?? "It does not answer" : null,
  },
  {
    name: "backup_old",
    severity: "critical",
    title: "There is no backup of the last 26 hours",
    quietMs: 10 * MINUTE_MS,
    look: ({ health: { checks: { backup } } }) =>
      // Without an age it could not be looked at, which is another matter.
      backup?.status === "degraded" && backup.ageS !== undefined ? backup.reason : null,
  },
  {
    name: "errors",
    severity: "critical",
    title: "Requests fail for reasons that nobody expected",
    quietMs: 10 * MINUTE_MS,
    look: ({ errors, errorsMax }) =>
      errors > errorsMax
        ? `${errors} unexpected errors in 5 minutes on one instance; the log and the error tracker have them`
        : null,
  },
];

/** The incident of a job that fails. It ends with the job's next success. */
export function jobFailedName(job: string): string {
  return `job_failed:${job}`;
}

/** What is said when a run of a job failed. */
export function jobFailed(job: string, error: unknown): Alert {
  return {
    name: jobFailedName(job),
    severity: "warning",
    title: `The job ${job} failed`,
    detail: errorLine(error),
    quietMs: null,
  };
}

/** What is said when a job was not done in time. It ends when it is not seen any more. */
export function jobMissed(job: string, detail: string): Alert {
  return {
    name: `job_missed:${job}`,
    severity: "warning",
    title: `The job ${job} was not done in time`,
    detail,
    quietMs: 3 * MINUTE_MS,
  };
}

/** What watching needs. */
export interface WatchServices extends AlertServices {
  /** Where unexpected errors are told. */
  readonly errorTracker: ErrorTracker;
  /** How many of them there were of late. */
  readonly errorRate: ErrorRate;
  /** What is usual, and who says so. */
  readonly config: {
    /** Unexpected errors of an instance in 5 minutes that nobody is told of. */
    readonly errorsMax: number;
  };
}

/**
 * Notes an error that nobody expected: for the error tracker, and for the alert
 * when they are many. Does not wait, and does not throw.
 */
export function noteUnexpected(
  services: WatchServices,
  error: unknown,
  context: ErrorContext,
): void {
  const { alerts, errorRate, errorTracker, config } = services;
  errorTracker.report(error, context);
  errorRate.add();
  const errors = errorRate.count();
  if (errors <= config.errorsMax) return;
  const rule = WATCH_RULES.find(({ name }) => name === "errors")!;
  alerts.inBackground(() => raiseAlert(services, alertOf(rule, `${errors} in 5 minutes`)));
}

function alertOf({ look: _, ...rule }: WatchRule, detail: string): Alert {
  return { ...rule, detail };
}

/** What {@linkcode watch} found and did. */
export interface Watched {
  /** Rules that something was unwell by. */
  unwell: number;
  /** Incidents that ended. */
  resolved: number;
  /** News that had not been told yet. */
  told: number;
}

/** Options for {@linkcode watch}. */
export interface WatchOptions {
  /** The timetable; without it no job is missed. */
  jobs?: readonly DueJob[];
}

/**
 * Looks at everything once, raises what is unwell, and settles what is not any
 * more. To be called every minute on every instance, for each sees its own.
 */
export async function watch(
  services: WatchServices,
  monitor: HealthMonitor,
  { jobs }: WatchOptions = {},
): Promise<Watched> {
  const { errorRate, config } = services;
  const health = await monitor.look();
  const sight = { health, errors: errorRate.count(), errorsMax: config.errorsMax };
  let unwell = 0;
  for (const rule of WATCH_RULES) {
    const detail = rule.look(sight);
    if (detail === null) continue;
    unwell++;
    await raiseAlert(services, alertOf(rule, detail));
  }
  const isStoreUp = health.checks.store.status !== "unhealthy";
  if (isStoreUp && jobs) unwell += await watchJobs(services, jobs);
  return { unwell, ...(isStoreUp ? await settleAlerts(services) : { resolved: 0, told: 0 }) };
}

/** Raises jobs that were not done in time. Three reads when all were. @returns How many were not. */
async function watchJobs(services: WatchServices, jobs: readonly DueJob[]): Promise<number> {
  await noteTimetable(services, jobs);
  const now = services.clock();
  // Whoever asks is the watch, and it is not late now.
  const troubles = troublesOf(await readJobs(services), now, now);
  const missed = troubles.filter(({ isFailing }) => !isFailing);
  for (const { job, reason } of missed) await raiseAlert(services, jobMissed(job, reason));
  return missed.length;
}
