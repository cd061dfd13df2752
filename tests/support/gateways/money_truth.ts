/**
 * The amounts that really moved at the simulated gateways, and the stored amounts.
 *
 * @module
 */
import { parseMajor } from "../../../lib/money.ts";
import type { Payment } from "../../../lib/payments/mod.ts";
import type { AzamPaySimulator } from "./azampay_simulator.ts";
import type { PesapalSimulator } from "./pesapal_simulator.ts";

/** The money at both gateways. */
export interface Ledgers {
  readonly pesapal: Pick<PesapalSimulator, "money">;
  readonly azampay: Pick<AzamPaySimulator, "paid">;
}

/** The amount really received under a reference, less the gateway's refunds, in minor units. */
export function trueMinor({ pesapal, azampay }: Ledgers, reference: string): number {
  const moved = pesapal.money.filter((one) => one.reference === reference)
    .map(({ amount, currency }) => Math.sign(amount) * minorOf(Math.abs(amount), currency));
  const paid = azampay.paid.filter(({ externalId }) => externalId === reference)
    .map(({ amount }) => minorOf(amount, "TZS"));
  return [...moved, ...paid].reduce((sum, minor) => sum + minor, 0);
}

/** The stored amount of a payment, less the gateway's refunds, but not less manual refunds. */
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
