/**
 * Webhooks about what happened: who wants which, what they say, and what is
 * learnt from each attempt. They follow the Standard Webhooks convention.
 *
 * What is sent is thin: ids, numbers, amounts and states. Who wants to know more
 * asks for it with a key of its own, so nothing personal leaves by this door.
 *
 * @module
 */
import { raiseAlert } from "../alerts/mod.ts";
import * as keys from "../kv/keys.ts";
import type { OutboxEvent, OutboxMessage } from "../kv/outbox_records.ts";
import { transact } from "../kv/transact.ts";
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
import type { DeliveryPolicy, NewMessage, Sender, Sent, Subscriber } from "../outbox/ports.ts";
import type { WebhookServices } from "./needs.ts";
import { DAY_MS, HOUR_MS, isoTime, MINUTE_MS, SECOND_MS } from "../time.ts";
import { WEBHOOK_TIMEOUT_MS, type WebhookAnswer } from "./sender.ts";
import { disabledAlert, putDisabled } from "./endpoints.ts";
import { seal, unseal } from "../crypto/sealing.ts";
import { openSecrets, placeOf, signedHeaders } from "./secrets.ts";

/** Tried for about three days: two at the least, four at the most. */
export const WEBHOOK_POLICY: DeliveryPolicy = {
  // What became of it has to be noted as well.
  timeoutMs: WEBHOOK_TIMEOUT_MS + 5 * SECOND_MS,
  // So that a few slow endpoints leave room for the others.
  atOnce: 4,
  backoffMs: [
    ...[10 * SECOND_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS, 5 * HOUR_MS],
    ...[10 * HOUR_MS, 14 * HOUR_MS, 20 * HOUR_MS, 24 * HOUR_MS, 24 * HOUR_MS],
  ],
  giveUpMs: 3 * DAY_MS,
};

/** What a trial says it is. */
export const PING = "ping";

/** An endpoint that takes nothing for so long is told nothing any more. */
const FAILING_MAX_MS = 5 * DAY_MS;
/** Attempts of the message at hand without which an endpoint is not given up: one slip is none. */
const FAILING_TRIES_MIN = 4;
/** For how long it can be looked up what became of a message, and sent again. */
const LOG_KEEP_MS = 30 * DAY_MS;
/** Attempts that are shown of each. */
const LOG_ATTEMPTS_MAX = 12;
const RECEIPT_KEEP_MS = 10 * MINUTE_MS;

const BY_OUTBOX: Caller = { actor: "job:outbox", requestId: "outbox", idempotencyKey: null };

/** Asks for a webhook to each endpoint that wants an event. One read. */
export function newWebhookSubscriber({ store }: Pick<WebhookServices, "store">): Subscriber {
  return { name: "webhook", messagesOf };

  async function messagesOf(event: OutboxEvent): Promise<NewMessage[]> {
    const directory = await store.get(keys.webhookDirectory);
    if (!directory) return [];
    return directory.subscriptions.flatMap((subscription) =>
      typesOf(event).filter((type) => wants(subscription, type)).map((type) => ({
        ...{ kind: "webhook", type, to: subscription.id, lane: subscription.id } as const,
        isOrdered: true,
      }))
    );
  }
}

/** A lead that became an invoice at once is one event, and two to those who are told. */
function typesOf({ type, subject }: OutboxEvent): OutboxEvent["type"][] {
  return type === "lead.created" && subject.invoiceId !== undefined
    ? [type, "invoice.issued"]
    : [type];
}

function wants({ isEnabled, eventTypes }: WebhookSubscription, type: OutboxEvent["type"]): boolean {
  return isEnabled && (eventTypes.includes("*") || eventTypes.includes(type));
}

/** What an event says of a lead, which is not of its invoice. */
const LEAD_FACTS = new Set(["source", "productId", "hasEmail"]);

/** What a message says: for each attempt the same bytes. */
export function webhookBody({ type, at, subject, data }: OutboxMessage): string {
  const facts = Object.entries({ ...data, ...subject })
    .filter(([name]) => type !== "invoice.issued" || !LEAD_FACTS.has(name))
    .sort(([a], [b]) => a < b ? -1 : 1);
  return JSON.stringify({ type, timestamp: at, data: Object.fromEntries(facts) });
}

/**
 * Sends a webhook. Two reads side by side; one read and one commit to note what came of it, in
 * the log of the endpoint's deliveries and, if it changed, in how the endpoint is.
 */
export function newWebhookMessageSender(services: WebhookServices): Sender {
  const { store, config, clock, webhookSender } = services;
  return { policy: WEBHOOK_POLICY, send };

  async function send(message: OutboxMessage, signal: AbortSignal): Promise<Sent> {
    const id = message.to;
    const [found, kept] = await Promise.all([
      store.get(keys.webhook(id)),
      store.get(keys.webhookSecrets(id)),
    ]);
    if (!found || found.deletedAt !== null) return { state: "moot", reason: "no such webhook" };
    // Whoever enables it will want to try it before.
    if (!found.isEnabled && message.type !== PING) {
      return { state: "moot", reason: "the webhook is disabled" };
    }
    const opened = await openSecrets(config, id, kept ?? { secrets: [] }, clock());
    if (opened.secrets.length === 0) {
      return { state: "failed", reason: "its secret cannot be read", isLaneDown: true };
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
    const sent = sentOf(answer);
    const attempt = {
      at: isoTime(clock()),
      status: answer.isAnswered ? answer.status : null,
      reason: sent.state === "sent" ? null : sent.reason,
      ms: Math.round(performance.now() - startedAt),
    };
    const disabled = await learn(services, message, attempt);
    if (opened.isOldKey && kept) await reseal(services, id, kept);
    if (disabled) return { state: "moot", reason: attempt.reason ?? "the webhook is disabled" };
    // Somebody waits to see what comes of a trial.
    return message.type === PING && sent.state === "failed"
      ? { state: "moot", reason: sent.reason }
      : sent;
  }
}

/** What an endpoint answers to whatever it is sent. */
const OF_ALL = new Set([401, 403, 404, 405, 410, 429, 502, 503, 504]);

/** What an answer means for the message. */
function sentOf(answer: WebhookAnswer): Exclude<Sent, { state: "moot" | "refused" }> {
  if (!answer.isAnswered) return { state: "failed", reason: answer.reason, isLaneDown: true };
  const { status, retryAfterMs } = answer;
  if (status >= 200 && status < 300) return { state: "sent" };
  return {
    state: "failed",
    reason: `status ${status}`,
    isLaneDown: status < 400 || OF_ALL.has(status),
    ...(retryAfterMs === null ? {} : { retryAfterMs }),
  };
}

/** Notes an attempt. @returns Whether it ended the endpoint's time */
async function learn(
  services: WebhookServices,
  message: OutboxMessage,
  attempt: WebhookAttempt,
): Promise<boolean> {
  try {
    const disabled = await noteAttempt(services, message, attempt);
    if (!disabled) return false;
    const { id, disabledReason } = disabled;
    services.log.warn("webhook.disabled", { webhookId: id, reason: disabledReason });
    await raiseAlert(services, {
      name: disabledAlert(id),
      severity: "warning",
      title: "A webhook was disabled",
      detail: disabledReason === "gone"
        ? `${id} answered that it is gone (410)`
        : `${id} has taken nothing for 5 days; the last time: ${attempt.reason ?? "unknown"}`,
      quietMs: null,
    });
    return true;
  } catch (error) {
    // It was taken or not, whether that could be noted or not.
    services.log.warn("webhook.not_noted", { messageId: message.id, error });
    return false;
  }
}

/** @returns The endpoint if this attempt had it disabled */
async function noteAttempt(
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
    const reason = whyDisabled(failing, message, { attempt, now });
    if (reason === null) {
      if (!found.failing) writes.set(reads.failing, failing);
      return null;
    }
    if (found.failing) writes.delete(reads.failing);
    return putDisabled(writes, found.directory, endpoint, { reason, by: BY_OUTBOX, now });
  }, { operation: operationOf(BY_OUTBOX, "webhook.note", null, { now, keepMs: RECEIPT_KEEP_MS }) });
}

/** Whether a failed attempt is one too many. */
function whyDisabled(
  { since }: WebhookFailing,
  { attempts, attemptsBefore }: OutboxMessage,
  { attempt, now }: { attempt: WebhookAttempt; now: number },
): WebhookDisabledReason | null {
  if (attempt.status === 410) return "gone";
  const isLong = now - since >= FAILING_MAX_MS && attempts - attemptsBefore >= FAILING_TRIES_MIN;
  return isLong ? "failing" : null;
}

function withAttempt(
  before: WebhookDelivery | null,
  { id, type, at }: OutboxMessage,
  attempt: WebhookAttempt,
  now: number,
): WebhookDelivery {
  return {
    ...{ id, type, at },
    attempts: (before?.attempts ?? 0) + 1,
    lastAttempts: [...before?.lastAttempts ?? [], attempt].slice(-LOG_ATTEMPTS_MAX),
    exp: now + LOG_KEEP_MS,
  };
}

/** Seals an endpoint's secrets with the present key, before the one before it is forgotten. */
async function reseal(services: WebhookServices, id: string, kept: WebhookSecrets): Promise<void> {
  const { config, clock, log } = services;
  const now = clock();
  try {
    const secrets = await Promise.all(kept.secrets.map(async (one) => {
      const opened = await unseal(config, placeOf(id), one.sealed);
      return opened ? { ...one, sealed: await seal(config, placeOf(id), opened.text) } : one;
    }));
    const reads = { kept: keys.webhookSecrets(id) };
    await transact(services, reads, (found, writes) => {
      // Rotated or deleted meanwhile, there is nothing to be kept.
      if (JSON.stringify(found.kept) === JSON.stringify(kept)) writes.set(reads.kept, { secrets });
      return null;
    }, {
      operation: operationOf(BY_OUTBOX, "webhook.reseal", null, { now, keepMs: RECEIPT_KEEP_MS }),
    });
  } catch (error) {
    log.warn("webhook.not_resealed", { webhookId: id, error });
  }
}
