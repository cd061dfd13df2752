/**
 * The delivery log of an endpoint, redelivery, and trial messages.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { MessageStatus, OutboxMessage } from "../kv/outbox_records.ts";
import { transact } from "../kv/mod.ts";
import type { WebhookAttempt, WebhookDelivery } from "../kv/webhook_records.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { getMessage, retryMessage } from "../outbox/admin.ts";
import { putMessage } from "../outbox/states.ts";
import { listEntities, type Page, type PageRequest } from "../entities/page.ts";
import type { WebhookServices } from "./needs.ts";
import { isoTime } from "../time.ts";
import { expectKnown, getWebhook } from "./mod.ts";
import { PING } from "./delivery.ts";

export type { WebhookAttempt } from "../kv/webhook_records.ts";

/** A message to an endpoint, as operators see it. */
export interface Delivery {
  /** The receiver sees it as `webhook-id`. */
  messageId: string;
  /** The event type, or `ping`. */
  type: string;
  /** The time of the event, ISO 8601. */
  at: string;
  /** Its state in the outbox. */
  status: MessageStatus;
  /** The next attempt, ISO 8601; null for none. */
  nextAttemptAt: string | null;
  /** Attempts so far. */
  attempts: number;
  /** The last attempts, oldest first. */
  lastAttempts: WebhookAttempt[];
}

/**
 * Deliveries to an endpoint in the last 30 days, newest event first; messages without an attempt
 * are in the outbox only. Three reads, and one for each five entries.
 *
 * @throws {AppError} `not_found`; `malformed` on a cursor that is not of this list
 */
export async function listDeliveries(
  services: WebhookServices,
  id: string,
  page: PageRequest,
): Promise<Page<Delivery>> {
  await getWebhook(services, id);
  const now = services.clock();
  const list = `webhooks/${id}`;
  const isKept = ({ exp }: WebhookDelivery) => exp > now;
  const found = await listEntities(services, list, keys.webhookDeliveries(id), page, isKept);
  const messages = await services.store.getMany(
    found.data.flatMap(({ id }) => [keys.message(id), keys.messageDone(id)]),
  );
  return {
    ...found,
    data: found.data.map((delivery, i) =>
      deliveryOf(delivery, messages[2 * i] ?? messages[2 * i + 1] ?? null)
    ),
  };
}

/**
 * Sends a message again under the same id, whatever its state; one that waits for its next attempt
 * is sent now.
 *
 * @throws {AppError} `not_found`; `conflict` while it is being sent or the endpoint is disabled
 */
export async function redeliver(
  services: WebhookServices,
  { id, messageId }: { id: string; messageId: string },
  by: Caller,
): Promise<Delivery> {
  const endpoint = await getWebhook(services, id);
  const { kind, to } = await getMessage(services, messageId);
  if (kind !== "webhook" || to !== id) throw new AppError("not_found", "No such message");
  if (!endpoint.isEnabled) {
    throw new AppError("conflict", "Cannot redeliver: the webhook is disabled");
  }
  const message = await retryMessage(services, messageId, by);
  const delivery = await services.store.get(keys.webhookDelivery(id, messageId));
  return deliveryOf(delivery ?? untried(message), message);
}

/**
 * Sends a trial message to an endpoint, once, even if it is disabled. The result is in its delivery
 * log a moment later.
 *
 * @throws {AppError} `not_found`
 */
export async function pingWebhook(
  services: WebhookServices,
  id: string,
  by: Caller,
): Promise<Delivery> {
  const now = services.clock();
  const origin = { id: newId(now), at: isoTime(now), subject: { webhookId: id }, data: {} };
  const reads = { endpoint: keys.webhook(id) };
  const message = await transact(services, reads, ({ endpoint }, writes) => {
    expectKnown(endpoint);
    return putMessage(writes, origin, { kind: "webhook", type: PING, to: id, lane: id }, now);
  }, { operation: operationOf(by, "webhook.ping", id, { now }) });
  return deliveryOf(untried(message), message);
}

function untried({ id, type, at }: OutboxMessage): WebhookDelivery {
  return { id, type, at, attempts: 0, lastAttempts: [], exp: 0 };
}

function deliveryOf(
  { id, type, at, attempts, lastAttempts }: WebhookDelivery,
  message: OutboxMessage | null,
): Delivery {
  // A message that is not stored any more has ended.
  const wasTaken = lastAttempts.at(-1)?.reason === null;
  const status = message?.status ?? (wasTaken ? "sent" : "dead");
  return {
    messageId: id,
    type,
    at,
    status,
    nextAttemptAt: message?.status === "pending" ? isoTime(message.dueAt) : null,
    attempts,
    lastAttempts,
  };
}
