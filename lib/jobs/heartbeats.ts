/**
 * Heartbeats: somebody outside is told that a job did its work, and calls for
 * help when it is not told for too long. That tells of what nothing in here can:
 * that the whole program, its alerts included, is gone.
 *
 * Spoken as healthchecks.io and many others do: a GET of the address for success,
 * of the address and `/fail` for failure. The address is a secret, for whoever
 * has it can say that all is well; it is in no log.
 *
 * @module
 */
import type { Heartbeat } from "../config/endpoints.ts";
import type { Log } from "../telemetry/log.ts";
import { SECOND_MS, sleep } from "../time.ts";

/** What heartbeats need of Services. */
export interface HeartbeatServices {
  /** Where it is told that nobody could be. */
  readonly log: Log;
  /** Who is to be told. */
  readonly config: {
    /** One for a job at most. */
    readonly heartbeats: readonly Heartbeat[];
  };
}

/** What is told. */
export interface JobSign {
  /** The job. */
  job: string;
  /** It did its work; else it failed. */
  isOk: boolean;
}

/** How long {@linkcode sendHeartbeat} takes over it. */
export interface HeartbeatOptions {
  /** For one attempt; 5 seconds when absent. */
  timeoutMs?: number;
  /** Before the second one; a second when absent. */
  retryAfterMs?: number;
}

const TIMEOUT_MS = 5 * SECOND_MS;
const RETRY_AFTER_MS = SECOND_MS;
const ATTEMPTS = 2;

/**
 * Tells that a job did its work, or failed to. Two attempts of five seconds; does
 * nothing for a job that nobody listens for. Never throws.
 */
export async function sendHeartbeat(
  { log, config }: HeartbeatServices,
  { job, isOk }: JobSign,
  { timeoutMs = TIMEOUT_MS, retryAfterMs = RETRY_AFTER_MS }: HeartbeatOptions = {},
): Promise<void> {
  const heartbeat = config.heartbeats.find((heartbeat) => heartbeat.job === job);
  if (!heartbeat) return;
  const url = isOk ? heartbeat.url : failureUrlOf(heartbeat.url);
  for (let attempt = 1;; attempt++) {
    const problem = await ping(url, timeoutMs);
    if (problem === null) return;
    if (attempt < ATTEMPTS) {
      await sleep(retryAfterMs);
      continue;
    }
    log.warn("heartbeat.not_sent", { heartbeatOf: job, isOk, reason: problem });
    return;
  }
}

/** @returns Why it was not heard; null if it was. */
async function ping(url: string, timeoutMs: number): Promise<string | null> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeoutMs);
  try {
    // What is secret must not go where someone points to.
    const answer = await fetch(url, { redirect: "manual", signal: abort.signal });
    await answer.body?.cancel();
    return answer.ok ? null : `status ${answer.status}`;
  } catch {
    // The message has the address in it.
    return abort.signal.aborted ? `no answer in ${timeoutMs} ms` : "no connection";
  } finally {
    clearTimeout(timer);
  }
}

function failureUrlOf(url: string): string {
  const failure = new URL(url);
  failure.pathname = `${failure.pathname.replace(/\/$/, "")}/fail`;
  return failure.href;
}
