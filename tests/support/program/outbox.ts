/**
 * What an outbox needs besides the program: a subscriber, and destinations that
 * answer as a test decides.
 *
 * @module
 */
import { newId } from "../../../lib/ids.ts";
import type { EventType, OutboxEvent } from "../../../lib/kv/outbox_records.ts";
import { transact } from "../../../lib/kv/mod.ts";
import { operationOf } from "../../../lib/entities/caller.ts";
import { Outbox } from "../../../lib/outbox/mod.ts";
import type {
  AttemptResult,
  DeliveryPolicy,
  NewMessage,
  OutboxMessage,
  Sender,
} from "../../../lib/outbox/ports.ts";
import { putEvent } from "../../../lib/outbox/events.ts";
import { raiseDeadLetter } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/mod.ts";
import { MINUTE_MS, SECOND_MS } from "../../../lib/time.ts";
import { TESTER } from "./app.ts";

/** Few attempts with short waits. */
export const POLICY: DeliveryPolicy = {
  timeoutMs: 10 * SECOND_MS,
  atOnce: 3,
  backoffMs: [MINUTE_MS, 10 * MINUTE_MS, 60 * MINUTE_MS],
  deadLetterAfterMs: 120 * MINUTE_MS,
};

/** Accepted. */
export const TAKEN: AttemptResult = { state: "sent" };
/** This message fails now; others are accepted. */
export const BUSY: AttemptResult = { state: "failed", reason: "450", isLaneDown: false };
/** All messages fail. */
export const DOWN: AttemptResult = { state: "failed", reason: "no connection", isLaneDown: true };
/** Refused for good. */
export const REFUSED: AttemptResult = { state: "refused", reason: "550" };

/** All destinations. */
export interface Post {
  /** Received attempts, in order. */
  readonly got: OutboxMessage[];
  /** Answers an attempt; accepts everything by default. */
  answer: (message: OutboxMessage) => AttemptResult | Promise<AttemptResult>;
  /** The most parallel attempts, by lane. */
  readonly most: Map<string, number>;
}

/** Destinations of every kind. */
export function newPost(): Post {
  return { got: [], answer: () => TAKEN, most: new Map() };
}

/** The messages of an event. */
export type MessagesOf = (event: OutboxEvent) => NewMessage[] | Promise<NewMessage[]>;

/** A webhook, in order, to one endpoint. */
export function hook(to: string): (event: OutboxEvent) => NewMessage {
  return ({ type }) => ({ kind: "webhook", type, to, lane: to, isOrdered: true });
}

/** An instance's outbox that sends to `post`; by default one webhook to `a` for each event. */
export function newOutbox(
  services: Services,
  post: Post,
  messagesOf: MessagesOf = (event) => [hook("a")(event)],
  policy: DeliveryPolicy = POLICY,
): Outbox {
  const active = new Map<string, number>();
  const sender: Sender = {
    policy,
    async send(message) {
      const { lane } = message;
      const count = (active.get(lane) ?? 0) + 1;
      active.set(lane, count);
      post.most.set(lane, Math.max(post.most.get(lane) ?? 0, count));
      post.got.push(message);
      try {
        return await post.answer(message);
      } finally {
        active.set(lane, active.get(lane)! - 1);
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
    subscribers: [{ name: "test", messagesOf }],
    senders: { email: sender, webhook: sender, alert: sender },
    random: () => 0.999,
    onDead: (message) => raiseDeadLetter(services, message),
  });
}

/** Writes an event. @returns Its id */
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
