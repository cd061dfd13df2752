/**
 * What the page says about paying: how the last attempt stands, which ways there
 * are, and when to look again. Pure.
 *
 * @module
 */
import type { Invoice } from "../../lib/invoices/mod.ts";
import { owedMinor } from "../../lib/invoices/status.ts";
import type { Money } from "../../lib/money.ts";
import type { GatewayName, MobileProvider, Payment } from "../../lib/payments/checkout.ts";
import { MINUTE_MS, SECOND_MS } from "../../lib/time.ts";

/** The networks of mobile money, as their customers know them. */
export const PROVIDERS: Readonly<Record<MobileProvider, string>> = {
  Mpesa: "M-Pesa",
  Tigo: "Mixx by Yas (Tigo Pesa)",
  Airtel: "Airtel Money",
  Halopesa: "HaloPesa",
  Azampesa: "AzamPesa",
};

/** A gateway that is offered. */
export interface Offer {
  readonly name: GatewayName;
  readonly isMobileMoney: boolean;
  /** Why it cannot take an amount; null if it can. */
  refusalOf(amount: Money): string | null;
}

/** One way to pay. */
export interface PayWay {
  gateway: GatewayName;
  isMobileMoney: boolean;
  /** Why it is not for this invoice, in English; null if it is. */
  refusal: string | null;
}

/** What the page says about paying. */
export interface PayView {
  notice: "checking_online" | "checking_phone" | "failed" | "in_review" | null;
  /** Seconds until the page looks again; null for not by itself. */
  refreshS: number | null;
  /** None when nothing is owed, or no gateway is configured. */
  ways: PayWay[];
}

/** How often the page looks again while an attempt is younger than that; then it is given up on. */
const REFRESHES: readonly [youngerThanMs: number, everyMs: number][] = [
  [MINUTE_MS, 5 * SECOND_MS],
  [3 * MINUTE_MS, 10 * SECOND_MS],
  [10 * MINUTE_MS, 30 * SECOND_MS],
  [20 * MINUTE_MS, MINUTE_MS],
];

/**
 * What to say.
 *
 * @param payments Newest first.
 * @param now Milliseconds UTC.
 */
export function payViewOf(
  { invoice, payments, gateways, now }: {
    invoice: Invoice;
    payments: readonly Payment[];
    gateways: Iterable<Offer>;
    now: number;
  },
): PayView {
  const owed = { currency: invoice.currency, minor: owedMinor(invoice) };
  if (owed.minor <= 0) return { notice: null, refreshS: null, ways: [] };
  const ways = Array.from(gateways, (gateway): PayWay => ({
    gateway: gateway.name,
    isMobileMoney: gateway.isMobileMoney,
    refusal: gateway.refusalOf(owed),
  }));
  const open = payments.find(({ status }) => status === "created" || status === "pending");
  const everyMs = open && refreshMs(now - Date.parse(open.createdAt));
  if (everyMs !== undefined) {
    const notice = open?.payerPhone === null ? "checking_online" : "checking_phone";
    return { notice, refreshS: everyMs / SECOND_MS, ways };
  }
  const isInReview = payments.some(({ status }) => status === "needs_review");
  const hasFailed = payments[0]?.status === "failed";
  return { notice: isInReview ? "in_review" : hasFailed ? "failed" : null, refreshS: null, ways };
}

function refreshMs(ageMs: number): number | undefined {
  return REFRESHES.find(([youngerThanMs]) => ageMs < youngerThanMs)?.[1];
}
