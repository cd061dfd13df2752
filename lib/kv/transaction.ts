/**
 * The types of a transaction: what it reads, what it writes, and who it belongs to.
 *
 * @module
 */
import type { Key } from "./keys.ts";

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
 * A condition on every write of a caller, such as a rate limit: its key is read,
 * decided on and written with the rest, before `decide` is called.
 */
export interface Guard<T> {
  /** Where its state is kept. */
  readonly key: Key<T>;
  /** The state after this write, and its `expireIn`. Throws to refuse; may be called several times. */
  pass(found: T | null): { value: T; expireIn: number };
}

/** One intent of a caller, that must take effect at most once. */
export interface Operation {
  /** Unique: a digest of the caller's Idempotency-Key and its scope, or a new id. */
  id: string;
  /** Digest of the request; another one under the same id is refused. */
  fingerprint: string;
  /** Nobody can have used the id before, so the first attempt does not read its receipt. */
  isNew: boolean;
  /** How long the receipt is kept, in milliseconds. */
  keepMs: number;
  /** Conditions on the write; a replayed operation is not checked again. */
  guards?: readonly Guard<unknown>[];
}

/** A key and its text. */
export interface TextKey {
  /** As Deno KV takes it. */
  key: Key<unknown>;
  /** What `keyText()` makes of it, made once. */
  text: string;
}

/** An entry as read; `bytes` is null where there is nothing. */
export interface Seen {
  /** The key that was read. */
  key: Key<unknown>;
  /** Its revision, where the commit checks each key; null where there is nothing. */
  versionstamp: string | null;
  /** The value as it is stored; null where there is nothing. */
  bytes: Uint8Array | null;
}

/** What is at each key, by the key's text. */
export type View = Map<string, Seen>;
