/**
 * An invoice adds up and is numbered when it is issued. After that it is not edited: it is paid or
 * voided.
 */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { transact } from "../../lib/kv/mod.ts";
import { assertProblem, etagOf } from "../support/program/answers.ts";
import {
  asAdmin,
  checkedHistoryOf,
  leavesStoreAlone,
  type TestShop,
} from "../support/program/shop.ts";
import { startOffice, WORK } from "./_office.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";

async function numbersIn(app: TestShop): Promise<number> {
  return await app.count(["invoice_by_number"]);
}

Deno.test("POST /api/v2/invoices adds up products, texts and tax", async () => {
  await using app = await startOffice();
  const product = await app.stockProduct();

  const { status, headers, body } = await app.write({
    lines: [
      { productId: product.id, quantity: 2 },
      { productId: product.id, description: "Duka POS, renewed", quantity: 1, unitMinor: 1 },
      { ...WORK, quantity: 3 },
    ],
    taxMinor: 500,
    dueOn: "2026-07-31",
    notes: "Asante\nsana",
  });

  equal(status, 201);
  equal(headers.get("location"), `/api/v2/invoices/${body.id}`);
  equal(etagOf({ headers }), '"1"');
  const at = "2026-06-15T09:00:00.000Z";
  deepEqual(body, {
    id: body.id,
    number: "INV-2026-000001",
    clientId: app.clientId,
    leadId: null,
    billTo: { name: "Asha Mushi", email: "asha@example.com", phone: "+255712345678" },
    status: "open",
    currency: "TZS",
    lines: [
      {
        productId: product.id,
        description: "Duka POS",
        quantity: 2,
        unitMinor: 45_000_000,
        totalMinor: 90_000_000,
      },
      {
        productId: product.id,
        description: "Duka POS, renewed",
        quantity: 1,
        unitMinor: 1,
        totalMinor: 1,
      },
      {
        productId: null,
        description: "Installation",
        quantity: 3,
        unitMinor: 10_000,
        totalMinor: 30_000,
      },
    ],
    subtotalMinor: 90_030_001,
    taxMinor: 500,
    totalMinor: 90_030_501,
    paidMinor: 0,
    refundedMinor: 0,
    issuedAt: at,
    dueOn: "2026-07-31",
    isOverdue: false,
    overdueAt: null,
    notes: "Asante\nsana",
    voidReason: null,
    revision: 1,
    createdAt: at,
    updatedAt: at,
  });
  const read = await asAdmin(app, "GET", `/api/v2/invoices/${body.id}`);
  deepEqual(read.body, body);
  equal(etagOf(read), '"1"');
  equal(await app.count(keys.invoicesByClient(app.clientId)), 1);
  equal(await app.count(keys.invoicesByStatus("open")), 1);
});

Deno.test("POST /api/v2/invoices uses the configured payment term and currency by default", async () => {
  await using app = await startOffice();

  const shops = await app.write();
  const named = await app.write({ currency: "UGX" });

  equal(shops.body.currency, "TZS");
  equal(shops.body.dueOn, "2026-06-29");
  equal(named.body.currency, "UGX");
  equal(named.body.number, "INV-2026-000002");
});

Deno.test("POST /api/v2/invoices creates one invoice for a repeated Idempotency-Key", async () => {
  await using app = await startOffice();
  const key = { "idempotency-key": "order-1" };
  const first = await app.write({}, key);

  const again = await leavesStoreAlone(app, () => app.write({}, key));
  const other = await leavesStoreAlone(app, () => app.write({ taxMinor: 1 }, key));

  equal(again.text, first.text);
  equal(again.headers.get("idempotency-replayed"), "true");
  equal(etagOf(again), etagOf(first));
  assertProblem(other, 422, "idempotency_key_reused");
});

Deno.test("a draft has no number and can be changed until it is issued", async () => {
  await using app = await startOffice();
  const draft = (await app.write({ draft: true })).body;
  const address = `/api/v2/invoices/${draft.id}`;

  equal(draft.status, "draft");
  equal(draft.number, null);
  equal(draft.issuedAt, null);
  equal(await numbersIn(app), 0);
  equal(await app.count(["invoice_sequence"]), 0);

  const rewritten = await asAdmin(app, "PATCH", address, {
    body: { lines: [{ ...WORK, quantity: 5 }], taxMinor: 9, dueOn: "2026-12-31", notes: "Five" },
    headers: { "if-match": '"1"' },
  });
  equal(rewritten.status, 200);
  equal(etagOf(rewritten), '"2"');
  equal(rewritten.body.subtotalMinor, 50_000);
  equal(rewritten.body.totalMinor, 50_009);
  equal(rewritten.body.number, null);

  app.advance(3_600_000);
  const issued = await asAdmin(app, "POST", `${address}/issue`);
  equal(issued.status, 200);
  deepEqual(issued.body, {
    ...rewritten.body,
    number: "INV-2026-000001",
    status: "open",
    issuedAt: "2026-06-15T10:00:00.000Z",
    updatedAt: "2026-06-15T10:00:00.000Z",
    revision: 3,
  });
  equal(etagOf(issued), '"3"');
  equal(await app.count(keys.invoicesByStatus("draft")), 0);
  equal(await app.count(keys.invoicesByStatus("open")), 1);
  equal(await app.services.store.get(keys.invoiceByNumber("INV-2026-000001")), draft.id);
  const history = await checkedHistoryOf(app, "invoice", keys.invoice(draft.id));
  deepEqual(history.map(({ action }) => action), ["invoice.change", "invoice.issue"]);
});

Deno.test("changing only the tax of a draft updates its total", async () => {
  await using app = await startOffice();
  const { body: { id } } = await app.write({ draft: true });

  const { body } = await asAdmin(app, "PATCH", `/api/v2/invoices/${id}`, { body: { taxMinor: 7 } });

  equal(body.totalMinor, 10_007);
  equal(body.lines.length, 1);
});

Deno.test("an issued invoice keeps its lines and tax, while notes and due date may change", async () => {
  await using app = await startOffice();
  const { body: invoice } = await app.write();
  const address = `/api/v2/invoices/${invoice.id}`;

  for (const change of [{ lines: [WORK] }, { taxMinor: 0 }, { taxMinor: 1, notes: "More" }]) {
    const refused = await leavesStoreAlone(
      app,
      () => asAdmin(app, "PATCH", address, { body: change }),
    );
    assertProblem(refused, 409, "conflict");
  }
  const { status, body } = await asAdmin(app, "PATCH", address, {
    body: { notes: "Later", dueOn: "2026-09-01" },
  });

  equal(status, 200);
  deepEqual({ ...body, updatedAt: invoice.updatedAt }, {
    ...invoice,
    notes: "Later",
    dueOn: "2026-09-01",
    revision: 2,
  });
});

Deno.test("PATCH /api/v2/invoices/:id without a change makes no revision", async () => {
  await using app = await startOffice();
  const { body: invoice } = await app.write({ notes: "Same" });

  const { status, body } = await leavesStoreAlone(
    app,
    () => asAdmin(app, "PATCH", `/api/v2/invoices/${invoice.id}`, { body: { notes: "Same" } }),
  );

  equal(status, 200);
  deepEqual(body, invoice);
});

Deno.test("only drafts are issued, once per Idempotency-Key", async () => {
  await using app = await startOffice();
  const { body: { id } } = await app.write({ draft: true });
  const issue = (key: string) =>
    asAdmin(app, "POST", `/api/v2/invoices/${id}/issue`, { headers: { "idempotency-key": key } });

  const first = await issue("a");
  const again = await issue("a");
  const twice = await leavesStoreAlone(app, () => issue("b"));

  equal(first.status, 200);
  equal(again.text, first.text);
  equal(again.headers.get("idempotency-replayed"), "true");
  assertProblem(twice, 409, "conflict");
  equal(await numbersIn(app), 1);
});

Deno.test("50 drafts issued at once take 50 numbers in a row", async () => {
  await using app = await startOffice();
  const drafts = await Promise.all(Array.from({ length: 50 }, () => app.write({ draft: true })));

  const issued = await Promise.all(
    drafts.map(({ body }) => asAdmin(app, "POST", `/api/v2/invoices/${body.id}/issue`)),
  );

  deepEqual(
    issued.map(({ body }) => body.number).sort(),
    issued.map((_, i) => `INV-2026-${String(i + 1).padStart(6, "0")}`),
  );
});

Deno.test("a void invoice keeps its number and is final", async () => {
  await using app = await startOffice();
  const { body: invoice } = await app.write();
  const address = `/api/v2/invoices/${invoice.id}`;

  const { status, headers, body } = await asAdmin(app, "POST", `${address}/void`, {
    body: { reason: "Written twice" },
  });

  equal(status, 200);
  equal(etagOf({ headers }), '"2"');
  deepEqual(body, { ...invoice, status: "void", voidReason: "Written twice", revision: 2 });
  equal(await app.count(keys.invoicesByStatus("open")), 0);
  equal(await app.count(keys.invoicesByStatus("void")), 1);
  equal(await app.services.store.get(keys.invoiceByNumber(invoice.number)), invoice.id);
  const attempts: [string, string, unknown][] = [
    ["POST", `${address}/void`, { reason: "Again" }],
    ["POST", `${address}/issue`, undefined],
    ["PATCH", address, { notes: "No" }],
    ["PATCH", address, { lines: [WORK] }],
  ];
  for (const [method, path, sent] of attempts) {
    const refused = await leavesStoreAlone(
      app,
      () => asAdmin(app, method, path, sent ? { body: sent } : {}),
    );
    assertProblem(refused, 409, "conflict");
  }
  equal((await app.write()).body.number, "INV-2026-000002");
  equal((await checkedHistoryOf(app, "invoice", keys.invoice(invoice.id))).length, 1);
});

Deno.test("a void draft never had a number, and leaves no gap", async () => {
  await using app = await startOffice();
  const { body: { id } } = await app.write({ draft: true });

  const { body } = await asAdmin(app, "POST", `/api/v2/invoices/${id}/void`, {
    body: { reason: "Not wanted" },
  });

  equal(body.status, "void");
  equal(body.number, null);
  equal((await app.write()).body.number, "INV-2026-000001");
});

Deno.test("voiding needs a reason, and happens once per Idempotency-Key", async () => {
  await using app = await startOffice();
  const { body: { id } } = await app.write();
  const voidIt = (body: unknown, key = "k") =>
    asAdmin(app, "POST", `/api/v2/invoices/${id}/void`, {
      body,
      headers: { "idempotency-key": key },
    });

  const without = await leavesStoreAlone(app, () => voidIt({}));
  const blank = await leavesStoreAlone(app, () => voidIt({ reason: " " }));
  const first = await voidIt({ reason: "Written twice" });
  const again = await voidIt({ reason: "Written twice" });
  const other = await voidIt({ reason: "Another" });

  assertProblem(without, 422, "invalid_input", { paths: ["reason"] });
  assertProblem(blank, 422, "invalid_input", { paths: ["reason"] });
  equal(again.text, first.text);
  equal(again.headers.get("idempotency-replayed"), "true");
  assertProblem(other, 422, "idempotency_key_reused");
});

Deno.test("an invoice with a payment cannot be voided", async () => {
  await using app = await startOffice();
  const { body: invoice } = await app.write();
  const stored = await app.services.store.get(keys.invoice(invoice.id));
  await transact(app.services, {}, (_, writes) => {
    writes.set(keys.invoice(invoice.id), { ...stored!, paidMinor: 1, status: "uncollectible" });
  }, { operation: { id: "pay", fingerprint: "", isNew: true, keepMs: 1_000 } });

  const answer = await leavesStoreAlone(
    app,
    () => asAdmin(app, "POST", `/api/v2/invoices/${invoice.id}/void`, { body: { reason: "No" } }),
  );

  assertProblem(answer, 409, "conflict");
});

Deno.test("a stale or malformed If-Match changes no invoice", async () => {
  await using app = await startOffice();
  const { body: { id } } = await app.write();
  const patch = (tag: string) =>
    leavesStoreAlone(app, () =>
      asAdmin(app, "PATCH", `/api/v2/invoices/${id}`, {
        body: { notes: "New" },
        headers: { "if-match": tag },
      }));

  assertProblem(await patch('"2"'), 412, "stale_revision");
  assertProblem(await patch("2"), 400, "malformed");
});

Deno.test("an invoice is found by its number, combined with other filters", async () => {
  await using app = await startOffice();
  const [first] = [(await app.write()).body, await app.write()];
  const found = async (query: string) =>
    (await asAdmin(app, "GET", `/api/v2/invoices?${query}`)).body;

  deepEqual(await found("number=INV-2026-000001"), { data: [first], nextCursor: null });
  deepEqual((await found("number=INV-2026-000001&status=open")).data, [first]);
  deepEqual((await found("number=INV-2026-000001&status=void")).data, []);
  deepEqual((await found(`number=INV-2026-000001&clientId=${UNKNOWN_ID}`)).data, []);
  deepEqual(await found("number=INV-2026-000003"), { data: [], nextCursor: null });
  deepEqual((await found("number=inv-2026-000001")).data, []);
});

Deno.test("an invoice needs an existing client whose data was not erased", async () => {
  await using app = await startOffice();
  await asAdmin(app, "DELETE", `/api/v2/clients/${app.clientId}`);

  for (const clientId of [UNKNOWN_ID, app.clientId]) {
    const answer = await leavesStoreAlone(app, () => app.write({ clientId }));

    assertProblem(answer, 422, "invalid_input", { paths: ["clientId"] });
  }
});

Deno.test("an invoice keeps what was sold when the product changes or is deleted", async () => {
  await using app = await startOffice();
  const product = await app.stockProduct();
  const { body: invoice } = await app.write({ lines: [{ productId: product.id, quantity: 1 }] });

  await asAdmin(app, "PATCH", `/api/v2/products/${product.id}`, {
    body: { title: "Duka POS 2", price: { currency: "TZS", minor: 1 } },
  });
  await asAdmin(app, "DELETE", `/api/v2/products/${product.id}`);

  deepEqual((await asAdmin(app, "GET", `/api/v2/invoices/${invoice.id}`)).body, invoice);
});

Deno.test("every operation on a missing invoice answers 404", async () => {
  await using app = await startOffice();
  const address = `/api/v2/invoices/${UNKNOWN_ID}`;

  const answers = await leavesStoreAlone(app, () =>
    Promise.all([
      asAdmin(app, "GET", address),
      asAdmin(app, "PATCH", address, { body: { notes: "x" } }),
      asAdmin(app, "POST", `${address}/issue`),
      asAdmin(app, "POST", `${address}/void`, { body: { reason: "x" } }),
    ]));

  for (const answer of answers) assertProblem(answer, 404, "not_found");
});
