/**
 * The invariants of the outbox: what is to be sent can be found by when, what is
 * dead can be found as such, and nothing is tried for ever.
 *
 * @module
 */
import { type Check, check, type Get, type Mend, type Room } from "./indexes.ts";
import * as keys from "../kv/keys.ts";
import type { MessageOrder, OutboxMessage } from "../kv/outbox_records.ts";
import { DAY_MS } from "../time.ts";

/** Longer than any kind of message is tried, with all that a destination may ask for. */
const TRIED_MAX_MS = 21 * DAY_MS;
/** Messages of one order that a check looks at: a snapshot has ten keys. */
const ORDER_LOOK_MAX = 8;

/** Every prefix of the outbox whose entries must agree with others. */
export const OUTBOX_ROOMS: readonly Room[] = [
  room(keys.outboxEvents, []),
  room(keys.messages, [
    check<OutboxMessage>("message.due_missing", "warning", unplacedFault, placeOf, place),
    check<OutboxMessage>("message.dead_missing", "warning", deadFault, deadKeyOf, nameDead),
    check<OutboxMessage>("message.tried_too_long", "warning", ageFault),
  ]),
  room(keys.outboxDues, [
    check<string>(
      "message.due_wrong",
      "warning",
      dueFault,
      undefined,
      (_, _get, key) => remove(key),
    ),
  ]),
  room(keys.messagesDead, [
    check<string>(
      "message.dead_wrong",
      "warning",
      deadIndexFault,
      undefined,
      (id) => remove(keys.messageDead(id)),
    ),
  ]),
  room(["message_order"], [
    check<MessageOrder>("message.order_wrong", "warning", orderFault, undefined, mendOrder),
  ]),
];

function room(prefix: keys.Prefix<unknown>, checks: readonly Check[]): Room {
  return { prefix, severity: "warning", checks };
}

function placeOf({ lane, dueAt, id }: OutboxMessage): keys.Key<string> {
  return keys.outboxDue(lane, dueAt, id);
}

/** Whether another message has to end before it. */
function isWaiting({ id, lane, orderKey }: OutboxMessage, get: Get): boolean {
  const queue = orderKey === null ? [] : get(keys.messageOrder(orderKey))?.[lane] ?? [];
  return queue.findIndex((one) => one.id === id) > 0;
}

function unplacedFault(message: OutboxMessage, get: Get): string | null {
  if (message.status !== "pending" || isWaiting(message, get)) return null;
  return get(placeOf(message)) === null ? "It is to be sent, and not among what is due" : null;
}

function place(message: OutboxMessage, get: Get): Mend | null {
  if (unplacedFault(message, get) === null) return null;
  return {
    done: "It is among what is due now",
    put: (writes) => writes.set(placeOf(message), message.id),
  };
}

function deadKeyOf({ id }: OutboxMessage): keys.Key<string> {
  return keys.messageDead(id);
}

function deadFault({ id, status }: OutboxMessage, get: Get): string | null {
  const isListed = get(keys.messageDead(id)) !== null;
  return status === "dead" && !isListed ? "It is dead, and not among the dead" : null;
}

function nameDead({ id }: OutboxMessage): Mend {
  return {
    done: "It is among the dead now",
    put: (writes) => writes.set(keys.messageDead(id), id),
  };
}

function ageFault({ status, dueAt, since }: OutboxMessage): string | null {
  return status === "pending" && dueAt - since > TRIED_MAX_MS
    ? "It is neither sent nor dead"
    : null;
}

function dueFault(_: string, get: Get, key: keys.Key<unknown>): string | null {
  const [, lane, dueAt, id] = key;
  const message = get(keys.message(String(id)));
  if (!message || message.status !== "pending") return "There is no such message to be sent";
  return message.lane === lane && message.dueAt === dueAt ? null : "The message is due elsewhere";
}

function remove(key: keys.Key<unknown>): Mend {
  return { done: "It was removed", put: (writes) => writes.delete(key) };
}

function deadIndexFault(id: string, get: Get): string | null {
  return get(keys.message(id))?.status === "dead" ? null : "There is no such dead message";
}

/** Whether a place in an order is that of a message which is to be sent in it. */
function belongs(id: string, lane: string, key: keys.Key<unknown>, get: Get): boolean {
  const message = get(keys.message(id));
  return message?.status === "pending" && message.lane === lane && message.orderKey === key[1];
}

function orderFault(order: MessageOrder, get: Get, key: keys.Key<unknown>): string | null {
  const places = Object.entries(order).flatMap(([lane, queue]) =>
    queue.map(({ id }) => ({ lane, id }))
  );
  const wrong = places.slice(0, ORDER_LOOK_MAX).find(({ lane, id }) =>
    !belongs(id, lane, key, get)
  );
  return wrong ? `${wrong.id} is not to be sent in it` : null;
}

function mendOrder(order: MessageOrder, get: Get, key: keys.Key<unknown>): Mend | null {
  const lanes = Object.entries(order);
  const looked = lanes.reduce((sum, [, queue]) => sum + queue.length, 0);
  if (looked > ORDER_LOOK_MAX) return null;
  const right = lanes.map(([lane, queue]) =>
    [lane, queue.filter(({ id }) => belongs(id, lane, key, get))] as const
  ).filter(([, queue]) => queue.length > 0);
  return {
    done: "What is not to be sent in it was removed",
    put(writes) {
      if (right.length === 0) writes.delete(key);
      else writes.set(key, Object.fromEntries(right));
    },
  };
}
