/**
 * What is stored about sweeps and repairs; the rest of the data dictionary is in
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
  /** `critical` if the books are wrong; `warning` if what follows from them is, and can be rebuilt. */
  severity: Severity;
  /** Where, as the JSON of the key; without an e-mail address or phone number in it. */
  key: string;
  /** What is wrong there, in one line without personal data. */
  detail: string;
  /** Why it was left so; null when the sweep was not to mend anything. */
  repair: LeftUnrepaired | null;
}

/**
 * One repair. Durable: what is written without a person's doing belongs to the
 * history of the books, and an index entry has no history of its own.
 */
export interface RepairRecord {
  /** UUIDv7. */
  id: string;
  /** The sweep that found it. */
  sweepId: string;
  /** The invariant, such as `index.missing`. */
  check: string;
  /** Where, as in a finding. */
  key: string;
  /** What was wrong there, in one line without personal data. */
  detail: string;
  /** What was done, in one line without personal data. */
  done: string;
  /** When it was done. */
  at: string;
  /** Who did it. */
  by: Actor;
  /** In which exchange or run. */
  requestId: string;
}

/** States of a sweep: `pending` until the job begins it. */
export const SWEEP_STATUSES = ["pending", "running", "done"] as const;
/** One of {@linkcode SWEEP_STATUSES}. */
export type SweepStatus = (typeof SWEEP_STATUSES)[number];

/**
 * A sweep and what it has found. Volatile: it is about the system and not the
 * books, and a restored one would be of another time.
 */
export interface SweepRecord {
  /** UUIDv7. */
  id: string;
  /** How far it has come. */
  status: SweepStatus;
  /** Whether it mends what it can. */
  isRepairing: boolean;
  /** When it was asked for, or due. */
  requestedAt: string;
  /** Who asked. */
  by: Actor;
  /** In which exchange or run. */
  requestId: string;
  /** When it began; null before. */
  startedAt: string | null;
  /** When it came to the end of the store; null before. */
  endedAt: string | null;
  /** Entries looked at, by the first part of their keys. */
  counts: Record<string, number>;
  /** What is left wrong, the first of it: at most 150, and fewer if they are long. */
  findings: Finding[];
  /** How many there are. */
  findingsTotal: number;
  /** How many of them are critical. */
  criticalTotal: number;
  /** How many repairs were made; exact once it is done. */
  repairsTotal: number;
  /** How long it worked, in milliseconds; pauses do not count. */
  durationMs: number;
}

/** Which sweep is under way. Volatile: a sweep can begin anew. */
export interface SweepRun {
  /** Raised with every step, so that two runs cannot both take the next one. */
  step: number;
  /** The sweep that is under way or waits; null for none. */
  sweepId: string | null;
  /** Where it goes on; null at the beginning. May name a client's address or number: never shown. */
  resumeFrom: string | null;
  /** The last night that a sweep was begun for, as its moment in milliseconds UTC. */
  nightAt: number;
  /** The sweeps that are kept, newest first. */
  kept: string[];
}
