/**
 * The payment part of the page: status of the last attempt, payment options, refresh
 * interval. Pure.
 *
 * @module
 */
import type { Invoice } from "../../lib/invoices/mod.ts";
import { owedMinor } from "../../lib/invoices/status.ts";
import type { Money } from "../../lib/money.ts";
import type { GatewayName, MobileProvider, Payment } from "../../lib/payments/mod.ts";
import { MINUTE_MS, SECOND_MS } from "../../lib/time.ts";

/** Mobile money networks under their brand names. */
export const PROVIDERS: Readonly<Record<MobileProvider, string>> = {
  Mpesa: "M-Pesa",
  Tigo: "Mixx by Yas (Tigo Pesa)",
  Airtel: "Airtel Money",
  Halopesa: "HaloPesa",
  Azampesa: "AzamPesa",
};

/** An offered gateway. */
export interface Offer {
  readonly name: GatewayName;
  readonly isMobileMoney: boolean;
  /** Why the gateway cannot accept an amount; null if it can. */
  refusalOf(amount: Money): string | null;
}

/** A payment option. */
export interface PayWay {
  gateway: GatewayName;
  isMobileMoney: boolean;
  /** Why the option is not available for this invoice, in English; null if it is. */
  refusal: string | null;
}

/** The payment part of the page. */
export interface PayView {
  status: "checking_online" | "checking_phone" | "failed" | "in_review" | null;
  /** Seconds until the page reloads; null for no automatic reload. */
  refreshS: number | null;
  /** Empty if no balance is due or no gateway is configured. */
  ways: PayWay[];
}

/** Refresh interval by age of the attempt; none after the last. */
const REFRESHES: readonly [youngerThanMs: number, everyMs: number][] = [
  [MINUTE_MS, 5 * SECOND_MS],
  [3 * MINUTE_MS, 10 * SECOND_MS],
  [10 * MINUTE_MS, 30 * SECOND_MS],
  [20 * MINUTE_MS, MINUTE_MS],
];

/**
 * The payment part of the page.
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
  if (owed.minor <= 0) return { status: null, refreshS: null, ways: [] };
  const ways = Array.from(gateways, (gateway): PayWay => ({
    gateway: gateway.name,
    isMobileMoney: gateway.isMobileMoney,
    refusal: gateway.refusalOf(owed),
  }));
  const open = payments.find(({ status }) => status === "created" || status === "pending");
  const everyMs = open && refreshMs(now - Date.parse(open.createdAt));
  if (everyMs !== undefined) {
    const status = open?.payerPhone === null ? "checking_online" : "checking_phone";
    return { status, refreshS: everyMs / SECOND_MS, ways };
  }
  const isInReview = payments.some(({ status }) => status === "needs_review");
  const hasFailed = payments[0]?.status === "failed";
  return { status: isInReview ? "in_review" : hasFailed ? "failed" : null, refreshS: null, ways };
}

function refreshMs(ageMs: number): number | undefined {
  return REFRESHES.find(([youngerThanMs]) => ageMs < youngerThanMs)?.[1];
}
