/**
 * What to restore: which backup, and how much of the log after it.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { isoTime } from "../time.ts";
import { isStamp } from "./journal.ts";
import { isBackupId, listBackupIds, listBackups, type Manifest, readManifest } from "./manifest.ts";
import type { BackupServices } from "./needs.ts";

/** Where to stop. */
export type Until =
  /** At the backup's own end. */
  | { kind: "base" }
  /** At the end of the log. */
  | { kind: "end" }
  /** Before the first commit that was made later, in milliseconds UTC. */
  | { kind: "time"; at: number }
  /** After the commit with this versionstamp. */
  | { kind: "stamp"; stamp: string };

/** What to restore. */
export interface RestorePlan {
  /** The backup that it begins with. */
  manifest: Manifest;
  /** How far to go on from there. */
  until: Until;
}

/** Whether a commit after the backup is to be replayed; after the first that is not, none is. */
export function isWanted(commit: { stamp: string; at: number }, until: Until): boolean {
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
 * Finds what `target` means.
 *
 * @param backupId The backup that a stopped restore has begun with.
 * @throws {AppError} `malformed`; `not_found` if there is no such backup, or none
 * as old; `conflict`, naming it, if the one that should be taken cannot be read:
 * an older one would be another state; or if it is not clear which store is wanted
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
    // What a restore was to replace is not what it is to bring back.
    if (manifest.isBeforeRestore) continue;
    epoch ??= manifest.epoch;
    if (until.kind === "time" && Date.parse(manifest.pointInTime) > until.at) continue;
    // Versionstamps of another database say nothing about this one's.
    if (until.kind === "stamp" && (manifest.epoch !== epoch || manifest.v1 > until.stamp)) continue;
    if (until.kind === "end") await expectOneStore(services, manifest);
    return { manifest, until };
  }
  throw new AppError(
    "not_found",
    target === "latest" ? "There is no backup" : `There is no backup from before ${target}`,
  );
}

/**
 * A store is lost, the server begins a new one and backs that up: from then on the
 * newest backup is not what anybody wants back. @throws {AppError} `conflict`, saying what to give instead
 */
async function expectOneStore(services: BackupServices, newest: Manifest): Promise<void> {
  const regular = (await listBackups(services)).filter((backup) => !backup.isBeforeRestore);
  const first = regular.find(({ epoch, isFirst }) => epoch === newest.epoch && isFirst);
  if (!first || !regular.some(({ pointInTime }) => pointInTime < first.pointInTime)) return;
  const before = isoTime(Date.parse(first.startedAt) - 1);
  throw new AppError(
    "conflict",
    `The newest backup is of a store that began anew when there were backups of another: ` +
      `give ${before} for the other and all of its log, or ${newest.id}`,
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
      } is no backup, not "latest", and no moment such as 2026-11-30T12:00:00Z`,
    );
  }
  if (at > now) throw new AppError("malformed", `${target} is yet to come`);
  return { kind: "time", at };
}
