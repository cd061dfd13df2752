/**
 * Sending one message: the attempt, its effect on the lane, and recording the result.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { AttemptResult, OutboxMessage, Senders } from "./ports.ts";
import type { Lane, Lanes } from "./lanes.ts";
import { closed, type DispatchResult } from "./rules.ts";
import { type Change, change, finish } from "./states.ts";
import type { StoreServices } from "../kv/store.ts";
import type { ErrorTracker } from "../telemetry/error_tracking.ts";
import type { Log } from "../telemetry/mod.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { SECOND_MS, sleep, withDeadline } from "../time.ts";

/** How many events and messages an instance has processed, by result. */
export interface DeliveryCounts {
  /** Events turned into messages. */
  events: number;
  /** Accepted by their destination. */
  sent: number;
  /** To be retried. */
  failed: number;
  /** Dead-lettered. */
  dead: number;
  /** Skipped, since nobody should receive them. */
  cancelled: number;
}

/** What an outbox needs. */
export interface OutboxServices extends StoreServices {
  /** Records the results. */
  readonly log: Log;
  /** Counts the results. */
  readonly metrics: Metrics;
  /** Receives unexpected errors. */
  readonly errorTracker: ErrorTracker;
  /** Send the messages of each kind. */
  readonly senders: Senders;
  /** Numbers in [0, 1), for jitter. */
  readonly random: () => number;
  /** Called for each message that is dead-lettered. Never throws. */
  readonly onDead: (message: OutboxMessage) => Promise<void>;
}

/** What sending needs of an instance's outbox. */
export interface Sending {
  /** What the outbox consists of. */
  services: OutboxServices;
  /** Counts of this instance. */
  counts: DeliveryCounts;
  /** Lanes of this instance. */
  lanes: Lanes;
  /** Whether the instance is shutting down. */
  isStopping(): boolean;
}

/** Between attempts to record a result while the store does not answer. */
const RECORD_RETRY_MS = SECOND_MS;

/**
 * Sends a message that this instance has claimed, and records the result.
 *
 * @throws What the store threw until the lease ended.
 */
export async function deliver(
  sending: Sending,
  lane: Lane,
  message: OutboxMessage,
): Promise<void> {
  const { services } = sending;
  const startedAt = performance.now();
  const result: DispatchResult = sending.isStopping()
    ? { state: "not_attempted" }
    : await attempt(sending, message);
  const ms = Math.round(performance.now() - startedAt);
  const isAttempted = result.state !== "not_attempted";
  if (isAttempted) lane.record(result, services.clock(), services.random);
  const changed = await record(sending, message, result);
  if (!changed) {
    services.log.warn("message.superseded", { messageId: message.id, state: result.state });
    return;
  }
  if (isAttempted) await reportChange(sending, changed, ms);
}

/** One attempt within the time limit of its policy. Never throws. */
async function attempt(
  { services }: Sending,
  message: OutboxMessage,
): Promise<AttemptResult> {
  const sender = services.senders[message.kind];
  const { timeoutMs } = sender.policy;
  const abort = new AbortController();
  const late = (): AttemptResult => {
    abort.abort();
    return { state: "failed", reason: `no answer in ${timeoutMs} ms`, isLaneDown: true };
  };
  try {
    return await withDeadline(sender.send(message, abort.signal), timeoutMs, late);
  } catch (error) {
    // The store did not answer, or another expected error.
    if (error instanceof AppError && error.kind !== "internal") {
      return { state: "failed", reason: error.kind, isLaneDown: false };
    }
    services.log.error("outbox.defect", { messageId: message.id, error });
    services.errorTracker.report(error);
    return { state: "failed", reason: "defect", isLaneDown: false };
  }
}

/** Records a result while this instance has the lease; null if another one has it by now. */
async function record(
  { services, isStopping }: Sending,
  message: OutboxMessage,
  result: DispatchResult,
): Promise<Change | null> {
  const { senders, random } = services;
  const { policy } = senders[message.kind];
  for (;;) {
    try {
      return await finish(services, message, result, { policy, random });
    } catch (error) {
      const isOver = services.clock() >= (message.lease?.until ?? 0);
      if (!(error instanceof AppError) || isOver || isStopping()) throw error;
      await sleep(RECORD_RETRY_MS);
    }
  }
}

/** Dead-letters a message whose attempts all started and never ended: each killed its instance. */
export async function deadLetterExhausted(
  sending: Sending,
  message: OutboxMessage,
): Promise<void> {
  const { services } = sending;
  const changed = await change(services, message, (found) => {
    if (found.attempts !== message.attempts || found.status !== "pending") return null;
    const lastError = found.lastError ?? "no attempt ended";
    return closed({ ...found, lastError }, "dead", services.clock());
  });
  if (changed) await reportChange(sending, changed);
}

/** Logs and counts the new state of a message, and lets the next one in its order be sent. */
export async function reportChange(
  { services, counts, lanes }: Sending,
  { message, next }: Change,
  ms?: number,
): Promise<void> {
  const { log, metrics, clock } = services;
  const { id: messageId, kind, type, lane, status, attempts, lastError: reason } = message;
  if (next) lanes.get(next.lane).hasMore = true;
  const outcome = status === "pending" ? "failed" : status;
  counts[outcome]++;
  metrics.messages.add({ kind, outcome });
  const fields = { messageId, kind, type, lane, attempts, ...(ms === undefined ? {} : { ms }) };
  switch (outcome) {
    case "sent":
      return log.info("message.sent", fields);
    case "cancelled":
      return log.info("message.cancelled", { ...fields, reason });
    case "failed":
      return log.warn("message.failed", { ...fields, reason, againInMs: message.dueAt - clock() });
    case "dead":
      log.error("message.dead", { ...fields, reason });
      return await services.onDead(message);
    default:
      return outcome satisfies never;
  }
}
