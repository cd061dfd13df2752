/**
 * Reading what a batch of transactions needs.
 *
 * @module
 */
import type { Transaction } from "./batch.ts";
import { chunksOf, KEYS_PER_READ } from "./chunks.ts";
import type { Head } from "./head.ts";
import { head as headKey } from "./keys.ts";
import type { Seen, TextKey, View } from "./transaction.ts";

/** A view, and what its commit has to check. */
export interface Reading {
  /** What is at each key. */
  view: View;
  /** The revision of the head, on an embedded store; undefined where each key is checked. */
  stamp: string | null | undefined;
}

/**
 * Reads the keys of a batch, ten a call and side by side. The head, when its revision is not known,
 * is read with them if that is one call, which is one snapshot; otherwise before them, since what is
 * read later is at least as new.
 *
 * @param isAbsent Whether a transaction's receipt cannot exist, and need not be read.
 * @param head What is known of the head, on an embedded store.
 */
export async function readView(
  kv: Pick<Deno.Kv, "getMany">,
  batch: readonly Transaction[],
  isAbsent: (transaction: Transaction, index: number) => boolean,
  head: Head | null,
): Promise<Reading> {
  const { view, unread } = emptyView(batch, isAbsent);
  if (head && head.stamp === undefined) {
    const entry: Seen = { key: headKey, versionstamp: null, bytes: null };
    const isOneCall = unread.length < KEYS_PER_READ;
    await readChunk(kv, isOneCall ? [entry, ...unread.splice(0)] : [entry]);
    head.stamp = entry.versionstamp;
  }
  const stamp = head?.stamp;
  await Promise.all(chunksOf(unread).map((chunk) => readChunk(kv, chunk)));
  return { view, stamp };
}

/** An entry for each key that a batch needs, and those that have to be read. */
function emptyView(
  batch: readonly Transaction[],
  isAbsent: (transaction: Transaction, index: number) => boolean,
): { view: View; unread: Seen[] } {
  const view: View = new Map();
  const unread: Seen[] = [];
  const add = ({ key, text }: TextKey, isKnownAbsent: boolean) => {
    if (view.has(text)) return;
    const seen: Seen = { key, versionstamp: null, bytes: null };
    view.set(text, seen);
    if (!isKnownAbsent) unread.push(seen);
  };
  for (const [i, transaction] of batch.entries()) {
    add(transaction.receipt, isAbsent(transaction, i));
    for (const key of transaction.reads) add(key, false);
  }
  return { view, unread };
}

/** Reads up to ten entries as one snapshot. */
async function readChunk(kv: Pick<Deno.Kv, "getMany">, chunk: readonly Seen[]): Promise<void> {
  const entries = await kv.getMany<Uint8Array[]>(chunk.map(({ key }) => key));
  entries.forEach(({ versionstamp, value }, i) => {
    chunk[i]!.versionstamp = versionstamp;
    chunk[i]!.bytes = value;
  });
}
