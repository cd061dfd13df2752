/**
 * Stored records of outgoing webhooks. The rest of the data dictionary is in
 * `records.ts`.
 *
 * @module
 */
import { EVENT_TYPES } from "./outbox_records.ts";
import type { Entity } from "./records.ts";

/** What an endpoint can subscribe to; `*` includes the events of later versions. */
export const WEBHOOK_EVENT_TYPES = ["*", ...EVENT_TYPES] as const;
/** One of {@linkcode WEBHOOK_EVENT_TYPES}. */
export type WebhookEventType = (typeof WEBHOOK_EVENT_TYPES)[number];

/** Why an endpoint is disabled: by an operator, after a 410, or after days of failures. */
export const WEBHOOK_DISABLED_REASONS = ["operator", "gone", "failing"] as const;
/** One of {@linkcode WEBHOOK_DISABLED_REASONS}. */
export type WebhookDisabledReason = (typeof WEBHOOK_DISABLED_REASONS)[number];

/** An endpoint that receives events. */
export interface WebhookEndpoint extends Entity {
  /** Its URL, which may contain a secret of the receiver; empty once deleted. */
  url: string;
  /** One line of plain text, up to 200 characters; may be empty. */
  description: string;
  /** Subscribed events: at least one, each once. */
  eventTypes: WebhookEventType[];
  /** Whether it receives anything. */
  isEnabled: boolean;
  /** Null while it is enabled. */
  disabledReason: WebhookDisabledReason | null;
  /** When its secret was generated, ISO 8601. */
  secretAt: string;
  /** When it was deleted; null if it was not. Only its history shows it then. */
  deletedAt: string | null;
}

/** A signing secret of an endpoint. */
export interface WebhookSecret {
  /** Encrypted; base64url. */
  sealed: string;
  /** Milliseconds UTC after which it no longer signs; null for the current one. */
  until: number | null;
}

/** The secrets of an endpoint, the current one first. */
export interface WebhookSecrets {
  /** At least one. */
  secrets: WebhookSecret[];
}

/** What decides whether an endpoint receives an event. */
export interface WebhookSubscription {
  /** The endpoint. */
  id: string;
  /** As in the endpoint. */
  eventTypes: WebhookEventType[];
  /** As in the endpoint. */
  isEnabled: boolean;
}

/** All endpoints, oldest first: one read finds the recipients of an event. */
export interface WebhookDirectory {
  /** Without deleted endpoints. */
  subscriptions: WebhookSubscription[];
}

/** A failing endpoint; absent while it accepts deliveries. */
export interface WebhookFailing {
  /** The first failure since its last accepted delivery, milliseconds UTC. */
  since: number;
}

/** One attempt to deliver. */
export interface WebhookAttempt {
  /** When it ended, ISO 8601. */
  at: string;
  /** Status of the response; null for none. */
  status: number | null;
  /** Why it failed, in a few words of our own; null if it succeeded. */
  reason: string | null;
  /** How long it took, in milliseconds. */
  ms: number;
}

/** The delivery of a message to an endpoint, for operators. */
export interface WebhookDelivery {
  /** The message. */
  id: string;
  /** The event type, or `ping`. */
  type: string;
  /** When the event happened, ISO 8601. */
  at: string;
  /** Number of attempts so far. */
  attempts: number;
  /** The last attempts, in order. */
  lastAttempts: WebhookAttempt[];
  /** Milliseconds UTC after which this counts as absent. */
  exp: number;
}
