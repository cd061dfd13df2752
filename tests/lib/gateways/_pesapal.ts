/** A simulated Pesapal, and a shop that can be paid through it. */
import { ok } from "node:assert/strict";
import { type CheckoutRequest, type Gateway, GatewayError } from "../../../lib/gateways/mod.ts";
import { newId } from "../../../lib/ids.ts";
import type { Money } from "../../../lib/money.ts";
import { TEST_START } from "../../support/program/app.ts";
import {
  type GatewayServices,
  type GatewayServicesOptions,
  openGatewayServices,
} from "../../support/gateways/gateway_services.ts";
import type { PesapalBehaviour } from "../../support/gateways/pesapal_behaviour.ts";
import { PesapalSimulator } from "../../support/gateways/pesapal_simulator.ts";

/** Where the shop would be. */
export const SHOP = "https://shop.example.com";

export const PRICE: Money = { currency: "TZS", minor: 150_050 };

/** A payment to begin, under a new reference. */
export function newRequest(fields: Partial<CheckoutRequest> = {}): CheckoutRequest {
  return {
    reference: newId(TEST_START),
    amount: PRICE,
    description: "Invoice INV-2026-000001",
    payer: { name: "Asha Juma Mushi", email: "asha@example.com", phone: "+255712345678" },
    returnUrl: `${SHOP}/i/token`,
    notificationUrl: `${SHOP}/payments/pesapal/ipn`,
    ...fields,
  };
}

interface Fixture extends AsyncDisposable {
  simulator: PesapalSimulator;
  shop: GatewayServices;
  pesapal: Gateway;
}

/** Pesapal and a shop that can be paid through it. Nobody is notified. */
export async function start(
  behaviour: Partial<PesapalBehaviour> = {},
  options: Partial<GatewayServicesOptions> = {},
): Promise<Fixture> {
  let now = () => TEST_START;
  const simulator = PesapalSimulator.start({ clock: () => now() });
  Object.assign(simulator.behaviour, { ipnTimes: 0, ...behaviour });
  const env = { ...simulator.environment, ...options.env };
  const shop = await openGatewayServices({ ...options, env });
  now = shop.services.clock;
  return {
    simulator,
    shop,
    pesapal: shop.gateway("pesapal"),
    async [Symbol.asyncDispose]() {
      shop[Symbol.dispose]();
      await simulator[Symbol.asyncDispose]();
    },
  };
}

/** The error of a call that must fail. */
export async function failureOf(call: Promise<unknown>): Promise<GatewayError> {
  try {
    await call;
  } catch (error) {
    ok(error instanceof GatewayError, String(error));
    return error;
  }
  throw new Error("The call did not fail");
}

/** A payment that was begun. */
export async function begun(world: Fixture, amount = PRICE) {
  const request = newRequest({ amount });
  const { trackingId } = await world.pesapal.startCheckout(request);
  const { reference } = request;
  return {
    order: world.simulator.order(reference),
    payment: { reference, trackingId, amount },
  };
}
