/**
 * What the outbox is given: subscribers to events, and a sender for each kind of
 * message. `lib/app/open.ts` connects them.
 *
 * @module
 */
import type { MessageKind, OutboxEvent, OutboxMessage } from "../kv/outbox_records.ts";
import { backoffMs, MINUTE_MS } from "../time.ts";

export type {
  EventType,
  MessageKind,
  MessageStatus,
  OutboxEvent,
  OutboxMessage,
} from "../kv/outbox_records.ts";

/** A message as a subscriber requests it; the outbox adds the rest. */
export interface NewMessage {
  /** How it is sent. */
  kind: MessageKind;
  /** Its content: the name of a mail or alert, or the event type of a webhook. */
  type: string;
  /**
   * Recipient reference, up to 100 characters: `client`, `shop` or an endpoint's id,
   * never an address. The message's id is derived from it and the event, so no two
   * messages of an event have the same kind, type and destination.
   */
  to: string;
  /** Its lane within the kind, up to 100 characters: an endpoint's id; empty when all share one. */
  lane: string;
  /**
   * Whether messages of one lane about one invoice (else lead, else client) are sent
   * one after another, in the order of events; any order by default.
   */
  isOrdered?: boolean;
}

/** Derives messages from events. */
export interface Subscriber {
  /** For the log. */
  readonly name: string;
  /**
   * The messages that follow from an event, often none. Called again after a
   * failure, and must then return the same messages or fewer. If it throws, the event
   * and later ones of the same subject wait for the next minute.
   */
  readonly messagesOf: MessagesOf;
  /** Called once for each page of events when given: what it returns takes the place of `messagesOf`. */
  prepare?(): Promise<MessagesOf>;
}

/** The messages that follow from an event. */
export type MessagesOf = (event: OutboxEvent) => Promise<NewMessage[]> | NewMessage[];

/** The result of one attempt. */
export type AttemptResult =
  | { state: "sent" }
  /** Nobody should receive it: it is cancelled, which is not a failure. */
  | { state: "skipped"; reason: string }
  /** It may be accepted later. */
  | {
    state: "failed";
    /** A word or a few, without personal data, addresses or secrets. */
    reason: string;
    /** Any message of the lane would fail: no answer, no connection, access denied. */
    isLaneDown: boolean;
    /** The wait that the destination asked for, in milliseconds from now. */
    retryAfterMs?: number;
  }
  /** It will never be accepted: it is dead-lettered at once. */
  | { state: "refused"; reason: string };

/** How messages of one kind are attempted. */
export interface DeliveryPolicy {
  /** Time limit of an attempt in milliseconds; after that another instance may send it. */
  readonly timeoutMs: number;
  /** Parallel attempts of one instance in each lane. */
  readonly atOnce: number;
  /** The longest wait after each failed attempt, in milliseconds; after the last, dead-lettered. */
  readonly backoffMs: readonly number[];
  /**
   * While its lane is down, a message older than this is dead-lettered, attempted or
   * not (up to twice as old if attempted recently). In milliseconds.
   */
  readonly deadLetterAfterMs: number;
}

/** How messages of one kind are sent. */
export interface Sender {
  /** How they are attempted. */
  readonly policy: DeliveryPolicy;
  /**
   * Makes one attempt. If it throws, that counts as `failed`, and unless it is an
   * expected `AppError` as a defect.
   *
   * @param signal Aborted at the policy's time limit.
   */
  send(message: OutboxMessage, signal: AbortSignal): Promise<AttemptResult>;
}

/** A sender for each kind. */
export type Senders = Readonly<Record<MessageKind, Sender>>;

/** The wait after `attempts` failed attempts, between half and all of the policy's; null when exhausted. */
export function backoffOf(
  { backoffMs: waits }: DeliveryPolicy,
  attempts: number,
  random: () => number,
): number | null {
  const most = waits[attempts - 1];
  return most === undefined ? null : Math.round(most * (0.5 + random() / 2));
}

/** The pause of a lane that is down, by the number of consecutive failures: 1 to 10 minutes, with jitter. */
export function pauseOf(failures: number, random: () => number): number {
  const limits = { firstMs: PAUSE_MIN_MS, maxMs: PAUSE_MAX_MS };
  return Math.round(backoffMs(failures, { ...limits, random, shareMin: 0.5 }));
}

const PAUSE_MIN_MS = MINUTE_MS;
const PAUSE_MAX_MS = 10 * MINUTE_MS;
