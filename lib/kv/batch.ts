/**
 * Several transactions decided over one shared view and committed as one
 * atomic: each sees the writes of those before it. Pure but for `decide`.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { Meter } from "../telemetry/mod.ts";
import { decode, encode } from "./codec.ts";
import { moveHead } from "./head.ts";
import { head, isDurable, type Key, keyText, logPart } from "./keys.ts";
import type { Receipt } from "./records.ts";
import type { Operation, TextKey, View, Writes } from "./transaction.ts";

/** A transaction, its types forgotten. */
export interface Transaction {
  /** Its identity: the same operation takes effect once. */
  operation: Operation;
  /** The key of its receipt. */
  receipt: TextKey;
  /** The keys to read, in the order of the values for `decide`. */
  reads: TextKey[];
  /** Pure and synchronous; called in each attempt. */
  decide: (values: unknown[], writes: Writes) => unknown;
  /** Counts its cost for the caller. */
  meter: Meter;
  /** Transactions with the same name are grouped; undefined for none. */
  hotKey: string | undefined;
}

/** The outcome of a transaction, if its batch is committed. */
export type Outcome = { result: unknown; isReplay: boolean } | { error: unknown };

/** A write that will be part of the atomic; `bytes` is null for a deletion. */
interface Mutation {
  key: Key<unknown>;
  bytes: Uint8Array | null;
  value: unknown;
  expireIn: number | undefined;
}

/**
 * Limits as the runtime counts them, with a reserve: 1,000 mutations,
 * 819,200 B of payload in which a value's key counts twice, 81,920 B of keys.
 */
const MUTATIONS_MAX = 900;
const PAYLOAD_BYTES_MAX = 700_000;
const KEY_BYTES_MAX = 70_000;
/** Deno KV refuses more than 65,536. */
const VALUE_BYTES_MAX = 65_536;
/** Bytes of a log entry's part, under the same limit. */
const LOG_PART_BYTES = 60_000;
/** The backup ships and prunes the log; this limit applies if it does not run. */
const LOG_KEEP_MS = 7 * 24 * 3_600_000;
/** Expired entries are only garbage: a margin for clocks that differ. */
export const EXPIRY_GRACE_MS = 10 * 60_000;

const encoder = new TextEncoder();

/** An atomic that is being put together. */
export class Batch {
  readonly #view: View;
  readonly #now: number;
  readonly #mutations = new Map<string, Mutation>();
  readonly #decoded = new Map<string, unknown>();
  #keyBytes = 0;
  #payloadBytes = 0;

  /** Starts from what was read, at a time in milliseconds UTC. */
  constructor(view: View, now: number) {
    this.#view = view;
    this.#now = now;
  }

  /** Whether there is nothing to commit. */
  get isEmpty(): boolean {
    return this.#mutations.size === 0;
  }

  /**
   * Lets one transaction decide. Its outcome is valid only if the batch is committed,
   * since it may depend on the writes of others.
   *
   * @returns `null` if its writes do not fit any more; nothing of it was added.
   */
  decide(transaction: Transaction): Outcome | null {
    const own = new Map<string, Mutation>();
    let result: unknown;
    try {
      const found = this.#value(transaction.receipt) as Receipt | null;
      if (found && !found.isAborted && found.exp > this.#now) {
        return replay(found, transaction.operation);
      }
      result = transaction.decide(
        transaction.reads.map((key) => this.#value(key)),
        collector(own),
      );
      if (own.size > 0) this.#putReceipt(own, transaction, result);
    } catch (error) {
      return { error };
    }
    if (this.#take(own)) return { result, isReplay: false };
    if (!this.isEmpty) return null;
    return { error: new AppError("internal", "The transaction exceeds the limits of one atomic") };
  }

  /** Whether the atomic writes this transaction's receipt, and with it all its writes. */
  settles({ receipt }: Transaction): boolean {
    return this.#mutations.has(receipt.text);
  }

  /** The keys that the atomic sets, without those of the log. */
  *keysSet(): Generator<Key<unknown>> {
    for (const { key, bytes } of this.#mutations.values()) if (bytes !== null) yield key;
  }

  /**
   * Turns the batch into an atomic: checks, the writes, the log entry.
   *
   * @param stamp The revision of the head, which stands for all that was read; undefined to check
   * each key.
   */
  build(
    kv: Pick<Deno.Kv, "atomic" | "commitVersionstamp">,
    stamp: string | null | undefined,
  ): Deno.AtomicOperation {
    const atomic = kv.atomic();
    if (stamp === undefined) {
      for (const { key, versionstamp } of this.#view.values()) atomic.check({ key, versionstamp });
    } else {
      moveHead(atomic.check({ key: head, versionstamp: stamp }));
    }
    for (const { key, bytes, expireIn } of this.#mutations.values()) {
      if (bytes === null) atomic.delete(key);
      else atomic.set(key, bytes, expireIn === undefined ? {} : { expireIn });
    }
    logParts(this.#mutations, this.#now).forEach((bytes, part) =>
      atomic.set([...logPart(part), kv.commitVersionstamp()], bytes, {
        expireIn: LOG_KEEP_MS,
      })
    );
    return atomic;
  }

  #value({ text }: TextKey): unknown {
    const written = this.#mutations.get(text);
    if (written) return written.bytes === null ? null : written.value;
    if (!this.#decoded.has(text)) {
      const bytes = this.#view.get(text)?.bytes ?? null;
      this.#decoded.set(text, bytes === null ? null : decode(bytes));
    }
    return this.#decoded.get(text);
  }

  #putReceipt(own: Map<string, Mutation>, { operation, receipt }: Transaction, result: unknown) {
    const { fingerprint, keepMs } = operation;
    const value: Receipt = {
      fingerprint,
      result,
      isAborted: false,
      at: this.#now,
      exp: this.#now + keepMs,
    };
    collector(own).set(receipt.key, value, { expireIn: keepMs + EXPIRY_GRACE_MS });
  }

  #take(own: Map<string, Mutation>): boolean {
    let keyBytes = 0;
    let payloadBytes = 0;
    for (const [text, { bytes }] of own) {
      // JSON text is never shorter than the encoded key, except for a few bytes a part.
      const size = text.length * (isAscii(text) ? 1 : 3) + 16;
      keyBytes += size;
      // Twice as a mutation, and once more with the value in the log.
      payloadBytes += 3 * size + 2 * (bytes?.length ?? 0);
    }
    const fits = this.#mutations.size + own.size <= MUTATIONS_MAX &&
      this.#keyBytes + keyBytes <= KEY_BYTES_MAX &&
      this.#payloadBytes + payloadBytes <= PAYLOAD_BYTES_MAX;
    if (!fits) return false;
    this.#keyBytes += keyBytes;
    this.#payloadBytes += payloadBytes;
    for (const [text, mutation] of own) this.#mutations.set(text, mutation);
    return true;
  }
}

function isAscii(text: string): boolean {
  // deno-lint-ignore no-control-regex
  return /^[\x00-\x7f]*$/.test(text);
}

function replay(found: Receipt, { fingerprint }: Operation): Outcome {
  if (found.fingerprint === fingerprint) return { result: found.result, isReplay: true };
  return {
    error: new AppError(
      "idempotency_key_reused",
      "This Idempotency-Key was used before with another request",
    ),
  };
}

/** Collects writes into a map by key, the last one of a key winning. */
function collector(into: Map<string, Mutation>): Writes {
  return {
    set(key, value, { expireIn } = {}) {
      const bytes = encode(value);
      if (bytes.length > VALUE_BYTES_MAX) {
        throw new AppError("payload_too_large", "Cannot store the value: it exceeds 64 KiB");
      }
      into.set(keyText(key), { key, bytes, value, expireIn });
    },
    delete(key) {
      into.set(keyText(key), { key, bytes: null, value: null, expireIn: undefined });
    },
  };
}

/**
 * The log entry of a commit: a line of JSON about it, then for each durable key
 * a line of the key, a tab, and the value's own text, or nothing for a deletion.
 * Neither JSON text has a raw tab or line break in it. Split where values end up
 * too large; all parts carry the commit's versionstamp.
 */
function logParts(mutations: Map<string, Mutation>, now: number): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (const [text, { key, bytes }] of mutations) {
    if (!isDurable(key)) continue;
    lines.push(encoder.encode(`${text}\t`), bytes ?? new Uint8Array(), NEW_LINE);
  }
  if (lines.length === 0) return [];
  const size = lines.reduce((sum, { length }) => sum + length, 0);
  const parts = Math.ceil((size + 100) / LOG_PART_BYTES);
  lines.unshift(encoder.encode(JSON.stringify({ at: now, parts })), NEW_LINE);
  const all = join(lines);
  return Array.from(
    { length: parts },
    (_, i) => all.slice(i * LOG_PART_BYTES, (i + 1) * LOG_PART_BYTES),
  );
}

const NEW_LINE = encoder.encode("\n");

function join(pieces: Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}
