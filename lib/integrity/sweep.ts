/**
 * The sweep: a walk over the whole store that checks every invariant, also
 * beside writers at full speed, in little memory, and in as many slices as it
 * takes.
 *
 * A scan sees pages at different moments, so what looks wrong in it is only a
 * suspect. Each suspect is judged again on one snapshot, and only what is wrong
 * there is a finding. The sweep itself writes nothing: a finding is for a person,
 * or for a repair that decides with the same judge within a transaction.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { ROOMS } from "./checks.ts";
import type { Room } from "./indexes.ts";
import { NumberWalk } from "./numbers.ts";
import {
  claimsOn,
  type Question,
  questionsOf,
  shown,
  type Suspect,
  suspectsOf,
  unreadable,
} from "./questions.ts";
import { comparePaid } from "./payments.ts";
import { judgeSnapshot, View } from "./view.ts";
import {
  invoice as invoiceKey,
  invoices as invoicePrefix,
  isDurable,
  type Key,
  type Prefix,
} from "../kv/keys.ts";
import type { Store } from "../kv/store.ts";
import type { Finding } from "../kv/sweep_records.ts";
import type { Broken, RepairOutcome, RepairRecord } from "./repair.ts";
import type { Services } from "../app/services.ts";

export type { Finding } from "../kv/sweep_records.ts";

/** How a sweep went. */
export interface SweepReport {
  /** Whether it came to the end of the store. */
  isComplete: boolean;
  /**
   * Where the next slice has to start; null when complete. It may name a client's
   * address or number, so it belongs into the store and nowhere else.
   */
  resumeFrom: string | null;
  /** Entries looked at in this slice, by the first part of their key. */
  counts: Record<string, number>;
  /** What is left wrong: the first {@linkcode FINDINGS_MAX} of this slice. */
  findings: Finding[];
  /** How many there were in this slice. */
  findingsTotal: number;
  /** How many of them are critical. */
  criticalTotal: number;
  /** What was mended: the first {@linkcode FINDINGS_MAX} of this slice. */
  repairs: RepairRecord[];
  /** How many repairs there were in this slice. */
  repairsTotal: number;
  /** How long this slice took. */
  durationMs: number;
}

/** How far a sweep has come. */
export interface SweepProgress {
  /** What it is looking at: the first part of keys, or `invoice_numbers`. */
  prefix: string;
  /** Entries looked at so far in this slice. */
  entries: number;
  /** Findings so far in this slice. */
  findings: number;
}

/** Options for {@linkcode sweep}. */
export interface SweepOptions {
  /** How long to go on, in milliseconds; to the end when absent. What was read of a page is used. */
  budgetMs?: number;
  /** From the report of the slice before; null starts at the beginning. */
  resumeFrom?: string | null;
  /** Is told after each page. */
  onProgress?: (progress: SweepProgress) => void;
  /** Mends what is found where it can be; without it nothing is mended. */
  mend?: (broken: Broken) => Promise<RepairOutcome>;
}

/** Findings that a report lists; with more the cause is one, and a report fits a value of the store. */
export const FINDINGS_MAX = 150;

/** Entries read at once; more would keep others from the store for too long. */
const PAGE_SIZE = 500;
/** Where what is missing is remembered, number or invoice, so that it is not found a second time. */
const UNINDEXED = new Set(["invoice_by_number", "payment_by_invoice"]);
/** How much of that. */
const UNINDEXED_MAX = 100;

/** Where a slice ended. */
interface Cursor {
  stage: string;
  /** The stage's own; null at its beginning. */
  after: Key<unknown> | null;
  unindexed: string[];
}

/** A part of the walk, taken a page at a time. */
interface Stage {
  name: string;
  /** @returns Where to go on; null at the end. */
  step(after: Key<unknown> | null): Promise<Key<unknown> | null>;
}

/**
 * Checks every invariant of the store, from the beginning or from where the
 * slice before ended. Costs a read for every 500 entries, one for every ten keys
 * that they refer to, and one for each suspect; with repairs a few more for each
 * of those. Memory for one page.
 *
 * @throws {AppError} `malformed` for a `resumeFrom` that is of no report;
 * `unavailable` when the store does not answer
 */
export async function sweep(
  { store }: Pick<Services, "store">,
  options: SweepOptions = {},
): Promise<SweepReport> {
  return await new Sweep(store, options).run();
}

class Sweep {
  readonly #store: Store;
  readonly #options: SweepOptions;
  readonly #startedAt = performance.now();
  readonly #cursor: Cursor;
  readonly #stages: readonly Stage[];
  readonly #counts: Record<string, number> = {};
  readonly #findings: Finding[] = [];
  readonly #repairs: RepairRecord[] = [];
  readonly #totals = { findingsTotal: 0, criticalTotal: 0, repairsTotal: 0 };

  constructor(store: Store, options: SweepOptions) {
    this.#store = store;
    this.#options = options;
    const numbers = new NumberWalk(store, PAGE_SIZE);
    const rooms: Stage[] = ROOMS.map((room) => ({
      name: String(room.prefix[0]),
      step: (after) => this.#lookAtPage(room, after),
    }));
    // What is mended there, the history of an invoice leads to again.
    const invoices = ROOMS.findIndex(({ prefix }) => prefix[0] === invoicePrefix[0]);
    this.#stages = [
      ...rooms.slice(0, invoices),
      { name: "invoice_payments", step: (after) => this.#lookAtPaid(after) },
      ...rooms.slice(invoices),
      { name: "invoice_numbers", step: (after) => this.#lookAtNumbers(numbers, after) },
      { name: "others", step: (after) => this.#lookAtOthers(after) },
    ];
    this.#cursor = readCursor(options.resumeFrom ?? null) ??
      { stage: this.#stages[0]!.name, after: null, unindexed: [] };
  }

  get #isOver(): boolean {
    return performance.now() - this.#startedAt >= (this.#options.budgetMs ?? Infinity);
  }

  async run(): Promise<SweepReport> {
    const first = this.#stages.findIndex(({ name }) => name === this.#cursor.stage);
    if (first < 0) throw unknownCursor();
    for (const stage of this.#stages.slice(first)) {
      if (stage.name !== this.#cursor.stage) this.#goTo(stage.name);
      do {
        this.#cursor.after = await stage.step(this.#cursor.after);
        this.#options.onProgress?.({
          prefix: stage.name,
          entries: Object.values(this.#counts).reduce((sum, count) => sum + count, 0),
          findings: this.#totals.findingsTotal,
        });
        if (!this.#isOver) continue;
        if (this.#cursor.after !== null) return this.#report(this.#cursor);
        const next = this.#stages[this.#stages.indexOf(stage) + 1];
        if (next) return this.#report({ ...this.#cursor, stage: next.name });
      } while (this.#cursor.after !== null);
    }
    return this.#report(null);
  }

  #goTo(stage: string): void {
    this.#cursor.stage = stage;
    this.#cursor.after = null;
  }

  #report(cursor: Cursor | null): SweepReport {
    return {
      isComplete: cursor === null,
      resumeFrom: cursor && JSON.stringify(cursor),
      counts: this.#counts,
      findings: this.#findings,
      repairs: this.#repairs,
      ...this.#totals,
      durationMs: Math.round(performance.now() - this.#startedAt),
    };
  }

  /** Looks at the next page under a prefix: first over what the page refers to, then at each suspect. */
  async #lookAtPage(room: Room, after: Key<unknown> | null): Promise<Key<unknown> | null> {
    const { prefix, checks } = room;
    const page = await this.#store.listStored(prefix, {
      limit: PAGE_SIZE,
      ...(after ? { start: [...after, ""] } : {}),
    });
    const view = new View();
    const questions: Question[] = [];
    const suspects: Suspect[] = [];
    page.forEach((entry, place) => {
      const reading = view.add(entry);
      if ("fault" in reading) {
        suspects.push(unreadable(room, entry.key, { fault: reading.fault, place }, this.#store));
      } else {
        const isMending = this.#options.mend !== undefined;
        questions.push(...questionsOf(checks, entry.key, reading.value, { place, isMending }));
      }
    });
    suspects.push(...await suspectsOf(questions, view, this.#store));
    if (this.#options.mend) suspects.push(...claimsOn(questions, view));
    const done = await this.#judgeAll(suspects.sort((a, b) => a.place - b.place), page.length);
    this.#count(prefix, done);
    return done === page.length && page.length < PAGE_SIZE ? null : page[done - 1]!.key;
  }

  /** @returns How many entries of the page were seen to; fewer than there are when the time is over. */
  async #judgeAll(suspects: readonly Suspect[], entries: number): Promise<number> {
    for (const [i, suspect] of suspects.entries()) {
      await this.#judge(suspect);
      const next = suspects[i + 1];
      if (next && next.place > suspect.place && this.#isOver) return next.place;
    }
    return entries;
  }

  async #lookAtNumbers(
    walk: NumberWalk,
    after: Key<unknown> | null,
  ): Promise<Key<unknown> | null> {
    const { suspects, next } = await walk.step(after, this.#cursor.unindexed);
    for (const { name, key, judge, mender } of suspects) {
      const severity = "critical";
      await this.#judge({ check: name, severity, key, judge, mender, asked: [key], place: 0 });
    }
    return next;
  }

  async #lookAtPaid(after: Key<unknown> | null): Promise<Key<unknown> | null> {
    const { faults, next } = await comparePaid(this.#store, after);
    for (const { invoiceId, check, judge, mender, asked } of faults) {
      const key = invoiceKey(invoiceId);
      // What a payment that it does not lead to is worth, it cannot have.
      if (this.#cursor.unindexed.includes(invoiceId)) continue;
      await this.#judge({
        ...{ check, severity: "critical", key, judge, mender: () => mender, asked, place: 0 },
      });
    }
    return next;
  }

  /** What has no room here is counted, and must be readable. */
  async #lookAtOthers(after: Key<unknown> | null): Promise<Key<unknown> | null> {
    const start = after ? { start: [...after, ""] } : {};
    const [first] = await this.#store.listStored([], { limit: 1, ...start });
    const name = first?.key[0];
    if (typeof name !== "string") return null;
    const prefix = [name];
    const isKnown = ROOMS.some((room) => room.prefix[0] === name) || !isDurable(prefix);
    const isInside = after !== null && after[0] === name;
    const next = isKnown ? null : await this.#lookAtPage(
      { prefix, severity: "critical", checks: [] },
      isInside ? after : null,
    );
    return next ?? [`${name}\0`]; // after all keys that begin with the name
  }

  async #judge(suspect: Suspect): Promise<void> {
    const { check, severity, key, judge, asked, isClaim = false } = suspect;
    const detail = typeof judge === "string"
      ? judge
      : await judgeSnapshot(this.#store, judge, asked);
    if (detail === null) return;
    const left = await this.#mend(suspect, detail);
    // What a claim left is looked at again in its own room.
    if (left === "well" || isClaim) return;
    this.#totals.findingsTotal++;
    if (severity === "critical") this.#totals.criticalTotal++;
    if (this.#findings.length < FINDINGS_MAX) {
      this.#findings.push({ check, severity, key: shown(key), detail, repair: left });
    }
    const { unindexed } = this.#cursor;
    if (check === "index.missing" && UNINDEXED.has(String(key[0]))) {
      if (unindexed.length < UNINDEXED_MAX) unindexed.push(String(key[1]));
    }
  }

  async #mend(suspect: Suspect, detail: string): Promise<Finding["repair"] | "well"> {
    const { check, key, judge, asked } = suspect;
    if (!this.#options.mend) return null;
    const mender = await suspect.mender();
    if (mender === null) return "not_repairable";
    const outcome = await this.#options.mend({
      ...{ check, shown: shown(key), detail, mender, asked },
      judge: typeof judge === "string" ? null : judge,
    });
    if (outcome.status === "gone") return "well";
    if (outcome.status !== "repaired") return outcome.status;
    this.#totals.repairsTotal++;
    if (this.#repairs.length < FINDINGS_MAX) this.#repairs.push(outcome.repair);
    return "well";
  }

  #count(prefix: Prefix<unknown>, entries: number): void {
    const name = String(prefix[0]);
    this.#counts[name] = (this.#counts[name] ?? 0) + entries;
  }
}

function readCursor(text: string | null): Cursor | null {
  if (text === null) return null;
  let cursor: unknown;
  try {
    cursor = JSON.parse(text);
  } catch {
    throw unknownCursor();
  }
  if (!isCursor(cursor)) throw unknownCursor();
  return cursor;
}

function isCursor(value: unknown): value is Cursor {
  return typeof value === "object" && value !== null &&
    "stage" in value && typeof value.stage === "string" &&
    "after" in value && (value.after === null || Array.isArray(value.after)) &&
    "unindexed" in value && Array.isArray(value.unindexed);
}

function unknownCursor(): AppError {
  return new AppError("malformed", "This is not where a sweep has ended");
}
