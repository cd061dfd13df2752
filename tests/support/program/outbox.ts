/**
 * What an outbox needs besides the program: somebody who wants messages, and
 * places that take them, in whatever mood a test wants.
 *
 * @module
 */
import { newId } from "../../../lib/ids.ts";
import type { EventType, OutboxEvent } from "../../../lib/kv/outbox_records.ts";
import { transact } from "../../../lib/kv/transact.ts";
import { operationOf } from "../../../lib/entities/caller.ts";
import { Outbox } from "../../../lib/outbox/mod.ts";
import type {
  DeliveryPolicy,
  NewMessage,
  OutboxMessage,
  Sender,
  AttemptResult,
} from "../../../lib/outbox/ports.ts";
import { putEvent } from "../../../lib/outbox/events.ts";
import { raiseDeadLetter } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/services.ts";
import { MINUTE_MS, SECOND_MS } from "../../../lib/time.ts";
import { TESTER } from "./app.ts";

/** Few attempts, soon over. */
export const POLICY: DeliveryPolicy = {
  timeoutMs: 10 * SECOND_MS,
  atOnce: 3,
  backoffMs: [MINUTE_MS, 10 * MINUTE_MS, 60 * MINUTE_MS],
  deadLetterAfterMs: 120 * MINUTE_MS,
};

/** It is taken. */
export const TAKEN: AttemptResult = { state: "sent" };
/** It is not taken this time; others are. */
export const BUSY: AttemptResult = { state: "failed", reason: "450", isLaneDown: false };
/** Nothing is taken. */
export const DOWN: AttemptResult = { state: "failed", reason: "no connection", isLaneDown: true };
/** It will never be taken. */
export const REFUSED: AttemptResult = { state: "refused", reason: "550" };

/** All destinations. */
export interface Post {
  /** Attempts that came, in order. */
  readonly got: OutboxMessage[];
  /** Answers an attempt; takes everything until told otherwise. */
  answer: (message: OutboxMessage) => AttemptResult | Promise<AttemptResult>;
  /** The most that were under way at once, by lane. */
  readonly most: Map<string, number>;
}

/** Destinations of every kind. */
export function newPost(): Post {
  return { got: [], answer: () => TAKEN, most: new Map() };
}

/** Which messages an event is to become; one webhook to `a` when absent. */
export type Wants = (event: OutboxEvent) => NewMessage[] | Promise<NewMessage[]>;

/** A webhook, in order, to one endpoint. */
export function hook(to: string): (event: OutboxEvent) => NewMessage {
  return ({ type }) => ({ kind: "webhook", type, to, lane: to, isOrdered: true });
}

/** An instance's outbox that sends to `post`. */
export function newOutbox(
  services: Services,
  post: Post,
  wants: Wants = (event) => [hook("a")(event)],
  policy: DeliveryPolicy = POLICY,
): Outbox {
  const underWay = new Map<string, number>();
  const sender: Sender = {
    policy,
    async send(message) {
      const { lane } = message;
      const count = (underWay.get(lane) ?? 0) + 1;
      underWay.set(lane, count);
      post.most.set(lane, Math.max(post.most.get(lane) ?? 0, count));
      post.got.push(message);
      try {
        return await post.answer(message);
      } finally {
        underWay.set(lane, underWay.get(lane)! - 1);
      }
    },
  };
  const { store, clock, log, metrics, errorTracker } = services;
  return new Outbox({
    store,
    clock,
    log,
    metrics,
    errorTracker,
    subscribers: [{ name: "test", messagesOf: wants }],
    senders: { email: sender, webhook: sender, alert: sender },
    random: () => 0.999,
    onDead: (message) => raiseDeadLetter(services, message),
  });
}

/** Writes that something happened. @returns The event's id */
export async function happen(
  services: Services,
  { type = "invoice.paid", subject = {}, data = {} }: {
    type?: EventType;
    subject?: Record<string, string>;
    data?: OutboxEvent["data"];
  } = {},
): Promise<string> {
  const now = services.clock();
  const id = newId(now);
  await transact(services, {}, (_, writes) => {
    putEvent(writes, { id, type, subject, data }, now);
  }, { operation: operationOf(TESTER, "test", id, { now }) });
  return id;
}
