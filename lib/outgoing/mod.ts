/**
 * Outgoing HTTP requests: bounded in time and in the size of the answer, without
 * redirects, so that no secret is sent on to another host. Failures are words
 * without addresses, since an address may itself be a secret.
 *
 * @module
 */
import { SECOND_MS, withTimeLimit } from "../time.ts";

/** One request. */
export interface OutgoingRequest {
  /** Absolute. */
  url: string;
  /** In capitals. */
  method: "GET" | "POST";
  /** None when absent. */
  headers?: Readonly<Record<string, string>>;
  /** None when absent. */
  body?: string | Uint8Array<ArrayBuffer>;
  /** From the start to the end of the answer's body, in milliseconds. */
  timeoutMs: number;
  /** Ends the request early. */
  signal?: AbortSignal | undefined;
  /**
   * Whether sending it twice does no harm. Deno repeats a request, a POST too, when a
   * pooled connection breaks; one that is not repeatable gets a connection of its own.
   */
  isRepeatable: boolean;
  /** The answer's body is read up to this size; not at all when absent. */
  answerMaxBytes?: number;
}

/** Why there is no answer. */
export type OutgoingFailure =
  /** No connection was made, so the request was not sent. */
  | "no_connection"
  /** The server's certificate was refused, so the request was not sent. */
  | "bad_certificate"
  /** The connection broke; the request may have been received. */
  | "disconnected"
  /** The time limit was reached; the request may have been received. */
  | "timeout"
  /** `signal` was aborted; the request may have been received. */
  | "aborted";

/** What came of a request. */
export type OutgoingResult =
  | {
    isAnswered: true;
    /** HTTP; a redirect is an answer like any other. */
    status: number;
    /** As received. */
    headers: Headers;
    /** The body; null if it is larger than `answerMaxBytes`. */
    text: string | null;
  }
  | {
    isAnswered: false;
    /** For programs. */
    failure: OutgoingFailure;
    /** For logs: such as `no answer in 5000 ms`. */
    reason: string;
  };

/** Sends one request. Never throws. */
export async function sendRequest(request: OutgoingRequest): Promise<OutgoingResult> {
  const { timeoutMs, signal } = request;
  return await withTimeLimit(timeoutMs, async (limit) => {
    try {
      return await exchange(request, limit);
    } catch (error) {
      const failure = signal?.aborted ? "aborted" : limit.aborted ? "timeout" : failureOf(error);
      const reason = failure === "timeout" ? `no answer in ${timeoutMs} ms` : "no connection";
      return { isAnswered: false, failure, reason };
    }
  }, signal);
}

async function exchange(
  { url, method, headers = {}, body, isRepeatable, answerMaxBytes }: OutgoingRequest,
  signal: AbortSignal,
): Promise<OutgoingResult> {
  using client = isRepeatable
    ? null
    : Deno.createHttpClient({ poolMaxIdlePerHost: 0, http2: false });
  const response = await fetch(url, {
    method,
    headers,
    body: body ?? null,
    redirect: "manual",
    signal,
    ...(client ? { client } : {}),
  });
  let text: string | null = "";
  if (answerMaxBytes === undefined) await response.body?.cancel();
  else text = await readText(response, answerMaxBytes);
  return { isAnswered: true, status: response.status, headers: response.headers, text };
}

/** Null if the body has more than `maxBytes`. */
async function readText({ body }: Response, maxBytes: number): Promise<string | null> {
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.length;
    if (size > maxBytes) return null;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function failureOf(error: unknown): OutgoingFailure {
  // Deno 2.9 has the words of the HTTP client in the cause.
  const text = error instanceof Error ? `${error} ${error.cause}` : String(error);
  if (!/client error \(Connect\)/.test(text)) return "disconnected";
  return /certificate/i.test(text) ? "bad_certificate" : "no_connection";
}

/** The value of a JSON text; undefined if it is not JSON. */
export function parseJson(text: string | null): unknown {
  try {
    return text === null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * A `Retry-After` header (RFC 9110, 10.2.3) in milliseconds from now; null if there is
 * none to obey.
 *
 * @param now Milliseconds UTC, to understand a date; without it only seconds are.
 */
export function parseRetryAfter(header: string | null, now?: number): number | null {
  if (header === null) return null;
  const isSeconds = /^\d{1,9}(?:\.\d{1,9})?$/.test(header);
  const ms = isSeconds ? Number(header) * SECOND_MS : Date.parse(header) - (now ?? NaN);
  return ms > 0 ? ms : null;
}

/** Whether a host name is this machine: `localhost` or a loopback address, bracketed or not. */
export function isLoopbackHost(hostname: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|::1|\[::1\])$/.test(hostname);
}
