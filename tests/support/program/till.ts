/**
 * The program with invoices to pay, and the check at the end of every test about money: that
 * the stored records are consistent.
 *
 * @module
 */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../../lib/kv/keys.ts";
import type { Invoice } from "../../../lib/kv/records.ts";
import { indexesOf } from "../../../lib/payments/records.ts";
import { listPayments, type Payment } from "../../../lib/payments/mod.ts";
import { worthOf } from "../../../lib/payments/state.ts";
import { TEST_START, type TestAnswer, type TestApp, type TestAppOptions } from "./app.ts";
import { AZAMPAY_ACCOUNT } from "../gateways/azampay_push.ts";
import { AzamPaySimulator } from "../gateways/azampay_simulator.ts";
import { PesapalSimulator } from "../gateways/pesapal_simulator.ts";
import { asAdmin, checkedHistoryOf, newClient, startShop, type TestShop } from "./shop.ts";

/** The total of a till's invoices. */
export const TOTAL = 10_000_00;

/** The program, with shorthands for tests about money. */
export interface TestTill extends TestShop {
  /** Writes an invoice. */
  bill(fields?: Record<string, unknown>): Promise<Invoice>;
  /** Posts as an operator. */
  send(
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
    // deno-lint-ignore no-explicit-any
  ): Promise<TestAnswer<any>>;
  /** Starts a payment. */
  checkout(
    invoice: { id: string },
    fields?: Record<string, unknown>,
    headers?: Record<string, string>,
    // deno-lint-ignore no-explicit-any
  ): Promise<TestAnswer<any>>;
  /** Records a manual payment. */
  payByHand(invoice: { id: string }, amountMinor: number): Promise<Payment>;
  invoice(id: string): Promise<Invoice>;
  payment(id: string): Promise<Payment>;
  /** Types of the stored events, oldest first. */
  events(): Promise<string[]>;
}

/** A till with both gateways, which call back at its public address. */
export interface GatewayTill extends TestTill {
  readonly pesapal: PesapalSimulator;
  readonly azampay: AzamPaySimulator;
  /** The public address of the program. */
  readonly relay: Relay;
  /** Starts a payment at Pesapal. */
  payAtPesapal(invoice: { id: string }, fields?: Record<string, unknown>): Promise<Payment>;
  /** Starts a payment by a push to a telephone. */
  payByPhone(invoice: { id: string }, fields?: Record<string, unknown>): Promise<Payment>;
}

/** Calls to gateways do not wait between attempts. */
export const IMPATIENT = { timeoutMs: 500, backoffMs: 1, backoffMaxMs: 1 };

let receipts = 0;

/** Starts the program. */
export async function startTill(options: TestAppOptions = {}): Promise<TestTill> {
  return await openTill(await startShop(options));
}

/** Makes a till of a shop. */
export async function openTill(shop: TestShop): Promise<TestTill> {
  const clientId = await newClient(shop, { phone: "0712345678" });
  const send: TestTill["send"] = (path, body, headers = {}) =>
    asAdmin(shop, "POST", path, { body, headers });
  return Object.assign(
    shop,
    {
      send,
      async bill(fields = {}) {
        const lines = [{ description: "Work", quantity: 1, unitMinor: TOTAL }];
        const { status, body, text } = await send("/api/v2/invoices", {
          clientId,
          lines,
          ...fields,
        });
        equal(status, 201, text);
        return body;
      },
      checkout: (invoice, fields = {}, headers = {}) =>
        send(`/api/v2/invoices/${invoice.id}/checkout`, fields, headers),
      async payByHand(invoice, amountMinor) {
        const { status, body, text } = await send(`/api/v2/invoices/${invoice.id}/payments`, {
          amountMinor,
          method: "cash",
          reference: `receipt ${++receipts}`,
        });
        equal(status, 201, text);
        return body;
      },
      invoice: (id) => found(shop, keys.invoice(id)),
      payment: (id) => found(shop, keys.payment(id)),
      async events() {
        const entries = await shop.services.store.list(keys.outboxEvents, { limit: 1_000 });
        return entries.map(({ value }) => value.type);
      },
    } satisfies Omit<TestTill, keyof TestShop>,
  );
}

async function found<T>({ services: { store } }: TestApp, key: keys.Key<T>): Promise<T> {
  const value = await store.get(key);
  if (value === null) throw new Error(`Cannot find ${keys.keyText(key)}`);
  return value;
}

/**
 * Checks that an invoice has the sum of its payments, that each payment has exactly its
 * index entries, and that the histories of both are complete.
 *
 * @returns The invoice and its payments, newest first.
 */
export async function checkedBooks(
  app: TestApp,
  invoiceId: string,
): Promise<{ invoice: Invoice; payments: Payment[] }> {
  const invoice = await found(app, keys.invoice(invoiceId));
  const payments = await listPayments(app.services, invoiceId);
  const worth = payments.map(worthOf);
  equal(invoice.paidMinor, worth.reduce((sum, { paidMinor }) => sum + paidMinor, 0));
  equal(invoice.refundedMinor, worth.reduce((sum, { refundedMinor }) => sum + refundedMinor, 0));
  await checkedHistoryOf(app, "invoice", keys.invoice(invoiceId));

  const has = new Set<string>();
  const prefixes = [
    "payment_by_invoice",
    "payment_by_status",
    "payment_by_tracking",
    "payment_due",
  ];
  for (const prefix of prefixes) {
    for (const { key, value } of await app.services.store.list([prefix], { limit: 1_000 })) {
      if (payments.some(({ id }) => id === value)) has.add(keys.keyText(key));
    }
  }
  deepEqual([...has].sort(), payments.flatMap(indexesOf).map(keys.keyText).sort());
  for (const { id } of payments) await checkedHistoryOf(app, "payment", keys.payment(id));
  return { invoice, payments };
}

/** Starts the program and both gateways. */
export async function startGatewayTill(options: TestAppOptions = {}): Promise<GatewayTill> {
  let clock = () => TEST_START;
  const pesapal = await PesapalSimulator.start({ clock: () => clock() });
  const azampay = await AzamPaySimulator.start({ clock: () => clock() });
  const relay = new Relay();
  const shop = await startShop({
    gatewayPolicy: IMPATIENT,
    ...options,
    env: {
      PUBLIC_URL: relay.url,
      ...pesapal.environment,
      AZAMPAY_AUTH_URL: azampay.authUrl,
      AZAMPAY_CHECKOUT_URL: azampay.checkoutUrl,
      AZAMPAY_APP_NAME: AZAMPAY_ACCOUNT.appName,
      AZAMPAY_CLIENT_ID: AZAMPAY_ACCOUNT.clientId,
      AZAMPAY_CLIENT_SECRET: AZAMPAY_ACCOUNT.clientSecret,
      AZAMPAY_API_KEY: AZAMPAY_ACCOUNT.apiKey,
      ...options.env,
    },
  });
  clock = shop.services.clock;
  relay.target = shop.url;
  azampay.callbackUrl = `${relay.url}/payments/azampay/callback`;
  const till = await openTill(shop);
  const close = shop[Symbol.asyncDispose].bind(shop);
  const begin = async (invoice: { id: string }, fields: Record<string, unknown>) => {
    const { status, body, text } = await till.checkout(invoice, fields);
    equal(status, 201, text);
    return body;
  };
  return Object.assign(till, {
    pesapal,
    azampay,
    relay,
    payAtPesapal: (invoice: { id: string }, fields = {}) =>
      begin(invoice, { gateway: "pesapal", ...fields }),
    payByPhone: (invoice: { id: string }, fields = {}) =>
      begin(invoice, { gateway: "azampay", provider: "Mpesa", ...fields }),
    async [Symbol.asyncDispose]() {
      await close();
      for (const one of [pesapal, azampay, relay]) await one[Symbol.asyncDispose]();
    },
  });
}

/** A relay at the public address of the program, which has another port in each test. */
export class Relay implements AsyncDisposable {
  /** Where calls are forwarded to. */
  target = "";
  /** While set, no call arrives. */
  isDeaf = false;
  /** Calls that arrived. */
  calls = 0;
  readonly #closing = new AbortController();
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {}, signal: this.#closing.signal },
    (request) => this.#pass(request),
  );

  /** The public address. */
  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#server.finished;
  }

  async #pass(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const body = await request.arrayBuffer();
    if (this.isDeaf) return new Response("Nobody is there", { status: 502 });
    this.calls++;
    const response = await fetch(this.target + pathname + search, {
      method: request.method,
      headers: request.headers,
      redirect: "manual",
      ...(body.byteLength > 0 ? { body } : {}),
    }).catch(() => null);
    if (!response) return new Response("It has gone", { status: 502 });
    const { status, headers } = response;
    return new Response(await response.arrayBuffer(), { status, headers });
  }
}
