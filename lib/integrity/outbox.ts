/**
 * The invariants of the outbox: pending messages are indexed by due time, dead
 * ones are listed, and no message is retried for ever.
 *
 * @module
 */
import { type Check, check, type Get, type Repair, type Table } from "./indexes.ts";
import * as keys from "../kv/keys.ts";
import type { MessageOrder, OutboxMessage } from "../kv/outbox_records.ts";
import { DAY_MS } from "../time.ts";

/** Longer than any kind of message is retried, including delays that a destination may ask for. */
const TRIED_MAX_DAYS = 21;
/** Messages of one order that a check reads: a snapshot has ten keys. */
const ORDER_READ_MAX = 8;

/** The tables of the outbox. */
export const OUTBOX_TABLES: readonly Table[] = [
  table(keys.outboxEvents, []),
  table(keys.messages, [
    check<OutboxMessage>("message.due_missing", "warning", dueMissingFault, dueKey, addDue),
    check<OutboxMessage>("message.dead_missing", "warning", deadFault, deadKey, addDead),
    check<OutboxMessage>("message.tried_too_long", "warning", ageFault),
  ]),
  table(keys.outboxDues, [
    check<string>(
      "message.due_wrong",
      "warning",
      dueFault,
      undefined,
      (_, _get, key) => remove(key),
    ),
  ]),
  table(keys.messagesDead, [
    check<string>(
      "message.dead_wrong",
      "warning",
      deadIndexFault,
      undefined,
      (id) => remove(keys.messageDead(id)),
    ),
  ]),
  table(["message_order"], [
    check<MessageOrder>("message.order_wrong", "warning", orderFault, undefined, repairOrder),
  ]),
];

function table(prefix: keys.Prefix<unknown>, checks: readonly Check[]): Table {
  return { prefix, severity: "warning", checks };
}

function dueKey({ lane, dueAt, id }: OutboxMessage): keys.Key<string> {
  return keys.outboxDue(lane, dueAt, id);
}

/** Whether another message of its order key goes first. */
function isWaiting({ id, lane, orderKey }: OutboxMessage, get: Get): boolean {
  const queue = orderKey === null ? [] : get(keys.messageOrder(orderKey))?.[lane] ?? [];
  return queue.findIndex((one) => one.id === id) > 0;
}

function dueMissingFault(message: OutboxMessage, get: Get): string | null {
  if (message.status !== "pending" || isWaiting(message, get)) return null;
  return get(dueKey(message)) === null ? "The pending message has no due entry" : null;
}

function addDue(message: OutboxMessage, get: Get): Repair | null {
  if (dueMissingFault(message, get) === null) return null;
  return {
    done: "Due entry added",
    put: (writes) => writes.set(dueKey(message), message.id),
  };
}

function deadKey({ id }: OutboxMessage): keys.Key<string> {
  return keys.messageDead(id);
}

function deadFault({ id, status }: OutboxMessage, get: Get): string | null {
  const isListed = get(keys.messageDead(id)) !== null;
  return status === "dead" && !isListed ? "The dead message is not listed as dead" : null;
}

function addDead({ id }: OutboxMessage): Repair {
  return {
    done: "Listed as dead",
    put: (writes) => writes.set(keys.messageDead(id), id),
  };
}

function ageFault({ status, dueAt, since }: OutboxMessage): string | null {
  return status === "pending" && dueAt - since > TRIED_MAX_DAYS * DAY_MS
    ? `The message has been retried for more than ${TRIED_MAX_DAYS} days`
    : null;
}

function dueFault(_: string, get: Get, key: keys.Key<unknown>): string | null {
  const [, lane, dueAt, id] = key;
  const message = get(keys.message(String(id)));
  if (!message || message.status !== "pending") return "There is no such pending message";
  return message.lane === lane && message.dueAt === dueAt
    ? null
    : "The message is due in another lane or at another time";
}

function remove(key: keys.Key<unknown>): Repair {
  return { done: "Entry deleted", put: (writes) => writes.delete(key) };
}

function deadIndexFault(id: string, get: Get): string | null {
  return get(keys.message(id))?.status === "dead" ? null : "There is no such dead message";
}

/** Whether a message is pending in this lane and order. */
function belongs(id: string, lane: string, key: keys.Key<unknown>, get: Get): boolean {
  const message = get(keys.message(id));
  return message?.status === "pending" && message.lane === lane && message.orderKey === key[1];
}

function orderFault(order: MessageOrder, get: Get, key: keys.Key<unknown>): string | null {
  const places = Object.entries(order).flatMap(([lane, queue]) =>
    queue.map(({ id }) => ({ lane, id }))
  );
  const wrong = places.slice(0, ORDER_READ_MAX).find(({ lane, id }) =>
    !belongs(id, lane, key, get)
  );
  return wrong ? `${wrong.id} is not pending in this order` : null;
}

function repairOrder(order: MessageOrder, get: Get, key: keys.Key<unknown>): Repair | null {
  const lanes = Object.entries(order);
  const length = lanes.reduce((sum, [, queue]) => sum + queue.length, 0);
  if (length > ORDER_READ_MAX) return null;
  const right = lanes.map(([lane, queue]) =>
    [lane, queue.filter(({ id }) => belongs(id, lane, key, get))] as const
  ).filter(([, queue]) => queue.length > 0);
  return {
    done: "Removed messages that are not pending in this order",
    put(writes) {
      if (right.length === 0) writes.delete(key);
      else writes.set(key, Object.fromEntries(right));
    },
  };
}
