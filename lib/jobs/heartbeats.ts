/**
 * Heartbeats: an outside service is notified that a job succeeded or failed, and raises
 * an alarm when it hears nothing for too long. Only that reports the loss of the whole
 * program, its alerts included.
 *
 * The protocol of healthchecks.io and many others: a GET of the URL for success, of
 * the URL and `/fail` for failure. The URL is a secret, since whoever has it can report
 * success; it is never logged.
 *
 * @module
 */
import type { Heartbeat } from "../config/endpoints.ts";
import { sendRequest } from "../outgoing/mod.ts";
import type { Log } from "../telemetry/mod.ts";
import { SECOND_MS, sleep } from "../time.ts";

/** What heartbeats need. */
export interface HeartbeatServices {
  /** Records heartbeats that could not be sent. */
  readonly log: Log;
  /** Where to send them. */
  readonly config: {
    /** At most one for each job. */
    readonly heartbeats: readonly Heartbeat[];
  };
}

/** The outcome of a run. */
export interface JobSign {
  /** The job. */
  job: string;
  /** Whether it succeeded. */
  isOk: boolean;
}

/** Time limits of {@linkcode sendHeartbeat}. */
export interface HeartbeatOptions {
  /** For one attempt; 5 seconds when absent. */
  timeoutMs?: number;
  /** Before the second attempt; a second when absent. */
  retryAfterMs?: number;
}

const TIMEOUT_MS = 5 * SECOND_MS;
const RETRY_AFTER_MS = SECOND_MS;
const ATTEMPTS = 2;

/**
 * Reports that a job succeeded or failed. Two attempts of five seconds; does nothing
 * for a job without a heartbeat. Never throws.
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

/** @returns Why the ping failed; null if it succeeded. */
async function ping(url: string, timeoutMs: number): Promise<string | null> {
  const result = await sendRequest({ url, method: "GET", timeoutMs, isRepeatable: true });
  if (!result.isAnswered) return result.reason;
  const { status } = result;
  return status >= 200 && status < 300 ? null : `status ${status}`;
}

function failureUrlOf(url: string): string {
  const failure = new URL(url);
  failure.pathname = `${failure.pathname.replace(/\/$/, "")}/fail`;
  return failure.href;
}
