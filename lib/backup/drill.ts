/**
 * The restore drill: restores the newest backup into a scratch store, checks and
 * sweeps it, and records the result and the duration. Only a restore proves a backup.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { RestoreProgress, RestoreProof } from "../kv/backup_records.ts";
import { BulkWriter } from "../kv/bulk.ts";
import { type KvPort, Store } from "../kv/store.ts";
import { transact } from "../kv/mod.ts";
import { isoTime, MINUTE_MS } from "../time.ts";
import { raiseAlarm, resolveAlarms } from "./alarms.ts";
import { listBackupIds, type Manifest, manifestName, readManifest } from "./manifest.ts";
import { BackupMirror } from "./mirror.ts";
import { restoreInto, type RestoreStep } from "./restore.ts";
import { type BackupServices, damaged, throwIfAborted } from "./needs.ts";
import { ownOperation, putProof } from "./state.ts";
import { countFindings, findingsProblem } from "./sweeping.ts";
import { differenceOf } from "./tally.ts";

/** Options for {@linkcode drill}. */
export interface DrillOptions {
  /**
   * Opens an empty KV that closing deletes. If absent, as on Deno Deploy, or for
   * more than {@linkcode SCRATCH_ENTRIES_MAX} entries, the backup is read in place,
   * a range at a time: that proves its objects and its state, but not that a KV
   * accepts them.
   */
  openScratch?: () => Promise<KvPort>;
  /** The backup to drill; the newest if absent. */
  backupId?: string;
  /** Ends the drill. */
  signal?: AbortSignal;
  /** Called as the drill proceeds. */
  onProgress?: (step: RestoreStep) => void;
}

/** A scratch store is in memory, about a kilobyte per entry. */
export const SCRATCH_ENTRIES_MAX = 500_000;

/** Longer than usual, as reads of a backup in place fetch its parts. */
const DEADLINES = {
  readMs: MINUTE_MS,
  commitMs: MINUTE_MS,
  transactionMs: MINUTE_MS,
  fenceMs: MINUTE_MS,
};

/**
 * Restores a backup into a scratch store, sweeps it, and records the result under
 * `keys.restoreProof()`.
 *
 * @returns The proof; `isProven` is false for any fault.
 * @throws {AppError} `not_found` if there is no backup; `unavailable`, and what
 * the storage throws: neither proves or disproves the backup
 */
export async function drill(
  services: BackupServices,
  options: DrillOptions = {},
): Promise<RestoreProof> {
  const { clock } = services;
  const startedAt = clock();
  const backupId = options.backupId ?? (await listBackupIds(services))[0];
  if (backupId === undefined) throw new AppError("not_found", "There is no backup yet");
  let outcome: Pick<RestoreProof, "pointInTime" | "entries" | "findings" | "problem">;
  try {
    outcome = await restoreToScratch(services, await readManifest(services, backupId), options);
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
  if (proof.isProven) await resolveAlarms(services, "backup.not_restorable");
  else await raiseAlarm(services, "backup.not_restorable", { ...proof });
  return proof;
}

async function restoreToScratch(
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
  // The store is only read, so no random delay is needed.
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
  const problem = findingsProblem(findings) ??
    (unexplained > 0
      ? `${unexplained} ${unexplained === 1 ? "entry was" : "entries were"} written without the log`
      : null);
  return { pointInTime, entries, findings, problem };
}

/** Opens the backup as a store. @throws {AppError} `conflict` if it differs from its manifest */
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
