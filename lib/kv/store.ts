/**
 * The store: one open Deno KV with deadlines on every call, values as bytes, and the
 * committer for all writes. Opened once per process.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { currentContext } from "../telemetry/mod.ts";
import { type Clock, withDeadline } from "../time.ts";
import { traced } from "../telemetry/tracing.ts";
import { chunksOf } from "./chunks.ts";
import { decode, encode } from "./codec.ts";
import { Committer, type CommitterOptions, type WriteListener } from "./committer.ts";
import { DEADLINES, type Deadlines } from "./deadlines.ts";
import { type Key, type Prefix, probe } from "./keys.ts";

/** What the store needs of a Deno KV; tests pass a faulty one. */
export type KvPort = Pick<
  Deno.Kv,
  "getMany" | "list" | "atomic" | "commitVersionstamp" | "close"
>;

/** How the store is opened. */
export interface StoreOptions extends Omit<CommitterOptions, "deadlines"> {
  /** {@linkcode DEADLINES} when absent. */
  deadlines?: Deadlines;
}

/** An entry of a listing. */
export interface Listed<T> {
  /** The whole key, prefix included. */
  key: Key<T>;
  /** Decoded, and upgraded to the current schema. */
  value: T;
}

/** An entry as stored, whether or not it can be decoded. */
export interface StoredEntry {
  /** The whole key, prefix included. */
  key: Key<unknown>;
  /** The stored value: bytes of `encode()`, unless another program wrote it. Null if there is none. */
  value: unknown;
  /** Its revision; null if there is none. */
  versionstamp: string | null;
}

/** Bounds of a listing. */
export interface ListOptions {
  /** The largest number of entries. */
  limit: number;
  /** Newest (highest key) first. */
  reverse?: boolean;
  /** Only keys before this one, in key order. */
  end?: Key<unknown>;
  /** Only this key and later ones, in key order. */
  start?: Key<unknown>;
}

/** What every use case needs: the stored data, and the time. */
export interface StoreServices {
  /** The one way to the stored data. */
  readonly store: Store;
  /** The time, in milliseconds UTC. */
  readonly clock: Clock;
}

/** A key for each of the values `T`. */
export type KeysOf<T extends readonly unknown[]> = readonly [...{ [I in keyof T]: Key<T[I]> }];
/** Each of the values `T`, or null where there is nothing. */
export type FoundOf<T extends readonly unknown[]> = { -readonly [I in keyof T]: T[I] | null };

/** An open store. */
export class Store implements Disposable {
  /** Commits every write; use `transact()`. */
  readonly committer: Committer;
  readonly #kv: KvPort;
  readonly #deadlines: Deadlines;

  /** Takes ownership of an open Deno KV. */
  constructor(kv: KvPort, options: StoreOptions) {
    this.#kv = kv;
    this.#deadlines = options.deadlines ?? DEADLINES;
    this.committer = new Committer(kv, { deadlines: this.#deadlines, ...options });
  }

  /** Calls `listener` after each commit of this process that set a key under `prefix`. */
  onWrite(prefix: Prefix<unknown>, listener: WriteListener): void {
    this.committer.onWrite(prefix, listener);
  }

  /** Reads one key. One round trip. @throws {AppError} `unavailable` */
  async get<T>(key: Key<T>): Promise<T | null> {
    const [value] = await this.getMany([key]);
    return value ?? null;
  }

  /**
   * Reads keys side by side; up to 10 are one snapshot.
   *
   * @returns What was found at each key, in their order; null where there is nothing.
   * @throws {AppError} `unavailable`
   */
  async getMany<T extends readonly unknown[]>(keys: KeysOf<T>): Promise<FoundOf<T>> {
    const reads = chunksOf<Key<unknown>>(keys).map((chunk) =>
      this.#read(this.#kv.getMany<Uint8Array[]>(chunk))
    );
    const found = await Promise.all(reads);
    const values = found.flat().map(({ value }) => value === null ? null : decode(value));
    return values as FoundOf<T>; // in the order of the keys, which say what they hold
  }

  /** Lists what is under `prefix`, in key order. @throws {AppError} `unavailable` */
  async list<T>(prefix: Prefix<T>, options: ListOptions): Promise<Listed<T>[]> {
    const entries = await this.listStored(prefix, options);
    return entries.map(({ key, value }) => ({
      key: key as Key<T>, // what the prefix promises
      value: decode<T>(value as Uint8Array),
    }));
  }

  /** Reads at most 10 keys as one snapshot, undecoded. @throws {AppError} `unavailable` */
  async getStored(keys: readonly Key<unknown>[]): Promise<StoredEntry[]> {
    const entries = await this.#read(this.#kv.getMany<unknown[]>(keys));
    return entries.map(({ value, versionstamp }, i) => ({ key: keys[i]!, value, versionstamp }));
  }

  /** Lists as {@linkcode list} does, undecoded, so that one bad value does not hide the rest. */
  async listStored(
    prefix: Prefix<unknown>,
    { limit, reverse = false, start, end }: ListOptions,
  ): Promise<StoredEntry[]> {
    const selector = start && end
      ? { start, end }
      : start
      ? { prefix, start }
      : end
      ? { prefix, end }
      : { prefix };
    const batchSize = Math.min(limit, 500);
    const entries = this.#kv.list<unknown>(selector, { limit, reverse, batchSize });
    const listed: StoredEntry[] = [];
    while (listed.length < limit) {
      // The client fetches a batch with its first entry: one round trip, and one deadline.
      const batch = await this.#read(take(entries, batchSize));
      for (const { key, value, versionstamp } of batch) {
        // Every key in the store is one of ours.
        listed.push({ key: key as Key<unknown>, value, versionstamp });
      }
      if (batch.length < batchSize) break;
    }
    return listed;
  }

  /** Writes and reads back the health probe. @returns How long it took, in milliseconds. */
  async probe(clock: Clock): Promise<number> {
    const startedAt = performance.now();
    const now = clock();
    const meter = currentContext()?.meter;
    if (meter) meter.kvCommits++;
    const call = this.#kv.atomic().set(probe, encode(now)).commit();
    await withDeadline(call, this.#deadlines.commitMs, "The health probe's write");
    // Another instance may have probed since; any recent value proves a write and a read.
    const read = await this.get(probe);
    if (read === null || read < now) throw new Error("The health probe read back an older value");
    return performance.now() - startedAt;
  }

  /** Waits for the writes in progress, then closes. */
  async close(): Promise<void> {
    await this.committer.idle();
    this[Symbol.dispose]();
  }

  /** Closes immediately. */
  [Symbol.dispose](): void {
    this.#kv.close();
  }

  async #read<T>(call: Promise<T>): Promise<T> {
    const meter = currentContext()?.meter;
    const startedAt = performance.now();
    if (meter) meter.kvReads++;
    try {
      return await traced(
        "kv.read",
        {},
        () => withDeadline(call, this.#deadlines.readMs, "A read"),
      );
    } catch (cause) {
      throw new AppError("unavailable", "The store does not answer", {
        cause,
        retryAfterMs: 1_000,
      });
    } finally {
      if (meter) meter.spentMs.kvRead += performance.now() - startedAt;
    }
  }
}

/** The next entries of a listing, up to `count`. */
async function take(
  entries: Deno.KvListIterator<unknown>,
  count: number,
): Promise<Deno.KvEntry<unknown>[]> {
  const taken: Deno.KvEntry<unknown>[] = [];
  while (taken.length < count) {
    const { done, value } = await entries.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}
