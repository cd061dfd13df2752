/**
 * Alerts: one notification when a problem starts and one when it is over, however
 * many instances see it however often.
 *
 * An incident is a record in the store. The instance whose transaction opens or
 * resolves it sends the notification, records that it did, and leaves what a channel
 * did not take to the outbox. If that instance is killed, another one sends it later.
 * While the store cannot take incidents, each instance remembers its own and sends
 * its own notifications.
 *
 * @module
 */
import { type AlertNotifier, NOTIFY_MS } from "./notifier.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Incident } from "../kv/records.ts";
import { transact } from "../kv/mod.ts";
import type { Writes } from "../kv/transaction.ts";
import { operationOf } from "../entities/caller.ts";
import { putAlertMessages } from "./delivery.ts";
import {
  type Alert,
  incidentOf,
  isNotificationDue,
  isOpen,
  isQuiet,
  notificationOf,
  opened,
  raisedAgain,
  resolved,
} from "./incidents.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Log } from "../telemetry/mod.ts";
import { HOUR_MS, isoTime, MINUTE_MS, SECOND_MS } from "../time.ts";

export type { Alert } from "./incidents.ts";
export { type Incident, SEVERITIES, type Severity } from "../kv/records.ts";

/** What alerts need. */
export interface AlertServices extends StoreServices {
  /** Records that an incident opened or ended. */
  readonly log: Log;
  /** Delivers the alerts of this instance. */
  readonly alerts: AlertNotifier;
}

/**
 * The least time between two commits of one incident by an instance: about a minute,
 * and always less than the interval of checks that run every minute.
 */
const SIGHTING_MS = MINUTE_MS - 5 * SECOND_MS;
const RECEIPT_KEEP_MS = HOUR_MS;
/** More than the program defines names for. */
const INCIDENTS_MAX = 200;

/**
 * Raises an alert, and notifies if that opens an incident. Returns when that is
 * decided, without waiting for the delivery.
 *
 * At most one read and one commit a minute for each name; the rest is counted.
 * Never throws.
 */
export async function raiseAlert(services: AlertServices, alert: Alert): Promise<void> {
  const sighting = services.alerts.sighting(alert.name);
  sighting.count++;
  if (sighting.committing === null) {
    if (services.clock() < sighting.nextCommitAt) return;
    sighting.nextCommitAt = services.clock() + SIGHTING_MS;
    sighting.committing = commitSighting(services, alert)
      .finally(() => sighting.committing = null);
  }
  await sighting.committing;
}

async function commitSighting(services: AlertServices, alert: Alert): Promise<void> {
  const { alerts, log, clock } = services;
  const sighting = alerts.sighting(alert.name);
  const { count } = sighting;
  sighting.count = 0;
  const now = clock();
  const unstored = alerts.unstored.get(alert.name) ?? null;
  try {
    const updated = await updateIncident(services, alert.name, (found) => {
      const again = raisedAgain(found, alert, { now, count });
      return again ?? { ...opened(found, alert, { now, count }), ...carriedOver(unstored, count) };
    });
    alerts.unstored.delete(alert.name);
    const isNew = updated !== null && updated.before?.resolvedAt !== null;
    if (!isNew || unstored) return;
    logRaised(services, updated.incident);
    notify(services, updated.incident);
  } catch (error) {
    log.warn("alert.not_stored", { incident: alert.name, error });
    const again = raisedAgain(unstored, alert, { now, count });
    const incident = again ?? opened(null, alert, { now, count });
    alerts.unstored.set(alert.name, incident);
    if (again) return;
    logRaised(services, incident);
    notifyUnstored(services, incident);
  }
}

/** What a stored incident takes over from one that this instance has already notified. */
function carriedOver(unstored: Incident | null, count: number): Partial<Incident> {
  if (!unstored) return {};
  const { openedAt } = unstored;
  return { openedAt, count: unstored.count + count, notifiedAt: openedAt };
}

/**
 * Resolves the incident of `name`, and notifies if it was open. One read when it
 * was not. Never throws: while the store does not answer, nothing changes.
 */
export async function resolveAlert(services: AlertServices, name: string): Promise<void> {
  const { store, alerts, log } = services;
  try {
    await alerts.sighting(name).committing;
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

/** @returns Whether this call resolved it. */
async function resolveStored(
  services: AlertServices,
  name: string,
  isDue: (found: Incident, now: number) => boolean,
): Promise<boolean> {
  const sighting = services.alerts.sighting(name);
  const { count } = sighting;
  const updated = await updateIncident(services, name, (found, now) => {
    if (!found || !isOpen(found, now) || !isDue(found, now)) return null;
    return resolved({ ...found, count: found.count + count }, now);
  });
  if (!updated) return false;
  sighting.count -= count;
  if (updated.incident.resolvedAt === null) return false;
  logResolved(services, updated.incident);
  notify(services, updated.incident);
  return true;
}

function resolveUnstored(services: AlertServices, found: Incident): void {
  const { alerts, clock } = services;
  const incident = { ...found, resolvedAt: isoTime(clock()) };
  alerts.unstored.delete(found.name);
  logResolved(services, incident);
  notifyUnstored(services, incident);
}

/** What {@linkcode settleAlerts} did. */
export interface SettleResult {
  /** Incidents that were quiet for long enough. */
  resolved: number;
  /** Notifications that another instance did not finish. */
  notified: number;
}

/**
 * Resolves incidents that have been quiet for long enough, and sends notifications
 * that are overdue. To be called every minute; one listing when nothing is due.
 *
 * @throws {AppError} `unavailable` while the store does not answer
 */
export async function settleAlerts(services: AlertServices): Promise<SettleResult> {
  const { clock, alerts } = services;
  const incidents = await readIncidents(services);
  const result: SettleResult = { resolved: 0, notified: 0 };
  for (const found of incidents) {
    if (isQuiet(found, clock()) && await resolveStored(services, found.name, isQuiet)) {
      alerts.unstored.delete(found.name);
      result.resolved++;
    } else if (
      isNotificationDue(found, clock()) && !alerts.isFull && await notifyOverdue(services, found)
    ) {
      result.notified++;
    }
  }
  for (const unstored of [...alerts.unstored.values()]) {
    const isStored = incidents.some((one) => one.name === unstored.name && isOpen(one, clock()));
    if (isStored) alerts.unstored.delete(unstored.name);
    else if (isQuiet(unstored, clock())) {
      resolveUnstored(services, unstored);
      result.resolved++;
    }
  }
  return result;
}

/** Takes over an overdue notification and sends it. @returns Whether this call sends it. */
async function notifyOverdue(services: AlertServices, { name }: Incident): Promise<boolean> {
  // The commit seemed to fail, so this instance has already notified as for an unstored one.
  const isNotified = services.alerts.unstored.has(name);
  const updated = await updateIncident(services, name, (found, now) => {
    if (!found || !isNotificationDue(found, now)) return null;
    return isNotified
      ? { ...found, notifiedAt: isoTime(now) }
      : { ...found, notifyingUntil: now + NOTIFY_MS };
  });
  if (!updated || isNotified) return false;
  notify(services, updated.incident);
  return true;
}

/** Incidents that are open or were in the last 30 days. @throws {AppError} `unavailable` */
export async function listIncidents(services: AlertServices): Promise<Incident[]> {
  const incidents = await readIncidents(services);
  return incidents.filter(({ exp }) => exp > services.clock());
}

async function readIncidents({ store }: AlertServices): Promise<Incident[]> {
  const listed = await store.list(keys.incidents, { limit: INCIDENTS_MAX });
  return listed.map(({ value }) => incidentOf(value));
}

/** Notifies in the background, records that, and leaves what a channel did not take to the outbox. */
function notify(services: AlertServices, incident: Incident): void {
  const { alerts, log, clock } = services;
  // The notification stays due, and settleAlerts() sends it later.
  if (alerts.isFull) return;
  alerts.inBackground(async () => {
    const notification = notificationOf(incident);
    const channels = await alerts.notify(notification);
    const id = newId(clock());
    const markNotified = (found: Incident | null, now: number) => {
      const isSame = found?.openedAt === incident.openedAt &&
        found.resolvedAt === incident.resolvedAt;
      return isSame ? { ...found, notifiedAt: isoTime(now) } : null;
    };
    await updateIncident(
      services,
      incident.name,
      markNotified,
      (writes, now) => putAlertMessages(writes, { id, notification, channels }, now),
    ).catch((error) => log.warn("alert.not_stored", { error }));
  });
}

/** Notifies in the background of an incident that the store could not take. */
function notifyUnstored({ alerts }: AlertServices, incident: Incident): void {
  alerts.inBackground(async () => void await alerts.notify(notificationOf(incident)));
}

function logRaised({ log }: AlertServices, { name, severity, title, detail }: Incident): void {
  log.error("alert.raised", { incident: name, severity, title, detail });
}

function logResolved({ log }: AlertServices, incident: Incident): void {
  const { durationMs, count } = notificationOf(incident);
  log.info("alert.resolved", { incident: incident.name, durationMs, count });
}

/**
 * Updates one incident. One read, and one commit unless nothing changes.
 *
 * @param next Returns the new incident, or null for no change, given the stored one
 * that has not expired. Pure.
 * @param also Writes what belongs in the same commit.
 * @returns null when nothing changed
 */
async function updateIncident(
  services: AlertServices,
  name: string,
  next: (found: Incident | null, now: number) => Incident | null,
  also: (writes: Writes, now: number) => void = () => {},
): Promise<{ before: Incident | null; incident: Incident } | null> {
  const now = services.clock();
  const caller = { actor: "job:alerts" as const, requestId: newId(now), idempotencyKey: null };
  const operation = operationOf(caller, "incident", null, { now, keepMs: RECEIPT_KEEP_MS });
  return await transact(services, { found: keys.incident(name) }, ({ found }, writes) => {
    const before = found && found.exp > now ? incidentOf(found) : null;
    const incident = next(before, now);
    if (incident === null) return null;
    writes.set(keys.incident(name), incident, { expireIn: incident.exp - now });
    also(writes, now);
    return { before, incident };
  }, { operation });
}
