/**
 * The kinds of failure. `routes/_problem.ts` turns a kind into an HTTP response;
 * nothing below the routes knows about status codes.
 *
 * @module
 */

/** Every kind of refusal or failure. */
export type ErrorKind =
  /** The request is not well formed: invalid JSON, cursor or UTF-8. */
  | "malformed"
  /** Well formed, but a value is not accepted; `fields` says which. */
  | "invalid_input"
  | "payload_too_large"
  /** The body did not arrive in time. */
  | "request_timeout"
  | "unsupported_media_type"
  | "unauthenticated"
  | "forbidden"
  | "not_found"
  | "method_not_allowed"
  /** The state of the entity does not allow this. */
  | "conflict"
  /** The caller changed a revision older than the stored one. */
  | "stale_revision"
  /** The Idempotency-Key was used before with another request. */
  | "idempotency_key_reused"
  | "rate_limited"
  /** The request is addressed to another host. */
  | "misdirected"
  /** Nothing was stored; the same request may succeed later. */
  | "unavailable"
  /** The store did not say whether the write happened; repeating with the same key is safe. */
  | "outcome_unknown"
  /** A defect of ours. */
  | "internal";

/** A problem with one field of a request. */
export interface FieldProblem {
  /** Dotted path into the input, such as `lines.0.quantity`; empty for the whole. */
  path: string;
  /** A sentence for people. */
  message: string;
  /** A word for programs, such as `too_long`. */
  code: string;
}

/** Details of an {@linkcode AppError}. */
export interface AppErrorOptions {
  /** The error that was caught: for the log, never shown to the caller. */
  cause?: unknown;
  /** The fields at fault. */
  fields?: FieldProblem[];
  /** When to retry, in milliseconds from now. */
  retryAfterMs?: number;
}

/** A failure with a kind. The message is shown to the caller: no secrets, no personal data. */
export class AppError extends Error {
  /** Identifies it in logs. */
  override readonly name = "AppError";
  /** The fields at fault; empty if it is not about fields. */
  readonly fields: FieldProblem[];
  /** When to retry, in milliseconds from now. */
  readonly retryAfterMs: number | undefined;

  /** A failure of `kind`, with a message for the caller. */
  constructor(
    readonly kind: ErrorKind,
    message: string,
    { cause, fields = [], retryAfterMs }: AppErrorOptions = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.fields = fields;
    this.retryAfterMs = retryAfterMs;
  }
}

/** An `invalid_input` about one field. */
export function invalidField(path: string, message: string, code: string): AppError {
  return new AppError("invalid_input", message, { fields: [{ path, message, code }] });
}
