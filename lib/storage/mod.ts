/**
 * The contract of object storage: bytes under keys, in an S3 bucket or a folder;
 * `open.ts` opens either. An object appears whole or not at all, and is verified
 * against its SHA-256 while it is read.
 *
 * Keys are paths such as `backups/2026/a b.json`: see {@linkcode checkKey}.
 *
 * @module
 */
import { AppError, type ErrorKind } from "../errors.ts";
import type { Clock } from "../time.ts";

/** The metadata of an object. */
export interface ObjectInfo {
  /** Its key, without the prefix of the storage. */
  key: string;
  /** In bytes. */
  size: number;
  /** Identifies this version of its bytes, in the storage's own form; a folder has none. */
  etag?: string;
  /** When it was stored, in milliseconds UTC by the storage's clock. */
  modifiedAt: number;
  /** 64 hexadecimal digits; absent in lists, and for objects that another program stored. */
  sha256?: string;
}

/** Options for {@linkcode ObjectStorage.put}. */
export interface PutOptions {
  /** The media type; `application/octet-stream` by default. A folder does not keep it. */
  contentType?: string;
  /**
   * Fails with `precondition_failed` if the object exists. Of concurrent writers one
   * wins; for a stream of several parts only if the server supports `If-None-Match` on
   * completing an upload (AWS does, Ceph 16 does not).
   */
  ifAbsent?: boolean;
  /** The expected digest, 64 hexadecimal digits; `corrupt` if it differs, and nothing is stored. */
  sha256?: string;
}

/** A part of an object; bytes past its end are left out. */
export interface ByteRange {
  /** The first byte, from 0. */
  offset: number;
  /** In bytes, at least 1; to the end by default. */
  length?: number;
}

/** Options for {@linkcode ObjectStorage.get}. */
export interface GetOptions {
  /** Reads only this part, without verification. */
  range?: ByteRange;
}

/** Stores objects. Every method throws {@linkcode StorageError}. */
export interface ObjectStorage {
  /**
   * Stores an object, replacing an existing one. When it returns, the object is whole
   * and durable. When it throws, no partial object is visible; after `timeout`,
   * `interrupted` and `unavailable` the whole object may be, as only the answer may have
   * been lost.
   *
   * Holds about one part (8 MiB) in memory. Rethrows what the stream throws.
   */
  put(
    key: string,
    body: ReadableStream<Uint8Array> | Uint8Array,
    options?: PutOptions,
  ): Promise<ObjectInfo>;
  /**
   * Opens an object for reading. The stream fails with `corrupt` instead of ending if
   * the bytes are not those that were stored: trust nothing before its end.
   *
   * A broken connection is resumed where it broke. Read the stream or cancel it.
   */
  get(key: string, options?: GetOptions): Promise<ReadableStream<Uint8Array>>;
  /** The metadata of an object, or null if there is none. */
  head(key: string): Promise<ObjectInfo | null>;
  /** Every object whose key begins with `prefix`, in the order of their UTF-8 bytes. */
  list(prefix: string): AsyncIterable<ObjectInfo>;
  /** Deletes an object, if there is one. */
  delete(key: string): Promise<void>;
  /**
   * Deletes the remains of broken uploads and deleted objects that are older than
   * `ageMs`, a day by default; call it daily. Nothing else should store under the same
   * prefix, as its uploads look the same. Returns how many were deleted.
   */
  tidy(ageMs?: number): Promise<number>;
}

/** The address and credentials of an S3 service. */
export interface S3Options {
  /**
   * Such as `https://s3.eu-west-1.amazonaws.com`. The bucket becomes part of the path
   * (path style), unless the host starts with it or with `{bucket}`, as in
   * `https://{bucket}.s3.eu-west-1.amazonaws.com` (virtual-host style).
   */
  endpoint: string;
  /** The service's name of the region; some expect `auto` or `us-east-1`. */
  region: string;
  /** The public part of the credentials. */
  accessKeyId: string;
  /** The secret part. */
  secretAccessKey: string;
}

/** Options for `openStorage()`. */
export interface StorageOptions {
  /** `file:` and the path of a folder, or `s3://bucket/prefix`. */
  url: string;
  /** Required for `s3:`. */
  s3: S3Options | undefined;
  /** Dates signatures, and measures the age of remains. */
  clock: Clock;
  /** Numbers in [0, 1), for jitter. */
  random: () => number;
  /** Waits between retries; a real sleep by default. */
  sleep?: (ms: number) => Promise<void>;
  /** How long a service may send nothing; 30 seconds by default. */
  silenceMs?: number;
  /** The size of the parts of a large object, in bytes: 8 MiB by default, at least 5 MiB. */
  partBytes?: number;
}

/** Why storage failed, and what an operator can do. */
export type StorageErrorCode =
  /** No such bucket or folder: create it, or correct its name. */
  | "missing_bucket"
  /** Correct the credentials, or grant the right. */
  | "access_denied"
  /** There is no such object. */
  | "not_found"
  /** The object exists already, or was replaced while it was read. */
  | "precondition_failed"
  /** The service sent nothing for too long. */
  | "timeout"
  /** The connection broke, or somebody removed the upload. */
  | "interrupted"
  /** The bytes are not those that were stored. */
  | "corrupt"
  /** The service cannot be reached, or is unhealthy. */
  | "unavailable"
  /** Free space, or raise the quota. */
  | "full"
  /** The service does not support this: use another. */
  | "unsupported"
  /** The key is not valid. */
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
  /** The message says what was attempted, why it failed, and what to do. */
  constructor(
    /** For programs; the log has it too. */
    readonly code: StorageErrorCode,
    message: string,
    options: { cause?: unknown } = {},
  ) {
    super(KINDS[code], message, options);
  }
}

const KEY_MAX_BYTES = 800;
/** The limit of file systems. */
const SEGMENT_MAX_BYTES = 255;

/**
 * Returns `key` if it is valid in any storage: one or more segments separated by `/`,
 * none empty or starting with a dot (reserved for the storage, and `..`), without
 * control characters and backslashes; at most 255 bytes of UTF-8 in a segment and 800
 * in the key.
 *
 * In a folder `a` and `a/b` cannot both be objects.
 *
 * @throws {StorageError} `invalid_key`.
 */
export function checkKey(key: string): string {
  if (isKey(key)) return key;
  throw new StorageError(
    "invalid_key",
    `Cannot use the key ${JSON.stringify(key.slice(0, 100))}: it is not valid`,
  );
}

/** Whether {@linkcode checkKey} accepts it. */
export function isKey(key: string): boolean {
  const size = (text: string) => new TextEncoder().encode(text).length;
  return key.isWellFormed() && size(key) <= KEY_MAX_BYTES &&
    // deno-lint-ignore no-control-regex
    !/[\x00-\x1f\x7f-\x9f\\\ufffe\uffff]/.test(key) && !isHidden(key) &&
    key.split("/").every((segment) => segment !== "" && size(segment) <= SEGMENT_MAX_BYTES);
}

/** Whether a key is reserved for the storage: some segment starts with a dot. */
export function isHidden(key: string): boolean {
  return /(?:^|\/)\./.test(key);
}
