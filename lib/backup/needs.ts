/**
 * The services that backups need, and the error for unusable objects.
 *
 * @module
 */
import type { AlertNotifier } from "../alerts/notifier.ts";
import type { Retention } from "../config/mod.ts";
import { AppError } from "../errors.ts";
import type { KvPort, Store } from "../kv/store.ts";
import type { Guard } from "../kv/transaction.ts";
import type { Log } from "../telemetry/mod.ts";
import type { Caller } from "../entities/caller.ts";
import type { ObjectStorage } from "../storage/mod.ts";
import type { Clock } from "../time.ts";

/** The configuration of backups. */
export interface BackupConfig {
  /** The running build, for the manifest. */
  readonly appVersion: string;
  /** 32 bytes; undefined for no encryption. */
  readonly backupEncryptionKey: Uint8Array<ArrayBuffer> | undefined;
  /** Which backups are kept. */
  readonly backupRetention: Retention;
}

/** The services that backups need. */
export interface BackupServices {
  /** The configuration of backups. */
  readonly config: BackupConfig;
  /** The store, for the records about backups. */
  readonly store: Store;
  /** The KV of the same store, to read raw entries; only `lib/kv/bulk.ts` writes to it. */
  readonly kv: KvPort;
  /** The storage of the backups. */
  readonly storage: ObjectStorage;
  /** The time, in milliseconds UTC. */
  readonly clock: Clock;
  /** Records alarms and damaged objects. */
  readonly log: Log;
  /** Raises and resolves alerts. */
  readonly alerts: AlertNotifier;
  /** Guards that every write must pass, such as the lease of a job; see {@linkcode fencedBy}. */
  readonly guards?: readonly Guard<unknown>[];
}

/** Services for a job: its writes are refused once another run has taken its lease. */
export function fencedBy<S extends BackupServices>(services: S, { guards = [] }: Caller): S {
  return { ...services, guards };
}

/** Whether services include those of backups: the KV and a configured storage. */
export function hasBackups<T extends object>(services: T): services is T & BackupServices {
  return "kv" in services && "storage" in services && services.storage !== undefined;
}

/** A `conflict` for an unusable object; the message names it. */
export function damaged(name: string, why: string, cause?: unknown): AppError {
  return new AppError("conflict", `Cannot use ${name}: ${why}`, { cause });
}

/** Throws the signal's reason if it is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  signal?.throwIfAborted();
}
