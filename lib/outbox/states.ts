/**
 * The states of a message, and every write of one: each is a transaction that
 * decides on the message as it is stored, so two instances never end or send the
 * same attempt, and what was overtaken is told so and writes nothing.
 *
 * A message that is to be sent has one entry among what is due, at the time from
 * which on anyone may send it. To claim it is to move that entry to the end of
 * the lease: if the instance is killed, the entry is due again by itself.
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
import { transact, type Writes } from "../kv/transact.ts";
import { operationOf } from "../entities/caller.ts";
import type { DeliveryPolicy, NewMessage } from "./ports.ts";
import {
  afterAttempt,
  begun,
  closed,
  type Due,
  type Ended,
  isAt,
  newLease,
  newMessage,
  orderKeyOf,
} from "./rules.ts";
import type { StoreServices } from "../kv/store.ts";
import { MINUTE_MS } from "../time.ts";

const RECEIPT_KEEP_MS = 10 * MINUTE_MS;

/**
 * Turns an event into its messages: written and the event deleted in one commit,
 * so that it happens once, whoever tries. One read and one commit.
 *
 * @param lease For the messages that the caller is to send, by their lane; null for none.
 * @returns Those that the caller has; and the others that could be sent now.
 */
export async function fanOut(
  services: StoreServices,
  event: OutboxEvent,
  wanted: readonly NewMessage[],
  lease: (message: OutboxMessage) => MessageLease | null,
): Promise<{ mine: OutboxMessage[]; open: Due[] }> {
  const now = services.clock();
  const made = wanted.map((one) => newMessage(event, one, now));
  const leased = new Map(made.map((message) => [message.id, lease(message)]));
  const reads = { event: keys.outboxEvent(event.id), order: keys.messageOrder(orderKeyOf(event)) };
  return await transact(services, reads, (found, writes) => {
    const mine: OutboxMessage[] = [];
    const open: Due[] = [];
    if (!found.event) return { mine, open };
    writes.delete(reads.event);
    let order = found.order ?? {};
    for (const message of made) {
      const { id, lane, orderKey } = message;
      const queue = orderKey === null ? [] : order[lane] ?? [];
      if (orderKey !== null) order = { ...order, [lane]: [...queue, { id, dueAt: now }] };
      const isNext = queue.length === 0;
      const own = isNext ? leased.get(id) ?? null : null;
      const stored = own ? begun(message, own) : message;
      writes.set(keys.message(id), stored);
      if (isNext) writes.set(keys.outboxDue(lane, stored.dueAt, id), id);
      if (own) mine.push(stored);
      else if (isNext) open.push({ lane, dueAt: now, id });
    }
    if (order !== found.order) putOrder(writes, reads.order, order);
    return { mine, open };
  }, { operation: operationNow(now) });
}

/** What came of trying to take a message; null if it is another's or has ended. */
export type Claimed =
  | { isSpent: false; message: OutboxMessage }
  /** All its attempts were begun, and the last one never came to an end. */
  | { isSpent: true; message: OutboxMessage }
  | null;

/**
 * Takes a message that is due. One read and one commit.
 *
 * @param policyOf That of the message's kind.
 * @throws {AppError} `unavailable`, `outcome_unknown`
 */
export async function claim(
  services: StoreServices,
  due: Due,
  { by, policyOf }: { by: string; policyOf: (message: OutboxMessage) => DeliveryPolicy },
): Promise<Claimed> {
  const now = services.clock();
  const at = keys.outboxDue(due.lane, due.dueAt, due.id);
  const reads = { due: at, message: keys.message(due.id) };
  return await transact(services, reads, (found, writes): Claimed => {
    const { message } = found;
    if (found.due === null || due.dueAt > now) return null;
    if (!message || !isAt(message, due)) {
      writes.delete(at); // it leads nowhere
      return null;
    }
    const policy = policyOf(message);
    const attemptsMax = policy.backoffMs.length + 1;
    if (message.attempts - message.attemptsBefore >= attemptsMax) return { isSpent: true, message };
    const claimed = begun(message, newLease(by, policy, now));
    writes.delete(at);
    writes.set(keys.message(due.id), claimed);
    writes.set(keys.outboxDue(due.lane, claimed.dueAt, due.id), due.id);
    return { isSpent: false, message: claimed };
  }, { operation: operationNow(now) });
}

/** What became of a message. */
export interface Change {
  /** The message as it is now. */
  message: OutboxMessage;
  /** What may go out now that this one has ended; null for nothing. */
  next: Due | null;
}

/**
 * Notes how an attempt ended. One read and one commit; one more read for a
 * message that others wait for.
 *
 * @param claimed As it was when the attempt began.
 * @returns null, with nothing written, if another instance has it by now
 * @throws {AppError} `unavailable`, `outcome_unknown`
 */
export async function finish(
  services: StoreServices,
  claimed: OutboxMessage,
  ended: Ended,
  { policy, random }: { policy: DeliveryPolicy; random: () => number },
): Promise<Change | null> {
  const now = services.clock();
  const luck = random();
  return await change(services, claimed, (found) => {
    const isMine = found.status === "pending" && found.attempts === claimed.attempts &&
      found.lease?.by === claimed.lease?.by;
    return isMine ? afterAttempt(found, ended, { policy, now, random: () => luck }) : null;
  });
}

/**
 * Lets a message die whose time is over and whose lane is down.
 *
 * @returns null if it is not to die
 */
export async function giveUp(
  services: StoreServices,
  due: Due,
  { reason, policyOf }: { reason: string; policyOf: (message: OutboxMessage) => DeliveryPolicy },
): Promise<Change | null> {
  const now = services.clock();
  const before = await services.store.get(keys.message(due.id));
  if (!before) return null;
  return await change(services, before, (found) => {
    const isOld = now - found.since >= policyOf(found).giveUpMs;
    return isAt(found, due) && due.dueAt <= now && isOld
      ? closed({ ...found, lastError: reason }, "dead", now)
      : null;
  });
}

/**
 * Changes a message that is to be sent or is dead, with all its places.
 *
 * @param known As it was when it was last read: where it is, and in which order.
 * @param next The message as it is to be, null for no change. Pure.
 * @returns null when nothing was changed
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
    putWhereItBelongs(writes, after, now);
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

/** Keeps a message where its status belongs. */
function putWhereItBelongs(writes: Writes, message: OutboxMessage, now: number): void {
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
 * Has a message that ended sent again, under its old id, behind those of its order.
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
    ...{ message: keys.message(id), done: keys.messageDone(id) },
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
    // What waits for another goes on waiting.
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

/** Forgets a message that has been dead for long. @returns Whether it was */
export async function forget(services: StoreServices, id: string): Promise<boolean> {
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

/** Keeps the lanes in which something waits. */
function putOrder(writes: Writes, key: keys.Key<MessageOrder>, order: MessageOrder): void {
  const waiting = Object.entries(order).filter(([, queue]) => queue.length > 0);
  if (waiting.length === 0) writes.delete(key);
  else writes.set(key, Object.fromEntries(waiting));
}

/** Each write is its own: none is asked for twice. */
function operationNow(now: number) {
  const by = { actor: "job:outbox" as const, requestId: "outbox", idempotencyKey: null };
  return operationOf(by, "outbox", null, { now, keepMs: RECEIPT_KEEP_MS });
}

/**
 * Writes a message that no event made, such as a trial, to be sent at once; its
 * order is not kept. The commit wakes the outbox of this process, which sends it.
 *
 * @param origin Names it: the same id, kind, type and destination are the same message.
 * @returns The message as it is written.
 */
export function putMessage(
  writes: Writes,
  origin: Omit<OutboxEvent, "type">,
  wanted: NewMessage,
  now: number,
): OutboxMessage {
  const message = newMessage(origin, { ...wanted, isOrdered: false }, now);
  writes.set(keys.message(message.id), message);
  writes.set(keys.outboxDue(message.lane, message.dueAt, message.id), message.id);
  return message;
}
