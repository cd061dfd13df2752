/**
 * Stored records of sweeps and repairs. The rest of the data dictionary is in
 * `records.ts`.
 *
 * @module
 */
import type { Actor, Severity } from "./records.ts";

/** Why a finding was left as it is. */
export const LEFT_UNREPAIRED = ["not_repairable", "still_wrong"] as const;
/** One of {@linkcode LEFT_UNREPAIRED}. */
export type LeftUnrepaired = (typeof LEFT_UNREPAIRED)[number];

/** One thing that is wrong in the store. */
export interface Finding {
  /** The invariant, such as `invoice.total_wrong`. */
  check: string;
  /** `critical`: the books are wrong; `warning`: derived data is, and can be rebuilt. */
  severity: Severity;
  /** The key as JSON, without e-mail addresses and phone numbers. */
  key: string;
  /** What is wrong, in one line without personal data. */
  detail: string;
  /** Why it was not repaired; null if the sweep does not repair. */
  repair: LeftUnrepaired | null;
}

/**
 * One repair. Durable: automatic writes belong to the history of the books, and an index
 * entry has no history of its own.
 */
export interface RepairRecord {
  /** UUIDv7. */
  id: string;
  /** The sweep that found it. */
  sweepId: string;
  /** The invariant, such as `index.missing`. */
  check: string;
  /** The key, as in a finding. */
  key: string;
  /** What was wrong, in one line without personal data. */
  detail: string;
  /** What was done, in one line without personal data. */
  done: string;
  /** When it was done. */
  at: string;
  /** Who did it. */
  by: Actor;
  /** The request or job run. */
  requestId: string;
}

/** States of a sweep: `pending` until the job begins it. */
export const SWEEP_STATUSES = ["pending", "running", "done"] as const;
/** One of {@linkcode SWEEP_STATUSES}. */
export type SweepStatus = (typeof SWEEP_STATUSES)[number];

/**
 * A sweep and its findings. Volatile: it is about the system and not the books, and a
 * restored one would be out of date.
 */
export interface SweepRecord {
  /** UUIDv7. */
  id: string;
  /** How far it has come. */
  status: SweepStatus;
  /** Whether it repairs what it can. */
  isRepairing: boolean;
  /** When it was requested, or due. */
  requestedAt: string;
  /** Who requested it. */
  by: Actor;
  /** The request or job run. */
  requestId: string;
  /** When it began; null before. */
  startedAt: string | null;
  /** When it reached the end of the store; null before. */
  endedAt: string | null;
  /** Checked entries, by the first part of their keys. */
  counts: Record<string, number>;
  /** The first remaining findings: at most 150, fewer if they are long. */
  findings: Finding[];
  /** Number of remaining findings. */
  findingsTotal: number;
  /** Number of critical ones. */
  criticalTotal: number;
  /** Number of repairs; exact once it is done. */
  repairsTotal: number;
  /** Working time in milliseconds, without pauses. */
  durationMs: number;
}

/** The current sweep. Volatile: a sweep can start again. */
export interface SweepRun {
  /** Incremented by every step, so that two runs cannot both take the next one. */
  step: number;
  /** The running or pending sweep; null for none. */
  sweepId: string | null;
  /** Where it continues; null at the start. May contain contact data of a client: never shown. */
  resumeFrom: string | null;
  /** The last night that a sweep was started for: its scheduled time, milliseconds UTC. */
  nightAt: number;
  /** Ids of the kept sweeps, newest first. */
  kept: string[];
}
