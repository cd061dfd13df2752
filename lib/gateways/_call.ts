/**
 * Calls to a gateway: JSON over HTTP with a time limit, repeated only where that
 * cannot do anything twice, and refused at once while the gateway is down. Each
 * gateway has its own caller, so that failures of one do not stop the others.
 *
 * An invalid certificate ends a call; no option accepts it.
 *
 * @module
 */
import {
  BrokenCircuitError,
  circuitBreaker,
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  DelegateBackoff,
  handleWhen,
  type IRetryBackoffContext,
  retry,
  type RetryPolicy,
  TaskCancelledError,
} from "cockatiel";
import { type OutgoingFailure, parseJson, sendRequest } from "../outgoing/mod.ts";
import type { Log } from "../telemetry/mod.ts";
import { REDACTED, redactStart } from "../telemetry/redact.ts";
import { backoffMs, MINUTE_MS, SECOND_MS } from "../time.ts";
import { type BreakerState, type CallPolicy, GatewayError, type GatewayName } from "./mod.ts";

/** Short enough for a payer who waits for a page. */
const CALL_POLICY: CallPolicy = Object.freeze({
  timeoutMs: 10 * SECOND_MS,
  attemptsMax: 3,
  backoffMs: 250,
  backoffMaxMs: 2 * SECOND_MS,
  failuresMax: 5,
  pauseMs: MINUTE_MS / 2,
});

/** How a {@linkcode GatewayCaller} is made. */
export interface CallerOptions {
  /** The gateway to call. */
  gateway: GatewayName;
  /** Numbers in [0, 1), for jitter. */
  random: () => number;
  /** Records failed attempts and changes of the breaker. */
  log: Log;
  /** Overrides of {@linkcode CALL_POLICY}. */
  policy?: Partial<CallPolicy>;
  /** Removed from all answers, in case the gateway repeats them. */
  secrets?: readonly string[];
}

/** One call. */
export interface GatewayCall {
  /** Its purpose, to follow "Cannot": such as `start a payment`. Constant, since it is logged. */
  does: string;
  /** In capitals. */
  method: "GET" | "POST";
  /** Absolute. Never logged. */
  url: string;
  /** In addition to those for JSON. Never logged. */
  headers?: Readonly<Record<string, string>>;
  /** Sent as JSON; no body when absent. Never logged. */
  body?: unknown;
  /** Whether making it twice has the same effect as making it once. */
  isRepeatable: boolean;
  /** Time limit of an attempt; the policy's when absent. */
  timeoutMs?: number;
  /** Cancels it. */
  signal?: AbortSignal | undefined;
}

/** A gateway's answer: JSON, with a status of success or of a refusal. */
export interface GatewayReply {
  /** HTTP: 200 to 299, or 400 to 499 except 429. */
  status: number;
  /** JSON, not validated; null for a refusal without a body: see {@linkcode GatewayCaller.json}. */
  body: unknown;
  /** The gateway's own clock, milliseconds UTC; null if it sent none. */
  date: number | null;
}

/** Answers have a few hundred bytes. */
const BODY_MAX_BYTES = 2 ** 20;

/** A shorter text may occur by chance. */
const SECRET_LENGTH_MIN = 6;

/** The length to which a gateway's message is quoted. */
const QUOTE_MAX = 200;

/** Codes that say nothing about the health of the gateway. */
const NO_FAILURES: ReadonlySet<string> = new Set(["aborted", "down"]);
/** Codes that another attempt would repeat. */
const FINAL: ReadonlySet<string> = new Set([...NO_FAILURES, "bad_certificate", "redirected"]);

const STATES: Readonly<Record<CircuitState, BreakerState>> = {
  [CircuitState.Closed]: "closed",
  [CircuitState.HalfOpen]: "half_open",
  [CircuitState.Open]: "open",
  [CircuitState.Isolated]: "open",
};

/** Makes the calls to one gateway. */
export class GatewayCaller {
  readonly #gateway: GatewayName;
  readonly #log: Log;
  readonly #policy: CallPolicy;
  readonly #secrets: readonly string[];
  readonly #breaker: CircuitBreakerPolicy;
  #openedAt = 0;
  readonly #retries: Record<"repeatable" | "once", RetryPolicy>;

  /** Calls nothing yet. */
  constructor({ gateway, random, log, policy = {}, secrets = [] }: CallerOptions) {
    this.#gateway = gateway;
    this.#secrets = secrets.filter((secret) => secret.length >= SECRET_LENGTH_MIN);
    this.#log = log;
    this.#policy = { ...CALL_POLICY, ...policy };
    const { attemptsMax, backoffMs: firstMs, backoffMaxMs, failuresMax, pauseMs } = this.#policy;

    this.#breaker = circuitBreaker(handleWhen((error) => !isCode(error, NO_FAILURES)), {
      breaker: new ConsecutiveBreaker(failuresMax),
      halfOpenAfter: pauseMs,
    });
    this.#breaker.onStateChange((state) => {
      if (state === CircuitState.Open) this.#openedAt = performance.now();
      this.#log.warn("gateway.breaker", { gatewayName: gateway, state: STATES[state] });
    });

    const waits = { firstMs, maxMs: backoffMaxMs, random };
    const backoff = new DelegateBackoff(({ attempt }: IRetryBackoffContext<unknown>) =>
      backoffMs(attempt, waits)
    );
    const options = { maxAttempts: attemptsMax - 1, backoff };
    const isPassing = (error: unknown) => !isCode(error, FINAL);
    this.#retries = {
      repeatable: retry(handleWhen(isPassing), options),
      once: retry(handleWhen((error) => isPassing(error) && wasNotSent(error)), options),
    };
  }

  /** Whether calls are made at the moment. */
  get breaker(): BreakerState {
    const state = STATES[this.#breaker.state];
    // Only a call closes it again, so a caller who makes none while it is open must not be stopped.
    const isOver = performance.now() - this.#openedAt >= this.#policy.pauseMs;
    return state === "open" && isOver ? "half_open" : state;
  }

  /**
   * Makes a call, and repeats it after a temporary failure: any, if the call is
   * repeatable; otherwise only if nothing of it can have arrived.
   *
   * A refusal without a body is returned if it is a 401 or the call is repeatable.
   * For other calls it is `unknown`: a proxy that gives up may answer so too, after
   * it has passed the call on. A later query has the outcome.
   *
   * @throws {GatewayError} `not_sent` when no connection came about (`no_connection`,
   * `bad_certificate`) or none was tried (`down`, `aborted`); `refused`, code
   * `rate_limited`; `unknown` (`timeout`, `aborted`, `disconnected`, `redirected`,
   * `not_json`, `too_large`, `http_500` and the like) in every other case.
   */
  async json(call: GatewayCall): Promise<GatewayReply> {
    const policy = this.#retries[call.isRepeatable ? "repeatable" : "once"];
    let hasBeenSent = false;
    const attempt = async (signal: AbortSignal) => {
      try {
        return await this.#attempt(call, signal);
      } catch (error) {
        const failure = this.#failureOf(error);
        hasBeenSent ||= failure.outcome === "unknown";
        throw failure;
      }
    };
    try {
      return await policy.execute(
        ({ signal }) => this.#breaker.execute(({ signal }) => attempt(signal), signal),
        call.signal,
      );
    } catch (error) {
      if (error instanceof GatewayError) {
        // An earlier attempt may have done what the last one did not.
        throw hasBeenSent && error.outcome !== "unknown"
          ? this.#error("unknown", error.code, error.message)
          : error;
      }
      const outcome = hasBeenSent ? "unknown" : "not_sent";
      if (error instanceof BrokenCircuitError) {
        throw this.#error(outcome, "down", `Cannot ${call.does}: ${this.#gateway} is down`);
      }
      if (error instanceof TaskCancelledError) {
        throw this.#error(outcome, "aborted", `Cannot ${call.does}: the call was cancelled`);
      }
      throw error;
    }
  }

  async #attempt(call: GatewayCall, signal: AbortSignal): Promise<GatewayReply> {
    if (signal.aborted) {
      throw this.#error("not_sent", "aborted", `Cannot ${call.does}: the call was cancelled`);
    }
    const { method, url, headers, body, isRepeatable } = call;
    const timeoutMs = call.timeoutMs ?? this.#policy.timeoutMs;
    const result = await sendRequest({
      url,
      method,
      headers: {
        accept: "application/json",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      timeoutMs,
      signal,
      isRepeatable,
      answerMaxBytes: BODY_MAX_BYTES,
    });
    if (!result.isAnswered) throw this.#transportFailure(call, result.failure, timeoutMs);
    const { status, text } = result;
    if (text === null) {
      throw this.#unknown(call, "too_large", `answered more than ${BODY_MAX_BYTES} bytes`);
    }
    const answered = this.#bodyOf(call, status, text);
    const date = Date.parse(result.headers.get("date") ?? "");
    return { status, body: answered, date: Number.isNaN(date) ? null : date };
  }

  /** The JSON of an answer; null for a refusal without a body. */
  #bodyOf(call: GatewayCall, status: number, text: string): unknown {
    if (status >= 300 && status < 400) {
      throw this.#unknown(call, "redirected", `redirected with status ${status}`);
    }
    const body = parseJson(without(this.#secrets, text));
    const quoted = body === undefined ? "" : messageOf(body);
    const words = quoted === "" ? "" : `: ${quoted}`;
    if (status === 429) {
      const message = `Cannot ${call.does}: ${this.#gateway} limits the rate of calls${words}`;
      throw this.#error("refused", "rate_limited", message);
    }
    if (status >= 500) {
      throw this.#unknown(call, `http_${status}`, `answered with status ${status}${words}`);
    }
    // A missing token or an unknown resource may be answered without a body.
    const isRefused = status === 401 || (status >= 400 && call.isRepeatable && text.trim() === "");
    if (body === undefined && !isRefused) {
      throw this.#unknown(call, "not_json", `answered with status ${status} and no JSON`);
    }
    return body ?? null;
  }

  /** Logs the failure of an attempt, as an error of ours. */
  #failureOf(error: unknown): GatewayError {
    if (!(error instanceof GatewayError)) throw error;
    const { outcome, code, message } = error;
    const gatewayName = this.#gateway;
    this.#log.warn("gateway.call_failed", { gatewayName, outcome, code, reason: message });
    return error;
  }

  #transportFailure(call: GatewayCall, failure: OutgoingFailure, timeoutMs: number): GatewayError {
    switch (failure) {
      case "aborted":
        return this.#unknown(call, failure, "had not answered when the call was cancelled");
      case "timeout":
        return this.#unknown(call, failure, `did not answer within ${timeoutMs} ms`);
      case "disconnected":
        return this.#unknown(call, failure, "broke the connection");
      case "bad_certificate":
        return this.#notSent(call, failure, "has no valid certificate");
      case "no_connection":
        return this.#notSent(call, failure, "cannot be reached");
      default:
        return failure satisfies never;
    }
  }

  #notSent({ does }: GatewayCall, code: string, what: string): GatewayError {
    return this.#error("not_sent", code, `Cannot ${does}: ${this.#gateway} ${what}`);
  }

  #unknown({ does }: GatewayCall, code: string, what: string): GatewayError {
    return this.#error("unknown", code, `Cannot ${does}: ${this.#gateway} ${what}`);
  }

  #error(outcome: GatewayError["outcome"], code: string, message: string): GatewayError {
    return new GatewayError(this.#gateway, outcome, code, message);
  }
}

function isCode(error: unknown, codes: ReadonlySet<string>): boolean {
  if (error instanceof GatewayError) return codes.has(error.code);
  return error instanceof BrokenCircuitError || error instanceof TaskCancelledError;
}

function wasNotSent(error: unknown): boolean {
  return error instanceof GatewayError && error.outcome === "not_sent";
}

/** Fields in which gateways put a message, the more useful ones first. */
const MESSAGE_FIELDS = ["message", "error_description", "code", "error_type", "title", "detail"];

/** The message in an error's body: the first of the usual fields, of it or of its `error`. */
function messageOf(body: unknown): string {
  if (typeof body !== "object" || body === null) return "";
  const inner: unknown = Reflect.get(body, "error");
  const places = typeof inner === "object" && inner !== null ? [inner, body] : [body];
  for (const place of places) {
    for (const name of MESSAGE_FIELDS) {
      const text: unknown = Reflect.get(place, name);
      if (typeof text === "string" && text.trim() !== "") return quotable(text);
    }
  }
  return "";
}

function without(secrets: readonly string[], text: string): string {
  let clean = text;
  for (const secret of secrets) if (secret !== "") clean = clean.replaceAll(secret, REDACTED);
  return clean;
}

/** Long runs with a digit: ids, tokens, accounts. Words and codes have none. */
const LONG_RUN = /(?=[\w+/=.-]{0,63}\d)[\w+/=.-]{24,512}/g;

/**
 * A gateway's message for the log and for people: at most 200 characters on one line,
 * without URLs, ids, tokens, telephone numbers and e-mail addresses.
 *
 * @param secrets Further texts to remove.
 */
export function quotable(message: string, secrets: readonly string[] = []): string {
  const text = without(secrets, message.slice(0, 2_000))
    .replaceAll(/\bhttps?:\/\/\S{1,1000}/gi, "[address]")
    .replaceAll(LONG_RUN, "[id]")
    .replaceAll(/[\s\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ")
    // Telephone numbers and cards as digits; amounts are shorter.
    .replaceAll(/\d(?:[ -]?\d){8,}/g, "[number]")
    .trim();
  return redactStart(text, QUOTE_MAX);
}
