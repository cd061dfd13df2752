/**
 * A shop whose processes die, whose store and gateways fail, and whose payers and operators act
 * at random: for runs of many schedules. Everything is in this process but the calls to the
 * simulated gateways, which are real HTTP.
 *
 * A process that has died can no longer reach its store or a gateway. Its unfinished work is left
 * as it is, and another process starts on the same store.
 *
 * @module
 */
import { readConfig } from "../../../lib/config/mod.ts";
import { AppError } from "../../../lib/errors.ts";
import type { IncomingCall } from "../../../lib/gateways/mod.ts";
import { createInvoice } from "../../../lib/invoices/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Invoice } from "../../../lib/kv/records.ts";
import type { KvPort } from "../../../lib/kv/store.ts";
import { acceptLead } from "../../../lib/leads/mod.ts";
import { openLog } from "../../../lib/telemetry/mod.ts";
import type { Caller } from "../../../lib/entities/caller.ts";
import { confirmPayment } from "../../../lib/payments/confirm.ts";
import { recordPayment, resolvePayment, withdrawInvoice } from "../../../lib/payments/operators.ts";
import { receiveCall } from "../../../lib/payments/callbacks.ts";
import { startCheckout } from "../../../lib/payments/checkout.ts";
import { listPayments, type Payment } from "../../../lib/payments/mod.ts";
import { reconcile } from "../../../lib/payments/reconcile.ts";
import { type NewRefund, refundPayment, resolveRefund } from "../../../lib/payments/refunds.ts";
import { openServices } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/mod.ts";
import { TEST_START } from "../program/app.ts";
import { deadlinesUnder } from "../store/deadlines.ts";
import { invoiceOf, leadOf } from "../program/books.ts";
import { azampayVariables } from "./azampay_shop.ts";
import { AzamPaySimulator } from "./azampay_simulator.ts";
import { PesapalSimulator } from "./pesapal_simulator.ts";
import { platformFetch, running, ShopProcess, type Trouble } from "./shop_process.ts";

const PUBLIC_URL = "http://127.0.0.1:1";
const DEADLINES = { readMs: 5_000, commitMs: 40, transactionMs: 400, fenceMs: 200 };
const GATEWAY_POLICY = { attemptsMax: 2, backoffMs: 0, backoffMaxMs: 0, pauseMs: 1 };
/** Repetitions after which an operator's request must have succeeded. */
const TRIES_MAX = 6;

const quietLog = openLog({ level: "error", format: "json", write: () => {} });

/** Both gateways and the running process, shared by many worlds: they are expensive to start. */
export class Gateways implements AsyncDisposable {
  now = TEST_START;
  /** The store of the present world. */
  kv!: Deno.Kv;
  readonly pesapal: PesapalSimulator;
  readonly azampay: AzamPaySimulator;
  readonly #processes: ShopProcess[] = [];
  #onlooker: ShopProcess | undefined;

  private constructor(pesapal: PesapalSimulator, azampay: AzamPaySimulator) {
    this.pesapal = pesapal;
    this.azampay = azampay;
  }

  /** Starts both gateways, and routes every call of a process through the process. */
  static async start(): Promise<Gateways> {
    const holder: { gateways?: Gateways } = {};
    const clock = () => holder.gateways?.now ?? TEST_START;
    const gateways = new Gateways(
      await PesapalSimulator.start({ clock }),
      await AzamPaySimulator.start({ clock }),
    );
    holder.gateways = gateways;
    gateways.pesapal.behaviour.ipnTimes = 0;
    gateways.pesapal.behaviour.tokenLifeMs = 3_600_000;
    globalThis.fetch = (input, init) =>
      running.getStore()?.calls(input, init) ?? platformFetch(input, init);
    return gateways;
  }

  /** Clears everything for another world. */
  async begin(): Promise<void> {
    const { pesapal, azampay } = this;
    for (const list of [pesapal.orders, pesapal.money, azampay.pushes, azampay.paid]) {
      list.length = 0;
    }
    pesapal.calls.refund = 0;
    this.now = TEST_START;
    this.kv = await Deno.openKv(":memory:");
  }

  /** Waits for unfinished work of the present world, and ends the world. */
  async end(): Promise<void> {
    await this.arrive();
    const process = await this.process();
    await process.services.store.committer.idle();
    for (const { kv } of this.#processes) await kv.settled();
    this.kv.close();
  }

  /** Applies abandoned commits now, if at all. */
  async arrive(): Promise<void> {
    for (const { kv } of this.#processes) await kv.release();
  }

  /** The running process; a new one when the last one has died. */
  async process(): Promise<ShopProcess> {
    const last = this.#processes.at(-1);
    if (last && !last.isDead) return last;
    const process = await this.#begin();
    this.#processes.push(process);
    return process;
  }

  /** Services on the store itself, without faults. */
  async onlooker(): Promise<Services> {
    this.#onlooker ??= await this.#begin();
    return this.#onlooker.services;
  }

  async #begin(): Promise<ShopProcess> {
    const port: KvPort = {
      getMany: (keys, options) => this.kv.getMany(keys, options),
      list: (selector, options) => this.kv.list(selector, options),
      atomic: () => this.kv.atomic(),
      commitVersionstamp: () => this.kv.commitVersionstamp(),
      close() {},
    };
    const process = new ShopProcess(port);
    process.services = await openServices(
      readConfig({
        ...{ APP_ENV: "test", KV_PATH: ":memory:", PORT: "0", RATE_LIMITS: "off", PUBLIC_URL },
        ...this.pesapal.environment,
        ...azampayVariables(this.azampay),
      }),
      {
        log: quietLog,
        clock: () => this.now,
        random: Math.random,
        deadlines: deadlinesUnder(() => process.trouble !== null, DEADLINES),
        gatewayPolicy: GATEWAY_POLICY,
        wrapKv: (opened) => {
          opened.close();
          return process.kv;
        },
      },
    );
    return process;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#processes) await process.rests();
    await this.#onlooker?.rests();
    globalThis.fetch = platformFetch;
    await this.pesapal[Symbol.asyncDispose]();
    await this.azampay[Symbol.asyncDispose]();
  }
}

/** A shop with one invoice, its payers, its operators and its gateways. */
export class PaymentWorld implements AsyncDisposable {
  /** Ids of payments whose payment page a payer may have. */
  readonly pages = new Set<string>();
  /** Statuses of the callbacks that AzamPay has for a push, oldest first. */
  readonly callbacks = new Map<string, ("success" | "failure")[]>();
  /** Manual payments less manual refunds, in minor units. */
  byHandMinor = 0;
  invoice!: Invoice;
  readonly gateways: Gateways;
  #requests = 0;

  private constructor(gateways: Gateways) {
    this.gateways = gateways;
  }

  /** Opens a world on an empty store. @param totalMinor The total of the invoice. */
  static async open(gateways: Gateways, totalMinor: number): Promise<PaymentWorld> {
    await gateways.begin();
    const world = new PaymentWorld(gateways);
    await world.plan(null);
    const { services } = await world.process();
    const { client } = await acceptLead(services, leadOf("asha", { phone: "0712345678" }), BY);
    const lines = [{ description: "Work", quantity: 1, unitMinor: totalMinor }];
    world.invoice = await createInvoice(
      services,
      invoiceOf(client.id, { lines, taxMinor: 0 }),
      BY,
    );
    return world;
  }

  /** The running process. */
  async process(): Promise<ShopProcess> {
    return await this.gateways.process();
  }

  /** Plans the fault of the next action. Abandoned commits are applied now, if at all. */
  async plan(trouble: Trouble | null): Promise<void> {
    await this.gateways.arrive();
    (await this.process()).plan(trouble);
  }

  /** Does something once; the caller does not learn the outcome of a failure. */
  async attempt<T>(work: (services: Services) => Promise<T>): Promise<T | null> {
    const done = await (await this.process()).does(work);
    if (done === "died") return null;
    if ("value" in done) return done.value;
    if (done.error instanceof AppError) return null;
    throw done.error;
  }

  /** Repeats something under one key until it succeeds; null when it is refused. */
  async insist<T>(work: (services: Services, by: Caller) => Promise<T>): Promise<T | null> {
    const by = { ...BY, idempotencyKey: `request ${++this.#requests}` };
    for (let i = 0; i < TRIES_MAX; i++) {
      const done = await (await this.process()).does((services) => work(services, by));
      if (done === "died") continue;
      if ("value" in done) return done.value;
      if (!(done.error instanceof AppError)) throw done.error;
      if (!REPEATABLE.has(done.error.kind)) return null;
    }
    throw new Error("The repeated request never succeeded");
  }

  /** Starts a payment, or continues one. */
  async checkout(gateway: "pesapal" | "azampay", amountMinor: number | undefined): Promise<void> {
    const input = gateway === "pesapal"
      ? { gateway, amountMinor }
      : { gateway, amountMinor, provider: "Mpesa" as const };
    await this.attempt((services) => startCheckout(services, this.invoice.id, input, PAYER));
  }

  /** Payments of the invoice, oldest first, as the store has them. */
  async payments(): Promise<Payment[]> {
    const services = await this.gateways.onlooker();
    const payments = (await listPayments(services, this.invoice.id)).reverse();
    for (const { id, redirectUrl } of payments) if (redirectUrl !== null) this.pages.add(id);
    return payments;
  }

  /** Notifies the shop about an order or push `times` times, as its gateway would. */
  async notify(payment: Payment, { times, nth }: { times: number; nth: number }): Promise<void> {
    const call = await this.#callOf(payment, nth);
    if (!call) return;
    const [gateway, incoming] = call;
    for (let i = 0; i < times; i++) {
      await this.attempt((services) => receiveCall(services, gateway, incoming, "call"));
    }
  }

  /** Runs the reconciler as its job does. */
  async reconcile(): Promise<void> {
    await this.attempt((services) => reconcile(services, { budgetMs: 30_000, limit: 300 }, JOB));
  }

  /** An operator checks a payment at the gateway. */
  async check({ id }: Payment): Promise<void> {
    await this.attempt((services) => confirmPayment(services, { reference: id }, BY));
  }

  /** An operator records a manual payment. */
  async payByHand(amountMinor: number): Promise<void> {
    const reference = `receipt ${this.#requests}`;
    const paid = await this.insist((services, by) =>
      recordPayment(
        services,
        this.invoice.id,
        { amountMinor, method: "cash", reference, notes: "" },
        by,
      )
    );
    if (paid) this.byHandMinor += amountMinor;
  }

  /** An operator refunds a payment. */
  async refund(refund: NewRefund): Promise<void> {
    const made = await this.insist((services, by) =>
      refundPayment(services, this.invoice.id, refund, by)
    );
    if (made && refund.reference !== undefined) this.byHandMinor -= refund.amountMinor;
  }

  /** An operator voids the invoice. */
  async void(): Promise<void> {
    await this.insist((services, by) => withdrawInvoice(services, this.invoice.id, "x", by));
  }

  /** Runs the reconciler whenever something is due or a while later, until nothing is. */
  async reconcileToTheEnd(delayMs: number): Promise<void> {
    await this.plan(null);
    const { store } = await this.gateways.onlooker();
    for (let round = 0; round < 400; round++) {
      const [due] = await store.list(keys.paymentsDue, { limit: 1 });
      if (!due) return;
      this.gateways.now = Math.max(this.gateways.now, Number(due.key[1]) + delayMs);
      await this.reconcile();
    }
    throw new Error("A payment stays due for ever");
  }

  /** An operator resolves payments by the gateways' portals where gateways report no outcome. */
  async resolvePayments(isPaid: (payment: Payment) => number | null): Promise<void> {
    for (const payment of await this.payments()) {
      const minor = isPaid(payment);
      if (minor === null) continue;
      const outcome = minor > 0 ? "completed" as const : "failed" as const;
      const amount = minor > 0 ? { amountMinor: minor } : {};
      const decision = { outcome, ...amount, reference: `portal ${payment.id}`, reason: "Seen" };
      await this.insist((services, by) => resolvePayment(services, payment.id, decision, by));
    }
  }

  /** The same for refunds: those that the gateway never received are refused. */
  async resolveRefunds(isAsked: (payment: Payment) => boolean): Promise<void> {
    for (const payment of await this.payments()) {
      const open = payment.refunds.find(({ status }) => status === "requested");
      if (!open || isAsked(payment)) continue;
      const which = { paymentId: payment.id, refundId: open.id };
      const decision = { outcome: "refused", reference: "portal" } as const;
      await this.insist((services, by) => resolveRefund(services, which, decision, by));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gateways.end();
  }

  async #callOf(
    { id, channel }: Payment,
    nth: number,
  ): Promise<["pesapal" | "azampay", IncomingCall] | null> {
    const { pesapal, azampay } = this.gateways;
    const base = { method: "POST", query: new URLSearchParams(), contentType: "application/json" };
    if (channel === "pesapal") {
      const order = pesapal.orders.find(({ request }) => request.id === id);
      if (!order) return null;
      const body = JSON.stringify({
        OrderNotificationType: "IPNCHANGE",
        OrderTrackingId: order.trackingId,
        OrderMerchantReference: id,
      });
      return ["pesapal", { ...base, body }];
    }
    const callbacks = this.callbacks.get(id);
    if (!callbacks || callbacks.length === 0) return null;
    const status = callbacks[nth % callbacks.length]!;
    const body = JSON.stringify(await azampay.push(id).callback(status));
    return ["azampay", { ...base, body }];
  }
}

const BY: Caller = { actor: "bootstrap", requestId: "operator", idempotencyKey: null };
const PAYER: Caller = { actor: "public", requestId: "payer", idempotencyKey: null };
const JOB: Caller = { actor: "job:reconcile", requestId: "job", idempotencyKey: null };

/** After these errors a caller repeats its request under the same key. */
const REPEATABLE: ReadonlySet<string> = new Set(["unavailable", "outcome_unknown"]);
