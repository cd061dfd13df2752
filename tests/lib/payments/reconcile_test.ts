/**
 * Every payment ends as its gateway has it, though no call ever came, the gateway
 * was away, and the program ended between any two steps.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { runJob } from "../../../cron/_job.ts";
import { jobsOf } from "../../../cron/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { KvPort } from "../../../lib/kv/store.ts";
import type { Caller } from "../../../lib/entities/caller.ts";
import { PROBLEMS } from "../../../lib/payments/state.ts";
import { reconcile, type ReconcileResult } from "../../../lib/payments/reconcile.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../../lib/time.ts";
import { type CommitFault, FaultyKv } from "../../support/store/faulty_kv.ts";
import { SHORT_DEADLINES } from "../../support/program/shop.ts";
import { deadlinesUnder } from "../../support/store/deadlines.ts";
import {
  checkedBooks,
  type GatewayTill,
  startGatewayTill,
  startTill,
  type TestTill,
  TOTAL,
} from "../../support/program/till.ts";

const JOB: Caller = { actor: "job:reconcile", requestId: "test", idempotencyKey: null };

function run(app: GatewayTill, options: { limit?: number; budgetMs?: number } = {}) {
  return reconcile(app.services, { budgetMs: 10_000, limit: 100, ...options }, JOB);
}

/** Lets time pass as the job does: a run a minute, or one for each step of `stepMs`. */
async function runFor(app: GatewayTill, ms: number, stepMs = MINUTE_MS): Promise<ReconcileResult> {
  let last = await run(app);
  for (let at = 0; at < ms; at += stepMs) {
    app.advance(stepMs);
    last = await run(app);
  }
  return last;
}

Deno.test("reconcile() settles what was paid, though nobody told of it", async () => {
  await using app = await startGatewayTill();
  app.relay.isDeaf = true;
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  await app.pesapal.order(payment.id).complete();

  const early = await run(app);
  app.advance(MINUTE_MS);
  const due = await run(app);
  const again = await run(app);

  deepEqual([early.asked, due.asked, due.moved, again.asked], [0, 1, 1, 0]);
  equal(app.relay.calls, 0);
  const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, after.paidMinor], ["paid", TOTAL]);
  equal(found?.status, "completed");
});

Deno.test("reconcile() asks ever more rarely, and ends what nobody pays within a week", async () => {
  await using app = await startGatewayTill();
  const payment = await app.payAtPesapal(await app.bill());

  await runFor(app, HOUR_MS);
  const inFirstHour = app.pesapal.calls.status;
  await runFor(app, 8 * DAY_MS, HOUR_MS);

  ok(inFirstHour >= 5 && inFirstHour <= 7, String(inFirstHour));
  ok(app.pesapal.calls.status <= 20, String(app.pesapal.calls.status));
  const ended = await app.payment(payment.id);
  deepEqual([ended.status, ended.problem], ["failed", PROBLEMS.expired]);
  equal(ended.nextCheckAt, null);
});

Deno.test("reconcile() sees that what was paid was taken back, though nobody told of it", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  const order = app.pesapal.order(payment.id);
  await order.complete();
  await order.reverse({ ipnTimes: 0 });

  await runFor(app, 25 * HOUR_MS, HOUR_MS);

  const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, found?.status], ["open", "reversed"]);
});

Deno.test("reconcile() leaves what a gateway that is down would be asked as it is", async () => {
  await using app = await startGatewayTill({ gatewayPolicy: { timeoutMs: 300, failuresMax: 1 } });
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  await app.pesapal.order(payment.id).complete({ ipnTimes: 0 });
  app.advance(MINUTE_MS);
  app.pesapal.faults.status.push(...Array(3).fill({ status: 503 }));
  const failing = await run(app);
  const before = await app.payment(payment.id);
  app.advance(HOUR_MS);

  const down = await run(app);

  deepEqual([failing.asked, failing.moved], [1, 0]);
  deepEqual([down.asked, down.skipped], [0, 1]);
  deepEqual(await app.payment(payment.id), before);
});

Deno.test("reconcile() works off more than one run's worth, and nothing stands in the way", async () => {
  await using app = await startGatewayTill();
  const invoices = await Promise.all(Array.from({ length: 12 }, () => app.bill()));
  for (const [i, invoice] of invoices.entries()) {
    const payment = await (i % 3 === 0 ? app.payByPhone(invoice) : app.payAtPesapal(invoice));
    if (payment.channel === "pesapal") {
      await app.pesapal.order(payment.id).complete({ ipnTimes: 0 });
    }
  }
  app.advance(MINUTE_MS);

  const first = await run(app, { limit: 5 });
  const none = await run(app, { budgetMs: 0 });
  const second = await run(app);

  deepEqual([first.asked, first.isMore], [5, true]);
  deepEqual([none.asked, none.isMore], [0, true]);
  equal(second.isMore, false);
  equal(first.moved + second.moved, 8);
  equal(await app.count(keys.invoicesByStatus("paid")), 8);
});

Deno.test("reconcile() gives a person what AzamPay never told of, and says so", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payByPhone(invoice);

  const result = await runFor(app, 31 * MINUTE_MS);

  equal(result.waiting, 1);
  const { status, problem, revision } = await app.payment(payment.id);
  deepEqual([status, problem], ["needs_review", PROBLEMS.unanswered]);
  // Asking who cannot be asked is written down once, and not every minute.
  equal(revision, 4);
  const incident = () => app.services.store.get(keys.incident("payments_need_review"));
  equal((await incident())?.resolvedAt, null);

  await app.azampay.push(payment.id).approve();
  const after = await run(app);

  equal(after.waiting, 0);
  equal((await checkedBooks(app, invoice.id)).invoice.status, "paid");
  ok((await incident())?.resolvedAt);
});

Deno.test("reconcile() says of a refund that nobody knows of whether it was asked for", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  await app.pesapal.order(payment.id).complete();
  app.pesapal.faults.refund.push("html");
  const { body } = await app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
    paymentId: payment.id,
    amountMinor: TOTAL,
    reason: "x",
  });
  await app.services.alerts.flush(1_000);
  const first = await app.services.store.get(keys.incident("refund_unclear"));

  await runFor(app, 25 * HOUR_MS, HOUR_MS);

  deepEqual([body.refunds[0].status, body.refunds[0].reference], ["requested", ""]);
  const later = await app.services.store.get(keys.incident("refund_unclear"));
  ok(later!.count > first!.count);
  await app.pesapal.order(payment.id).reverse({ ipnTimes: 0 });
  await runFor(app, 25 * HOUR_MS, HOUR_MS);
  const { payments: [found] } = await checkedBooks(app, invoice.id);
  deepEqual([found?.status, found?.refunds[0]?.status], ["completed", "completed"]);
});

Deno.test("jobsOf() has gateways asked every minute, where there are any", async () => {
  await using app = await startGatewayTill();
  await using without = await startTill();
  const names = ({ services, monitor }: TestTill) =>
    jobsOf(services, monitor).map(({ name }) => name);

  ok(names(app).includes("reconcile"));
  ok(!names(without).includes("reconcile"));
  const job = jobsOf(app.services, app.monitor).find(({ name }) => name === "reconcile")!;
  equal(await runJob(app.services, job), "ok");
});

/** The program until its n-th commit, of which it never hears; then it is gone until it is healed. */
function killAt(kv: FaultyKv, n: number, fault: CommitFault): void {
  let commits = 0;
  kv.commitFault = ({ isFence }) => {
    if (isFence) return "lost-before";
    commits++;
    return commits < n ? "ok" : commits === n ? fault : "lost-before";
  };
}

interface Mortal {
  app: GatewayTill;
  kv: FaultyKv;
}

async function startMortal(): Promise<Mortal & AsyncDisposable> {
  let kv: FaultyKv | undefined;
  const app = await startGatewayTill({
    wrapKv: (opened: KvPort) => kv = new FaultyKv(opened),
    deadlines: deadlinesUnder(() => kv?.hasFaults ?? false, SHORT_DEADLINES),
  });
  // Tokens and the like are there already, so that commits are those of payments.
  await app.payAtPesapal(await app.bill());
  await app.payByPhone(await app.bill());
  return { app, kv: kv!, [Symbol.asyncDispose]: () => app[Symbol.asyncDispose]() };
}

const ENDS: [n: number, fault: CommitFault][] = [1, 2, 3].flatMap((n) =>
  (["lost-before", "lost-after"] as const).map((fault): [number, CommitFault] => [n, fault])
);

Deno.test("a checkout that ends at any commit ends as the gateway has it", async () => {
  await Promise.all(ENDS.map(async ([n, fault]) => {
    await using mortal = await startMortal();
    const { app, kv } = mortal;
    const invoice = await app.bill();
    killAt(kv, n, fault);
    await app.checkout(invoice, { gateway: "pesapal" });
    kv.heal();
    const { payments: [payment] } = await checkedBooks(app, invoice.id);
    const order = app.pesapal.orders.find(({ request }) => request.id === payment?.id);
    // Even a payer who was never sent there.
    await order?.complete({ ipnTimes: 0 });
    if (payment?.trackingId === null) await order?.notify();

    await runFor(app, 2 * HOUR_MS, 10 * MINUTE_MS);

    const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
    equal(after.paidMinor, order ? TOTAL : 0, `${n} ${fault}`);
    equal(found?.status, order ? "completed" : found && "failed", `${n} ${fault}`);
    const again = await app.payAtPesapal(await app.bill());
    equal(again.status, "pending");
  }));
});

Deno.test("a push that ends at any commit ends as the gateway has it", async () => {
  await Promise.all(ENDS.map(async ([n, fault]) => {
    await using mortal = await startMortal();
    const { app, kv } = mortal;
    const invoice = await app.bill();
    killAt(kv, n, fault);
    await app.checkout(invoice, { gateway: "azampay", provider: "Mpesa" });
    kv.heal();
    const { payments: [payment] } = await checkedBooks(app, invoice.id);
    const push = app.azampay.pushes.find(({ externalId }) => externalId === payment?.id);

    await push?.approve();
    await runFor(app, HOUR_MS, 10 * MINUTE_MS);

    const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
    equal(after.paidMinor, push ? TOTAL : 0, `${n} ${fault}`);
    equal(found?.status, push ? "completed" : found && "needs_review", `${n} ${fault}`);
  }));
});

Deno.test("a confirmation that ends at any commit is made up for", async () => {
  await Promise.all(ENDS.map(async ([n, fault]) => {
    await using mortal = await startMortal();
    const { app, kv } = mortal;
    const invoice = await app.bill();
    const payment = await app.payAtPesapal(invoice);
    app.advance(10 * MINUTE_MS);
    killAt(kv, n, fault);
    await app.pesapal.order(payment.id).complete({ ipnTimes: 2 });
    kv.heal();

    await runFor(app, 10 * MINUTE_MS);

    const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
    deepEqual([after.status, after.paidMinor], ["paid", TOTAL], `${n} ${fault}`);
    equal(found?.status, "completed");
    const entries = await app.services.store.list(keys.outboxEvents, { limit: 1_000 });
    equal(entries.filter(({ value }) => value.type === "payment.completed").length, 1);
  }));
});

Deno.test("a refund that ends at any commit is never made twice, nor more than came in", async () => {
  await Promise.all(ENDS.map(async ([n, fault]) => {
    await using mortal = await startMortal();
    const { app, kv } = mortal;
    const invoice = await app.bill();
    const payment = await app.payAtPesapal(invoice);
    await app.pesapal.order(payment.id).complete();
    const refund = () =>
      app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
        paymentId: payment.id,
        amountMinor: TOTAL,
        reason: "x",
      }, { "idempotency-key": "refund" });
    killAt(kv, n, fault);
    await refund();
    kv.heal();

    await refund();
    await refund();

    ok(app.pesapal.calls.refund <= 1, `${n} ${fault}`);
    const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
    equal(after.refundedMinor, TOTAL);
    equal(found?.refunds.length, 1);
  }));
});
