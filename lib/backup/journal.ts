/**
 * The commit log: in the store, and as it was shipped to the storage.
 *
 * `lib/kv/batch.ts` writes an entry with every commit, under the commit's own
 * versionstamp. A read of the store at a versionstamp sees every commit below it,
 * so a listing of the log in order skips none, however many writers there are.
 *
 * A shipped segment is named after its commits, `log/<epoch>/<from>-<to>-<random>`:
 * it holds exactly the commits after `from` up to `to`. So two segments of an epoch
 * agree where they overlap, and a chain of segments without a gap is the log,
 * whoever shipped them. No object overwrites another, so a bad copy does not
 * destroy a good one.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { readRaw, scanRange } from "../kv/bulk.ts";
import { logPart } from "../kv/keys.ts";
import type { KvPort } from "../kv/store.ts";
import type { ObjectStorage } from "../storage/mod.ts";
import { changeLine, type EntryLine, type Line } from "./lines.ts";
import { randomHex } from "./manifest.ts";
import { readObject } from "./object.ts";
import { type BackupServices, damaged } from "./needs.ts";

/** Below every versionstamp. */
export const STAMP_ZERO: string = "0".repeat(20);

/** A commit in the log of the store. */
export interface StoredCommit {
  /** The versionstamp of the commit. */
  stamp: string;
  /** The time of the commit, milliseconds UTC. */
  at: number;
  /** A line in the format of backups for each changed key. */
  lines: Uint8Array[];
  /** The keys of its entry in the log. */
  keys: Deno.KvKey[];
}

/** A commit in the shipped log. */
export interface ShippedCommit {
  /** The versionstamp of the commit. */
  stamp: string;
  /** The time of the commit, milliseconds UTC. */
  at: number;
  /** The changes of the commit. */
  entries: EntryLine[];
}

/** A segment of the shipped log. */
export interface Segment {
  /** The name of the object. */
  name: string;
  /** The versionstamp of the commit before the first. */
  from: string;
  /** The versionstamp of the last commit. */
  to: string;
  /** The size of the object. */
  bytes: number;
  /** When it was stored, milliseconds UTC. */
  storedAt: number;
}

/** The prefix of the shipped log. */
export const LOGS = "log/";

const STAMP = /^[0-9a-f]{20}$/;
const SEGMENT = /^log\/([\w-]+)\/([0-9a-f]{20})-([0-9a-f]{20})-[0-9a-f]{8}$/;
const LINE_FEED = 0x0a;
const TAB = 0x09;
/** Log entries per page: one may have 60 KB. */
const LOG_PAGE = 100;

const decoder = new TextDecoder();

/** Whether `text` is a versionstamp. */
export function isStamp(text: string): boolean {
  return STAMP.test(text);
}

/** Reads the commits after `after` up to `until` from the store, in order, in pages. */
export async function* readLog(
  kv: KvPort,
  after: string,
  { until, limit = LOG_PAGE }: { until?: string; limit?: number } = {},
): AsyncGenerator<StoredCommit[]> {
  const prefix = logPart(0);
  // The next key above a text is the text and a zero byte.
  const start = [...prefix, `${after}\0`];
  const end = [...prefix, until === undefined ? "g" : `${until}\0`];
  for await (const page of scanRange(kv, prefix, { start, end, limit })) {
    const commits: StoredCommit[] = [];
    for (const { key, value } of page) commits.push(await storedCommit(kv, key, value));
    yield commits;
  }
}

async function storedCommit(
  kv: KvPort,
  key: Deno.KvKey,
  value: unknown,
): Promise<StoredCommit> {
  const stamp = String(key[2]);
  const name = `the log entry ${stamp}`;
  if (!(value instanceof Uint8Array)) throw damaged(name, "it is not a byte array");
  const headEnd = value.indexOf(LINE_FEED);
  const { at, parts } = headOf(value.subarray(0, headEnd), name);
  const others = Array.from(
    { length: parts - 1 },
    (_, i): Deno.KvKey => [...logPart(i + 1), stamp],
  );
  const pieces: Uint8Array[] = [value.subarray(headEnd + 1)];
  for (const entry of await readRaw(kv, others)) {
    if (!(entry?.value instanceof Uint8Array)) throw damaged(name, "a part of it is missing");
    pieces.push(entry.value);
  }
  return {
    stamp,
    at,
    lines: [...changesOf(pieces.length === 1 ? pieces[0]! : concat(pieces), name)],
    keys: [key, ...others],
  };
}

function headOf(line: Uint8Array, name: string): { at: number; parts: number } {
  try {
    return JSON.parse(decoder.decode(line));
  } catch (error) {
    throw damaged(name, "its first line is not JSON", error);
  }
}

function* changesOf(bytes: Uint8Array, name: string): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length;) {
    const tab = bytes.indexOf(TAB, start);
    const end = bytes.indexOf(LINE_FEED, tab);
    if (tab === -1 || end === -1) throw damaged(name, "it is truncated");
    const keyText = decoder.decode(bytes.subarray(start, tab));
    yield changeLine(keyText, end === tab + 1 ? null : bytes.subarray(tab + 1, end));
    start = end + 1;
  }
}

function concat(pieces: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Groups lines into commits. @throws {AppError} `conflict` for an incomplete commit */
export function* commitsOf(lines: Iterable<Line>, name: string): Generator<ShippedCommit> {
  let commit: ShippedCommit | null = null;
  let missing = 0;
  for (const line of lines) {
    if (line.kind === "commit") {
      if (missing > 0) throw damaged(name, "it has an incomplete commit");
      commit = { stamp: line.stamp, at: line.at, entries: [] };
      missing = line.entries;
    } else {
      if (!commit || missing === 0) throw damaged(name, "it has an entry outside a commit");
      commit.entries.push(line);
      missing--;
    }
    if (commit && missing === 0) yield commit;
  }
  if (missing > 0) throw damaged(name, "its last commit is incomplete");
}

/** A new, unique name for a segment. */
export function segmentName(epoch: string, from: string, to: string): string {
  return `${LOGS}${epoch}/${from}-${to}-${randomHex()}`;
}

/** Parses the name of a segment; undefined for any other object. */
export function segmentOf(name: string): { epoch: string; from: string; to: string } | undefined {
  const [, epoch, from, to] = SEGMENT.exec(name) ?? [];
  if (epoch === undefined || from === undefined || to === undefined) return undefined;
  return { epoch, from, to };
}

/** The segments of an epoch, ordered by their first commit. */
export async function listSegments(storage: ObjectStorage, epoch: string): Promise<Segment[]> {
  const segments: Segment[] = [];
  for await (const { key, size, modifiedAt } of storage.list(`${LOGS}${epoch}/`)) {
    const { from, to } = segmentOf(key) ?? {};
    if (from === undefined || to === undefined) continue;
    segments.push({ name: key, from, to, bytes: size, storedAt: modifiedAt });
  }
  return segments.sort((a, b) => a.from < b.from ? -1 : a.from > b.from ? 1 : a.to < b.to ? -1 : 1);
}

/**
 * Reads the shipped commits of an epoch after `after`, in order, each once; at
 * least up to `until`, or to the end of the log.
 *
 * @throws {AppError} `conflict` at a gap, naming the last commit before it; or
 * naming an unusable object without another copy.
 */
export async function* readShipped(
  services: BackupServices,
  epoch: string,
  after: string,
  until?: string,
): AsyncGenerator<ShippedCommit> {
  const segments = (await listSegments(services.storage, epoch)).filter(({ to }) => to > after);
  let covered = after;
  let pool: Segment[] = [];
  for (let next = 0; until === undefined || covered < until;) {
    while (next < segments.length && segments[next]!.from <= covered) pool.push(segments[next++]!);
    pool = pool.filter(({ to }) => to > covered).sort((a, b) => a.to > b.to ? -1 : 1);
    if (pool.length === 0) {
      if (next === segments.length) return;
      throw damaged(segments[next]!.name, `the log between ${covered} and it is missing`);
    }
    const { commits, to, name } = await firstGood(services, pool);
    let last = covered;
    for (const commit of commits) {
      if (commit.stamp > covered) yield commit;
      last = commit.stamp;
    }
    if (last !== to) throw damaged(name, `its last commit is ${last} instead of ${to}`);
    covered = to;
  }
}

/** Opens the first usable one of these segments. */
async function firstGood({ storage, config, log }: BackupServices, segments: Segment[]) {
  let error: unknown;
  for (const { name, bytes, to } of segments) {
    try {
      const expected = { name, kind: "log", bytes } as const;
      const lines = await readObject(storage, expected, config.backupEncryptionKey);
      return { name, to, commits: commitsOf(lines, name) };
    } catch (cause) {
      if (!(cause instanceof AppError) || cause.kind !== "conflict") throw cause;
      log.warn("log.segment_damaged", { name, error: cause });
      error ??= cause;
    }
  }
  throw error;
}
