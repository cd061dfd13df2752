/** The status of a payment at Pesapal: nothing is completed unless all of an answer says so. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import fc from "fast-check";
import { confirmationOf } from "../../../lib/gateways/_pesapal_answers.ts";
import { newId } from "../../../lib/ids.ts";
import { TEST_START } from "../../support/program/app.ts";
import { IMPATIENT } from "../../support/gateways/gateway_services.ts";
import type { PesapalBehaviour } from "../../support/gateways/pesapal_behaviour.ts";
import { until } from "../../support/program/until.ts";
import { begun, failureOf, PRICE, start } from "./_pesapal.ts";

const HABITS: Partial<PesapalBehaviour>[] = [
  {},
  { descriptions: "upper", statusAs: "number", noError: "all_null", amountDigits: 0 },
  { errorTypeName: "type", unpaidAs: "plain", amountDigits: 1 },
];

for (const [i, habits] of HABITS.entries()) {
  Deno.test(`queryStatus() distinguishes all states in answer style ${i + 1} of Pesapal`, async () => {
    await using world = await start(habits);
    const { order, payment } = await begun(world);
    const state = async () => (await world.pesapal.queryStatus(payment))?.state;

    const states = [await state()];
    await order.fail();
    states.push(await state());
    await order.complete({ method: "Visa" });
    states.push(await state());
    const completed = await world.pesapal.queryStatus(payment);
    await order.reverse();
    states.push(await state());

    deepEqual(states, ["pending", "failed", "completed", "reversed"]);
    deepEqual(completed, {
      state: "completed",
      reference: payment.reference,
      trackingIds: [order.trackingId],
      amount: PRICE,
      confirmationCode: order.confirmationCode,
      method: "Visa",
      reason: null,
    });
  });
}

Deno.test("queryStatus() reports the amount paid, not the amount requested", async () => {
  await using world = await start();
  const { order, payment } = await begun(world);
  await order.complete({ amount: 1, currency: "KES" });

  const confirmation = await world.pesapal.queryStatus(payment);

  deepEqual(confirmation?.amount, { currency: "KES", minor: 100 });
});

Deno.test("queryStatus() reports an unknown outcome for a payment that Pesapal does not know", async () => {
  for (const errorStatus of ["200", "fitting"] as const) {
    await using world = await start({ errorStatus });

    const confirmation = await world.pesapal.queryStatus({
      reference: newId(TEST_START),
      trackingId: crypto.randomUUID(),
      amount: PRICE,
    });

    deepEqual([confirmation?.state, confirmation?.reason, confirmation?.trackingIds], [
      "unknown",
      "The order is not known",
      [],
    ]);
  }
});

Deno.test("queryStatus() needs a tracking id, which must be a GUID", async () => {
  await using world = await start();
  const reference = newId(TEST_START);
  const guid = crypto.randomUUID();

  for (const trackingId of [null, "", "1&x=2", `${guid}&orderTrackingId=1`, `../${guid}`]) {
    const found = await world.pesapal.queryStatus({ reference, trackingId, amount: PRICE });
    equal(found, null, String(trackingId));
  }

  equal(world.simulator.calls.status, 0);
});

Deno.test("queryStatus() is repeated until Pesapal answers", async () => {
  await using world = await start();
  const { order, payment } = await begun(world);
  await order.complete();
  world.simulator.faults.status.push({ status: 502, body: "<h1>Bad gateway</h1>" }, "drop");

  const confirmation = await world.pesapal.queryStatus(payment);

  equal(confirmation?.state, "completed");
  equal(world.simulator.calls.status, 3);
});

Deno.test("queryStatus() stops calling Pesapal while it is down, and tries again later", async () => {
  const policy = { ...IMPATIENT, failuresMax: 3, pauseMs: 50, attemptsMax: 1 };
  await using world = await start({}, { policy });
  const { payment } = await begun(world);
  world.simulator.faults.status.push("break", "break", "break");
  const ask = () => world.pesapal.queryStatus(payment);

  for (let i = 0; i < 3; i++) await rejects(ask(), { code: "disconnected" });
  const { breaker } = world.pesapal;
  await rejects(ask(), { outcome: "not_sent", code: "down" });
  const { status } = world.simulator.calls;
  await until(async () => (await ask().catch(() => null))?.state === "pending");

  equal(breaker, "open");
  equal(status, 3);
  equal(world.pesapal.breaker, "closed");
});

Deno.test("an aborted queryStatus() does not keep other calls from a token", async () => {
  await using world = await start();
  const { payment } = await begun(world);
  world.simulator.revokeTokens();
  world.simulator.faults.token.push("hold");
  const stop = new AbortController();

  const given = failureOf(world.pesapal.queryStatus(payment, stop.signal));
  const other = world.pesapal.queryStatus(payment);
  await until(() => world.simulator.calls.token === 2);
  stop.abort();
  const { outcome, code } = await given;
  world.simulator.release();

  deepEqual([outcome, code], ["not_sent", "aborted"]);
  equal((await other)?.state, "pending");
});

Deno.test("confirmationOf() reports completed only when no field of the answer contradicts it", () => {
  const good = {
    status_code: 1,
    payment_status_description: "Completed",
    merchant_reference: "r",
    order_tracking_id: crypto.randomUUID(),
    amount: 1500.5,
    currency: "TZS",
    error: { error_type: null, code: null, message: null, call_back_url: null },
    status: "200",
  };
  const bad: [string, Record<string, unknown>][] = [
    ["another description", { payment_status_description: "FAILED" }],
    ["a strange description", { payment_status_description: "Almost" }],
    ["a strange code", { status_code: 4 }],
    ["a broken code", { status_code: 1.5 }],
    ["no code", { status_code: undefined }],
    ["an error", { error: { code: "some_error" } }],
    ["an error in words", { error: "some error" }],
    ["nobody paid", { error: { code: "payment_details_not_found", message: "Pending Payment" } }],
  ];

  equal(confirmationOf(good).state, "completed");
  equal(confirmationOf({ ...good, status_code: "1" }).state, "completed");
  equal(confirmationOf({ ...good, payment_status_description: null }).state, "completed");
  for (const [what, fields] of bad) {
    const { state, reason } = confirmationOf({ ...good, ...fields });
    equal(state, "unknown", what);
    ok(reason, what);
  }
  for (const answer of [null, 1, "Completed", [], [good], {}]) {
    equal(confirmationOf(answer).state, "unknown");
  }
});

Deno.test("confirmationOf() reads amounts only in known currencies and whole minor units", () => {
  const amountOf = (amount: unknown, currency: unknown = "TZS") =>
    confirmationOf({ amount, currency }).amount;

  deepEqual(amountOf(1500.5), { currency: "TZS", minor: 150_050 });
  deepEqual(amountOf("1500.50"), { currency: "TZS", minor: 150_050 });
  deepEqual(amountOf("1500.00", "UGX"), { currency: "UGX", minor: 1_500 });
  for (const bad of [1500.555, -1, 1e21, NaN, null, "1,500", "", {}, "1e3"]) {
    equal(amountOf(bad), null, String(bad));
  }
  equal(amountOf(1500.5, "UGX"), null);
  equal(amountOf(1, "XXX"), null);
  equal(amountOf(1, null), null);
});

Deno.test("confirmationOf() neither throws nor completes on arbitrary answers", () => {
  fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), (body, error) => {
    const answer = typeof body === "object" && body !== null ? { ...body, error } : body;

    equal(confirmationOf(answer).state === "completed", false);
  }));
});
