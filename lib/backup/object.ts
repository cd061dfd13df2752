/**
 * The format of a backup's objects: a header line of JSON, then the lines,
 * compressed and, with a key, encrypted.
 *
 * The body is a sequence of gzip members, each of complete lines (RFC 1952 allows
 * concatenation, so `tail -n +2 | zcat` reads them all). Members are small, so
 * neither side blocks the program for long, and an object has at most
 * {@linkcode OBJECT_BYTES_MAX}, whatever its lines are.
 *
 * Encryption is AES-256-GCM over all members, with a random nonce per object. It
 * also authenticates the name and kind of the object, so objects cannot be swapped.
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

/** The name of the format in headers and manifests. */
export const FORMAT = "wetech-backup";
/** Incremented when older programs cannot read newer objects. */
export const FORMAT_VERSION = 1;

/** The maximal size of an object. */
export const OBJECT_BYTES_MAX: number = 8 * 1024 * 1024;
/** The size at which an object is full; a whole commit and the header still fit. */
const FULL_BYTES = 6.5 * 1024 * 1024;
/** Uncompressed size of a member; compression takes about 3 ms. */
const MEMBER_BYTES = 256 * 1024;
/** Nearly as small as level 6, in two thirds of the time. */
const GZIP_LEVEL = 3;
const NONCE_BYTES = 12;
const LINE_FEED = 0x0a;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** `base` for scanned entries, `log` for commits in order. */
export type ObjectKind = "base" | "log";

/** The first line of an object. */
interface Header {
  format: typeof FORMAT;
  version: number;
  kind: ObjectKind;
  /** The name in the storage. */
  name: string;
  /** The size of each gzip member, in bytes. */
  members: number[];
  /** SHA-256 of the body, hexadecimal. */
  sha256: string;
  encryption: null | { algorithm: "AES-256-GCM"; keyId: string; nonce: string };
}

/** A key for AES-256-GCM. */
export type EncryptionKey = Uint8Array<ArrayBuffer>;

/** An id of a key that does not disclose the key. */
export function keyIdOf(key: EncryptionKey): string {
  return Buffer.from(hmacSha256(key, "backup key id")).toString("hex").slice(0, 16);
}

/** Builds an object. */
export class ObjectWriter {
  /** Bytes of the lines so far. */
  rawBytes = 0;
  /** Entries so far, counted by the caller. */
  entries = 0;
  readonly #members: Uint8Array[] = [];
  #compressed = 0;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;

  /** Whether the object should be stored before more lines are added. */
  get isFull(): boolean {
    return this.#compressed >= FULL_BYTES;
  }

  /** Whether the object has no lines. */
  get isEmpty(): boolean {
    return this.rawBytes === 0;
  }

  /** Adds a line, with its line feed. */
  add(line: Uint8Array): void {
    if (this.#waitingBytes + line.length > MEMBER_BYTES) this.#compress();
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.rawBytes += line.length;
  }

  /** Returns the bytes of the object; `name` is the name that it will be stored under. */
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

/** The expected properties of an object. */
export interface ObjectExpectation {
  /** The name that it was stored under. */
  name: string;
  /** The kind of content. */
  kind: ObjectKind;
  /** The size, if known from a manifest or a listing. */
  bytes?: number;
  /** The SHA-256 of the whole object, if known. */
  sha256?: string;
}

/** Fetches an object. @throws {AppError} `conflict`, naming it, if it is missing or of another size */
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
 * Reads a whole object; the storage checks what it can.
 *
 * @throws {AppError} `conflict`, naming it, if the storage reports it missing or
 * corrupt.
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

/** A checked and decrypted object: its gzip members, still compressed. */
export interface OpenedObject {
  /** The name that it was stored under. */
  name: string;
  /** The members in order; each has complete lines. */
  members: Uint8Array[];
}

/**
 * Checks and decrypts an object.
 *
 * @throws {AppError} `conflict`, naming the object, if it was altered in any way.
 */
export async function openMembers(
  bytes: Uint8Array,
  expected: ObjectExpectation,
  key?: EncryptionKey,
): Promise<OpenedObject> {
  const { name, kind } = expected;
  if (expected.sha256 !== undefined && sha256Hex(bytes) !== expected.sha256) {
    throw damaged(name, "its SHA-256 differs from the manifest");
  }
  const headerEnd = bytes.indexOf(LINE_FEED);
  const header = headerOf(bytes.subarray(0, Math.max(headerEnd, 0)), name);
  const stored = bytes.subarray(headerEnd + 1);
  if (header.name !== name || header.kind !== kind) {
    throw damaged(name, `its header is for ${header.name}, ${header.kind}`);
  }
  if (header.sha256 !== sha256Hex(stored)) {
    throw damaged(name, "its content was altered (SHA-256)");
  }
  const body = await decrypted(stored, header, key);
  const members: Uint8Array[] = [];
  let start = 0;
  for (const size of header.members) {
    members.push(body.subarray(start, start + size));
    start += size;
  }
  if (start !== body.length) {
    throw damaged(name, `its content has ${body.length} bytes instead of ${start}`);
  }
  return { name, members };
}

/** The lines of a member. @throws {AppError} `conflict`, naming the object */
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
 * Checks and parses an object.
 *
 * @returns The lines; each member is decompressed when its lines are read.
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

/** Fetches, checks and parses an object. @throws what `fetchObject()` and `openObject()` throw */
export async function readObject(
  storage: ObjectStorage,
  expected: ObjectExpectation,
  key?: EncryptionKey,
): Promise<Generator<Line>> {
  return await openObject(await fetchObject(storage, expected), expected, key);
}

/** Refuses foreign formats and newer versions. @throws {AppError} `conflict` */
export function expectFormat(
  found: { format?: unknown; version?: unknown },
  name: string,
): void {
  if (found.format !== FORMAT || !Number.isInteger(found.version)) {
    throw damaged(name, "it is not a backup of this program");
  }
  if (Number(found.version) > FORMAT_VERSION) {
    throw damaged(
      name,
      `it has format ${found.version}; this program reads up to ${FORMAT_VERSION}`,
    );
  }
}

/** Refuses an object that is encrypted with another key. @throws {AppError} `conflict` */
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
  const isComplete = Array.isArray(header.members) && header.members.every(Number.isInteger) &&
    typeof header.sha256 === "string" && header.encryption !== undefined;
  if (!isComplete) throw damaged(name, "its header is incomplete");
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
  if (key.length !== 32) throw new AppError("internal", "An encryption key must have 32 bytes");
  return crypto.subtle.importKey("raw", key, "AES-GCM", false, [usage]);
}

function labelOf(name: string, kind: ObjectKind): Uint8Array<ArrayBuffer> {
  return encoder.encode(`${FORMAT} ${FORMAT_VERSION} ${kind} ${name}`);
}
