/**
 * Endpoints of outgoing webhooks: who else is told of what happens in the shop.
 *
 * @module
 */
import { resolveAlert } from "../alerts/mod.ts";
import { expectRevision, newEntity, putChange } from "../entities/audit.ts";
import { AppError, invalidField } from "../errors.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { EventType } from "../kv/outbox_records.ts";
import type {
  WebhookDirectory,
  WebhookDisabledReason,
  WebhookEndpoint,
  WebhookEventType,
  WebhookSecret,
} from "../kv/webhook_records.ts";
import { transact, type Writes } from "../kv/transact.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import type { WebhookServices } from "./needs.ts";
import { HOUR_MS, isoTime } from "../time.ts";
import { parseTarget, type TargetProblem, type TargetRules } from "./target.ts";
import { seal, unseal } from "../crypto/sealing.ts";
import { newWebhookSecret, placeOf } from "./secrets.ts";

export type {
  WebhookDisabledReason,
  WebhookEndpoint,
  WebhookEventType,
} from "../kv/webhook_records.ts";

/** As many as one read of all of them can well bear. */
export const WEBHOOKS_MAX = 20;
/** How long the secret before a rotation goes on signing. */
export const SECRET_OVERLAP_MS: number = 24 * HOUR_MS;
/** Secrets that sign at once; each makes a signature of every webhook. */
const SECRETS_MAX = 5;

/** A table, so that none is forgotten. */
const EVENT_TYPES: Record<EventType, true> = {
  "lead.created": true,
  "invoice.issued": true,
  "invoice.sent": true,
  "invoice.paid": true,
  "invoice.overdue": true,
  "invoice.reminder": true,
  "invoice.voided": true,
  "payment.completed": true,
  "payment.failed": true,
  "payment.reversed": true,
  "payment.needs_review": true,
  "payment.refunded": true,
};

/** All that an endpoint can ask for. */
export const WEBHOOK_EVENT_TYPES: readonly WebhookEventType[] = [
  "*",
  ...Object.keys(EVENT_TYPES) as EventType[], // the table's keys are these and no others
];

/** What a new endpoint is made of. */
export interface NewWebhook {
  /** In production https at a public address; without credentials or fragment. */
  url: string;
  /** One line, up to 200 characters; may be empty. */
  description: string;
  /** At least one; repetitions count once. */
  eventTypes: readonly WebhookEventType[];
  /** Whether it is told of events from now on. */
  isEnabled: boolean;
}

/** What can change about an endpoint. */
export type WebhookChange = { [F in keyof NewWebhook]?: NewWebhook[F] | undefined };

/** An endpoint with its secret, which is shown when it is made and never again. */
export interface RevealedWebhook {
  /** The endpoint. */
  endpoint: WebhookEndpoint;
  /** `whsec_…`. */
  secret: string;
}

/** All endpoints, newest first. Two reads. */
export async function listWebhooks({ store }: WebhookServices): Promise<WebhookEndpoint[]> {
  const { subscriptions } = await store.get(keys.webhookDirectory) ?? EMPTY;
  const found = await store.getMany(subscriptions.map(({ id }) => keys.webhook(id)));
  return found.filter((endpoint) => endpoint !== null && endpoint.deletedAt === null)
    .map((endpoint) => expectKnown(endpoint)).reverse();
}

/** An endpoint. @throws {AppError} `not_found` */
export async function getWebhook({ store }: WebhookServices, id: string): Promise<WebhookEndpoint> {
  return expectKnown(await store.get(keys.webhook(id)));
}

/**
 * Adds an endpoint.
 *
 * @returns It and its secret; when repeated under the same Idempotency-Key, the same
 * @throws {AppError} `invalid_input` if the URL is no place for webhooks, `conflict`
 * when there are as many as there can be
 */
export async function createWebhook(
  services: WebhookServices,
  input: NewWebhook,
  by: Caller,
): Promise<RevealedWebhook> {
  const now = services.clock();
  const id = newId(now);
  const fields = checked(services, input);
  const secret = await newSealed(services, id);
  const reads = { directory: keys.webhookDirectory };
  // What it returns is kept for a repetition: the secret is in there as it is stored.
  const made = await transact(services, reads, ({ directory }, writes) => {
    const { subscriptions } = directory ?? EMPTY;
    if (subscriptions.length >= WEBHOOKS_MAX) {
      throw new AppError("conflict", `There can be ${WEBHOOKS_MAX} webhooks at most`);
    }
    const endpoint: WebhookEndpoint = {
      ...newEntity(id, by, now),
      ...fields,
      disabledReason: fields.isEnabled ? null : "operator",
      secretAt: isoTime(now),
      deletedAt: null,
    };
    writes.set(keys.webhook(id), endpoint);
    writes.set(keys.webhookSecrets(id), { secrets: [secret] });
    putSubscription(writes, directory, endpoint);
    return { endpoint, sealed: secret.sealed };
  }, { operation: operationOf(by, "webhook.create", input, { now }) });
  return await reveal(services, made);
}

/**
 * Changes an endpoint. One that is enabled again starts with a clean slate; what
 * happened in between it is not told.
 *
 * @throws {AppError} `not_found`, `stale_revision`, `invalid_input`
 */
export async function changeWebhook(
  services: WebhookServices,
  id: string,
  change: WebhookChange,
  { by, revision = null }: { by: Caller; revision?: number | null },
): Promise<WebhookEndpoint> {
  const now = services.clock();
  const reads = { endpoint: keys.webhook(id), directory: keys.webhookDirectory };
  const changed = await transact(services, reads, (found, writes) => {
    const before = expectKnown(found.endpoint);
    expectRevision(before, revision);
    const given = Object.entries(change).filter(([, value]) => value !== undefined);
    const fields = checked(services, { ...before, ...Object.fromEntries(given) });
    const disabledReason = fields.isEnabled ? null : before.disabledReason ?? "operator";
    if (fields.isEnabled && !before.isEnabled) writes.delete(keys.webhookFailing(id));
    return putEndpoint(writes, found.directory, before, { ...fields, disabledReason }, {
      action: "webhook.change",
      by,
      now,
    });
  }, { operation: operationOf(by, "webhook.change", [id, change], { now }) });
  if (changed.isEnabled) await resolveAlert(services, disabledAlert(id));
  return changed;
}

/**
 * Deletes an endpoint with its secrets. What is still to be sent to it is not.
 *
 * @throws {AppError} `not_found`, `stale_revision`
 */
export async function removeWebhook(
  services: WebhookServices,
  id: string,
  { by, revision = null }: { by: Caller; revision?: number | null },
): Promise<void> {
  const now = services.clock();
  const reads = { endpoint: keys.webhook(id), directory: keys.webhookDirectory };
  await transact(services, reads, (found, writes) => {
    const before = expectKnown(found.endpoint);
    expectRevision(before, revision);
    const fields = {
      url: "",
      isEnabled: false,
      disabledReason: before.disabledReason ?? "operator",
      deletedAt: isoTime(now),
    };
    const action = "webhook.delete";
    putChange(writes, { entity: "webhook", action, key: reads.endpoint, before, fields, by, now });
    const { subscriptions } = found.directory ?? EMPTY;
    writes.set(reads.directory, { subscriptions: subscriptions.filter((one) => one.id !== id) });
    writes.delete(keys.webhookSecrets(id));
    writes.delete(keys.webhookFailing(id));
    return null;
  }, { operation: operationOf(by, "webhook.delete", id, { now }) });
  await resolveAlert(services, disabledAlert(id));
}

/**
 * Gives an endpoint a new secret. For 24 hours what it is sent is signed with the
 * old one, too.
 *
 * @throws {AppError} `not_found`, or `conflict` if it was done too often of late
 */
export async function rotateWebhookSecret(
  services: WebhookServices,
  id: string,
  by: Caller,
): Promise<RevealedWebhook> {
  const now = services.clock();
  const secret = await newSealed(services, id);
  const reads = { endpoint: keys.webhook(id), kept: keys.webhookSecrets(id) };
  const made = await transact(services, reads, (found, writes) => {
    const before = expectKnown(found.endpoint);
    const valid = (found.kept?.secrets ?? [])
      .map((old) => ({ ...old, until: old.until ?? now + SECRET_OVERLAP_MS }))
      .filter(({ until }) => until > now);
    if (valid.length >= SECRETS_MAX) {
      throw new AppError("conflict", "It has been given too many secrets within a day");
    }
    writes.set(reads.kept, { secrets: [secret, ...valid] });
    const endpoint = putChange(writes, {
      ...{ entity: "webhook", action: "webhook.rotate", key: reads.endpoint, before, by, now },
      // Two within a millisecond are two.
      fields: { secretAt: isoTime(Math.max(now, Date.parse(before.secretAt) + 1)) },
    });
    return { endpoint, sealed: secret.sealed };
  }, { operation: operationOf(by, "webhook.rotate", id, { now }) });
  return await reveal(services, made);
}

/** Writes that an endpoint is told nothing any more. @returns It as it is now */
export function putDisabled(
  writes: Writes,
  directory: WebhookDirectory | null,
  before: WebhookEndpoint,
  { reason, by, now }: { reason: WebhookDisabledReason; by: Caller; now: number },
): WebhookEndpoint {
  const fields = { isEnabled: false, disabledReason: reason };
  return putEndpoint(writes, directory, before, fields, { action: "webhook.disable", by, now });
}

/** The name of the incident that an endpoint was disabled by itself. */
export function disabledAlert(id: string): string {
  return `webhook_disabled:${id}`;
}

/** Where webhooks may go in this environment. */
export function targetRules({ config }: WebhookServices): TargetRules {
  return { isPublicOnly: config.appEnv === "production" };
}

/** An endpoint that there is. @throws {AppError} `not_found` */
export function expectKnown(endpoint: WebhookEndpoint | null): WebhookEndpoint {
  if (!endpoint || endpoint.deletedAt !== null) {
    throw new AppError("not_found", "No such webhook");
  }
  return endpoint;
}

const EMPTY: WebhookDirectory = { subscriptions: [] };

function putEndpoint(
  writes: Writes,
  directory: WebhookDirectory | null,
  before: WebhookEndpoint,
  fields: Partial<WebhookEndpoint>,
  { action, by, now }: { action: string; by: Caller; now: number },
): WebhookEndpoint {
  const key = keys.webhook(before.id);
  const after = putChange(writes, { entity: "webhook", action, key, before, fields, by, now });
  putSubscription(writes, directory, after);
  return after;
}

/** Writes what an endpoint wants, in its place. */
function putSubscription(
  writes: Writes,
  directory: WebhookDirectory | null,
  { id, eventTypes, isEnabled }: WebhookEndpoint,
): void {
  const { subscriptions } = directory ?? EMPTY;
  const wanted = { id, eventTypes, isEnabled };
  const isKnown = subscriptions.some((one) => one.id === id);
  writes.set(keys.webhookDirectory, {
    subscriptions: isKnown
      ? subscriptions.map((one) => one.id === id ? wanted : one)
      : [...subscriptions, wanted],
  });
}

const TARGET_PROBLEMS: Record<TargetProblem, string> = {
  not_a_url: "Not a web address",
  not_https: "Must begin with https:",
  has_credentials: "Must not have a user or password",
  has_fragment: "Must not have a fragment",
  forbidden_address: "Must be a public address",
};

/** One spelling of the URL, and each event type once. @throws {AppError} `invalid_input` */
function checked(
  services: WebhookServices,
  { url, description, eventTypes, isEnabled }: NewWebhook,
): Pick<WebhookEndpoint, keyof NewWebhook> {
  const target = parseTarget(url, targetRules(services));
  if (typeof target === "string") throw invalidField("url", TARGET_PROBLEMS[target], target);
  const wanted = new Set(eventTypes);
  return {
    url: target.url.href,
    description,
    eventTypes: WEBHOOK_EVENT_TYPES.filter((type) => wanted.has(type)),
    isEnabled,
  };
}

async function newSealed({ config }: WebhookServices, id: string): Promise<WebhookSecret> {
  return { sealed: await seal(config, placeOf(id), newWebhookSecret()), until: null };
}

async function reveal(
  { config }: WebhookServices,
  { endpoint, sealed }: { endpoint: WebhookEndpoint; sealed: string },
): Promise<RevealedWebhook> {
  const opened = await unseal(config, placeOf(endpoint.id), sealed);
  if (!opened) throw new AppError("internal", "A secret that was just sealed cannot be opened");
  return { endpoint, secret: opened.text };
}
