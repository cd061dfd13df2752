/**
 * What a store remembers of its own backups: which database it is, how far its
 * log was shipped, which backup is being taken. None of it is part of the books.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { newId } from "../ids.ts";
import type { BackupPart, BackupRun, LogPosition, RestoreProof } from "../kv/backup_records.ts";
import { mark, prune, scanRange } from "../kv/bulk.ts";
import { decode } from "../kv/codec.ts";
import * as keys from "../kv/keys.ts";
import { transact } from "../kv/transact.ts";
import type { Operation, Writes } from "../kv/transaction.ts";
import { HOUR_MS, isoTime } from "../time.ts";
import { STAMP_ZERO } from "./journal.ts";
import { randomHex } from "./manifest.ts";
import type { BackupServices } from "./needs.ts";

/** Long enough for any repetition of ours. */
const RECEIPT_MS = HOUR_MS;

/** A write that only this program asks for. It has to pass the guards of its run. */
export function ownOperation({ clock, guards = [] }: BackupServices): Operation {
  return { id: newId(clock()), fingerprint: "", isNew: true, keepMs: RECEIPT_MS, guards };
}

/**
 * Makes sure that the run may still write, before it does what no guard can keep
 * it from: something in the storage. @throws {AppError} `conflict` if it may not
 */
export async function passGuards(services: BackupServices): Promise<void> {
  if ((services.guards ?? []).length === 0) return;
  await transact(services, {}, () => null, { operation: ownOperation(services) });
}

/** Writes down what a restore showed. */
export function putProof(writes: Writes, proof: RestoreProof): void {
  writes.set(keys.restoreProof(proof.at), proof);
  writes.set(keys.newestProof, proof);
}

/** Which database this is, and how far its log was shipped; both begin when first asked for. */
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
  // What was there before the epoch cannot be shipped in it without a gap, unless there was none.
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
 * Begins a new epoch: what is shipped from now on does not follow what was
 * shipped before, so the next backup is the first that it can go on from.
 */
export async function breakLog(services: BackupServices, epoch: string): Promise<void> {
  const now = services.clock();
  const stamp = await mark(services.kv, now);
  const name = `${isoTime(now).slice(0, 10)}-${randomHex()}`;
  await transact(services, { epoch: keys.epoch }, (found, writes) => {
    if (found.epoch !== epoch) return; // another instance did
    writes.set(keys.epoch, name);
    writes.set(keys.logShipped, { stamp, name: null, at: now, pruned: stamp });
  }, { operation: ownOperation(services) });
}

/** Says that the log up to a commit is in the storage; never takes anything back. */
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

/** Takes a position back to what the storage really has. */
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

/** The backup that is being taken; null for none. */
export async function currentRun({ store }: BackupServices): Promise<BackupRun | null> {
  return await store.get(keys.backupRun);
}

/** Begins to take a backup. @throws {AppError} `stale_revision` if another instance just did */
export async function beginRun(services: BackupServices, run: BackupRun): Promise<BackupRun> {
  const begun = await transact(services, { run: keys.backupRun }, (found, writes) => {
    if (found.run !== null) throw takenOver();
    writes.set(keys.backupRun, run);
    return run;
  }, { operation: ownOperation(services) });
  // Of those before it, which were stopped just when they had ended; never of one after it.
  await forgetParts(services, keys.backupParts, (id) => id < run.id);
  return begun;
}

/**
 * Takes the next step of a run. @throws {AppError} `stale_revision` if another instance
 * has taken it: then what was done for it here is waste, and is cleaned up later
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

/** Forgets a run that is finished, or given up. */
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
  await forgetParts(services, keys.backupPartsOf(run.id), () => true);
}

async function forgetParts(
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

/** The stored parts of the run, in their order. */
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
