/**
 * The sweep: a walk over the whole store that checks every invariant, also
 * beside writers at full speed, in little memory, and in as many slices as it
 * takes.
 *
 * A scan sees pages at different moments, so what looks wrong in it is only a
 * suspect. Each suspect is judged again on one snapshot, and only what is wrong
 * there is a finding. The sweep writes nothing: a finding is for a person, or
 * for a repair that decides with the same judge within a transaction.
 *
 * @module
 */
import { AppError } from "./errors.ts";
import { ROOMS } from "./integrity_checks.ts";
import type { Check, Room } from "./integrity_indexes.ts";
import { NumberWalk } from "./integrity_numbers.ts";
import { type Judge, judgeSnapshot, View } from "./integrity_view.ts";
import { isDurable, type Key, keyText, type Prefix } from "./kv/keys.ts";
import type { Severity } from "./kv/records.ts";
import type { Store, StoredEntry } from "./kv/store.ts";
import { REDACTED } from "./redact.ts";
import type { Services } from "./services.ts";

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
}

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
  /** The first {@linkcode FINDINGS_MAX} of this slice. */
  findings: Finding[];
  /** How many there were in this slice. */
  findingsTotal: number;
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
  /** How long to go on, in milliseconds; to the end when absent. A page is always finished. */
  budgetMs?: number;
  /** From the report of the slice before; null starts at the beginning. */
  resumeFrom?: string | null;
  /** Is told after each page. */
  onProgress?: (progress: SweepProgress) => void;
}

/** Findings that a report lists; with more the cause is one, and a report fits a value of the store. */
export const FINDINGS_MAX = 150;

/** Entries read at once; more would keep others from the store for too long. */
const PAGE_SIZE = 500;
/** Invoices that are not found by their number are remembered, so as not to be missed as well. */
const UNINDEXED_MAX = 100;

/** Keys that end in an e-mail address or phone number. */
const PERSONAL = new Set(["client_by_email", "client_by_phone"]);

/** Where a slice ended. */
interface Cursor {
  stage: string;
  /** The stage's own; null at its beginning. */
  after: Key<unknown> | null;
  unindexed: string[];
}

/** What looks wrong in the scan. */
interface Suspect {
  check: string;
  severity: Severity;
  key: Key<unknown>;
  judge: Judge;
  /** What the judge asked for. */
  asked: readonly Key<unknown>[];
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
 * that they refer to, and one for each suspect; memory for one page.
 *
 * @throws {AppError} `malformed` for a `resumeFrom` that is of no report;
 * `unavailable` when the store does not answer
 */
export async function sweep(
  { store }: Pick<Services, "store">,
  options: SweepOptions = {},
): Promise<SweepReport> {
  return await new Sweep(store, readCursor(options.resumeFrom ?? null)).run(options);
}

class Sweep {
  readonly #store: Store;
  readonly #cursor: Cursor;
  readonly #stages: readonly Stage[];
  readonly #counts: Record<string, number> = {};
  readonly #findings: Finding[] = [];
  #findingsTotal = 0;

  constructor(store: Store, cursor: Cursor | null) {
    this.#store = store;
    const numbers = new NumberWalk(store, PAGE_SIZE);
    this.#stages = [
      ...ROOMS.map((room) => ({
        name: String(room.prefix[0]),
        step: (after: Key<unknown> | null) => this.#lookAtPage(room, after),
      })),
      { name: "invoice_numbers", step: (after) => this.#lookAtNumbers(numbers, after) },
      { name: "others", step: (after) => this.#lookAtOthers(after) },
    ];
    this.#cursor = cursor ?? { stage: this.#stages[0]!.name, after: null, unindexed: [] };
  }

  async run({ budgetMs = Infinity, onProgress }: SweepOptions): Promise<SweepReport> {
    const startedAt = performance.now();
    const isOver = () => performance.now() - startedAt >= budgetMs;
    const first = this.#stages.findIndex(({ name }) => name === this.#cursor.stage);
    if (first < 0) throw unknownCursor();
    for (const stage of this.#stages.slice(first)) {
      if (stage.name !== this.#cursor.stage) this.#goTo(stage.name);
      do {
        this.#cursor.after = await stage.step(this.#cursor.after);
        onProgress?.({
          prefix: stage.name,
          entries: Object.values(this.#counts).reduce((sum, count) => sum + count, 0),
          findings: this.#findingsTotal,
        });
        if (!isOver()) continue;
        if (this.#cursor.after !== null) return this.#report(startedAt, this.#cursor);
        const next = this.#stages[this.#stages.indexOf(stage) + 1];
        if (next) return this.#report(startedAt, { ...this.#cursor, stage: next.name });
      } while (this.#cursor.after !== null);
    }
    return this.#report(startedAt, null);
  }

  #goTo(stage: string): void {
    this.#cursor.stage = stage;
    this.#cursor.after = null;
  }

  #report(startedAt: number, cursor: Cursor | null): SweepReport {
    return {
      isComplete: cursor === null,
      resumeFrom: cursor && JSON.stringify(cursor),
      counts: this.#counts,
      findings: this.#findings,
      findingsTotal: this.#findingsTotal,
      durationMs: Math.round(performance.now() - startedAt),
    };
  }

  /** Looks at the next page under a prefix: first over what the page refers to, then at each suspect. */
  async #lookAtPage(
    { prefix, severity, checks }: Room,
    after: Key<unknown> | null,
  ): Promise<Key<unknown> | null> {
    const page = await this.#store.listStored(prefix, {
      limit: PAGE_SIZE,
      ...(after ? { start: [...after, ""] } : {}),
    });
    this.#count(prefix, page.length);
    const view = new View();
    const questions: Omit<Suspect, "asked">[] = [];
    for (const entry of page) {
      const reading = view.add(entry);
      if ("fault" in reading) this.#addUnreadable(entry, reading.fault, severity);
      else questions.push(...checks.map((check) => question(check, entry.key, reading.value)));
    }
    for (const suspect of await this.#suspectsOf(questions, view)) await this.#judge(suspect);
    return page.length < PAGE_SIZE ? null : page.at(-1)!.key;
  }

  async #suspectsOf(questions: Omit<Suspect, "asked">[], view: View): Promise<Suspect[]> {
    const suspects: Suspect[] = [];
    for (let open = questions; open.length > 0;) {
      const again: typeof open = [];
      for (const question of open) {
        const { verdict, isFinal, keys } = view.ask(question.judge);
        if (!isFinal) again.push(question);
        else if (verdict !== null) suspects.push({ ...question, asked: keys });
      }
      await view.fill(this.#store);
      open = again;
    }
    return suspects;
  }

  async #lookAtNumbers(
    walk: NumberWalk,
    after: Key<unknown> | null,
  ): Promise<Key<unknown> | null> {
    const { suspects, next } = await walk.step(after, this.#cursor.unindexed);
    for (const { name, key, judge } of suspects) {
      await this.#judge({ check: name, severity: "critical", key, judge, asked: [key] });
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

  async #judge({ check, severity, key, judge, asked }: Suspect): Promise<void> {
    const detail = await judgeSnapshot(this.#store, judge, asked);
    if (detail === null) return;
    this.#add({ check, severity, key: shown(key), detail });
    const { unindexed } = this.#cursor;
    if (check === "index.missing" && key[0] === "invoice_by_number") {
      if (unindexed.length < UNINDEXED_MAX) unindexed.push(String(key[1]));
    }
  }

  /** An entry by itself is a snapshot. */
  #addUnreadable(
    { key }: StoredEntry,
    fault: "undecodable" | "malformed",
    severity: Severity,
  ): void {
    const detail = fault === "undecodable"
      ? "What is stored is no value that this program can read"
      : "What is stored is not what belongs under its key";
    this.#add({ check: `value.${fault}`, severity, key: shown(key), detail });
  }

  #add(finding: Finding): void {
    this.#findingsTotal++;
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push(finding);
  }

  #count(prefix: Prefix<unknown>, entries: number): void {
    const name = String(prefix[0]);
    this.#counts[name] = (this.#counts[name] ?? 0) + entries;
  }
}

/** A check of an entry, as it is in the view or snapshot that is asked. */
function question(check: Check, key: Key<unknown>, value: unknown): Omit<Suspect, "asked"> {
  return {
    check: check.name,
    severity: check.severity,
    key: check.at(value, key),
    judge(get) {
      const present = get(key);
      return present === null ? null : check.judge(present, key, get);
    },
  };
}

function shown(key: Key<unknown>): string {
  return keyText(PERSONAL.has(String(key[0])) ? [key[0]!, REDACTED] : key);
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
