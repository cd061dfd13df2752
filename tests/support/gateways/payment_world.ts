/**
 * A shop whose processes die, whose store and gateways fail, and whose payers and operators act at
 * random: for runs of many schedules. Everything is in this process but the calls to the simulated
 * gateways, which are real HTTP.
 *
 * A process that has died can no longer reach its store or a gateway. Its unfinished work is left as
 * it is, and another process starts on the same store.
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
import { openLog } from "../../../lib/telemetry/log.ts";
import type { Caller } from "../../../lib/entities/caller.ts";
import { confirmPayment } from "../../../lib/payments/confirm.ts";
import { recordPayment, resolvePayment, withdrawInvoice } from "../../../lib/payments/operators.ts";
import { receiveCall } from "../../../lib/payments/callbacks.ts";
import { startCheckout } from "../../../lib/payments/checkout.ts";
import { listPayments, type Payment } from "../../../lib/payments/mod.ts";
import { reconcile } from "../../../lib/payments/reconcile.ts";
import { type NewRefund, refundPayment, resolveRefund } from "../../../lib/payments/refunds.ts";
import { openServices } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/services.ts";
import { TEST_START } from "../program/app.ts";
import { invoiceOf, leadOf } from "../program/books.ts";
import { azampayVariables } from "./azampay_shop.ts";
import { AzamPaySimulator } from "./azampay_simulator.ts";
import { PesapalSimulator } from "./pesapal_simulator.ts";
import { platformFetch, running, ShopProcess, type Trouble } from "./shop_process.ts";

const PUBLIC_URL = "http://127.0.0.1:1";
const DEADLINES = { readMs: 5_000, commitMs: 40, transactionMs: 400, fenceMs: 200 };
const GATEWAY_POLICY = { attemptsMax: 2, backoffMs: 0, backoffMaxMs: 0, pauseMs: 1 };
/** Repetitions after which an operator's wish must have been heard. */
const TRIES_MAX = 6;

const quietLog = openLog({ level: "error", format: "json", write: () => {} });

/** Both gateways and the process that runs, for many worlds: they are dear to begin. */
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

  /** Starts them, and stands between all worlds and them. */
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

  /** Forgets everything, for another world. */
  async begin(): Promise<void> {
    const { pesapal, azampay } = this;
    for (const list of [pesapal.orders, pesapal.money, azampay.pushes, azampay.paid]) {
      list.length = 0;
    }
    pesapal.calls.refund = 0;
    this.now = TEST_START;
    this.kv = await Deno.openKv(":memory:");
  }

  /** Waits for what is under way in the present world, and ends it. */
  async end(): Promise<void> {
    await this.arrive();
    const process = await this.process();
    await process.services.store.committer.idle();
    for (const { kv } of this.#processes) await kv.settled();
    this.kv.close();
  }

  /** Commits that were given up arrive now, if at all. */
  async arrive(): Promise<void> {
    for (const { kv } of this.#processes) await kv.release();
  }

  /** The process that runs; another one when the last one has died. */
  async process(): Promise<ShopProcess> {
    const last = this.#processes.at(-1);
    if (last && !last.isDead) return last;
    const process = await this.#begin();
    this.#processes.push(process);
    return process;
  }

  /** Sees the store as it is, whatever happens to the shop. */
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
        deadlines: DEADLINES,
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

/** A shop with one invoice, and all who are about it. */
export class PaymentWorld implements AsyncDisposable {
  /** Payers were sent there, or may be. */
  readonly pages = new Set<string>();
  /** What AzamPay has to tell of a push, oldest first. */
  readonly news = new Map<string, ("success" | "failure")[]>();
  /** Receipts of money by hand, and back by hand, in minor units. */
  byHandMinor = 0;
  invoice!: Invoice;
  readonly gateways: Gateways;
  #wishes = 0;

  private constructor(gateways: Gateways) {
    this.gateways = gateways;
  }

  /** A new one on an empty store. @param totalMinor What the invoice comes to. */
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

  /** The process that runs. */
  async process(): Promise<ShopProcess> {
    return await this.gateways.process();
  }

  /** What would go wrong with what is done next. Commits that were given up arrive now, if at all. */
  async plan(trouble: Trouble | null): Promise<void> {
    await this.gateways.arrive();
    (await this.process()).plan(trouble);
  }

  /** Does something once; what comes of it is not known to whoever wanted it. */
  async attempt<T>(work: (services: Services) => Promise<T>): Promise<T | null> {
    const done = await (await this.process()).does(work);
    if (done === "died") return null;
    if ("value" in done) return done.value;
    if (done.error instanceof AppError) return null;
    throw done.error;
  }

  /** Repeats something under one key until it is heard; null when it is refused. */
  async insist<T>(work: (services: Services, by: Caller) => Promise<T>): Promise<T | null> {
    const by = { ...BY, idempotencyKey: `wish ${++this.#wishes}` };
    for (let i = 0; i < TRIES_MAX; i++) {
      const done = await (await this.process()).does((services) => work(services, by));
      if (done === "died") continue;
      if ("value" in done) return done.value;
      if (!(done.error instanceof AppError)) throw done.error;
      if (!REPEATABLE.has(done.error.kind)) return null;
    }
    throw new Error("Whatever was repeated was not heard");
  }

  /** Begins a payment, or goes on with one. */
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

  /** Tells the shop of an order or push, as its gateway would, `times` over. */
  async tell(payment: Payment, { times, nth }: { times: number; nth: number }): Promise<void> {
    const call = await this.#callOf(payment, nth);
    if (!call) return;
    const [gateway, incoming] = call;
    for (let i = 0; i < times; i++) {
      await this.attempt((services) => receiveCall(services, gateway, incoming, "call"));
    }
  }

  /** The reconciler, as its job runs it. */
  async reconcile(): Promise<void> {
    await this.attempt((services) => reconcile(services, { budgetMs: 30_000, limit: 300 }, JOB));
  }

  /** An operator asks the gateway. */
  async check({ id }: Payment): Promise<void> {
    await this.attempt((services) => confirmPayment(services, { reference: id }, BY));
  }

  /** An operator records money. */
  async payByHand(amountMinor: number): Promise<void> {
    const reference = `receipt ${this.#wishes}`;
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

  /** An operator pays back. */
  async refund(refund: NewRefund): Promise<void> {
    const made = await this.insist((services, by) =>
      refundPayment(services, this.invoice.id, refund, by)
    );
    if (made && refund.reference !== undefined) this.byHandMinor -= refund.amountMinor;
  }

  /** An operator gives the invoice up. */
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
    throw new Error("Something is due for ever");
  }

  /** What an operator finds in the gateways' portals about what the gateways do not say. */
  async decide(isPaid: (payment: Payment) => number | null): Promise<void> {
    for (const payment of await this.payments()) {
      const minor = isPaid(payment);
      if (minor === null) continue;
      const outcome = minor > 0 ? "completed" as const : "failed" as const;
      const amount = minor > 0 ? { amountMinor: minor } : {};
      const decision = { outcome, ...amount, reference: `portal ${payment.id}`, reason: "Seen" };
      await this.insist((services, by) => resolvePayment(services, payment.id, decision, by));
    }
  }

  /** The same about refunds: those that the gateway never heard of are not made. */
  async decideRefunds(isAsked: (payment: Payment) => boolean): Promise<void> {
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
    const news = this.news.get(id);
    if (!news || news.length === 0) return null;
    const status = news[nth % news.length]!;
    const body = JSON.stringify(await azampay.push(id).callback(status));
    return ["azampay", { ...base, body }];
  }
}

const BY: Caller = { actor: "bootstrap", requestId: "operator", idempotencyKey: null };
const PAYER: Caller = { actor: "public", requestId: "payer", idempotencyKey: null };
const JOB: Caller = { actor: "job:reconcile", requestId: "job", idempotencyKey: null };

/** After these a caller repeats what it wanted, under the same key. */
const REPEATABLE: ReadonlySet<string> = new Set(["unavailable", "outcome_unknown"]);
