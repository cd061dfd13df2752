/**
 * Invoice numbers: per series and year they are 1, 2, 3 and so on up to where
 * the sequence stands, without gaps.
 *
 * The index by number is walked in its order, so that any count of invoices is
 * checked in little memory. Text order is not number order where digits are
 * added (`1000000` comes before `999999`), so each length is a walk of its own.
 *
 * @module
 */
import type { Mender } from "./indexes.ts";
import { type Judge, View } from "./view.ts";
import * as keys from "../kv/keys.ts";
import type { InvoiceSequence } from "../kv/records.ts";
import type { Store, StoredEntry } from "../kv/store.ts";

/** What looks wrong with the numbers, to be judged on a snapshot. */
export interface NumberSuspect {
  /** What the finding would be called. */
  name: "invoice.number_gap" | "sequence.wrong";
  /** Where. */
  key: keys.Key<unknown>;
  /** Says whether it is so. */
  judge: Judge;
  /** What mends it; null where only a person can. */
  mender: () => Promise<Mender | null>;
}

/** A series in a year. */
export interface Group {
  /** Such as `INV`. */
  series: string;
  /** Of the business. */
  year: number;
}

/** An invoice number taken apart. */
export interface NumberParts extends Group {
  /** From 1 up. */
  count: number;
}

/** The parts of an invoice number, or null if it is not one as the program writes them. */
export function parseNumber(number: string): NumberParts | null {
  const [, series, year, count = ""] = /^([A-Z]+)-(\d{4})-(\d{6,15})$/.exec(number) ?? [];
  if (series === undefined || (count.length > 6 && count.startsWith("0"))) return null;
  return Number(count) === 0 ? null : { series, year: Number(year), count: Number(count) };
}

/** Where a walk is. */
interface Place extends Group {
  /** The next number to come. */
  expected: number;
  /** The last number seen, as text; what comes before the first one otherwise. */
  after: string;
  /** Whether the sequence was suspected before; once is enough. */
  isSuspected: boolean;
}

/** Digits that a number has at least. */
const DIGITS = 6;
const INDEX: keys.Prefix<string> = ["invoice_by_number"];
const SEQUENCES: keys.Prefix<InvoiceSequence> = ["invoice_sequence"];
/** Numbers read at once in search of the highest. */
const SCAN_PAGE = 500;
/** There is one for each series and year. */
const SEQUENCES_MAX = 10_000;

/** Walks the numbers of every series and year, a page at a time. */
export class NumberWalk {
  readonly #store: Store;
  readonly #pageSize: number;
  #groups: Group[] | undefined;

  /** Reads from `store`, so many entries at a time. */
  constructor(store: Store, pageSize: number) {
    this.#store = store;
    this.#pageSize = pageSize;
  }

  /**
   * Looks at one page.
   *
   * @param from Where the last step ended; null to start.
   * @param unindexed Numbers of invoices that the index is known to lack: those are no gaps.
   * @returns What looks wrong, and where to go on; null at the end.
   */
  async step(
    from: keys.Key<unknown> | null,
    unindexed: readonly string[],
  ): Promise<{ suspects: NumberSuspect[]; next: keys.Key<unknown> | null }> {
    const groups = this.#groups ??= await this.#findGroups();
    const place = placeOf(from) ?? firstPlace(groups[0]);
    if (!place) return { suspects: [], next: null };
    const { suspects, next } = await this.#walk(place, unindexed);
    if (next) return { suspects, next: keyOf(next) };
    const following = firstPlace(groups.find((group) => nameOf(group) > nameOf(place)));
    return { suspects, next: following ? keyOf(following) : null };
  }

  async #walk(
    place: Place,
    unindexed: readonly string[],
  ): Promise<{ suspects: NumberSuspect[]; next: Place | null }> {
    const { series, year } = place;
    // Before the page: numbers up to where it stood then are in any later page.
    const [sequence] = await this.#store.getStored([keys.invoiceSequence(series, year)]);
    const last = sequence ? lastOf(sequence) : null;
    const page = await this.#store.listStored(INDEX, {
      limit: this.#pageSize,
      start: [...INDEX, place.after, ""],
      end: [...INDEX, afterGroup(place)],
    });
    const digits = Math.max(DIGITS, String(place.expected).length);
    const suspects: NumberSuspect[] = [];
    let { expected, after, isSuspected } = place;
    let beyond: number | null = null;
    for (const { key } of page) {
      after = String(key[1]);
      const count = parseNumber(after)?.count;
      if (count === undefined) continue; // its invoice says so
      if (last === null || count > last) beyond ??= count;
      if (String(count).padStart(DIGITS, "0").length !== digits) continue;
      if (count > expected && last !== null) {
        suspects.push(...gaps(place, expected, Math.min(count - 1, last), unindexed));
      }
      expected = count + 1;
    }
    if (beyond !== null && !isSuspected) {
      isSuspected = true;
      suspects.push(wrongSequence(this.#store, place, beyond));
    }
    if (page.length === this.#pageSize) {
      return { suspects, next: { series, year, expected, after, isSuspected } };
    }
    if (last === null) return { suspects, next: null };
    const nextLength = 10 ** digits;
    suspects.push(...gaps(place, expected, Math.min(last, nextLength - 1), unindexed));
    return {
      suspects,
      next: last < nextLength
        ? null
        : { series, year, expected: nextLength, after: `${nameOf(place)}-`, isSuspected },
    };
  }

  /** Every series and year that has a sequence or a number, by name. */
  async #findGroups(): Promise<Group[]> {
    const groups = new Map<string, Group>();
    const add = (group: Group) => groups.set(nameOf(group), group);
    for (const { key } of await this.#store.listStored(SEQUENCES, { limit: SEQUENCES_MAX })) {
      add({ series: String(key[1]), year: Number(key[2]) });
    }
    let start: keys.Key<unknown> = [...INDEX, ""];
    for (;;) {
      const [first] = await this.#store.listStored(INDEX, { limit: 1, start });
      if (!first) break;
      const group = parseNumber(String(first.key[1]));
      if (group) add(group);
      start = group ? [...INDEX, afterGroup(group)] : [...first.key, ""];
    }
    return [...groups.values()].sort((a, b) => nameOf(a) < nameOf(b) ? -1 : 1);
  }
}

/** The runs of missing numbers from one to another. */
function gaps(
  group: Group,
  from: number,
  to: number,
  unindexed: readonly string[],
): NumberSuspect[] {
  const known = unindexed.map(parseNumber)
    .filter((parts) => parts !== null && nameOf(parts) === nameOf(group))
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
  const [first, last] = [from, to].map((count) => keys.invoiceByNumber(numberOf(group, count)));
  return {
    name: "invoice.number_gap",
    key: first!,
    mender: () => Promise.resolve(null),
    judge(get) {
      const isGiven = (get(sequence)?.last ?? 0) >= to;
      const isThere = get(first!) !== null || get(last!) !== null;
      if (isThere || !isGiven) return null;
      return from === to
        ? "No invoice has it"
        : `None has it, nor any up to ${numberOf(group, to)}`;
    },
  };
}

function wrongSequence(store: Store, group: Group, count: number): NumberSuspect {
  const key = keys.invoiceSequence(group.series, group.year);
  const number = numberOf(group, count);
  return {
    name: "sequence.wrong",
    key,
    mender: () => raisingSequence(key, store),
    judge(get) {
      const isGiven = get(keys.invoiceByNumber(number)) !== null;
      const last = get(key)?.last ?? null;
      if (!isGiven || (last !== null && last >= count)) return null;
      return `${number} was given, and it ${last === null ? "is not there" : `stands at ${last}`}`;
    },
  };
}

/**
 * What sets a sequence that stands too low, or cannot be read, to the highest
 * number that is there. Costs a read for every 500 numbers of its series and year.
 *
 * @returns null if there is no number to tell where it stood.
 */
export async function raisingSequence(
  key: keys.Key<unknown>,
  store: Store,
): Promise<Mender | null> {
  const group = { series: String(key[1]), year: Number(key[2]) };
  const highest = await highestOf(group, store);
  if (highest === null) return null;
  const sequence = keys.invoiceSequence(group.series, group.year);
  return () => ({
    done: `It stands at ${highest} now`,
    put: (writes) => writes.set(sequence, { last: highest }),
  });
}

async function highestOf(group: Group, store: Store): Promise<number | null> {
  let highest: number | null = null;
  let after = `${nameOf(group)}-`;
  for (;;) {
    const page = await store.listStored(INDEX, {
      limit: SCAN_PAGE,
      start: [...INDEX, after, ""],
      end: [...INDEX, afterGroup(group)],
    });
    for (const { key } of page) {
      const count = parseNumber(String(key[1]))?.count;
      if (count !== undefined) highest = Math.max(highest ?? 0, count);
    }
    if (page.length < SCAN_PAGE) return highest;
    after = String(page.at(-1)!.key[1]);
  }
}

/** Where a sequence stands; null if it is not there, or cannot be read, which is found elsewhere. */
function lastOf(entry: StoredEntry): number | null {
  const reading = new View().add(entry);
  if (!("value" in reading)) return null;
  return (reading.value as InvoiceSequence | null)?.last ?? null; // whole, by its key
}

function numberOf(group: Group, count: number): string {
  return `${nameOf(group)}-${String(count).padStart(DIGITS, "0")}`;
}

function nameOf({ series, year }: Group): string {
  return `${series}-${year}`;
}

/** After all numbers of a group, for `.` comes after `-`, and before those of any other. */
function afterGroup(group: Group): string {
  return `${nameOf(group)}.`;
}

function firstPlace(group: Group | undefined): Place | undefined {
  return group && { ...group, expected: 1, after: `${nameOf(group)}-`, isSuspected: false };
}

function keyOf({ series, year, expected, after, isSuspected }: Place): keys.Key<unknown> {
  return [series, year, expected, after, isSuspected ? 1 : 0];
}

function placeOf(key: keys.Key<unknown> | null): Place | null {
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
