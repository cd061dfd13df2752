/**
 * The rate limits as data: what is limited, how often, and overrides of it.
 *
 * @module
 */
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "../time.ts";

/** Every rule by its name. */
export type RateRuleName =
  | "lead_post"
  | "lead_email"
  | "key_write"
  | "key_read"
  | "catalogue_read"
  | "invoice_link"
  | "pay_address"
  | "pay_invoice"
  | "pay_phone"
  | "gateway_call"
  | "payment_check";

/** At most `limit` in any `windowMs`, for each subject. */
export interface RateRule {
  /** Part of the window's key. */
  name: RateRuleName;
  /** 1 to 999,999. */
  limit: number;
  /** From a second up. */
  windowMs: number;
}

/** The default limits, each with the subject that it counts by. */
export const RATE_RULES: readonly RateRule[] = [
  // By client address: a visitor sends few enquiries.
  { name: "lead_post", limit: 10, windowMs: MINUTE_MS },
  // By e-mail address: nobody is to be flooded with answers.
  { name: "lead_email", limit: 20, windowMs: HOUR_MS },
  // By API key.
  { name: "key_write", limit: 600, windowMs: MINUTE_MS },
  { name: "key_read", limit: 1_200, windowMs: MINUTE_MS },
  // By client address; whole offices share one.
  { name: "catalogue_read", limit: 600, windowMs: MINUTE_MS },
  // By client address: calls in a gateway's name. Gateways call from few addresses.
  { name: "gateway_call", limit: 600, windowMs: MINUTE_MS },
  // By payment: how often calls make us ask the gateway about it.
  { name: "payment_check", limit: 30, windowMs: HOUR_MS },
  // By client address: wrong guesses at invoice addresses.
  { name: "invoice_link", limit: 20, windowMs: MINUTE_MS },
  // Payments started on the page, by client address: carriers hide many payers behind one.
  { name: "pay_address", limit: 60, windowMs: 10 * MINUTE_MS },
  // By invoice.
  { name: "pay_invoice", limit: 10, windowMs: 10 * MINUTE_MS },
  // By telephone: nobody is to be pestered with requests to pay.
  { name: "pay_phone", limit: 5, windowMs: 10 * MINUTE_MS },
];

/**
 * Reads overrides such as `lead_post=10/1m,key_write=100/10s`.
 *
 * @returns All the rules with them; null if `text` is not such a list.
 */
export function parseRules(text: string): RateRule[] | null {
  const rules = new Map(RATE_RULES.map((rule) => [String(rule.name), rule]));
  for (const part of text.split(",")) {
    const [, name, limit, amount, unit] =
      /^\s*([a-z_]+)=(\d{1,6})\/(\d{0,4})([smhd])\s*$/.exec(part) ?? [];
    const known = name === undefined ? undefined : rules.get(name);
    const windowMs = Number(amount || 1) * (UNITS[unit ?? ""] ?? 0);
    if (!known || Number(limit) < 1 || windowMs < SECOND_MS) return null;
    rules.set(known.name, { name: known.name, limit: Number(limit), windowMs });
  }
  return [...rules.values()];
}

const UNITS: Readonly<Record<string, number>> = {
  s: SECOND_MS,
  m: MINUTE_MS,
  h: HOUR_MS,
  d: DAY_MS,
};
