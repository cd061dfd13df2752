/**
 * Stored records of jobs: leases, runs and the timetable. The rest of the data
 * dictionary is in `records.ts`.
 *
 * @module
 */

/** The right to run a job, free after `until`. Volatile: it is about processes. */
export interface Lease {
  /** The run that holds it, or held it last. */
  by: string;
  /** Fencing token, incremented by each run: writes with an older token are refused. */
  token: number;
  /** The minute that it was acquired for, counted since 1970: each minute runs once. */
  minute: number;
  /** Milliseconds UTC; 0 after its release. */
  until: number;
}

/**
 * How a run ended. `timed_out`: it reached its time limit. `stopped`: the instance
 * was shutting down; the next run continues.
 */
export const JOB_RUN_STATUSES = ["ok", "failed", "timed_out", "stopped"] as const;
/** One of {@linkcode JOB_RUN_STATUSES}. */
export type JobRunStatus = (typeof JOB_RUN_STATUSES)[number];

/** The last run of a job. Volatile: the next run replaces it. */
export interface JobRun {
  /** The job. */
  job: string;
  /** The id of the run in the log, and the request id of all its writes. */
  runId: string;
  /** When it was started. */
  startedAt: string;
  /** When it ended. */
  endedAt: string;
  /** How long it took. */
  durationMs: number;
  /** How it ended. */
  status: JobRunStatus;
  /** The job's own counts and words; `isMore` if work remains. Empty unless the run is `ok`. */
  outcome: Record<string, number | string | boolean>;
  /** The error, redacted; null unless it failed. */
  error: string | null;
  /** Runs since the last `ok` one; 0 if this one is. */
  failures: number;
  /** When a run last ended `ok` with no work remaining; null for never. */
  lastOkAt: string | null;
}

/** A job of the timetable. */
export interface TimetableEntry {
  /** When it is due: five fields of cron, UTC. */
  schedule: string;
  /** How long after that it must have finished. */
  withinMs: number;
  /** When this entry took effect. */
  since: string;
}

/**
 * All jobs, so that a job which does not run is noticed. Volatile: every start writes it.
 */
export interface Timetable {
  /** By job name. */
  jobs: Record<string, TimetableEntry>;
  /** When jobs resumed after a time in which none ran. */
  resumedAt: string;
}
