/**
 * Watch rules: the conditions that raise an alert, and when that is over.
 *
 * @module
 */
import { type Alert, type AlertServices, raiseAlert, settleAlerts } from "../alerts/mod.ts";
import { errorLine } from "../telemetry/error_copy.ts";
import type { ErrorContext, ErrorTracker } from "../telemetry/error_tracking.ts";
import type { Health, HealthMonitor } from "./mod.ts";
import { MINUTE_MS } from "../time.ts";
import type { ErrorRate } from "../telemetry/error_rate.ts";
import { type DueJob, jobProblems, readJobs, storeTimetable } from "../jobs/timetable.ts";

/** What watch rules decide on. */
export interface Observation {
  /** The health of this instance. */
  health: Health;
  /** Unexpected errors of this instance in the last 5 minutes. */
  errors: number;
  /** The most errors without an alert. */
  errorsMax: number;
}

/** A condition that is checked every minute. */
export interface WatchRule extends Omit<Alert, "detail"> {
  /** The detail of the alert to raise; null while the condition does not hold. */
  check(observation: Observation): string | null;
}

/** The rules of every instance. A failed job is reported by its run: {@linkcode jobFailed}. */
export const WATCH_RULES: readonly WatchRule[] = [
  {
    name: "store_unhealthy",
    severity: "critical",
    title: "The store does not answer",
    // Long enough that instances with different views do not take turns raising and resolving.
    quietMs: 3 * MINUTE_MS,
    check: ({ health: { checks: { store } } }) =>
      store.status === "unhealthy" ? store.reason ?? "The store does not answer" : null,
  },
  {
    name: "backup_old",
    severity: "critical",
    title: "No backup in the last 26 hours",
    quietMs: 10 * MINUTE_MS,
    check: ({ health: { checks: { backup } } }) =>
      // Without an age the check itself failed, which is another problem.
      backup?.status === "degraded" && backup.ageS !== undefined ? backup.reason : null,
  },
  {
    name: "errors",
    severity: "critical",
    title: "Requests fail with unexpected errors",
    quietMs: 10 * MINUTE_MS,
    check: ({ errors, errorsMax }) =>
      errors > errorsMax
        ? `${errors} unexpected errors in 5 minutes on one instance; see the log or the error tracker`
        : null,
  },
];

/** The incident of a failing job. It is resolved by the job's next success. */
export function jobFailedName(job: string): string {
  return `job_failed:${job}`;
}

/** The alert for a failed run of a job. */
export function jobFailed(job: string, error: unknown): Alert {
  return {
    name: jobFailedName(job),
    severity: "warning",
    title: `The job ${job} failed`,
    detail: errorLine(error),
    quietMs: null,
  };
}

/** The alert for a job that did not finish in time. It is resolved when no longer raised. */
export function jobMissed(job: string, detail: string): Alert {
  return {
    name: `job_missed:${job}`,
    severity: "warning",
    title: `The job ${job} did not finish in time`,
    detail,
    quietMs: 3 * MINUTE_MS,
  };
}

/** What watching needs. */
export interface WatchServices extends AlertServices {
  /** Receives unexpected errors. */
  readonly errorTracker: ErrorTracker;
  /** Counts recent unexpected errors. */
  readonly errorRate: ErrorRate;
  /** The limits. */
  readonly config: {
    /** The most unexpected errors of an instance in 5 minutes without an alert. */
    readonly errorsMax: number;
  };
}

/**
 * Reports an unexpected error to the error tracker, and raises an alert when
 * there are many. Does not wait, and does not throw.
 */
export function reportUnexpected(
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

function alertOf({ check: _, ...rule }: WatchRule, detail: string): Alert {
  return { ...rule, detail };
}

/** What {@linkcode watch} did. */
export interface WatchResult {
  /** Alerts raised: rules that hold and jobs that did not finish in time. */
  raised: number;
  /** Incidents that ended. */
  resolved: number;
  /** Overdue notifications that were sent. */
  notified: number;
}

/** Options for {@linkcode watch}. */
export interface WatchOptions {
  /** The timetable; without it no job is reported as missed. */
  jobs?: readonly DueJob[];
}

/**
 * Checks all rules once, raises alerts, and resolves incidents that have been
 * quiet. To be called every minute on every instance: each has its own view.
 */
export async function watch(
  services: WatchServices,
  monitor: HealthMonitor,
  { jobs }: WatchOptions = {},
): Promise<WatchResult> {
  const { errorRate, config } = services;
  const health = await monitor.check();
  const observation = { health, errors: errorRate.count(), errorsMax: config.errorsMax };
  let raised = 0;
  for (const rule of WATCH_RULES) {
    const detail = rule.check(observation);
    if (detail === null) continue;
    raised++;
    await raiseAlert(services, alertOf(rule, detail));
  }
  if (health.checks.store.status === "unhealthy") return { raised, resolved: 0, notified: 0 };
  if (jobs) raised += await watchJobs(services, jobs);
  return { raised, ...await settleAlerts(services) };
}

/**
 * Raises an alert for each job that did not finish in time. Three reads when all did.
 *
 * @returns How many did not.
 */
async function watchJobs(services: WatchServices, jobs: readonly DueJob[]): Promise<number> {
  await storeTimetable(services, jobs);
  const now = services.clock();
  // The caller is the watch itself, so it is not late now.
  const problems = jobProblems(await readJobs(services), now, now);
  const missed = problems.filter(({ isFailing }) => !isFailing);
  for (const { job, reason } of missed) await raiseAlert(services, jobMissed(job, reason));
  return missed.length;
}
