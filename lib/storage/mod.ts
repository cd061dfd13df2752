/**
 * Object storage: bytes under names, in an S3 bucket or in a folder, with one
 * contract for both. An object appears whole or not at all, and is checked
 * against its SHA-256 while it is read.
 *
 * Keys are paths such as `backups/2026/a b.json`: see {@linkcode checkKey}.
 *
 * @module
 */
import { AppError, type ErrorKind } from "../errors.ts";
import type { Clock } from "../time.ts";

/** What is known of an object without reading it. */
export interface ObjectInfo {
  /** Its name, without the prefix of the storage. */
  key: string;
  /** In bytes. */
  size: number;
  /** Names this version of its bytes, in the storage's own way; a folder has none. */
  etag?: string;
  /** When it was stored, in milliseconds UTC by the storage's clock. */
  modifiedAt: number;
  /** 64 hexadecimal digits; not in lists, nor for what something else has put there. */
  sha256?: string;
}

/** Options for {@linkcode ObjectStorage.put}. */
export interface PutOptions {
  /** A media type; `application/octet-stream` by default. A folder keeps none. */
  contentType?: string;
  /**
   * Refuses with `precondition_failed` where there is an object. Of any number of
   * writers at once one wins; for a stream that takes several parts, only where the
   * server knows `If-None-Match` on completing an upload (AWS does, Ceph 16 does not).
   */
  ifAbsent?: boolean;
  /** What the bytes must hash to, 64 hexadecimal digits; `corrupt` if they do not, and nothing is stored. */
  sha256?: string;
}

/** A part of an object. What lies past its end is left out. */
export interface ByteRange {
  /** The first byte, from 0. */
  offset: number;
  /** At least 1; to the end by default. */
  length?: number;
}

/** Options for {@linkcode ObjectStorage.get}. */
export interface GetOptions {
  /** Reads no more than this, and checks no digest. */
  range?: ByteRange;
}

/** Where objects are. Every method throws {@linkcode StorageError}. */
export interface ObjectStorage {
  /**
   * Stores an object, in place of what was there. When it returns, the object is
   * whole and durable; when it throws, nothing partial is visible, but after `timeout`,
   * `interrupted` and `unavailable` the whole object may be, as its answer was lost.
   *
   * Holds about one part (8 MiB) in memory. What the stream throws is rethrown.
   */
  put(
    key: string,
    body: ReadableStream<Uint8Array> | Uint8Array,
    options?: PutOptions,
  ): Promise<ObjectInfo>;
  /**
   * Opens an object for reading. The stream fails with `corrupt` instead of ending
   * if the bytes are not those that were stored: believe nothing before its end.
   *
   * A broken connection is continued where it broke. Read the stream or cancel it.
   */
  get(key: string, options?: GetOptions): Promise<ReadableStream<Uint8Array>>;
  /** What is known of an object, or null if there is none. */
  head(key: string): Promise<ObjectInfo | null>;
  /** Every object whose key begins with `prefix`, in the order of their UTF-8 bytes. */
  list(prefix: string): AsyncIterable<ObjectInfo>;
  /** Removes an object, if there is one. */
  delete(key: string): Promise<void>;
  /**
   * Removes what broken uploads and removed objects have left behind, once it is
   * `ageMs` old, a day by default; call it daily. Nothing else should store under the
   * same prefix, as its uploads look the same. Returns how many things were removed.
   */
  tidy(ageMs?: number): Promise<number>;
}

/** Where an S3 service is, and who we are there. */
export interface S3Options {
  /**
   * Such as `https://s3.eu-west-1.amazonaws.com`. The bucket goes into the path
   * (path style), unless the host begins with it or with the word `{bucket}`, as in
   * `https://{bucket}.s3.eu-west-1.amazonaws.com` (virtual-host style).
   */
  endpoint: string;
  /** As the service names it; some want `auto` or `us-east-1`. */
  region: string;
  /** The public half of the credentials. */
  accessKeyId: string;
  /** The secret half. */
  secretAccessKey: string;
}

/** Options for `openStorage()`. */
export interface StorageOptions {
  /** `file:` and the path of a folder, or `s3://bucket/prefix`. */
  url: string;
  /** Needed for `s3:`. */
  s3: S3Options | undefined;
  /** Dates signatures, and tells what is old. */
  clock: Clock;
  /** At least 0, less than 1: spreads retries. */
  random: () => number;
  /** Waits between retries; a real sleep by default. */
  sleep?: (ms: number) => Promise<void>;
  /** How long a service may give no sign of life; 30 seconds by default. */
  silenceMs?: number;
  /** The size of the parts of a large object, in bytes: 8 MiB by default, at least 5 MiB. */
  partBytes?: number;
}

/** What storage fails for, and what an operator can do about it. */
export type StorageErrorCode =
  /** Bucket or folder: create it, or correct its name. */
  | "missing_bucket"
  /** Correct the credentials, or grant the right. */
  | "access_denied"
  /** There is no such object. */
  | "not_found"
  /** There is another object: already, or instead of the one that was being read. */
  | "precondition_failed"
  /** No sign of life for too long. */
  | "timeout"
  /** The connection broke, or an upload was removed by someone. */
  | "interrupted"
  /** The bytes are not those that were stored. */
  | "corrupt"
  /** The service cannot be reached, or is not well. */
  | "unavailable"
  /** Make room, or raise the quota. */
  | "full"
  /** The service cannot do this at all: use another. */
  | "unsupported"
  /** No key of ours. */
  | "invalid_key";

const KINDS: Readonly<Record<StorageErrorCode, ErrorKind>> = {
  missing_bucket: "unavailable",
  access_denied: "unavailable",
  not_found: "not_found",
  precondition_failed: "conflict",
  timeout: "unavailable",
  interrupted: "unavailable",
  corrupt: "internal",
  unavailable: "unavailable",
  full: "unavailable",
  unsupported: "unavailable",
  invalid_key: "invalid_input",
};

/** A failure of storage. The message says what to do, and holds no secret. */
export class StorageError extends AppError {
  /** Says what was tried, why it failed, and what can be done. */
  constructor(
    /** Tells failures apart; the log has it too. */
    readonly code: StorageErrorCode,
    message: string,
    options: { cause?: unknown } = {},
  ) {
    super(KINDS[code], message, options);
  }
}

const KEY_MAX_BYTES = 800;
/** A file's name has 255 bytes. */
const SEGMENT_MAX_BYTES = 255;

/**
 * Returns `key` if it can name an object in any storage: one or more segments
 * with `/` between them, none of them empty or beginning with a dot (which are
 * the storage's own, and `..`), without control characters and backslashes; a
 * segment has at most 255 bytes of UTF-8 and the key 800.
 *
 * In a folder `a` and `a/b` cannot both be objects.
 *
 * @throws {StorageError} `invalid_key`.
 */
export function checkKey(key: string): string {
  if (isKey(key)) return key;
  throw new StorageError(
    "invalid_key",
    `Cannot name an object ${JSON.stringify(key.slice(0, 100))}`,
  );
}

/** Whether {@linkcode checkKey} takes it. */
export function isKey(key: string): boolean {
  const size = (text: string) => new TextEncoder().encode(text).length;
  return key.isWellFormed() && size(key) <= KEY_MAX_BYTES &&
    // deno-lint-ignore no-control-regex
    !/[\x00-\x1f\x7f-\x9f\\\ufffe\uffff]/.test(key) && !isHidden(key) &&
    key.split("/").every((segment) => segment !== "" && size(segment) <= SEGMENT_MAX_BYTES);
}

/** Whether storage keeps a key to itself: some segment begins with a dot. */
export function isHidden(key: string): boolean {
  return /(?:^|\/)\./.test(key);
}
