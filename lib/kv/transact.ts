/**
 * Read, decide, commit: the only way the program writes to the store.
 *
 * `transact()` hides what a key-value store far away does to a write: a commit
 * may be applied and yet throw, come back as a conflict, or land seconds after
 * it was given up. Each transaction therefore carries an operation id and
 * writes a receipt under it in the same atomic, which also checks that there is
 * none yet; every retry looks there first. Before failure is reported, a fence
 * is written to that key, after which the given-up commit can never apply.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { currentContext, newMeter } from "../telemetry/log.ts";
import type { Key } from "./keys.ts";
import { keyText, receipt } from "./keys.ts";
import type { Store } from "./store.ts";

/** Keys to read, by name; at most 10 with the receipt, as many as Deno KV reads at once. */
export type Reads = Record<string, Key<unknown>>;

/** What was found at each key of `K`; `null` where there is nothing. */
export type Found<K extends Reads> = {
  readonly [N in keyof K]: K[N] extends Key<infer T> ? T | null : never;
};

/** Collects the writes of one decision. */
export interface Writes {
  /**
   * Puts a value at a key. `expireIn` is in milliseconds and only garbage
   * collection: readers must compare an `exp` of the value's own.
   *
   * @throws {AppError} `payload_too_large` if the value takes more than 64 KiB.
   */
  set<T>(key: Key<T>, value: T, options?: { expireIn?: number }): void;
  /** Deletes what is at `key`, if anything. */
  delete(key: Key<unknown>): void;
}

/**
 * Something that every write of a caller has to pass, such as a rate limit: its
 * key is read, decided on and written with the rest, before `decide` is asked.
 */
export interface Guard<T> {
  /** Where its state is kept. */
  readonly key: Key<T>;
  /** The state after this write, and its `expireIn`. Throws to refuse; may be asked several times. */
  pass(found: T | null): { value: T; expireIn: number };
}

/** One intent of a caller, that must take effect at most once. */
export interface Operation {
  /** Unique: a digest of the caller's Idempotency-Key and its scope, or a new id. */
  id: string;
  /** Digest of the request; another one under the same id is refused. */
  fingerprint: string;
  /** Nobody can have used the id before: its receipt need not be looked for at first. */
  isNew: boolean;
  /** How long the receipt is kept, in milliseconds. */
  keepMs: number;
  /** What the write has to pass; a repeated operation passes nothing again. */
  guards?: readonly Guard<unknown>[];
}

/** Options for {@linkcode transact}. */
export interface TransactOptions {
  /** What the receipt is filed under. */
  operation: Operation;
  /**
   * Names a key that everyone writes, such as a number sequence. On a remote
   * store, transactions of this process under one name are grouped; the
   * embedded store groups all that wait anyway.
   */
  hotKey?: string;
}

const READS_MAX = 9;

/**
 * Reads `reads`, lets `decide` choose the writes, and commits them together
 * with the receipt and a log entry if nothing that was read has changed;
 * otherwise starts again. One read round trip and one commit when undisturbed;
 * what waits at the same time in this process may share them.
 *
 * @param decide Pure and synchronous: the same values give the same writes.
 * What it throws is rethrown, with nothing written. It may run several times.
 * @returns What `decide` returned for the values that were committed on, or
 * what an earlier call with the same operation id was told.
 * @throws {AppError} `idempotency_key_reused`; `unavailable` when nothing was
 * and nothing will be stored; `outcome_unknown` when that could not be made sure.
 */
export async function transact<K extends Reads, R>(
  { store }: { readonly store: Store },
  reads: K,
  decide: (found: Found<K>, writes: Writes) => R,
  { operation, hotKey }: TransactOptions,
): Promise<R> {
  const names = Object.keys(reads);
  const guards = operation.guards ?? [];
  const keys = [...Object.values(reads), ...guards.map(({ key }) => key)];
  if (keys.length > READS_MAX) {
    throw new AppError("internal", `A transaction reads at most ${READS_MAX} keys`);
  }
  const operationKey = receipt(operation.id);
  const result = await store.committer.submit({
    operation,
    receipt: { key: operationKey, text: keyText(operationKey) },
    reads: keys.map((key) => ({ key, text: keyText(key) })),
    decide: (values, writes) => {
      guards.forEach((guard, i) => {
        const { value, expireIn } = guard.pass(values[names.length + i]);
        writes.set(guard.key, value, { expireIn });
      });
      const found = Object.fromEntries(names.map((name, i) => [name, values[i]]));
      return decide(found as Found<K>, writes);
    },
    meter: currentContext()?.meter ?? newMeter(),
    hotKey,
  });
  return result as R; // what this `decide` returned, now or under the same id before
}
