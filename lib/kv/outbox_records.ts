/**
 * Stored records of events and outgoing messages. The rest of the data dictionary is in
 * `records.ts`.
 *
 * @module
 */

/** Events that are published by mail, webhook or alert. */
export const EVENT_TYPES = [
  "lead.created",
  "invoice.issued",
  "invoice.sent",
  "invoice.paid",
  "invoice.overdue",
  "invoice.reminder",
  "invoice.voided",
  "payment.completed",
  "payment.failed",
  "payment.reversed",
  "payment.needs_review",
  "payment.refunded",
] as const;
/** One of {@linkcode EVENT_TYPES}. */
export type EventType = (typeof EVENT_TYPES)[number];

/**
 * An event, written in the same commit as the change. Messages (mail, webhooks) are made
 * from it afterwards. Without personal data: senders read the entities.
 */
export interface OutboxEvent {
  /** UUIDv7, generated before the commit, so that one event is never published as two. */
  id: string;
  /** The type of event. */
  type: EventType;
  /** When it happened, ISO 8601 in UTC. */
  at: string;
  /** The entities concerned, by kind, such as `{ invoiceId: "…" }`. */
  subject: Readonly<Record<string, string>>;
  /** Facts of that moment that may change later: numbers, amounts in minor units, states. */
  data: Readonly<Record<string, string | number | boolean | null>>;
}

/** How a message is sent. */
export const MESSAGE_KINDS = ["email", "webhook", "alert"] as const;
/** One of {@linkcode MESSAGE_KINDS}. */
export type MessageKind = (typeof MESSAGE_KINDS)[number];

/** How far a message has come. */
export const MESSAGE_STATUSES = [
  "pending",
  "sent",
  /** Dead-lettered: its attempts are exhausted, or were stopped. An operator may retry it. */
  "dead",
  /** Will not be sent. */
  "cancelled",
] as const;
/** One of {@linkcode MESSAGE_STATUSES}. */
export type MessageStatus = (typeof MESSAGE_STATUSES)[number];

/** The right of one instance to send a message; any instance may acquire it after `until`. */
export interface MessageLease {
  /** The instance that holds it. */
  by: string;
  /** Milliseconds UTC. */
  until: number;
}

/**
 * A message to one destination. It holds references and no text: the text is made when
 * the message is sent, so that erased data is not sent.
 */
export interface OutboxMessage {
  /**
   * UUIDv7, derived from the event and the destination, so that every instance makes the
   * same message. Also the mail's Message-ID and the webhook's id, by which recipients
   * recognise duplicates.
   */
  id: string;
  /** How it is sent. */
  kind: MessageKind;
  /** The name of the mail or alert, or the event type of the webhook. */
  type: string;
  /** Recipient reference such as `client`, `shop` or an endpoint's id; never an address. */
  to: string;
  /** Shared by messages of one route, such as a server: a slow lane does not delay others. */
  lane: string;
  /** Messages of one lane and order key are sent one after another; null for any order. */
  orderKey: string | null;
  /** Its event. */
  eventId: string;
  /** When the event happened, ISO 8601. */
  at: string;
  /** As in the event. */
  subject: OutboxEvent["subject"];
  /** As in the event. */
  data: OutboxEvent["data"];
  /** How far it has come. */
  status: MessageStatus;
  /** Attempts started. Also the fence: an instance ends only the attempt that it started. */
  attempts: number;
  /** Attempts before an operator's retry, which do not count towards the limit. */
  attemptsBefore: number;
  /**
   * When any instance may send it, milliseconds UTC; while it is leased, the end of the
   * lease. Without meaning while it waits for another message of its order key.
   */
  dueAt: number;
  /** When it was queued, milliseconds UTC: when it was made, or retried by an operator. */
  since: number;
  /** The instance that is sending it; null for none. */
  lease: MessageLease | null;
  /** Why the last attempt failed, without personal data; null if none failed. */
  lastError: string | null;
  /** When it was made, ISO 8601. */
  createdAt: string;
  /** When it was sent, dead-lettered or cancelled; null while pending. */
  endedAt: string | null;
  /** Milliseconds UTC after which it counts as absent; null while it is kept. */
  exp: number | null;
}

/** The pending messages of one order key, by lane, the next one first. */
export type MessageOrder = Readonly<
  Record<string, readonly { readonly id: string; readonly dueAt: number }[]>
>;
