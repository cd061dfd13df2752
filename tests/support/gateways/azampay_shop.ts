/**
 * The program's services with AzamPay as their only gateway, and AzamPay simulated.
 *
 * @module
 */
import { readConfig } from "../../../lib/config/mod.ts";

import type {
  CallPolicy,
  CheckoutRequest,
  Gateway,
  GatewayCallback,
  IncomingCall,
} from "../../../lib/gateways/mod.ts";
import { newId } from "../../../lib/ids.ts";
import { openLog } from "../../../lib/telemetry/mod.ts";
import { openServices } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/mod.ts";
import { AZAMPAY_ACCOUNT, type Push } from "./azampay_push.ts";
import { AzamPaySimulator } from "./azampay_simulator.ts";

/** Variables of the environment with which AzamPay is offered. */
export function azampayVariables(
  { authUrl, checkoutUrl }: Pick<AzamPaySimulator, "authUrl" | "checkoutUrl">,
): Record<string, string> {
  return {
    AZAMPAY_AUTH_URL: authUrl,
    AZAMPAY_CHECKOUT_URL: checkoutUrl,
    AZAMPAY_APP_NAME: AZAMPAY_ACCOUNT.appName,
    AZAMPAY_CLIENT_ID: AZAMPAY_ACCOUNT.clientId,
    AZAMPAY_CLIENT_SECRET: AZAMPAY_ACCOUNT.clientSecret,
    AZAMPAY_API_KEY: AZAMPAY_ACCOUNT.apiKey,
  };
}

/** A shop, and AzamPay as it is to it. */
export interface AzamPayShop extends AsyncDisposable {
  readonly simulator: AzamPaySimulator;
  readonly services: Services;
  readonly gateway: Gateway;
  /** Lines of the log so far, JSON. */
  readonly logLines: string[];
  /** Moves the clock of the shop; AzamPay has its own. */
  advance(ms: number): void;
  /** A payment of a new reference. */
  request(changes?: Partial<CheckoutRequest>): CheckoutRequest;
  /** Starts a payment; the push is on the telephone then. */
  checkout(changes?: Partial<CheckoutRequest>): Promise<Push>;
  /** Reads a callback as AzamPay would send it. */
  read(body: unknown): Promise<GatewayCallback | null>;
}

/** A telephone number that accepts pushes. */
export const PAYER_PHONE = "+255712345678";

/** Where the clock of a shop stands at first. */
const START = Date.UTC(2026, 5, 15, 9, 0, 0);

/** Starts both; `env` changes the shop's configuration, `kvPath` lets two shops share a store. */
export async function startAzamPayShop(
  { policy = {}, env = {}, simulator: shared }: {
    policy?: Partial<CallPolicy>;
    env?: Record<string, string>;
    simulator?: AzamPaySimulator;
  } = {},
): Promise<AzamPayShop> {
  const simulator = shared ?? await AzamPaySimulator.start();
  const logLines: string[] = [];
  let now = START;
  const services = await openServices(
    readConfig({ APP_ENV: "test", ...azampayVariables(simulator), ...env }),
    {
      log: openLog({ level: "debug", format: "json", write: (line) => logLines.push(line) }),
      clock: () => now,
      random: Math.random,
      // Repetitions come soon.
      gatewayPolicy: { backoffMs: 1, ...policy },
    },
  );
  const gateway = services.gateways.get("azampay")!;
  const request = (changes: Partial<CheckoutRequest> = {}): CheckoutRequest => ({
    reference: newId(now),
    amount: { currency: "TZS", minor: 1_500_000 },
    description: "Invoice INV-2026-000001",
    payer: { name: "Asha Mushi", email: "asha@example.com", phone: PAYER_PHONE },
    provider: "Mpesa",
    returnUrl: "http://localhost:8000/i/token",
    notificationUrl: "http://localhost:8000/payments/azampay/callback",
    ...changes,
  });
  return {
    simulator,
    services,
    gateway,
    logLines,
    advance(ms) {
      now += ms;
    },
    request,
    async checkout(changes) {
      const asked = request(changes);
      await gateway.startCheckout(asked);
      return simulator.push(asked.reference);
    },
    read: (body) => gateway.readCallback(callOf(JSON.stringify(body))),
    async [Symbol.asyncDispose]() {
      await services.store.close();
      if (!shared) await simulator[Symbol.asyncDispose]();
    },
  };
}

/** A body as HTTP brings it. */
export function callOf(body: string, changes: Partial<IncomingCall> = {}): IncomingCall {
  const query = new URLSearchParams();
  return { method: "POST", query, contentType: "application/json", body, ...changes };
}
