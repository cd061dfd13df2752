/** A shop with rate limits, requests from chosen addresses, and the limits in answers. */
import { strictEqual as equal } from "node:assert/strict";
import { LEAD, type TestAnswer, type TestApp } from "../support/program/app.ts";
import { assertProblem } from "../support/program/answers.ts";
import { startShop, type TestShop } from "../support/program/shop.ts";

/** Behind one proxy, so that a test may come from anywhere. */
const ONE_HOP = { TRUSTED_PROXY_HOPS: "1" };

/** Starts the program with the usual limits but for these. */
export function startLimited(
  limits = "",
  { env = {}, ...options }: Parameters<typeof startShop>[0] = {},
): Promise<TestShop> {
  return startShop({ ...options, env: { ...ONE_HOP, RATE_LIMITS: limits, ...env } });
}

let sent = 0;

/** Sends an enquiry of someone new from an address. */
export function postFrom(app: TestApp, address: string, fields: object = {}, headers = {}) {
  const body = { ...LEAD, email: `visitor${++sent}@example.com`, ...fields };
  return app.post("/api/v2/leads", body, { "x-forwarded-for": address, ...headers });
}

/** What a list of RFC 9651 says: items that are strings, with parameters that are integers. */
function parseFields(field: string | null): Record<string, Record<string, number>> {
  const items = (field ?? "").split(", ").map((item) => {
    const [, name, text] = /^"([a-z_]+)"((?:;[a-z]+=(?:0|[1-9]\d{0,14}))+)$/.exec(item) ?? [];
    if (name === undefined || text === undefined) throw new Error(`Not an item: ${item}`);
    const parameters = text.slice(1).split(";").map((parameter) => {
      const [key, value] = parameter.split("=");
      return [key, Number(value)];
    });
    return [name, Object.fromEntries(parameters)];
  });
  return Object.fromEntries(items);
}

/** What an answer says of the limits. */
export function limitsOf({ headers }: TestAnswer<unknown>) {
  return {
    policy: parseFields(headers.get("ratelimit-policy")),
    state: parseFields(headers.get("ratelimit")),
  };
}

export function assertLimited(answer: TestAnswer<unknown>, retryAfter: number): void {
  assertProblem(answer, 429, "rate_limited");
  equal(answer.headers.get("retry-after"), String(retryAfter));
}
