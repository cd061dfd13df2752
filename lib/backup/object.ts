/**
 * The objects of a backup: a line of JSON that says how to read the rest, then
 * the lines, compressed and, if there is a key, encrypted.
 *
 * The rest is a sequence of gzip members, each of whole lines (RFC 1952 lets
 * them follow one another, so `tail -n +2 | zcat` reads them all). They are small
 * enough that neither side ever holds up the program for long, and an object is
 * at most {@linkcode OBJECT_BYTES_MAX}, whatever its lines are.
 *
 * Encryption is AES-256-GCM over all members, with a random nonce an object; the
 * object's name and kind are authenticated with it, so that objects cannot be
 * exchanged for one another.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { gunzipSync, gzipSync } from "node:zlib";
import { hmacSha256, sha256Hex } from "../digest.ts";
import { AppError } from "../errors.ts";
import { type ObjectStorage, StorageError } from "../storage/mod.ts";
import { type Line, readLines } from "./lines.ts";
import { damaged } from "./needs.ts";

/** What objects are said to be. */
export const FORMAT = "wetech-backup";
/** Raised when an older program could not read a newer object. */
export const FORMAT_VERSION = 1;

/** No object is larger. */
export const OBJECT_BYTES_MAX: number = 8 * 1024 * 1024;
/** An object takes no more lines from here on; a whole commit and the header still fit. */
const FULL_BYTES = 6.5 * 1024 * 1024;
/** Compressed at once, in about 3 ms. */
const MEMBER_BYTES = 256 * 1024;
/** Nearly as small as at 6, in two thirds of the time. */
const GZIP_LEVEL = 3;
const NONCE_BYTES = 12;
const LINE_FEED = 0x0a;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Scanned entries, or commits in their order. */
export type ObjectKind = "base" | "log";

/** The first line of an object. */
interface Header {
  format: typeof FORMAT;
  version: number;
  kind: ObjectKind;
  /** Where it is stored. */
  name: string;
  /** Bytes of each gzip member. */
  members: number[];
  /** SHA-256 of all that follows, hexadecimal. */
  sha256: string;
  encryption: null | { algorithm: "AES-256-GCM"; keyId: string; nonce: string };
}

/** A key for AES-256-GCM. */
export type EncryptionKey = Uint8Array<ArrayBuffer>;

/** Names a key without telling it. */
export function keyIdOf(key: EncryptionKey): string {
  return Buffer.from(hmacSha256(key, "backup key id")).toString("hex").slice(0, 16);
}

/** An object in the making. */
export class ObjectWriter {
  /** Bytes of the lines so far. */
  rawBytes = 0;
  /** Lines so far, as the caller counts them. */
  entries = 0;
  readonly #members: Uint8Array[] = [];
  #compressed = 0;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;

  /** Whether it should be stored before more is added. */
  get isFull(): boolean {
    return this.#compressed >= FULL_BYTES;
  }

  /** Whether there is nothing in it. */
  get isEmpty(): boolean {
    return this.rawBytes === 0;
  }

  /** Adds lines, each with its end. */
  add(line: Uint8Array): void {
    if (this.#waitingBytes + line.length > MEMBER_BYTES) this.#compress();
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.rawBytes += line.length;
  }

  /** Makes the object's bytes for the place where it will be stored. */
  async finish(name: string, kind: ObjectKind, key?: EncryptionKey): Promise<Uint8Array> {
    this.#compress();
    let body: Uint8Array = Buffer.concat(this.#members);
    let encryption: Header["encryption"] = null;
    if (key) {
      const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
      const cipher = await importKey(key, "encrypt");
      const algorithm = { name: "AES-GCM", iv: nonce, additionalData: labelOf(name, kind) };
      body = new Uint8Array(await crypto.subtle.encrypt(algorithm, cipher, Uint8Array.from(body)));
      encryption = {
        algorithm: "AES-256-GCM",
        keyId: keyIdOf(key),
        nonce: Buffer.from(nonce).toString("base64"),
      };
    }
    const header: Header = {
      format: FORMAT,
      version: FORMAT_VERSION,
      kind,
      name,
      members: this.#members.map(({ length }) => length),
      sha256: sha256Hex(body),
      encryption,
    };
    return new Uint8Array(Buffer.concat([encoder.encode(`${JSON.stringify(header)}\n`), body]));
  }

  #compress(): void {
    if (this.#waitingBytes === 0) return;
    const member = gzipSync(Buffer.concat(this.#waiting), { level: GZIP_LEVEL });
    this.#members.push(member);
    this.#compressed += member.length;
    this.#waiting = [];
    this.#waitingBytes = 0;
  }
}

/** What an object should be. */
export interface ObjectExpectation {
  /** Where it was stored. */
  name: string;
  /** What is in it. */
  kind: ObjectKind;
  /** In bytes, if the manifest says so. */
  bytes?: number;
  /** Of the whole object, if the manifest says so. */
  sha256?: string;
}

/** Fetches an object whole. @throws {AppError} `conflict`, naming it, if it is missing or not so large */
export async function fetchObject(
  storage: ObjectStorage,
  { name, bytes }: Pick<ObjectExpectation, "name" | "bytes">,
): Promise<Uint8Array> {
  const info = await storage.head(name);
  if (!info) throw damaged(name, "it is missing");
  if (bytes !== undefined && info.size !== bytes) {
    throw damaged(name, `it has ${info.size} bytes instead of ${bytes}`);
  }
  if (info.size > OBJECT_BYTES_MAX * 2) throw damaged(name, `it has ${info.size} bytes`);
  const found = await readAll(storage, name);
  if (found.length !== info.size) {
    throw damaged(name, `${found.length} bytes were received instead of ${info.size}`);
  }
  return found;
}

/**
 * Reads an object to its end; the storage checks what it can.
 *
 * @throws {AppError} `conflict`, naming it, if the storage says that it is missing
 * or not what was stored.
 */
export async function readAll(storage: ObjectStorage, name: string): Promise<Uint8Array> {
  try {
    return await new Response(await storage.get(name) as BodyInit).bytes();
  } catch (error) {
    const isLost = error instanceof StorageError &&
      ["corrupt", "not_found", "precondition_failed"].includes(error.code);
    throw isLost ? damaged(name, error.message, error) : error;
  }
}

/** An object that was checked: its gzip members, still compressed. */
export interface OpenedObject {
  /** Where it was stored. */
  name: string;
  /** In their order; each is of whole lines. */
  members: Uint8Array[];
}

/**
 * Checks an object, and decrypts it.
 *
 * @throws {AppError} `conflict`, naming the object, if anything about it is not
 * as it was written.
 */
export async function openMembers(
  bytes: Uint8Array,
  expected: ObjectExpectation,
  key?: EncryptionKey,
): Promise<OpenedObject> {
  const { name, kind } = expected;
  if (expected.sha256 !== undefined && sha256Hex(bytes) !== expected.sha256) {
    throw damaged(name, "its SHA-256 is not that of the manifest");
  }
  const headerEnd = bytes.indexOf(LINE_FEED);
  const header = headerOf(bytes.subarray(0, Math.max(headerEnd, 0)), name);
  const stored = bytes.subarray(headerEnd + 1);
  if (header.name !== name || header.kind !== kind) {
    throw damaged(name, `it says that it is ${header.name}, ${header.kind}`);
  }
  if (header.sha256 !== sha256Hex(stored)) {
    throw damaged(name, "its content is not what was written (SHA-256)");
  }
  const body = await decrypted(stored, header, key);
  const members: Uint8Array[] = [];
  let start = 0;
  for (const size of header.members) {
    members.push(body.subarray(start, start + size));
    start += size;
  }
  if (start !== body.length) throw damaged(name, `it has ${body.length} bytes, not ${start}`);
  return { name, members };
}

/** The lines of one of an object's members. @throws {AppError} `conflict`, naming the object */
export function* linesOf(member: Uint8Array, name: string): Generator<Line> {
  let lines: Uint8Array;
  try {
    lines = gunzipSync(member);
  } catch (error) {
    throw damaged(name, "it cannot be decompressed", error);
  }
  yield* readLines(lines, name);
}

/**
 * Checks an object and takes it apart.
 *
 * @returns Its lines, decompressed one member after another as they are asked for.
 * @throws what {@linkcode openMembers} throws
 */
export async function openObject(
  bytes: Uint8Array,
  expected: ObjectExpectation,
  key?: EncryptionKey,
): Promise<Generator<Line>> {
  const { name, members } = await openMembers(bytes, expected, key);
  return (function* () {
    for (const member of members) yield* linesOf(member, name);
  })();
}

/** Fetches an object, checks it and takes it apart. @throws what its parts throw */
export async function readObject(
  storage: ObjectStorage,
  expected: ObjectExpectation,
  key?: EncryptionKey,
): Promise<Generator<Line>> {
  return await openObject(await fetchObject(storage, expected), expected, key);
}

/** Refuses what a newer program wrote. @throws {AppError} `conflict` */
export function expectFormat(
  found: { format?: unknown; version?: unknown },
  name: string,
): void {
  if (found.format !== FORMAT || !Number.isInteger(found.version)) {
    throw damaged(name, "it is no backup of this program");
  }
  if (Number(found.version) > FORMAT_VERSION) {
    throw damaged(
      name,
      `it is of format ${found.version}, and this program reads up to ${FORMAT_VERSION}`,
    );
  }
}

/** Refuses what was encrypted with another key. @throws {AppError} `conflict` */
export function expectKey(
  keyId: string | null,
  key: EncryptionKey | undefined,
  name: string,
): void {
  if (keyId === null) return;
  if (!key) {
    throw damaged(name, `it is encrypted with key ${keyId}; set BACKUP_ENCRYPTION_KEY to it`);
  }
  if (keyIdOf(key) !== keyId) {
    throw damaged(
      name,
      `it is encrypted with key ${keyId}, and BACKUP_ENCRYPTION_KEY is key ${keyIdOf(key)}`,
    );
  }
}

function headerOf(line: Uint8Array, name: string): Header {
  let header: Header;
  try {
    header = JSON.parse(decoder.decode(line));
  } catch (error) {
    throw damaged(name, "it has no header", error);
  }
  expectFormat(header, name);
  const isWhole = Array.isArray(header.members) && header.members.every(Number.isInteger) &&
    typeof header.sha256 === "string" && header.encryption !== undefined;
  if (!isWhole) throw damaged(name, "its header is not whole");
  return header;
}

async function decrypted(
  stored: Uint8Array,
  { name, kind, encryption }: Header,
  key: EncryptionKey | undefined,
): Promise<Uint8Array> {
  if (encryption === null) return stored;
  expectKey(encryption.keyId, key, name);
  const iv = new Uint8Array(Buffer.from(encryption.nonce, "base64"));
  const algorithm = { name: "AES-GCM", iv, additionalData: labelOf(name, kind) };
  try {
    const cipher = await importKey(key!, "decrypt");
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, cipher, Uint8Array.from(stored)));
  } catch (error) {
    throw damaged(name, "it cannot be decrypted", error);
  }
}

function importKey(key: EncryptionKey, usage: "encrypt" | "decrypt"): Promise<CryptoKey> {
  if (key.length !== 32) throw new AppError("internal", "An encryption key has 32 bytes");
  return crypto.subtle.importKey("raw", key, "AES-GCM", false, [usage]);
}

function labelOf(name: string, kind: ObjectKind): Uint8Array<ArrayBuffer> {
  return encoder.encode(`${FORMAT} ${FORMAT_VERSION} ${kind} ${name}`);
}
