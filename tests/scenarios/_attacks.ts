/** Calls in a gateway's name, and what no attack may do: gain money, or leave no trace. */
import { ok } from "node:assert/strict";
import type { Invoice } from "../../lib/kv/records.ts";
import type { Payment } from "../../lib/payments/mod.ts";
import { bookedMinor, trueMinor } from "../support/gateways/money_truth.ts";
import { historyOf } from "../support/program/shop.ts";
import { checkedBooks, type GatewayTill } from "../support/program/till.ts";

/** What a log may never say of those who pay. */
const PERSONAL = ["712345678", "asha@example.com", "Asha", "Mushi", "/i/", "476173"];

export interface Scene {
  app: GatewayTill;
  invoice: Invoice;
  /** Under way, and not paid. */
  payment: Payment;
}

/** What is called in Pesapal's name. */
export function pesapalCall(
  { id, trackingId }: { id: string; trackingId: string | null },
  kind = "IPNCHANGE",
): Record<string, string> {
  return {
    OrderNotificationType: kind,
    OrderTrackingId: trackingId ?? "",
    OrderMerchantReference: id,
  };
}

export function postForm(app: GatewayTill, path: string, fields: Record<string, string>) {
  return app.request("POST", path, {
    headers: { "content-type": "application/x-www-form-urlencoded", origin: app.url },
    body: String(new URLSearchParams(fields)),
  });
}

/** Checks that the store has at most the money that the gateway's ledger has. */
export async function assertNothingGained({ app, invoice }: Scene): Promise<Payment[]> {
  const { payments } = await checkedBooks(app, invoice.id);
  for (const payment of payments) {
    if (payment.channel === "manual") continue;
    ok(bookedMinor(payment) <= trueMinor(app, payment.id), `${payment.status} ${payment.problem}`);
  }
  return payments;
}

/** The log and the counters have traces of the attack, and no personal data. */
export function assertTraced({ app }: Scene): void {
  const log = app.logLines.join("\n");
  for (const personal of PERSONAL) ok(!log.includes(personal), `The log has ${personal}`);
  ok(app.services.metrics.callbacks.lines().length > 0, "Nothing was counted");
  ok(log.includes("request.answered"));
}

/** Events of the log about a payment, and the actions in its history. */
export async function tracesOf({ app, payment }: Scene): Promise<string[]> {
  const events = app.logLines.map((line) => JSON.parse(line))
    .filter(({ level, paymentId }) => level !== "debug" && paymentId === payment.id)
    .map(({ event }) => event);
  const actions = await historyOf(app, "payment", payment.id);
  return [...events, ...actions.map(({ action, by }) => `${action} by ${by}`)];
}
