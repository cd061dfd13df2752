/**
 * What the outbox is given: who has to be told of an event, and how each kind of
 * message is sent. `lib/app/open.ts` puts them together.
 *
 * @module
 */
import type { MessageKind, OutboxEvent, OutboxMessage } from "../kv/outbox_records.ts";
import { MINUTE_MS } from "../time.ts";

export type {
  EventType,
  MessageKind,
  MessageStatus,
  OutboxEvent,
  OutboxMessage,
} from "../kv/outbox_records.ts";

/** A message as a subscriber asks for it; the outbox keeps the rest. */
export interface NewMessage {
  /** How it goes out. */
  kind: MessageKind;
  /** What it says: the name of a mail or alert, or the event type of a webhook. */
  type: string;
  /**
   * Whom, up to 100 characters: a reference such as `client`, `shop` or an
   * endpoint's id, never an address. With the event it makes the message's id, so
   * no two messages of an event have the same kind, type and destination.
   */
  to: string;
  /** What of its kind shares its way, up to 100 characters: an endpoint's id; empty when all do. */
  lane: string;
  /**
   * Those of one lane that are about one invoice (else lead, else client) go out
   * one after another, in the order of events; in any order when absent.
   */
  isOrdered?: boolean;
}

/** Somebody who has to be told of events. */
export interface Subscriber {
  /** For the log. */
  readonly name: string;
  /**
   * The messages that follow from an event; none is usual. Asked again after a
   * failure, and must then name the same ones or fewer. What it throws leaves the
   * event, and those after it of the same subject, for the next minute.
   */
  messagesOf(event: OutboxEvent): Promise<NewMessage[]> | NewMessage[];
}

/** What became of one attempt. */
export type Sent =
  | { state: "sent" }
  /** Nobody is to have it: it is cancelled, which is no failure. */
  | { state: "moot"; reason: string }
  /** It may be taken later. */
  | {
    state: "failed";
    /** A word or a few, without personal data, addresses or secrets. */
    reason: string;
    /** It would be so for any message of the lane: no answer, no connection, not let in. */
    isLaneDown: boolean;
    /** The destination asked not to be tried again before, in milliseconds from now. */
    retryAfterMs?: number;
  }
  /** It will never be taken: it is dead at once. */
  | { state: "refused"; reason: string };

/** How messages of one kind are tried. */
export interface DeliveryPolicy {
  /** An attempt ends within so many milliseconds; what is sent after that is another's to send. */
  readonly timeoutMs: number;
  /** Attempts of one instance under way at once in each lane. */
  readonly atOnce: number;
  /** The longest wait after each failed attempt, in milliseconds; with none left it is dead. */
  readonly backoffMs: readonly number[];
  /**
   * So old it dies while its lane is down, tried or not; one whose last try is not
   * as long ago, up to twice as old. In milliseconds.
   */
  readonly giveUpMs: number;
}

/** How messages of one kind are sent. */
export interface Sender {
  /** How they are tried. */
  readonly policy: DeliveryPolicy;
  /**
   * Makes one attempt. What it throws counts as `failed`, and as a defect.
   *
   * @param signal Aborted after the policy's time.
   */
  send(message: OutboxMessage, signal: AbortSignal): Promise<Sent>;
}

/** A way to send each kind. */
export type Senders = Readonly<Record<MessageKind, Sender>>;

/** The wait before the attempt after `attempts`: half of it sure, half by chance; null when there is none. */
export function backoffOf(
  { backoffMs }: DeliveryPolicy,
  attempts: number,
  random: () => number,
): number | null {
  const most = backoffMs[attempts - 1];
  return most === undefined ? null : Math.round(most * (0.5 + random() / 2));
}

/** The wait of a lane that is down before it is tried again, by how often that was in vain. */
export function pauseOf(failures: number, random: () => number): number {
  const most = Math.min(PAUSE_MIN_MS * 2 ** (failures - 1), PAUSE_MAX_MS);
  return Math.round(most * (0.5 + random() / 2));
}

const PAUSE_MIN_MS = MINUTE_MS;
const PAUSE_MAX_MS = 10 * MINUTE_MS;
