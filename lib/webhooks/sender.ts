/**
 * Posts webhooks to the URLs of operators, and only there.
 *
 * The host name is resolved and every address checked here, and the connection goes to
 * these addresses, whatever the name resolves to a moment later. Redirects are not
 * followed; of the answer only status and Retry-After are read.
 *
 * Uses undici, since only some versions of Deno let a client choose the address; it is
 * loaded with the first webhook.
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import { connect as connectTcp, type LookupFunction } from "node:net";
import { connect as connectTls } from "node:tls";
import type { buildConnector } from "undici";
import { parseRetryAfter } from "../outgoing/mod.ts";
import { type Clock, orAborted, SECOND_MS, withTimeLimit } from "../time.ts";
import { isAllowedAddress, literalOf, parseTarget } from "./target.ts";

/** From resolving the name to the end of the answer. */
export const WEBHOOK_TIMEOUT_MS: number = 10 * SECOND_MS;
/** The part of an answer's body that is read and discarded. */
const ANSWER_MAX_BYTES = 4_096;

/** One webhook to post. */
export interface WebhookRequest {
  /** The endpoint. */
  url: string;
  /** Names in lower case. */
  headers: Record<string, string>;
  /** JSON. */
  body: string;
}

/** The outcome of an attempt. */
export type WebhookAnswer =
  | { isAnswered: true; status: number; retryAfterMs: number | null }
  /** A few words, without the address and the content. */
  | { isAnswered: false; reason: string };

/** Posts webhooks. */
export interface WebhookSender {
  /** Makes one attempt, of at most {@linkcode WEBHOOK_TIMEOUT_MS}. Never throws. */
  post(request: WebhookRequest, signal?: AbortSignal): Promise<WebhookAnswer>;
}

/** Options for {@linkcode openWebhookSender}. */
export interface WebhookSenderOptions {
  /** As in production: https, and public addresses only. */
  isPublicOnly: boolean;
  /** For a Retry-After that is a date. */
  clock: Clock;
  /** Resolves a host name; the machine's resolver when absent. */
  resolve?: (hostname: string) => Promise<string[]>;
  /** Certificate authorities in PEM, to trust instead of the usual ones. */
  ca?: string;
  /** {@linkcode WEBHOOK_TIMEOUT_MS} when absent. */
  timeoutMs?: number;
}

/** Connects only while it posts, and leaves nothing open. */
export function openWebhookSender(options: WebhookSenderOptions): WebhookSender {
  const { clock, resolve = resolveHost, timeoutMs = WEBHOOK_TIMEOUT_MS } = options;

  /** The addresses to connect to, or why there are none. */
  async function addressesOf(url: URL, signal: AbortSignal): Promise<string[] | string> {
    const literal = literalOf(url);
    let addresses: string[];
    try {
      addresses = literal === null ? await orAborted(resolve(url.hostname), signal) : [literal];
    } catch {
      return "no such host";
    }
    if (addresses.length === 0) return "no such host";
    // A name with one forbidden address is refused as a whole.
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
      // The signal is the time limit.
      headersTimeout: 0,
      bodyTimeout: 0,
      pipelining: 0,
    });
    try {
      const answer = await request(url, { method: "POST", headers, body, dispatcher, signal });
      await skim(answer.body);
      const header = answer.headers["retry-after"];
      const retryAfterMs = parseRetryAfter(typeof header === "string" ? header : null, clock());
      return { isAnswered: true, status: answer.statusCode, retryAfterMs };
    } finally {
      await dispatcher.destroy();
    }
  }

  return {
    async post(request, given) {
      const target = parseTarget(request.url, options);
      if (typeof target === "string") return { isAnswered: false, reason: "address not allowed" };
      return await withTimeLimit(timeoutMs, async (signal) => {
        try {
          const addresses = await addressesOf(target.url, signal);
          if (signal.aborted) return { isAnswered: false, reason: "no answer in time" };
          if (typeof addresses === "string") return { isAnswered: false, reason: addresses };
          return await exchange(target.url, request, { addresses, signal });
        } catch {
          // The error's message contains the address.
          const reason = signal.aborted ? "no answer in time" : "no connection";
          return { isAnswered: false, reason };
        }
      }, given);
    },
  };
}

async function resolveHost(hostname: string): Promise<string[]> {
  return (await lookup(hostname, { all: true })).map(({ address }) => address);
}

/** Connects to these addresses only; drops the connection when `signal` is aborted. */
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
    socket.on("error", () => {}); // a further error without a listener would end the process
    const fail = (error: Error) => done(error, null);
    socket.once("error", fail).once(isTls ? "secureConnect" : "connect", () => {
      socket.off("error", fail);
      done(null, socket);
    });
  };
}

/** Resolves every name to the addresses that were checked. */
function pinnedTo(addresses: string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
  return (_, { all }, answer) => {
    if (all) return answer(null, found);
    const { address, family } = found[0]!; // never empty here
    answer(null, address, family);
  };
}

/** Reads the body up to the limit; an error does not matter, as the status is known. */
async function skim(body: AsyncIterable<Uint8Array>): Promise<void> {
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > ANSWER_MAX_BYTES) return;
    }
  } catch {
    // The answer stands.
  }
}
