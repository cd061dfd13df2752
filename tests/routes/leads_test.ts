/** POST /api/v2/leads stores an enquiry whole, once, or not at all. */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD } from "../support/program/app.ts";
import { accessLog, assertProblem, etagOf } from "../support/program/answers.ts";
import { asAdmin, leavesStoreAlone, startShop } from "../support/program/shop.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";

Deno.test("POST /api/v2/leads creates a lead, a client and an invoice from one enquiry", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();

  const { status, headers, body } = await app.post("/api/v2/leads", {
    ...LEAD,
    phone: "0712 345 678",
    productId: product.id,
    quantity: 3,
    source: "whatsapp",
    currency: "TZS",
    marketingConsent: true,
  });

  equal(status, 201);
  equal(headers.get("content-type"), "application/json");
  equal(headers.get("cache-control"), "no-store");
  equal(headers.get("location"), `/api/v2/leads/${body.lead.id}`);
  ok(!headers.has("idempotency-replayed"));
  const contact = { name: "Asha Mushi", email: "asha@example.com", phone: "+255712345678" };
  const at = "2026-06-15T09:00:00.000Z";
  const [leadId, clientId, invoiceId] = [body.lead.id, body.client.id, body.invoice.id];
  deepEqual(body, {
    lead: {
      id: leadId,
      clientId,
      contact,
      productId: product.id,
      quantity: 3,
      message: "Habari",
      source: "whatsapp",
      status: "new",
      invoiceId,
      marketingConsent: true,
      revision: 1,
      createdAt: at,
      updatedAt: at,
    },
    client: { id: clientId, ...contact },
    invoice: {
      id: invoiceId,
      number: "INV-2026-000001",
      clientId,
      leadId,
      billTo: contact,
      status: "open",
      currency: "TZS",
      lines: [{
        productId: product.id,
        description: "Duka POS",
        quantity: 3,
        unitMinor: 45_000_000,
        totalMinor: 135_000_000,
      }],
      subtotalMinor: 135_000_000,
      taxMinor: 0,
      totalMinor: 135_000_000,
      paidMinor: 0,
      refundedMinor: 0,
      issuedAt: at,
      dueOn: "2026-06-29",
      isOverdue: false,
      overdueAt: null,
      notes: "",
      voidReason: null,
      revision: 1,
      createdAt: at,
      updatedAt: at,
    },
    links: { invoice: body.links.invoice },
  });
  match(body.links.invoice, /^http:\/\/localhost:\d+\/i\/[\w-]{43}$/);
  const { store } = app.services;
  equal((await store.get(keys.lead(leadId)))?.createdBy, "public");
  equal((await store.get(keys.invoice(invoiceId)))?.createdIn, headers.get("x-request-id"));
  equal(await store.get(keys.clientByEmail("asha@example.com")), clientId);
  equal(await store.get(keys.clientByPhone("+255712345678")), clientId);
  equal(await store.get(keys.invoiceByNumber("INV-2026-000001")), invoiceId);
  equal(await app.count(keys.leadsByStatus("new")), 1);
  equal(await app.count(keys.leadsByClient(clientId)), 1);
  equal(await app.count(keys.invoicesByStatus("open")), 1);
  equal(await app.count(keys.invoicesByClient(clientId)), 1);
  for (const prefix of [keys.leads, keys.clients, keys.invoices]) {
    equal(await app.count(prefix), 1, String(prefix));
  }
});

Deno.test("POST /api/v2/leads without a product creates no invoice and uses no number", async () => {
  await using app = await startShop();

  const { status, body } = await app.post("/api/v2/leads", { name: "Juma", phone: "0712345678" });

  equal(status, 201);
  equal(body.invoice, null);
  deepEqual(body.links, {});
  equal(body.lead.invoiceId, null);
  equal(body.lead.contact.email, null);
  equal(body.lead.message, "");
  equal(await app.count(keys.leads), 1);
  equal(await app.count(keys.invoices), 0);
  equal(await app.count(["invoice_sequence"]), 0);
  equal(await app.count(["client_by_email"]), 0);
});

Deno.test("GET /api/v2/leads/:id answers as POST did, to keys with the scope", async () => {
  await using app = await startShop();
  const { body: { lead } } = await app.post("/api/v2/leads", LEAD);

  const { status, headers, body } = await app.get(
    `/api/v2/leads/${lead.id}`,
    await app.newKey("leads:read"),
  );
  const visitor = await app.get(`/api/v2/leads/${lead.id}`);
  const unknown = await app.get(`/api/v2/leads/${UNKNOWN_ID}`, app.adminKey);

  equal(status, 200);
  equal(etagOf({ headers }), '"1"');
  equal(headers.get("cache-control"), "no-store");
  deepEqual(body, lead);
  assertProblem(visitor, 401, "unauthenticated", { notEchoed: "Asha" });
  assertProblem(unknown, 404, "not_found");
});

Deno.test("POST /api/v2/leads answers a repeated Idempotency-Key with the same bytes", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const lead = { ...LEAD, productId: product.id };
  const key = { "idempotency-key": "tab-1" };
  const first = await app.post("/api/v2/leads", lead, key);

  const again = await leavesStoreAlone(app, () => app.post("/api/v2/leads", lead, key));

  equal(again.status, 201);
  equal(again.text, first.text);
  equal(again.headers.get("idempotency-replayed"), "true");
  equal(again.headers.get("location"), first.headers.get("location"));
  ok(again.headers.get("x-request-id") !== first.headers.get("x-request-id"));
  ok(!first.headers.has("idempotency-replayed"));
  equal(await app.count(keys.leads), 1);
});

Deno.test("POST /api/v2/leads accepts a repeated key with the same fields in another order", async () => {
  await using app = await startShop();
  const key = { "idempotency-key": "tab-1" };
  const first = await app.post("/api/v2/leads", { name: "Juma", email: "juma@example.com" }, key);

  const again = await app.post("/api/v2/leads", { email: "juma@example.com", name: "Juma " }, key);

  equal(again.text, first.text);
  equal(again.headers.get("idempotency-replayed"), "true");
});

Deno.test("POST /api/v2/leads refuses an Idempotency-Key that was used for another enquiry", async () => {
  await using app = await startShop();
  const key = { "idempotency-key": "tab-1" };
  await app.post("/api/v2/leads", LEAD, key);

  const answer = await leavesStoreAlone(
    app,
    () => app.post("/api/v2/leads", { ...LEAD, name: "Neema Other" }, key),
  );

  assertProblem(answer, 422, "idempotency_key_reused", { notEchoed: "Neema" });
  ok(!answer.headers.has("idempotency-replayed"));
});

Deno.test("POST /api/v2/leads keeps an Idempotency-Key for two days", async () => {
  await using app = await startShop();
  const key = { "idempotency-key": "tab-1" };
  const first = await app.post("/api/v2/leads", LEAD, key);

  app.advance(2 * 24 * 3_600_000 - 1);
  const kept = await app.post("/api/v2/leads", LEAD, key);
  app.advance(1);
  const forgotten = await app.post("/api/v2/leads", LEAD, key);

  equal(kept.text, first.text);
  equal(forgotten.status, 201);
  ok(forgotten.body.lead.id !== first.body.lead.id);
  ok(!forgotten.headers.has("idempotency-replayed"));
});

Deno.test("POST /api/v2/leads separates the Idempotency-Keys of visitors from those of API keys", async () => {
  await using app = await startShop();
  const headers = { "idempotency-key": "1" };
  const visitor = await app.post("/api/v2/leads", LEAD, headers);

  const program = await asAdmin(app, "POST", "/api/v2/leads", {
    body: { name: "Juma", email: "juma@example.com" },
    headers,
  });

  equal(program.status, 201);
  ok(program.body.lead.id !== visitor.body.lead.id);
  ok(!program.headers.has("idempotency-replayed"));
});

Deno.test("POST /api/v2/leads refuses a product that is unknown or not on sale", async () => {
  await using app = await startShop();
  const inactive = await app.stockProduct({ active: false });

  for (const productId of [UNKNOWN_ID, inactive.id]) {
    const answer = await leavesStoreAlone(
      app,
      () => app.post("/api/v2/leads", { ...LEAD, productId }, { "idempotency-key": "tab-1" }),
    );

    assertProblem(answer, 422, "invalid_input", { paths: ["productId"], notEchoed: productId });
  }
});

Deno.test("POST /api/v2/leads refuses a currency other than the product's", async () => {
  await using app = await startShop();
  const { id: productId } = await app.stockProduct();

  const answer = await leavesStoreAlone(
    app,
    () => app.post("/api/v2/leads", { ...LEAD, productId, currency: "KES" }),
  );

  assertProblem(answer, 422, "invalid_input", { paths: ["currency"] });
  equal(answer.body.errors[0].code, "currency_mismatch");
});

Deno.test("POST /api/v2/leads refuses an amount above the limit of invoices", async () => {
  await using app = await startShop();
  const { id: productId } = await app.stockProduct({
    price: { currency: "TZS", minor: 90_000_000_000_000 },
  });

  const answer = await leavesStoreAlone(
    app,
    () => app.post("/api/v2/leads", { ...LEAD, productId, quantity: 2 }),
  );

  assertProblem(answer, 422, "invalid_input", { paths: ["quantity"] });
  equal(answer.body.errors[0].code, "amount_too_large");
});

Deno.test("POST /api/v2/leads accepts the Idempotency-Key of a request that was refused", async () => {
  await using app = await startShop();
  const { id: productId } = await app.stockProduct();
  const key = { "idempotency-key": "tab-1" };
  await app.post("/api/v2/leads", { ...LEAD, productId: UNKNOWN_ID }, key);

  const { status, body, headers } = await app.post("/api/v2/leads", { ...LEAD, productId }, key);

  equal(status, 201);
  equal(body.invoice.number, "INV-2026-000001");
  ok(!headers.has("idempotency-replayed"));
});

Deno.test("POST /api/v2/leads costs one read and one commit", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const leads = [
    { name: "Asha", email: "asha@example.com", phone: "0712345678", productId: product.id },
    { name: "Asha", email: "asha@example.com" },
    { name: "Juma", phone: "0754000111", productId: product.id },
  ];
  const before = { reads: app.kv.reads, commits: app.kv.commits };

  for (const [i, lead] of leads.entries()) {
    const headers = i === 0 ? { "idempotency-key": "tab-1" } : undefined;
    equal((await app.post("/api/v2/leads", lead, headers)).status, 201);
  }

  for (const { method, route, status, kvReads, kvCommits, kvConflicts } of accessLog(app)) {
    deepEqual(
      { method, route, status, kvReads, kvCommits, kvConflicts },
      {
        method: "POST",
        route: "/api/v2/leads",
        status: 201,
        kvReads: 1,
        kvCommits: 1,
        kvConflicts: 0,
      },
    );
  }
  equal(accessLog(app).length, leads.length);
  equal(app.kv.reads - before.reads, leads.length);
  equal(app.kv.commits - before.commits, leads.length);
});

Deno.test("POST /api/v2/leads numbers 200 simultaneous invoices without gaps, and creates one client per contact", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const forms = Array.from({ length: 200 }, (_, i) => ({
    name: `Visitor ${i}`,
    productId: product.id,
    ...(i % 2 === 0
      ? { email: `${i % 4 === 0 ? "V" : "v"}isitor${i % 40}@example.com` }
      : { phone: `${i % 4 === 1 ? "0" : "+255"}7123450${String(i % 40).padStart(2, "0")}` }),
  }));
  // The first 20 are each sent twice, under one key.
  const sent = [...forms, ...forms.slice(0, 20)];

  const answers = await Promise.all(sent.map((form, i) =>
    app.post(
      "/api/v2/leads",
      form,
      i < 20 || i >= 200 ? { "idempotency-key": `tab-${i % 200}` } : {},
    )
  ));

  deepEqual([...new Set(answers.map(({ status }) => status))], [201]);
  deepEqual(
    [...new Set(answers.map(({ body }) => body.invoice.number))].sort(),
    Array.from({ length: 200 }, (_, i) => `INV-2026-${String(i + 1).padStart(6, "0")}`),
  );
  for (let i = 0; i < 20; i++) equal(answers[i + 200]?.text, answers[i]?.text);
  equal(answers.filter(({ headers }) => headers.has("idempotency-replayed")).length, 20);
  const clientsByContact = Map.groupBy(
    answers,
    ({ body: { client } }) => client.email ?? client.phone,
  );
  equal(clientsByContact.size, 40);
  for (const [contact, theirs] of clientsByContact) {
    equal(new Set(theirs.map(({ body }) => body.client.id)).size, 1, contact);
  }
  equal(await app.count(keys.clients), 40);
  equal(await app.count(keys.leads), 200);
  equal(await app.count(keys.invoices), 200);
  equal(await app.count(["invoice_by_number"]), 200);
});

Deno.test("POST /api/v2/leads restarts invoice numbers with each year of the shop's time zone", async () => {
  await using app = await startShop({ env: { INVOICE_SERIES: "WT" } });
  const { id: productId } = await app.stockProduct();
  const numberAt = async (at: number) => {
    app.advance(at - app.services.clock());
    return (await app.post("/api/v2/leads", { ...LEAD, productId })).body.invoice.number;
  };

  // Midnight in Dar es Salaam is 21:00 UTC.
  equal(await numberAt(Date.UTC(2026, 11, 31, 20, 59, 59, 999)), "WT-2026-000001");
  equal(await numberAt(Date.UTC(2026, 11, 31, 21)), "WT-2027-000001");
  equal(await numberAt(Date.UTC(2027, 0, 1)), "WT-2027-000002");
});
