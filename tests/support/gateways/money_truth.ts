/**
 * What really happened to money, as the simulated gateways know it, beside what
 * the books say.
 *
 * @module
 */
import { parseMajor } from "../../../lib/money.ts";
import type { Payment } from "../../../lib/payments/mod.ts";
import type { AzamPaySimulator } from "./azampay_simulator.ts";
import type { PesapalSimulator } from "./pesapal_simulator.ts";

/** Both gateways, as far as they know of money. */
export interface Ledgers {
  readonly pesapal: Pick<PesapalSimulator, "money">;
  readonly azampay: Pick<AzamPaySimulator, "paid">;
}

/** What a reference really brought: what came in less what the gateway took back, in minor units. */
export function trueMinor({ pesapal, azampay }: Ledgers, reference: string): number {
  const moved = pesapal.money.filter((one) => one.reference === reference)
    .map(({ amount, currency }) => Math.sign(amount) * minorOf(Math.abs(amount), currency));
  const paid = azampay.paid.filter(({ externalId }) => externalId === reference)
    .map(({ amount }) => minorOf(amount, "TZS"));
  return [...moved, ...paid].reduce((sum, minor) => sum + minor, 0);
}

/** What the books say that a payment brought: less what the gateway took back, but not what was paid back by hand. */
export function bookedMinor({ status, receivedMinor, refunds }: Payment): number {
  if (status !== "completed") return 0;
  const back = refunds
    .filter(({ through, status }) => through === "gateway" && status === "completed")
    .reduce((sum, { amountMinor }) => sum + amountMinor, 0);
  return receivedMinor - back;
}

function minorOf(amount: number, currency: string): number {
  return parseMajor(String(amount), currency === "USD" ? "USD" : "TZS").minor;
}
