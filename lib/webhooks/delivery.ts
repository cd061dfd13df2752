/**
 * Webhooks: who is subscribed to which events, their bodies, and the record of each attempt. They
 * follow the Standard Webhooks convention.
 *
 * Bodies are thin: ids, numbers, amounts and states. Receivers read the rest with an API key of
 * their own, so a webhook carries no personal data.
 *
 * @module
 */
import { raiseAlert } from "../alerts/mod.ts";
import * as keys from "../kv/keys.ts";
import type { OutboxEvent, OutboxMessage } from "../kv/outbox_records.ts";
import { transact } from "../kv/mod.ts";
import type {
  WebhookAttempt,
  WebhookDelivery,
  WebhookDisabledReason,
  WebhookEndpoint,
  WebhookFailing,
  WebhookSecrets,
  WebhookSubscription,
} from "../kv/webhook_records.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import type {
  AttemptResult,
  DeliveryPolicy,
  NewMessage,
  Sender,
  Subscriber,
} from "../outbox/ports.ts";
import type { WebhookServices } from "./needs.ts";
import { DAY_MS, HOUR_MS, isoTime, MINUTE_MS, SECOND_MS } from "../time.ts";
import { WEBHOOK_TIMEOUT_MS, type WebhookAnswer } from "./sender.ts";
import { disabledAlert, putDisabled } from "./mod.ts";
import { seal, unseal } from "../crypto/mod.ts";
import { openSecrets, sealPlaceOf, signedHeaders } from "./secrets.ts";

/** Tried for about three days: two at the least, four at the most. */
export const WEBHOOK_POLICY: DeliveryPolicy = {
  // Time to record the result as well.
  timeoutMs: WEBHOOK_TIMEOUT_MS + 5 * SECOND_MS,
  // A few slow endpoints leave capacity for the others.
  atOnce: 4,
  backoffMs: [
    10 * SECOND_MS,
    5 * MINUTE_MS,
    30 * MINUTE_MS,
    2 * HOUR_MS,
    5 * HOUR_MS,
    10 * HOUR_MS,
    14 * HOUR_MS,
    20 * HOUR_MS,
    24 * HOUR_MS,
    24 * HOUR_MS,
  ],
  deadLetterAfterMs: 3 * DAY_MS,
};

/** The event type of a trial message. */
export const PING = "ping";

/** An endpoint that has failed for so long is disabled. */
const FAILING_MAX_MS = 5 * DAY_MS;
/** Failed attempts of one message before its endpoint is disabled: a single failure is no reason. */
const FAILING_ATTEMPTS_MIN = 4;
/** How long deliveries are listed and can be sent again. */
const LOG_KEEP_MS = 30 * DAY_MS;
/** Attempts kept of each delivery. */
const LOG_ATTEMPTS_MAX = 12;
const RECEIPT_KEEP_MS = 10 * MINUTE_MS;

const BY_OUTBOX: Caller = { actor: "job:outbox", requestId: "outbox", idempotencyKey: null };

/** Subscribes the enabled endpoints to their events. One read a page of events. */
export function newWebhookSubscriber({ store }: Pick<WebhookServices, "store">): Subscriber {
  return { name: "webhook", prepare, messagesOf: async (event) => (await prepare())(event) };

  async function prepare(): Promise<(event: OutboxEvent) => NewMessage[]> {
    const { subscriptions } = await store.get(keys.webhookDirectory) ?? { subscriptions: [] };
    return (event) => messagesTo(subscriptions, event);
  }
}

function messagesTo(
  subscriptions: readonly WebhookSubscription[],
  event: OutboxEvent,
): NewMessage[] {
  return subscriptions.flatMap((subscription) =>
    typesOf(event).filter((type) => isSubscribed(subscription, type)).map((type) => ({
      kind: "webhook" as const,
      type,
      to: subscription.id,
      lane: subscription.id,
      isOrdered: true,
    }))
  );
}

/** A lead with an invoice is one event in the store, and two for subscribers. */
function typesOf({ type, subject }: OutboxEvent): OutboxEvent["type"][] {
  return type === "lead.created" && subject.invoiceId !== undefined
    ? [type, "invoice.issued"]
    : [type];
}

function isSubscribed(
  { isEnabled, eventTypes }: WebhookSubscription,
  type: OutboxEvent["type"],
): boolean {
  return isEnabled && (eventTypes.includes("*") || eventTypes.includes(type));
}

/** Fields of a lead that are not in the event of its invoice. */
const LEAD_FACTS = new Set(["source", "productId", "hasEmail"]);

/** The body of a message: the same bytes in each attempt. */
export function webhookBody({ type, at, subject, data }: OutboxMessage): string {
  const facts = Object.entries({ ...data, ...subject })
    .filter(([name]) => type !== "invoice.issued" || !LEAD_FACTS.has(name))
    .sort(([a], [b]) => a < b ? -1 : 1);
  return JSON.stringify({ type, timestamp: at, data: Object.fromEntries(facts) });
}

/**
 * Sends webhooks. Two reads side by side; one read and one commit to record the attempt in the
 * delivery log and, if it changed, the state of the endpoint.
 */
export function newWebhookMessageSender(services: WebhookServices): Sender {
  const { store, config, clock, webhookSender } = services;
  return { policy: WEBHOOK_POLICY, send };

  async function send(message: OutboxMessage, signal: AbortSignal): Promise<AttemptResult> {
    const id = message.to;
    const [found, kept] = await Promise.all([
      store.get(keys.webhook(id)),
      store.get(keys.webhookSecrets(id)),
    ]);
    if (!found || found.deletedAt !== null) return { state: "skipped", reason: "no such webhook" };
    // Operators try an endpoint before they enable it.
    if (!found.isEnabled && message.type !== PING) {
      return { state: "skipped", reason: "the webhook is disabled" };
    }
    const opened = await openSecrets(config, id, kept ?? { secrets: [] }, clock());
    if (opened.secrets.length === 0) {
      return { state: "failed", reason: "its secret cannot be decrypted", isLaneDown: true };
    }
    const body = webhookBody(message);
    const startedAt = performance.now();
    const answer = await webhookSender.post({
      url: found.url,
      body,
      headers: {
        ...signedHeaders(opened.secrets, { id: message.id, now: clock(), body }),
        "content-type": "application/json",
        "user-agent": "WeTech-Webhooks/1",
      },
    }, signal);
    const sent = resultOf(answer);
    const attempt = {
      at: isoTime(clock()),
      status: answer.isAnswered ? answer.status : null,
      reason: sent.state === "sent" ? null : sent.reason,
      ms: Math.round(performance.now() - startedAt),
    };
    const disabled = await recordAttempt(services, message, attempt);
    if (opened.isOldKey && kept) await reseal(services, id, kept);
    if (disabled) return { state: "skipped", reason: attempt.reason ?? "the webhook is disabled" };
    // An operator waits for the result of a trial: it is not retried.
    return message.type === PING && sent.state === "failed"
      ? { state: "skipped", reason: sent.reason }
      : sent;
  }
}

/** Statuses that concern the endpoint and not the message. */
const ENDPOINT_STATUSES = new Set([401, 403, 404, 405, 410, 429, 502, 503, 504]);

/** The result of an attempt by its answer. */
function resultOf(answer: WebhookAnswer): Exclude<AttemptResult, { state: "skipped" | "refused" }> {
  if (!answer.isAnswered) return { state: "failed", reason: answer.reason, isLaneDown: true };
  const { status, retryAfterMs } = answer;
  if (status >= 200 && status < 300) return { state: "sent" };
  return {
    state: "failed",
    reason: `status ${status}`,
    isLaneDown: status < 400 || ENDPOINT_STATUSES.has(status),
    ...(retryAfterMs === null ? {} : { retryAfterMs }),
  };
}

/** Records an attempt. @returns Whether it disabled the endpoint */
async function recordAttempt(
  services: WebhookServices,
  message: OutboxMessage,
  attempt: WebhookAttempt,
): Promise<boolean> {
  try {
    const disabled = await putAttempt(services, message, attempt);
    if (!disabled) return false;
    const { id, disabledReason } = disabled;
    services.log.warn("webhook.disabled", { webhookId: id, reason: disabledReason });
    await raiseAlert(services, {
      name: disabledAlert(id),
      severity: "warning",
      title: "A webhook was disabled",
      detail: disabledReason === "gone"
        ? `${id} answered that it is gone (410)`
        : `${id} has accepted nothing for 5 days; last failure: ${attempt.reason ?? "unknown"}`,
      quietMs: null,
    });
    return true;
  } catch (error) {
    // The result of the attempt holds, recorded or not.
    services.log.warn("webhook.not_noted", { messageId: message.id, error });
    return false;
  }
}

/** @returns The endpoint if this attempt disabled it */
async function putAttempt(
  services: WebhookServices,
  message: OutboxMessage,
  attempt: WebhookAttempt,
): Promise<WebhookEndpoint | null> {
  const now = services.clock();
  const id = message.to;
  const reads = {
    endpoint: keys.webhook(id),
    directory: keys.webhookDirectory,
    failing: keys.webhookFailing(id),
    delivery: keys.webhookDelivery(id, message.id),
  };
  return await transact(services, reads, ({ endpoint, ...found }, writes) => {
    if (!endpoint || endpoint.deletedAt !== null) return null;
    const delivery = withAttempt(found.delivery, message, attempt, now);
    writes.set(reads.delivery, delivery, { expireIn: delivery.exp - now });
    if (attempt.reason === null) {
      if (found.failing) writes.delete(reads.failing);
      return null;
    }
    if (!endpoint.isEnabled) return null;
    const failing = found.failing ?? { since: now };
    const reason = disabledReasonOf(failing, message, { attempt, now });
    if (reason === null) {
      if (!found.failing) writes.set(reads.failing, failing);
      return null;
    }
    if (found.failing) writes.delete(reads.failing);
    return putDisabled(writes, found.directory, endpoint, { reason, by: BY_OUTBOX, now });
  }, { operation: operationOf(BY_OUTBOX, "webhook.note", null, { now, keepMs: RECEIPT_KEEP_MS }) });
}

/** Why a failed attempt disables the endpoint; null if it does not. */
function disabledReasonOf(
  { since }: WebhookFailing,
  { attempts, attemptsBefore }: OutboxMessage,
  { attempt, now }: { attempt: WebhookAttempt; now: number },
): WebhookDisabledReason | null {
  if (attempt.status === 410) return "gone";
  const isLong = now - since >= FAILING_MAX_MS && attempts - attemptsBefore >= FAILING_ATTEMPTS_MIN;
  return isLong ? "failing" : null;
}

function withAttempt(
  before: WebhookDelivery | null,
  { id, type, at }: OutboxMessage,
  attempt: WebhookAttempt,
  now: number,
): WebhookDelivery {
  return {
    id,
    type,
    at,
    attempts: (before?.attempts ?? 0) + 1,
    lastAttempts: [...before?.lastAttempts ?? [], attempt].slice(-LOG_ATTEMPTS_MAX),
    exp: now + LOG_KEEP_MS,
  };
}

/** Seals an endpoint's secrets with the current key, before the previous one is removed. */
async function reseal(services: WebhookServices, id: string, kept: WebhookSecrets): Promise<void> {
  const { config, clock, log } = services;
  const now = clock();
  try {
    const secrets = await Promise.all(kept.secrets.map(async (one) => {
      const opened = await unseal(config, sealPlaceOf(id), one.sealed);
      return opened ? { ...one, sealed: await seal(config, sealPlaceOf(id), opened.text) } : one;
    }));
    const reads = { kept: keys.webhookSecrets(id) };
    await transact(services, reads, (found, writes) => {
      // Secrets that were rotated or deleted meanwhile stay as they are.
      if (JSON.stringify(found.kept) === JSON.stringify(kept)) writes.set(reads.kept, { secrets });
      return null;
    }, {
      operation: operationOf(BY_OUTBOX, "webhook.reseal", null, { now, keepMs: RECEIPT_KEEP_MS }),
    });
  } catch (error) {
    log.warn("webhook.not_resealed", { webhookId: id, error });
  }
}
