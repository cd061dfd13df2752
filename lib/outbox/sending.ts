/**
 * One message's way out: the attempt, what it taught, and telling what became of it.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { OutboxMessage, Senders, Sent } from "./ports.ts";
import type { Lane, Lanes } from "./lanes.ts";
import { closed, type Ended } from "./rules.ts";
import { type Change, change, finish } from "./states.ts";
import type { StoreServices } from "../kv/store.ts";
import type { ErrorTracker } from "../telemetry/error_tracking.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { SECOND_MS, sleep } from "../time.ts";

/** What became of messages on this instance. */
export interface Tally {
  /** Events turned into messages. */
  events: number;
  /** Taken by their destination. */
  sent: number;
  /** To be tried again. */
  failed: number;
  /** Given up. */
  dead: number;
  /** Not to be told to anybody any more. */
  cancelled: number;
}

/** What an outbox needs, and what it is made of. */
export interface OutboxServices extends StoreServices {
  /** Records what became of messages. */
  readonly log: Log;
  /** Counts them. */
  readonly metrics: Metrics;
  /** Receives unexpected errors. */
  readonly errorTracker: ErrorTracker;
  /** How each kind is sent. */
  readonly senders: Senders;
  /** Numbers in [0, 1), for jitter. */
  readonly random: () => number;
  /** Called for each message that is dead-lettered. Never throws. */
  readonly onDead: (message: OutboxMessage) => Promise<void>;
}

/** What sending needs of an instance's outbox. */
export interface Sending {
  /** What the outbox is made of. */
  services: OutboxServices;
  /** Where it is counted. */
  tally: Tally;
  /** Where it is learnt what is down. */
  lanes: Lanes;
  /** Whether nothing more is to be begun. */
  isStopping(): boolean;
}

/** Between attempts to note how an attempt ended, while the store does not answer. */
const NOTE_AGAIN_MS = SECOND_MS;

/**
 * Sends a message that this instance has claimed, and notes how that ended.
 *
 * @throws what the store threw until the message was anyone's again
 */
export async function deliver(
  sending: Sending,
  lane: Lane,
  message: OutboxMessage,
): Promise<void> {
  const { services } = sending;
  const startedAt = performance.now();
  const ended: Ended = sending.isStopping()
    ? { state: "not_made" }
    : await attempt(sending, message);
  const ms = Math.round(performance.now() - startedAt);
  if (ended.state !== "not_made") lane.learn(ended, services.clock(), services.random);
  const changed = await note(sending, message, ended);
  if (!changed) {
    services.log.warn("message.overtaken", { messageId: message.id, state: ended.state });
    return;
  }
  if (ended.state !== "not_made") await tell(sending, changed, ms);
}

/** One attempt, within its time. Never throws. */
async function attempt(
  { services }: Sending,
  message: OutboxMessage,
): Promise<Sent> {
  const sender = services.senders[message.kind];
  const { timeoutMs } = sender.policy;
  const abort = new AbortController();
  const { promise: timeUp, resolve } = Promise.withResolvers<Sent>();
  const timer = setTimeout(() => {
    abort.abort();
    resolve({ state: "failed", reason: `no answer in ${timeoutMs} ms`, isLaneDown: true });
  }, timeoutMs);
  try {
    return await Promise.race([sender.send(message, abort.signal), timeUp]);
  } catch (error) {
    // The store did not answer, or what it said was expected.
    if (error instanceof AppError && error.kind !== "internal") {
      return { state: "failed", reason: error.kind, isLaneDown: false };
    }
    services.log.error("outbox.defect", { messageId: message.id, error });
    services.errorTracker.report(error);
    return { state: "failed", reason: "defect", isLaneDown: false };
  } finally {
    clearTimeout(timer);
  }
}

/** Notes how an attempt ended, as long as the message is this instance's. */
async function note(
  { services, isStopping }: Sending,
  message: OutboxMessage,
  ended: Ended,
): Promise<Change | null> {
  const { senders, random } = services;
  const { policy } = senders[message.kind];
  for (;;) {
    try {
      return await finish(services, message, ended, { policy, random });
    } catch (error) {
      const isOver = services.clock() >= (message.lease?.until ?? 0);
      if (!(error instanceof AppError) || isOver || isStopping()) throw error;
      await sleep(NOTE_AGAIN_MS);
    }
  }
}

/** Ends a message whose attempts were all begun, and that took each instance with it. */
export async function endSpent(sending: Sending, message: OutboxMessage): Promise<void> {
  const { services } = sending;
  const ended = await change(services, message, (found) => {
    if (found.attempts !== message.attempts || found.status !== "pending") return null;
    return closed(
      { ...found, lastError: found.lastError ?? "never ended" },
      "dead",
      services.clock(),
    );
  });
  if (ended) await tell(sending, ended);
}

/** Says what became of a message, and sees to what may go out after it. */
export async function tell(
  { services, tally, lanes }: Sending,
  { message, next }: Change,
  ms?: number,
): Promise<void> {
  const { log, metrics, clock } = services;
  const { id: messageId, kind, type, lane, status, attempts, lastError: reason } = message;
  if (next) lanes.get(next.lane).hasMore = true;
  const outcome = status === "pending" ? "failed" : status;
  tally[outcome]++;
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
