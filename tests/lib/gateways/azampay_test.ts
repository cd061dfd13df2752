import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import type { Money } from "../../../lib/money.ts";
import {
  type CheckoutRequest,
  GatewayError,
  MOBILE_PROVIDERS,
  type MobileProvider,
} from "../../../lib/gateways/mod.ts";
import { HOUR_MS } from "../../../lib/time.ts";
import { validationProblem } from "../../support/gateways/azampay_contract.ts";
import { AZAMPAY_ACCOUNT } from "../../support/gateways/azampay_push.ts";
import type { Fault } from "../../support/gateways/azampay_simulator.ts";
import {
  type AzamPayShop,
  PAYER_PHONE,
  startAzamPayShop,
} from "../../support/gateways/azampay_shop.ts";

function shillings(amount: number): Money {
  return { currency: "TZS", minor: amount * 100 };
}

/** How starting a payment ended: what a use case goes by. */
async function outcomeOf(
  shop: AzamPayShop,
  changes: Partial<CheckoutRequest> = {},
): Promise<[string, string]> {
  try {
    await shop.gateway.startCheckout(shop.request(changes));
    return ["accepted", ""];
  } catch (error) {
    ok(error instanceof GatewayError, String(error));
    ok(!error.message.includes(PAYER_PHONE.slice(1)), error.message);
    return [error.outcome, error.code];
  }
}

Deno.test("AzamPay.startCheckout() sends a push for whole shillings to the telephone, and pays nothing itself", async () => {
  await using shop = await startAzamPayShop();
  const { gateway, simulator } = shop;
  simulator.behaviour.apiKeyAt = { token: true, checkout: true };
  const request = shop.request();

  const checkout = await gateway.startCheckout(request);

  const { transactionId, accountNumber, amount, externalId, provider, state } = simulator.push(
    request.reference,
  );
  deepEqual(checkout, { trackingId: transactionId, redirectUrl: null });
  deepEqual([accountNumber, amount, externalId, provider, state], [
    "255712345678",
    15_000,
    request.reference,
    "Mpesa",
    "waiting",
  ]);
  deepEqual(simulator.calls, { token: 1, checkout: 1, public_key: 0, partners: 0 });
  deepEqual(simulator.paid, []);
});

Deno.test("AzamPay.startCheckout() returns no tracking id when AzamPay sends none", async () => {
  await using shop = await startAzamPayShop();
  shop.simulator.behaviour.isIdWithheld = true;

  deepEqual(await shop.gateway.startCheckout(shop.request()), {
    trackingId: null,
    redirectUrl: null,
  });
});

Deno.test("AzamPay.refusalOf() accepts whole Tanzanian shillings up to five million, as AzamPay does", async () => {
  await using shop = await startAzamPayShop();
  const { gateway, simulator } = shop;
  const good = [shillings(1), shillings(1_000), shillings(5_000_000)];
  const bad: Money[] = [
    shillings(5_000_001),
    shillings(0),
    shillings(-5),
    { currency: "TZS", minor: 150_050 },
    { currency: "TZS", minor: 99 },
    { currency: "USD", minor: 10_000 },
    { currency: "KES", minor: 10_000 },
  ];

  const refusals = bad.map((amount) => gateway.refusalOf(amount));
  for (const amount of good) await shop.checkout({ amount });
  const outcomes = [];
  for (const amount of bad) outcomes.push(await outcomeOf(shop, { amount }));

  deepEqual(good.map((amount) => gateway.refusalOf(amount)), [null, null, null]);
  ok(refusals.every((refusal) => refusal?.startsWith("Mobile money accepts ")), String(refusals));
  equal(refusals[0], "Mobile money accepts at most TZS\u00a05,000,000 per payment");
  deepEqual(simulator.pushes.map(({ amount }) => amount), [1, 1_000, 5_000_000]);
  deepEqual(outcomes, bad.map(() => ["refused", "amount"]));
  equal(simulator.calls.checkout, good.length);
});

Deno.test("AzamPay.startCheckout() sends pushes only to mobile numbers of Tanzania, with a named provider", async () => {
  await using shop = await startAzamPayShop();
  const { simulator } = shop;
  const payer = (phone: string | null) => ({ name: "Asha", email: null, phone });
  const good = ["+255612345678", "+255692345678", "+255712345678", "+255782345678"];
  const bad = [
    null,
    "",
    "0712345678",
    "255712345678",
    "+255222345678",
    "+255602345678",
    "+255792345678",
    "+25571234567",
    "+2557123456789",
    "+254712345678",
    " +255712345678",
    "+255712345678\n",
  ];

  const accepted = [];
  for (const phone of good) accepted.push(await outcomeOf(shop, { payer: payer(phone) }));
  const refused = [];
  for (const phone of bad) refused.push(await outcomeOf(shop, { payer: payer(phone) }));
  const providers = [];
  for (const provider of MOBILE_PROVIDERS) {
    providers.push((await shop.checkout({ provider })).provider);
  }
  const { provider: _, ...unnamed } = shop.request();
  // What reaches us as JSON may be misspelt, whatever its type says.
  const misspelt: MobileProvider = JSON.parse('"AzamPesa"');

  deepEqual(accepted, good.map(() => ["accepted", ""]));
  deepEqual(refused, bad.map(() => ["refused", "phone"]));
  deepEqual(providers, ["Mpesa", "Tigo", "Airtel", "Halopesa", "Azampesa"]);
  await rejects(shop.gateway.startCheckout(unnamed), { outcome: "refused", code: "provider" });
  deepEqual(await outcomeOf(shop, { provider: misspelt }), ["refused", "provider"]);
  equal(simulator.calls.checkout, good.length + providers.length);
});

Deno.test("AzamPay.startCheckout() treats every refusal as one, also with a success status", async () => {
  await using shop = await startAzamPayShop();
  const { simulator } = shop;
  const answers: [Fault, string][] = [
    [{ refusal: "Insufficient balance" }, "not_accepted"],
    [{ status: 400, body: validationProblem({ amount: ["Bad"] }) }, "http_400"],
    [{ status: 403, body: { message: "Forbidden" } }, "http_403"],
    [{ status: 404, body: {} }, "http_404"],
    [{ status: 409, body: { success: false, message: "Duplicate" } }, "http_409"],
    [{ status: 423, body: { success: false, statusCode: 423 } }, "http_423"],
    [{ status: 429, body: {} }, "rate_limited"],
  ];

  const outcomes = [];
  for (const [fault] of answers) {
    simulator.faults.checkout.push(fault);
    outcomes.push(await outcomeOf(shop));
  }

  deepEqual(outcomes, answers.map(([, code]) => ["refused", code]));
  equal(simulator.calls.checkout, answers.length);
  deepEqual(simulator.pushes, []);
  equal(shop.gateway.breaker, "closed");
});

Deno.test("AzamPay.startCheckout() reports which fields were refused, without their values", async () => {
  await using shop = await startAzamPayShop();
  const errors = {
    accountNumber: ["255712345678 of asha@example.com is not valid."],
    "<script>": [""],
  };
  shop.simulator.faults.checkout.push({ status: 400, body: validationProblem(errors) }, {
    refusal: "255712345678 is unknown, see https://azampay.example/x?token=eyJhbGciOiJIUzI1NiJ9",
  });

  const fields = await shop.gateway.startCheckout(shop.request()).catch(({ message }) => message);
  const words = await shop.gateway.startCheckout(shop.request()).catch(({ message }) => message);

  equal(fields, "AzamPay refused the payment for its accountNumber, <script>");
  ok(words.startsWith("AzamPay refused the payment: "), words);
  ok(!/255712345678|eyJ|azampay\.example/.test(words), words);
});

Deno.test("AzamPay.startCheckout() never repeats a push whose outcome is unknown", async () => {
  await using shop = await startAzamPayShop({ policy: { failuresMax: 100 } });
  const { simulator } = shop;
  const faults: [Fault, string][] = [
    [{ status: 500 }, "http_500"],
    [{ status: 500, body: { message: "Oops" } }, "http_500"],
    [{ status: 502, body: "<html>Bad gateway</html>" }, "http_502"],
    [{ status: 503 }, "http_503"],
    [{ status: 200 }, "not_json"],
    [{ status: 200, body: "<html>Welcome</html>" }, "not_json"],
    [{ status: 200, body: {} }, "bad_answer"],
    [{ status: 200, body: [] }, "bad_answer"],
    [{ status: 200, body: { success: "true", transactionId: "x" } }, "bad_answer"],
    [{ status: 202, body: { success: true, transactionId: "x" } }, "bad_answer"],
    [{ status: 302 }, "redirected"],
    [{ status: 408, body: {} }, "bad_answer"],
    ["break", "disconnected"],
    ["drop", "disconnected"],
  ];

  const outcomes = [];
  for (const [fault] of faults) {
    simulator.faults.checkout.push(fault);
    outcomes.push(await outcomeOf(shop));
  }

  deepEqual(outcomes, faults.map(([, code]) => ["unknown", code]));
  equal(simulator.calls.checkout, faults.length);
  // The one whose answer was dropped.
  equal(simulator.pushes.length, 1);
});

Deno.test("AzamPay.startCheckout() reports an unknown outcome after a timeout or an abort by the caller", async () => {
  await using shop = await startAzamPayShop({ policy: { timeoutMs: 100 } });
  const { gateway, simulator } = shop;
  await shop.checkout();
  simulator.faults.checkout.push("hold", "hold");

  const slow = await outcomeOf(shop);
  const giveUp = new AbortController();
  const asking = gateway.startCheckout(shop.request(), giveUp.signal);
  giveUp.abort();

  deepEqual(slow, ["unknown", "timeout"]);
  await rejects(asking, { name: "GatewayError", code: "aborted" });
  equal(simulator.calls.checkout, simulator.pushes.length);
});

Deno.test("AzamPay.startCheckout() retries once with a new token when its token is refused", async () => {
  await using shop = await startAzamPayShop();
  const { simulator } = shop;
  await shop.checkout();

  simulator.revokeTokens();
  const renewed = await outcomeOf(shop);
  const calls = { ...simulator.calls };
  simulator.faults.checkout.push({ status: 401 }, { status: 401 });
  const refused = await outcomeOf(shop);

  deepEqual(renewed, ["accepted", ""]);
  deepEqual([calls.token, calls.checkout], [2, 3]);
  deepEqual(refused, ["refused", "http_401"]);
  deepEqual([simulator.calls.token, simulator.calls.checkout], [3, 5]);
  equal(simulator.pushes.length, 2);
});

Deno.test("AzamPay.startCheckout() sends no push without a token, and reports that none was sent", async () => {
  await using shop = await startAzamPayShop({ policy: { failuresMax: 100 } });
  const { simulator } = shop;
  const faults: [Fault, string[]][] = [
    [{ status: 500 }, ["not_sent", "http_500"]],
    [{ status: 200, body: "<html>" }, ["not_sent", "not_json"]],
    ["break", ["not_sent", "disconnected"]],
    [{ status: 423, body: { success: false, message: "No" } }, ["refused", "sign_in"]],
    [{ status: 400, body: validationProblem({ appName: ["No"] }) }, ["refused", "sign_in"]],
    [{ status: 200, body: { success: false, data: null } }, ["refused", "sign_in"]],
    [{ status: 200, body: { success: true, data: { accessToken: "" } } }, ["refused", "sign_in"]],
  ];

  const outcomes = [];
  for (const [fault] of faults) {
    // As often as a call that may be repeated is made.
    simulator.faults.token = [fault, fault, fault];
    outcomes.push(await outcomeOf(shop));
  }
  simulator.faults.token = [{ status: 500 }];
  const healed = await outcomeOf(shop);

  deepEqual(outcomes, faults.map(([, outcome]) => outcome));
  deepEqual(healed, ["accepted", ""]);
  equal(simulator.calls.checkout, 1);
});

Deno.test("fifty simultaneous AzamPay checkouts request one token, and another when it expires", async () => {
  await using shop = await startAzamPayShop();
  const { simulator } = shop;

  await Promise.all(Array.from({ length: 50 }, () => shop.checkout()));
  const first = simulator.calls.token;
  shop.advance(HOUR_MS - 2 * 60_000);
  await shop.checkout();
  const still = simulator.calls.token;
  shop.advance(2 * 60_000);
  await shop.checkout();

  deepEqual([first, still, simulator.calls.token], [1, 1, 2]);
  equal(simulator.pushes.length, 52);
});

Deno.test("the instances of one store share AzamPay's token and key", async () => {
  const kvPath = await Deno.makeTempFile();
  await using one = await startAzamPayShop({ env: { KV_PATH: kvPath } });
  const { simulator } = one;
  await using other = await startAzamPayShop({ env: { KV_PATH: kvPath }, simulator });
  const push = await one.checkout();
  await one.read(await push.callback("success"));

  await other.checkout();
  const read = await other.read(await push.callback("success"));

  equal(read?.confirmation?.state, "completed");
  deepEqual([simulator.calls.token, simulator.calls.public_key], [1, 1]);
});

Deno.test("AzamPay is not called after five failures", async () => {
  await using shop = await startAzamPayShop();
  const { gateway, simulator } = shop;
  await shop.checkout();
  simulator.faults.checkout = Array.from({ length: 5 }, () => "break" as const);
  for (let i = 0; i < 5; i++) await outcomeOf(shop);

  const refused = await outcomeOf(shop);

  deepEqual(refused, ["not_sent", "down"]);
  equal(gateway.breaker, "open");
  equal(simulator.calls.checkout, 6);
});

Deno.test("AzamPay supports no status queries, refunds or cancellations, and is not called for them", async () => {
  await using shop = await startAzamPayShop();
  const { gateway, simulator } = shop;
  const { reference, amount } = shop.request();

  const answers = [
    await gateway.queryStatus({ reference, trackingId: "x", amount }),
    await gateway.refund({ confirmationCode: "x", amount, by: "operator", reason: "none" }),
    await gateway.cancel({ trackingId: "x" }),
  ];

  deepEqual(answers, [null, null, false]);
  deepEqual(simulator.calls, { token: 0, checkout: 0, public_key: 0, partners: 0 });
  deepEqual([gateway.name, gateway.isMobileMoney, gateway.breaker], ["azampay", true, "closed"]);
});

Deno.test("AzamPay logs no secrets and no telephone numbers, whatever happens", async () => {
  await using shop = await startAzamPayShop({ policy: { failuresMax: 100 } });
  const { simulator, logLines } = shop;
  const echo = `${AZAMPAY_ACCOUNT.clientSecret} ${AZAMPAY_ACCOUNT.apiKey} ${PAYER_PHONE}`;
  const { apiKey, clientSecret } = AZAMPAY_ACCOUNT;
  const said = { success: false, message: `Bad ${echo}` };

  simulator.faults.token = [{ status: 423, body: said }];
  const errors = [await shop.gateway.startCheckout(shop.request()).catch(String)];
  for (
    const fault of [{ status: 400, body: said }, { refusal: echo }, { status: 500, body: said }]
  ) {
    simulator.faults.checkout.push(fault);
    errors.push(await shop.gateway.startCheckout(shop.request()).catch(String));
  }
  const push = await shop.checkout();
  const bodies = await Promise.all([
    push.callback("success"),
    push.callback("failure", { body: { message: `Payer ${PAYER_PHONE} said no` } }),
    push.callback("success", { signing: "forged" }),
    push.callback("success", { signing: "unsigned" }),
  ]);
  const read = [];
  for (const body of bodies) read.push(await shop.read(body));

  const disclosed = [...logLines, ...errors, JSON.stringify(read)].join("\n");
  const hidden = {
    phone: PAYER_PHONE.slice(1),
    clientSecret,
    apiKey,
    clientId: AZAMPAY_ACCOUNT.clientId,
    user: bodies[0].user,
    password: bodies[0].password,
    token: "eyJ",
    signature: bodies[0].signature!,
  };
  for (const [name, value] of Object.entries(hidden)) {
    ok(!disclosed.includes(value), `${name}: ${disclosed}`);
  }
  ok(logLines.some((line) => line.includes("azampay.callback_unproven")));
  ok(logLines.some((line) => line.includes('"azampay.callback"')));
  equal(errors.length, 4);
});

Deno.test("AzamPay errors do not repeat credentials that an answer contains, however short", async () => {
  const env = { AZAMPAY_CLIENT_SECRET: "hunter2", AZAMPAY_API_KEY: "swordfish" };
  await using shop = await startAzamPayShop({ env });
  const message = "No app WeTech test shop with hunter2 and swordfish";
  shop.simulator.faults.token.push({ status: 423, body: { success: false, message } });

  const error = await shop.gateway.startCheckout(shop.request()).catch(String);

  equal(
    error,
    "GatewayError: Cannot sign in: azampay refused with status 423: " +
      "No app [redacted] with [redacted] and [redacted]",
  );
});
