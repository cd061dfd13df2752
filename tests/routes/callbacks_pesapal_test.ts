/**
 * A call in Pesapal's name changes nothing that Pesapal itself does not confirm. Whatever Pesapal
 * confirms is recorded once.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { invoiceUrl } from "../../lib/invoices/links.ts";
import * as keys from "../../lib/kv/keys.ts";
import type { Payment } from "../../lib/payments/mod.ts";
import { PROBLEMS } from "../../lib/payments/state.ts";
import { assertProblem } from "../support/program/answers.ts";
import { leavesStoreAlone } from "../support/program/shop.ts";
import { checkedBooks, startGatewayTill, TOTAL } from "../support/program/till.ts";
import { ipn } from "./_callbacks.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
const UNKNOWN_GUID = "a5e2f1c0-0000-4000-8000-000000000001";

Deno.test("a Pesapal notification makes the shop query Pesapal and mark the invoice as paid, once", async () => {
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

Deno.test("Pesapal's notifications are accepted by GET, form and JSON, in any letter case", async () => {
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

Deno.test("a forged notification causes one status query and no change", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);

  const { status } = await ipn(app, payment);

  equal(status, 200);
  equal(app.pesapal.calls.status, 1);
  const books = await checkedBooks(app, invoice.id);
  deepEqual([books.invoice.status, books.payments[0]?.status], ["open", "pending"]);
});

Deno.test("notifications about unknown payments cause no query, and store nothing", async () => {
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

Deno.test("malformed callbacks answer 400, and store nothing", async () => {
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

Deno.test("callbacks of a gateway that is not configured answer 404", async () => {
  await using app = await startGatewayTill({
    env: { PESAPAL_BASE_URL: "", PESAPAL_CONSUMER_KEY: "", PESAPAL_CONSUMER_SECRET: "" },
  });

  const answer = await leavesStoreAlone(
    app,
    () => ipn(app, { id: UNKNOWN_ID, trackingId: UNKNOWN_GUID }),
  );

  assertProblem(answer, 404, "not_found");
});

Deno.test("the tracking id of a cheap order does not pay an expensive one", async () => {
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

Deno.test("an unknown tracking id is not adopted when it belongs to another payment", async () => {
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

Deno.test("a notification adopts an order whose answer was lost", async () => {
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

Deno.test("a payment that arrives before Pesapal answers the order is completed", async () => {
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
  Deno.test(`a payment of ${what} than requested needs review, and an incident is reported`, async () => {
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

Deno.test("a reversal reopens the invoice, and an old success does not settle it again", async () => {
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

Deno.test("after a failure payers can pay on the same page", async () => {
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

Deno.test("the payer's browser returns to the invoice in its current state", async () => {
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

Deno.test("the payer's return address redirects only with the tracking id of the payment", async () => {
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
