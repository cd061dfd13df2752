/**
 * Bulk access to the store for backup and restore: scans, markers, pruning and bulk
 * writes of entries as stored. Besides the health probe this is the only writer other
 * than `transact()`.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { backoffMs, sleep, withDeadline } from "../time.ts";
import type { RestoreProgress } from "./backup_records.ts";
import { chunksOf } from "./chunks.ts";
import { decode, encode } from "./codec.ts";
import { moveHead } from "./head.ts";
import { isDurable, type Key, logMark, restoring } from "./keys.ts";
import type { KvPort } from "./store.ts";

/** An entry as stored. */
export interface RawEntry {
  /** The key. */
  key: Deno.KvKey;
  /** Not decoded. */
  value: unknown;
  /** Its revision. */
  versionstamp: string;
}

/** A write or deletion of a key. */
export interface RawMutation {
  /** The key. */
  key: Deno.KvKey;
  /** The value to store; ignored for a deletion. */
  value?: unknown;
  /** Deletes the key. */
  isDeletion: boolean;
  /** In milliseconds from now; never when absent. */
  expireIn?: number;
}

/** Entries per read: more block the event loop, fewer cost round trips. */
const PAGE = 500;
/** Time limit of a call; generous, since nobody waits for a bulk operation. */
const CALL_MS = 15_000;
/** Attempts of a call before the operation fails; it can be resumed. */
const ATTEMPTS_MAX = 6;
/** After the first failure, doubled by each further one. */
const BACKOFF_MS = 200;

/** Limits as the runtime counts them, with a reserve; see `batch.ts`. */
const MUTATIONS_MAX = 900;
const PAYLOAD_BYTES_MAX = 700_000;
const KEY_BYTES_MAX = 75_000;
/** The size assumed for a value that is not bytes: the maximum. */
const OTHER_VALUE_BYTES = 65_536;

/**
 * All entries from `after` (exclusive) on in key order, a page at a time.
 *
 * @param isWanted Decides by the first part of a key whether to read its entries; others
 * are skipped without reading them.
 * @throws {AppError} `unavailable` when the store does not answer repeatedly.
 */
export async function* scanAll(
  kv: KvPort,
  isWanted: (key: Deno.KvKey) => boolean = isDurable,
  after: Deno.KvKey | null = null,
): AsyncGenerator<RawEntry[]> {
  let start: Deno.KvKey | null = after;
  let isSeen = after !== null;
  for (;;) {
    const page = await readPage(kv, { prefix: [], ...(start ? { start } : {}) });
    const from = isSeen && page[0] && isSameKey(page[0].key, start!) ? 1 : 0;
    const unwanted = page.findIndex(({ key }, i) => i >= from && !isWanted(key));
    const wanted = page.slice(from, unwanted === -1 ? undefined : unwanted);
    if (wanted.length > 0) yield wanted;
    if (unwanted !== -1) {
      // After every key with this first part, and before all others.
      start = [`${String(page[unwanted]!.key[0])}\0`];
      isSeen = false;
    } else if (page.length < PAGE) {
      return;
    } else {
      start = page.at(-1)!.key;
      isSeen = true;
    }
  }
}

/** All entries below `prefix` from `start` (inclusive) to `end` (exclusive), `limit` at a time. */
export async function* scanRange(
  kv: KvPort,
  prefix: Deno.KvKey,
  { start, end, limit = PAGE }: { start?: Deno.KvKey; end?: Deno.KvKey; limit?: number } = {},
): AsyncGenerator<RawEntry[]> {
  let from = start;
  let isSeen = false;
  for (;;) {
    const selector = from && end
      ? { start: from, end }
      : from
      ? { prefix, start: from }
      : end
      ? { prefix, end }
      : { prefix };
    const page = await readPage(kv, selector, limit);
    const isRepeated = isSeen && page[0] !== undefined && isSameKey(page[0].key, from!);
    const fresh = isRepeated ? page.slice(1) : page;
    if (fresh.length > 0) yield fresh;
    if (page.length < limit) return;
    from = page.at(-1)!.key;
    isSeen = true;
  }
}

/** Reads keys without decoding; each 10 are one snapshot. */
export async function readRaw(kv: KvPort, keys: Deno.KvKey[]): Promise<(RawEntry | null)[]> {
  const found: (RawEntry | null)[] = [];
  for (const chunk of chunksOf(keys)) {
    const entries = await repeated("A read", () => kv.getMany<unknown[]>(chunk));
    for (const entry of entries) {
      found.push(entry.versionstamp === null ? null : { ...entry });
    }
  }
  return found;
}

/**
 * Commits a marker. Every commit acknowledged before has a lower versionstamp, and every
 * read after it sees all of those. @returns The marker's versionstamp.
 */
export async function mark(kv: KvPort, now: number): Promise<string> {
  // Applied twice, or without our knowledge, it does no harm: the last one counts.
  const answer = await repeated(
    "A marker",
    () => kv.atomic().set(logMark, encode(now)).commit(),
  );
  if (!answer.ok) throw new AppError("unavailable", "The store refused the marker");
  return answer.versionstamp;
}

/** Deletes keys that are no longer written, such as those of the old log. */
export async function prune(kv: KvPort, keys: Deno.KvKey[]): Promise<void> {
  for (const chunk of chunksOf(keys, MUTATIONS_MAX)) {
    await repeated("A deletion", () => {
      const atomic = kv.atomic();
      for (const key of chunk) atomic.delete(key);
      return atomic.commit();
    });
  }
}

/** Whether the store has no business data. */
export async function isEmpty(kv: KvPort): Promise<boolean> {
  for await (const _ of scanAll(kv)) return false;
  return true;
}

/**
 * Writes many entries, as many in an atomic as fit. Each atomic also stores the progress
 * under {@linkcode restoring}, and checks that no other writer has changed it: killed at
 * any moment, the next writer resumes from there.
 */
export class BulkWriter {
  readonly #kv: KvPort;
  readonly #buffer = new Map<string, RawMutation>();
  #stamp: string | null;
  #progress: RestoreProgress;
  #reached: RestoreProgress;
  readonly #name = crypto.randomUUID();
  #keyBytes = 0;
  #payloadBytes = 0;

  /** Use {@linkcode BulkWriter.start} or {@linkcode BulkWriter.resume}. */
  private constructor(kv: KvPort, progress: RestoreProgress, stamp: string | null) {
    this.#kv = kv;
    this.#progress = progress;
    this.#reached = progress;
    this.#stamp = stamp;
  }

  /** Starts a restore. @throws {AppError} `conflict` if one is running. */
  static async start(kv: KvPort, progress: RestoreProgress): Promise<BulkWriter> {
    const writer = new BulkWriter(kv, progress, null);
    await writer.#commit();
    return writer;
  }

  /** Resumes a restore; null if there is none. */
  static async resume(kv: KvPort): Promise<BulkWriter | null> {
    const [entry] = await readRaw(kv, [restoring]);
    if (!entry) return null;
    return new BulkWriter(kv, decode(entry.value as Uint8Array), entry.versionstamp);
  }

  /** The progress, buffered mutations included. */
  get progress(): RestoreProgress {
    return this.#reached;
  }

  /** Adds a mutation; writes the buffer first if it is full. */
  async add(mutation: RawMutation): Promise<void> {
    const keySize = keyBytes(mutation.key);
    const valueSize = mutation.isDeletion
      ? 0
      : mutation.value instanceof Uint8Array
      ? mutation.value.length
      : OTHER_VALUE_BYTES;
    const isFull = this.#buffer.size >= MUTATIONS_MAX ||
      this.#keyBytes + keySize > KEY_BYTES_MAX ||
      this.#payloadBytes + 2 * keySize + valueSize > PAYLOAD_BYTES_MAX;
    if (isFull) await this.flush();
    // A later write of the same key replaces the earlier one.
    this.#buffer.set(keyName(mutation.key), mutation);
    this.#keyBytes += keySize;
    this.#payloadBytes += 2 * keySize + valueSize;
  }

  /** Sets the progress to store with the mutations added so far. */
  reached(progress: Partial<RestoreProgress>): void {
    this.#reached = { ...this.#reached, ...progress };
  }

  /** Writes the buffer and the progress. */
  async flush(): Promise<void> {
    if (this.#buffer.size === 0 && this.#reached === this.#progress) return;
    await this.#commit();
  }

  /** Ends the restore; the store may be served again. */
  async end(): Promise<void> {
    await this.flush();
    await this.#settle((atomic) => atomic.delete(restoring), null);
  }

  async #commit(): Promise<void> {
    const next = { ...this.#reached, step: this.#progress.step + 1, by: this.#name };
    const bytes = encode(next);
    this.#stamp = await this.#settle((atomic) => {
      for (const { key, value, isDeletion, expireIn } of this.#buffer.values()) {
        if (isDeletion) atomic.delete(key);
        else atomic.set(key, value, expireIn === undefined ? {} : { expireIn });
      }
      atomic.set(restoring, bytes);
    }, bytes);
    this.#buffer.clear();
    this.#keyBytes = 0;
    this.#payloadBytes = 0;
    this.#progress = next;
    this.#reached = next;
  }

  /**
   * Commits until it is known to be applied. All attempts check the same revision, so at
   * most one of them is applied; reading detects a lost answer.
   */
  async #settle(
    write: (atomic: Deno.AtomicOperation) => void,
    written: Uint8Array | null,
  ): Promise<string> {
    return await repeated("A bulk write", async () => {
      const atomic = this.#kv.atomic().check({ key: restoring, versionstamp: this.#stamp });
      write(atomic);
      // Other processes on an embedded store must not rely on what they read before.
      moveHead(atomic);
      const answer = await atomic.commit();
      if (answer.ok) return answer.versionstamp;
      const [entry] = await readRaw(this.#kv, [restoring]);
      const isOurs = written === null
        ? !entry
        : entry?.value instanceof Uint8Array && isSameBytes(entry.value, written);
      if (isOurs) return entry?.versionstamp ?? "";
      throw new AppError("conflict", "Another restore into this store is running");
    });
  }
}

/**
 * Deletes everything except the progress of the restore. Receipts too, since they are
 * of entries that will be gone.
 */
export async function wipe(kv: KvPort, writer: BulkWriter): Promise<void> {
  const isWanted = (key: Deno.KvKey) => key[0] !== restoring[0];
  for await (const page of scanAll(kv, isWanted)) {
    for (const { key } of page) await writer.add({ key, isDeletion: true });
    await writer.flush();
  }
}

/** The size of a key in a KV: for each part a type byte, its content and an end. Never too small. */
export function keyBytes(key: Deno.KvKey | Key<unknown>): number {
  let size = 0;
  for (const part of key) {
    switch (typeof part) {
      case "string":
        size += 2 + utf8Bytes(part);
        break;
      case "object":
        size += 2 + 2 * part.length;
        break;
      case "bigint":
        size += 3 + Math.ceil(part.toString(16).length / 2);
        break;
      default:
        size += 9;
    }
  }
  return size;
}

function utf8Bytes(text: string): number {
  let size = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    // Zero is escaped in keys.
    if (code === 0 || (code >= 0x80 && code < 0x800)) size += 1;
    else if (code >= 0x800) size += 2;
  }
  return size;
}

async function readPage(
  kv: KvPort,
  selector: Deno.KvListSelector,
  limit = PAGE,
): Promise<RawEntry[]> {
  return await repeated(
    "A read",
    () => Array.fromAsync(kv.list<unknown>(selector, { limit, batchSize: limit })),
  );
}

/** Repeats a call that is safe to repeat, with a time limit for each attempt. */
async function repeated<T>(what: string, call: () => Promise<T>): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await withDeadline(call(), CALL_MS, what);
    } catch (error) {
      if (error instanceof AppError && error.kind === "conflict") throw error;
      if (attempt === ATTEMPTS_MAX) {
        throw new AppError("unavailable", `${what} of the store failed ${attempt} times`, {
          cause: error,
        });
      }
      await sleep(backoffMs(attempt, { firstMs: BACKOFF_MS }));
    }
  }
}

function isSameKey(a: Deno.KvKey, b: Deno.KvKey): boolean {
  return keyName(a) === keyName(b);
}

/** A key as text, whatever its parts are. */
function keyName(key: Deno.KvKey): string {
  return key.map((part) => {
    switch (typeof part) {
      case "string":
        return `s${part.length}:${part}`;
      case "object":
        return `b${part.length}:${part}`;
      case "number":
        return `n${Object.is(part, -0) ? "-0" : part};`;
      default:
        return `${typeof part}${String(part)};`;
    }
  }).join("");
}

function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
