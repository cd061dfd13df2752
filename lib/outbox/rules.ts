/**
 * The states of a message and their transitions. Nothing here reads or writes.
 *
 * @module
 */
import { derivedId } from "../ids.ts";
import type { MessageLease, OutboxEvent, OutboxMessage } from "../kv/outbox_records.ts";
import { type AttemptResult, backoffOf, type DeliveryPolicy, type NewMessage } from "./ports.ts";
import { DAY_MS, isoTime, SECOND_MS } from "../time.ts";

/** An entry of the index of due messages. */
export interface Due {
  /** Its lane. */
  lane: string;
  /** Milliseconds UTC. */
  dueAt: number;
  /** The message. */
  id: string;
}

/** From an attempt's time limit to the end of its lease: the time to record the result. */
const LEASE_GRACE_MS = 30 * SECOND_MS;
/** The longest wait that a destination may ask for. */
const RETRY_AFTER_MAX_MS = DAY_MS;
/** How long a sent or cancelled message can be looked up. */
const DONE_KEEP_MS = 30 * DAY_MS;
/** How long a dead-lettered message can be retried. */
const DEAD_KEEP_MS = 90 * DAY_MS;

/** The id of a message, a UUIDv7 from the event's time and a digest: the same each time it is derived. */
export function messageIdOf(eventId: string, { kind, type, to }: NewMessage): string {
  return derivedId([eventId, kind, type, to], eventId);
}

/** The subject of an event within which order is kept. */
export function orderKeyOf({ id, subject }: Omit<OutboxEvent, "type">): string {
  return subject.invoiceId ?? subject.leadId ?? subject.clientId ?? id;
}

/** A new message of an event, due at once. */
export function newMessage(
  event: Omit<OutboxEvent, "type">,
  requested: NewMessage,
  now: number,
): OutboxMessage {
  const { kind, type, to, lane, isOrdered = false } = requested;
  return {
    id: messageIdOf(event.id, requested),
    kind,
    type,
    to,
    lane: `${kind}:${lane}`,
    orderKey: isOrdered ? orderKeyOf(event) : null,
    eventId: event.id,
    at: event.at,
    subject: event.subject,
    data: event.data,
    status: "pending",
    attempts: 0,
    attemptsBefore: 0,
    dueAt: now,
    since: now,
    lease: null,
    lastError: null,
    createdAt: isoTime(now),
    endedAt: null,
    exp: null,
  };
}

/** A message with an attempt started. */
export function started(message: OutboxMessage, lease: MessageLease): OutboxMessage {
  return { ...message, attempts: message.attempts + 1, lease, dueAt: lease.until };
}

/** The lease of an attempt that starts now. */
export function newLease(by: string, { timeoutMs }: DeliveryPolicy, now: number): MessageLease {
  return { by, until: now + timeoutMs + LEASE_GRACE_MS };
}

/** Whether a message is pending and due under this entry. */
export function isAt({ status, lane, dueAt }: OutboxMessage, due: Due): boolean {
  return status === "pending" && lane === due.lane && dueAt === due.dueAt;
}

/** How a claim ended: with the result of the attempt, or without one. */
export type DispatchResult = AttemptResult | { state: "not_attempted" };

/**
 * A message after a claim ended. Pure.
 *
 * @param now Milliseconds UTC.
 */
export function afterAttempt(
  message: OutboxMessage,
  result: DispatchResult,
  { policy, now, random }: { policy: DeliveryPolicy; now: number; random: () => number },
): OutboxMessage {
  const idle = { ...message, lease: null };
  switch (result.state) {
    case "sent":
      return closed({ ...idle, lastError: null }, "sent", now);
    case "skipped":
      return closed({ ...idle, lastError: result.reason }, "cancelled", now);
    case "refused":
      return closed({ ...idle, lastError: result.reason }, "dead", now);
    case "not_attempted":
      return { ...idle, attempts: message.attempts - 1, dueAt: now };
    case "failed": {
      const { reason: lastError, retryAfterMs = 0 } = result;
      const waitMs = backoffOf(policy, message.attempts - message.attemptsBefore, random);
      const isTooOld = result.isLaneDown && now - message.since >= policy.deadLetterAfterMs;
      if (waitMs === null || isTooOld) return closed({ ...idle, lastError }, "dead", now);
      const askedMs = Math.min(retryAfterMs, RETRY_AFTER_MAX_MS);
      return { ...idle, lastError, dueAt: now + Math.max(waitMs, askedMs) };
    }
    default:
      return result satisfies never;
  }
}

/** A message that is sent, dead-lettered or cancelled. */
export function closed(
  message: OutboxMessage,
  status: "sent" | "dead" | "cancelled",
  now: number,
): OutboxMessage {
  const keepMs = status === "dead" ? DEAD_KEEP_MS : DONE_KEEP_MS;
  return { ...message, status, lease: null, endedAt: isoTime(now), exp: now + keepMs };
}
