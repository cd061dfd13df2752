/**
 * Runs jobs: each by one instance, within its time limit. The result goes to the
 * log, the store and the error tracker; a failure raises an alert.
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
} from "../lib/jobs/mod.ts";
import { type Meter, newMeter, withContext } from "../lib/telemetry/mod.ts";
import type { Caller } from "../lib/entities/caller.ts";
import { MINUTE_MS, SECOND_MS } from "../lib/time.ts";
import type { DueJob } from "../lib/jobs/timetable.ts";
import { traced } from "../lib/telemetry/tracing.ts";
import { jobFailed, jobFailedName } from "../lib/health/watch.ts";

/**
 * What a run did, in counts and words of its own, for the log and operators. A run
 * that leaves work for the next one sets `isMore: true`.
 */
export type JobOutcome = JobRun["outcome"];

/** What {@linkcode runJob} needs. */
export type JobServices = AlertServices & HeartbeatServices & {
  /** Receives the start and the result of each run. */
  readonly errorTracker: ErrorTracker;
};

/** A scheduled job. */
export interface Job<S extends JobServices = JobServices> {
  /** Letters, digits, hyphens and underscores, up to 50: for Deno, the log and the monitors. */
  readonly name: string;
  /** Five fields of cron, UTC. */
  readonly schedule: string;
  /** How long a run may take; less than the time between two. */
  readonly timeLimitMs: number;
  /**
   * When its work is due, and how long after that it must have finished, for a job
   * that checks for work more often than that; by default each run is due.
   */
  readonly due?: Omit<DueJob, "name">;
  /** Whether there is work; if not, no run starts and nothing is recorded. At most one read. */
  isDue?(services: S): Promise<boolean>;
  /** Every instance runs it, without a lease. */
  readonly isEverywhere?: true;
  /**
   * One run. After `signal` is aborted it should end soon, and leave the rest to the
   * next run.
   *
   * @param caller For all its writes: they are refused once another run has taken over.
   */
  run(services: S, signal: AbortSignal, caller: Caller): Promise<JobOutcome>;
}

/**
 * How {@linkcode runJob} ended: `skipped` when this instance did not run the job,
 * `lost` when another run has taken over.
 */
export type RunStatus = JobRunStatus | "skipped" | "lost";

/** Options for {@linkcode runJob}. */
export interface RunOptions {
  /** Aborted when the instance shuts down; the run then has five seconds to end. */
  signal?: AbortSignal;
  /** Requested by a person: may run although this minute already had a run. */
  isByHand?: boolean;
}

/** Beyond its time limit, a run may start and be recorded this late before it is missed. */
const SLACK_MS = 2 * MINUTE_MS;

/** When a job is due and must have finished. */
export function dueOf<S extends JobServices>({ name, schedule, timeLimitMs, due }: Job<S>): DueJob {
  return { name, ...due ?? { schedule, withinMs: timeLimitMs + SLACK_MS } };
}

/** A run that ignores its abort signal is abandoned after this; the lease is longer. */
const ABANDON_MS = 5 * SECOND_MS;
/** Time to flush the error tracker: the instance may be gone as soon as the job has ended. */
const FLUSH_MS = 2 * SECOND_MS;
/** Time for three attempts at a channel that does not answer. */
const ALERTS_FLUSH_MS = 20 * SECOND_MS;

/** Runs a job if this instance acquires its lease. Never throws. */
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
        // Watch rules check the store; the next minute tries again.
        services.log.warn("job.not_claimed", { error });
        return null;
      });
      if (!claim) return "skipped";
    }
    return await new Run(services, job, { runId, claim, meter, signal }).execute();
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

/** A run exceeded its time limit. */
class TimeLimitError extends Error {
  override readonly name = "TimeLimitError";
}

interface RunParts {
  runId: string;
  claim: Claim | null;
  meter: Meter;
  signal: AbortSignal | undefined;
}

type RunEnd = { status: JobRunStatus; outcome: JobOutcome; error: unknown };

class Run<S extends JobServices> {
  #isAbandoned = false;

  constructor(
    readonly services: S,
    readonly job: Job<S>,
    readonly parts: RunParts,
  ) {}

  async execute(): Promise<RunStatus> {
    const { services, job, parts } = this;
    const { clock, errorTracker, alerts } = services;
    const startedAt = clock();
    const startedMs = performance.now();
    const end = await this.#runMonitored();
    const { status, outcome, error } = end;
    const isFailure = status === "failed" || status === "timed_out";
    const result = {
      job: job.name,
      runId: parts.runId,
      startedAt,
      status,
      outcome,
      error: isFailure ? errorLine(error) : null,
      isStillRunning: this.#isAbandoned,
    };
    let isLost = false;
    try {
      isLost = await finishJob(services, result, parts.claim) === null;
    } catch (error) {
      services.log.warn("job.not_recorded", { error });
    }
    this.#log(isLost ? "lost" : status, end, performance.now() - startedMs);
    // After a lost lease, the run that has it reports the state of the job.
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

  #runMonitored(): Promise<RunEnd> {
    const failed = (error: unknown): RunEnd => ({
      status: error instanceof TimeLimitError ? "timed_out" : "failed",
      outcome: {},
      error,
    });
    const { services: { errorTracker }, job } = this;
    const { name, timeLimitMs } = job;
    return errorTracker
      .monitored(
        { name, timeLimitMs, schedule: dueOf(job).schedule },
        () => traced(`job ${job.name}`, {}, () => this.#runWithinLimit()),
      )
      .catch(failed);
  }

  /** Runs the job. @throws What it threw, unless it was stopped; {@linkcode TimeLimitError} */
  async #runWithinLimit(): Promise<RunEnd> {
    const { services, job, parts } = this;
    const abort = new AbortController();
    const stop = () => abort.abort(new Error("The instance is shutting down"));
    if (parts.signal?.aborted) stop();
    parts.signal?.addEventListener("abort", stop);
    const timeUp = () =>
      abort.abort(new TimeLimitError(`The job ${job.name} took over ${job.timeLimitMs} ms`));
    const timer = setTimeout(timeUp, job.timeLimitMs);
    const caller = callerOf(job.name, parts.runId, parts.claim);
    try {
      const outcome = await this.#waitOrAbandon(
        abort.signal,
        async () => await job.run(services, abort.signal, caller),
      );
      // Also at its time limit: it obeyed the signal and left the rest to the next run.
      return { status: "ok", outcome, error: null };
    } catch (error) {
      if (abort.signal.reason instanceof TimeLimitError) {
        const { reason } = abort.signal;
        throw error === reason ? reason : new TimeLimitError(reason.message, { cause: error });
      }
      // A shutdown is not a failure, also not in the error tracker: the next run continues.
      if (abort.signal.aborted) return { status: "stopped", outcome: {}, error: null };
      throw error;
    } finally {
      clearTimeout(timer);
      parts.signal?.removeEventListener("abort", stop);
    }
  }

  #log(status: RunStatus, { outcome, error }: RunEnd, durationMs: number): void {
    const { log } = this.services;
    const { kvReads, kvCommits, kvConflicts } = this.parts.meter;
    const fields = {
      jobName: this.job.name,
      status,
      outcome,
      durationMs: Math.round(durationMs),
      kvReads,
      kvCommits,
      kvConflicts,
    };
    if (error === null) log.info("job.ran", fields);
    else log.error("job.ran", { ...fields, error });
  }

  /** Waits for `run`, up to five seconds after `signal` is aborted. @throws Its reason then. */
  async #waitOrAbandon<T>(signal: AbortSignal, run: () => Promise<T>): Promise<T> {
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
    running.catch(() => {}); // an abandoned run may still fail later
    try {
      return await Promise.race([running, abandoned]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }
}
