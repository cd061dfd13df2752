/**
 * The alarms of backups: log events that are also alerts to people.
 *
 * @module
 */
import { raiseAlert, resolveAlert, type Severity } from "../alerts/mod.ts";
import * as keys from "../kv/keys.ts";
import type { BackupServices } from "./needs.ts";

/** The name of the log event and of the incident. */
export type Alarm =
  | "log.unshipped"
  | "log.broken"
  | "log.segment_missing"
  | "backup.unexplained"
  | "backup.inconsistent"
  | "backup.damaged"
  | "backup.given_up"
  | "backup.unreadable"
  | "backup.not_restorable";

const ALARMS: Record<Alarm, { severity: Severity; title: string }> = {
  "log.unshipped": {
    severity: "critical",
    title: "Commits have not been shipped to the storage for a day",
  },
  "log.broken": {
    severity: "critical",
    title: "The shipped log has a gap: no moment after the newest backup can be restored",
  },
  "log.segment_missing": {
    severity: "warning",
    title: "A segment of the shipped log was missing and is shipped again",
  },
  "backup.unexplained": {
    severity: "critical",
    title: "The store was changed without an entry in the commit log",
  },
  "backup.inconsistent": {
    severity: "critical",
    title: "A backup has entries that the commit log does not explain",
  },
  "backup.damaged": {
    severity: "critical",
    title: "The newest backup is incomplete in the storage",
  },
  "backup.given_up": {
    severity: "warning",
    title: "A backup was not finished in time; a new one was started",
  },
  "backup.unreadable": {
    severity: "critical",
    title: "A backup in the storage cannot be read",
  },
  "backup.not_restorable": {
    severity: "critical",
    title: "The newest backup cannot be restored",
  },
};

/** Logs an error each time, and alerts people once. Never throws. */
export async function raiseAlarm(
  services: BackupServices,
  name: Alarm,
  fields: Readonly<Record<string, unknown>>,
): Promise<void> {
  services.log.error(name, { ...fields });
  const detail = Object.entries(fields).map(([field, value]) => `${field}: ${textOf(value)}`);
  const alert = { name, ...ALARMS[name], detail: detail.join(", "), quietMs: null };
  await raiseAlert(services, alert);
}

function textOf(value: unknown): string {
  return value instanceof Error ? value.message : String(value);
}

/** Resolves the alerts of these alarms. One read if none is open. Never throws. */
export async function resolveAlarms(services: BackupServices, ...names: Alarm[]): Promise<void> {
  const { store, alerts, log } = services;
  try {
    const incidents = await store.getMany(names.map(keys.incident));
    for (const [i, name] of names.entries()) {
      const isOpen = incidents[i]?.resolvedAt === null || alerts.unstored.has(name);
      if (isOpen) await resolveAlert(services, name);
    }
  } catch (error) {
    log.warn("alert.not_resolved", { error });
  }
}
