/**
 * The states of an incident: open, resolved, flapping, and whether its state has
 * been notified. Nothing here reads or writes.
 *
 * An incident that comes back soon after it was resolved is flapping: from then on
 * it is resolved only after ten quiet minutes.
 *
 * @module
 */
import type { AlertNotification } from "./channels.ts";
import type { Incident, Severity } from "../kv/records.ts";
import { NOTIFY_MS } from "./notifier.ts";
import { redactStart } from "../telemetry/redact.ts";
import { DAY_MS, isoTime, MINUTE_MS } from "../time.ts";

/** A problem to raise. */
export interface Alert {
  /** One of few, such as `job_failed:backup`: the same name is the same incident. */
  name: string;
  /** How much it matters. */
  severity: Severity;
  /** One line of plain text, up to 150 characters; without personal data. */
  title: string;
  /** Plain text up to 1,000 characters; redacted here. */
  detail: string;
  /** Resolved when not raised for this many milliseconds, at least 3 minutes; null for never by itself. */
  quietMs: number | null;
}

/** An incident that comes back within this time is flapping, until it was quiet for as long. */
export const FLAP_MS: number = 10 * MINUTE_MS;
/** An open incident that is not raised again expires; longer than the rarest job's interval. */
const OPEN_KEEP_MS = 30 * DAY_MS;
const RESOLVED_KEEP_MS = 30 * DAY_MS;
/** A notification undelivered for this long is dropped. */
const NOTIFY_WITHIN_MS = DAY_MS;

const TITLE_MAX = 150;
const DETAIL_MAX = 1_000;

/** As stored. In incidents written by earlier versions two fields have other names. */
export type StoredIncident =
  & Omit<Incident, "notifiedAt" | "notifyingUntil">
  & Partial<Pick<Incident, "notifiedAt" | "notifyingUntil">>
  & { toldAt?: string | null; tellingUntil?: number };

/** Reads a stored incident, also one with the old field names. */
export function incidentOf(
  {
    toldAt = null,
    tellingUntil = 0,
    notifiedAt = toldAt,
    notifyingUntil = tellingUntil,
    ...fields
  }: StoredIncident,
): Incident {
  return { ...fields, notifiedAt, notifyingUntil };
}

/** A new incident, after an earlier one of the same name if there was one. */
export function opened(
  earlier: Incident | null,
  { name, severity, title, detail, quietMs }: Alert,
  { now, count }: { now: number; count: number },
): Incident {
  const resolvedAt = earlier?.resolvedAt ?? null;
  return {
    name,
    severity,
    title: redactStart(title, TITLE_MAX),
    detail: redactStart(detail, DETAIL_MAX),
    openedAt: isoTime(now),
    lastSeenAt: isoTime(now),
    count,
    resolvedAt: null,
    quietMs,
    isFlapping: resolvedAt !== null && now - Date.parse(resolvedAt) < FLAP_MS,
    notifiedAt: null,
    notifyingUntil: now + NOTIFY_MS,
    exp: now + OPEN_KEEP_MS,
  };
}

/** An open incident raised once more; null if it is not open. */
export function raisedAgain(
  found: Incident | null,
  { quietMs }: Alert,
  { now, count }: { now: number; count: number },
): Incident | null {
  if (!found || !isOpen(found, now)) return null;
  const lastSeenAt = isoTime(Math.max(now, Date.parse(found.lastSeenAt)));
  return { ...found, lastSeenAt, count: found.count + count, quietMs, exp: now + OPEN_KEEP_MS };
}

/** The incident resolved; still open if it is flapping and was not quiet. */
export function resolved(found: Incident, now: number): Incident {
  if (found.isFlapping && quietFor(found, now) < FLAP_MS) return { ...found, quietMs: FLAP_MS };
  return {
    ...found,
    resolvedAt: isoTime(now),
    notifiedAt: null,
    notifyingUntil: now + NOTIFY_MS,
    exp: now + RESOLVED_KEEP_MS,
  };
}

/** Whether it is neither resolved nor expired. */
export function isOpen({ resolvedAt, exp }: Incident, now: number): boolean {
  return resolvedAt === null && exp > now;
}

/** Whether it is open and was quiet for long enough to be resolved. */
export function isQuiet(incident: Incident, now: number): boolean {
  const { quietMs } = incident;
  return isOpen(incident, now) && quietMs !== null && quietFor(incident, now) >= quietMs;
}

function quietFor({ lastSeenAt }: Incident, now: number): number {
  return now - Date.parse(lastSeenAt);
}

/** Whether its state must still be notified and no instance is doing so. */
export function isNotificationDue(incident: Incident, now: number): boolean {
  const { notifiedAt, notifyingUntil, exp, openedAt, resolvedAt } = incident;
  if (notifiedAt !== null || notifyingUntil > now || exp <= now) return false;
  return now - Date.parse(resolvedAt ?? openedAt) < NOTIFY_WITHIN_MS;
}

/** The notification of its present state. */
export function notificationOf(incident: Incident): AlertNotification {
  const { name, severity, title, detail, openedAt, resolvedAt, count } = incident;
  return {
    state: resolvedAt === null ? "raised" : "resolved",
    name,
    severity,
    title,
    detail,
    openedAt,
    count,
    durationMs: resolvedAt === null
      ? 0
      : Math.max(0, Date.parse(resolvedAt) - Date.parse(openedAt)),
  };
}
