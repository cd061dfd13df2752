/**
 * The meaning of S3's refusals and of broken connections, and what an operator can do.
 *
 * @module
 */
import { StorageError, type StorageErrorCode } from "./mod.ts";
import { textOf } from "./_xml.ts";

/** What was attempted, for messages. */
export interface Attempted {
  /** Such as `store "a.json"`. */
  does: string;
  /** Bucket and host. */
  where: string;
}

type Meaning = readonly [code: StorageErrorCode, reason: string];

const DAMAGED: Meaning = ["interrupted", "the upload was damaged or cut off on its way"];
const BUSY: Meaning = ["unavailable", "the service is unhealthy: check its status"];
const ELSEWHERE: Meaning = [
  "missing_bucket",
  "the bucket is in another region: correct S3_ENDPOINT and S3_REGION",
];
const NO_RIGHT: Meaning = [
  "access_denied",
  "S3_ACCESS_KEY_ID lacks permission: allow reading, writing, listing and deleting",
];
const CANNOT: Meaning = [
  "unsupported",
  "the service does not support this: use one with conditional and multipart uploads",
];
const NOT_S3: Meaning = ["unsupported", "the answer is not from S3: check S3_ENDPOINT"];

/** By the error code of the service. */
const BY_WORD: Readonly<Record<string, Meaning>> = {
  NoSuchBucket: ["missing_bucket", "the bucket does not exist: create it, or correct STORAGE_URL"],
  NoSuchKey: ["not_found", "the object does not exist"],
  NoSuchUpload: ["interrupted", "the upload was removed before it was complete"],
  PermanentRedirect: ELSEWHERE,
  TemporaryRedirect: ELSEWHERE,
  InvalidAccessKeyId: [
    "access_denied",
    "the access key is unknown: check S3_ACCESS_KEY_ID and S3_ENDPOINT",
  ],
  SignatureDoesNotMatch: [
    "access_denied",
    "the signature is refused: check S3_SECRET_ACCESS_KEY and S3_REGION",
  ],
  AuthorizationHeaderMalformed: ["access_denied", "the region is wrong: correct S3_REGION"],
  RequestTimeTooSkewed: ["access_denied", "the clock of this machine is wrong: set it"],
  AccessDenied: NO_RIGHT,
  UserSuspended: ["access_denied", "the account is suspended: contact the service"],
  QuotaExceeded: ["full", "the quota is used up: free space, or raise it"],
  BadDigest: DAMAGED,
  XAmzContentSHA256Mismatch: DAMAGED,
  IncompleteBody: DAMAGED,
  RequestTimeout: DAMAGED,
  InternalError: BUSY,
  ServiceUnavailable: BUSY,
  SlowDown: BUSY,
  ConditionalRequestConflict: BUSY,
  OperationAborted: BUSY,
  InvalidObjectState: ["unsupported", "the object is archived: restore it first"],
  NotImplemented: CANNOT,
};

const BY_STATUS: Readonly<Record<number, Meaning>> = {
  301: ELSEWHERE,
  307: ELSEWHERE,
  401: NO_RIGHT,
  403: NO_RIGHT,
  408: DAMAGED,
  409: BUSY,
  412: ["precondition_failed", "the object exists already"],
  429: BUSY,
  501: CANNOT,
  507: ["full", "its disk is full: free space"],
};

/** The error for a refusal with this status and document. */
export function refusal({ does, where }: Attempted, status: number, xml: string): StorageError {
  const word = /^\w{1,64}$/.exec(textOf(xml, "Code") ?? "")?.[0];
  const [code, reason] = (word === undefined ? undefined : BY_WORD[word]) ?? BY_STATUS[status] ??
    (status >= 500 ? BUSY : word === undefined ? NOT_S3 : CANNOT);
  const answer = [status, word].filter((part) => part !== undefined).join(" ");
  return new StorageError(code, `Cannot ${does} in ${where}: ${reason} (${answer})`);
}

/** The error for a connection that failed or broke. */
export function disconnection({ does, where }: Attempted, cause: unknown): StorageError {
  return hasNoConnection(cause)
    ? new StorageError(
      "unavailable",
      `Cannot ${does} in ${where}: it cannot be reached; check S3_ENDPOINT, or wait until it is up`,
      { cause },
    )
    : new StorageError("interrupted", `Cannot ${does} in ${where}: the connection broke`, {
      cause,
    });
}

/** Only the words of the runtime's error say at which step it failed; in Deno 2.9 those of its cause. */
function hasNoConnection(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return /\b(?:connect|dns|blocked)\b/i.test(error.message) || hasNoConnection(error.cause);
}

/** The error for a silence of `ms` milliseconds. */
export function silence({ does, where }: Attempted, ms: number): StorageError {
  return new StorageError(
    "timeout",
    `Cannot ${does} in ${where}: no answer for ${ms} ms; check the service and the network`,
  );
}

/** Whether a retry may succeed. */
export function isTemporary(error: unknown): boolean {
  return error instanceof StorageError &&
    ["timeout", "interrupted", "unavailable"].includes(error.code);
}
