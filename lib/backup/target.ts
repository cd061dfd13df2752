/**
 * The target of a restore: a backup, and a part of the log after it.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { isoTime } from "../time.ts";
import { isStamp } from "./journal.ts";
import { isBackupId, listBackupIds, listBackups, type Manifest, readManifest } from "./manifest.ts";
import type { BackupServices } from "./needs.ts";

/** The end of the log to replay. */
export type Until =
  /** The state of the backup, without later log. */
  | { kind: "base" }
  /** The end of the log. */
  | { kind: "end" }
  /** Before the first commit after this time, in milliseconds UTC. */
  | { kind: "time"; at: number }
  /** After the commit with this versionstamp. */
  | { kind: "stamp"; stamp: string };

/** A backup and the log to replay. */
export interface RestorePlan {
  /** The backup to start with. */
  manifest: Manifest;
  /** The end of the log to replay. */
  until: Until;
}

/** Whether to replay a commit after the backup; the first excluded commit ends the replay. */
export function isIncluded(commit: { stamp: string; at: number }, until: Until): boolean {
  switch (until.kind) {
    case "base":
      return false;
    case "end":
      return true;
    case "time":
      return commit.at <= until.at;
    case "stamp":
      return commit.stamp <= until.stamp;
    default:
      return until satisfies never;
  }
}

/**
 * Resolves a target to a plan.
 *
 * @param backupId The backup that a stopped restore started with.
 * @throws {AppError} `malformed`; `not_found` if the backup does not exist, or none
 * is old enough; `conflict`, naming the backup, if it is unreadable, as an older one
 * would give another state; or if `latest` is ambiguous between two stores
 */
export async function resolveTarget(
  services: BackupServices,
  target: string,
  backupId?: string,
): Promise<RestorePlan> {
  if (isBackupId(target)) {
    return { manifest: await readManifest(services, target), until: { kind: "base" } };
  }
  const until = untilOf(target, services.clock());
  if (backupId !== undefined) return { manifest: await readManifest(services, backupId), until };
  let epoch: string | undefined;
  for (const id of await listBackupIds(services)) {
    const manifest = await readManifest(services, id);
    // A backup of a replaced store is restored by its id only.
    if (manifest.isBeforeRestore) continue;
    epoch ??= manifest.epoch;
    if (until.kind === "time" && Date.parse(manifest.pointInTime) > until.at) continue;
    // Versionstamps of different databases cannot be compared.
    if (until.kind === "stamp" && (manifest.epoch !== epoch || manifest.v1 > until.stamp)) continue;
    if (until.kind === "end") await expectOneStore(services, manifest);
    return { manifest, until };
  }
  throw new AppError(
    "not_found",
    target === "latest" ? "There is no backup yet" : `There is no backup before ${target}`,
  );
}

/**
 * If a store is lost and the server starts and backs up a new one, the newest
 * backup is not the right one. @throws {AppError} `conflict`, naming the alternatives
 */
async function expectOneStore(services: BackupServices, newest: Manifest): Promise<void> {
  const regular = (await listBackups(services)).filter((backup) => !backup.isBeforeRestore);
  const first = regular.find(({ epoch, isFirst }) => epoch === newest.epoch && isFirst);
  if (!first || !regular.some(({ pointInTime }) => pointInTime < first.pointInTime)) return;
  const before = isoTime(Date.parse(first.startedAt) - 1);
  throw new AppError(
    "conflict",
    `The backups are of two stores, and the newest is of the later one. Restore ${before} ` +
      `for the earlier store with all of its log, or ${newest.id} for the later one`,
  );
}

function untilOf(target: string, now: number): Until {
  if (target === "latest") return { kind: "end" };
  if (isStamp(target)) return { kind: "stamp", stamp: target };
  const at = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/.test(target)
    ? Date.parse(target)
    : NaN;
  if (Number.isNaN(at)) {
    throw new AppError(
      "malformed",
      `${
        JSON.stringify(target)
      } is not a backup id, "latest", a versionstamp or a time such as 2026-11-30T12:00:00Z`,
    );
  }
  if (at > now) throw new AppError("malformed", `${target} is in the future`);
  return { kind: "time", at };
}
