/**
 * Posts to places that operators named, and nowhere else.
 *
 * The name is resolved here, every address that it has is judged, and the
 * connection goes to those addresses: what the name resolves to a moment later
 * does not matter. Redirects are not followed, and of the answer only its status
 * is believed.
 *
 * undici, because of Deno's own clients only some versions let the address be
 * chosen; it is loaded with the first webhook.
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import { connect as connectTcp, type LookupFunction } from "node:net";
import { connect as connectTls } from "node:tls";
import type { buildConnector } from "undici";
import { isAllowedAddress, literalOf, parseTarget } from "./target.ts";
import { type Clock, SECOND_MS } from "../time.ts";

/** From the first question about the name until the end of the answer. */
export const WEBHOOK_TIMEOUT_MS: number = 10 * SECOND_MS;
/** As much of an answer's body is read, and thrown away. */
const ANSWER_MAX_BYTES = 4_096;

/** What is posted. */
export interface WebhookRequest {
  /** Where. */
  url: string;
  /** Names in lower case. */
  headers: Record<string, string>;
  /** JSON. */
  body: string;
}

/** What came of it. */
export type WebhookAnswer =
  | { isAnswered: true; status: number; retryAfterMs: number | null }
  /** A few words that tell neither the address nor what was sent. */
  | { isAnswered: false; reason: string };

/** A way to post. */
export interface WebhookSender {
  /** Makes one attempt, of at most {@linkcode WEBHOOK_TIMEOUT_MS}. Never throws. */
  post(request: WebhookRequest, signal?: AbortSignal): Promise<WebhookAnswer>;
}

/** How {@linkcode openWebhookSender} is to post. */
export interface WebhookSenderOptions {
  /** As in production: https, and public addresses only. */
  isPublicOnly: boolean;
  /** For a Retry-After that is a date. */
  clock: Clock;
  /** The addresses that a name has; the machine's own way to find them when absent. */
  resolve?: (hostname: string) => Promise<string[]>;
  /** Certificates, in PEM, of authorities to trust instead of the usual ones. */
  ca?: string;
  /** Less than the usual time, in milliseconds. */
  timeoutMs?: number;
}

/** Opens nothing until something is posted, and leaves nothing open. */
export function openWebhookSender(options: WebhookSenderOptions): WebhookSender {
  const { clock, resolve = resolveHost, timeoutMs = WEBHOOK_TIMEOUT_MS } = options;

  /** The addresses to connect to, or why there are none. */
  async function addressesOf(url: URL, signal: AbortSignal): Promise<string[] | string> {
    const literal = literalOf(url);
    let addresses: string[];
    try {
      addresses = literal === null ? await before(signal, resolve(url.hostname)) : [literal];
    } catch {
      return "no such host";
    }
    if (addresses.length === 0) return "no such host";
    // A name with one address of ours is not to be trusted with the others either.
    return addresses.every((one) => isAllowedAddress(one, options))
      ? addresses
      : "address not allowed";
  }

  async function exchange(
    url: URL,
    { headers, body }: WebhookRequest,
    { addresses, signal }: { addresses: string[]; signal: AbortSignal },
  ): Promise<WebhookAnswer> {
    const { Agent, request } = await import("undici");
    const { ca } = options;
    const dispatcher = new Agent({
      connect: newConnector({ addresses, signal, ...(ca === undefined ? {} : { ca }) }),
      // The signal ends it.
      ...{ headersTimeout: 0, bodyTimeout: 0, pipelining: 0 },
    });
    try {
      const answer = await request(url, { method: "POST", headers, body, dispatcher, signal });
      await skim(answer.body);
      const retryAfterMs = retryAfterOf(answer.headers["retry-after"], clock());
      return { isAnswered: true, status: answer.statusCode, retryAfterMs };
    } finally {
      await dispatcher.destroy();
    }
  }

  return {
    async post(request, given) {
      const target = parseTarget(request.url, options);
      if (typeof target === "string") return { isAnswered: false, reason: "address not allowed" };
      const timer = new AbortController();
      const timeout = setTimeout(() => timer.abort(), timeoutMs);
      const signal = given ? AbortSignal.any([given, timer.signal]) : timer.signal;
      try {
        const addresses = await addressesOf(target.url, signal);
        if (signal.aborted) return { isAnswered: false, reason: "no answer in time" };
        if (typeof addresses === "string") return { isAnswered: false, reason: addresses };
        return await exchange(target.url, request, { addresses, signal });
      } catch {
        // What it says has the address in it.
        const reason = signal.aborted ? "no answer in time" : "no connection";
        return { isAnswered: false, reason };
      } finally {
        clearTimeout(timeout);
      }
    },
  };
}

async function resolveHost(hostname: string): Promise<string[]> {
  return (await lookup(hostname, { all: true })).map(({ address }) => address);
}

/** Connects to the addresses and no others, and leaves no attempt behind when `signal` is aborted. */
function newConnector(
  { addresses, signal, ca }: { addresses: string[]; signal: AbortSignal; ca?: string },
): buildConnector.connector {
  const lookup = pinnedTo(addresses);
  return ({ hostname, port, protocol, servername }, done) => {
    const isTls = protocol === "https:";
    const place = { host: hostname, port: Number(port) || (isTls ? 443 : 80), lookup };
    const socket = isTls
      ? connectTls({
        ...place,
        ALPNProtocols: ["http/1.1"],
        ...(servername ? { servername } : {}),
        ...(ca === undefined ? {} : { ca }),
      })
      : connectTcp(place);
    const abort = () => socket.destroy(new Error("Aborted"));
    signal.addEventListener("abort", abort, { once: true });
    socket.once("close", () => signal.removeEventListener("abort", abort));
    socket.on("error", () => {}); // it may have more than one, and one without a listener ends the process
    const fail = (error: Error) => done(error, null);
    socket.once("error", fail).once(isTls ? "secureConnect" : "connect", () => {
      socket.off("error", fail);
      done(null, socket);
    });
  };
}

/** Answers whatever is asked with the addresses that were judged. */
function pinnedTo(addresses: string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
  return (_, { all }, answer) => {
    if (all) return answer(null, found);
    const { address, family } = found[0]!; // none is no reason to connect
    answer(null, address, family);
  };
}

/** Reads to the end, unless that is far or fails: the status is known by then. */
async function skim(body: AsyncIterable<Uint8Array>): Promise<void> {
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > ANSWER_MAX_BYTES) return;
    }
  } catch {
    // Of no consequence to what was answered before.
  }
}

/** Rejects as soon as `signal` is aborted; what is under way goes on unheard. */
async function before<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
    promise.catch(() => {});
  }
}

/** Seconds or a date (RFC 9110, 10.2.3), in milliseconds from now; null for neither. */
function retryAfterOf(header: string | string[] | undefined, now: number): number | null {
  if (typeof header !== "string") return null;
  const ms = /^\d{1,9}$/.test(header) ? Number(header) * SECOND_MS : Date.parse(header) - now;
  return ms > 0 ? ms : null;
}
