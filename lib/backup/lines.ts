/**
 * The lines of which backups and shipped logs are made.
 *
 * An entry is one line of bytes in four fields, with tabs between them:
 *
 * | field   | content                                                                |
 * | ------- | ---------------------------------------------------------------------- |
 * | about   | empty, or the versionstamp if the scan may have seen the future, then, |
 * |         | after a semicolon, the milliseconds UTC at which the entry expires     |
 * | key     | the parts of the key as a list in tagged JSON (`lib/kv/codec.ts`)      |
 * | type    | `t`, `b`, `v` or `d`                                                   |
 * | value   | `t`: bytes as they are, none of them a line feed; `b`: bytes in        |
 * |         | base64; `v`: any other value, tagged JSON; `d`: nothing, it is gone    |
 *
 * In a log, the entries of a commit follow a line of JSON about the commit:
 * `{"commit":"…versionstamp…","at":…milliseconds UTC…,"entries":…how many…}`.
 *
 * Values of ours are bytes of text without line feeds, so they are copied as
 * they are in both directions, and `zcat` shows a backup to a person.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { decode, encode, SCHEMA_VERSION } from "../kv/codec.ts";
import { damaged } from "./needs.ts";

/** An entry of a backup. */
export interface BackupEntry {
  /** Parts of every type that Deno KV has. */
  key: Deno.KvKey;
  /** Of every type that the codec carries. */
  value: unknown;
  /** The revision that was read; null where it does not matter. */
  versionstamp: string | null;
  /** Milliseconds UTC; null for never. */
  expireAt: number | null;
}

/** A line as it was read. */
export type Line = EntryLine | CommitLine;

/** An entry, or that it is gone; fields are views of the line until they are asked for. */
export interface EntryLine {
  /** Tells it from a commit. */
  kind: "entry";
  /** The key as text, unambiguous. */
  keyText: string;
  /** What the digests are about: the line without its first field. */
  content: Uint8Array;
  /** The revision that was read; empty if it does not matter. */
  versionstamp: string;
  /** Milliseconds UTC; null for never. */
  expireAt: number | null;
  /** Whether the entry is gone. */
  isDeletion: boolean;
  /** How the value is written. */
  type: string;
  /** The value as it is written. */
  payload: Uint8Array;
}

/** What follows is one commit. */
export interface CommitLine {
  /** Tells it from an entry. */
  kind: "commit";
  /** Its versionstamp. */
  stamp: string;
  /** When it was made, by the clock of who made it, in milliseconds UTC. */
  at: number;
  /** How many lines belong to it. */
  entries: number;
}

const LINE_FEED = 0x0a;
const TAB = 0x09;
const BRACE = 0x7b;
/** The codec writes it first; a key and a value that is not ours have no schema. */
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
  return parts as Deno.KvKey; // as keyToText() was given it
}

/** What digests are about: an entry's line without its first field and its end. */
export function entryContent(
  key: Deno.KvKey,
  value: unknown,
): { keyText: string; content: Uint8Array } {
  const line = entryLine({ key, value, versionstamp: null, expireAt: null });
  return { keyText: keyToText(key), content: line.subarray(1, -1) };
}

/** An entry as a line, its end included. @throws {TypeError} on values that the codec does not carry */
export function entryLine({ key, value, versionstamp, expireAt }: BackupEntry): Uint8Array {
  const about = (versionstamp ?? "") + (expireAt === null ? "" : `;${expireAt}`);
  const head = `${about}\t${keyToText(key)}\t`;
  if (!(value instanceof Uint8Array)) return encoder.encode(`${head}v\t${toText(value)}\n`);
  if (value.includes(LINE_FEED)) {
    return encoder.encode(`${head}b\t${Buffer.from(value).toString("base64")}\n`);
  }
  return joined(`${head}t\t`, value);
}

/** One change of a logged commit as a line; `bytes` is null for a deletion. */
export function changeLine(keyText: string, bytes: Uint8Array | null): Uint8Array {
  if (bytes === null) return encoder.encode(`\t${keyText}\td\t\n`);
  return joined(`\t${keyText}\tt\t`, bytes);
}

/** What goes before the lines of a commit. */
export function commitLine({ stamp, at, entries }: Omit<CommitLine, "kind">): Uint8Array {
  return encoder.encode(`${JSON.stringify({ commit: stamp, at, entries })}\n`);
}

/** Takes lines apart. @throws {AppError} `conflict`, naming the object, on what is none. */
export function* readLines(bytes: Uint8Array, name: string): Generator<Line> {
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(LINE_FEED, start);
    if (end === -1) throw damaged(name, "its last line has no end");
    const line = bytes.subarray(start, end);
    try {
      yield line[0] === BRACE ? commitOf(line) : entryOf(line);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw damaged(name, "it has a line that cannot be read", error);
    }
    start = end + 1;
  }
}

/** The value of an entry's line, as it was stored. */
export function valueOf({ type, payload }: EntryLine): unknown {
  switch (type) {
    case "t":
      return new Uint8Array(payload); // a copy, so that the rest need not be kept
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
    throw new SyntaxError("An entry has four fields");
  }
  const type = String.fromCharCode(line[keyEnd + 1]!);
  if (!"tbvd".includes(type)) throw new SyntaxError(`There is no type ${JSON.stringify(type)}`);
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
    throw new SyntaxError("A commit has a versionstamp, a time and a number of entries");
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

/** Tagged JSON without the schema: what is no record is not upgraded as one. */
function toText(value: unknown): string {
  return decoder.decode(encode(value)).slice(SCHEMA.length);
}

function ofText(text: string): unknown {
  return decode(encoder.encode(SCHEMA + text));
}
