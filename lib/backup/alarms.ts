/**
 * What is told to people when it goes wrong with backups, and when that is over.
 *
 * @module
 */
import { raiseAlert, resolveAlert, type Severity } from "../alerts/mod.ts";
import * as keys from "../kv/keys.ts";
import type { BackupServices } from "./needs.ts";

/** What can be wrong; the log and the incident have it as their name. */
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
    title: "The log of commits does not reach the storage",
  },
  "log.broken": {
    severity: "critical",
    title: "The stored log has a gap: no moment since the newest backup can be restored",
  },
  "log.segment_missing": {
    severity: "warning",
    title: "A stretch of the stored log was gone, and is stored again",
  },
  "backup.unexplained": {
    severity: "critical",
    title: "Something was written to the store without the log's knowledge",
  },
  "backup.inconsistent": {
    severity: "critical",
    title: "A backup has entries that the log does not explain",
  },
  "backup.damaged": {
    severity: "critical",
    title: "The newest backup is not whole in the storage",
  },
  "backup.given_up": {
    severity: "warning",
    title: "A backup did not get to its end, and another is begun",
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

/** Says that something is wrong: in the log each time, to people once. Never throws. */
export async function alarm(
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

/** Says that these are well. One read when none was wrong. Never throws. */
export async function calm(services: BackupServices, ...names: Alarm[]): Promise<void> {
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
