/** Many callbacks at once, too many, and callbacks while the store or Pesapal does not answer. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { DAY_MS, MINUTE_MS } from "../../lib/time.ts";
import { assertProblem } from "../support/program/answers.ts";
import { checkedBooks, startGatewayTill, TOTAL } from "../support/program/till.ts";
import { ipn } from "./_callbacks.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
const UNKNOWN_GUID = "a5e2f1c0-0000-4000-8000-000000000001";

Deno.test("50 simultaneous notifications and a refund record the payment once", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  await app.pesapal.order(payment.id).complete({ method: "Visa" });
  const refund = () =>
    app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
      paymentId: payment.id,
      amountMinor: TOTAL,
      reason: "Not wanted",
    });

  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, i) => i === 25 ? refund() : ipn(app, payment)),
  );

  equal(answers[25]?.status, 201, answers[25]?.text);
  const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, after.paidMinor, after.refundedMinor], ["refunded", 0, TOTAL]);
  equal(found?.refunds[0]?.status, "requested");
  await app.pesapal.order(payment.id).reverse();
  const done = await checkedBooks(app, invoice.id);
  equal(done.payments[0]?.refunds[0]?.status, "completed");
  equal(done.invoice.status, "refunded");
});

Deno.test("50 simultaneous notifications settle the payment once and store one event", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  await app.pesapal.order(payment.id).complete({ ipnTimes: 0 });

  const answers = await Promise.all(Array.from({ length: 50 }, () => ipn(app, payment)));

  ok(answers.every(({ status }) => status === 200));
  const { invoice: after } = await checkedBooks(app, invoice.id);
  deepEqual([after.paidMinor, after.revision], [TOTAL, 2]);
  equal((await app.events()).filter((type) => type === "payment.completed").length, 1);
});

Deno.test("status queries caused by notifications are limited, and the payment is still checked later", async () => {
  await using app = await startGatewayTill({ env: { RATE_LIMITS: "payment_check=2/1h" } });
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  app.advance(MINUTE_MS);

  for (let i = 0; i < 5; i++) equal((await ipn(app, payment)).status, 200);

  equal(app.pesapal.calls.status, 2);
  ok((await app.payment(payment.id)).nextCheckAt !== null);
});

Deno.test("too many callbacks are refused with 429", async () => {
  await using app = await startGatewayTill({ env: { RATE_LIMITS: "gateway_call=2/1m" } });
  const stranger = { id: UNKNOWN_ID, trackingId: UNKNOWN_GUID };

  await ipn(app, stranger);
  await ipn(app, stranger);

  assertProblem(await ipn(app, stranger), 429, "rate_limited");
});

Deno.test("a notification that cannot be stored asks Pesapal to send it again", async () => {
  await using app = await startGatewayTill({
    deadlines: { readMs: 300, commitMs: 300, transactionMs: 500, fenceMs: 300 },
  });
  const payment = await app.payAtPesapal(await app.bill());
  app.kv.isHanging = true;

  const { status, body } = await ipn(app, payment);

  app.kv.isHanging = false;
  deepEqual([status, body.status], [500, 500]);
});

Deno.test("a notification is kept while Pesapal does not answer, and checked later", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  app.advance(10 * DAY_MS);
  await app.pesapal.order(payment.id).complete({ ipnTimes: 0 });
  app.pesapal.faults.status.push({ status: 503 }, { status: 503 }, { status: 503 });

  const { status, body } = await ipn(app, payment);

  deepEqual([status, body.status], [200, 200]);
  const { nextCheckAt } = await app.payment(payment.id);
  ok(nextCheckAt !== null && nextCheckAt <= app.services.clock() + MINUTE_MS);
});
