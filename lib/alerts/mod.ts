/**
 * Alerts: people are told once that something is unwell, and once that it is
 * well again, however many instances see it however often.
 *
 * An incident is a record in the store, and who opens or resolves it is decided
 * in a transaction: that instance tells. It says in the record that it did, and
 * leaves what a channel did not take to the outbox; if it was ended before,
 * another one tells later. While the
 * store cannot take an incident, each instance remembers it and tells for itself.
 *
 * What resolves and comes back soon is flapping: from then on it is believed to
 * be well only after ten quiet minutes.
 *
 * @module
 */
import type { Notice } from "./channels.ts";
import { type AlertDesk, TELLING_MS } from "./notifier.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Incident, Severity } from "../kv/records.ts";
import { transact, type Writes } from "../kv/transact.ts";
import { operationOf } from "../entities/caller.ts";
import { putNotices } from "./delivery.ts";
import { redactStart } from "../telemetry/redact.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Log } from "../telemetry/log.ts";
import { DAY_MS, HOUR_MS, isoTime, MINUTE_MS, SECOND_MS } from "../time.ts";

export type { Incident, Severity } from "../kv/records.ts";

/** What alerts need. */
export interface AlertServices extends StoreServices {
  /** Records that an incident opened or ended. */
  readonly log: Log;
  /** This instance's alerts. */
  readonly alerts: AlertDesk;
}

/** Something unwell. */
export interface Alert {
  /** One of few, such as `job_failed:backup`: raised again it is the same incident. */
  name: string;
  /** How much it matters. */
  severity: Severity;
  /** One line of plain text, up to 150 characters; without personal data. */
  title: string;
  /** Plain text up to 1,000 characters; redacted here. */
  detail: string;
  /** After so many milliseconds unseen it counts as well, from 3 minutes up; null for only when told so. */
  quietMs: number | null;
}

/**
 * An instance tells the store no more often that it sees the same: about once a
 * minute, and always of what is looked at every minute.
 */
const SIGHTING_MS = MINUTE_MS - 5 * SECOND_MS;
/** What comes back within this time of being resolved is flapping, and stays so until it was quiet as long. */
export const FLAP_MS: number = 10 * MINUTE_MS;
/** What nobody sees or resolves for so long is forgotten; longer than the rarest job's interval. */
const OPEN_KEEP_MS = 30 * DAY_MS;
const RESOLVED_KEEP_MS = 30 * DAY_MS;
/** News that nobody took for so long is none any more. */
const TELL_WITHIN_MS = DAY_MS;
const RECEIPT_KEEP_MS = HOUR_MS;
/** More than the program has names for. */
const INCIDENTS_MAX = 200;

const TITLE_MAX = 150;
const DETAIL_MAX = 1_000;

/**
 * Notes that something is unwell, and has it told if that is news. Returns when
 * that is decided, and does not wait for the telling.
 *
 * At most one read and one commit a minute for each name; the rest is counted.
 * Never throws.
 */
export async function raiseAlert(services: AlertServices, alert: Alert): Promise<void> {
  const sighting = services.alerts.sighting(alert.name);
  sighting.count++;
  if (sighting.telling === null) {
    if (services.clock() < sighting.nextCommitAt) return;
    sighting.nextCommitAt = services.clock() + SIGHTING_MS;
    sighting.telling = noteSighting(services, alert).finally(() => sighting.telling = null);
  }
  await sighting.telling;
}

async function noteSighting(services: AlertServices, alert: Alert): Promise<void> {
  const { alerts, log, clock } = services;
  const sighting = alerts.sighting(alert.name);
  const { count } = sighting;
  sighting.count = 0;
  const now = clock();
  const unstored = alerts.unstored.get(alert.name) ?? null;
  try {
    const changed = await change(services, alert.name, (found) => {
      const seen = seenAgain(found, alert, { now, count });
      return seen ?? { ...opened(found, alert, { now, count }), ...toldBefore(unstored, count) };
    });
    alerts.unstored.delete(alert.name);
    const isNews = changed !== null && changed.before?.resolvedAt !== null;
    if (!isNews || unstored) return;
    noteOpening(services, changed.incident);
    tell(services, changed.incident);
  } catch (error) {
    log.warn("alert.not_stored", { incident: alert.name, error });
    const seen = seenAgain(unstored, alert, { now, count });
    const incident = seen ?? opened(null, alert, { now, count });
    alerts.unstored.set(alert.name, incident);
    if (seen) return;
    noteOpening(services, incident);
    alerts.inBackground(() => alerts.tell(noticeOf(incident)).then(() => {}));
  }
}

/** What an instance told by itself need not be told again. */
function toldBefore(unstored: Incident | null, count: number): Partial<Incident> {
  if (!unstored) return {};
  const { openedAt } = unstored;
  return { openedAt, count: unstored.count + count, toldAt: openedAt };
}

/** An open incident, seen once more; null if there is none. */
function seenAgain(
  found: Incident | null,
  { quietMs }: Alert,
  { now, count }: { now: number; count: number },
): Incident | null {
  if (!found || !isOpen(found, now)) return null;
  const lastSeenAt = isoTime(Math.max(now, Date.parse(found.lastSeenAt)));
  return { ...found, lastSeenAt, count: found.count + count, quietMs, exp: now + OPEN_KEEP_MS };
}

function opened(
  found: Incident | null,
  { name, severity, title, detail, quietMs }: Alert,
  { now, count }: { now: number; count: number },
): Incident {
  const resolvedAt = found?.resolvedAt ?? null;
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
    toldAt: null,
    tellingUntil: now + TELLING_MS,
    exp: now + OPEN_KEEP_MS,
  };
}

function isOpen({ resolvedAt, exp }: Incident, now: number): boolean {
  return resolvedAt === null && exp > now;
}

/**
 * Notes that what was raised under `name` is well, and has it told if it was
 * not. One read when nothing is open. Never throws: while the store does not
 * answer, nothing changes.
 */
export async function resolveAlert(services: AlertServices, name: string): Promise<void> {
  const { store, alerts, log } = services;
  try {
    await alerts.sighting(name).telling;
    const unstored = alerts.unstored.get(name);
    const found = await store.get(keys.incident(name));
    if (found && isOpen(found, services.clock())) await resolveStored(services, name, () => true);
    else if (unstored) resolveUnstored(services, unstored);
    alerts.unstored.delete(name);
    alerts.sighting(name).nextCommitAt = 0;
  } catch (error) {
    log.warn("alert.not_resolved", { incident: name, error });
  }
}

/** @returns Whether it was resolved by this call. */
async function resolveStored(
  services: AlertServices,
  name: string,
  isDue: (found: Incident, now: number) => boolean,
): Promise<boolean> {
  const sighting = services.alerts.sighting(name);
  const { count } = sighting;
  const changed = await change(services, name, (found, now) => {
    if (!found || !isOpen(found, now) || !isDue(found, now)) return null;
    return resolved({ ...found, count: found.count + count }, now);
  });
  if (!changed) return false;
  sighting.count -= count;
  if (changed.incident.resolvedAt === null) return false;
  noteRecovery(services, changed.incident);
  tell(services, changed.incident);
  return true;
}

/** The incident when it is well; still open if it is flapping and was not quiet. */
function resolved(found: Incident, now: number): Incident {
  if (found.isFlapping && quietFor(found, now) < FLAP_MS) return { ...found, quietMs: FLAP_MS };
  return {
    ...found,
    resolvedAt: isoTime(now),
    toldAt: null,
    tellingUntil: now + TELLING_MS,
    exp: now + RESOLVED_KEEP_MS,
  };
}

function resolveUnstored(services: AlertServices, found: Incident): void {
  const { alerts, clock } = services;
  const incident = { ...found, resolvedAt: isoTime(clock()) };
  alerts.unstored.delete(found.name);
  noteRecovery(services, incident);
  alerts.inBackground(() => alerts.tell(noticeOf(incident)).then(() => {}));
}

function quietFor({ lastSeenAt }: Incident, now: number): number {
  return now - Date.parse(lastSeenAt);
}

/** What {@linkcode settleAlerts} did. */
export interface Settled {
  /** Incidents that were quiet long enough. */
  resolved: number;
  /** News that an instance owed. */
  told: number;
}

/**
 * Resolves what has been quiet for long enough, and has told what nobody was
 * told yet. To be called every minute; one listing when there is nothing to do.
 *
 * @throws {AppError} `unavailable` while the store does not answer
 */
export async function settleAlerts(services: AlertServices): Promise<Settled> {
  const { store, clock, alerts } = services;
  const listed = await store.list(keys.incidents, { limit: INCIDENTS_MAX });
  const incidents = listed.map(({ value }) => value);
  const settled: Settled = { resolved: 0, told: 0 };
  for (const found of incidents) {
    if (isQuiet(found, clock()) && await resolveStored(services, found.name, isQuiet)) {
      alerts.unstored.delete(found.name);
      settled.resolved++;
    } else if (isUntold(found, clock()) && !alerts.isFull && await claimTelling(services, found)) {
      settled.told++;
    }
  }
  for (const unstored of [...alerts.unstored.values()]) {
    const isStored = incidents.some((one) => one.name === unstored.name && isOpen(one, clock()));
    if (isStored) alerts.unstored.delete(unstored.name);
    else if (isQuiet(unstored, clock())) {
      resolveUnstored(services, unstored);
      settled.resolved++;
    }
  }
  return settled;
}

function isQuiet(incident: Incident, now: number): boolean {
  const { quietMs } = incident;
  return isOpen(incident, now) && quietMs !== null && quietFor(incident, now) >= quietMs;
}

function isUntold(incident: Incident, now: number): boolean {
  const { toldAt, tellingUntil, exp, openedAt, resolvedAt } = incident;
  if (toldAt !== null || tellingUntil > now || exp <= now) return false;
  return now - Date.parse(resolvedAt ?? openedAt) < TELL_WITHIN_MS;
}

async function claimTelling(services: AlertServices, { name }: Incident): Promise<boolean> {
  // It was not sure that the store had it.
  const isTold = services.alerts.unstored.has(name);
  const changed = await change(services, name, (found, now) => {
    if (!found || !isUntold(found, now)) return null;
    return isTold
      ? { ...found, toldAt: isoTime(now) }
      : { ...found, tellingUntil: now + TELLING_MS };
  });
  if (!changed || isTold) return false;
  tell(services, changed.incident);
  return true;
}

/** The incidents that are open, or were in the last 30 days. @throws {AppError} `unavailable` */
export async function listIncidents({ store, clock }: AlertServices): Promise<Incident[]> {
  const listed = await store.list(keys.incidents, { limit: INCIDENTS_MAX });
  return listed.map(({ value }) => value).filter(({ exp }) => exp > clock());
}

/** Tells in the background, notes that it was, and leaves to the outbox what a channel did not take. */
function tell(services: AlertServices, incident: Incident): void {
  const { alerts } = services;
  // It is untold then, and settleAlerts() comes back to it.
  if (alerts.isFull) return;
  alerts.inBackground(async () => {
    const notice = noticeOf(incident);
    const channels = await alerts.tell(notice);
    const id = newId(services.clock());
    await change(services, incident.name, (found, now) => {
      const isSame = found?.openedAt === incident.openedAt &&
        found.resolvedAt === incident.resolvedAt;
      return isSame ? { ...found, toldAt: isoTime(now) } : null;
    }, (writes, now) => putNotices(writes, { id, notice, channels }, now))
      .catch((error) => services.log.warn("alert.not_stored", { error }));
  });
}

function noticeOf(incident: Incident): Notice {
  const { name, severity, title, detail, openedAt, resolvedAt, count } = incident;
  return {
    state: resolvedAt === null ? "raised" : "resolved",
    ...{ name, severity, title, detail, openedAt, count },
    durationMs: resolvedAt === null
      ? 0
      : Math.max(0, Date.parse(resolvedAt) - Date.parse(openedAt)),
  };
}

function noteOpening({ log }: AlertServices, { name, severity, title, detail }: Incident): void {
  log.error("alert.raised", { incident: name, severity, title, detail });
}

function noteRecovery({ log }: AlertServices, incident: Incident): void {
  const { durationMs, count } = noticeOf(incident);
  log.info("alert.resolved", { incident: incident.name, durationMs, count });
}

/**
 * Changes one incident.
 *
 * @param next The incident as it is to be, null for no change, of what there is
 * and has not expired.
 * @param also Writes what belongs to the change.
 * @returns null when nothing was changed
 */
async function change(
  services: AlertServices,
  name: string,
  next: (found: Incident | null, now: number) => Incident | null,
  also: (writes: Writes, now: number) => void = () => {},
): Promise<{ before: Incident | null; incident: Incident } | null> {
  const now = services.clock();
  const caller = { actor: "job:alerts" as const, requestId: newId(now), idempotencyKey: null };
  const operation = operationOf(caller, "incident", null, { now, keepMs: RECEIPT_KEEP_MS });
  return await transact(services, { found: keys.incident(name) }, ({ found }, writes) => {
    const before = found && found.exp > now ? found : null;
    const incident = next(before, now);
    if (incident === null) return null;
    writes.set(keys.incident(name), incident, { expireIn: incident.exp - now });
    also(writes, now);
    return { before, incident };
  }, { operation });
}
