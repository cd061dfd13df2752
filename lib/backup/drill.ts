/**
 * The restore drill: a backup that nobody has restored is a hope. The newest one
 * is restored into a scratch store, checked, swept, and what came of it recorded
 * with the time that it took.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { RestoreProgress, RestoreProof } from "../kv/backup_records.ts";
import { BulkWriter } from "../kv/bulk.ts";
import { type KvPort, Store } from "../kv/store.ts";
import { transact } from "../kv/transact.ts";
import { isoTime, MINUTE_MS } from "../time.ts";
import { alarm, calm } from "./alarms.ts";
import { listBackupIds, type Manifest, manifestName, readManifest } from "./manifest.ts";
import { BackupMirror } from "./mirror.ts";
import { restoreInto, type RestoreStep } from "./restore.ts";
import { type BackupServices, damaged, throwIfAborted } from "./needs.ts";
import { ownOperation, putProof } from "./state.ts";
import { countFindings } from "./sweeping.ts";
import { differenceOf } from "./tally.ts";

/** Options for {@linkcode drill}. */
export interface DrillOptions {
  /**
   * Opens an empty KV that is gone when closed. Where there is none, as on Deno
   * Deploy, or for more than {@linkcode SCRATCH_ENTRIES_MAX} entries, the backup
   * is read in place instead, a range at a time: that proves its objects and its
   * state, though not that a KV takes them.
   */
  openScratch?: () => Promise<KvPort>;
  /** Which backup; the newest when absent. */
  backupId?: string;
  /** Ends it. */
  signal?: AbortSignal;
  /** Is told now and then. */
  onProgress?: (step: RestoreStep) => void;
}

/** A scratch store is in memory, where an entry takes about a kilobyte. */
export const SCRATCH_ENTRIES_MAX = 500_000;

/** Reads of a backup in place fetch parts of it. */
const DEADLINES = {
  readMs: MINUTE_MS,
  commitMs: MINUTE_MS,
  transactionMs: MINUTE_MS,
  fenceMs: MINUTE_MS,
};

/**
 * Restores a backup into a scratch store, sweeps that, and records the outcome
 * under `keys.restoreProof()`, whatever it is.
 *
 * @returns The proof; `isProven` is false if anything at all was wrong.
 * @throws {AppError} `not_found` if there is no backup; `unavailable`, and what
 * the storage throws, which prove nothing either way
 */
export async function drill(
  services: BackupServices,
  options: DrillOptions = {},
): Promise<RestoreProof> {
  const { clock } = services;
  const startedAt = clock();
  const backupId = options.backupId ?? (await listBackupIds(services))[0];
  if (backupId === undefined) throw new AppError("not_found", "There is no backup");
  let outcome: Pick<RestoreProof, "pointInTime" | "entries" | "findings" | "problem">;
  try {
    outcome = await tryOut(services, await readManifest(services, backupId), options);
  } catch (error) {
    if (!(error instanceof AppError) || error.kind !== "conflict") throw error;
    const pointInTime = isoTime(startedAt);
    outcome = { pointInTime, entries: 0, findings: 0, problem: error.message };
  }
  const at = clock();
  const proof: RestoreProof = {
    at: isoTime(at),
    kind: "drill",
    backupId,
    isProven: outcome.problem === null,
    durationMs: at - startedAt,
    ...outcome,
  };
  await transact(services, {}, (_, writes) => putProof(writes, proof), {
    operation: ownOperation(services),
  });
  if (proof.isProven) await calm(services, "backup.not_restorable");
  else await alarm(services, "backup.not_restorable", { ...proof });
  return proof;
}

async function tryOut(
  services: BackupServices,
  manifest: Manifest,
  { signal, onProgress, ...options }: DrillOptions,
): Promise<Pick<RestoreProof, "pointInTime" | "entries" | "findings" | "problem">> {
  const { clock } = services;
  const openScratch = manifest.entries > SCRATCH_ENTRIES_MAX ? undefined : options.openScratch;
  const kv = openScratch ? await openScratch() : await openMirror(services, manifest, (entries) => {
    throwIfAborted(signal);
    onProgress?.({ phase: "base", entries, of: manifest.entries });
  });
  // It is read only: nothing that a random number could help with.
  using store = new Store(kv, {
    clock,
    random: () => 0,
    isEmbedded: true,
    checksMax: 100,
    deadlines: DEADLINES,
  });
  let entries = manifest.entries;
  if (openScratch) {
    const writer = await BulkWriter.start(kv, newProgress(manifest.id, clock()));
    const plan = { manifest, until: { kind: "base" } } as const;
    ({ entries } = await restoreInto({ ...services, kv, store }, plan, writer, {
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress } : {}),
    }));
  }
  onProgress?.({ phase: "sweep", entries, of: entries });
  const findings = await countFindings({ store }, signal);
  const { pointInTime, unexplained } = manifest;
  const problem = findings > 0
    ? `The sweep has ${findings} findings`
    : unexplained > 0
    ? `${unexplained} entries were written around the log`
    : null;
  return { pointInTime, entries, findings, problem };
}

/** The backup itself as the store. @throws {AppError} `conflict` if it is not what the manifest says */
async function openMirror(
  services: BackupServices,
  manifest: Manifest,
  onProgress: (entries: number) => void,
): Promise<KvPort> {
  const { mirror, tally } = await BackupMirror.open(services, manifest, onProgress);
  const difference = differenceOf(manifest.prefixes, tally.result());
  if (difference !== undefined) {
    throw damaged(manifestName(manifest.id), `its parts have ${difference}`);
  }
  return mirror;
}

function newProgress(backupId: string, startedAt: number): RestoreProgress {
  return {
    step: 0,
    by: "",
    backupId,
    target: backupId,
    phase: "base",
    part: 0,
    line: 0,
    stamp: "",
    entries: 0,
    startedAt,
  };
}
