/** Checkout at Pesapal: what is submitted, which answers count, and when the outcome is unknown. */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { CURRENCIES, formatMajor, MINOR_MAX, type Money } from "../../../lib/money.ts";
import { IMPATIENT } from "../../support/gateways/gateway_services.ts";
import { PESAPAL_ACCOUNT } from "../../support/gateways/pesapal_behaviour.ts";
import { begun, failureOf, newRequest, PRICE, SHOP, start } from "./_pesapal.ts";

Deno.test("startCheckout() submits a complete order, and returns the payment page", async () => {
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

Deno.test("startCheckout() requests the exact amount, in every currency and size", async () => {
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

Deno.test("startCheckout() sends nothing for a payment that Pesapal cannot accept", async () => {
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
  equal(pesapal.refusalOf({ currency: "EUR", minor: 100 }), "Pesapal does not accept EUR");
  equal(pesapal.refusalOf(PRICE), null);
});

Deno.test("startCheckout() treats an error with status 200 as a refusal, and reports its message", async () => {
  for (const errorTypeName of ["error_type", "type"] as const) {
    await using world = await start({ amountMax: 1_000, errorTypeName });

    const error = await failureOf(world.pesapal.startCheckout(newRequest()));

    deepEqual([error.outcome, error.code], ["refused", "amount_exceeds_default_limit"]);
    match(error.message, /The amount exceeds your limit/);
    equal(world.simulator.orders.length, 0);
  }
});

Deno.test("startCheckout() reports the error code when the message is empty", async () => {
  await using world = await start();
  world.simulator.faults.submit.push({ refusal: { code: "account_suspended" } });

  const error = await failureOf(world.pesapal.startCheckout(newRequest()));

  deepEqual([error.outcome, error.code], ["refused", "account_suspended"]);
  match(error.message, /account_suspended/);
});

Deno.test("startCheckout() reports a reference that was used before", async () => {
  await using world = await start();
  const request = newRequest();
  await world.pesapal.startCheckout(request);

  const error = await failureOf(world.pesapal.startCheckout(request));

  deepEqual([error.outcome, error.code], ["refused", "duplicate_merchant_reference"]);
});

for (const redirect of ["null", "empty", "http", "foreign"] as const) {
  Deno.test(`startCheckout() redirects no payer to an address that is ${redirect}`, async () => {
    await using world = await start({ redirect });

    const error = await failureOf(world.pesapal.startCheckout(newRequest()));

    deepEqual([error.outcome, error.code], ["unknown", "bad_address"]);
  });
}

Deno.test("startCheckout() refuses an answer about another payment", async () => {
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
  Deno.test(`startCheckout() reports an unknown outcome for an order ${what}, and never repeats it`, async () => {
    await using world = await start();
    world.simulator.faults.submit.push(fault);

    const error = await failureOf(world.pesapal.startCheckout(newRequest()));

    deepEqual([error.outcome, error.code], ["unknown", code]);
    equal(world.simulator.calls.submit, 1);
    equal(world.simulator.orders.length, orders);
  });
}

Deno.test("startCheckout() reports an unknown outcome for an order whose answer is too late", async () => {
  await using world = await start({}, { policy: { ...IMPATIENT, timeoutMs: 200 } });
  world.simulator.faults.submit.push("hold");

  const error = await failureOf(world.pesapal.startCheckout(newRequest()));

  deepEqual([error.outcome, error.code], ["unknown", "timeout"]);
  equal(world.simulator.calls.submit, 1);
});

Deno.test("startCheckout() submits no order before its notification address is registered, and reports that none was sent", async () => {
  for (const endpoint of ["token", "list_ipn", "register_ipn"] as const) {
    await using world = await start();
    const fault = { status: 500 };
    world.simulator.faults[endpoint].push(fault, fault, fault);

    const error = await failureOf(world.pesapal.startCheckout(newRequest()));

    deepEqual([error.outcome, error.code], ["not_sent", "http_500"], endpoint);
    equal(world.simulator.calls.submit, 0);
  }
});

Deno.test("startCheckout() reports what is wrong with the account, without its secrets", async () => {
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

Deno.test("startCheckout() accepts a key with white space around it", async () => {
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

Deno.test("a whole payment leaves no secret, no address with an id and no personal data in the log", async () => {
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
