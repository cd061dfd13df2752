/**
 * What can go wrong, in one vocabulary. `routes/_problem.ts` turns a kind into
 * an HTTP answer; nothing below the routes knows about status codes.
 *
 * @module
 */

/** Every way in which the system refuses or fails. */
export type ErrorKind =
  /** The request is not well formed: bad JSON, bad cursor, bad UTF-8. */
  | "malformed"
  /** Well formed, but a value is not acceptable; `fields` says which. */
  | "invalid_input"
  | "payload_too_large"
  /** Its body did not arrive in time. */
  | "request_timeout"
  | "unsupported_media_type"
  | "unauthenticated"
  | "forbidden"
  | "not_found"
  | "method_not_allowed"
  /** The thing is in a state that does not allow this. */
  | "conflict"
  /** The caller changed an older revision than the one stored. */
  | "stale_revision"
  /** The same Idempotency-Key came with another request. */
  | "idempotency_key_reused"
  | "rate_limited"
  /** The request is addressed to a host that is not ours. */
  | "misdirected"
  /** Nothing was stored; the same request may succeed later. */
  | "unavailable"
  /** The store did not say whether the write happened; repeating with the same key is safe. */
  | "outcome_unknown"
  /** A defect of ours. */
  | "internal";

/** One thing that is wrong with a request, and where. */
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
  /** What was caught, kept for the log and never shown. */
  cause?: unknown;
  /** The fields at fault. */
  fields?: FieldProblem[];
  /** When to try again, in milliseconds from now. */
  retryAfterMs?: number;
}

/** A failure with a kind. The message is shown to the caller: no secrets, no personal data. */
export class AppError extends Error {
  /** Tells it apart in logs. */
  override readonly name = "AppError";
  /** The fields at fault; empty when it is not about fields. */
  readonly fields: FieldProblem[];
  /** When to try again, in milliseconds from now. */
  readonly retryAfterMs: number | undefined;

  /** Says what went wrong, in which vocabulary, and what caused it. */
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
