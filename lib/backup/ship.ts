/**
 * Ships the log: every durable commit reaches the storage within a minute, so the
 * loss of the whole database loses at most one minute.
 *
 * Several instances may ship concurrently, and each may stop at any point: segments
 * agree where they overlap (`journal.ts`), and the position in the store only
 * advances after the segment was read back from the storage.
 *
 * @module
 */
import type { LogPosition } from "../kv/backup_records.ts";
import { prune } from "../kv/bulk.ts";
import { sha256Hex } from "../digest.ts";
import { DAY_MS, HOUR_MS, isoTime, MINUTE_MS } from "../time.ts";
import { raiseAlarm, resolveAlarms } from "./alarms.ts";
import { listSegments, readLog, segmentName, STAMP_ZERO } from "./journal.ts";
import { commitLine } from "./lines.ts";
import { ObjectWriter, readObject } from "./object.ts";
import { type BackupServices, throwIfAborted } from "./needs.ts";
import { advanceLog, breakLog, currentRun, logState, rewindLog } from "./state.ts";

/** The result of {@linkcode shipLog}. */
export interface ShipReport {
  /** Shipped commits. */
  commits: number;
  /** Shipped objects. */
  objects: number;
  /** Commits that were deleted from the store, as they were shipped long ago. */
  pruned: number;
  /** The last commit in the storage. */
  stamp: string;
  /** The age of the oldest commit that had to be shipped, in milliseconds; 0 for none. */
  lagMs: number;
}

/** How long shipped log stays in the store, in case the storage loses a segment. */
const KEEP_MS = 2 * DAY_MS;
/** The age of unshipped log that raises an alarm. */
const ALARM_MS = DAY_MS;
/** Below the seven days after which log in the store expires: older log may be lost unshipped. */
const BROKEN_MS = 7 * DAY_MS - 12 * HOUR_MS;
/** The interval at which the position is confirmed when there is nothing to ship. */
const CONFIRM_MS = 10 * MINUTE_MS;
/** Commits deleted at once. */
const PRUNE_PAGE = 100;

/**
 * Ships new commits, then deletes from the store those that are two days old and
 * that no current backup needs.
 *
 * Without new commits: four reads of the store and one request to the storage.
 * Memory for one object.
 *
 * @throws {AppError} `unavailable`, and what the storage throws: then call again
 */
export async function shipLog(
  services: BackupServices,
  { signal }: { signal?: AbortSignal } = {},
): Promise<ShipReport> {
  const { clock } = services;
  const report: ShipReport = { commits: 0, objects: 0, pruned: 0, stamp: "", lagMs: 0 };
  let { epoch, position } = await logState(services);
  if (clock() - position.at > BROKEN_MS) {
    const shippedAt = isoTime(position.at);
    await raiseAlarm(services, "log.broken", { epoch, shippedAt, reason: "not shipped" });
    await breakLog(services, epoch);
    ({ epoch, position } = await logState(services));
  }
  const kept = await confirmed(services, epoch, position);
  const isMissing = kept.stamp !== position.stamp;
  position = kept;
  report.stamp = position.stamp;

  let writer = new ObjectWriter();
  let last = position.stamp;
  for await (const commits of readLog(services.kv, position.stamp)) {
    throwIfAborted(signal);
    if (report.lagMs === 0 && commits[0]) report.lagMs = await checkLag(services, commits[0].at);
    for (const { stamp, at, lines } of commits) {
      writer.add(commitLine({ stamp, at, entries: lines.length }));
      for (const line of lines) writer.add(line);
      writer.entries += lines.length;
      last = stamp;
      report.commits++;
      if (!writer.isFull) continue;
      await ship(services, epoch, report, writer, last);
      writer = new ObjectWriter();
    }
  }
  if (!writer.isEmpty) await ship(services, epoch, report, writer, last);
  else if (clock() - position.at > CONFIRM_MS) {
    await advanceLog(services, epoch, { stamp: report.stamp });
  }
  report.pruned = await pruneLog(services, epoch, report.stamp, signal);
  // Everything is in the storage now.
  await resolveAlarms(
    services,
    "log.unshipped",
    ...(isMissing ? [] : ["log.segment_missing"] as const),
  );
  return report;
}

/** The age of an unshipped commit; raises an alarm if it is above the limit. */
async function checkLag(services: BackupServices, at: number): Promise<number> {
  const lagMs = Math.max(services.clock() - at, 0);
  if (lagMs > ALARM_MS) await raiseAlarm(services, "log.unshipped", { since: isoTime(at), lagMs });
  return lagMs;
}

async function ship(
  services: BackupServices,
  epoch: string,
  report: ShipReport,
  writer: ObjectWriter,
  to: string,
): Promise<void> {
  const { storage, config } = services;
  const name = segmentName(epoch, report.stamp, to);
  const bytes = await writer.finish(name, "log", config.backupEncryptionKey);
  try {
    await storage.put(name, bytes, { sha256: sha256Hex(bytes) });
    const expected = { name, kind: "log", bytes: bytes.length, sha256: sha256Hex(bytes) } as const;
    await readObject(storage, expected, config.backupEncryptionKey);
  } catch (error) {
    await storage.delete(name).catch(() => {}); // readers detect a damaged copy
    throw error;
  }
  await advanceLog(services, epoch, { stamp: to, name });
  report.objects++;
  report.stamp = to;
}

/**
 * The position, if its segment is in the storage; else the end of the last segment
 * before it that is. If the store no longer has the log from there on, that log is
 * lost, and a new epoch begins.
 */
async function confirmed(
  services: BackupServices,
  epoch: string,
  position: LogPosition,
): Promise<LogPosition> {
  const { storage } = services;
  if (position.name === null || await storage.head(position.name)) return position;
  await raiseAlarm(services, "log.segment_missing", { name: position.name });
  let best: { stamp: string; name: string | null } = { stamp: STAMP_ZERO, name: null };
  for (const { to, name } of await listSegments(storage, epoch)) {
    if (to > best.stamp && to <= position.stamp) best = { stamp: to, name };
  }
  if (best.stamp < position.pruned) {
    const reason = "a segment is missing, and its log is gone";
    await raiseAlarm(services, "log.broken", { epoch, reason });
    await breakLog(services, epoch);
  } else {
    await rewindLog(services, epoch, position, best);
  }
  return (await logState(services)).position;
}

async function pruneLog(
  services: BackupServices,
  epoch: string,
  shipped: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { kv, clock } = services;
  const before = clock() - KEEP_MS;
  const [oldest] = await firstCommit(services);
  if (!oldest || oldest.at >= before) return 0;
  const run = await currentRun(services);
  const until = run && run.v0 < shipped ? run.v0 : shipped;
  let pruned = 0;
  for await (const commits of readLog(kv, STAMP_ZERO, { until, limit: PRUNE_PAGE })) {
    throwIfAborted(signal);
    const firstKept = commits.findIndex(({ at }) => at >= before);
    const old = firstKept === -1 ? commits : commits.slice(0, firstKept);
    const last = old.at(-1);
    if (!last) break;
    // Before the deletion: the position must never claim log that may be deleted.
    await advanceLog(services, epoch, { stamp: shipped, pruned: last.stamp });
    await prune(kv, old.flatMap(({ keys }) => keys));
    pruned += old.length;
    if (firstKept !== -1) break;
  }
  return pruned;
}

async function firstCommit({ kv }: BackupServices) {
  for await (const commits of readLog(kv, STAMP_ZERO, { limit: 1 })) return commits;
  return [];
}
