/**
 * The sweep walks the whole store and checks every invariant. It needs little
 * memory, can be cut into slices, and runs beside writers at full speed.
 *
 * A scan reads its pages at different moments, so a fault in it is only a
 * suspect. Each suspect is judged again on one snapshot; a fault there is a
 * finding. The sweep writes nothing: a finding is for a person, or for a repair
 * that decides with the same judge within a transaction.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { TABLES } from "./checks.ts";
import type { Table } from "./indexes.ts";
import { NumberWalk } from "./numbers.ts";
import {
  displayKey,
  findSuspects,
  type Question,
  questionsAbout,
  type Suspect,
  unreadable,
  unreadableClaims,
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
import type { Finding, RepairRecord } from "../kv/sweep_records.ts";
import type { Defect, RepairOutcome } from "./repair.ts";

/** The report of one slice. */
export interface SweepReport {
  /** Whether the slice reached the end of the store. */
  isComplete: boolean;
  /**
   * The cursor of the next slice; null when complete. May hold a client's e-mail
   * address or phone number: store it, never show it.
   */
  resumeFrom: string | null;
  /** Entries checked, by the first part of their key. */
  counts: Record<string, number>;
  /** The first {@linkcode FINDINGS_MAX} findings that were not repaired. */
  findings: Finding[];
  /** All findings that were not repaired. */
  findingsTotal: number;
  /** How many of {@linkcode SweepReport.findingsTotal} are critical. */
  criticalTotal: number;
  /** The first {@linkcode FINDINGS_MAX} repairs. */
  repairs: RepairRecord[];
  /** All repairs. */
  repairsTotal: number;
  /** Duration of the slice. */
  durationMs: number;
}

/** The progress within a slice. */
export interface SweepProgress {
  /** The stage: the first part of keys, `invoice_payments`, `invoice_numbers` or `others`. */
  prefix: string;
  /** Entries checked so far in this slice. */
  entries: number;
  /** Findings so far in this slice. */
  findings: number;
}

/** Options for {@linkcode sweep}. */
export interface SweepOptions {
  /** Time for this slice, in milliseconds; unlimited if absent. A page that was read is used. */
  budgetMs?: number;
  /** The cursor from the report of the previous slice; null starts at the beginning. */
  resumeFrom?: string | null;
  /** Called after each page. */
  onProgress?: (progress: SweepProgress) => void;
  /** Repairs a finding if possible. Absent: the sweep only reports. */
  repair?: (defect: Defect) => Promise<RepairOutcome>;
}

/** Findings in a report: more have the same cause, and a report must fit a value of the store. */
export const FINDINGS_MAX = 150;

/** Entries per read; more would block other readers for too long. */
const PAGE_SIZE = 500;
/** Indexes whose missing numbers or invoices are remembered: no later stage reports them again. */
const UNINDEXED = new Set(["invoice_by_number", "payment_by_invoice"]);
/** Missing numbers and invoices that a cursor remembers. */
const UNINDEXED_MAX = 100;

/** The end of a slice. */
interface Cursor {
  stage: string;
  /** The position within the stage; null at its beginning. */
  after: Key<unknown> | null;
  unindexed: string[];
}

/** A part of the walk, taken a page at a time. */
interface Stage {
  name: string;
  /** @returns The position of the next step; null at the end. */
  step(after: Key<unknown> | null): Promise<Key<unknown> | null>;
}

/**
 * Checks every invariant of the store, from the beginning or from the end of the
 * previous slice. Costs a read per 500 entries, one per ten keys that they refer
 * to, and one per suspect; a repair costs a few more. Memory for one page.
 *
 * @throws {AppError} `malformed` for an invalid `resumeFrom`; `unavailable` when
 * the store does not answer
 */
export async function sweep(
  { store }: { readonly store: Store },
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
    const tables: Stage[] = TABLES.map((table) => ({
      name: String(table.prefix[0]),
      step: (after) => this.#checkPage(table, after),
    }));
    // Before the invoices: an invoice that is repaired there matches its history again.
    const invoices = TABLES.findIndex(({ prefix }) => prefix[0] === invoicePrefix[0]);
    this.#stages = [
      ...tables.slice(0, invoices),
      { name: "invoice_payments", step: (after) => this.#checkPaid(after) },
      ...tables.slice(invoices),
      { name: "invoice_numbers", step: (after) => this.#checkNumbers(numbers, after) },
      { name: "others", step: (after) => this.#checkOthers(after) },
    ];
    this.#cursor = readCursor(options.resumeFrom ?? null) ??
      { stage: this.#stages[0]!.name, after: null, unindexed: [] };
  }

  get #isOver(): boolean {
    return performance.now() - this.#startedAt >= (this.#options.budgetMs ?? Infinity);
  }

  async run(): Promise<SweepReport> {
    const first = this.#stages.findIndex(({ name }) => name === this.#cursor.stage);
    if (first < 0) throw invalidCursor();
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

  /** Checks the next page of a table: reads what the page refers to, then judges each suspect. */
  async #checkPage(table: Table, after: Key<unknown> | null): Promise<Key<unknown> | null> {
    const { prefix, checks } = table;
    const page = await this.#store.listStored(prefix, {
      limit: PAGE_SIZE,
      ...(after ? { start: [...after, ""] } : {}),
    });
    const view = new View();
    const questions: Question[] = [];
    const suspects: Suspect[] = [];
    const isRepairing = this.#options.repair !== undefined;
    page.forEach((entry, pageIndex) => {
      const reading = view.add(entry);
      if ("fault" in reading) {
        const { fault } = reading;
        suspects.push(unreadable(table, entry.key, { fault, pageIndex }, this.#store));
      } else {
        const options = { pageIndex, isRepairing };
        questions.push(...questionsAbout(checks, entry.key, reading.value, options));
      }
    });
    suspects.push(...await findSuspects(questions, view, this.#store));
    if (isRepairing) suspects.push(...unreadableClaims(questions, view));
    suspects.sort((a, b) => a.pageIndex - b.pageIndex);
    const done = await this.#judgeAll(suspects, page.length);
    this.#count(prefix, done);
    return done === page.length && page.length < PAGE_SIZE ? null : page[done - 1]!.key;
  }

  /** @returns How many entries of the page are done; fewer than `entries` when the time is up. */
  async #judgeAll(suspects: readonly Suspect[], entries: number): Promise<number> {
    for (const [i, suspect] of suspects.entries()) {
      await this.#judge(suspect);
      const next = suspects[i + 1];
      if (next && next.pageIndex > suspect.pageIndex && this.#isOver) return next.pageIndex;
    }
    return entries;
  }

  async #checkNumbers(
    walk: NumberWalk,
    after: Key<unknown> | null,
  ): Promise<Key<unknown> | null> {
    const { suspects, next } = await walk.step(after, this.#cursor.unindexed);
    for (const { name, key, judge, repairRule } of suspects) {
      await this.#judge({
        check: name,
        severity: "critical",
        key,
        judge,
        repairRule,
        readKeys: [key],
        pageIndex: 0,
      });
    }
    return next;
  }

  async #checkPaid(after: Key<unknown> | null): Promise<Key<unknown> | null> {
    const { faults, next } = await comparePaid(this.#store, after);
    for (const { invoiceId, check, judge, repairRule, readKeys } of faults) {
      // Its index lacks a payment, so the amounts cannot match; that is a finding already.
      if (this.#cursor.unindexed.includes(invoiceId)) continue;
      await this.#judge({
        check,
        severity: "critical",
        key: invoiceKey(invoiceId),
        judge,
        repairRule: () => repairRule,
        readKeys,
        pageIndex: 0,
      });
    }
    return next;
  }

  /** Entries of no table are counted, and must be readable. */
  async #checkOthers(after: Key<unknown> | null): Promise<Key<unknown> | null> {
    const start = after ? { start: [...after, ""] } : {};
    const [first] = await this.#store.listStored([], { limit: 1, ...start });
    const name = first?.key[0];
    if (typeof name !== "string") return null;
    const prefix = [name];
    const isKnown = TABLES.some((table) => table.prefix[0] === name) || !isDurable(prefix);
    const isInside = after !== null && after[0] === name;
    const next = isKnown ? null : await this.#checkPage(
      { prefix, severity: "critical", checks: [] },
      isInside ? after : null,
    );
    return next ?? [`${name}\0`]; // after all keys that begin with the name
  }

  async #judge(suspect: Suspect): Promise<void> {
    const { check, severity, key, judge, readKeys, isClaim = false } = suspect;
    const detail = typeof judge === "string"
      ? judge
      : await judgeSnapshot(this.#store, judge, readKeys);
    if (detail === null) return;
    const repair = await this.#repair(suspect, detail);
    // The entry of a claim is checked again in its own table.
    if (repair === "resolved" || isClaim) return;
    this.#totals.findingsTotal++;
    if (severity === "critical") this.#totals.criticalTotal++;
    if (this.#findings.length < FINDINGS_MAX) {
      this.#findings.push({ check, severity, key: displayKey(key), detail, repair });
    }
    const { unindexed } = this.#cursor;
    if (check === "index.missing" && UNINDEXED.has(String(key[0]))) {
      if (unindexed.length < UNINDEXED_MAX) unindexed.push(String(key[1]));
    }
  }

  async #repair(suspect: Suspect, detail: string): Promise<Finding["repair"] | "resolved"> {
    const { check, key, judge, readKeys } = suspect;
    if (!this.#options.repair) return null;
    const repairRule = await suspect.repairRule();
    if (repairRule === null) return "not_repairable";
    const outcome = await this.#options.repair({
      check,
      displayKey: displayKey(key),
      detail,
      repairRule,
      readKeys,
      judge: typeof judge === "string" ? null : judge,
    });
    if (outcome.status === "gone") return "resolved";
    if (outcome.status !== "repaired") return outcome.status;
    this.#totals.repairsTotal++;
    if (this.#repairs.length < FINDINGS_MAX) this.#repairs.push(outcome.repair);
    return "resolved";
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
    throw invalidCursor();
  }
  if (!isCursor(cursor)) throw invalidCursor();
  return cursor;
}

function isCursor(value: unknown): value is Cursor {
  return typeof value === "object" && value !== null &&
    "stage" in value && typeof value.stage === "string" &&
    "after" in value && (value.after === null || Array.isArray(value.after)) &&
    "unindexed" in value && Array.isArray(value.unindexed);
}

function invalidCursor(): AppError {
  return new AppError("malformed", "Invalid sweep cursor");
}
