/**
 * Alert notifications that a channel did not take: the outbox delivers them until
 * the channel does, or they are superseded. The first attempts do not go through
 * the outbox, since the alert may be about the outbox.
 *
 * @module
 */
import type { AlertNotification } from "./channels.ts";
import * as keys from "../kv/keys.ts";
import type { Incident } from "../kv/records.ts";
import type { Writes } from "../kv/transaction.ts";
import type { AttemptResult, DeliveryPolicy, OutboxMessage, Sender } from "../outbox/ports.ts";
import type { Store } from "../kv/store.ts";
import type { AlertNotifier } from "./notifier.ts";
import { putMessage } from "../outbox/states.ts";
import { HOUR_MS, isoTime, MINUTE_MS, SECOND_MS } from "../time.ts";

/** Retries for about a day, soon at first. */
export const ALERT_POLICY: DeliveryPolicy = {
  timeoutMs: 10 * SECOND_MS,
  atOnce: 2,
  backoffMs: [
    MINUTE_MS,
    2 * MINUTE_MS,
    5 * MINUTE_MS,
    15 * MINUTE_MS,
    HOUR_MS,
    2 * HOUR_MS,
    4 * HOUR_MS,
    8 * HOUR_MS,
    8 * HOUR_MS,
  ],
  deadLetterAfterMs: 24 * HOUR_MS,
};

/**
 * Writes a message for each channel that has not taken the notification.
 *
 * @param id Drawn before the transaction, so that every attempt writes the same.
 * @param now Milliseconds UTC.
 */
export function putAlertMessages(
  writes: Writes,
  { id, notification, channels }: {
    id: string;
    notification: AlertNotification;
    channels: readonly string[];
  },
  now: number,
): void {
  const { name, state, ...facts } = notification;
  const origin = { id, at: isoTime(now), subject: { incident: name }, data: { state, ...facts } };
  for (const channel of channels) {
    putMessage(writes, origin, { kind: "alert", type: state, to: channel, lane: channel }, now);
  }
}

/** Delivers alert messages, each through the channel it names. */
export function newAlertSender(
  { store, alerts }: { readonly store: Store; readonly alerts: AlertNotifier },
): Sender {
  return { policy: ALERT_POLICY, send };

  async function send(message: OutboxMessage): Promise<AttemptResult> {
    const notification = notificationOf(message);
    const incident = await store.get(keys.incident(notification.name));
    if (!isCurrent(notification, incident)) {
      return { state: "skipped", reason: "the incident has changed since" };
    }
    const result = await alerts.deliverThrough(message.to, notification);
    if (result === null) return { state: "skipped", reason: "no such channel" };
    if (result.isDelivered) return { state: "sent" };
    const { reason, retryAfterMs } = result;
    // Even a final refusal is retried: the operator may correct the channel's settings meanwhile.
    return {
      state: "failed",
      reason,
      isLaneDown: true,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    };
  }
}

/** The notification that {@linkcode putAlertMessages} wrote. */
function notificationOf({ subject, data }: OutboxMessage): AlertNotification {
  return {
    name: subject.incident ?? "",
    state: data.state === "resolved" ? "resolved" : "raised",
    severity: data.severity === "critical" ? "critical" : "warning",
    title: String(data.title),
    detail: String(data.detail),
    openedAt: String(data.openedAt),
    durationMs: Number(data.durationMs),
    count: Number(data.count),
  };
}

/** Whether the incident is still in the state of the notification. */
function isCurrent({ openedAt, state }: AlertNotification, incident: Incident | null): boolean {
  const isOver = incident?.resolvedAt !== null;
  return incident?.openedAt === openedAt && isOver === (state === "resolved");
}
