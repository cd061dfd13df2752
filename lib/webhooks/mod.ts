/**
 * Endpoints of outgoing webhooks: systems that subscribe to events of the shop.
 *
 * @module
 */
import { resolveAlert } from "../alerts/mod.ts";
import { expectRevision, newEntity, putChange } from "../entities/mod.ts";
import { AppError, invalidField } from "../errors.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import {
  WEBHOOK_EVENT_TYPES,
  type WebhookDirectory,
  type WebhookDisabledReason,
  type WebhookEndpoint,
  type WebhookEventType,
  type WebhookSecret,
} from "../kv/webhook_records.ts";
import { transact } from "../kv/mod.ts";
import type { Writes } from "../kv/transaction.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import type { WebhookServices } from "./needs.ts";
import { HOUR_MS, isoTime } from "../time.ts";
import { parseTarget, type TargetProblem, type TargetRules } from "./target.ts";
import { seal, unseal } from "../crypto/mod.ts";
import { newWebhookSecret, sealPlaceOf } from "./secrets.ts";

export {
  WEBHOOK_DISABLED_REASONS,
  WEBHOOK_EVENT_TYPES,
  type WebhookDisabledReason,
  type WebhookEndpoint,
  type WebhookEventType,
} from "../kv/webhook_records.ts";

/** Bounded so that one read can have them all. */
export const WEBHOOKS_MAX = 20;
/** How long the previous secret signs too after a rotation. */
export const SECRET_OVERLAP_MS: number = 24 * HOUR_MS;
/** Valid secrets at once; each signs every webhook. */
const SECRETS_MAX = 5;

/** The fields of a new endpoint. */
export interface NewWebhook {
  /** In production https at a public address; without credentials or fragment. */
  url: string;
  /** One line, up to 200 characters; may be empty. */
  description: string;
  /** At least one; duplicates count once. */
  eventTypes: readonly WebhookEventType[];
  /** Whether events are delivered to it. */
  isEnabled: boolean;
}

/** A change of an endpoint; absent fields stay. */
export type WebhookChange = { [F in keyof NewWebhook]?: NewWebhook[F] | undefined };

/** An endpoint with its secret, which is shown only once. */
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
 * @returns It and its secret; the same ones when repeated under the same Idempotency-Key
 * @throws {AppError} `invalid_input` for a URL that is not allowed; `conflict` at {@linkcode WEBHOOKS_MAX}
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
  // The result is stored for repeated requests, so the secret is sealed in it.
  const made = await transact(services, reads, ({ directory }, writes) => {
    const { subscriptions } = directory ?? EMPTY;
    if (subscriptions.length >= WEBHOOKS_MAX) {
      throw new AppError("conflict", `Cannot add a webhook: at most ${WEBHOOKS_MAX} are allowed`);
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
 * Changes an endpoint. Enabling it again resets its failures; events in between are not delivered.
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
 * Deletes an endpoint and its secrets; pending messages to it are cancelled when they are due.
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
 * Gives an endpoint a new secret. For 24 hours the old one signs too.
 *
 * @throws {AppError} `not_found`; `conflict` after too many rotations within 24 hours
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
      throw new AppError(
        "conflict",
        `Cannot rotate: ${SECRETS_MAX} secrets are valid already. Try again within 24 hours`,
      );
    }
    writes.set(reads.kept, { secrets: [secret, ...valid] });
    const endpoint = putChange(writes, {
      ...{ entity: "webhook", action: "webhook.rotate", key: reads.endpoint, before, by, now },
      // Two rotations within a millisecond differ.
      fields: { secretAt: isoTime(Math.max(now, Date.parse(before.secretAt) + 1)) },
    });
    return { endpoint, sealed: secret.sealed };
  }, { operation: operationOf(by, "webhook.rotate", id, { now }) });
  return await reveal(services, made);
}

/** Writes that an endpoint is disabled. @returns The endpoint after it */
export function putDisabled(
  writes: Writes,
  directory: WebhookDirectory | null,
  before: WebhookEndpoint,
  { reason, by, now }: { reason: WebhookDisabledReason; by: Caller; now: number },
): WebhookEndpoint {
  const fields = { isEnabled: false, disabledReason: reason };
  return putEndpoint(writes, directory, before, fields, { action: "webhook.disable", by, now });
}

/** The name of the incident for an endpoint that was disabled automatically. */
export function disabledAlert(id: string): string {
  return `webhook_disabled:${id}`;
}

/** Which addresses are allowed in this environment. */
export function targetRules({ config }: WebhookServices): TargetRules {
  return { isPublicOnly: config.appEnv === "production" };
}

/** The endpoint, if it exists and is not deleted. @throws {AppError} `not_found` */
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

/** Writes an endpoint's subscription to the directory. */
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
  not_a_url: "This is not a web address",
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
  return { sealed: await seal(config, sealPlaceOf(id), newWebhookSecret()), until: null };
}

async function reveal(
  { config }: WebhookServices,
  { endpoint, sealed }: { endpoint: WebhookEndpoint; sealed: string },
): Promise<RevealedWebhook> {
  const opened = await unseal(config, sealPlaceOf(endpoint.id), sealed);
  if (!opened) throw new AppError("internal", "A secret that was just sealed cannot be opened");
  return { endpoint, secret: opened.text };
}
