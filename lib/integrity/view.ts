/**
 * Judges stored values: on a view that is filled on demand, and on one snapshot.
 *
 * A judge may ask for a key that the view does not have. It then gets null, its
 * verdict does not count, and it runs again once the view has the key. So checks
 * are plain functions, and one read serves many of them.
 *
 * @module
 */
import type { Get } from "./indexes.ts";
import { hasValidShape } from "./shapes.ts";
import { chunksOf } from "../kv/chunks.ts";
import { decode } from "../kv/codec.ts";
import { type Key, keyText } from "../kv/keys.ts";
import type { Store, StoredEntry } from "../kv/store.ts";

/** Returns the fault in one line without personal data, or null. Pure. */
export type Judge = (get: Get) => string | null;

/** The verdict of a judge on a view. */
export interface Answer<R = string> {
  /** The fault, or null; null also if one of the keys is unreadable. */
  verdict: R | null;
  /** Whether the view had all of the keys; otherwise the verdict does not count. */
  isFinal: boolean;
  /** Whether all of the keys are readable. */
  isReadable: boolean;
  /** The keys that the judge asked for. */
  keys: Key<unknown>[];
}

/** Why an entry is unreadable: its bytes cannot be decoded, or the value does not fit its key. */
export type Fault = "undecodable" | "malformed";

/** An entry, read. */
export type Reading = { value: unknown } | { fault: Fault };

/** Concurrent reads: enough to hide latency, few enough to let others read in between. */
const READS_AT_ONCE = 10;
/** Retries of a snapshot whose entries began to refer to other keys. */
const MOVES_MAX = 3;

/** Stands for an unreadable value. */
const UNREADABLE = Symbol("unreadable");

/** The part of the store that was read. */
export class View {
  readonly #known = new Map<string, unknown>();
  readonly #faults = new Map<string, Fault>();
  readonly #missing = new Map<string, Key<unknown>>();

  /** Adds an entry that was read. */
  add(entry: StoredEntry): Reading {
    const reading = readEntry(entry);
    this.#take(entry.key, reading);
    return reading;
  }

  /** Adds a value that a transaction read; null for none. */
  addValue(key: Key<unknown>, value: unknown): void {
    this.#take(
      key,
      value === null || hasValidShape(value, key) ? { value } : { fault: "malformed" },
    );
  }

  /** Why an entry is unreadable; null if it is readable or was not read. */
  faultAt(key: Key<unknown>): Fault | null {
    return this.#faults.get(keyText(key)) ?? null;
  }

  /** Runs a judge. The next {@linkcode View.fill} reads the keys that the view does not have. */
  ask<R>(judge: (get: Get) => R | null): Answer<R> {
    const requested = new Map<string, Key<unknown>>();
    let isFinal = true;
    let isReadable = true;
    const verdict = judge(<T>(key: Key<T>): T | null => {
      const text = keyText(key);
      requested.set(text, key);
      const value = this.#known.get(text);
      if (value === undefined && !this.#known.has(text)) {
        this.#missing.set(text, key);
        isFinal = false;
        return null;
      }
      if (value !== UNREADABLE) return value as T | null; // its shape was checked against its key
      isReadable = false;
      return null;
    });
    // No verdict without all values; the unreadable one is a finding itself.
    const keys = [...requested.values()];
    return { verdict: isReadable ? verdict : null, isFinal, isReadable, keys };
  }

  #take(key: Key<unknown>, reading: Reading): void {
    const text = keyText(key);
    this.#known.set(text, "value" in reading ? reading.value : UNREADABLE);
    if ("fault" in reading) this.#faults.set(text, reading.fault);
  }

  /** Reads the keys that judges missed. */
  async fill(store: Store): Promise<void> {
    const keys = [...this.#missing.values()];
    this.#missing.clear();
    for (const round of chunksOf(chunksOf(keys), READS_AT_ONCE)) {
      const reads = round.map((chunk) => store.getStored(chunk));
      for (const entries of await Promise.all(reads)) {
        for (const entry of entries) this.add(entry);
      }
    }
  }
}

/**
 * Judges one snapshot of the store. A snapshot holds every commit whole or not at
 * all, so a fault in it is real whoever writes meanwhile.
 *
 * @param keys The keys that the judge asked for last; at most 10.
 * @returns The fault, or null; null also if the entries keep referring to other
 * keys: the next sweep checks them again.
 */
export async function judgeSnapshot(
  store: Store,
  judge: Judge,
  keys: readonly Key<unknown>[],
): Promise<string | null> {
  let toRead = keys;
  for (let move = 0; move <= MOVES_MAX; move++) {
    const view = new View();
    for (const entry of await store.getStored(toRead)) view.add(entry);
    const answer = view.ask(judge);
    if (answer.isFinal) return answer.verdict;
    toRead = answer.keys;
  }
  return null;
}

/** Decodes an entry and checks its shape; the value is null if there is no entry. */
export function readEntry({ key, value: bytes, versionstamp }: StoredEntry): Reading {
  if (versionstamp === null) return { value: null };
  if (!(bytes instanceof Uint8Array)) return { fault: "undecodable" };
  let value: unknown;
  try {
    value = decode(bytes);
  } catch {
    return { fault: "undecodable" }; // `decode()` throws for nothing else
  }
  return hasValidShape(value, key) ? { value } : { fault: "malformed" };
}
