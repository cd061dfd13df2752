/**
 * What a message is, and what it becomes by what happens to it. Nothing here
 * reads or writes.
 *
 * @module
 */
import { sha256Hex } from "../digest.ts";
import type { MessageLease, OutboxEvent, OutboxMessage } from "../kv/outbox_records.ts";
import { backoffOf, type DeliveryPolicy, type NewMessage, type Sent } from "./ports.ts";
import { DAY_MS, isoTime, SECOND_MS } from "../time.ts";

/** A place among what is due. */
export interface Due {
  /** Its lane. */
  lane: string;
  /** Milliseconds UTC. */
  dueAt: number;
  /** The message. */
  id: string;
}

/** From the end of an attempt's time until the message is anyone's: it has to be noted. */
const LEASE_GRACE_MS = 30 * SECOND_MS;
/** No destination is obeyed that asks for more. */
const RETRY_AFTER_MAX_MS = DAY_MS;
/** For how long it can be looked up that a message was sent. */
const DONE_KEEP_MS = 30 * DAY_MS;
/** For how long a dead message can be tried anew. */
const DEAD_KEEP_MS = 90 * DAY_MS;
/** The message's id, the same whenever it is made: the time of its event, and a digest. */
export function messageIdOf(eventId: string, { kind, type, to }: NewMessage): string {
  const hex = sha256Hex(JSON.stringify([eventId, kind, type, to]));
  const [a, b, c] = [hex.slice(0, 3), hex.slice(3, 6), hex.slice(6, 18)];
  return `${eventId.slice(0, 13)}-7${a}-8${b}-${c}`;
}

/** What an event is about, as far as order goes. */
export function orderKeyOf({ id, subject }: Omit<OutboxEvent, "type">): string {
  return subject.invoiceId ?? subject.leadId ?? subject.clientId ?? id;
}

/** A message as an event makes it, to be sent at once. */
export function newMessage(
  event: Omit<OutboxEvent, "type">,
  wanted: NewMessage,
  now: number,
): OutboxMessage {
  const { kind, type, to, lane, isOrdered = false } = wanted;
  return {
    id: messageIdOf(event.id, wanted),
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

/** A message of which an attempt begins. */
export function begun(message: OutboxMessage, lease: MessageLease): OutboxMessage {
  return { ...message, attempts: message.attempts + 1, lease, dueAt: lease.until };
}

/** The lease of an attempt that begins now. */
export function newLease(by: string, { timeoutMs }: DeliveryPolicy, now: number): MessageLease {
  return { by, until: now + timeoutMs + LEASE_GRACE_MS };
}

/** Whether a message is to be sent, and at this place among what is due. */
export function isAt({ status, lane, dueAt }: OutboxMessage, due: Due): boolean {
  return status === "pending" && lane === due.lane && dueAt === due.dueAt;
}

/** How an attempt ended: as the sender says, or that it was not made. */
export type Ended = Sent | { state: "not_made" };

/**
 * A message after an attempt. Pure.
 *
 * @param now Milliseconds UTC.
 */
export function afterAttempt(
  message: OutboxMessage,
  ended: Ended,
  { policy, now, random }: { policy: DeliveryPolicy; now: number; random: () => number },
): OutboxMessage {
  const idle = { ...message, lease: null };
  switch (ended.state) {
    case "sent":
      return closed({ ...idle, lastError: null }, "sent", now);
    case "moot":
      return closed({ ...idle, lastError: ended.reason }, "cancelled", now);
    case "refused":
      return closed({ ...idle, lastError: ended.reason }, "dead", now);
    case "not_made":
      return { ...idle, attempts: message.attempts - 1, dueAt: now };
    case "failed": {
      const { reason: lastError, retryAfterMs = 0 } = ended;
      const waitMs = backoffOf(policy, message.attempts - message.attemptsBefore, random);
      const isTooOld = ended.isLaneDown && now - message.since >= policy.giveUpMs;
      if (waitMs === null || isTooOld) return closed({ ...idle, lastError }, "dead", now);
      const askedMs = Math.min(retryAfterMs, RETRY_AFTER_MAX_MS);
      return { ...idle, lastError, dueAt: now + Math.max(waitMs, askedMs) };
    }
    default:
      return ended satisfies never;
  }
}

/** A message that ended. */
export function closed(
  message: OutboxMessage,
  status: "sent" | "dead" | "cancelled",
  now: number,
): OutboxMessage {
  const keepMs = status === "dead" ? DEAD_KEEP_MS : DONE_KEEP_MS;
  return { ...message, status, lease: null, endedAt: isoTime(now), exp: now + keepMs };
}
