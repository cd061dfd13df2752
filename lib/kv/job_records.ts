/**
 * Stored records of jobs: leases, runs and the timetable. The rest of the data
 * dictionary is in `records.ts`.
 *
 * @module
 */

/** The right to run a job, which is anyone's after `until`. Volatile: it is about processes. */
export interface Lease {
  /** The run that has it, or had it last. */
  by: string;
  /** One more with each run: what a run wrote with an older one is refused. */
  token: number;
  /** The minute that it was taken for, counted since 1970: a minute is run once. */
  minute: number;
  /** Milliseconds UTC; 0 when it was given back. */
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
  /** Names the run in the log; the id of its exchange for all that it wrote. */
  runId: string;
  /** When it was started. */
  startedAt: string;
  /** When it ended. */
  endedAt: string;
  /** How long it took. */
  durationMs: number;
  /** How it ended. */
  status: JobRunStatus;
  /** What it did, in counts and words of its own, `isMore` if not all of it; empty unless it is `ok`. */
  outcome: Record<string, number | string | boolean>;
  /** What it failed with, redacted; null unless it failed. */
  error: string | null;
  /** Runs since the last one that was `ok`; 0 if this one was. */
  failures: number;
  /** When a run of it last ended `ok` with nothing left to do; null never. */
  lastOkAt: string | null;
}

/** A job of the timetable. */
export interface TimetableEntry {
  /** When its work is due: five fields of cron, UTC. */
  schedule: string;
  /** How long after that it has to be done. */
  withinMs: number;
  /** Since when it is so. */
  since: string;
}

/**
 * Which jobs there are, so that one which does not run is missed. Volatile: the
 * program says it anew.
 */
export interface Timetable {
  /** By the name of the job. */
  jobs: Record<string, TimetableEntry>;
  /** When jobs began to run again, after a time in which none did. */
  resumedAt: string;
}
