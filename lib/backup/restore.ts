/**
 * Restores a backup, and the requested part of the log after it, into an empty
 * store.
 *
 * The progress is written together with the entries, so a restore can be killed at
 * any point and continues when called again. Until it is complete, the store has
 * `keys.restoring` and must not be served.
 *
 * A backup has no volatile entries: receipts and rate windows of a lost store mean
 * nothing in another. Versionstamps are new as well: a restored store is a new
 * epoch with a new log.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { RestoreProgress } from "../kv/backup_records.ts";
import { BulkWriter, isEmpty, scanAll, wipe } from "../kv/bulk.ts";
import * as keys from "../kv/keys.ts";
import { transact } from "../kv/mod.ts";
import { isoTime } from "../time.ts";
import { verifyBackup } from "./check.ts";
import { commitsOf, readShipped, type ShippedCommit } from "./journal.ts";
import { entryContent, type EntryLine, keyOfText, valueOf } from "./lines.ts";
import { type Manifest, manifestName } from "./manifest.ts";
import { expectKey, readObject } from "./object.ts";
import { type BackupServices, damaged, throwIfAborted } from "./needs.ts";
import { ownOperation, putProof } from "./state.ts";
import { countFindings, findingsProblem } from "./sweeping.ts";
import { takeBackup } from "./take.ts";
import { differenceOf, digestOf, prefixOf, Tally } from "./tally.ts";
import { isIncluded, resolveTarget, type RestorePlan } from "./target.ts";

/** The progress of a restore. */
export interface RestoreStep {
  /** The current phase. */
  phase: "backup" | RestoreProgress["phase"] | "sweep";
  /** Entries so far. */
  entries: number;
  /** The expected number of entries, approximately. */
  of: number;
}

/** Options for {@linkcode restore}. */
export interface RestoreOptions {
  /** Backs up a store that is not empty, then empties it. */
  overwrite?: boolean;
  /** Stops the restore, which can be resumed. */
  signal?: AbortSignal;
  /** Called about once per atomic write. */
  onProgress?: (step: RestoreStep) => void;
}

/** The result of a restore. */
export interface RestoreReport {
  /** The backup that was restored. */
  backupId: string;
  /** The store has everything acknowledged before; with the log, the time of the last commit. */
  pointInTime: string;
  /** The last restored commit, as a versionstamp of the lost store. */
  stamp: string;
  /** Whether the state is exactly that of the backup: then digests were compared and are equal. */
  isExact: boolean;
  /** Entries in the store, except volatile ones. */
  entries: number;
  /** The number of findings of the sweep. */
  findings: number;
  /** The measured recovery time, including pauses. */
  durationMs: number;
}

/** What was restored. */
export interface Restored {
  /** The time of the last commit of the log, milliseconds UTC; null if none was replayed. */
  lastAt: number | null;
  /** The last commit, as a versionstamp of the lost store. */
  stamp: string;
  /** Entries in the store. */
  entries: number;
}

/**
 * Restores the store, or resumes a stopped restore.
 *
 * @param target The id of a backup for exactly its state; `latest` for the newest
 * backup and all log since; a moment (ISO 8601) or a versionstamp for the state then.
 * @throws {AppError} `conflict` if the store is not empty, for an unfinished restore
 * of another target, or naming an unusable object; `not_found`; `malformed`;
 * `unavailable`, and what the storage throws: then call again.
 */
export async function restore(
  services: BackupServices,
  target: string,
  options: RestoreOptions = {},
): Promise<RestoreReport> {
  const { plan, writer } = await prepare(services, target, options);
  const { manifest } = plan;
  const restored = await restoreInto(services, plan, writer, options);
  options.onProgress?.({ phase: "sweep", entries: restored.entries, of: restored.entries });
  const findings = await countFindings(services, options.signal);
  const startedAt = writer.progress.startedAt;
  await writer.end();

  const now = services.clock();
  const report: RestoreReport = {
    backupId: manifest.id,
    pointInTime: restored.lastAt === null ? manifest.pointInTime : isoTime(restored.lastAt),
    stamp: restored.stamp,
    isExact: plan.until.kind === "base",
    entries: restored.entries,
    findings,
    durationMs: now - startedAt,
  };
  await transact(services, {}, (_, writes) => {
    putProof(writes, {
      at: isoTime(now),
      kind: "restore",
      backupId: manifest.id,
      pointInTime: report.pointInTime,
      isProven: findings === 0,
      problem: findingsProblem(findings),
      entries: restored.entries,
      findings,
      durationMs: report.durationMs,
    });
  }, { operation: ownOperation(services) });
  return report;
}

/** Whether a restore is unfinished: then the store must not be served. One read. */
export async function isRestoring({ store }: Pick<BackupServices, "store">): Promise<boolean> {
  return await store.get(keys.restoring) !== null;
}

async function prepare(
  services: BackupServices,
  target: string,
  options: RestoreOptions,
): Promise<{ plan: RestorePlan; writer: BulkWriter }> {
  const { kv, config, clock } = services;
  const { overwrite = false, signal } = options;
  const stopped = await BulkWriter.resume(kv);
  if (stopped?.progress.target === target) {
    const plan = await resolveTarget(services, target, stopped.progress.backupId);
    return { plan, writer: stopped };
  }
  if (stopped && !overwrite) {
    throw new AppError(
      "conflict",
      `A restore of ${stopped.progress.target} is unfinished: continue it, or overwrite the store`,
    );
  }
  const plan = await resolveTarget(services, target);
  const { id, keyId } = plan.manifest;
  expectKey(keyId, config.backupEncryptionKey, manifestName(id));
  const isFull = !stopped && !await isEmpty(kv);
  if (isFull && !overwrite) {
    throw new AppError("conflict", "The store is not empty: overwrite it, or name another store");
  }
  if (isFull || stopped) await verifyBackup(services, id, signal ? { signal } : {});
  if (isFull) await backUpFirst(services, options);
  const progress: RestoreProgress = {
    step: 0,
    by: "",
    backupId: id,
    target,
    phase: "wipe",
    part: 0,
    line: 0,
    stamp: "",
    entries: 0,
    startedAt: clock(),
  };
  if (!stopped) return { plan, writer: await BulkWriter.start(kv, progress) };
  const { step } = stopped.progress;
  stopped.reached({ ...progress, step });
  await stopped.flush();
  return { plan, writer: stopped };
}

/** Backs up the store that will be overwritten, in case it is the wrong one. */
async function backUpFirst(
  services: BackupServices,
  { signal, onProgress }: RestoreOptions,
): Promise<void> {
  await takeBackup(services, {
    isBeforeRestore: true,
    ...(signal ? { signal } : {}),
    onProgress: ({ entries }) => onProgress?.({ phase: "backup", entries, of: entries }),
  });
}

/**
 * Restores a plan into a store, from the position of the writer, and checks the
 * result.
 *
 * @throws what {@linkcode restore} throws
 */
export async function restoreInto(
  services: BackupServices,
  plan: RestorePlan,
  writer: BulkWriter,
  { signal, onProgress }: Pick<RestoreOptions, "signal" | "onProgress"> = {},
): Promise<Restored> {
  const { manifest } = plan;
  const report = () => {
    throwIfAborted(signal);
    const { phase, entries } = writer.progress;
    onProgress?.({ phase, entries, of: manifest.entries });
  };
  const take = async (line: EntryLine) => {
    const { expireAt, isDeletion } = line;
    const expireIn = expireAt === null ? undefined : expireAt - services.clock();
    const isGone = isDeletion || (expireIn !== undefined && expireIn <= 0);
    await writer.add({
      key: keyOfText(line.keyText),
      isDeletion: isGone,
      ...(isGone ? {} : { value: valueOf(line) }),
      ...(expireIn === undefined ? {} : { expireIn }),
    });
  };

  if (writer.progress.phase === "wipe") {
    report();
    await wipe(services.kv, writer);
    writer.reached({ phase: "base" });
  }
  if (writer.progress.phase === "base") await loadBase(services, manifest, writer, take, report);
  let lastAt: number | null = null;
  let stamp = manifest.v1;
  for await (const commit of logToReplay(services, plan)) {
    if (commit.stamp > manifest.v1) ({ at: lastAt, stamp } = commit);
    if (writer.progress.phase !== "log" || commit.stamp <= writer.progress.stamp) continue;
    for (const line of commit.entries) await take(line);
    const entries = writer.progress.entries + commit.entries.length;
    writer.reached({ stamp: commit.stamp, entries });
    report();
  }
  if (writer.progress.phase === "log") writer.reached({ phase: "check" });
  await writer.flush();
  report();
  return { lastAt, stamp, entries: await checkStore(services, plan) };
}

async function loadBase(
  { storage, config }: BackupServices,
  { parts }: Manifest,
  writer: BulkWriter,
  take: (line: EntryLine) => Promise<void>,
  report: () => void,
): Promise<void> {
  const base = parts.filter(({ kind }) => kind === "base");
  for (let i = writer.progress.part; i < base.length; i++) {
    const done = writer.progress.line;
    let line = 0;
    for (const entry of await readObject(storage, base[i]!, config.backupEncryptionKey)) {
      if (entry.kind !== "entry") throw damaged(base[i]!.name, "it has a commit among its entries");
      if (line++ < done) continue;
      await take(entry);
      writer.reached({ line, entries: writer.progress.entries + 1 });
      if (line % REPORT_LINES === 0) report();
    }
    writer.reached({ part: i + 1, line: 0 });
    report();
  }
  writer.reached({ phase: "log" });
}

/** The log of the scan, and the requested part of the shipped log. */
async function* logToReplay(
  services: BackupServices,
  { manifest, until }: RestorePlan,
): AsyncGenerator<ShippedCommit> {
  const { storage, config } = services;
  for (const part of manifest.parts.filter(({ kind }) => kind === "log")) {
    yield* commitsOf(await readObject(storage, part, config.backupEncryptionKey), part.name);
  }
  if (until.kind === "base") return;
  const last = until.kind === "stamp" ? until.stamp : undefined;
  for await (const commit of readShipped(services, manifest.epoch, manifest.v1, last)) {
    if (!isIncluded(commit, until)) return;
    yield commit;
  }
}

/** Counts the entries of the store and, if it must equal the backup, compares digests. */
async function checkStore(
  { kv }: BackupServices,
  { manifest, until }: RestorePlan,
): Promise<number> {
  const tally = new Tally();
  for await (const page of scanAll(kv)) {
    for (const { key, value } of page) {
      const { keyText, content } = entryContent(key, value);
      tally.add(prefixOf(keyText), content.length, digestOf(content));
    }
  }
  if (until.kind !== "base") return tally.entries;
  const difference = differenceOf(manifest.prefixes, tally.result());
  if (difference !== undefined) throw damaged("the restored store", `it has ${difference}`);
  return tally.entries;
}

/** Lines between two reports. */
const REPORT_LINES = 500;
