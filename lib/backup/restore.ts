/**
 * Restoring: a backup, and as much of the log after it as is wanted, into an
 * empty store.
 *
 * How far it has come is written with the entries themselves, so that it can be
 * killed anywhere and goes on when called again. Until it is done the store says
 * so under `keys.restoring`, and must not be served.
 *
 * Volatile entries are not in a backup: receipts and rate windows of a lost
 * store mean nothing in another. Versionstamps are new as well; a restored store
 * is another epoch, and its log begins anew.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { RestoreProgress } from "../kv/backup_records.ts";
import { BulkWriter, isEmpty, scanAll, wipe } from "../kv/bulk.ts";
import * as keys from "../kv/keys.ts";
import { transact } from "../kv/transact.ts";
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
import { isWanted, resolveTarget, type RestorePlan } from "./target.ts";

/** How far a restore is. */
export interface RestoreStep {
  /** What it is at. */
  phase: "backup" | RestoreProgress["phase"] | "sweep";
  /** Entries so far. */
  entries: number;
  /** Of about so many. */
  of: number;
}

/** Options for {@linkcode restore}. */
export interface RestoreOptions {
  /** Empties a store that is not empty, after a backup of it. */
  overwrite?: boolean;
  /** Ends it where it is; it can be resumed. */
  signal?: AbortSignal;
  /** Is told after each atomic or so. */
  onProgress?: (step: RestoreStep) => void;
}

/** How a restore went. */
export interface RestoreReport {
  /** The backup that it began with. */
  backupId: string;
  /** Everything acknowledged before it is there; of the log, when its last commit was made. */
  pointInTime: string;
  /** The last commit that is there, as the lost store counted. */
  stamp: string;
  /** The state is that of the backup, so digests could be compared, and are equal. */
  isExact: boolean;
  /** Entries in the store now, volatile ones aside. */
  entries: number;
  /** What the sweep found. */
  findings: number;
  /** The measured recovery time, pauses included. */
  durationMs: number;
}

/** What came into the store. */
export interface Restored {
  /** When the last commit of the log was made, milliseconds UTC; null if none was replayed. */
  lastAt: number | null;
  /** The last commit, as the lost store counted. */
  stamp: string;
  /** Entries in the store. */
  entries: number;
}

/**
 * Restores the store, or goes on with a restore that was stopped.
 *
 * @param target A backup's id for exactly that; `latest` for the newest backup
 * and all log since; a moment (ISO 8601) or a versionstamp for the state then.
 * @throws {AppError} `conflict` if the store is not empty, another restore is
 * under way, or naming an object that cannot be used; `not_found`; `malformed`;
 * `unavailable`, and what the storage throws. After the last two, call again.
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

/** Whether a restore has not come to its end: then the store must not be served. */
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
      `A restore of ${stopped.progress.target} was not finished: go on with that, or say to overwrite it`,
    );
  }
  const plan = await resolveTarget(services, target);
  const { id, keyId } = plan.manifest;
  expectKey(keyId, config.backupEncryptionKey, manifestName(id));
  const isFull = !stopped && !await isEmpty(kv);
  if (isFull && !overwrite) {
    throw new AppError("conflict", "The store is not empty: say to overwrite it, or name another");
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

/** What is there is kept as well, for the case that the wrong store was named. */
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
 * Brings a plan into a store, from where the writer is, and checks what is in the
 * store then.
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
  for await (const commit of wantedLog(services, plan)) {
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
      if (entry.kind !== "entry") throw damaged(base[i]!.name, "there is a commit in it");
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

/** The log of the meantime, and what is wanted of that since. */
async function* wantedLog(
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
    if (!isWanted(commit, until)) return;
    yield commit;
  }
}

/** Counts what is in the store and, if it should be the backup's state, compares all of it. */
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
