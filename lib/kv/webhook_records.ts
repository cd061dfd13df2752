/**
 * What is stored about outgoing webhooks; the rest of the data dictionary is in
 * `records.ts`.
 *
 * @module
 */
import { EVENT_TYPES } from "./outbox_records.ts";
import type { Entity } from "./records.ts";

/** What an endpoint can subscribe to: some events, or with `*` all, including those of later versions. */
export const WEBHOOK_EVENT_TYPES = ["*", ...EVENT_TYPES] as const;
/** One of {@linkcode WEBHOOK_EVENT_TYPES}. */
export type WebhookEventType = (typeof WEBHOOK_EVENT_TYPES)[number];

/** Why an endpoint is disabled: by an operator, because it answered 410, or after days of failures. */
export const WEBHOOK_DISABLED_REASONS = ["operator", "gone", "failing"] as const;
/** One of {@linkcode WEBHOOK_DISABLED_REASONS}. */
export type WebhookDisabledReason = (typeof WEBHOOK_DISABLED_REASONS)[number];

/** A place that is told of events. */
export interface WebhookEndpoint extends Entity {
  /** Where; may hold a secret of the receiver's. Empty once it was deleted. */
  url: string;
  /** One line of plain text, up to 200 characters; may be empty. */
  description: string;
  /** What it is told of; at least one, each once. */
  eventTypes: WebhookEventType[];
  /** Whether it is told of anything. */
  isEnabled: boolean;
  /** Null while it is enabled. */
  disabledReason: WebhookDisabledReason | null;
  /** When its secret was made, ISO 8601. */
  secretAt: string;
  /** When it was deleted; it stays for its history, and nothing else shows it. */
  deletedAt: string | null;
}

/** A secret that signs what an endpoint is sent. */
export interface WebhookSecret {
  /** Encrypted; base64url. */
  sealed: string;
  /** Milliseconds UTC after which it signs nothing; null for the present one. */
  until: number | null;
}

/** The secrets of an endpoint, the present one first. */
export interface WebhookSecrets {
  /** At least one. */
  secrets: WebhookSecret[];
}

/** All that has to be known of an endpoint to tell whether it wants an event. */
export interface WebhookSubscription {
  /** The endpoint. */
  id: string;
  /** As in the endpoint. */
  eventTypes: WebhookEventType[];
  /** As in the endpoint. */
  isEnabled: boolean;
}

/** All endpoints that there are, oldest first: one read tells who wants an event. */
export interface WebhookDirectory {
  /** Those that were deleted are not among them. */
  subscriptions: WebhookSubscription[];
}

/** That an endpoint has not taken anything of late; absent while it does. */
export interface WebhookFailing {
  /** The first failure since it last took something, milliseconds UTC. */
  since: number;
}

/** One attempt to deliver. */
export interface WebhookAttempt {
  /** When it ended, ISO 8601. */
  at: string;
  /** What the endpoint answered; null when there was no answer. */
  status: number | null;
  /** Why it failed, in a few words of ours; null when it did not. */
  reason: string | null;
  /** How long it took, in milliseconds. */
  ms: number;
}

/** What became of a message to an endpoint, for the operators. */
export interface WebhookDelivery {
  /** The message. */
  id: string;
  /** The event type, or `ping`. */
  type: string;
  /** When that happened, ISO 8601. */
  at: string;
  /** All attempts so far. */
  attempts: number;
  /** The last ones, in order. */
  lastAttempts: WebhookAttempt[];
  /** Milliseconds UTC after which this counts as absent. */
  exp: number;
}
