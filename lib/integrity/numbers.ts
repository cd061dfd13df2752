/**
 * Invoice numbers: per series and year they run from 1 to the value of the
 * sequence, without gaps.
 *
 * The check walks the index by number in its order, so any number of invoices
 * takes little memory. Text order is not number order where digits are added
 * (`1000000` comes before `999999`), so each length is a walk of its own.
 *
 * @module
 */
import type { RepairRule } from "./indexes.ts";
import { type Judge, View } from "./view.ts";
import * as keys from "../kv/keys.ts";
import type { InvoiceSequence } from "../kv/records.ts";
import type { Store, StoredEntry } from "../kv/store.ts";

/** A gap or a sequence that looks wrong, to be judged on a snapshot. */
export interface NumberSuspect {
  /** The name of the finding. */
  name: "invoice.number_gap" | "sequence.wrong";
  /** The key of the finding. */
  key: keys.Key<unknown>;
  /** Decides whether the suspect is a finding. */
  judge: Judge;
  /** Resolves to the repair; null where only a person can repair. */
  repairRule: () => Promise<RepairRule | null>;
}

/** A series in a year. */
export interface Group {
  /** Such as `INV`. */
  series: string;
  /** The calendar year in the shop's time zone. */
  year: number;
}

/** The parts of an invoice number. */
export interface NumberParts extends Group {
  /** From 1 up. */
  count: number;
}

/** Parses an invoice number; null if the program does not write such a number. */
export function parseNumber(number: string): NumberParts | null {
  const [, series, year, count = ""] = /^([A-Z]+)-(\d{4})-(\d{6,15})$/.exec(number) ?? [];
  if (series === undefined || (count.length > 6 && count.startsWith("0"))) return null;
  return Number(count) === 0 ? null : { series, year: Number(year), count: Number(count) };
}

/** The position of a walk. */
interface Position extends Group {
  /** The next expected count. */
  expected: number;
  /** The last number seen, as text; a text before the first number otherwise. */
  after: string;
  /** Whether the sequence is a suspect already; one finding is enough. */
  isSuspected: boolean;
}

/** The least digits of a number. */
const DIGITS = 6;
const INDEX: keys.Prefix<string> = ["invoice_by_number"];
const SEQUENCES: keys.Prefix<InvoiceSequence> = ["invoice_sequence"];
/** Numbers per page in the search for the highest. */
const SCAN_PAGE = 500;
/** One sequence per series and year. */
const SEQUENCES_MAX = 10_000;

/** Walks the numbers of every series and year, a page at a time. */
export class NumberWalk {
  readonly #store: Store;
  readonly #pageSize: number;
  #groups: Group[] | undefined;

  /** Reads `pageSize` entries at a time from `store`. */
  constructor(store: Store, pageSize: number) {
    this.#store = store;
    this.#pageSize = pageSize;
  }

  /**
   * Checks one page.
   *
   * @param from The position from the previous step; null to start.
   * @param unindexed Numbers of invoices that the index is known to lack: those are no gaps.
   * @returns The suspects, and the position of the next step; null at the end.
   */
  async step(
    from: keys.Key<unknown> | null,
    unindexed: readonly string[],
  ): Promise<{ suspects: NumberSuspect[]; next: keys.Key<unknown> | null }> {
    const groups = this.#groups ??= await this.#findGroups();
    const position = decodePosition(from) ?? startOf(groups[0]);
    if (!position) return { suspects: [], next: null };
    const { suspects, next } = await this.#walk(position, unindexed);
    if (next) return { suspects, next: encodePosition(next) };
    const following = startOf(groups.find((group) => groupName(group) > groupName(position)));
    return { suspects, next: following ? encodePosition(following) : null };
  }

  async #walk(
    position: Position,
    unindexed: readonly string[],
  ): Promise<{ suspects: NumberSuspect[]; next: Position | null }> {
    const { series, year } = position;
    // Before the page: a later page has all numbers up to this value.
    const [sequence] = await this.#store.getStored([keys.invoiceSequence(series, year)]);
    const last = sequence ? sequenceValue(sequence) : null;
    const page = await this.#store.listStored(INDEX, {
      limit: this.#pageSize,
      start: [...INDEX, position.after, ""],
      end: [...INDEX, endOfGroup(position)],
    });
    const digits = Math.max(DIGITS, String(position.expected).length);
    const suspects: NumberSuspect[] = [];
    let { expected, after, isSuspected } = position;
    let beyond: number | null = null;
    for (const { key } of page) {
      after = String(key[1]);
      const count = parseNumber(after)?.count;
      if (count === undefined) continue; // a finding of its invoice
      if (last === null || count > last) beyond ??= count;
      if (String(count).padStart(DIGITS, "0").length !== digits) continue;
      if (count > expected && last !== null) {
        suspects.push(...gaps(position, expected, Math.min(count - 1, last), unindexed));
      }
      expected = count + 1;
    }
    if (beyond !== null && !isSuspected) {
      isSuspected = true;
      suspects.push(wrongSequence(this.#store, position, beyond));
    }
    if (page.length === this.#pageSize) {
      return { suspects, next: { series, year, expected, after, isSuspected } };
    }
    if (last === null) return { suspects, next: null };
    const nextLength = 10 ** digits;
    suspects.push(...gaps(position, expected, Math.min(last, nextLength - 1), unindexed));
    return {
      suspects,
      next: last < nextLength
        ? null
        : { series, year, expected: nextLength, after: `${groupName(position)}-`, isSuspected },
    };
  }

  /** Every series and year that has a sequence or a number, by name. */
  async #findGroups(): Promise<Group[]> {
    const groups = new Map<string, Group>();
    const add = (group: Group) => groups.set(groupName(group), group);
    for (const { key } of await this.#store.listStored(SEQUENCES, { limit: SEQUENCES_MAX })) {
      add({ series: String(key[1]), year: Number(key[2]) });
    }
    let start: keys.Key<unknown> = [...INDEX, ""];
    for (;;) {
      const [first] = await this.#store.listStored(INDEX, { limit: 1, start });
      if (!first) break;
      const group = parseNumber(String(first.key[1]));
      if (group) add(group);
      start = group ? [...INDEX, endOfGroup(group)] : [...first.key, ""];
    }
    return [...groups.values()].sort((a, b) => groupName(a) < groupName(b) ? -1 : 1);
  }
}

/** The runs of missing numbers from one count to another. */
function gaps(
  group: Group,
  from: number,
  to: number,
  unindexed: readonly string[],
): NumberSuspect[] {
  const known = unindexed.map(parseNumber)
    .filter((parts) => parts !== null && groupName(parts) === groupName(group))
    .map((parts) => parts!.count).filter((count) => count >= from && count <= to)
    .sort((a, b) => a - b);
  const suspects: NumberSuspect[] = [];
  let start = from;
  for (const end of [...known, to + 1]) {
    if (end > start) suspects.push(gap(group, start, end - 1));
    start = end + 1;
  }
  return suspects;
}

function gap(group: Group, from: number, to: number): NumberSuspect {
  const sequence = keys.invoiceSequence(group.series, group.year);
  const [first, last] = [from, to].map((count) => keys.invoiceByNumber(formatNumber(group, count)));
  return {
    name: "invoice.number_gap",
    key: first!,
    repairRule: () => Promise.resolve(null),
    judge(get) {
      const isIssued = (get(sequence)?.last ?? 0) >= to;
      const isThere = get(first!) !== null || get(last!) !== null;
      if (isThere || !isIssued) return null;
      return from === to
        ? "No invoice has this number"
        : `No invoice has this number or any up to ${formatNumber(group, to)}`;
    },
  };
}

function wrongSequence(store: Store, group: Group, count: number): NumberSuspect {
  const key = keys.invoiceSequence(group.series, group.year);
  const number = formatNumber(group, count);
  return {
    name: "sequence.wrong",
    key,
    repairRule: () => raisingSequence(key, store),
    judge(get) {
      const isIssued = get(keys.invoiceByNumber(number)) !== null;
      const last = get(key)?.last ?? null;
      if (!isIssued || (last !== null && last >= count)) return null;
      return `${number} was issued, the sequence ${last === null ? "is missing" : `is at ${last}`}`;
    },
  };
}

/**
 * Sets a sequence that is too low, missing or unreadable to the highest number in
 * the index. Costs a read per 500 numbers of its series and year.
 *
 * @returns The repair; null if the index has no number of the series and year.
 */
export async function raisingSequence(
  key: keys.Key<unknown>,
  store: Store,
): Promise<RepairRule | null> {
  const group = { series: String(key[1]), year: Number(key[2]) };
  const highest = await highestOf(group, store);
  if (highest === null) return null;
  const sequence = keys.invoiceSequence(group.series, group.year);
  return () => ({
    done: `Sequence set to ${highest}`,
    put: (writes) => writes.set(sequence, { last: highest }),
  });
}

async function highestOf(group: Group, store: Store): Promise<number | null> {
  let highest: number | null = null;
  let after = `${groupName(group)}-`;
  for (;;) {
    const page = await store.listStored(INDEX, {
      limit: SCAN_PAGE,
      start: [...INDEX, after, ""],
      end: [...INDEX, endOfGroup(group)],
    });
    for (const { key } of page) {
      const count = parseNumber(String(key[1]))?.count;
      if (count !== undefined) highest = Math.max(highest ?? 0, count);
    }
    if (page.length < SCAN_PAGE) return highest;
    after = String(page.at(-1)!.key[1]);
  }
}

/** The value of a sequence; null if it is missing, or unreadable, which is a finding itself. */
function sequenceValue(entry: StoredEntry): number | null {
  const reading = new View().add(entry);
  if (!("value" in reading)) return null;
  return (reading.value as InvoiceSequence | null)?.last ?? null; // its shape was checked
}

function formatNumber(group: Group, count: number): string {
  return `${groupName(group)}-${String(count).padStart(DIGITS, "0")}`;
}

function groupName({ series, year }: Group): string {
  return `${series}-${year}`;
}

/** Sorts after all numbers of a group, as `.` comes after `-`, and before any other group. */
function endOfGroup(group: Group): string {
  return `${groupName(group)}.`;
}

function startOf(group: Group | undefined): Position | undefined {
  return group && { ...group, expected: 1, after: `${groupName(group)}-`, isSuspected: false };
}

function encodePosition(
  { series, year, expected, after, isSuspected }: Position,
): keys.Key<unknown> {
  return [series, year, expected, after, isSuspected ? 1 : 0];
}

function decodePosition(key: keys.Key<unknown> | null): Position | null {
  if (!key) return null;
  const [series, year, expected, after, isSuspected] = key;
  return {
    series: String(series),
    year: Number(year),
    expected: Number(expected),
    after: String(after),
    isSuspected: isSuspected === 1,
  };
}
