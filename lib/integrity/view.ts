/**
 * Judging what is stored: over a view that is filled as it is asked for, and
 * over one snapshot.
 *
 * A judge may ask for a key that the view does not have. It is then told that
 * nothing is there, what it said does not count, and it is asked again when the
 * view has what it wanted. So checks are plain functions, and reads are made for
 * many of them at once.
 *
 * @module
 */
import type { Get } from "./indexes.ts";
import { isWhole } from "./shapes.ts";
import { decode } from "../kv/codec.ts";
import { type Key, keyText } from "../kv/keys.ts";
import type { Store, StoredEntry } from "../kv/store.ts";

/** Says what is wrong, in one line without personal data, or null. Pure. */
export type Judge = (get: Get) => string | null;

/** What a judge made of a view. */
export interface Answer<R = string> {
  /** What is wrong, or null; null also where something that it asked for cannot be read. */
  verdict: R | null;
  /** Whether the view had all that the judge asked for; otherwise the verdict does not count. */
  isFinal: boolean;
  /** Whether all that it asked for can be read. */
  isReadable: boolean;
  /** What it asked for. */
  keys: Key<unknown>[];
}

/** Why an entry cannot be read: its bytes are no value, or the value is not what its key promises. */
export type Fault = "undecodable" | "malformed";

/** An entry, read. */
export type Reading = { value: unknown } | { fault: Fault };

/** Keys that Deno KV reads as one snapshot. */
const KEYS_PER_READ = 10;
/** Reads under way at once: enough to hide latency, few enough to let others read in between. */
const READS_AT_ONCE = 10;
/** How often a snapshot is taken again because what it is about now refers to something else. */
const MOVES_MAX = 3;

/** Stands for a value that cannot be read. */
const UNREADABLE = Symbol("unreadable");

/** What is known of the store. */
export class View {
  readonly #known = new Map<string, unknown>();
  readonly #faults = new Map<string, Fault>();
  readonly #wanted = new Map<string, Key<unknown>>();

  /** Takes in what was read. */
  add(entry: StoredEntry): Reading {
    const reading = readEntry(entry);
    this.#take(entry.key, reading);
    return reading;
  }

  /** Takes in what a transaction found; null for nothing. */
  addValue(key: Key<unknown>, value: unknown): void {
    this.#take(key, value === null || isWhole(value, key) ? { value } : { fault: "malformed" });
  }

  /** Why an entry that was read cannot be; null if it can. */
  faultAt(key: Key<unknown>): Fault | null {
    return this.#faults.get(keyText(key)) ?? null;
  }

  /** Lets a judge look; what it misses will be in the next {@linkcode View.fill}. */
  ask<R>(judge: (get: Get) => R | null): Answer<R> {
    const asked = new Map<string, Key<unknown>>();
    let isFinal = true;
    let isReadable = true;
    const verdict = judge(<T>(key: Key<T>): T | null => {
      const text = keyText(key);
      asked.set(text, key);
      const value = this.#known.get(text);
      if (value === undefined && !this.#known.has(text)) {
        this.#wanted.set(text, key);
        isFinal = false;
        return null;
      }
      if (value !== UNREADABLE) return value as T | null; // whole, so of the type of its key
      isReadable = false;
      return null;
    });
    // About what refers to an unreadable value nothing can be said; the value is a finding itself.
    const keys = [...asked.values()];
    return { verdict: isReadable ? verdict : null, isFinal, isReadable, keys };
  }

  #take(key: Key<unknown>, reading: Reading): void {
    const text = keyText(key);
    this.#known.set(text, "value" in reading ? reading.value : UNREADABLE);
    if ("fault" in reading) this.#faults.set(text, reading.fault);
  }

  /** Reads what judges missed. */
  async fill(store: Store): Promise<void> {
    const keys = [...this.#wanted.values()];
    this.#wanted.clear();
    const perRound = KEYS_PER_READ * READS_AT_ONCE;
    for (let from = 0; from < keys.length; from += perRound) {
      const reads: Promise<StoredEntry[]>[] = [];
      for (let i = from; i < Math.min(from + perRound, keys.length); i += KEYS_PER_READ) {
        reads.push(store.getStored(keys.slice(i, i + KEYS_PER_READ)));
      }
      for (const entries of await Promise.all(reads)) {
        for (const entry of entries) this.add(entry);
      }
    }
  }
}

/**
 * Judges one snapshot of the store, which no commit is seen half in: what is
 * wrong there is wrong, whoever is writing meanwhile.
 *
 * @param keys What the judge asked for when it was last asked; at most 10.
 * @returns null also for what keeps moving, and is left to the next sweep.
 */
export async function judgeSnapshot(
  store: Store,
  judge: Judge,
  keys: readonly Key<unknown>[],
): Promise<string | null> {
  let wanted = keys;
  for (let move = 0; move <= MOVES_MAX; move++) {
    const view = new View();
    for (const entry of await store.getStored(wanted)) view.add(entry);
    const answer = view.ask(judge);
    if (answer.isFinal) return answer.verdict;
    wanted = answer.keys;
  }
  return null;
}

/** Reads an entry as it lies in the store; the value is null where nothing is. */
export function readEntry({ key, value: bytes, versionstamp }: StoredEntry): Reading {
  if (versionstamp === null) return { value: null };
  if (!(bytes instanceof Uint8Array)) return { fault: "undecodable" };
  let value: unknown;
  try {
    value = decode(bytes);
  } catch {
    return { fault: "undecodable" }; // the one thing that `decode()` throws for
  }
  return isWhole(value, key) ? { value } : { fault: "malformed" };
}
