/**
 * Money that comes in by hand and goes back: recorded as it was, once, and never
 * more back than came in.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import * as keys from "../../lib/kv/keys.ts";
import { TEST_START } from "../support/program/app.ts";
import { assertProblem } from "../support/program/answers.ts";
import { asAdmin, leavesStoreAlone } from "../support/program/shop.ts";
import { checkedBooks, startTill, TOTAL } from "../support/program/till.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
const CASH = { amountMinor: TOTAL, method: "cash", reference: "R 1" };

Deno.test("POST payments records what somebody saw come in", async () => {
  await using app = await startTill();
  const invoice = await app.bill();

  const { status, headers, body } = await app.send(`/api/v2/invoices/${invoice.id}/payments`, {
    ...CASH,
    method: "mobile_money",
    receivedAt: "2026-06-14T08:30:00Z",
    notes: "By Asha's brother",
  });

  equal(status, 201);
  equal(headers.get("location"), `/api/v2/payments/${body.id}`);
  const at = "2026-06-15T09:00:00.000Z";
  deepEqual(body, {
    id: body.id,
    invoiceId: invoice.id,
    channel: "manual",
    status: "completed",
    currency: "TZS",
    amountMinor: TOTAL,
    receivedMinor: TOTAL,
    refunds: [],
    trackingId: "R 1",
    confirmationCode: null,
    method: "mobile_money",
    redirectUrl: null,
    payerPhone: null,
    problem: null,
    completedAt: "2026-06-14T08:30:00.000Z",
    nextCheckAt: null,
    checks: 0,
    notes: "By Asha's brother",
    resolution: null,
    revision: 1,
    createdAt: at,
    updatedAt: at,
  });
  const books = await checkedBooks(app, invoice.id);
  equal(books.invoice.status, "paid");
  equal(books.invoice.paidMinor, TOTAL);
  equal(await app.count(keys.invoicesByStatus("open")), 0);
  deepEqual((await asAdmin(app, "GET", `/api/v2/payments/${body.id}`)).body, body);
  ok((await app.events()).includes("invoice.paid"));
  ok((await app.events()).includes("payment.completed"));
});

Deno.test("POST payments costs one read and one commit", async () => {
  await using app = await startTill();
  const invoice = await app.bill();
  const { reads, commits } = app.kv;

  await app.send(`/api/v2/invoices/${invoice.id}/payments`, { ...CASH, amountMinor: 1 });

  deepEqual([app.kv.reads - reads, app.kv.commits - commits], [1, 1]);
});

Deno.test("payments in parts, and beyond what is owed, are all there and none is lost", async () => {
  await using app = await startTill();
  const invoice = await app.bill();

  await app.payByHand(invoice, TOTAL - 1);
  equal((await app.invoice(invoice.id)).status, "partially_paid");
  await app.payByHand(invoice, 1);
  equal((await app.invoice(invoice.id)).status, "paid");
  await app.payByHand(invoice, 500);

  const { invoice: after, payments } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, after.paidMinor], ["paid", TOTAL + 500]);
  equal(payments.length, 3);
  equal((await app.events()).filter((type) => type === "invoice.paid").length, 1);
  const incident = await app.services.store.get(keys.incident("invoice_overpaid"));
  equal(incident?.severity, "warning");
});

Deno.test("a receipt is recorded once, however it is written", async () => {
  await using app = await startTill();
  const [one, other] = [await app.bill(), await app.bill()];
  const pay = ({ id }: { id: string }, reference: string, key: string) =>
    app.send(`/api/v2/invoices/${id}/payments`, { ...CASH, reference }, { "idempotency-key": key });

  const first = await pay(one, "QK12-a", "k");
  const again = await leavesStoreAlone(app, () => pay(one, "QK12-a", "k"));
  const twice = await leavesStoreAlone(app, () => pay(one, "QK12-a", "l"));
  const elsewhere = await leavesStoreAlone(app, () => pay(other, " qk12-A ", "m"));

  equal(first.status, 201);
  equal(again.text, first.text);
  equal(again.headers.get("idempotency-replayed"), "true");
  assertProblem(twice, 409, "conflict");
  assertProblem(elsewhere, 409, "conflict");
});

Deno.test("50 people who record one receipt at once record one payment", async () => {
  await using app = await startTill();
  const invoice = await app.bill();

  const answers = await Promise.all(
    Array.from({ length: 50 }, () => app.send(`/api/v2/invoices/${invoice.id}/payments`, CASH)),
  );

  deepEqual(answers.map(({ status }) => status).sort(), [201, ...Array(49).fill(409)]);
  equal((await checkedBooks(app, invoice.id)).invoice.paidMinor, TOTAL);
});

Deno.test("POST payments refuses what is no payment, and invoices that are not to be paid", async () => {
  await using app = await startTill();
  const invoice = await app.bill();
  const draft = await app.bill({ draft: true });
  const gone = await app.bill();
  await app.send(`/api/v2/invoices/${gone.id}/void`, { reason: "x" });
  const refused = (id: string, fields: object) =>
    leavesStoreAlone(
      app,
      () => app.send(`/api/v2/invoices/${id}/payments`, { ...CASH, ...fields }),
    );

  for (
    const [path, fields] of [
      ["amountMinor", { amountMinor: 0 }],
      ["amountMinor", { amountMinor: -5 }],
      ["amountMinor", { amountMinor: 0.5 }],
      ["amountMinor", { amountMinor: "5" }],
      ["method", { method: "barter" }],
      ["reference", { reference: " " }],
      ["receivedAt", { receivedAt: "yesterday" }],
      ["receivedAt", { receivedAt: "2026-06-17T09:00:00Z" }],
      ["status", { status: "completed" }],
    ] as const
  ) {
    assertProblem(await refused(invoice.id, fields), 422, "invalid_input", { paths: [path] });
  }
  assertProblem(await refused(draft.id, {}), 409, "conflict");
  assertProblem(await refused(gone.id, {}), 409, "conflict");
  assertProblem(await refused(UNKNOWN_ID, {}), 404, "not_found");
});

Deno.test("POST refunds records what went back by hand, in parts, and the invoice follows", async () => {
  await using app = await startTill();
  const invoice = await app.bill();
  const payment = await app.payByHand(invoice, TOTAL);
  const refund = (amountMinor: number) =>
    app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
      paymentId: payment.id,
      amountMinor,
      reason: "Sent back",
      reference: "bank 7",
    });

  const part = await refund(1_000);
  const afterPart = await checkedBooks(app, invoice.id);
  const rest = await refund(TOTAL - 1_000);
  const afterAll = await checkedBooks(app, invoice.id);
  const more = await leavesStoreAlone(app, () => refund(1));

  equal(part.status, 201);
  const [made] = part.body.refunds;
  deepEqual(made, {
    id: made.id,
    amountMinor: 1_000,
    reason: "Sent back",
    reference: "bank 7",
    through: "hand",
    status: "completed",
    at: "2026-06-15T09:00:00.000Z",
    by: "bootstrap",
  });
  deepEqual(
    [afterPart.invoice.status, afterPart.invoice.paidMinor, afterPart.invoice.refundedMinor],
    ["partially_paid", TOTAL - 1_000, 1_000],
  );
  equal(rest.body.refunds.length, 2);
  deepEqual(
    [afterAll.invoice.status, afterAll.invoice.paidMinor, afterAll.invoice.refundedMinor],
    ["refunded", 0, TOTAL],
  );
  assertProblem(more, 422, "invalid_input", { paths: ["amountMinor"] });
  equal((await app.events()).filter((type) => type === "payment.refunded").length, 2);
});

Deno.test("refunds that come at once are never more than came in", async () => {
  await using app = await startTill();
  const invoice = await app.bill();
  const payment = await app.payByHand(invoice, TOTAL);

  const answers = await Promise.all(
    Array.from({ length: 30 }, () =>
      app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
        paymentId: payment.id,
        amountMinor: TOTAL / 10,
        reason: "x",
        reference: "y",
      })),
  );

  equal(answers.filter(({ status }) => status === 201).length, 10);
  const { invoice: after } = await checkedBooks(app, invoice.id);
  deepEqual([after.paidMinor, after.refundedMinor], [0, TOTAL]);
});

Deno.test("POST refunds happens once for one Idempotency-Key, and refuses what cannot go back", async () => {
  await using app = await startTill();
  const [invoice, other] = [await app.bill(), await app.bill()];
  const payment = await app.payByHand(invoice, TOTAL);
  const body = { paymentId: payment.id, amountMinor: 5, reason: "x", reference: "y" };
  const refund = (fields: object, key: string, id = invoice.id) =>
    app.send(`/api/v2/invoices/${id}/refunds`, { ...body, ...fields }, { "idempotency-key": key });

  const first = await refund({}, "k");
  const again = await leavesStoreAlone(app, () => refund({}, "k"));

  equal(again.text, first.text);
  const none = { reference: undefined };
  const cases: [object, string, string[]][] = [
    [{ amountMinor: 0 }, invoice.id, ["amountMinor"]],
    [{ reason: "" }, invoice.id, ["reason"]],
    [none, invoice.id, ["reference"]],
    [{}, other.id, ["paymentId"]],
    [{ paymentId: UNKNOWN_ID }, invoice.id, ["paymentId"]],
  ];
  for (const [i, [fields, id, paths]] of cases.entries()) {
    const answer = await leavesStoreAlone(app, () => refund(fields, `r${i}`, id));
    assertProblem(answer, 422, "invalid_input", { paths });
  }
  assertProblem(await refund({}, "u", UNKNOWN_ID), 404, "not_found");
});

Deno.test("a payment has at most 20 refunds, and the longest ones fit", async () => {
  await using app = await startTill();
  const invoice = await app.bill();
  const payment = await app.payByHand(invoice, TOTAL);
  const refund = () =>
    app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
      paymentId: payment.id,
      amountMinor: 1,
      reason: "é".repeat(300),
      reference: "é".repeat(120),
    });

  for (let i = 0; i < 20; i++) equal((await refund()).status, 201);
  const more = await leavesStoreAlone(app, refund);

  assertProblem(more, 409, "conflict");
});

Deno.test("only an invoice without money on it becomes void", async () => {
  await using app = await startTill();
  const invoice = await app.bill();
  const payment = await app.payByHand(invoice, 5);
  const makeVoid = () => app.send(`/api/v2/invoices/${invoice.id}/void`, { reason: "x" });

  assertProblem(await leavesStoreAlone(app, makeVoid), 409, "conflict");
  await app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
    paymentId: payment.id,
    amountMinor: 5,
    reason: "x",
    reference: "y",
  });

  equal((await app.invoice(invoice.id)).status, "refunded");
  assertProblem(await leavesStoreAlone(app, makeVoid), 409, "conflict");
});

Deno.test("payments are listed by invoice and by state, in pages", async () => {
  await using app = await startTill();
  const [invoice, other] = [await app.bill(), await app.bill()];
  const mine = [await app.payByHand(invoice, 1), await app.payByHand(invoice, 2)].reverse();
  const theirs = await app.payByHand(other, 3);
  const list = async (query: string) => (await asAdmin(app, "GET", `/api/v2/${query}`)).body;

  deepEqual((await list(`invoices/${invoice.id}/payments`)).data, mine);
  deepEqual((await list(`payments?invoiceId=${invoice.id}`)).data, mine);
  deepEqual((await list("payments")).data, [theirs, ...mine]);
  deepEqual((await list("payments?status=completed")).data, [theirs, ...mine]);
  deepEqual((await list("payments?status=pending")).data, []);
  const first = await list(`payments?limit=2`);
  deepEqual(first.data, [theirs, mine[0]]);
  deepEqual((await list(`payments?limit=2&cursor=${first.nextCursor}`)).data, [mine[1]]);
});

Deno.test("there is nobody to ask about a payment made by hand, and nothing to decide", async () => {
  await using app = await startTill();
  const { id } = await app.payByHand(await app.bill(), 5);
  const decision = { outcome: "failed", reference: "x", reason: "y" };

  for (
    const [path, body] of [[`payments/${id}/check`, undefined], [
      `payments/${id}/resolve`,
      decision,
    ]] as const
  ) {
    const answer = await leavesStoreAlone(app, () => app.send(`/api/v2/${path}`, body));
    assertProblem(answer, 409, "conflict");
  }
});

Deno.test("any run of payments and refunds by hand leaves the books right", async () => {
  await using app = await startTill();
  const act = fc.oneof(
    fc.record({ pay: fc.integer({ min: 1, max: TOTAL }) }),
    fc.record({ refund: fc.integer({ min: 1, max: TOTAL }), of: fc.nat(5) }),
  );

  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 8 }), async (acts) => {
      const invoice = await app.bill();
      const payments: string[] = [];
      let [paid, refunded] = [0, 0];
      for (const one of acts) {
        if ("pay" in one) {
          payments.push((await app.payByHand(invoice, one.pay)).id);
          paid += one.pay;
        } else if (payments.length > 0) {
          const { status } = await app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
            paymentId: payments[one.of % payments.length],
            amountMinor: one.refund,
            reason: "x",
            reference: "y",
          });
          if (status === 201) [paid, refunded] = [paid - one.refund, refunded + one.refund];
        }
      }

      const { invoice: after } = await checkedBooks(app, invoice.id);
      deepEqual([after.paidMinor, after.refundedMinor], [paid, refunded]);
      ok(paid >= 0);
    }),
    { numRuns: 25 },
  );
});

Deno.test("the history of a payment repeats nothing that erasing could not reach", async () => {
  await using app = await startTill();
  const invoice = await app.bill();
  const payment = await app.payByHand(invoice, TOTAL);
  await app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
    paymentId: payment.id,
    amountMinor: 1,
    reason: "Asked for by Asha",
    reference: "x",
  });

  const { body } = await asAdmin(
    app,
    "GET",
    `/api/v2/system/audit?entity=payment&id=${payment.id}`,
  );

  deepEqual(body.data.map(({ action }: { action: string }) => action), ["payment.refund"]);
  deepEqual(body.data[0].fields, ["refunds"]);
  ok(!JSON.stringify(body).includes("Asha"));
  equal(Date.parse(body.data[0].at), TEST_START);
});
