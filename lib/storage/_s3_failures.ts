/**
 * What S3's refusals and broken connections mean, and what an operator can do.
 *
 * @module
 */
import { StorageError, type StorageErrorCode } from "./mod.ts";
import { textOf } from "./_xml.ts";

/** What was tried, for messages. */
export interface Attempted {
  /** Such as `store "a.json"`. */
  does: string;
  /** Bucket and host. */
  where: string;
}

type Meaning = readonly [code: StorageErrorCode, reason: string];

const DAMAGED: Meaning = ["interrupted", "the upload was damaged or cut on its way"];
const BUSY: Meaning = ["unavailable", "the service is not well: look at its status"];
const ELSEWHERE: Meaning = [
  "missing_bucket",
  "the bucket is elsewhere: correct S3_ENDPOINT and S3_REGION",
];
const NO_RIGHT: Meaning = [
  "access_denied",
  "S3_ACCESS_KEY_ID has no right to it: grant it reading, writing, listing and deleting",
];
const CANNOT: Meaning = [
  "unsupported",
  "the service cannot do this: use one with conditional and multipart uploads",
];
const NOT_S3: Meaning = ["unsupported", "what answers is not S3: check S3_ENDPOINT"];

/** By the word that the service answers with. */
const BY_WORD: Readonly<Record<string, Meaning>> = {
  NoSuchBucket: ["missing_bucket", "there is no such bucket: create it, or correct STORAGE_URL"],
  NoSuchKey: ["not_found", "there is no such object"],
  NoSuchUpload: ["interrupted", "the upload was removed before its end"],
  PermanentRedirect: ELSEWHERE,
  TemporaryRedirect: ELSEWHERE,
  InvalidAccessKeyId: [
    "access_denied",
    "the access key is not known there: check S3_ACCESS_KEY_ID and S3_ENDPOINT",
  ],
  SignatureDoesNotMatch: [
    "access_denied",
    "the signature is refused: check S3_SECRET_ACCESS_KEY and S3_REGION",
  ],
  AuthorizationHeaderMalformed: ["access_denied", "the region is wrong: correct S3_REGION"],
  RequestTimeTooSkewed: ["access_denied", "the clock of this machine is wrong: set it"],
  AccessDenied: NO_RIGHT,
  UserSuspended: ["access_denied", "the account is suspended: ask the service"],
  QuotaExceeded: ["full", "the quota is used up: make room, or raise it"],
  BadDigest: DAMAGED,
  XAmzContentSHA256Mismatch: DAMAGED,
  IncompleteBody: DAMAGED,
  RequestTimeout: DAMAGED,
  InternalError: BUSY,
  ServiceUnavailable: BUSY,
  SlowDown: BUSY,
  ConditionalRequestConflict: BUSY,
  OperationAborted: BUSY,
  InvalidObjectState: ["unsupported", "the object is archived: bring it back first"],
  NotImplemented: CANNOT,
};

const BY_STATUS: Readonly<Record<number, Meaning>> = {
  301: ELSEWHERE,
  307: ELSEWHERE,
  401: NO_RIGHT,
  403: NO_RIGHT,
  408: DAMAGED,
  409: BUSY,
  412: ["precondition_failed", "there is another object already"],
  429: BUSY,
  501: CANNOT,
  507: ["full", "its disk is full: make room"],
};

/** What a refusal with this status and this document means. */
export function refusal({ does, where }: Attempted, status: number, xml: string): StorageError {
  const word = /^\w{1,64}$/.exec(textOf(xml, "Code") ?? "")?.[0];
  const [code, reason] = (word === undefined ? undefined : BY_WORD[word]) ?? BY_STATUS[status] ??
    (status >= 500 ? BUSY : word === undefined ? NOT_S3 : CANNOT);
  const answer = [status, word].filter((part) => part !== undefined).join(" ");
  return new StorageError(code, `Cannot ${does} in ${where}: ${reason} (${answer})`);
}

/** What a connection that was not made, or not kept, means. */
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

/** The runtime says only in words at which step it failed; Deno 2.9 in those of the cause. */
function hasNoConnection(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return /\b(?:connect|dns|blocked)\b/i.test(error.message) || hasNoConnection(error.cause);
}

/** What no sign of life for `ms` milliseconds means. */
export function silence({ does, where }: Attempted, ms: number): StorageError {
  return new StorageError(
    "timeout",
    `Cannot ${does} in ${where}: no sign of life for ${ms} ms; look at the service and the network`,
  );
}

/** Whether the same call may fare better a moment later. */
export function isPassing(error: unknown): boolean {
  return error instanceof StorageError &&
    ["timeout", "interrupted", "unavailable"].includes(error.code);
}
