/**
 * How full the outbox is, as numbers and as metrics.
 *
 * @module
 */
import type { Metrics } from "../telemetry/metrics.ts";
import { SECOND_MS } from "../time.ts";

/** How full the outbox is. */
export interface OutboxState {
  /** Messages to send, including undispatched events; 1,000 means 1,000 or more. */
  waiting: number;
  /** How long the oldest one has been due, in milliseconds; 0 when none is due. */
  overdueMs: number;
  /** Dead-lettered messages; 1,000 means 1,000 or more. */
  dead: number;
}

/** Adds the gauges of the outbox. @param state As last measured by this instance; null before. */
export function addOutboxGauges(metrics: Metrics, state: () => OutboxState | null): void {
  const help = "as last measured by this instance, up to 1,000";
  metrics.gauge(
    "wetech_outbox_waiting",
    `Messages to send, ${help}`,
    () => state()?.waiting ?? 0,
  );
  metrics.gauge(
    "wetech_outbox_dead",
    `Dead-lettered messages, ${help}`,
    () => state()?.dead ?? 0,
  );
  metrics.gauge(
    "wetech_outbox_overdue_seconds",
    "How long the oldest message to send has been due",
    () => (state()?.overdueMs ?? 0) / SECOND_MS,
  );
}
