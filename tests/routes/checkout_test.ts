/**
 * An attempt to pay is stored before the gateway hears of it, is never repeated,
 * and no payer is asked twice for one thing.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { MINUTE_MS } from "../../lib/time.ts";
import { TEST_START } from "../support/program/app.ts";
import { assertProblem } from "../support/program/answers.ts";
import { asAdmin, leavesStoreAlone } from "../support/program/shop.ts";
import { checkedBooks, startGatewayTill, startTill, TOTAL } from "../support/program/till.ts";
import { until } from "../support/program/until.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
const PESAPAL = { gateway: "pesapal" };
const PHONE = { gateway: "azampay", provider: "Mpesa" };

Deno.test("POST checkout sends the payer to Pesapal for what is owed", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  await app.payByHand(invoice, 1_000_00);

  const { status, headers, body } = await app.checkout(invoice, PESAPAL);

  equal(status, 201);
  equal(headers.get("location"), `/api/v2/payments/${body.id}`);
  const order = app.pesapal.order(body.id);
  deepEqual(
    [body.status, body.channel, body.amountMinor, body.receivedMinor, body.problem],
    ["pending", "pesapal", TOTAL - 1_000_00, 0, null],
  );
  deepEqual([body.trackingId, body.redirectUrl], [order.trackingId, order.pageUrl]);
  equal(body.nextCheckAt, TEST_START + MINUTE_MS / 2);
  const { request } = order;
  deepEqual(
    [request.id, request.amount, request.currency, request.description],
    [body.id, 9_000, "TZS", `Invoice ${invoice.number}`],
  );
  equal(request.callback_url, `${app.relay.url}/payments/pesapal/callback`);
  deepEqual(
    app.pesapal.registrations.map(({ url }) => url),
    [`${app.relay.url}/payments/pesapal/ipn`],
  );
  deepEqual((await asAdmin(app, "GET", `/api/v2/payments/${body.id}`)).body, body);
  await checkedBooks(app, invoice.id);
});

Deno.test("POST checkout asks a telephone by AzamPay, the buyer's or another", async () => {
  await using app = await startGatewayTill();

  const own = await app.payByPhone(await app.bill());
  const other = await app.payByPhone(await app.bill(), { phone: "0754 111 222" });

  equal(app.azampay.push(own.id).accountNumber, "255712345678");
  equal(app.azampay.push(other.id).accountNumber, "255754111222");
  deepEqual([own.status, own.redirectUrl, own.payerPhone], ["pending", null, "+255712345678"]);
  equal(own.trackingId, app.azampay.push(own.id).transactionId);
});

Deno.test("an attempt is stored before the gateway hears of it, to be asked about", async () => {
  await using app = await startGatewayTill({ gatewayPolicy: { timeoutMs: 10_000 } });
  const invoice = await app.bill();
  app.pesapal.faults.submit.push("hold");

  const answer = app.checkout(invoice, PESAPAL);
  await until(() => app.pesapal.orders.length === 1);
  const { payments: [stored] } = await checkedBooks(app, invoice.id);
  app.pesapal.release();

  deepEqual([stored?.status, stored?.trackingId], ["created", null]);
  ok(stored!.nextCheckAt! > TEST_START);
  equal((await answer).body.id, stored?.id);
});

Deno.test("the page that a payer was sent to is handed out again for the same amount", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const first = await app.payAtPesapal(invoice);

  app.advance(19 * MINUTE_MS);
  const again = await app.payAtPesapal(invoice);
  const part = await app.payAtPesapal(invoice, { amountMinor: 500_00 });
  app.advance(21 * MINUTE_MS);
  const later = await app.payAtPesapal(invoice, { amountMinor: 500_00 });

  deepEqual(again, first);
  equal(new Set([first.id, part.id, later.id]).size, 3);
  equal(app.pesapal.orders.length, 3);
});

Deno.test("a telephone is not asked again while it is being asked", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  await app.payByPhone(invoice);

  app.advance(MINUTE_MS);
  const early = await leavesStoreAlone(app, () => app.checkout(invoice, PHONE));
  app.advance(MINUTE_MS);
  const later = await app.checkout(invoice, PHONE);

  assertProblem(early, 409, "conflict");
  equal(early.headers.get("retry-after"), "60");
  equal(later.status, 201);
  equal(app.azampay.pushes.length, 2);
});

Deno.test("a telephone that said no can be asked again at once", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const first = await app.payByPhone(invoice);
  await app.azampay.push(first.id).decline();

  const second = await app.payByPhone(invoice);
  await app.azampay.push(second.id).approve();

  equal((await checkedBooks(app, invoice.id)).invoice.status, "paid");
});

for (const wanted of [PESAPAL, PHONE]) {
  Deno.test(`20 clicks at once begin one payment by ${wanted.gateway}`, async () => {
    await using app = await startGatewayTill();
    const invoice = await app.bill();

    const answers = await Promise.all(
      Array.from({ length: 20 }, () => app.checkout(invoice, wanted)),
    );

    equal(app.pesapal.orders.length + app.azampay.pushes.length, 1);
    const { payments } = await checkedBooks(app, invoice.id);
    equal(payments.length, 1);
    ok(answers.every(({ status }) => status === 201 || status === 409));
    ok(answers.some(({ status }) => status === 201));
  });
}

Deno.test("an Idempotency-Key names one attempt, whatever became of it", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const begin = (key: string) => app.checkout(invoice, PHONE, { "idempotency-key": key });

  const first = await begin("click");
  const again = await begin("click");
  app.advance(60 * MINUTE_MS);
  const later = await begin("click");
  const other = await app.checkout(invoice, PESAPAL, { "idempotency-key": "click" });

  equal(again.text, first.text);
  equal(again.headers.get("idempotency-replayed"), "true");
  equal(later.body.id, first.body.id);
  equal(app.azampay.pushes.length, 1);
  assertProblem(other, 422, "idempotency_key_reused");
});

Deno.test("invoices that are not to be paid are not, and no gateway hears of it", async () => {
  await using app = await startGatewayTill();
  const draft = await app.bill({ draft: true });
  const gone = await app.bill();
  await app.send(`/api/v2/invoices/${gone.id}/void`, { reason: "x" });
  const paid = await app.bill();
  await app.payByHand(paid, TOTAL);

  for (const invoice of [draft, gone, paid]) {
    for (const wanted of [PESAPAL, PHONE]) {
      const answer = await leavesStoreAlone(app, () => app.checkout(invoice, wanted));
      assertProblem(answer, 409, "conflict");
    }
  }
  assertProblem(await app.checkout({ id: UNKNOWN_ID }, PESAPAL), 404, "not_found");
  equal(app.pesapal.orders.length + app.azampay.pushes.length, 0);
});

Deno.test("what a gateway cannot take is not asked of it", async () => {
  await using app = await startGatewayTill();
  const bill = (unitMinor: number, currency = "TZS") =>
    app.bill({ lines: [{ description: "x", quantity: 1, unitMinor }], currency });
  const cases: [{ id: string }, object, string[]][] = [
    [await bill(TOTAL), { ...PESAPAL, amountMinor: TOTAL + 1 }, ["amountMinor"]],
    [await bill(TOTAL), { ...PESAPAL, amountMinor: 0 }, ["amountMinor"]],
    [await bill(500_000_100), PHONE, ["gateway"]],
    [await bill(1_050), PHONE, ["gateway"]],
    [await bill(1_000, "KES"), PHONE, ["gateway"]],
    [await bill(1_000, "EUR"), PESAPAL, ["gateway"]],
    [await bill(TOTAL), { ...PHONE, phone: "12" }, ["phone"]],
    [await bill(TOTAL), { gateway: "azampay" }, ["provider"]],
    [await bill(TOTAL), { ...PHONE, provider: "AzamPesa" }, ["provider"]],
    [await bill(TOTAL), { gateway: "mpesa" }, ["gateway"]],
    [await bill(TOTAL), { ...PESAPAL, status: "completed" }, ["status"]],
  ];

  for (const [invoice, wanted, paths] of cases) {
    const answer = await leavesStoreAlone(
      app,
      () => app.checkout(invoice, wanted as Record<string, unknown>),
    );
    assertProblem(answer, 422, "invalid_input", { paths });
  }
  equal(app.pesapal.orders.length + app.azampay.pushes.length, 0);
});

Deno.test("a gateway that is not configured is not offered", async () => {
  await using app = await startTill();

  const answer = await app.checkout(await app.bill(), PESAPAL);

  assertProblem(answer, 422, "invalid_input", { paths: ["gateway"] });
});

Deno.test("what a gateway refuses has failed, in its words, and another attempt is another one", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  app.pesapal.behaviour.amountMax = 1;
  app.azampay.faults.checkout.push({ refusal: "Subscriber is not registered" });

  const refused = await app.payAtPesapal(invoice);
  const pushed = await app.payByPhone(invoice);
  app.pesapal.behaviour.amountMax = 1_000_000;
  const second = await app.payAtPesapal(invoice);

  equal(refused.status, "failed");
  match(refused.problem!, /exceeds your limit/);
  equal(refused.nextCheckAt, null);
  equal(pushed.status, "failed");
  match(pushed.problem!, /not registered/);
  equal(second.status, "pending");
  ok(second.id !== refused.id);
  await checkedBooks(app, invoice.id);
});

Deno.test("an attempt of which nobody knows whether it began is handed out to nobody", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  app.pesapal.faults.submit.push("html");

  const lost = await app.payAtPesapal(invoice);
  const early = await app.checkout(invoice, PESAPAL);
  app.advance(MINUTE_MS);
  const second = await app.payAtPesapal(invoice);

  deepEqual([lost.status, lost.redirectUrl], ["created", null]);
  ok(lost.nextCheckAt);
  assertProblem(early, 409, "conflict");
  equal(second.status, "pending");
  ok(second.id !== lost.id);
});

Deno.test("a gateway that is down refuses new payments at once", async () => {
  await using app = await startGatewayTill({ gatewayPolicy: { timeoutMs: 300, failuresMax: 1 } });
  const invoice = await app.bill();
  app.pesapal.faults.token.push(...Array(9).fill("break"));
  const down = await app.payAtPesapal(invoice);

  const refused = await leavesStoreAlone(app, () => app.checkout(invoice, PESAPAL));
  const health = await asAdmin(app, "GET", "/health");

  equal(down.status, "failed");
  assertProblem(refused, 503, "unavailable");
  equal(health.body.checks.gateways.status, "degraded");
  match(health.body.checks.gateways.reason, /pesapal/);
});

Deno.test("the address where a payer pays is in no history and no log", async () => {
  await using app = await startGatewayTill();
  const payment = await app.payAtPesapal(await app.bill());

  const { text } = await asAdmin(
    app,
    "GET",
    `/api/v2/system/audit?entity=payment&id=${payment.id}`,
  );

  ok(text.includes("redirectUrl"));
  ok(!text.includes("PesapalIframe3"));
  ok(!app.logLines.join("\n").includes("PesapalIframe3"));
  equal(await app.count(keys.paymentsByStatus("pending")), 1);
});
