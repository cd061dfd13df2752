/**
 * What is stored about what is told to others; the rest of the data dictionary is
 * in `records.ts`.
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
 * Something that happened, written in the commit that made it happen. What is
 * sent because of it (mail, webhooks) follows from it afterwards. It holds no
 * personal data: whoever tells of it reads the entities.
 */
export interface OutboxEvent {
  /** UUIDv7, drawn before the commit: the same event is never told as two. */
  id: string;
  /** What happened. */
  type: EventType;
  /** When, ISO 8601 in UTC. */
  at: string;
  /** The entities that it is about, by kind, such as `{ invoiceId: "…" }`. */
  subject: Readonly<Record<string, string>>;
  /** What was true at that moment and may change: numbers, amounts in minor units, states. */
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
  /** Not to be sent any more. */
  "cancelled",
] as const;
/** One of {@linkcode MESSAGE_STATUSES}. */
export type MessageStatus = (typeof MESSAGE_STATUSES)[number];

/** The right of one instance to send a message, which is anyone's after `until`. */
export interface MessageLease {
  /** The instance that has it. */
  by: string;
  /** Milliseconds UTC. */
  until: number;
}

/**
 * Something to be told to one destination. It holds references and no text, so
 * that what was erased meanwhile is not told; what it says is made when it is sent.
 */
export interface OutboxMessage {
  /**
   * UUIDv7, made of the event and the destination: the same message whoever makes
   * it. Mail's Message-ID and the webhook's id, by which receivers know a repeat.
   */
  id: string;
  /** How it goes out. */
  kind: MessageKind;
  /** What it says: the name of a mail or alert, or the event type of a webhook. */
  type: string;
  /** Whom: a reference such as `client`, `shop` or an endpoint's id; never an address. */
  to: string;
  /** What it shares its way with, such as a server: one slow lane does not hold up another. */
  lane: string;
  /** Messages of one lane and order key go out one after another; null in any order. */
  orderKey: string | null;
  /** The event that it tells of. */
  eventId: string;
  /** When that happened, ISO 8601. */
  at: string;
  /** As in the event. */
  subject: OutboxEvent["subject"];
  /** As in the event. */
  data: OutboxEvent["data"];
  /** How far it has come. */
  status: MessageStatus;
  /** How often sending was begun. Also the fence: an instance ends only the attempt that it began. */
  attempts: number;
  /** Attempts before an operator had it tried anew: they do not count against it. */
  attemptsBefore: number;
  /**
   * Milliseconds UTC from which on anyone may send it; while it is leased, when
   * the lease ends. Says nothing when it waits for another of its order key.
   */
  dueAt: number;
  /** Since when it is to be sent, milliseconds UTC: when it was made, or tried anew. */
  since: number;
  /** Who is sending it; null while nobody is. */
  lease: MessageLease | null;
  /** Why the last attempt failed, in words without personal data; null if none did. */
  lastError: string | null;
  /** When it was made, ISO 8601. */
  createdAt: string;
  /** When it was sent, died or was cancelled; null while pending. */
  endedAt: string | null;
  /** Milliseconds UTC after which it counts as absent; null while it is kept. */
  exp: number | null;
}

/** The messages of one order key that are to go out, by lane, the next one first. */
export type MessageOrder = Readonly<
  Record<string, readonly { readonly id: string; readonly dueAt: number }[]>
>;
