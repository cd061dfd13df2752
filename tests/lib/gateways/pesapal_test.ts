/**
 * Pesapal is asked as its documents say, and believed no further than they go.
 */
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import fc from "fast-check";
import {
  type CheckoutRequest,
  type Gateway,
  GatewayError,
  type IncomingCall,
} from "../../../lib/gateways/mod.ts";
import { confirmationOf } from "../../../lib/gateways/_pesapal_answers.ts";
import { usableMs } from "../../../lib/gateways/_tokens.ts";
import { newId } from "../../../lib/ids.ts";
import { CURRENCIES, formatMajor, MINOR_MAX, type Money } from "../../../lib/money.ts";
import { MINUTE_MS } from "../../../lib/time.ts";
import { TEST_START } from "../../support/program/app.ts";
import {
  type GatewayServices,
  type GatewayServicesOptions,
  IMPATIENT,
  openGatewayServices,
} from "../../support/gateways/gateway_services.ts";
import {
  PESAPAL_ACCOUNT,
  type PesapalBehaviour,
  PesapalSimulator,
} from "../../support/gateways/pesapal_simulator.ts";
import { until } from "../../support/program/until.ts";

/** Where the shop would be. */
const SHOP = "https://shop.example.com";

const PRICE: Money = { currency: "TZS", minor: 150_050 };

/** A payment to begin, under a new reference. */
function newRequest(fields: Partial<CheckoutRequest> = {}): CheckoutRequest {
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
async function start(
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
async function failureOf(call: Promise<unknown>): Promise<GatewayError> {
  try {
    await call;
  } catch (error) {
    ok(error instanceof GatewayError, String(error));
    return error;
  }
  throw new Error("The call did not fail");
}

Deno.test("startCheckout() submits an order that has everything, and says where to pay", async () => {
  await using world = await start();
  const request = newRequest({ description: "Ä".repeat(150) });

  const checkout = await world.pesapal.startCheckout(request);

  const order = world.simulator.order(request.reference);
  deepEqual(checkout, { trackingId: order.trackingId, redirectUrl: order.pageUrl });
  const { notification_id, description, ...rest } = order.request;
  deepEqual(rest, {
    id: request.reference,
    currency: "TZS",
    amount: 1500.5,
    callback_url: `${SHOP}/i/token`,
    cancellation_url: `${SHOP}/i/token`,
    billing: {
      email_address: "asha@example.com",
      phone_number: "+255712345678",
      first_name: "Asha Juma",
      last_name: "Mushi",
    },
  });
  equal(description, `${"Ä".repeat(99)}…`);
  const [registration] = world.simulator.registrations;
  deepEqual([registration!.url, registration!.type, registration!.ipnId], [
    `${SHOP}/payments/pesapal/ipn`,
    "POST",
    notification_id,
  ]);
});

Deno.test("startCheckout() signs in and registers once for all payments", async () => {
  await using world = await start();

  for (let i = 0; i < 3; i++) await world.pesapal.startCheckout(newRequest());

  const { token, list_ipn, register_ipn, submit } = world.simulator.calls;
  deepEqual([token, list_ipn, register_ipn, submit], [1, 1, 1, 3]);
});

Deno.test("startCheckout() asks for exactly what is owed, in every currency and size", async () => {
  await using world = await start();
  const { simulator, pesapal } = world;
  const currencies = CURRENCIES.filter((currency) => simulator.behaviour.currencies.has(currency));

  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...currencies),
      fc.integer({ min: 1, max: MINOR_MAX }),
      async (currency, minor) => {
        const request = newRequest({ amount: { currency, minor } });
        const { trackingId } = await pesapal.startCheckout(request);
        const asked = { ...request, trackingId };
        const confirmation = await pesapal.queryStatus(asked);

        const { amount } = simulator.order(request.reference).request;
        equal(BigInt(Math.round(amount * 100)), BigInt(formatMajorTwo(request.amount)));
        deepEqual(confirmation?.amount, request.amount);
      },
    ),
    { numRuns: 40, examples: [["TZS", MINOR_MAX], ["UGX", MINOR_MAX], ["USD", 1]] },
  );
});

/** Hundredths, as text. */
function formatMajorTwo(money: Money): string {
  const [whole = "", fraction = ""] = formatMajor(money).split(".");
  return whole + fraction.padEnd(2, "0");
}

Deno.test("startCheckout() asks nobody about a payment that Pesapal cannot take", async () => {
  await using world = await start();
  const { pesapal } = world;
  const payer = { name: "Asha", email: null, phone: null };

  const errors = await Promise.all([
    failureOf(pesapal.startCheckout(newRequest({ amount: { currency: "EUR", minor: 100 } }))),
    failureOf(pesapal.startCheckout(newRequest({ amount: { currency: "TZS", minor: 0 } }))),
    failureOf(pesapal.startCheckout(newRequest({ reference: "a b" }))),
    failureOf(pesapal.startCheckout(newRequest({ payer }))),
  ]);

  deepEqual(errors.map(({ outcome, code }) => [outcome, code]), [
    ["refused", "amount"],
    ["refused", "amount"],
    ["refused", "reference"],
    ["refused", "payer"],
  ]);
  equal(world.simulator.calls.token, 0);
  equal(pesapal.refusalOf({ currency: "EUR", minor: 100 }), "Pesapal takes no EUR");
  equal(pesapal.refusalOf(PRICE), null);
});

Deno.test("startCheckout() takes an error with status 200 for a refusal, and says what it was", async () => {
  for (const errorTypeName of ["error_type", "type"] as const) {
    await using world = await start({ amountMax: 1_000, errorTypeName });

    const error = await failureOf(world.pesapal.startCheckout(newRequest()));

    deepEqual([error.outcome, error.code], ["refused", "amount_exceeds_default_limit"]);
    match(error.message, /The amount exceeds your limit/);
    equal(world.simulator.orders.length, 0);
  }
});

Deno.test("startCheckout() tells the code when the message is empty", async () => {
  await using world = await start();
  world.simulator.faults.submit.push({ refusal: { code: "account_suspended" } });

  const error = await failureOf(world.pesapal.startCheckout(newRequest()));

  deepEqual([error.outcome, error.code], ["refused", "account_suspended"]);
  match(error.message, /account_suspended/);
});

Deno.test("startCheckout() is refused a reference that was used before", async () => {
  await using world = await start();
  const request = newRequest();
  await world.pesapal.startCheckout(request);

  const error = await failureOf(world.pesapal.startCheckout(request));

  deepEqual([error.outcome, error.code], ["refused", "duplicate_merchant_reference"]);
});

for (const redirect of ["null", "empty", "http", "foreign"] as const) {
  Deno.test(`startCheckout() sends nobody to an address that is ${redirect}`, async () => {
    await using world = await start({ redirect });

    const error = await failureOf(world.pesapal.startCheckout(newRequest()));

    deepEqual([error.outcome, error.code], ["unknown", "bad_address"]);
  });
}

Deno.test("startCheckout() does not take an answer for another payment", async () => {
  await using world = await start({ referenceCase: "upper" });

  const error = await failureOf(world.pesapal.startCheckout(newRequest()));

  deepEqual([error.outcome, error.code], ["unknown", "mismatch"]);
});

const LOST = {
  "whose answer is lost": ["drop", "disconnected", 1],
  "whose answer is a page": ["html", "not_json", 1],
  "that breaks off": ["break", "disconnected", 0],
  "that a server could not do": [{ status: 500, body: "<h1>Error</h1>" }, "http_500", 0],
} as const;

for (const [what, [fault, code, orders]] of Object.entries(LOST)) {
  Deno.test(`startCheckout() does not know the outcome of an order ${what}, and never repeats it`, async () => {
    await using world = await start();
    world.simulator.faults.submit.push(fault);

    const error = await failureOf(world.pesapal.startCheckout(newRequest()));

    deepEqual([error.outcome, error.code], ["unknown", code]);
    equal(world.simulator.calls.submit, 1);
    equal(world.simulator.orders.length, orders);
  });
}

Deno.test("startCheckout() does not know the outcome of an order whose answer comes too late", async () => {
  await using world = await start({}, { policy: { ...IMPATIENT, timeoutMs: 200 } });
  world.simulator.faults.submit.push("hold");

  const error = await failureOf(world.pesapal.startCheckout(newRequest()));

  deepEqual([error.outcome, error.code], ["unknown", "timeout"]);
  equal(world.simulator.calls.submit, 1);
});

Deno.test("startCheckout() submits no order before it can be notified, and says that none was sent", async () => {
  for (const endpoint of ["token", "list_ipn", "register_ipn"] as const) {
    await using world = await start();
    const fault = { status: 500 };
    world.simulator.faults[endpoint].push(fault, fault, fault);

    const error = await failureOf(world.pesapal.startCheckout(newRequest()));

    deepEqual([error.outcome, error.code], ["not_sent", "http_500"], endpoint);
    equal(world.simulator.calls.submit, 0);
  }
});

Deno.test("startCheckout() says what is wrong with the account, and none of its secrets", async () => {
  await using world = await start({}, { env: { PESAPAL_CONSUMER_SECRET: "wrongSecret77" } });
  const { consumerKey } = PESAPAL_ACCOUNT;
  const echo = `key ${consumerKey} and secret wrongSecret77 are no good`;
  world.simulator.faults.token.push({ refusal: { code: "consumer_key_unknown", message: echo } });

  const echoed = await failureOf(world.pesapal.startCheckout(newRequest()));
  const error = await failureOf(world.pesapal.startCheckout(newRequest()));

  deepEqual([error.outcome, error.code], ["refused", "invalid_consumer_key_or_secret_provided"]);
  equal(
    echoed.message,
    "Cannot sign in: Pesapal says key [redacted] and secret [redacted] are no good",
  );
  ok(!world.shop.logLines.join().includes("wrongSecret77"));
});

Deno.test("startCheckout() takes a key that was pasted with white space around it", async () => {
  const { consumerKey, consumerSecret } = PESAPAL_ACCOUNT;
  await using world = await start({}, {
    env: {
      PESAPAL_CONSUMER_KEY: ` ${consumerKey}\n`,
      PESAPAL_CONSUMER_SECRET: `${consumerSecret} `,
    },
  });

  await world.pesapal.startCheckout(newRequest());

  equal(world.simulator.orders.length, 1);
});

for (const errorStatus of ["200", "fitting"] as const) {
  Deno.test(`startCheckout() signs in once more when its token is refused with status ${errorStatus}`, async () => {
    await using world = await start({ errorStatus });
    await world.pesapal.startCheckout(newRequest());
    world.simulator.revokeTokens();

    await world.pesapal.startCheckout(newRequest());

    const { token, submit } = world.simulator.calls;
    deepEqual([token, submit], [2, 3]);
    equal(world.simulator.orders.length, 2);
  });
}

Deno.test("startCheckout() gives up when a new token is refused, too", async () => {
  await using world = await start();
  await world.pesapal.startCheckout(newRequest());
  world.simulator.faults.submit.push({ status: 401 }, { status: 401 });

  const error = await failureOf(world.pesapal.startCheckout(newRequest()));

  deepEqual([error.outcome, error.code], ["refused", "unauthorized"]);
  deepEqual([world.simulator.calls.token, world.simulator.calls.submit], [2, 3]);
});

Deno.test("the token is asked for once when fifty need it, and again when it was refused to all", async () => {
  await using world = await start();
  const fifty = () =>
    Promise.all(
      Array.from({ length: 50 }, () => world.pesapal.startCheckout(newRequest())),
    );

  await fifty();
  const { token, list_ipn, register_ipn } = world.simulator.calls;
  world.simulator.revokeTokens();
  await fifty();

  deepEqual([token, list_ipn, register_ipn], [1, 1, 1]);
  equal(world.simulator.calls.token, 2);
  equal(world.simulator.orders.length, 100);
});

Deno.test("the token and the registered address are shared by the instances of one store", async () => {
  const folder = await Deno.makeTempDir();
  const KV_PATH = `${folder}/shop.kv`;
  {
    await using first = await start({}, { env: { KV_PATH } });
    const env = { ...first.simulator.environment, KV_PATH };
    using second = await openGatewayServices({ env });

    await first.pesapal.startCheckout(newRequest());
    await second.gateway("pesapal").startCheckout(newRequest());
    first.simulator.revokeTokens();
    await second.gateway("pesapal").startCheckout(newRequest());
    await first.pesapal.startCheckout(newRequest());

    const { token, list_ipn, register_ipn } = first.simulator.calls;
    deepEqual([token, list_ipn, register_ipn], [2, 1, 1]);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a token is used until a minute before it expires, whatever our clock says", async () => {
  for (const tokenLifeMs of [5 * MINUTE_MS, 60 * MINUTE_MS]) {
    await using world = await start({ tokenLifeMs });
    const tokens = async () => {
      await world.pesapal.startCheckout(newRequest());
      return world.simulator.calls.token;
    };

    const first = await tokens();
    world.shop.advance(tokenLifeMs - MINUTE_MS - 1);
    const before = await tokens();
    world.shop.advance(1);
    const after = await tokens();

    deepEqual([first, before, after], [1, 1, 2]);
  }
});

Deno.test("a token that does not say when it expires is good for four minutes at most", async () => {
  await using world = await start({ isExpirySaid: false });

  await world.pesapal.startCheckout(newRequest());
  world.shop.advance(4 * MINUTE_MS);
  await world.pesapal.startCheckout(newRequest());

  equal(world.simulator.calls.token, 2);
});

Deno.test("usableMs() leaves a minute, or half of a life that has no room for that", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 1e12 }), (lifeMs) => {
    const usable = usableMs(lifeMs);

    ok(usable < lifeMs && usable <= 24 * 60 * MINUTE_MS);
    ok(usable >= Math.floor(Math.min(lifeMs, 24 * 60 * MINUTE_MS) / 2));
    if (lifeMs >= 2 * MINUTE_MS) ok(lifeMs - usable >= MINUTE_MS);
  }));
  equal(usableMs(-5), usableMs(null));
});

Deno.test("an address is found again in Pesapal's list, and registered again when Pesapal has lost it", async () => {
  await using world = await start();
  await world.pesapal.startCheckout(newRequest());
  // Its store is another one, and knows nothing yet.
  using forgetful = await openGatewayServices({ env: world.simulator.environment });

  await forgetful.gateway("pesapal").startCheckout(newRequest());
  const { register_ipn } = world.simulator.calls;
  world.simulator.registrations.length = 0;
  const error = await failureOf(forgetful.gateway("pesapal").startCheckout(newRequest()));
  await forgetful.gateway("pesapal").startCheckout(newRequest());

  equal(register_ipn, 1);
  deepEqual([error.outcome, error.code], ["refused", "invalid_notification_id"]);
  equal(world.simulator.calls.register_ipn, 2);
});

Deno.test("an address that is listed for another method is not ours", async () => {
  await using world = await start({ listAs: "full" });
  const url = `${SHOP}/payments/pesapal/ipn`;
  const ipnId = crypto.randomUUID();
  world.simulator.registrations.push({ ipnId, url, type: "GET", createdAt: TEST_START });

  await world.pesapal.startCheckout(newRequest());

  deepEqual(world.simulator.registrations.map(({ type }) => type), ["GET", "POST"]);
});

/** A payment that was begun. */
async function begun(world: Fixture, amount = PRICE) {
  const request = newRequest({ amount });
  const { trackingId } = await world.pesapal.startCheckout(request);
  const { reference } = request;
  return {
    order: world.simulator.order(reference),
    payment: { reference, trackingId, amount },
  };
}

const HABITS: Partial<PesapalBehaviour>[] = [
  {},
  { descriptions: "upper", statusAs: "number", noError: "all_null", amountDigits: 0 },
  { errorTypeName: "type", unpaidAs: "plain", amountDigits: 1 },
];

for (const [i, habits] of HABITS.entries()) {
  Deno.test(`queryStatus() tells each state from the others, by habit ${i + 1} of Pesapal's`, async () => {
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

Deno.test("queryStatus() tells what was paid, not what was asked for", async () => {
  await using world = await start();
  const { order, payment } = await begun(world);
  await order.complete({ amount: 1, currency: "KES" });

  const confirmation = await world.pesapal.queryStatus(payment);

  deepEqual(confirmation?.amount, { currency: "KES", minor: 100 });
});

Deno.test("queryStatus() does not know what becomes of a payment that Pesapal does not know", async () => {
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

Deno.test("queryStatus() cannot ask without a tracking id, and puts none but a GUID into an address", async () => {
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

Deno.test("queryStatus() stops asking a Pesapal that is down, and asks it again after a while", async () => {
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

Deno.test("queryStatus() of one that is given up does not keep the others from a token", async () => {
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

Deno.test("confirmationOf() calls nothing completed that is not said to be so by all of an answer", () => {
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

Deno.test("confirmationOf() knows no amount that is not one of ours", () => {
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

Deno.test("confirmationOf() never throws, nor completes, whatever is said", () => {
  fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), (body, error) => {
    const answer = typeof body === "object" && body !== null ? { ...body, error } : body;

    equal(confirmationOf(answer).state === "completed", false);
  }));
});

Deno.test("refund() asks for money to go back, once, and reversal shows when it has", async () => {
  await using world = await start();
  const { order, payment } = await begun(world);
  await order.complete({ method: "Visa" });
  const { confirmationCode } = order;
  const half = { currency: "TZS", minor: 75_000 } as const;
  const refund = (amount: Money) =>
    world.pesapal.refund({ confirmationCode, amount, by: "op_1", reason: "Broken" });

  const taken = await refund(half);
  const { outcome, code, message } = await failureOf(refund(half));

  deepEqual(taken, { message: "Refund request successfully" });
  equal(order.refundAsked, 750);
  deepEqual([outcome, code], ["refused", "refund_refused"]);
  match(message, /Refund rejected/);
  equal((await world.pesapal.queryStatus(payment))?.state, "completed");
  await order.reverse();
  equal((await world.pesapal.queryStatus(payment))?.state, "reversed");
});

Deno.test("refund() does not know the outcome when the answer is lost, and never repeats it", async () => {
  await using world = await start();
  const { order } = await begun(world);
  await order.complete();
  const { confirmationCode } = order;
  const request = { confirmationCode, amount: PRICE, by: "op_1", reason: "Broken" };
  for (const fault of ["drop", { status: 200, body: { message: "Hm" } }] as const) {
    world.simulator.faults.refund.push(fault);

    equal((await failureOf(world.pesapal.refund(request))).outcome, "unknown");
  }
  equal(world.simulator.calls.refund, 2);
});

Deno.test("cancel() ends an order that is not paid, once, and none that is", async () => {
  await using world = await start();
  const open = await begun(world);
  const paid = await begun(world);
  await paid.order.complete();
  const cancel = (trackingId: string) => world.pesapal.cancel({ trackingId });

  deepEqual(
    [
      await cancel(open.order.trackingId),
      await cancel(open.order.trackingId),
      await cancel(paid.order.trackingId),
    ],
    [true, false, false],
  );
  ok(open.order.isCancelled);
});

const TRACKING_ID = "b945e4af-80a5-4ec1-8706-e03f8332fb04";
const REFERENCE = newId(TEST_START);

function incoming(fields: Partial<IncomingCall>): IncomingCall {
  return { method: "GET", query: new URLSearchParams(), contentType: "", body: "", ...fields };
}

Deno.test("readNotification() reads a query, JSON and a form, however names are spelt", async () => {
  await using world = await start();
  const { pesapal } = world;
  const values = {
    OrderTrackingId: TRACKING_ID,
    OrderMerchantReference: REFERENCE,
    OrderNotificationType: "IPNCHANGE",
  };
  const lower = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const form = "application/x-www-form-urlencoded";
  const calls = [values, lower].flatMap((fields) => [
    incoming({ query: new URLSearchParams(fields) }),
    incoming({ method: "POST", contentType: "application/json", body: JSON.stringify(fields) }),
    incoming({
      method: "POST",
      contentType: `${form}; charset=utf-8`,
      body: String(new URLSearchParams(fields)),
    }),
  ]);

  for (const call of calls) {
    deepEqual(await pesapal.readNotification(call), {
      reference: REFERENCE,
      trackingId: TRACKING_ID,
      kind: "IPNCHANGE",
      confirmation: null,
    });
  }
});

Deno.test("readNotification() takes nothing that Pesapal would not have written", async () => {
  await using world = await start();
  const good = `OrderTrackingId=${TRACKING_ID}&OrderMerchantReference=${REFERENCE}`;
  const type = "&OrderNotificationType=IPNCHANGE";
  const queries = [
    "",
    good,
    `${good}&OrderNotificationType=PAID`,
    `OrderTrackingId=1${type}&OrderMerchantReference=${REFERENCE}`,
    `OrderTrackingId=${TRACKING_ID}%26a=b${type}&OrderMerchantReference=${REFERENCE}`,
    `OrderTrackingId=${TRACKING_ID}&OrderMerchantReference=INV-1${type}`,
    `${good}${type}&ordermerchantreference=${newId(TEST_START)}`,
  ];
  const bodies = ["null", "[]", "1", "{", `{"OrderTrackingId":{"a":1}}`];

  for (const query of queries) {
    const call = incoming({ query: new URLSearchParams(query) });
    equal(await world.pesapal.readNotification(call), null, query);
  }
  for (const body of bodies) {
    const call = incoming({ method: "POST", contentType: "application/json", body });
    equal(await world.pesapal.readNotification(call), null, body);
  }
  ok(await world.pesapal.readNotification(incoming({ query: new URLSearchParams(good + type) })));
});

Deno.test("answerOf() says what Pesapal waits for, byte for byte", async () => {
  await using world = await start();
  const { pesapal } = world;
  const query = new URLSearchParams({
    OrderTrackingId: TRACKING_ID,
    OrderMerchantReference: REFERENCE,
    OrderNotificationType: "RECURRING",
  });
  const notification = await pesapal.readNotification(incoming({ query }));

  const stored = pesapal.answerOf(notification, true);
  const lost = pesapal.answerOf(notification, false);
  const strange = pesapal.answerOf(null, false);

  equal(stored.status, 200);
  equal(
    JSON.stringify(stored.body),
    `{"orderNotificationType":"RECURRING","orderTrackingId":"${TRACKING_ID}","orderMerchantReference":"${REFERENCE}","status":200}`,
  );
  deepEqual([lost.status, lost.body.status], [500, 500]);
  deepEqual([strange.status, strange.body.status], [400, 500]);
});

Deno.test("a whole flow leaves no secret, no address with an id and nobody's name in the log", async () => {
  await using world = await start();
  const { simulator, pesapal, shop } = world;
  simulator.faults.token.push({ status: 503 });
  simulator.faults.status.push("drop", "html");
  simulator.faults.submit.push("drop");
  await failureOf(pesapal.startCheckout(newRequest()));
  const { order, payment } = await begun(world);
  await order.complete();
  await pesapal.queryStatus(payment);
  const { confirmationCode } = order;
  await pesapal.refund({ confirmationCode, amount: PRICE, by: "op", reason: "Broken" });
  await pesapal.cancel({ trackingId: order.trackingId });

  const log = shop.logLines.join("\n");
  ok(log.includes("gateway.call_failed"));
  const { consumerKey, consumerSecret } = PESAPAL_ACCOUNT;
  const secrets = [
    consumerKey,
    consumerSecret,
    "eyJ",
    "PesapalIframe3",
    order.trackingId,
    payment.reference,
    "shop.example.com",
    simulator.origin,
    "asha",
    "Mushi",
    "712345678",
    confirmationCode,
  ];
  deepEqual(secrets.filter((secret) => log.includes(secret)), []);
});
