/**
 * A backup as a read-only KV, for a restore drill where no second KV can be
 * opened, as on Deno Deploy.
 *
 * The parts of a backup hold its entries in key order, so each gzip member is a
 * small range of keys. Ranges are fetched on demand and cached, least recently used
 * first out; the log of the scan overlays them. Memory holds some ranges and that
 * log, not the store.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { KvPort } from "../kv/store.ts";
import { commitsOf } from "./journal.ts";
import { type EntryLine, keyOfText, valueOf } from "./lines.ts";
import { type Manifest, manifestName } from "./manifest.ts";
import { fetchObject, linesOf, type OpenedObject, openMembers, readObject } from "./object.ts";
import { rankOf } from "./rank.ts";
import { type BackupServices, damaged } from "./needs.ts";
import { Tally } from "./tally.ts";

/** Cached parts, compressed: all of a store with some three million entries. */
const PARTS_MAX = 12;
/** Cached entries, about half a kilobyte each. */
const ENTRIES_MAX = 30_000;

/** The entries of a gzip member, and their ranks in key order. */
interface Range {
  ranks: string[];
  lines: EntryLine[];
}

/** The last change of each key in the log, in key order; null for a deletion. */
interface Overlay {
  ranks: string[];
  lines: (EntryLine | null)[];
}

type Entry = { key: Deno.KvKey; value: unknown; versionstamp: string };

/** Entries that a listing collects at once. */
const CHUNK = 500;
const MISSING = { value: null, versionstamp: null } as const;

/** A backup, read in place. */
export class BackupMirror implements KvPort {
  readonly #services: BackupServices;
  readonly #manifest: Manifest;
  /** Caches by index; a `Map` keeps the order of use. */
  readonly #parts = new Map<number, Promise<OpenedObject>>();
  readonly #ranges = new Map<number, Range>();
  #entries = 0;
  /** For each range: the rank of its first key, its part, and its member in the part. */
  readonly #firstRanks: string[] = [];
  readonly #places: { part: number; member: number }[] = [];
  #overlay: Overlay = { ranks: [], lines: [] };

  /** Use {@linkcode BackupMirror.open}. */
  private constructor(services: BackupServices, manifest: Manifest) {
    this.#services = services;
    this.#manifest = manifest;
  }

  /**
   * Reads the whole backup once and checks every object.
   *
   * @returns The mirror, and the counts and digests of its state.
   * @throws {AppError} `conflict`, naming the unusable object.
   */
  static async open(
    services: BackupServices,
    manifest: Manifest,
    onProgress: (entries: number) => void = () => {},
  ): Promise<{ mirror: BackupMirror; tally: Tally }> {
    const mirror = new BackupMirror(services, manifest);
    await mirror.#readLog();
    const tally = new Tally();
    for (const [part, { name, entries }] of mirror.#base.entries()) {
      const { members } = await mirror.#part(part);
      let found = 0;
      for (let member = 0; member < members.length; member++) {
        const range = rangeOf(members[member]!, name);
        if (range.ranks.length === 0) throw damaged(name, "it has an empty member");
        mirror.#firstRanks.push(range.ranks[0]!);
        mirror.#places.push({ part, member });
        found += range.ranks.length;
        for (const [j, rank] of range.ranks.entries()) {
          if (find(mirror.#overlay.ranks, rank) === -1) tally.addLine(range.lines[j]!);
        }
      }
      if (found !== entries) throw damaged(name, `it has ${found} entries instead of ${entries}`);
      onProgress(tally.entries);
    }
    if (!mirror.#firstRanks.every((rank, i, all) => i === 0 || all[i - 1]! < rank)) {
      throw damaged(manifestName(manifest.id), "its parts are not in key order");
    }
    for (const line of mirror.#overlay.lines) if (line) tally.addLine(line);
    return { mirror, tally };
  }

  /** Reads keys. Needs no snapshot, as nothing changes. */
  async getMany<T extends readonly unknown[]>(
    keys: readonly [...{ [K in keyof T]: Deno.KvKey }],
  ): Promise<{ [K in keyof T]: Deno.KvEntryMaybe<T[K]> }> {
    const found = [];
    for (const key of keys) {
      const line = await this.#get(rankOf(key));
      found.push(line ? this.#entryOf(line) : { key, ...MISSING });
    }
    return found as { [K in keyof T]: Deno.KvEntryMaybe<T[K]> }; // the caller names the types
  }

  /** Lists forwards only. */
  list<T>(selector: Deno.KvListSelector, options: Deno.KvListOptions = {}): Deno.KvListIterator<T> {
    if (options.reverse) throw readOnly("list backwards");
    const { from, to } = boundsOf(selector);
    const entries = this.#walk(from, to, options.limit ?? Infinity) as AsyncGenerator<
      Deno.KvEntry<T>,
      undefined
    >;
    return Object.assign(entries, { cursor: "" });
  }

  /** Not supported. */
  atomic(): Deno.AtomicOperation {
    throw readOnly("be written");
  }

  /** Not supported. */
  commitVersionstamp(): symbol {
    throw readOnly("be written");
  }

  /** Clears the caches. */
  close(): void {
    this.#parts.clear();
    this.#ranges.clear();
    this.#entries = 0;
  }

  get #base() {
    return this.#manifest.parts.filter(({ kind }) => kind === "base");
  }

  async #readLog(): Promise<void> {
    const { storage, config } = this.#services;
    const last = new Map<string, EntryLine | null>();
    for (const part of this.#manifest.parts.filter(({ kind }) => kind === "log")) {
      const lines = await readObject(storage, part, config.backupEncryptionKey);
      for (const { entries } of commitsOf(lines, part.name)) {
        for (const line of entries) {
          last.set(rankOf(keyOfText(line.keyText)), line.isDeletion ? null : line);
        }
      }
    }
    const sorted = [...last].sort(([a], [b]) => a < b ? -1 : 1);
    this.#overlay = {
      ranks: sorted.map(([rank]) => rank),
      lines: sorted.map(([, line]) => line),
    };
  }

  /** Concurrent callers share one fetch. */
  #part(index: number): Promise<OpenedObject> {
    const cached = used(this.#parts, index);
    if (cached) return cached;
    const opened = this.#open(index);
    this.#parts.set(index, opened);
    opened.catch(() => this.#parts.delete(index));
    for (const oldest of this.#parts.keys()) {
      if (this.#parts.size <= PARTS_MAX) break;
      this.#parts.delete(oldest);
    }
    return opened;
  }

  async #open(index: number): Promise<OpenedObject> {
    const { storage, config } = this.#services;
    const part = this.#base[index]!;
    return await openMembers(
      await fetchObject(storage, part),
      part,
      config.backupEncryptionKey,
    );
  }

  async #range(index: number): Promise<Range> {
    const cached = used(this.#ranges, index);
    if (cached) return cached;
    const { part, member } = this.#places[index]!;
    const { name, members } = await this.#part(part);
    const meanwhile = used(this.#ranges, index);
    if (meanwhile) return meanwhile;
    const range = rangeOf(members[member]!, name);
    this.#ranges.set(index, range);
    this.#entries += range.ranks.length;
    for (const [oldest, { ranks }] of this.#ranges) {
      if (this.#entries <= ENTRIES_MAX || oldest === index) break;
      this.#ranges.delete(oldest);
      this.#entries -= ranks.length;
    }
    return range;
  }

  async #get(rank: string): Promise<EntryLine | null> {
    const inLog = find(this.#overlay.ranks, rank);
    if (inLog !== -1) return this.#overlay.lines[inLog]!;
    const index = this.#rangeOf(rank);
    if (index === -1) return null;
    const { ranks, lines } = await this.#range(index);
    const at = find(ranks, rank);
    return at === -1 ? null : lines[at]!;
  }

  /** The index of the range that may have the key; -1 before the first. */
  #rangeOf(rank: string): number {
    return lowerBound(this.#firstRanks, `${rank}\0`) - 1;
  }

  async *#walk(from: string, to: string, limit: number): AsyncGenerator<Entry, undefined> {
    let left = limit;
    let start = from;
    while (left > 0) {
      const chunk = await this.#chunk(start, to, Math.min(left, CHUNK));
      for (const [rank, line] of chunk) {
        start = `${rank}\0`; // the next rank above
        if (!line) continue;
        yield this.#entryOf(line);
        if (--left === 0) return;
      }
      if (chunk.length === 0) return;
    }
  }

  /** The next entries of the parts and the log, which takes precedence; with deletions. */
  async #chunk(from: string, to: string, count: number): Promise<[string, EntryLine | null][]> {
    const merged = new Map<string, EntryLine | null>();
    let base = 0;
    for (
      let i = Math.max(this.#rangeOf(from), 0);
      i < this.#firstRanks.length && base < count && this.#firstRanks[i]! < to;
      i++
    ) {
      const { ranks, lines } = await this.#range(i);
      for (let j = lowerBound(ranks, from); j < ranks.length && base < count; j++) {
        if (ranks[j]! >= to) break;
        merged.set(ranks[j]!, lines[j]!);
        base++;
      }
    }
    const { ranks, lines } = this.#overlay;
    const first = lowerBound(ranks, from);
    for (let j = first; j < ranks.length && j < first + count; j++) {
      if (ranks[j]! >= to) break;
      merged.set(ranks[j]!, lines[j]!);
    }
    return [...merged].sort(([a], [b]) => a < b ? -1 : 1).slice(0, count);
  }

  #entryOf(line: EntryLine): Entry {
    return {
      key: keyOfText(line.keyText),
      value: valueOf(line),
      versionstamp: this.#manifest.v1,
    };
  }
}

function rangeOf(member: Uint8Array, name: string): Range {
  const range: Range = { ranks: [], lines: [] };
  for (const line of linesOf(member, name)) {
    if (line.kind !== "entry") throw damaged(name, "it has a commit among its entries");
    const rank = rankOf(keyOfText(line.keyText));
    if (rank <= (range.ranks.at(-1) ?? "")) throw damaged(name, "its keys are not in order");
    range.ranks.push(rank);
    range.lines.push(line);
  }
  return range;
}

/** The cached value, marked as the most recently used. */
function used<T>(kept: Map<number, T>, key: number): T | undefined {
  const value = kept.get(key);
  if (value !== undefined) {
    kept.delete(key);
    kept.set(key, value);
  }
  return value;
}

function readOnly(what: string): AppError {
  return new AppError("internal", `A backup that is read in place cannot ${what}`);
}

function boundsOf(selector: Deno.KvListSelector): { from: string; to: string } {
  const prefix = "prefix" in selector ? rankOf(selector.prefix) : "";
  return {
    // The next part begins with its type, a byte above 0 and below 0xff.
    from: "start" in selector ? rankOf(selector.start) : `${prefix}\0`,
    to: "end" in selector ? rankOf(selector.end) : `${prefix}\xff`,
  };
}

/** The index of `rank`; -1 for none. */
function find(ranks: string[], rank: string): number {
  const at = lowerBound(ranks, rank);
  return ranks[at] === rank ? at : -1;
}

function lowerBound(ranks: string[], rank: string): number {
  let low = 0;
  let high = ranks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranks[middle]! < rank) low = middle + 1;
    else high = middle;
  }
  return low;
}
