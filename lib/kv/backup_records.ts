/**
 * What is stored about backups and restores; the rest of the data dictionary is
 * in `records.ts`.
 *
 * @module
 */

/** A part of a backup, as it is stored. */
export interface BackupPart {
  /** The object's key in the storage. */
  name: string;
  /** `base`: scanned entries; `log`: commits made during the scan. */
  kind: "base" | "log";
  /** Entries in it; of log, entries after changes. */
  entries: number;
  /** Of the object, at most 8 MiB. */
  bytes: number;
  /** Of its lines before compression. */
  rawBytes: number;
  /** SHA-256 of the object, hexadecimal. */
  sha256: string;
}

/** What is known of the entries that share the first part of their keys. */
export interface PrefixTally {
  /** How many there are. */
  entries: number;
  /** Of their lines in a backup. */
  bytes: number;
  /** The sum of the SHA-256 of each line, modulo 2^256, hexadecimal: in no order. */
  sha256: string;
}

/** How far a backup's parts have been read back. */
export interface BackupCheck {
  /** Which share of the keys the pass is about, from 0. */
  pass: number;
  /** Of how many. */
  passes: number;
  /** Base parts read in this pass. */
  part: number;
  /** What was found so far, by the first part of the keys. */
  prefixes: Record<string, PrefixTally>;
  /** Scanned entries that the log does not explain. */
  unexplained: number;
}

/** What is done for a backup, in order. */
export const BACKUP_PHASES = ["scan", "log", "check", "manifest"] as const;
/** One of {@linkcode BACKUP_PHASES}. */
export type BackupPhase = (typeof BACKUP_PHASES)[number];

/** A backup that is being taken, possibly over several runs of the job. */
export interface BackupRun {
  /** What the backup will be called. */
  id: string;
  /** Which database it is of. */
  epoch: string;
  /** It is of a store that a restore is about to replace; absent for all others. */
  isBeforeRestore?: true;
  /** The store had none before it, and was not restored from one; absent for all others. */
  isFirst?: true;
  /** Raised with every step, so that two instances cannot both take the next one. */
  step: number;
  /** When it began. */
  startedAt: string;
  /** The versionstamp before the scan. */
  v0: string;
  /** What comes next. */
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
  /** How far it was read back; null before. */
  check: BackupCheck | null;
}

/** A verified backup, in short. */
export interface BackupRecord {
  /** What it is called. */
  id: string;
  /** The moment that it is of. */
  pointInTime: string;
  /** When it was stored and read back. */
  verifiedAt: string;
  /** Entries of the store. */
  entries: number;
  /** Of its objects. */
  bytes: number;
  /** From its beginning, pauses included. */
  durationMs: number;
}

/** The newest verified backup of this store. Volatile: it is of this database and no other. */
export interface NewestBackup {
  /** What it is called. */
  id: string;
  /** Which database it is of: the log goes on from it in the same epoch only. */
  epoch: string;
  /** The moment that it is of. */
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

/** How far the log is known to be in the storage. */
export interface LogPosition {
  /** The last commit that is. */
  stamp: string;
  /** The object that ends with it; null as long as there is none. */
  name: string | null;
  /** When that was last so, milliseconds UTC. */
  at: number;
  /** Commits up to this one may be gone from the store. */
  pruned: string;
}

/** What a restore does, in order. */
export const RESTORE_PHASES = ["wipe", "base", "log", "check"] as const;
/** One of {@linkcode RESTORE_PHASES}. */
export type RestorePhase = (typeof RESTORE_PHASES)[number];

/** How far a restore has come; written with the entries themselves. */
export interface RestoreProgress {
  /** Raised with every write. */
  step: number;
  /** Who wrote it: no other writer has said the same, even at the same step. */
  by: string;
  /** The backup that it starts from. */
  backupId: string;
  /** What it was asked for, so that it is resumed with the same. */
  target: string;
  /** What it is at. */
  phase: RestorePhase;
  /** Base parts restored. */
  part: number;
  /** Lines restored of the next one. */
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

/** A restore that was carried out, or was not. */
export interface RestoreProof {
  /** When it ended. */
  at: string;
  /** A drill or a restore. */
  kind: RestoreKind;
  /** Which backup. */
  backupId: string;
  /** The moment that was restored. */
  pointInTime: string;
  /** Whether all was as the backup says, and the sweep found nothing. */
  isProven: boolean;
  /** Why not; null if it was. */
  problem: string | null;
  /** Entries restored. */
  entries: number;
  /** Findings of the sweep. */
  findings: number;
  /** The measured recovery time. */
  durationMs: number;
}
