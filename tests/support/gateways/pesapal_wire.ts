/**
 * Requests to the simulated Pesapal as it reads them, and answers as it writes them.
 *
 * @module
 */
import type { RawAnswer, RawRequest } from "./raw_server.ts";

export interface Answer {
  status: number;
  /** Text is HTML, all else JSON; empty if absent. */
  body?: unknown;
  location?: string;
}

/** An amount in JSON, with so many digits after the point, or more if it needs them. */
export class Decimal {
  constructor(readonly value: number, readonly digits: number) {}

  get text(): string {
    const needed = String(this.value).split(".")[1]?.length ?? 0;
    return this.value.toFixed(Math.max(needed, this.digits));
  }
}

/** A request, as far as Pesapal reads it. */
export class Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Headers;
  /** JSON, if it says so and is. */
  readonly body: unknown;

  constructor({ method, url, headers, body }: RawRequest) {
    this.method = method;
    // Live and sandbox differ in their first part only.
    this.path = url.pathname.replace(/^\/v3\//, "/pesapalv3/");
    this.query = url.searchParams;
    this.headers = headers;
    const isJson = /^application\/json\b/i.test(headers.get("content-type") ?? "");
    this.body = isJson ? parsed(body) : undefined;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function toRaw({ status, body, location }: Answer, now: number): RawAnswer {
  const isHtml = typeof body === "string";
  const type = isHtml ? "text/html; charset=utf-8" : "application/json; charset=utf-8";
  return {
    status,
    headers: {
      date: new Date(now).toUTCString(),
      "cache-control": "no-cache",
      ...(body === undefined ? {} : { "content-type": type }),
      ...(location === undefined ? {} : { location }),
    },
    body: body === undefined ? "" : isHtml ? body : toJson(body),
  };
}

/** JSON in which amounts have the digits that they are to have. */
function toJson(body: unknown): string {
  const mark = crypto.randomUUID();
  const text = JSON.stringify(
    body,
    (_, value) => value instanceof Decimal ? `${mark}${value.text}${mark}` : value,
  );
  return text.replaceAll(`"${mark}`, "").replaceAll(`${mark}"`, "");
}
