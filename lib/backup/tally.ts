/**
 * Counts and digests of a store, by the first part of the keys.
 *
 * A digest is the sum of the SHA-256 of every entry's line, modulo 2^256. It does
 * not depend on the order, so a backup is summed up during scan and replay, and a
 * store as it is listed. It protects against accidents; encryption protects against
 * intentional changes.
 *
 * @module
 */
import { hash } from "node:crypto";
import type { PrefixTally } from "../kv/backup_records.ts";
import { type EntryLine, keyOfText } from "./lines.ts";

interface Sums {
  entries: number;
  bytes: number;
  digest: bigint;
}

const DIGEST_BITS = 256;

/** The SHA-256 of an entry's line, as a number. */
export function digestOf(content: Uint8Array): bigint {
  return BigInt(`0x${hash("sha256", content, "hex")}`);
}

/** The first part of a key. */
export function prefixOf(keyText: string): string {
  // The first part of nearly every key is a plain string.
  const plain = /^\["([\w-]+)"[,\]]/.exec(keyText)?.[1];
  return plain ?? String(keyOfText(keyText)[0]);
}

/** Counts entries. */
export class Tally {
  readonly #prefixes = new Map<string, Sums>();

  /** Continues from an earlier result. */
  constructor(from: Readonly<Record<string, PrefixTally>> = {}) {
    for (const [prefix, { entries, bytes, sha256 }] of Object.entries(from)) {
      this.#prefixes.set(prefix, { entries, bytes, digest: BigInt(`0x${sha256}`) });
    }
  }

  /** Counts the entry of a line. */
  addLine({ keyText, content }: EntryLine): void {
    this.add(prefixOf(keyText), content.length, digestOf(content));
  }

  /** Counts an entry by its digest. */
  add(prefix: string, bytes: number, digest: bigint): void {
    let sums = this.#prefixes.get(prefix);
    if (!sums) this.#prefixes.set(prefix, sums = { entries: 0, bytes: 0, digest: 0n });
    sums.entries++;
    sums.bytes += bytes;
    sums.digest += digest;
  }

  /** The number of all entries. */
  get entries(): number {
    return this.#prefixes.values().reduce((sum, { entries }) => sum + entries, 0);
  }

  /** The counts and digests, in the order of the prefixes. */
  result(): Record<string, PrefixTally> {
    const sorted = [...this.#prefixes].sort(([a], [b]) => a < b ? -1 : 1);
    return Object.fromEntries(sorted.map(([prefix, { entries, bytes, digest }]) => [prefix, {
      entries,
      bytes,
      sha256: BigInt.asUintN(DIGEST_BITS, digest).toString(16).padStart(DIGEST_BITS / 4, "0"),
    }]));
  }
}

/** The first prefix in which two tallies differ, and how; undefined if they are equal. */
export function differenceOf(
  expected: Readonly<Record<string, PrefixTally>>,
  found: Readonly<Record<string, PrefixTally>>,
): string | undefined {
  for (const prefix of new Set([...Object.keys(expected), ...Object.keys(found)])) {
    const [a, b] = [expected[prefix], found[prefix]];
    if (a?.entries !== b?.entries) {
      return `${b?.entries ?? 0} entries of "${prefix}" instead of ${a?.entries ?? 0}`;
    }
    if (a?.sha256 !== b?.sha256) return `the right number of "${prefix}" with different content`;
  }
  return undefined;
}
