/**
 * The store's records about its own backups: the epoch of the database, the
 * position of the shipped log, the current run. None of them is durable.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { newId } from "../ids.ts";
import type { BackupPart, BackupRun, LogPosition, RestoreProof } from "../kv/backup_records.ts";
import { mark, prune, scanRange } from "../kv/bulk.ts";
import { decode } from "../kv/codec.ts";
import * as keys from "../kv/keys.ts";
import { transact } from "../kv/mod.ts";
import type { Operation, Writes } from "../kv/transaction.ts";
import { HOUR_MS, isoTime } from "../time.ts";
import { STAMP_ZERO } from "./journal.ts";
import { randomHex } from "./manifest.ts";
import type { BackupServices } from "./needs.ts";

/** Longer than the program repeats a commit. */
const RECEIPT_MS = HOUR_MS;

/** An operation of the program itself; it has to pass the guards of the run. */
export function ownOperation({ clock, guards = [] }: BackupServices): Operation {
  return { id: newId(clock()), fingerprint: "", isNew: true, keepMs: RECEIPT_MS, guards };
}

/**
 * Checks that the run may still write, before a change in the storage, which no
 * guard protects. @throws {AppError} `conflict` if it may not
 */
export async function passGuards(services: BackupServices): Promise<void> {
  if ((services.guards ?? []).length === 0) return;
  await transact(services, {}, () => null, { operation: ownOperation(services) });
}

/** Writes the result of a restore or drill. */
export function putProof(writes: Writes, proof: RestoreProof): void {
  writes.set(keys.restoreProof(proof.at), proof);
  writes.set(keys.newestProof, proof);
}

/** The epoch and the position of the shipped log; the first call creates them. */
export async function logState(
  services: BackupServices,
): Promise<{ epoch: string; position: LogPosition }> {
  const { store, clock } = services;
  const [epoch, position] = await store.getMany([
    keys.epoch,
    keys.logShipped,
  ]);
  if (epoch !== null && position !== null) return { epoch, position };
  const now = clock();
  const isFirst = epoch === null;
  const fresh: LogPosition = { stamp: STAMP_ZERO, name: null, at: now, pruned: STAMP_ZERO };
  // Log from before this position cannot be shipped without a gap, unless the epoch is new.
  if (!isFirst) fresh.stamp = fresh.pruned = await mark(services.kv, now);
  const name = `${isoTime(now).slice(0, 10)}-${randomHex()}`;
  return await transact(
    services,
    { epoch: keys.epoch, position: keys.logShipped },
    (found, writes) => {
      if (found.epoch === null) writes.set(keys.epoch, name);
      if (found.position === null) writes.set(keys.logShipped, fresh);
      return { epoch: found.epoch ?? name, position: found.position ?? fresh };
    },
    { operation: ownOperation(services) },
  );
}

/**
 * Begins a new epoch: later segments do not continue the earlier log, so moments
 * can be restored from the next backup on.
 */
export async function breakLog(services: BackupServices, epoch: string): Promise<void> {
  const now = services.clock();
  const stamp = await mark(services.kv, now);
  const name = `${isoTime(now).slice(0, 10)}-${randomHex()}`;
  await transact(services, { epoch: keys.epoch }, (found, writes) => {
    if (found.epoch !== epoch) return; // another instance began it
    writes.set(keys.epoch, name);
    writes.set(keys.logShipped, { stamp, name: null, at: now, pruned: stamp });
  }, { operation: ownOperation(services) });
}

/** Advances the position of the shipped log; never moves it back. */
export async function advanceLog(
  services: BackupServices,
  epoch: string,
  next: Partial<LogPosition> & { stamp: string },
): Promise<void> {
  const now = services.clock();
  const reads = { epoch: keys.epoch, position: keys.logShipped };
  await transact(services, reads, (found, writes) => {
    const { position } = found;
    if (found.epoch !== epoch || position === null) return;
    const isFurther = next.stamp >= position.stamp;
    const pruned = next.pruned ?? position.pruned;
    writes.set(keys.logShipped, {
      stamp: isFurther ? next.stamp : position.stamp,
      name: isFurther && next.name !== undefined ? next.name : position.name,
      at: now,
      pruned: pruned > position.pruned ? pruned : position.pruned,
    });
  }, { operation: ownOperation(services) });
}

/** Moves a position back to the last segment that is in the storage. */
export async function rewindLog(
  services: BackupServices,
  epoch: string,
  from: LogPosition,
  to: { stamp: string; name: string | null },
): Promise<void> {
  const reads = { epoch: keys.epoch, position: keys.logShipped };
  await transact(services, reads, (found, writes) => {
    if (found.epoch !== epoch || found.position?.stamp !== from.stamp) return;
    writes.set(keys.logShipped, { ...found.position, ...to });
  }, { operation: ownOperation(services) });
}

/** The current run; null for none. */
export async function currentRun({ store }: BackupServices): Promise<BackupRun | null> {
  return await store.get(keys.backupRun);
}

/** Begins a run. @throws {AppError} `stale_revision` if another instance has just begun one */
export async function beginRun(services: BackupServices, run: BackupRun): Promise<BackupRun> {
  const begun = await transact(services, { run: keys.backupRun }, (found, writes) => {
    if (found.run !== null) throw takenOver();
    writes.set(keys.backupRun, run);
    return run;
  }, { operation: ownOperation(services) });
  // Of earlier runs that stopped right after their end; never of a later run.
  await deleteParts(services, keys.backupParts, (id) => id < run.id);
  return begun;
}

/**
 * Takes the next step of a run. @throws {AppError} `stale_revision` if another instance
 * has taken it: objects that were stored for the step here are deleted later
 */
export async function stepRun(
  services: BackupServices,
  run: BackupRun,
  fields: Partial<BackupRun>,
  write: (writes: Writes) => void = () => {},
): Promise<BackupRun> {
  const next = { ...run, ...fields, step: run.step + 1 };
  return await transact(services, { run: keys.backupRun }, (found, writes) => {
    if (found.run?.id !== run.id || found.run.step !== run.step) throw takenOver();
    writes.set(keys.backupRun, next);
    write(writes);
    return next;
  }, { operation: ownOperation(services) });
}

/** Deletes a finished or abandoned run. */
export async function endRun(
  services: BackupServices,
  run: BackupRun,
  write: (writes: Writes) => void = () => {},
): Promise<void> {
  await transact(services, { run: keys.backupRun }, (found, writes) => {
    if (found.run?.id !== run.id) return;
    writes.delete(keys.backupRun);
    write(writes);
  }, { operation: ownOperation(services) });
  await deleteParts(services, keys.backupPartsOf(run.id), () => true);
}

async function deleteParts(
  { kv }: BackupServices,
  prefix: keys.Prefix<BackupPart>,
  isOver: (runId: string) => boolean,
): Promise<void> {
  const parts: Deno.KvKey[] = [];
  for await (const page of scanRange(kv, [...prefix])) {
    parts.push(...page.map(({ key }) => key).filter((key) => isOver(String(key[1]))));
  }
  await prune(kv, parts);
}

/** The stored parts of a run, in order. */
export async function partsOf({ kv }: BackupServices, { id }: BackupRun): Promise<BackupPart[]> {
  const parts: BackupPart[] = [];
  for await (const page of scanRange(kv, [...keys.backupPartsOf(id)])) {
    for (const { value } of page) parts.push(decode<BackupPart>(value as Uint8Array));
  }
  return parts;
}

function takenOver(): AppError {
  return new AppError("stale_revision", "Another instance is taking this backup");
}
