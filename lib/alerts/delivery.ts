/**
 * Alerts that a channel did not take: told by the outbox until it does, or they
 * are news no more. The first attempts are not its own: that something is unwell,
 * be it the outbox, is told by whoever sees it.
 *
 * @module
 */
import type { Notice } from "./channels.ts";
import * as keys from "../kv/keys.ts";
import type { Incident } from "../kv/records.ts";
import type { Writes } from "../kv/transact.ts";
import type { DeliveryPolicy, OutboxMessage, Sender, Sent } from "../outbox/ports.ts";
import type { Store } from "../kv/store.ts";
import type { AlertDesk } from "./notifier.ts";
import { putMessage } from "../outbox/states.ts";
import { HOUR_MS, isoTime, MINUTE_MS, SECOND_MS } from "../time.ts";

/** Tried for about a day, and soon at first. */
export const ALERT_POLICY: DeliveryPolicy = {
  timeoutMs: 10 * SECOND_MS,
  atOnce: 2,
  backoffMs: [
    ...[MINUTE_MS, 2 * MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS],
    ...[2 * HOUR_MS, 4 * HOUR_MS, 8 * HOUR_MS, 8 * HOUR_MS],
  ],
  giveUpMs: 24 * HOUR_MS,
};

/**
 * Writes a notice for each channel that is yet to take it.
 *
 * @param id Drawn before the decision, so that every attempt writes the same.
 * @param now Milliseconds UTC.
 */
export function putNotices(
  writes: Writes,
  { id, notice, channels }: { id: string; notice: Notice; channels: readonly string[] },
  now: number,
): void {
  const { name, state, ...said } = notice;
  const origin = { id, at: isoTime(now), subject: { incident: name }, data: { state, ...said } };
  for (const channel of channels) {
    putMessage(writes, origin, { kind: "alert", type: state, to: channel, lane: channel }, now);
  }
}

/** Delivers through one channel. */
export function newAlertSender(
  { store, alerts }: { readonly store: Store; readonly alerts: AlertDesk },
): Sender {
  return { policy: ALERT_POLICY, send };

  async function send(message: OutboxMessage): Promise<Sent> {
    const notice = noticeOf(message);
    const incident = await store.get(keys.incident(notice.name));
    if (!isNews(notice, incident)) return { state: "moot", reason: "no news any more" };
    const told = await alerts.tellBy(message.to, notice);
    if (told === null) return { state: "moot", reason: "no such channel" };
    if (told.isTold) return { state: "sent" };
    const { reason, retryAfterMs } = told;
    // What is refused for good today may be mended tomorrow: it is we who set up the channel.
    return {
      ...{ state: "failed", reason, isLaneDown: true },
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    };
  }
}

/** The notice that was written, whose fields are as {@linkcode putNotices} has them. */
function noticeOf({ subject, data }: OutboxMessage): Notice {
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

/** Whether the incident is still as the notice says. */
function isNews({ openedAt, state }: Notice, incident: Incident | null): boolean {
  const isOver = incident?.resolvedAt !== null;
  return incident?.openedAt === openedAt && isOver === (state === "resolved");
}
