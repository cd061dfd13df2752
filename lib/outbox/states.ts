/**
 * All writes of messages. Each is a transaction that decides on the stored message,
 * so two instances never make or end the same attempt, and a superseded attempt
 * writes nothing.
 *
 * A pending message has one entry in the index of due messages, at the time from
 * which any instance may send it. Claiming moves that entry to the end of the lease:
 * if the instance is killed, the entry becomes due again by itself.
 *
 * @module
 */
import * as keys from "../kv/keys.ts";
import type {
  MessageLease,
  MessageOrder,
  OutboxEvent,
  OutboxMessage,
} from "../kv/outbox_records.ts";
import { transact } from "../kv/mod.ts";
import type { Writes } from "../kv/transaction.ts";
import { operationOf } from "../entities/caller.ts";
import type { DeliveryPolicy, NewMessage } from "./ports.ts";
import {
  afterAttempt,
  closed,
  type DispatchResult,
  type Due,
  isAt,
  newLease,
  newMessage,
  orderKeyOf,
  started,
} from "./rules.ts";
import type { StoreServices } from "../kv/store.ts";
import { MINUTE_MS } from "../time.ts";

const RECEIPT_KEEP_MS = 10 * MINUTE_MS;

/**
 * Replaces an event by its messages, in one commit, so that it happens once however
 * many instances try. One read and one commit.
 *
 * @param lease The lease of a message that the caller will send; null for the others.
 * @returns `mine`, the messages leased to the caller, and `open`, the others due now.
 */
export async function fanOut(
  services: StoreServices,
  event: OutboxEvent,
  requested: readonly NewMessage[],
  lease: (message: OutboxMessage) => MessageLease | null,
): Promise<{ mine: OutboxMessage[]; open: Due[] }> {
  const now = services.clock();
  const messages = requested.map((one) => newMessage(event, one, now));
  const leased = new Map(messages.map((message) => [message.id, lease(message)]));
  const reads = { event: keys.outboxEvent(event.id), order: keys.messageOrder(orderKeyOf(event)) };
  return await transact(services, reads, (found, writes) => {
    const mine: OutboxMessage[] = [];
    const open: Due[] = [];
    if (!found.event) return { mine, open };
    writes.delete(reads.event);
    let order = found.order ?? {};
    for (const message of messages) {
      const { id, lane, orderKey } = message;
      const queue = orderKey === null ? [] : order[lane] ?? [];
      if (orderKey !== null) order = { ...order, [lane]: [...queue, { id, dueAt: now }] };
      const isNext = queue.length === 0;
      const own = isNext ? leased.get(id) ?? null : null;
      const stored = own ? started(message, own) : message;
      writes.set(keys.message(id), stored);
      if (isNext) writes.set(keys.outboxDue(lane, stored.dueAt, id), id);
      if (own) mine.push(stored);
      else if (isNext) open.push({ lane, dueAt: now, id });
    }
    if (order !== found.order) putOrder(writes, reads.order, order);
    return { mine, open };
  }, { operation: operationNow(now) });
}

/**
 * Deletes events from which no message follows, in one commit. Harmless to repeat, so nothing is
 * read: an event never changes, and another instance would do the same.
 *
 * @throws {AppError} `unavailable`, `outcome_unknown`
 */
export async function dropEvents(
  services: StoreServices,
  events: readonly OutboxEvent[],
): Promise<void> {
  const now = services.clock();
  await transact(services, {}, (_, writes) => {
    for (const { id } of events) writes.delete(keys.outboxEvent(id));
  }, { operation: operationNow(now) });
}

/** The result of a claim; null if another instance has the message or it has ended. */
export type ClaimResult =
  | { isExhausted: false; message: OutboxMessage }
  /** All attempts were started, and the last one never ended. */
  | { isExhausted: true; message: OutboxMessage }
  | null;

/**
 * Claims a due message. One read and one commit.
 *
 * @param policyOf The policy of the message's kind.
 * @throws {AppError} `unavailable`, `outcome_unknown`
 */
export async function claim(
  services: StoreServices,
  due: Due,
  { by, policyOf }: { by: string; policyOf: (message: OutboxMessage) => DeliveryPolicy },
): Promise<ClaimResult> {
  const now = services.clock();
  const at = keys.outboxDue(due.lane, due.dueAt, due.id);
  const reads = { due: at, message: keys.message(due.id) };
  return await transact(services, reads, (found, writes): ClaimResult => {
    const { message } = found;
    if (found.due === null || due.dueAt > now) return null;
    if (!message || !isAt(message, due)) {
      writes.delete(at); // a stale entry
      return null;
    }
    const policy = policyOf(message);
    const attemptsMax = policy.backoffMs.length + 1;
    if (message.attempts - message.attemptsBefore >= attemptsMax) {
      return { isExhausted: true, message };
    }
    const claimed = started(message, newLease(by, policy, now));
    writes.delete(at);
    writes.set(keys.message(due.id), claimed);
    writes.set(keys.outboxDue(due.lane, claimed.dueAt, due.id), due.id);
    return { isExhausted: false, message: claimed };
  }, { operation: operationNow(now) });
}

/** A change of a message. */
export interface Change {
  /** The message after the change. */
  message: OutboxMessage;
  /** The next message of the order, which may be sent now; null if none waits. */
  next: Due | null;
}

/**
 * Records how a claim ended. One read and one commit.
 *
 * @param claimed The message as claimed.
 * @returns null, with nothing written, if another instance has it by now
 * @throws {AppError} `unavailable`, `outcome_unknown`
 */
export async function finish(
  services: StoreServices,
  claimed: OutboxMessage,
  result: DispatchResult,
  { policy, random }: { policy: DeliveryPolicy; random: () => number },
): Promise<Change | null> {
  const now = services.clock();
  const chance = random(); // drawn once, since the transaction may repeat
  return await change(services, claimed, (found) => {
    const isMine = found.status === "pending" && found.attempts === claimed.attempts &&
      found.lease?.by === claimed.lease?.by;
    return isMine ? afterAttempt(found, result, { policy, now, random: () => chance }) : null;
  });
}

/**
 * Dead-letters a message that is too old, in a lane that is down.
 *
 * @returns null if it is not due or not too old
 */
export async function deadLetterExpired(
  services: StoreServices,
  due: Due,
  { reason, policyOf }: { reason: string; policyOf: (message: OutboxMessage) => DeliveryPolicy },
): Promise<Change | null> {
  const now = services.clock();
  const before = await services.store.get(keys.message(due.id));
  if (!before) return null;
  return await change(services, before, (found) => {
    const isOld = now - found.since >= policyOf(found).deadLetterAfterMs;
    return isAt(found, due) && due.dueAt <= now && isOld
      ? closed({ ...found, lastError: reason }, "dead", now)
      : null;
  });
}

/**
 * Changes a pending or dead message, with all its index entries.
 *
 * @param known As last read; its id, lane and order key never change.
 * @param next Returns the new message, or null for no change. Pure.
 * @returns null when nothing changed
 */
export async function change(
  services: StoreServices,
  { id, lane, orderKey }: OutboxMessage,
  next: (found: OutboxMessage) => OutboxMessage | null,
): Promise<Change | null> {
  const now = services.clock();
  const isOrdered = orderKey !== null;
  const reads = { message: keys.message(id), order: keys.messageOrder(orderKey ?? id) };
  return await transact(services, reads, (found, writes): Change | null => {
    const before = found.message;
    const after = before && next(before);
    if (!before || !after) return null;
    putByStatus(writes, after, now);
    if (before.status === "dead") writes.delete(keys.messageDead(id));
    const queue = isOrdered ? found.order?.[lane] ?? [] : [];
    const isWaiting = queue.length > 0 && queue[0]!.id !== id;
    if (before.status === "pending" && !isWaiting) {
      writes.delete(keys.outboxDue(lane, before.dueAt, id));
    }
    if (after.status === "pending") {
      if (!isWaiting) writes.set(keys.outboxDue(lane, after.dueAt, id), id);
      return { message: after, next: null };
    }
    const rest = queue.filter((one) => one.id !== id);
    if (rest.length === queue.length) return { message: after, next: null };
    putOrder(writes, reads.order, { ...found.order, [lane]: rest });
    const promoted = isWaiting ? undefined : rest[0];
    if (promoted) writes.set(keys.outboxDue(lane, promoted.dueAt, promoted.id), promoted.id);
    return { message: after, next: promoted ? { lane, ...promoted } : null };
  }, { operation: operationNow(now) });
}

/** Writes a message under the keys of its status. */
function putByStatus(writes: Writes, message: OutboxMessage, now: number): void {
  const { id, status, exp } = message;
  if (status === "sent" || status === "cancelled") {
    writes.delete(keys.message(id));
    writes.set(keys.messageDone(id), message, exp === null ? {} : { expireIn: exp - now });
    return;
  }
  writes.set(keys.message(id), message);
  if (status === "dead") writes.set(keys.messageDead(id), id);
}

/**
 * Makes a message due again under its id, after the others of its order.
 *
 * @param decide Throws to refuse. Pure.
 * @returns null if there is no such message
 */
export async function revive(
  services: StoreServices,
  { id, lane, orderKey }: OutboxMessage,
  decide: (found: OutboxMessage) => void,
): Promise<OutboxMessage | null> {
  const now = services.clock();
  const reads = {
    message: keys.message(id),
    done: keys.messageDone(id),
    order: keys.messageOrder(orderKey ?? id),
  };
  return await transact(services, reads, (found, writes) => {
    const before = found.message ?? found.done;
    if (!before) return null;
    decide(before);
    const { attempts } = before;
    const after: OutboxMessage = {
      ...before,
      status: "pending",
      attemptsBefore: attempts,
      lease: null,
      dueAt: now,
      since: now,
      endedAt: null,
      exp: null,
    };
    const queue = orderKey === null ? [] : found.order?.[lane] ?? [];
    const isWaiting = before.status === "pending" && queue.length > 0 && queue[0]!.id !== id;
    // It stays behind the one it waits for.
    if (isWaiting) return before;
    if (before.status === "pending") writes.delete(keys.outboxDue(lane, before.dueAt, id));
    if (before.status === "dead") writes.delete(keys.messageDead(id));
    if (found.done) writes.delete(reads.done);
    writes.set(reads.message, after);
    const isKnown = queue.some((one) => one.id === id);
    if (orderKey !== null && !isKnown) {
      putOrder(writes, reads.order, { ...found.order, [lane]: [...queue, { id, dueAt: now }] });
    }
    if (isKnown || queue.length === 0) writes.set(keys.outboxDue(lane, now, id), id);
    return after;
  }, { operation: operationNow(now) });
}

/** Deletes a dead-lettered message that has expired. @returns Whether it had */
export async function deleteExpired(services: StoreServices, id: string): Promise<boolean> {
  const now = services.clock();
  const reads = { message: keys.message(id), dead: keys.messageDead(id) };
  return await transact(services, reads, ({ message, dead }, writes) => {
    const isOver = message === null || (message.exp !== null && message.exp <= now);
    if (dead === null || !isOver) return false;
    writes.delete(reads.message);
    writes.delete(reads.dead);
    return true;
  }, { operation: operationNow(now) });
}

/** Writes the lanes in which messages wait. */
function putOrder(writes: Writes, key: keys.Key<MessageOrder>, order: MessageOrder): void {
  const waiting = Object.entries(order).filter(([, queue]) => queue.length > 0);
  if (waiting.length === 0) writes.delete(key);
  else writes.set(key, Object.fromEntries(waiting));
}

/** An operation of its own for each write: none is repeated by a caller. */
function operationNow(now: number) {
  const by = { actor: "job:outbox" as const, requestId: "outbox", idempotencyKey: null };
  return operationOf(by, "outbox", null, { now, keepMs: RECEIPT_KEEP_MS });
}

/**
 * Writes a message without an event, such as a test of a webhook, due at once and
 * unordered. The commit wakes the outbox of this process, which sends it.
 *
 * @param origin Identifies it: the same id, kind, type and destination are one message.
 * @returns The message as written.
 */
export function putMessage(
  writes: Writes,
  origin: Omit<OutboxEvent, "type">,
  requested: NewMessage,
  now: number,
): OutboxMessage {
  const message = newMessage(origin, { ...requested, isOrdered: false }, now);
  writes.set(keys.message(message.id), message);
  writes.set(keys.outboxDue(message.lane, message.dueAt, message.id), message.id);
  return message;
}
