/**
 * The line format of backups and shipped logs.
 *
 * An entry is one line of four fields, separated by tabs:
 *
 * - about: empty, or the versionstamp if the entry changed after the scan began;
 *   then, after a semicolon, the milliseconds UTC at which the entry expires
 * - key: the parts of the key as a list in tagged JSON (`lib/kv/codec.ts`)
 * - type: `t`, `b`, `v` or `d`
 * - value: `t`: bytes without a line feed, as they are; `b`: bytes in base64; `v`:
 *   any other value in tagged JSON; `d`: empty, the entry was deleted
 *
 * In a log, the entries of a commit follow a line of JSON:
 * `{"commit":"…versionstamp…","at":…milliseconds UTC…,"entries":…count…}`.
 *
 * Values of this program are text bytes without line feeds, so they are copied
 * unchanged in both directions, and `zcat` shows a readable backup.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { decode, encode, SCHEMA_VERSION } from "../kv/codec.ts";
import { damaged } from "./needs.ts";

/** An entry of a backup. */
export interface BackupEntry {
  /** Parts of any type that Deno KV has. */
  key: Deno.KvKey;
  /** Any value that the codec supports. */
  value: unknown;
  /** The revision if it is later than the start of the scan; null otherwise. */
  versionstamp: string | null;
  /** Milliseconds UTC; null for never. */
  expireAt: number | null;
}

/** A parsed line. */
export type Line = EntryLine | CommitLine;

/** An entry or its deletion; byte fields are views of the line, decoded on demand. */
export interface EntryLine {
  /** The kind of line. */
  kind: "entry";
  /** The key as unambiguous text. */
  keyText: string;
  /** The input of the digest: the line without its first field. */
  content: Uint8Array;
  /** The revision if it is later than the start of the scan; empty otherwise. */
  versionstamp: string;
  /** Milliseconds UTC; null for never. */
  expireAt: number | null;
  /** Whether the entry was deleted. */
  isDeletion: boolean;
  /** The type field. */
  type: string;
  /** The encoded value. */
  payload: Uint8Array;
}

/** The head of a commit. */
export interface CommitLine {
  /** The kind of line. */
  kind: "commit";
  /** The versionstamp of the commit. */
  stamp: string;
  /** The time of the commit by its writer's clock, in milliseconds UTC. */
  at: number;
  /** The number of entry lines that follow. */
  entries: number;
}

const LINE_FEED = 0x0a;
const TAB = 0x09;
const BRACE = 0x7b;
/** The codec writes the schema first; keys and foreign values have none. */
const SCHEMA = `${SCHEMA_VERSION} `;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The key as tagged JSON. */
export function keyToText(key: Deno.KvKey): string {
  const isPlain = key.every((part) =>
    typeof part === "string" ||
    (typeof part === "number" && Number.isFinite(part) && !Object.is(part, -0))
  );
  return isPlain ? JSON.stringify(key) : toText(key);
}

/** The key that {@linkcode keyToText} wrote. */
export function keyOfText(text: string): Deno.KvKey {
  const parts = text.includes('"$"') ? ofText(text) : JSON.parse(text);
  return parts as Deno.KvKey; // keyToText() writes nothing else
}

/** The input of the digest: an entry's line without its first field and its line feed. */
export function entryContent(
  key: Deno.KvKey,
  value: unknown,
): { keyText: string; content: Uint8Array } {
  const line = entryLine({ key, value, versionstamp: null, expireAt: null });
  return { keyText: keyToText(key), content: line.subarray(1, -1) };
}

/** An entry as a line with its line feed. @throws {TypeError} if the codec lacks the value's type */
export function entryLine({ key, value, versionstamp, expireAt }: BackupEntry): Uint8Array {
  const about = (versionstamp ?? "") + (expireAt === null ? "" : `;${expireAt}`);
  const head = `${about}\t${keyToText(key)}\t`;
  if (!(value instanceof Uint8Array)) return encoder.encode(`${head}v\t${toText(value)}\n`);
  if (value.includes(LINE_FEED)) {
    return encoder.encode(`${head}b\t${Buffer.from(value).toString("base64")}\n`);
  }
  return joined(`${head}t\t`, value);
}

/** A change in a commit as a line; `bytes` is null for a deletion. */
export function changeLine(keyText: string, bytes: Uint8Array | null): Uint8Array {
  if (bytes === null) return encoder.encode(`\t${keyText}\td\t\n`);
  return joined(`\t${keyText}\tt\t`, bytes);
}

/** The head line of a commit. */
export function commitLine({ stamp, at, entries }: Omit<CommitLine, "kind">): Uint8Array {
  return encoder.encode(`${JSON.stringify({ commit: stamp, at, entries })}\n`);
}

/** Parses lines. @throws {AppError} `conflict`, naming the object, for an invalid line. */
export function* readLines(bytes: Uint8Array, name: string): Generator<Line> {
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(LINE_FEED, start);
    if (end === -1) throw damaged(name, "its last line has no line feed");
    const line = bytes.subarray(start, end);
    try {
      yield line[0] === BRACE ? commitOf(line) : entryOf(line);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw damaged(name, "it has an invalid line", error);
    }
    start = end + 1;
  }
}

/** The stored value of an entry's line. */
export function valueOf({ type, payload }: EntryLine): unknown {
  switch (type) {
    case "t":
      return new Uint8Array(payload); // a copy, which does not keep the whole object in memory
    case "b":
      return new Uint8Array(Buffer.from(decoder.decode(payload), "base64"));
    default:
      return ofText(decoder.decode(payload));
  }
}

function entryOf(line: Uint8Array): EntryLine {
  const aboutEnd = line.indexOf(TAB);
  const keyEnd = line.indexOf(TAB, aboutEnd + 1);
  if (aboutEnd === -1 || keyEnd === -1 || line[keyEnd + 2] !== TAB) {
    throw new SyntaxError("An entry must have four fields");
  }
  const type = String.fromCharCode(line[keyEnd + 1]!);
  if (!"tbvd".includes(type)) throw new SyntaxError(`Unknown type ${JSON.stringify(type)}`);
  const [versionstamp = "", expireAt] = decoder.decode(line.subarray(0, aboutEnd)).split(";");
  return {
    kind: "entry",
    keyText: decoder.decode(line.subarray(aboutEnd + 1, keyEnd)),
    content: line.subarray(aboutEnd + 1),
    versionstamp,
    expireAt: expireAt === undefined ? null : Number(expireAt),
    isDeletion: type === "d",
    type,
    payload: line.subarray(keyEnd + 3),
  };
}

function commitOf(line: Uint8Array): CommitLine {
  const { commit, at, entries } = JSON.parse(decoder.decode(line));
  if (typeof commit !== "string" || !Number.isInteger(at) || !Number.isInteger(entries)) {
    throw new SyntaxError("A commit must have a versionstamp, a time and a number of entries");
  }
  return { kind: "commit", stamp: commit, at, entries };
}

function joined(head: string, value: Uint8Array): Uint8Array {
  const start = encoder.encode(head);
  const line = new Uint8Array(start.length + value.length + 1);
  line.set(start);
  line.set(value, start.length);
  line[line.length - 1] = LINE_FEED;
  return line;
}

/** Tagged JSON without the schema: only records are upgraded by schema. */
function toText(value: unknown): string {
  return decoder.decode(encode(value)).slice(SCHEMA.length);
}

function ofText(text: string): unknown {
  return decode(encoder.encode(SCHEMA + text));
}
