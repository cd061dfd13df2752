/**
 * Whatever happens to a payment, in whatever order, and wherever the process dies:
 * with the reconciler running it ends as the gateway has it, and money in is money
 * recorded. `PAYMENT_SCHEDULES` is the number of schedules; a failure names
 * its seed, and `TEST_SEED` repeats it.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { sweep } from "../../lib/integrity/mod.ts";
import * as keys from "../../lib/kv/keys.ts";
import type { Payment } from "../../lib/payments/mod.ts";
import { PROBLEMS } from "../../lib/payments/state.ts";
import { reconcile } from "../../lib/payments/reconcile.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "../../lib/time.ts";
import { TESTER } from "../support/program/app.ts";
import { campaignSize } from "../support/program/campaign.ts";
import { newSeed } from "../support/store/faulty_kv.ts";
import { bookedMinor, trueMinor } from "../support/gateways/money_truth.ts";
import { CALL_TROUBLES, COMMIT_TROUBLES, type Trouble } from "../support/gateways/shop_process.ts";
import { Gateways, PaymentWorld } from "../support/gateways/payment_world.ts";
import { IMPATIENT, startGatewayTill } from "../support/program/till.ts";
import { until } from "../support/program/until.ts";

const SCHEDULES = campaignSize("PAYMENT_SCHEDULES", { everyday: 150, soak: 50_000 });
const TOTAL = 10_000_00;
const HALF = TOTAL / 2;

const which = fc.nat(5);

/** What anybody does. */
const deed = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constant("checkout"),
      gateway: fc.constantFrom("pesapal", "azampay"),
      amountMinor: fc.constantFrom(undefined, undefined, HALF),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constant("pay"),
      which,
      how: fc.constantFrom("pay", "pay", "pay", "fail", "fail", "pay too little"),
      method: fc.constantFrom("MPESA", "Visa"),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constant("tell"),
      which,
      times: fc.integer({ min: 1, max: 3 }),
      nth: fc.nat(3),
    }),
  },
  { weight: 3, arbitrary: fc.record({ does: fc.constant("reconcile") }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("check"), which }) },
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constant("refund"),
      which,
      by: fc.constantFrom("gateway", "gateway", "hand"),
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("reverse"), which }) },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant("record"), amountMinor: fc.constantFrom(1, HALF) }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("void") }) },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant("wait"),
      ms: fc.constantFrom(
        ...[SECOND_MS, MINUTE_MS, 3 * MINUTE_MS, 40 * MINUTE_MS, 3 * HOUR_MS],
        ...[DAY_MS, 2 * DAY_MS, 8 * DAY_MS],
      ),
    }),
  },
);

type Deed = typeof deed extends fc.Arbitrary<infer T> ? T : never;

const trouble: fc.Arbitrary<Trouble | null> = fc.option(
  fc.record({
    // Most of what is done has three or four.
    step: fc.constantFrom(1, 1, 2, 2, 2, 3, 3, 4, 5, 6),
    commit: fc.constantFrom(...COMMIT_TROUBLES),
    call: fc.constantFrom(...CALL_TROUBLES),
    isLasting: fc.boolean(),
  }),
);

/** Some do what they do at the same time. */
const act = fc.record({
  deeds: fc.oneof(
    { weight: 5, arbitrary: fc.tuple(deed) },
    { weight: 1, arbitrary: fc.tuple(deed, deed) },
    { weight: 1, arbitrary: fc.tuple(deed, deed, deed) },
  ),
  trouble,
});

/** How long the reconciler is late in the end. */
const delay = fc.constantFrom(0, HOUR_MS, 20 * DAY_MS, 20 * DAY_MS);

type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;

/** Does it to one of those that it can be done to, if there is any. */
async function perform(world: PaymentWorld, deed: Deed): Promise<void> {
  const payments = await world.payments();
  const pick = (nth: number, isFit: (payment: Payment) => boolean): Payment | undefined => {
    const fit = payments.filter(isFit);
    return fit[nth % fit.length];
  };
  switch (deed.does) {
    case "checkout":
      return await world.checkout(deed.gateway, deed.amountMinor);
    case "pay": {
      const payment = pick(deed.which, (payment) => isPayable(world, payment));
      return payment && await pay(world, payment, deed);
    }
    case "tell": {
      const payment = pick(deed.which, ({ channel }) => channel !== "manual");
      return payment && await world.notify(payment, deed);
    }
    case "reconcile":
      return await world.reconcile();
    case "check": {
      const payment = pick(deed.which, ({ channel }) => channel !== "manual");
      return payment && await world.check(payment);
    }
    case "refund": {
      const payment = pick(deed.which, ({ status }) => status === "completed");
      const isByHand = deed.by === "hand";
      return payment && await world.refund({
        paymentId: payment.id,
        reason: "Sent back",
        amountMinor: isByHand ? 1_00 : payment.amountMinor,
        ...(isByHand ? { reference: "bank" } : {}),
      });
    }
    case "reverse": {
      const order = orderOf(
        world,
        pick(deed.which, (payment) => orderOf(world, payment)?.code === 1),
      );
      // It may have come first.
      if (order?.code === 1) await order.reverse();
      return;
    }
    case "record":
      return await world.payByHand(deed.amountMinor);
    case "void":
      return await world.void();
    case "wait":
      world.gateways.now += deed.ms;
      return;
    default:
      return deed satisfies never;
  }
}

/** Whether a payer can do anything about it: on Pesapal's page, if anybody was sent there, or on the telephone. */
function isPayable(world: PaymentWorld, payment: Payment): boolean {
  const order = orderOf(world, payment);
  const push = pushOf(world, payment);
  if (push) return push.state !== "approved";
  const isOpen = order && !order.isCancelled && (order.code === 0 || order.code === 2);
  return isOpen === true && world.pages.has(payment.id);
}

function orderOf({ gateways: { pesapal } }: PaymentWorld, payment: Payment | undefined) {
  return pesapal.orders.find(({ request }) => request.id === payment?.id);
}

function pushOf({ gateways: { azampay } }: PaymentWorld, payment: Payment | undefined) {
  return azampay.pushes.find(({ externalId }) => externalId === payment?.id);
}

/** What a payer does. */
async function pay(
  world: PaymentWorld,
  payment: Payment,
  { how, method }: { how: string; method: string },
): Promise<void> {
  const order = orderOf(world, payment);
  if (order && how === "fail") await order.fail();
  if (order && how === "pay") await order.complete({ method });
  if (order && how === "pay too little") {
    const half = Math.max(1, Math.floor(order.request.amount * 50)) / 100;
    await order.complete({ method, amount: half });
  }
  const push = pushOf(world, payment);
  if (!push || (how === "fail" && push.state === "declined")) return;
  const isApproved = how !== "fail";
  await push[isApproved ? "approve" : "decline"]({ times: 0 });
  const says = isApproved ? "success" : "failure";
  world.callbacks.set(payment.id, [...world.callbacks.get(payment.id) ?? [], says]);
}

/** What was paid on Pesapal's page, in minor units; 0 if nothing was. */
function paidMinorOf(world: PaymentWorld, payment: Payment): number {
  return (orderOf(world, payment)?.paid?.amount ?? 0) * 100;
}

/** At no moment the books have money that no gateway took. */
async function assertNothingInvented(world: PaymentWorld): Promise<void> {
  const { pesapal, azampay } = world.gateways;
  const money = pesapal.money.filter(({ amount }) => amount > 0);
  for (const payment of await world.payments()) {
    if (payment.channel === "manual") continue;
    const taken = trueMinor({ pesapal: { money }, azampay }, payment.id);
    ok(payment.receivedMinor <= taken, `${payment.channel} ${payment.status} ${taken}`);
  }
}

/** The portals tell an operator what no gateway did: of AzamPay, and of odd amounts. */
function portal(world: PaymentWorld): (payment: Payment) => number | null {
  return (payment) => {
    const minor = trueMinor(world.gateways, payment.id);
    switch (payment.status) {
      case "needs_review": {
        // Once it waits for a person, Pesapal is not asked about it: it may have been reversed since.
        const isOdd = paidMinorOf(world, payment) !== payment.amountMinor;
        ok(payment.channel === "azampay" || isOdd, `Pesapal knew: ${payment.problem}`);
        return minor;
      }
      case "failed":
        // Somebody approved after all, and AzamPay's call about it was lost.
        return payment.channel === "azampay" && minor > 0 ? minor : null;
      default:
        return null;
    }
  };
}

/** Brings everything to its end, by a reconciler that is late by `delayMs`, and holds it against what the gateways know. */
async function assertTrueInTheEnd(world: PaymentWorld, delayMs: number): Promise<void> {
  const { pesapal, azampay } = world.gateways;
  const grant = async () => {
    for (const order of pesapal.orders) {
      if (order.refundAsked !== null && order.code === 1) await order.reverse();
    }
  };
  await grant();
  await world.reconcileToTheEnd(delayMs);
  await world.resolvePayments(portal(world));
  await world.resolveRefunds((payment) => typeof orderOf(world, payment)?.refundAsked === "number");
  await world.reconcileToTheEnd(delayMs);

  const payments = await world.payments();
  let expectedMinor = world.byHandMinor;
  let askedRefunds = 0;
  for (const payment of payments) {
    const { id, channel, status, problem, refunds } = payment;
    const context = `${channel} ${status} ${problem} of ${payment.amountMinor}`;
    ok(["completed", "failed", "reversed"].includes(status), context);
    ok(!refunds.some(({ status }) => status === "requested"), context);
    if (channel === "manual") continue;
    const asked = refunds.filter(({ through }) => through === "gateway");
    askedRefunds += asked.length;
    // What the gateway took on does not count as refused, or it would be paid back again by hand.
    const hasTaken = typeof orderOf(world, payment)?.refundAsked === "number";
    ok(!hasTaken || asked.some(({ status }) => status === "completed"), context);
    const minor = trueMinor(world.gateways, id);
    equal(bookedMinor(payment), minor, context);
    expectedMinor += minor;
    // What went back by hand before the gateway took all of it back is the shop's loss.
    if (status !== "reversed") continue;
    for (const { through, amountMinor } of refunds) {
      if (through === "hand") expectedMinor += amountMinor;
    }
  }
  const services = await world.gateways.onlooker();
  const invoice = await services.store.get(keys.invoice(world.invoice.id));
  equal(invoice?.paidMinor, expectedMinor);

  ok(pesapal.calls.refund <= askedRefunds, "A refund was asked for twice");
  const pushed = azampay.pushes.map(({ externalId }) => externalId);
  equal(new Set(pushed).size, pushed.length, "A telephone was asked twice for one payment");

  const events = (await services.store.list(keys.outboxEvents, { limit: 1_000 }))
    .map(({ value }) => value).filter(({ type }) => type === "payment.completed");
  const told = events.map(({ subject }) => subject.paymentId);
  equal(new Set(told).size, told.length, "A payment was settled twice");
  const { findings } = await sweep(services);
  deepEqual(findings, []);
}

Deno.test(`through ${SCHEDULES} random schedules every payment ends as its gateway has it`, async () => {
  await using gateways = await Gateways.start();
  const seed = newSeed("payment schedules");
  const counts: Record<string, number> = {};

  await fc.assert(
    fc.asyncProperty(
      fc.array(act, { minLength: 3, maxLength: 10 }),
      delay,
      async (acts: Act[], delayMs) => {
        await using world = await PaymentWorld.open(gateways, TOTAL);
        await world.checkout(acts.length % 2 === 0 ? "pesapal" : "azampay", undefined);
        for (const { deeds, trouble } of acts) {
          await world.plan(trouble);
          await Promise.all(deeds.map((deed) => perform(world, deed)));
          await world.plan(null);
          await assertNothingInvented(world);
        }
        await assertTrueInTheEnd(world, delayMs);
        for (const { channel, status, problem } of await world.payments()) {
          const name = `${channel} ${status}${problem === PROBLEMS.cancelled ? " cancelled" : ""}`;
          counts[name] = (counts[name] ?? 0) + 1;
        }
      },
    ),
    { numRuns: SCHEDULES, seed },
  );

  // Schedules in which nothing happens would prove nothing.
  for (const channel of ["pesapal", "azampay"]) {
    for (const status of ["completed", "failed"]) {
      ok((counts[`${channel} ${status}`] ?? 0) > SCHEDULES / 20, JSON.stringify(counts));
    }
  }
  ok((counts["pesapal reversed"] ?? 0) > SCHEDULES / 100, JSON.stringify(counts));
  console.log(counts);
});

Deno.test("a gateway that was down is asked again by the reconciler, though nobody calls", async () => {
  // Longer than what is done while it lasts.
  const pauseMs = 1_000;
  await using app = await startGatewayTill({
    gatewayPolicy: { ...IMPATIENT, failuresMax: 1, pauseMs },
  });
  const invoice = await app.bill();
  const { id } = await app.payAtPesapal(invoice);
  await app.pesapal.order(id).complete({ ipnTimes: 0 });
  const gateway = app.services.gateways.get("pesapal");
  const run = async () => {
    app.advance(MINUTE_MS);
    return await reconcile(app.services, { budgetMs: 5_000, limit: 100 }, TESTER);
  };
  app.pesapal.faults.status.push({ status: 503 });
  await run();

  equal(gateway?.breaker, "open");
  equal((await run()).skipped, 1);
  await until(() => gateway?.breaker !== "open");
  await run();

  equal((await app.invoice(invoice.id)).status, "paid");
});

Deno.test("an order that nobody will ask about any more can no longer be paid", async () => {
  await using app = await startGatewayTill();
  const run = () => reconcile(app.services, { budgetMs: 5_000, limit: 100 }, TESTER);
  const abandoned = await app.payAtPesapal(await app.bill());
  const failed = await app.payAtPesapal(await app.bill());
  const failedLate = await app.payAtPesapal(await app.bill());
  await app.pesapal.order(failed.id).fail({ ipnTimes: 0 });

  for (let day = 0; day < 9; day++) {
    if (day === 3) await app.pesapal.order(failedLate.id).fail({ ipnTimes: 0 });
    app.advance(DAY_MS);
    // One of the answers about ending it is lost.
    if (day === 6) app.pesapal.faults.cancel.push("drop");
    await run();
    app.advance(HOUR_MS);
    await run();
  }

  for (const { id } of [abandoned, failed, failedLate]) {
    const { status, nextCheckAt } = await app.payment(id);
    deepEqual([status, nextCheckAt, app.pesapal.order(id).isCancelled], ["failed", null, true]);
  }
});
