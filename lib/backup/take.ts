/**
 * Taking a backup of a store that goes on working.
 *
 * A listing of a live store shows different keys at different moments, so a copy
 * made by listing is of a state that never was. Here the log of the meantime is
 * kept with the copy, and replayed over it:
 *
 * 1. A marker is committed; its versionstamp is V0.
 * 2. Every durable entry is listed, in as much time as it takes.
 * 3. A marker is committed; its versionstamp is V1.
 * 4. The log of the commits after V0 up to V1 is copied.
 *
 * Why replaying the log over the copy gives the state at V1 exactly, neither more
 * nor less. Versionstamps order the commits, and a read sees precisely the
 * commits up to some versionstamp, with all that were acknowledged before it.
 * Each key was therefore read at some R with V0 ≤ R < V1: the marker V0 was
 * acknowledged before the first read, and V1 was only sent after the last. Take
 * any key. If no commit in (V0, V1] changed it, what was read is its value at V0,
 * at R and at V1. Otherwise the log has all of those commits, with the value
 * that each left behind, and the last of them left what holds at V1, whatever
 * was read at R. So keys are right one by one; and since V1 is one moment for
 * all of them, and a commit is either up to V1 with all of its keys or with
 * none, no transaction is cut. Any later V serves as well as V1, given the log
 * up to it, which is what makes every moment after a backup restorable.
 *
 * The argument needs every change of a durable key to be in the log. `transact()`
 * puts it there in the same atomic. What went around it would show: an entry
 * whose revision is after V0 must be in the log at that very revision. Each one
 * is looked up, and one that is missing raises an alarm and stands in the
 * manifest.
 *
 * A run may be stopped anywhere. Every stored part is noted in the store
 * together with how far the scan had come, and the next run goes on from there;
 * it is no matter that keys are then read hours apart.
 *
 * @module
 */
import { sha256Hex } from "../digest.ts";
import { AppError } from "../errors.ts";
import type { BackupRun } from "../kv/backup_records.ts";
import { mark, scanAll } from "../kv/bulk.ts";
import * as keys from "../kv/keys.ts";
import { DAY_MS, isoTime } from "../time.ts";
import { raiseAlarm, resolveAlarms } from "./alarms.ts";
import { checkParts, newCheck } from "./check.ts";
import { readLog } from "./journal.ts";
import { commitLine, entryLine, keyOfText, keyToText } from "./lines.ts";
import {
  BACKUPS,
  type Manifest,
  manifestName,
  newBackupId,
  randomHex,
  writeManifest,
} from "./manifest.ts";
import { keyIdOf, type ObjectKind, ObjectWriter } from "./object.ts";
import { type BackupServices, throwIfAborted } from "./needs.ts";
import { beginRun, currentRun, endRun, logState, partsOf, stepRun } from "./state.ts";

/** How far a backup is. */
export interface BackupProgress {
  /** What it is at. */
  phase: BackupRun["phase"];
  /** Entries scanned so far. */
  entries: number;
  /** Objects read back, and of how many; both 0 before that. */
  checked: number;
  /** Objects to read back. */
  toCheck: number;
}

/** Options for {@linkcode takeBackup}. */
export interface TakeOptions {
  /** Pauses after about so many milliseconds; to the end when absent. */
  budgetMs?: number;
  /** Says that a restore is about to replace the store; what was begun becomes such a backup. */
  isBeforeRestore?: boolean;
  /** Ends it where it is; it can be resumed. */
  signal?: AbortSignal;
  /** Is told after each page and part. */
  onProgress?: (progress: BackupProgress) => void;
}

/** What became of a backup. */
export type TakeResult =
  | { status: "taken"; manifest: Manifest }
  /** Time was up: call again to go on. */
  | { status: "unfinished"; id: string; phase: BackupRun["phase"]; entries: number };

/** A run that does not get to its end in this time is given up, and a new one begun. */
const RUN_MAX_MS = 2 * DAY_MS;

interface Taking {
  services: BackupServices;
  run: BackupRun;
  options: TakeOptions;
  isOver: () => boolean;
}

/**
 * Takes a backup, or goes on with the one that was begun. It counts once it has
 * been read back from the storage and its manifest is there, not before.
 *
 * Memory for two objects and, for reading it back, 150,000 keys of the log.
 *
 * @throws {AppError} `stale_revision` if another instance takes it at this moment;
 * `conflict`, naming the object, if one is not stored as it was sent, and then the
 * next call begins anew; `unavailable`, and what the storage throws, after which
 * the next call goes on.
 */
export async function takeBackup(
  services: BackupServices,
  options: TakeOptions = {},
): Promise<TakeResult> {
  const endsAt = performance.now() + (options.budgetMs ?? Infinity);
  const isOver = () => performance.now() >= endsAt;
  const taking: Taking = { services, run: await resumeOrBegin(services, options), options, isOver };
  for (;;) {
    throwIfAborted(options.signal);
    const { phase } = taking.run;
    if (phase === "manifest") return { status: "taken", manifest: await finish(taking) };
    if (phase === "scan") await scan(taking);
    else if (phase === "log") await copyLog(taking);
    else await readBack(taking);
    const { id, entries } = taking.run;
    const isReady = taking.run.phase === "manifest";
    if (isOver() && !isReady) {
      return { status: "unfinished", id, phase: taking.run.phase, entries };
    }
  }
}

/** Whether a backup is being taken, perhaps by an instance that was stopped. */
export async function isBackupUnderWay(services: BackupServices): Promise<boolean> {
  return await currentRun(services) !== null;
}

async function resumeOrBegin(
  services: BackupServices,
  { isBeforeRestore = false }: TakeOptions,
): Promise<BackupRun> {
  const { clock, kv } = services;
  const { epoch } = await logState(services);
  const found = await currentRun(services);
  const now = clock();
  if (found) {
    const isFresh = now - Date.parse(found.startedAt) < RUN_MAX_MS && found.epoch === epoch;
    const { isBeforeRestore: _, ...run } = found;
    const isAsked = isBeforeRestore === (found.isBeforeRestore ?? false);
    if (isFresh && isAsked) return found;
    if (isFresh) {
      // Of somebody else, who may not go on with it as it was.
      return await stepRun(services, isBeforeRestore ? { ...run, isBeforeRestore } : run, {});
    }
    await raiseAlarm(services, "backup.given_up", { backupId: found.id, phase: found.phase });
    await endRun(services, found);
  }
  return await beginRun(services, {
    id: newBackupId(now),
    epoch,
    ...(isBeforeRestore ? { isBeforeRestore } : {}),
    ...(await isFirst(services) ? { isFirst: true } : {}),
    step: 0,
    startedAt: isoTime(now),
    v0: await mark(kv, now),
    phase: "scan",
    scanned: null,
    entries: 0,
    parts: 0,
    v1: null,
    pointInTime: null,
    logged: "",
    check: null,
  });
}

/** Whether the store knows of no backup, neither of itself nor one that it was restored from. */
async function isFirst({ store }: BackupServices): Promise<boolean> {
  const known = await Promise.all([
    store.list(keys.backups, { limit: 1 }),
    store.list(keys.restoreProofs, { limit: 1 }),
  ]);
  return known.every((entries) => entries.length === 0);
}

async function scan(taking: Taking): Promise<void> {
  const { services, options, isOver } = taking;
  const { v0, scanned } = taking.run;
  let writer = new ObjectWriter();
  const after = scanned === null ? null : keyOfText(scanned);
  let last: Deno.KvKey | null = null;
  const store = async () => {
    if (!last || writer.isEmpty) return;
    const fields = {
      scanned: keyToText(last),
      entries: taking.run.entries + writer.entries,
    };
    await storePart(taking, writer, "base", fields);
    writer = new ObjectWriter();
  };
  for await (const page of scanAll(services.kv, keys.isDurable, after)) {
    throwIfAborted(options.signal);
    for (const { key, value, versionstamp } of page) {
      const stamp = versionstamp > v0 ? versionstamp : null;
      writer.add(lineOf({ key, value, versionstamp: stamp, expireAt: null }));
      writer.entries++;
      last = key;
      if (writer.isFull) await store();
    }
    report(taking, writer.entries);
    if (!isOver()) continue;
    await store();
    return;
  }
  await store();
  // Before the marker: what was acknowledged by now is below it.
  const now = services.clock();
  taking.run = await stepRun(services, taking.run, {
    phase: "log",
    pointInTime: isoTime(now),
    v1: await mark(services.kv, now),
    logged: v0,
  });
}

function lineOf(entry: Parameters<typeof entryLine>[0]): Uint8Array {
  try {
    return entryLine(entry);
  } catch (cause) {
    const prefix = String(entry.key[0]);
    throw new AppError("internal", `An entry of "${prefix}" has a value that no backup holds`, {
      cause,
    });
  }
}

async function copyLog(taking: Taking): Promise<void> {
  const { services, options, isOver } = taking;
  const { v1, logged } = taking.run;
  let writer = new ObjectWriter();
  let last = logged;
  const store = async () => {
    if (writer.isEmpty) return;
    await storePart(taking, writer, "log", { logged: last });
    writer = new ObjectWriter();
  };
  for await (const commits of readLog(services.kv, logged, { until: v1! })) {
    throwIfAborted(options.signal);
    for (const { stamp, at, lines } of commits) {
      writer.add(commitLine({ stamp, at, entries: lines.length }));
      for (const line of lines) writer.add(line);
      writer.entries += lines.length;
      last = stamp;
      if (writer.isFull) await store();
    }
    report(taking, 0);
    if (!isOver()) continue;
    await store();
    return;
  }
  await store();
  taking.run = await stepRun(services, taking.run, { phase: "check" });
}

async function storePart(
  taking: Taking,
  writer: ObjectWriter,
  kind: ObjectKind,
  fields: Partial<BackupRun>,
): Promise<void> {
  const { services, run } = taking;
  const index = run.parts;
  // Not by the index alone: of two instances at the same part, one is right.
  const name = `${BACKUPS}${run.id}/${kind}-${String(index).padStart(5, "0")}-${randomHex()}.gz`;
  const bytes = await writer.finish(name, kind, services.config.backupEncryptionKey);
  const sha256 = sha256Hex(bytes);
  await services.storage.put(name, bytes, { sha256 });
  const part = {
    name,
    kind,
    entries: writer.entries,
    bytes: bytes.length,
    rawBytes: writer.rawBytes,
    sha256,
  };
  taking.run = await stepRun(services, run, { ...fields, parts: index + 1 }, (writes) => {
    writes.set(keys.backupPart(run.id, index), part);
  });
}

async function readBack(taking: Taking): Promise<void> {
  const { services, options, isOver } = taking;
  const parts = await partsOf(services, taking.run);
  const { isDone } = await checkParts(services, parts, taking.run.check ?? newCheck(parts), {
    isOver,
    signal: options.signal,
    onProgress: (checked, toCheck) => report(taking, 0, { checked, toCheck }),
    save: async (check) => {
      taking.run = await stepRun(services, taking.run, { check });
    },
  }).catch(async (error) => {
    if (error instanceof AppError && error.kind === "conflict") await endRun(services, taking.run);
    throw error;
  });
  if (isDone) taking.run = await stepRun(services, taking.run, { phase: "manifest" });
}

async function finish(taking: Taking): Promise<Manifest> {
  const { services } = taking;
  const { clock, config, storage } = services;
  // Whoever has been outrun must not make a backup of what may be gone by now.
  const run = taking.run = await stepRun(services, taking.run, {});
  const parts = await partsOf(services, run);
  const { prefixes, unexplained } = run.check!; // the phase before made it
  const verifiedAt = clock();
  const manifest = await writeManifest(services, {
    id: run.id,
    epoch: run.epoch,
    ...(run.isBeforeRestore ? { isBeforeRestore: true } : {}),
    ...(run.isFirst ? { isFirst: true } : {}),
    appVersion: config.appVersion,
    startedAt: run.startedAt,
    pointInTime: run.pointInTime!,
    verifiedAt: isoTime(verifiedAt),
    v0: run.v0,
    v1: run.v1!,
    keyId: config.backupEncryptionKey ? keyIdOf(config.backupEncryptionKey) : null,
    parts,
    prefixes,
    entries: Object.values(prefixes).reduce((sum, { entries }) => sum + entries, 0),
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    unexplained,
  });
  const { id, pointInTime, entries, bytes } = manifest;
  const durationMs = verifiedAt - Date.parse(run.startedAt);
  await endRun(services, run, (writes) => {
    writes.set(keys.backup(id), {
      id,
      pointInTime,
      verifiedAt: manifest.verifiedAt,
      entries,
      bytes,
      durationMs,
    });
    writes.set(keys.newestBackup, { id, epoch: run.epoch, pointInTime });
  });
  await tellHow(services, manifest);
  // What a stopped or outrun instance stored, and nobody noted.
  const wanted = new Set([manifestName(id), ...parts.map(({ name }) => name)]);
  for await (const { key } of storage.list(`${BACKUPS}${id}/`)) {
    if (!wanted.has(key)) await storage.delete(key);
  }
  return manifest;
}

/** Says what is wrong with a backup, or that what was wrong with earlier ones is over. */
async function tellHow(services: BackupServices, { id, unexplained }: Manifest): Promise<void> {
  await resolveAlarms(services, "backup.given_up", "log.broken");
  if (unexplained === 0) await resolveAlarms(services, "backup.unexplained", "backup.inconsistent");
  else await raiseAlarm(services, "backup.inconsistent", { backupId: id, unexplained });
}

function report(
  { options, run }: Taking,
  waiting: number,
  { checked, toCheck } = { checked: 0, toCheck: 0 },
): void {
  options.onProgress?.({ phase: run.phase, entries: run.entries + waiting, checked, toCheck });
}
