/**
 * Takes a backup of a store that is in use.
 *
 * A listing of a live store shows different keys at different moments, so a copy
 * made by listing is of a state that never existed. Therefore the log of the scan
 * is stored with the copy, and replayed over it:
 *
 * 1. A marker is committed; its versionstamp is V0.
 * 2. Every durable entry is listed, in as much time as it takes.
 * 3. A marker is committed; its versionstamp is V1.
 * 4. The log of the commits after V0 up to V1 is copied.
 *
 * Proof that the replay gives exactly the state at V1. Versionstamps order the
 * commits, and a read sees precisely the commits up to some versionstamp, including
 * all that were acknowledged before it. Each key was therefore read at some R with
 * V0 ≤ R < V1: the marker V0 was acknowledged before the first read, and V1 was
 * sent after the last. Take any key. If no commit in (V0, V1] changed it, the value
 * that was read is its value at V0, at R and at V1. Otherwise the log has all of
 * those commits with their values, and the last of them is the value at V1,
 * whatever was read at R. So each key is right; and since V1 is one moment for all
 * keys, and each commit is up to V1 with all of its keys or with none, no
 * transaction is cut. The same holds for any later V with the log up to it, so
 * every moment after a backup can be restored.
 *
 * The proof needs every change of a durable key in the log. `transact()` writes it
 * there in the same atomic operation. Any other write would show: an entry whose
 * revision is after V0 must be in the log at that revision. Each of them is looked
 * up; a missing one raises an alarm and is counted in the manifest.
 *
 * A run may stop at any point. Every stored part is recorded in the store together
 * with the position of the scan, and the next run continues there; keys may be read
 * hours apart.
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

/** The progress of a backup. */
export interface BackupProgress {
  /** The current phase. */
  phase: BackupRun["phase"];
  /** Entries scanned so far. */
  entries: number;
  /** Objects read back so far; 0 before the phase `check`. */
  checked: number;
  /** Objects to read back; 0 before the phase `check`. */
  toCheck: number;
}

/** Options for {@linkcode takeBackup}. */
export interface TakeOptions {
  /** Pauses after about this many milliseconds; unlimited if absent. */
  budgetMs?: number;
  /** Whether a restore is about to replace the store; an unfinished backup becomes such a one. */
  isBeforeRestore?: boolean;
  /** Stops the backup, which can be resumed. */
  signal?: AbortSignal;
  /** Called after each page and part. */
  onProgress?: (progress: BackupProgress) => void;
}

/** The result of {@linkcode takeBackup}. */
export type TakeResult =
  | { status: "taken"; manifest: Manifest }
  /** The time is up: call again to continue. */
  | { status: "unfinished"; id: string; phase: BackupRun["phase"]; entries: number };

/** The age at which an unfinished run is abandoned and a new one begins. */
const RUN_MAX_MS = 2 * DAY_MS;

interface Taking {
  services: BackupServices;
  run: BackupRun;
  options: TakeOptions;
  isOver: () => boolean;
}

/**
 * Takes a backup, or continues the unfinished one. A backup exists once it has been
 * read back from the storage and its manifest is stored.
 *
 * Memory for two objects and, while reading back, 150,000 keys of the log.
 *
 * @throws {AppError} `stale_revision` if another instance is taking it; `conflict`,
 * naming the object, if one is not stored as it was sent: the next call begins a
 * new backup; `unavailable`, and what the storage throws: the next call continues.
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

/** Whether a backup is unfinished; its instance may have stopped. One read. */
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
    const hasSamePurpose = isBeforeRestore === (found.isBeforeRestore ?? false);
    if (isFresh && hasSamePurpose) return found;
    if (isFresh) {
      // The step stops its former owner from continuing it with the other purpose.
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

/** Whether the store has no record of a backup, neither its own nor one it was restored from. */
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
  // Before the marker, so that everything acknowledged by now is below it.
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
    throw new AppError("internal", `An entry of "${prefix}" has a value of an unsupported type`, {
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
  // The random suffix separates two instances at the same part, of which one wins.
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
  // An instance that lost its run must not complete a backup whose objects may be deleted.
  const run = taking.run = await stepRun(services, taking.run, {});
  const parts = await partsOf(services, run);
  const { prefixes, unexplained } = run.check!; // set by the phase `check`
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
  await reportFaults(services, manifest);
  // Unrecorded objects of instances that stopped or lost the run.
  const used = new Set([manifestName(id), ...parts.map(({ name }) => name)]);
  for await (const { key } of storage.list(`${BACKUPS}${id}/`)) {
    if (!used.has(key)) await storage.delete(key);
  }
  return manifest;
}

/** Raises the alarm of a backup with unexplained entries; resolves those of earlier backups. */
async function reportFaults(
  services: BackupServices,
  { id, unexplained }: Manifest,
): Promise<void> {
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
