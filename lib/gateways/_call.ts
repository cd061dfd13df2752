/**
 * Calls to a gateway: JSON over HTTP with a time limit, repeated only where that
 * cannot do anything twice, and refused at once while the gateway is down. One
 * caller a gateway, so that one's troubles are not the other's.
 *
 * A certificate that is not good ends a call: there is no way around it.
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
  timeout,
  TimeoutStrategy,
} from "cockatiel";
import type { Log } from "../telemetry/log.ts";
import { REDACTED, redactStart } from "../telemetry/redact.ts";
import { MINUTE_MS, SECOND_MS } from "../time.ts";
import { type BreakerState, GatewayError, type GatewayName } from "./mod.ts";

/** How patient a caller is. */
export interface CallPolicy {
  /** How long an attempt may take, its body included, unless the call says otherwise. */
  timeoutMs: number;
  /** How often a call that may be repeated is made at most, the first time included. */
  attemptsMax: number;
  /** The longest wait before the second attempt; it doubles from one to the next. */
  backoffMs: number;
  /** Where that doubling ends. */
  backoffMaxMs: number;
  /** So many failures in a row stop all calls. */
  failuresMax: number;
  /** How long they are stopped before one is tried. */
  pauseMs: number;
}

/** Within what a payer who waits for a page puts up with. */
export const CALL_POLICY: CallPolicy = Object.freeze({
  timeoutMs: 10 * SECOND_MS,
  attemptsMax: 3,
  backoffMs: 250,
  backoffMaxMs: 2 * SECOND_MS,
  failuresMax: 5,
  pauseMs: MINUTE_MS / 2,
});

/** How a {@linkcode GatewayCaller} is made. */
export interface CallerOptions {
  /** Who is called. */
  gateway: GatewayName;
  /** Numbers in [0, 1), for jitter. */
  random: () => number;
  /** Told of attempts that failed and of the breaker. */
  log: Log;
  /** What differs from {@linkcode CALL_POLICY}. */
  policy?: Partial<CallPolicy>;
  /** Taken out of all answers, should the gateway say them back. */
  secrets?: readonly string[];
}

/** One call. */
export interface GatewayCall {
  /** What it is for, after "cannot": such as `start a payment`. Constant, since it is logged. */
  does: string;
  /** In capitals. */
  method: "GET" | "POST";
  /** Absolute. Never logged. */
  url: string;
  /** Beside those that say JSON. Never logged. */
  headers?: Readonly<Record<string, string>>;
  /** Sent as JSON; nothing is sent without it. Never logged. */
  body?: unknown;
  /** Whether making it twice is the same as making it once. */
  isRepeatable: boolean;
  /** How long an attempt may take; that of the policy when absent. */
  timeoutMs?: number;
  /** Ends it. */
  signal?: AbortSignal | undefined;
}

/** What a gateway answered: JSON, and a status of success or of a refusal. */
export interface GatewayReply {
  /** HTTP: from 200 to 299, or from 400 to 499 but 429. */
  status: number;
  /** JSON, not yet believed; null where a refusal had none: see {@linkcode GatewayCaller.json}. */
  body: unknown;
  /** The gateway's own clock, milliseconds UTC; null if it did not tell. */
  date: number | null;
}

/** Answers have a few hundred bytes. */
const BODY_MAX_BYTES = 2 ** 20;

/** What is shorter occurs by chance. */
const SECRET_LENGTH_MIN = 6;

/** What a gateway said is told so far. */
const SAID_MAX = 200;

/** Codes after which the gateway is well, or there was no asking it. */
const NO_FAILURES: ReadonlySet<string> = new Set(["aborted", "down"]);
/** Codes that another attempt does not change. */
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
    const { attemptsMax, backoffMs, backoffMaxMs, failuresMax, pauseMs } = this.#policy;

    this.#breaker = circuitBreaker(handleWhen((error) => !isCode(error, NO_FAILURES)), {
      breaker: new ConsecutiveBreaker(failuresMax),
      halfOpenAfter: pauseMs,
    });
    this.#breaker.onStateChange((state) => {
      if (state === CircuitState.Open) this.#openedAt = performance.now();
      this.#log.warn("gateway.breaker", { gatewayName: gateway, state: STATES[state] });
    });

    // Full jitter, so that those who failed together do not come back together.
    const backoff = new DelegateBackoff(({ attempt }: IRetryBackoffContext<unknown>) =>
      random() * Math.min(backoffMs * 2 ** (attempt - 1), backoffMaxMs)
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
    // It is only tried again by a call, so whoever makes none while it is open must be let through.
    const isOver = performance.now() - this.#openedAt >= this.#policy.pauseMs;
    return state === "open" && isOver ? "half_open" : state;
  }

  /**
   * Makes a call, and again after a failure that may pass: any, if the call is
   * repeatable; otherwise only if nothing of it can have arrived.
   *
   * A refusal without a body is returned if it is a 401 or the call is repeatable.
   * Of a call that is not, nobody has said that it came to nothing: a proxy that
   * gives up may answer so too, after it has passed the call on. Its outcome is not
   * known then, and what is asked about it later tells.
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
        const failure = this.#failureOf(call, error, signal);
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
        throw this.#error(outcome, "aborted", `Cannot ${call.does}: it was given up`);
      }
      throw error;
    }
  }

  async #attempt(call: GatewayCall, outer: AbortSignal): Promise<GatewayReply> {
    const { does, method, url, headers = {}, body, timeoutMs = this.#policy.timeoutMs } = call;
    if (outer.aborted) {
      throw this.#error("not_sent", "aborted", `Cannot ${does}: it was given up`);
    }
    return await timeout(timeoutMs, TimeoutStrategy.Cooperative).execute(async ({ signal }) => {
      // By itself Deno sends a request again, a POST too, when a connection that had been
      // used before breaks: what may not be repeated gets one of its own.
      using client = call.isRepeatable
        ? null
        : Deno.createHttpClient({ poolMaxIdlePerHost: 0, http2: false });
      const response = await fetch(url, {
        method,
        headers: {
          accept: "application/json",
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        body: body === undefined ? null : JSON.stringify(body),
        // What is secret must not go where someone points to.
        redirect: "manual",
        signal,
        ...(client ? { client } : {}),
      });
      const text = await this.#readText(call, response);
      return this.#replyOf(call, response, text);
    }, outer);
  }

  /** The body, as far as an answer may reach. */
  async #readText(call: GatewayCall, response: Response): Promise<string> {
    const decoder = new TextDecoder();
    let text = "";
    let size = 0;
    for await (const chunk of response.body ?? []) {
      size += chunk.length;
      if (size > BODY_MAX_BYTES) {
        throw this.#unknown(call, "too_large", `answered more than ${BODY_MAX_BYTES} bytes`);
      }
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  }

  #replyOf(call: GatewayCall, { status, headers }: Response, text: string): GatewayReply {
    if (status >= 300 && status < 400) {
      throw this.#unknown(call, "redirected", `pointed elsewhere with status ${status}`);
    }
    const body = parseJson(without(this.#secrets, text));
    const said = body === undefined ? "" : sayingOf(body);
    const words = said === "" ? "" : `: ${said}`;
    if (status === 429) {
      const message = `Cannot ${call.does}: ${this.#gateway} was asked too often${words}`;
      throw this.#error("refused", "rate_limited", message);
    }
    if (status >= 500) {
      throw this.#unknown(call, `http_${status}`, `answered with status ${status}${words}`);
    }
    // Who lacks a token, or asks for what is not there, may be told so without a word.
    const isRefused = status === 401 || (status >= 400 && call.isRepeatable && text.trim() === "");
    if (body === undefined && !isRefused) {
      throw this.#unknown(call, "not_json", `answered no JSON with status ${status}`);
    }
    const date = Date.parse(headers.get("date") ?? "");
    return { status, body: body ?? null, date: Number.isNaN(date) ? null : date };
  }

  /** What went wrong in an attempt, as an error of ours. Others' have addresses in them, with ids. */
  #failureOf(call: GatewayCall, error: unknown, signal: AbortSignal): GatewayError {
    const failure = error instanceof GatewayError ? error : this.#transportFailure(
      call,
      error,
      signal,
    );
    const { outcome, code, message } = failure;
    const gatewayName = this.#gateway;
    this.#log.warn("gateway.call_failed", { gatewayName, outcome, code, reason: message });
    return failure;
  }

  #transportFailure(call: GatewayCall, error: unknown, signal: AbortSignal): GatewayError {
    if (signal.aborted) return this.#unknown(call, "aborted", "had not answered when it ended");
    if (error instanceof DOMException && error.name === "AbortError") {
      const limitMs = call.timeoutMs ?? this.#policy.timeoutMs;
      return this.#unknown(call, "timeout", `did not answer within ${limitMs} ms`);
    }
    // Later versions of Deno have the words of the HTTP client in the cause.
    const text = error instanceof Error ? `${error} ${error.cause}` : String(error);
    if (!/client error \(Connect\)/.test(text)) {
      return this.#unknown(call, "disconnected", "broke the connection");
    }
    const [code, what] = /certificate/i.test(text)
      ? ["bad_certificate", "could not prove who it is"] as const
      : ["no_connection", "cannot be reached"] as const;
    return this.#error("not_sent", code, `Cannot ${call.does}: ${this.#gateway} ${what}`);
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

/** `undefined` for what is no JSON: no JSON text means that. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Where gateways put their words, the better ones first. */
const SAYINGS = ["message", "error_description", "code", "error_type", "title", "detail"];

/** What an error's body says in words: the first of the usual fields, of it or of its `error`. */
function sayingOf(body: unknown): string {
  if (typeof body !== "object" || body === null) return "";
  const inner: unknown = Reflect.get(body, "error");
  const places = typeof inner === "object" && inner !== null ? [inner, body] : [body];
  for (const place of places) {
    for (const name of SAYINGS) {
      const said: unknown = Reflect.get(place, name);
      if (typeof said === "string" && said.trim() !== "") return quotable(said);
    }
  }
  return "";
}

function without(secrets: readonly string[], text: string): string {
  let clean = text;
  for (const secret of secrets) if (secret !== "") clean = clean.replaceAll(secret, REDACTED);
  return clean;
}

/** Long runs with a digit in them: ids, tokens, accounts. Words and codes have none. */
const LONG_RUN = /(?=[\w+/=.-]{0,63}\d)[\w+/=.-]{24,512}/g;

/**
 * What a gateway said, fit to be logged and shown: at most 200 characters on one
 * line, without addresses, ids, tokens, telephone numbers and e-mail addresses.
 *
 * @param secrets What it must not say back, whatever that looks like.
 */
export function quotable(said: string, secrets: readonly string[] = []): string {
  const text = without(secrets, said.slice(0, 2_000))
    .replaceAll(/\bhttps?:\/\/\S{1,1000}/gi, "[address]")
    .replaceAll(LONG_RUN, "[id]")
    .replaceAll(/[\s\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ")
    // Telephone numbers and cards as digits; amounts are shorter.
    .replaceAll(/\d(?:[ -]?\d){8,}/g, "[number]")
    .trim();
  return redactStart(text, SAID_MAX);
}
