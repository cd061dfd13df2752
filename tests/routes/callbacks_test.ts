/**
 * Whoever calls in a gateway's name changes nothing that the gateway itself does
 * not confirm, and whatever the gateway confirms is in the books once.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { invoiceUrl } from "../../lib/invoices/links.ts";
import * as keys from "../../lib/kv/keys.ts";
import type { Payment } from "../../lib/payments/checkout.ts";
import { PROBLEMS } from "../../lib/payments/state.ts";
import { DAY_MS, MINUTE_MS } from "../../lib/time.ts";
import { assertProblem } from "../support/program/answers.ts";
import { leavesStoreAlone } from "../support/program/shop.ts";
import {
  checkedBooks,
  type GatewayTill,
  startGatewayTill,
  TOTAL,
} from "../support/program/till.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
const UNKNOWN_GUID = "a5e2f1c0-0000-4000-8000-000000000001";

/** Calls in Pesapal's name, as anyone could. */
function ipn(
  app: GatewayTill,
  { id, trackingId }: Pick<Payment, "id" | "trackingId">,
  kind = "IPNCHANGE",
) {
  return app.post("/payments/pesapal/ipn", {
    OrderNotificationType: kind,
    OrderTrackingId: trackingId,
    OrderMerchantReference: id,
  });
}

Deno.test("Pesapal's notification has it asked, and the invoice paid, once", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);

  const [answer] = await app.pesapal.order(payment.id).complete({ method: "Visa" });

  equal(answer?.status, 200);
  equal(answer?.isAcknowledged, true);
  const books = await checkedBooks(app, invoice.id);
  deepEqual([books.invoice.status, books.invoice.paidMinor], ["paid", TOTAL]);
  const [paid] = books.payments;
  deepEqual([paid?.status, paid?.receivedMinor, paid?.method], ["completed", TOTAL, "Visa"]);
  match(paid!.confirmationCode!, /^SIM/);
  equal(paid?.createdBy, "bootstrap");
  const events = await app.events();
  equal(events.filter((type) => type === "invoice.paid").length, 1);
  equal(events.filter((type) => type === "payment.completed").length, 1);
});

Deno.test("a confirmation costs one read, then one read and one commit", async () => {
  await using app = await startGatewayTill();
  const payment = await app.payAtPesapal(await app.bill());
  await app.pesapal.order(payment.id).complete({ ipnTimes: 0 });
  const { confirmPayment } = await import("../../lib/payments/confirm.ts");
  const by = { actor: "cli", requestId: "test", idempotencyKey: null } as const;
  const { reads, commits } = app.kv;

  const { status } = await confirmPayment(app.services, { reference: payment.id }, by);

  equal(status, "completed");
  // What follows a paid invoice, to end other orders on it, is two reads more.
  deepEqual([app.kv.reads - reads - 1, app.kv.commits - commits], [2, 1]);
});

Deno.test("Pesapal notifies by GET, by form and by JSON, whatever the names' capitals", async () => {
  await using app = await startGatewayTill();
  const values = ({ id, trackingId }: Payment, lower = false) => {
    const names = ["OrderNotificationType", "OrderTrackingId", "OrderMerchantReference"];
    const [kind, tracking, reference] = names.map((name) => lower ? name.toLowerCase() : name);
    return { [kind!]: "IPNCHANGE", [tracking!]: trackingId!, [reference!]: id };
  };
  const ways: ((payment: Payment) => Promise<{ status: number; text: string }>)[] = [
    (payment) => app.get(`/payments/pesapal/ipn?${new URLSearchParams(values(payment))}`),
    (payment) => app.get(`/payments/pesapal/ipn?${new URLSearchParams(values(payment, true))}`),
    (payment) =>
      app.request("POST", "/payments/pesapal/ipn", {
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: String(new URLSearchParams(values(payment))),
      }),
    (payment) => app.post("/payments/pesapal/ipn", values(payment, true)),
  ];

  for (const way of ways) {
    const invoice = await app.bill();
    const payment = await app.payAtPesapal(invoice);
    await app.pesapal.order(payment.id).complete({ ipnTimes: 0 });

    const { status, text } = await way(payment);

    equal(status, 200);
    deepEqual(JSON.parse(text), {
      orderNotificationType: "IPNCHANGE",
      orderTrackingId: payment.trackingId,
      orderMerchantReference: payment.id,
      status: 200,
    });
    equal((await app.invoice(invoice.id)).status, "paid");
  }
});

Deno.test("a forged notification makes us ask, and nothing else", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);

  const { status } = await ipn(app, payment);

  equal(status, 200);
  equal(app.pesapal.calls.status, 1);
  const books = await checkedBooks(app, invoice.id);
  deepEqual([books.invoice.status, books.payments[0]?.status], ["open", "pending"]);
});

Deno.test("what is not known is not asked about, and nothing of it is stored", async () => {
  await using app = await startGatewayTill();
  const payment = await app.payAtPesapal(await app.bill());
  const byHand = await app.payByHand(await app.bill(), 5);
  const strangers = [
    { id: UNKNOWN_ID, trackingId: UNKNOWN_GUID },
    { id: UNKNOWN_ID, trackingId: payment.trackingId },
    { id: payment.id, trackingId: UNKNOWN_GUID },
    { id: byHand.id, trackingId: UNKNOWN_GUID },
  ];

  for (const stranger of strangers) {
    const { status } = await leavesStoreAlone(app, () => ipn(app, stranger));
    equal(status, 200);
  }

  equal(app.pesapal.calls.status, 0);
});

const NONSENSE: unknown[] = [
  "",
  "{",
  "null",
  "[]",
  { OrderTrackingId: UNKNOWN_GUID },
  { OrderTrackingId: "x' OR 1=1", OrderMerchantReference: UNKNOWN_ID },
  { OrderTrackingId: { $ne: 1 }, OrderMerchantReference: [UNKNOWN_ID] },
  { utilityref: UNKNOWN_ID },
  { utilityref: { toString: 1 }, transactionstatus: "success" },
];

Deno.test("what is no notification is 400, and nothing of it is stored", async () => {
  await using app = await startGatewayTill();

  for (const path of ["/payments/pesapal/ipn", "/payments/azampay/callback"]) {
    for (const body of NONSENSE) {
      const { status } = await leavesStoreAlone(app, () => app.post(path, body));
      equal(status, 400, `${path} ${JSON.stringify(body)}`);
    }
    const large = await leavesStoreAlone(app, () => app.post(path, "x".repeat(65_537)));
    assertProblem(large, 413, "payload_too_large");
  }
  for (
    const [method, path] of [
      ["PUT", "/payments/pesapal/ipn"],
      ["POST", "/payments/pesapal/callback"],
      ["GET", "/payments/azampay/callback"],
      ["DELETE", "/payments/azampay/callback"],
    ] as const
  ) {
    const answer = await leavesStoreAlone(app, () => app.request(method, path));
    assertProblem(answer, 405, "method_not_allowed");
  }
});

Deno.test("a gateway that is not offered has no address", async () => {
  await using app = await startGatewayTill({
    env: { PESAPAL_BASE_URL: "", PESAPAL_CONSUMER_KEY: "", PESAPAL_CONSUMER_SECRET: "" },
  });

  const answer = await leavesStoreAlone(
    app,
    () => ipn(app, { id: UNKNOWN_ID, trackingId: UNKNOWN_GUID }),
  );

  assertProblem(answer, 404, "not_found");
});

Deno.test("a cheap order's tracking id pays for no dear one", async () => {
  await using app = await startGatewayTill();
  const [cheap, dear] = [
    await app.bill({ lines: [{ description: "x", quantity: 1, unitMinor: 100 }] }),
    await app.bill(),
  ];
  const paid = await app.payAtPesapal(cheap);
  const unpaid = await app.payAtPesapal(dear);
  await app.pesapal.order(paid.id).complete();

  await ipn(app, { id: unpaid.id, trackingId: paid.trackingId });
  const back = await app.get(
    `/payments/pesapal/callback?OrderTrackingId=${paid.trackingId}` +
      `&OrderMerchantReference=${unpaid.id}&OrderNotificationType=CALLBACKURL`,
  );

  assertProblem(back, 404, "not_found");
  const books = await checkedBooks(app, dear.id);
  deepEqual([books.invoice.status, books.payments[0]?.status], ["open", "pending"]);
});

Deno.test("a tracking id is not adopted from another payment, though ours is not known", async () => {
  await using app = await startGatewayTill();
  const [one, other] = [await app.bill(), await app.bill()];
  const paid = await app.payAtPesapal(one);
  await app.pesapal.order(paid.id).complete();
  app.pesapal.faults.submit.push("drop");
  const lost = await app.payAtPesapal(other);
  equal(lost.status, "created");
  equal(lost.trackingId, null);

  await ipn(app, { id: lost.id, trackingId: paid.trackingId });

  const { invoice, payments: [payment] } = await checkedBooks(app, other.id);
  deepEqual([invoice.status, payment?.status], ["open", "needs_review"]);
  equal(payment?.trackingId, null);
});

Deno.test("an order whose answer was lost is adopted when Pesapal tells of it", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  app.pesapal.faults.submit.push("html");
  const lost = await app.payAtPesapal(invoice);
  const order = app.pesapal.order(lost.id);

  await order.complete();

  const { invoice: after, payments: [payment] } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, payment?.status], ["paid", "completed"]);
  equal(payment?.trackingId, order.trackingId);
});

Deno.test("what was paid before Pesapal answered that it may be is completed", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  app.pesapal.behaviour.hastyPayer = "complete";

  const payment = await app.payAtPesapal(invoice);

  equal(payment.status, "completed");
  equal((await checkedBooks(app, invoice.id)).invoice.status, "paid");
});

const WRONG = [
  ["less", { amount: 1 }, PROBLEMS.amount],
  ["more", { amount: 10_001 }, PROBLEMS.amount],
  ["another currency", { currency: "KES" }, PROBLEMS.currency],
] as const;

for (const [what, outcome, problem] of WRONG) {
  Deno.test(`${what} than was asked for is left to a person, who is told`, async () => {
    await using app = await startGatewayTill();
    const invoice = await app.bill();
    const payment = await app.payAtPesapal(invoice);

    await app.pesapal.order(payment.id).complete(outcome);

    const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
    deepEqual([after.status, after.paidMinor], ["open", 0]);
    deepEqual([found?.status, found?.problem], ["needs_review", problem]);
    ok((await app.events()).includes("payment.needs_review"));
    ok(await app.services.store.get(keys.incident("payments_need_review")));
  });
}

Deno.test("a reversal reopens the invoice, and an old success does not close it again", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  const order = app.pesapal.order(payment.id);
  await order.complete();

  await order.reverse();
  const reversed = await checkedBooks(app, invoice.id);
  await ipn(app, payment);
  await order.notify({ times: 3 });

  deepEqual([reversed.invoice.status, reversed.payments[0]?.status], ["open", "reversed"]);
  deepEqual((await checkedBooks(app, invoice.id)).invoice, reversed.invoice);
  ok((await app.events()).includes("payment.reversed"));
});

Deno.test("a failure is not the end: payers try again on the same page", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  const order = app.pesapal.order(payment.id);

  await order.fail();
  const failed = await app.payment(payment.id);
  await order.complete();

  deepEqual([failed.status, failed.problem], ["failed", "Request cancelled by user"]);
  equal((await checkedBooks(app, invoice.id)).invoice.status, "paid");
});

Deno.test("the payer's browser lands on the invoice with the state as it is", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  const order = app.pesapal.order(payment.id);
  await order.complete({ ipnTimes: 0 });

  const { pathname, search } = new URL(order.returnUrl);
  const { status, headers } = await app.get(pathname + search);

  equal(status, 303);
  equal(headers.get("location"), invoiceUrl(app.config, invoice.id));
  equal((await app.invoice(invoice.id)).status, "paid");
});

Deno.test("an invoice's address is told to nobody who does not know the gateway's name for it", async () => {
  await using app = await startGatewayTill();
  const payment = await app.payAtPesapal(await app.bill());

  for (
    const query of [
      `OrderTrackingId=${UNKNOWN_GUID}&OrderMerchantReference=${payment.id}`,
      `OrderMerchantReference=${payment.id}`,
      `OrderTrackingId=${payment.trackingId}&OrderMerchantReference=${UNKNOWN_ID}`,
      "",
    ]
  ) {
    const kind = "&OrderNotificationType=CALLBACKURL";
    const answer = await app.get(`/payments/pesapal/callback?${query}${kind}`);
    assertProblem(answer, 404, "not_found");
    ok(!answer.text.includes("/i/"));
  }
});

Deno.test("50 notifications and a refund at once count the money once", async () => {
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

Deno.test("50 notifications at once settle once, and tell of it once", async () => {
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

Deno.test("how often a payment is asked about because of calls is limited, and it is asked all the same", async () => {
  await using app = await startGatewayTill({ env: { RATE_LIMITS: "payment_check=2/1h" } });
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  app.advance(MINUTE_MS);

  for (let i = 0; i < 5; i++) equal((await ipn(app, payment)).status, 200);

  equal(app.pesapal.calls.status, 2);
  ok((await app.payment(payment.id)).nextCheckAt !== null);
});

Deno.test("who calls too often in a gateway's name is told so", async () => {
  await using app = await startGatewayTill({ env: { RATE_LIMITS: "gateway_call=2/1m" } });
  const stranger = { id: UNKNOWN_ID, trackingId: UNKNOWN_GUID };

  await ipn(app, stranger);
  await ipn(app, stranger);

  assertProblem(await ipn(app, stranger), 429, "rate_limited");
});

Deno.test("a notification that cannot be stored is to come again", async () => {
  await using app = await startGatewayTill({
    deadlines: { readMs: 300, commitMs: 300, transactionMs: 500, fenceMs: 300 },
  });
  const payment = await app.payAtPesapal(await app.bill());
  app.kv.isHanging = true;

  const { status, body } = await ipn(app, payment);

  app.kv.isHanging = false;
  deepEqual([status, body.status], [500, 500]);
});

Deno.test("a notification is kept while Pesapal does not answer, and asked about later", async () => {
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

// AzamPay: what is signed is believed, as far as the signature goes.

Deno.test("AzamPay's signed callback pays the invoice, once", async () => {
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
  Deno.test(`a callback that is ${what} pays nothing, and a person looks at it`, async () => {
    await using app = await startGatewayTill();
    const invoice = await app.bill();
    const payment = await app.payByPhone(invoice);
    const body = await app.azampay.push(payment.id).callback("success", options);

    const { status } = await app.post("/payments/azampay/callback", body);

    equal(status, 200);
    const { invoice: after, payments: [found] } = await checkedBooks(app, invoice.id);
    deepEqual([after.status, after.paidMinor], ["open", 0]);
    deepEqual([found?.status, found?.problem], ["needs_review", PROBLEMS.unsigned]);
    // Whoever forges a callback must not keep the true one from counting.
    await app.azampay.push(payment.id).approve();
    equal((await checkedBooks(app, invoice.id)).invoice.status, "paid");
  });
}

Deno.test("a signed callback with another amount pays nothing, until the true one comes", async () => {
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

Deno.test("a signed callback about one payment says nothing of another", async () => {
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

Deno.test("a failed push is over, a late success is not lost, and a failure after it changes nothing", async () => {
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

Deno.test("a push whose answer was lost is adopted by the signed callback", async () => {
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

Deno.test("two who both pay are both in the books, and somebody is told", async () => {
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

Deno.test("money that comes in for a void invoice is credit", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payByPhone(invoice);
  await app.send(`/api/v2/invoices/${invoice.id}/void`, { reason: "Written twice" });

  await app.azampay.push(payment.id).approve();

  const { invoice: after } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, after.paidMinor], ["void", TOTAL]);
  ok(await app.services.store.get(keys.incident("invoice_overpaid")));
});

Deno.test("voiding an invoice ends the order that waits to be paid", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);

  await app.send(`/api/v2/invoices/${invoice.id}/void`, { reason: "Written twice" });

  equal(app.pesapal.order(payment.id).isCancelled, true);
  equal((await app.payment(payment.id)).status, "failed");
});

Deno.test("nothing secret or personal of a payment is logged", async () => {
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
