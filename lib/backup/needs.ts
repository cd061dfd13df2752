/**
 * What backups are given of the outside, and what they refuse.
 *
 * @module
 */
import type { AlertDesk } from "../alerts/notifier.ts";
import type { Retention } from "../config/mod.ts";
import { AppError } from "../errors.ts";
import type { KvPort, Store } from "../kv/store.ts";
import type { Guard } from "../kv/transact.ts";
import type { Log } from "../telemetry/log.ts";
import type { Caller } from "../entities/caller.ts";
import type { ObjectStorage } from "../storage/mod.ts";
import type { Clock } from "../time.ts";

/** The part of the configuration that backups read. */
export interface BackupConfig {
  /** The build that runs, for the manifest. */
  readonly appVersion: string;
  /** 32 bytes; undefined to store backups as they are. */
  readonly backupEncryptionKey: Uint8Array<ArrayBuffer> | undefined;
  /** Which backups are kept. */
  readonly backupRetention: Retention;
}

/** What backups are given; the program's `Services` has all of it. */
export interface BackupServices {
  /** What the environment said. */
  readonly config: BackupConfig;
  /** The one way to write what the program knows of its backups. */
  readonly store: Store;
  /** The same store as it lies there; only `lib/kv/bulk.ts` writes to it. */
  readonly kv: KvPort;
  /** Where backups are kept. */
  readonly storage: ObjectStorage;
  /** The time. */
  readonly clock: Clock;
  /** Where everything is told. */
  readonly log: Log;
  /** Where alarms are raised. */
  readonly alerts: AlertDesk;
  /** What its writes have to pass, such as the lease of a job; see {@linkcode fencedBy}. */
  readonly guards?: readonly Guard<unknown>[];
}

/** The same services for a job: what it writes is refused once another run has taken over. */
export function fencedBy<S extends BackupServices>(services: S, { guards = [] }: Caller): S {
  return { ...services, guards };
}

/** Whether what a program was given has all that backups need. */
export function hasBackups<T extends object>(services: T): services is T & BackupServices {
  return "kv" in services && "storage" in services && services.storage !== undefined;
}

/** An object of a backup that cannot be used; the message names it. */
export function damaged(name: string, why: string, cause?: unknown): AppError {
  return new AppError("conflict", `Cannot use ${name}: ${why}`, { cause });
}

/** Ends with the signal's reason if it was aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  signal?.throwIfAborted();
}
