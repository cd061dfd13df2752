/**
 * What no gateway can tell, a person decides: on evidence, once, and with a name.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { PROBLEMS } from "../../lib/payments/state.ts";
import { MINUTE_MS } from "../../lib/time.ts";
import { assertProblem } from "../support/program/answers.ts";
import { asAdmin, historyOf, leavesStoreAlone } from "../support/program/shop.ts";
import {
  checkedBooks,
  type GatewayTill,
  startGatewayTill,
  TOTAL,
} from "../support/program/till.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
const PAID = { outcome: "completed", reference: "portal 77", reason: "Seen in the portal" };
const UNPAID = { ...PAID, outcome: "failed" };

function resolve(
  app: GatewayTill,
  { id }: { id: string },
  decision: object,
  headers: Record<string, string> = {},
) {
  return app.send(`/api/v2/payments/${id}/resolve`, decision, headers);
}

Deno.test("POST resolve completes a push that AzamPay never reported, on evidence", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payByPhone(invoice);
  const key = { "idempotency-key": "k" };

  const { status, body } = await resolve(app, payment, PAID, key);
  const again = await leavesStoreAlone(app, () => resolve(app, payment, PAID, key));
  const twice = await leavesStoreAlone(app, () => resolve(app, payment, PAID));

  equal(status, 200);
  deepEqual([body.status, body.receivedMinor], ["completed", TOTAL]);
  deepEqual(body.resolution, {
    ...PAID,
    at: "2026-06-15T09:00:00.000Z",
    by: "bootstrap",
  });
  equal(again.text, JSON.stringify(body));
  assertProblem(twice, 409, "conflict");
  equal((await checkedBooks(app, invoice.id)).invoice.status, "paid");
  const history = await historyOf(app, "payment", payment.id);
  deepEqual(
    history.map(({ action, by }) => `${action} ${by}`),
    ["payment.start bootstrap", "payment.resolve bootstrap"],
  );
  // The callback that comes after all says nothing new.
  await app.azampay.push(payment.id).approve();
  equal((await checkedBooks(app, invoice.id)).invoice.paidMinor, TOTAL);
});

Deno.test("POST resolve closes a payment as failed, until the gateway proves that it was paid", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payByPhone(invoice);
  const push = app.azampay.push(payment.id);
  await app.post(
    "/payments/azampay/callback",
    await push.callback("success", { signing: "forged" }),
  );

  const { body } = await resolve(app, payment, UNPAID);
  await app.post(
    "/payments/azampay/callback",
    await push.callback("success", { signing: "forged" }),
  );
  const closed = await app.payment(payment.id);
  await push.approve();

  deepEqual([body.status, body.problem], ["failed", PROBLEMS.closed]);
  equal(closed.status, "failed");
  equal((await checkedBooks(app, invoice.id)).invoice.status, "paid");
});

Deno.test("POST resolve counts what really came in where the gateway says another amount", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  await app.pesapal.order(payment.id).complete({ amount: 4_000 });

  const { body } = await resolve(app, payment, { ...PAID, amountMinor: 4_000_00 });

  deepEqual([body.status, body.receivedMinor], ["completed", 4_000_00]);
  const { invoice: after } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, after.paidMinor], ["partially_paid", 4_000_00]);
});

Deno.test("one piece of evidence proves one payment", async () => {
  await using app = await startGatewayTill();
  const [one, other] = [await app.bill(), await app.bill()];
  const lost = async (invoice: { id: string }) => {
    app.azampay.faults.checkout.push("drop");
    return await app.payByPhone(invoice);
  };
  const first = await lost(one);
  const second = await lost(other);

  await resolve(app, first, PAID);
  const reused = await leavesStoreAlone(
    app,
    () => resolve(app, second, { ...PAID, reference: "PORTAL 77" }),
  );

  assertProblem(reused, 409, "conflict");
  equal((await checkedBooks(app, other.id)).invoice.status, "open");
});

Deno.test("what can be asked about is asked about, and not decided", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  await app.pesapal.order(payment.id).complete({ ipnTimes: 0 });

  const decided = await leavesStoreAlone(app, () => resolve(app, payment, PAID));
  const { status, body } = await app.send(`/api/v2/payments/${payment.id}/check`);

  assertProblem(decided, 409, "conflict");
  deepEqual([status, body.status], [200, "completed"]);
  equal((await checkedBooks(app, invoice.id)).invoice.status, "paid");
  assertProblem(
    await leavesStoreAlone(app, () => resolve(app, payment, UNPAID)),
    409,
    "conflict",
  );
});

Deno.test("POST resolve refuses what is no decision", async () => {
  await using app = await startGatewayTill();
  const payment = await app.payByPhone(await app.bill());

  for (
    const [path, fields] of [
      ["outcome", { outcome: "reversed" }],
      ["reference", { reference: "" }],
      ["reason", { reason: undefined }],
      ["amountMinor", { amountMinor: 0 }],
    ] as const
  ) {
    const answer = await leavesStoreAlone(app, () => resolve(app, payment, { ...PAID, ...fields }));
    assertProblem(answer, 422, "invalid_input", { paths: [path] });
  }
  assertProblem(await resolve(app, { id: UNKNOWN_ID }, PAID), 404, "not_found");
});

Deno.test("an operator and AzamPay who decide at once count the money once", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payByPhone(invoice);
  const push = app.azampay.push(payment.id);

  await Promise.all([
    ...Array.from({ length: 10 }, () => push.approve()),
    ...Array.from({ length: 10 }, () => resolve(app, payment, PAID)),
  ]);

  const { invoice: after, payments } = await checkedBooks(app, invoice.id);
  deepEqual([after.paidMinor, payments.length], [TOTAL, 1]);
  equal((await app.events()).filter((type) => type === "payment.completed").length, 1);
});

Deno.test("what waits for a person is listed and seen in health until it is decided", async () => {
  await using app = await startGatewayTill();
  const payment = await app.payByPhone(await app.bill());
  const push = app.azampay.push(payment.id);
  await app.post(
    "/payments/azampay/callback",
    await push.callback("success", { signing: "unsigned" }),
  );
  const look = async () => {
    app.advance(MINUTE_MS);
    const { body } = await asAdmin(app, "GET", "/health");
    return body.checks.gateways.status;
  };

  const { body: { data } } = await asAdmin(app, "GET", "/api/v2/payments?status=needs_review");
  const before = await look();
  await resolve(app, payment, UNPAID);

  deepEqual(data.map(({ id }: { id: string }) => id), [payment.id]);
  equal(before, "degraded");
  equal(await look(), "healthy");
});

Deno.test("Pesapal is asked for a refund once, for all of mobile money or a part of a card's", async () => {
  await using app = await startGatewayTill();
  const refund = (invoice: { id: string }, paymentId: string, fields: object) =>
    app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
      paymentId,
      amountMinor: 1_000_00,
      reason: "Not wanted",
      ...fields,
    });
  const pay = async (method: string) => {
    const invoice = await app.bill();
    const { id } = await app.payAtPesapal(invoice);
    await app.pesapal.order(id).complete({ method });
    return { invoice, id };
  };
  const [mobile, card] = [await pay("MPESA"), await pay("Visa")];

  const part = await leavesStoreAlone(app, () => refund(mobile.invoice, mobile.id, {}));
  const whole = await refund(mobile.invoice, mobile.id, { amountMinor: TOTAL });
  const ofCard = await refund(card.invoice, card.id, {});
  const second = await leavesStoreAlone(app, () => refund(card.invoice, card.id, {}));
  const byHand = await refund(card.invoice, card.id, { reference: "bank 1" });

  assertProblem(part, 409, "conflict");
  deepEqual([whole.status, whole.body.refunds[0].status], [201, "requested"]);
  equal(whole.body.refunds[0].reference, "Refund request successfully");
  equal(app.pesapal.order(mobile.id).refundAsked, 10_000);
  deepEqual([ofCard.status, app.pesapal.order(card.id).refundAsked], [201, 1_000]);
  assertProblem(second, 409, "conflict");
  equal(byHand.status, 201);
  const { invoice } = await checkedBooks(app, card.invoice.id);
  deepEqual([invoice.status, invoice.refundedMinor], ["partially_paid", 2_000_00]);
  ok((await app.events()).filter((type) => type === "payment.refunded").length === 3);
});

Deno.test("a refund that Pesapal refuses was not made, and the invoice is as before", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const { id } = await app.payAtPesapal(invoice);
  await app.pesapal.order(id).complete();
  app.pesapal.order(id).confirmationCode = "another";

  const answer = await app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
    paymentId: id,
    amountMinor: TOTAL,
    reason: "x",
  });

  assertProblem(answer, 409, "conflict");
  const { invoice: after, payments: [payment] } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, after.paidMinor, after.refundedMinor], ["paid", TOTAL, 0]);
  equal(payment?.refunds[0]?.status, "refused");
});

Deno.test("a refund of which nobody knows is decided by a person, once", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const { id } = await app.payAtPesapal(invoice);
  await app.pesapal.order(id).complete();
  app.pesapal.faults.refund.push("html");
  const { body } = await app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
    paymentId: id,
    amountMinor: TOTAL,
    reason: "x",
  });
  const [{ id: refundId }] = body.refunds;
  const decide = (outcome: string) =>
    app.send(`/api/v2/payments/${id}/refunds/${refundId}/resolve`, {
      outcome,
      reference: "portal 3",
    });

  const unclear = await checkedBooks(app, invoice.id);
  const refused = await decide("refused");
  const twice = await leavesStoreAlone(app, () => decide("completed"));

  deepEqual([unclear.invoice.status, unclear.invoice.refundedMinor], ["refunded", TOTAL]);
  equal(refused.body.refunds[0].status, "refused");
  assertProblem(twice, 409, "conflict");
  equal((await checkedBooks(app, invoice.id)).invoice.status, "paid");
  assertProblem(
    await app.send(`/api/v2/payments/${id}/refunds/${UNKNOWN_ID}/resolve`, {
      outcome: "refused",
      reference: "x",
    }),
    404,
    "not_found",
  );
});
