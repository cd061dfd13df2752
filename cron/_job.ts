/**
 * What every job has in common: one instance runs it, within its time, and what
 * became of it is known: in the log, in the store, to the error tracker, and to
 * people when it fails.
 *
 * @module
 */
import { type AlertServices, raiseAlert, resolveAlert } from "../lib/alerts/mod.ts";
import { errorLine } from "../lib/telemetry/error_copy.ts";
import type { ErrorTracker } from "../lib/telemetry/error_tracking.ts";
import { type HeartbeatServices, sendHeartbeat } from "../lib/jobs/heartbeats.ts";
import { newId } from "../lib/ids.ts";
import {
  callerOf,
  type Claim,
  claimJob,
  type ClaimOptions,
  finishJob,
  type JobRun,
  type JobRunStatus,
} from "../lib/jobs/runs.ts";
import { type Meter, newMeter, withContext } from "../lib/telemetry/log.ts";
import type { Caller } from "../lib/entities/caller.ts";
import { MINUTE_MS, SECOND_MS } from "../lib/time.ts";
import type { DueJob } from "../lib/jobs/timetable.ts";
import { traced } from "../lib/telemetry/tracing.ts";
import { jobFailed, jobFailedName } from "../lib/health/watch.ts";

/**
 * What a run did, in counts and words of its own: for the log and the operators.
 * One that leaves the rest of its work to the next run says `isMore: true`.
 */
export type JobOutcome = JobRun["outcome"];

/** What the wrapper needs of Services. */
export type JobServices = AlertServices & HeartbeatServices & {
  /** Is told when a run starts, and how it ended. */
  readonly errorTracker: ErrorTracker;
};

/** Something that happens by itself. */
export interface Job<S extends JobServices = JobServices> {
  /** Letters, digits, hyphens and underscores, up to 50: for Deno, the log and the monitors. */
  readonly name: string;
  /** Five fields of cron, UTC. */
  readonly schedule: string;
  /** How long a run may take; less than the time between two. */
  readonly timeLimitMs: number;
  /**
   * When its work is due, and how long after that it has to be done, if it looks
   * for work more often than there is any; else each run is due.
   */
  readonly due?: Omit<DueJob, "name">;
  /**
   * Whether there is anything to do; if not, no run is begun, which then costs
   * nothing but this. At most one read.
   */
  isDue?(services: S): Promise<boolean>;
  /** Every instance runs it, without a lease, since it is about the instance. */
  readonly isEverywhere?: true;
  /**
   * One run. When `signal` is aborted it should end soon, and leave the rest to
   * the next one.
   *
   * @param caller For all that it writes: nothing is stored after another run
   * has taken over.
   */
  run(services: S, signal: AbortSignal, caller: Caller): Promise<JobOutcome>;
}

/** How {@linkcode runJob} ended; `skipped` when it was not this instance's to run. */
export type RunStatus = JobRunStatus | "skipped" | "lost";

/** Options for {@linkcode runJob}. */
export interface RunOptions {
  /** The instance is to end: the run is told, and waited for a while. */
  signal?: AbortSignal;
  /** Someone asked for it: it may run although this minute has had its run. */
  isByHand?: boolean;
}

/** A run may be late by so much, and its record as well, before it is missed. */
const SLACK_MS = 2 * MINUTE_MS;

/** When a job has to have been done. */
export function dueOf<S extends JobServices>({ name, schedule, timeLimitMs, due }: Job<S>): DueJob {
  return { name, ...due ?? { schedule, withinMs: timeLimitMs + SLACK_MS } };
}

/** What is told to end and does not is left alone after this time; the lease is longer. */
const ABANDON_MS = 5 * SECOND_MS;
/** An instance may be gone as soon as the job has ended. */
const FLUSH_MS = 2 * SECOND_MS;
/** Three attempts at a place that does not answer. */
const ALERTS_FLUSH_MS = 20 * SECOND_MS;

/** Runs a job, if it is this instance's turn, to its end. Never throws. */
export async function runJob<S extends JobServices>(
  services: S,
  job: Job<S>,
  { signal, isByHand = false }: RunOptions = {},
): Promise<RunStatus> {
  const runId = newId(services.clock());
  const meter = newMeter();
  return await withContext({ requestId: runId, job: job.name, meter }, async () => {
    let claim: Claim | null = null;
    if (!job.isEverywhere) {
      const options = { runId, timeLimitMs: job.timeLimitMs, isByHand };
      claim = await claimIfDue(services, job, options).catch((error) => {
        // Whether the store is well is looked at elsewhere; the next minute tries again.
        services.log.warn("job.not_claimed", { error });
        return null;
      });
      if (!claim) return "skipped";
    }
    return await new Run(services, job, { runId, claim, meter, signal }).toItsEnd();
  });
}

async function claimIfDue<S extends JobServices>(
  services: S,
  job: Job<S>,
  options: ClaimOptions,
): Promise<Claim | null> {
  const isDue = options.isByHand || !job.isDue || await job.isDue(services);
  return isDue ? await claimJob(services, job.name, options) : null;
}

/** A run failed because its time was over. */
class TimeLimitError extends Error {
  override readonly name = "TimeLimitError";
}

interface RunParts {
  runId: string;
  claim: Claim | null;
  meter: Meter;
  signal: AbortSignal | undefined;
}

type Ended = { status: JobRunStatus; outcome: JobOutcome; error: unknown };

class Run<S extends JobServices> {
  #isAbandoned = false;

  constructor(
    readonly services: S,
    readonly job: Job<S>,
    readonly parts: RunParts,
  ) {}

  async toItsEnd(): Promise<RunStatus> {
    const { services, job, parts } = this;
    const { clock, errorTracker, alerts } = services;
    const startedAt = clock();
    const startedMs = performance.now();
    const ended = await this.#monitored();
    const { status, outcome, error } = ended;
    const isFailure = status === "failed" || status === "timed_out";
    const result = {
      ...{ job: job.name, runId: parts.runId, startedAt, status, outcome },
      error: isFailure ? errorLine(error) : null,
      isStillRunning: this.#isAbandoned,
    };
    let isLost = false;
    try {
      isLost = await finishJob(services, result, parts.claim) === null;
    } catch (error) {
      services.log.warn("job.not_recorded", { error });
    }
    this.#log(isLost ? "lost" : status, ended, performance.now() - startedMs);
    // Whoever has the lease now says how the job is.
    if (isFailure && !isLost) await raiseAlert(services, jobFailed(job.name, error));
    if (status === "ok" && !isLost) await resolveAlert(services, jobFailedName(job.name));
    const isDone = status === "ok" && outcome.isMore !== true;
    await Promise.all([
      !isLost && (isDone || isFailure)
        ? sendHeartbeat(services, { job: job.name, isOk: isDone })
        : null,
      errorTracker.flush(FLUSH_MS),
      alerts.flush(ALERTS_FLUSH_MS),
    ]);
    return isLost ? "lost" : status;
  }

  #monitored(): Promise<Ended> {
    const failed = (error: unknown): Ended => ({
      status: error instanceof TimeLimitError ? "timed_out" : "failed",
      outcome: {},
      error,
    });
    const { services: { errorTracker }, job } = this;
    const { name, timeLimitMs } = job;
    return errorTracker
      .monitored(
        { name, timeLimitMs, schedule: dueOf(job).schedule },
        () => traced(`job ${job.name}`, {}, () => this.#inTime()),
      )
      .catch(failed);
  }

  /** What the job did. @throws what it threw, unless it was stopped; or that its time was up */
  async #inTime(): Promise<Ended> {
    const { services, job, parts } = this;
    const abort = new AbortController();
    const stop = () => abort.abort(new Error("The instance is to end"));
    if (parts.signal?.aborted) stop();
    parts.signal?.addEventListener("abort", stop);
    const timeUp = () =>
      abort.abort(new TimeLimitError(`The job ${job.name} took over ${job.timeLimitMs} ms`));
    const timer = setTimeout(timeUp, job.timeLimitMs);
    const caller = callerOf(job.name, parts.runId, parts.claim);
    try {
      const outcome = await this.#orAbandoned(
        abort.signal,
        async () => await job.run(services, abort.signal, caller),
      );
      // Even if its time was up: it heard, and left the rest in good order.
      return { status: "ok", outcome, error: null };
    } catch (error) {
      if (abort.signal.reason instanceof TimeLimitError) {
        const { reason } = abort.signal;
        throw error === reason ? reason : new TimeLimitError(reason.message, { cause: error });
      }
      // No failure, and none in the error tracker: the next run goes on.
      if (abort.signal.aborted) return { status: "stopped", outcome: {}, error: null };
      throw error;
    } finally {
      clearTimeout(timer);
      parts.signal?.removeEventListener("abort", stop);
    }
  }

  #log(status: RunStatus, { outcome, error }: Ended, durationMs: number): void {
    const { log } = this.services;
    const { kvReads, kvCommits, kvConflicts } = this.parts.meter;
    const fields = {
      jobName: this.job.name,
      status,
      outcome,
      durationMs: Math.round(durationMs),
      ...{ kvReads, kvCommits, kvConflicts },
    };
    if (error === null) log.info("job.ran", fields);
    else log.error("job.ran", { ...fields, error });
  }

  /** Waits for `run`, and after `signal` is aborted only a while longer. @throws its reason then */
  async #orAbandoned<T>(signal: AbortSignal, run: () => Promise<T>): Promise<T> {
    const { promise: abandoned, reject } = Promise.withResolvers<never>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const abandon = () => {
      this.#isAbandoned = true;
      reject(signal.reason);
    };
    const onAbort = () => timer = setTimeout(abandon, ABANDON_MS);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
    const running = run();
    running.catch(() => {}); // it may fail long after anyone waits for it
    try {
      return await Promise.race([running, abandoned]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }
}
