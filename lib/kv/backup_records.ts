/**
 * Stored records of backups and restores. The rest of the data dictionary is in
 * `records.ts`.
 *
 * @module
 */

/** A part of a backup: one object in the storage. */
export interface BackupPart {
  /** The object's key in the storage. */
  name: string;
  /** `base`: scanned entries; `log`: commits made during the scan. */
  kind: "base" | "log";
  /** Entries in it; for `log`, entries after their changes. */
  entries: number;
  /** Size of the object, at most 8 MiB. */
  bytes: number;
  /** Size of its lines before compression. */
  rawBytes: number;
  /** SHA-256 of the object, hexadecimal. */
  sha256: string;
}

/** Totals of the entries that share the first part of their keys. */
export interface PrefixTally {
  /** Number of entries. */
  entries: number;
  /** Size of their lines in a backup. */
  bytes: number;
  /** The sum of the SHA-256 of every line, modulo 2^256, hexadecimal: independent of order. */
  sha256: string;
}

/** Progress of reading a backup's parts back. */
export interface BackupCheck {
  /** The share of the keys in this pass, from 0. */
  pass: number;
  /** Number of passes. */
  passes: number;
  /** Base parts read in this pass. */
  part: number;
  /** Totals so far, by the first part of the keys. */
  prefixes: Record<string, PrefixTally>;
  /** Scanned entries that the log does not explain. */
  unexplained: number;
}

/** Steps of a backup, in order. */
export const BACKUP_PHASES = ["scan", "log", "check", "manifest"] as const;
/** One of {@linkcode BACKUP_PHASES}. */
export type BackupPhase = (typeof BACKUP_PHASES)[number];

/** A backup that is being taken, possibly over several runs of the job. */
export interface BackupRun {
  /** Id of the backup. */
  id: string;
  /** The database that it is of. */
  epoch: string;
  /** Taken of a store that a restore is about to replace; absent otherwise. */
  isBeforeRestore?: true;
  /** The store had no earlier backup and was not restored from one; absent otherwise. */
  isFirst?: true;
  /** Incremented by every step, so that two instances cannot both take the next one. */
  step: number;
  /** When it began. */
  startedAt: string;
  /** The versionstamp before the scan. */
  v0: string;
  /** The next step. */
  phase: BackupPhase;
  /** Tagged JSON of the last key scanned; null at the start. */
  scanned: string | null;
  /** Entries scanned so far. */
  entries: number;
  /** Parts stored so far. */
  parts: number;
  /** The versionstamp after the scan; null before. */
  v1: string | null;
  /** Everything acknowledged before it is in the backup; null before the end of the scan. */
  pointInTime: string | null;
  /** The last commit of the log that is in a part. */
  logged: string;
  /** Progress of the check; null before it. */
  check: BackupCheck | null;
}

/** Summary of a verified backup. */
export interface BackupRecord {
  /** Id of the backup. */
  id: string;
  /** The moment whose state it has. */
  pointInTime: string;
  /** When it was stored and read back. */
  verifiedAt: string;
  /** Entries of the store. */
  entries: number;
  /** Size of its objects. */
  bytes: number;
  /** Since its start, including pauses. */
  durationMs: number;
}

/** The newest verified backup of this store. Volatile: it belongs to this database only. */
export interface NewestBackup {
  /** Id of the backup. */
  id: string;
  /** The database that it is of: the log continues from it in the same epoch only. */
  epoch: string;
  /** The moment whose state it has. */
  pointInTime: string;
}

/** Jobs that can be requested ahead of their schedule. */
export const REQUESTABLE_JOBS = ["backup", "restore_drill"] as const;
/** One of {@linkcode REQUESTABLE_JOBS}. */
export type RequestableJob = (typeof REQUESTABLE_JOBS)[number];

/** A request to run a job ahead of its schedule. Volatile. */
export interface JobRequest {
  /** When it was requested. */
  at: string;
  /** The request that made it, as in the access log. */
  requestId: string;
}

/** How far the log is stored in the storage. */
export interface LogPosition {
  /** The last stored commit. */
  stamp: string;
  /** The object that ends with it; null before the first. */
  name: string | null;
  /** When this was last confirmed, milliseconds UTC. */
  at: number;
  /** Commits up to this one may have been pruned from the store. */
  pruned: string;
}

/** Steps of a restore, in order. */
export const RESTORE_PHASES = ["wipe", "base", "log", "check"] as const;
/** One of {@linkcode RESTORE_PHASES}. */
export type RestorePhase = (typeof RESTORE_PHASES)[number];

/** Progress of a restore; written in the same commits as the entries. */
export interface RestoreProgress {
  /** Incremented by every write. */
  step: number;
  /** The writer: unique, even among writers of the same step. */
  by: string;
  /** The backup that it starts from. */
  backupId: string;
  /** The requested target, so that a resumed restore has the same one. */
  target: string;
  /** The current step. */
  phase: RestorePhase;
  /** Base parts restored. */
  part: number;
  /** Lines restored of the next part. */
  line: number;
  /** The last commit replayed; empty before the first. */
  stamp: string;
  /** Entries written so far. */
  entries: number;
  /** When it began, milliseconds UTC. */
  startedAt: number;
}

/** A drill restores into a scratch store. */
export const RESTORE_KINDS = ["drill", "restore"] as const;
/** One of {@linkcode RESTORE_KINDS}. */
export type RestoreKind = (typeof RESTORE_KINDS)[number];

/** Result of a restore or a drill, successful or not. */
export interface RestoreProof {
  /** When it ended. */
  at: string;
  /** A drill or a restore. */
  kind: RestoreKind;
  /** The backup. */
  backupId: string;
  /** The restored moment. */
  pointInTime: string;
  /** Whether all entries match the backup and the sweep has no findings. */
  isProven: boolean;
  /** Why it is not proven; null if it is. */
  problem: string | null;
  /** Entries restored. */
  entries: number;
  /** Findings of the sweep. */
  findings: number;
  /** The measured recovery time. */
  durationMs: number;
}
