/**
 * AzamPay's signed callbacks are believed as far as the signature goes. Whatever they confirm is
 * recorded once.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { PROBLEMS } from "../../lib/payments/state.ts";
import { checkedBooks, startGatewayTill, TOTAL } from "../support/program/till.ts";

Deno.test("a signed AzamPay callback marks the invoice as paid, once", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payByPhone(invoice);

  const answers = await app.azampay.push(payment.id).approve({ times: 3 });

  ok(answers.every(({ status }) => status === 200));
  const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, after.paidMinor], ["paid", TOTAL]);
  deepEqual([found?.status, found?.method, found?.revision], ["completed", "Mpesa", 3]);
});

const FORGERIES = [
  ["unsigned", { signing: "unsigned" }],
  ["signed by somebody else", { signing: "forged" }],
  ["signed over two fields only", { signing: "two_fields" }],
  ["altered after it was signed", { altered: { operator: "Airtel" } }],
] as const;

for (const [what, options] of FORGERIES) {
  Deno.test(`a callback that is ${what} pays nothing, and the payment needs review`, async () => {
    await using app = await startGatewayTill();
    const invoice = await app.bill();
    const payment = await app.payByPhone(invoice);
    const body = await app.azampay.push(payment.id).callback("success", options);

    const { status } = await app.post("/payments/azampay/callback", body);

    equal(status, 200);
    const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
    deepEqual([after.status, after.paidMinor], ["open", 0]);
    deepEqual([found?.status, found?.problem], ["needs_review", PROBLEMS.unsigned]);
    // A forged callback must not keep the true one from counting.
    await app.azampay.push(payment.id).approve();
    equal((await checkedBooks(app, invoice.id)).invoice.status, "paid");
  });
}

Deno.test("a signed callback with another amount pays nothing, and the true one still does", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payByPhone(invoice);
  const push = app.azampay.push(payment.id);

  for (const amount of ["1", "10001", "99999999"]) {
    await app.post(
      "/payments/azampay/callback",
      await push.callback("success", { altered: { amount } }),
    );
    const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
    deepEqual([after.status, found?.status], ["open", "needs_review"]);
    equal(found?.problem, PROBLEMS.amount);
  }
  await push.approve();

  equal((await checkedBooks(app, invoice.id)).invoice.paidMinor, TOTAL);
});

Deno.test("a signed callback about one payment confirms no other one", async () => {
  await using app = await startGatewayTill();
  const [one, other] = [await app.bill(), await app.bill()];
  const paid = await app.payByPhone(one);
  const unpaid = await app.payByPhone(other);
  const body = await app.azampay.push(paid.id).callback("success");

  // The same text under the signature, cut at another place, and another reference.
  const shifted = {
    ...body,
    utilityref: body.utilityref + body.externalreference.slice(0, 1),
    externalreference: body.externalreference.slice(1),
  };
  equal((await app.post("/payments/azampay/callback", shifted)).status, 400);
  await app.post("/payments/azampay/callback", { ...body, utilityref: unpaid.id });

  for (const { id } of [one, other]) equal((await checkedBooks(app, id)).invoice.paidMinor, 0);
});

Deno.test("a failed push ends, a late success still counts, and a later failure changes nothing", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payByPhone(invoice);
  const push = app.azampay.push(payment.id);

  await push.decline();
  const failed = await app.payment(payment.id);
  await push.approve();
  await app.post("/payments/azampay/callback", await push.callback("failure"));

  equal(failed.status, "failed");
  const { invoice: after, payments } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, payments[0]?.status], ["paid", "completed"]);
});

Deno.test("a signed callback adopts a push whose answer was lost", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  app.azampay.faults.checkout.push("drop");
  const lost = await app.payByPhone(invoice);

  await app.azampay.push(lost.id).approve();

  deepEqual([lost.status, lost.trackingId], ["created", null]);
  const { invoice: after, payments: [payment] } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, payment?.status], ["paid", "completed"]);
  ok(payment?.trackingId);
});

Deno.test("two payments of one invoice are both recorded, and an incident is reported", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const byPhone = await app.payByPhone(invoice);
  const atPesapal = await app.payAtPesapal(invoice);

  await app.azampay.push(byPhone.id).approve();
  equal((await app.payment(atPesapal.id)).problem, PROBLEMS.cancelled);
  equal(app.pesapal.order(atPesapal.id).isCancelled, true);
  // A payer who was faster than the cancelling.
  app.pesapal.order(atPesapal.id).isCancelled = false;
  await app.pesapal.order(atPesapal.id).complete();

  const { invoice: after } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, after.paidMinor], ["paid", 2 * TOTAL]);
  ok(await app.services.store.get(keys.incident("invoice_overpaid")));
});

Deno.test("money received for a void invoice is recorded as an overpayment", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payByPhone(invoice);
  await app.send(`/api/v2/invoices/${invoice.id}/void`, { reason: "Written twice" });

  await app.azampay.push(payment.id).approve();

  const { invoice: after } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, after.paidMinor], ["void", TOTAL]);
  ok(await app.services.store.get(keys.incident("invoice_overpaid")));
});

Deno.test("voiding an invoice cancels its pending order", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);

  await app.send(`/api/v2/invoices/${invoice.id}/void`, { reason: "Written twice" });

  equal(app.pesapal.order(payment.id).isCancelled, true);
  equal((await app.payment(payment.id)).status, "failed");
});

Deno.test("no secret or personal data of a payment is logged", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const byPhone = await app.payByPhone(invoice);
  const atPesapal = await app.payAtPesapal(invoice);
  await app.pesapal.order(atPesapal.id).complete({ amount: 1 });
  await app.azampay.push(byPhone.id).approve();
  await app.azampay.push(byPhone.id).approve({ signing: "forged" });

  const log = app.logLines.join("\n");

  ok(log.includes("payment.moved"));
  for (const secret of ["712345678", atPesapal.redirectUrl!, "simulated callback", "/i/"]) {
    ok(!log.includes(secret), secret);
  }
});
