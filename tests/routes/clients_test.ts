/**
 * Clients: an e-mail address or a number belongs to one at most, and whatever is
 * stored about a person can be handed out whole, and erased for good.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD } from "../support/program/app.ts";
import { assertProblem, etagOf } from "../support/program/answers.ts";
import {
  asAdmin,
  checkedHistoryOf,
  leavesStoreAlone,
  newClient,
  startShop,
} from "../support/program/shop.ts";
import {
  checkedBooks,
  type GatewayTill,
  startGatewayTill,
  TOTAL,
} from "../support/program/till.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";

Deno.test("GET /api/v2/clients/:id reads a client that an enquiry made", async () => {
  await using app = await startShop();
  const id = await newClient(app, { phone: "0712345678" });

  const { status, headers, body } = await asAdmin(app, "GET", `/api/v2/clients/${id}`);

  equal(status, 200);
  equal(etagOf({ headers }), '"1"');
  equal(headers.get("cache-control"), "no-store");
  deepEqual(body, {
    id,
    name: "Asha Mushi",
    email: "asha@example.com",
    phone: "+255712345678",
    notes: "",
    marketingConsent: false,
    erasedAt: null,
    revision: 1,
    createdAt: "2026-06-15T09:00:00.000Z",
    updatedAt: "2026-06-15T09:00:00.000Z",
  });
});

Deno.test("PATCH /api/v2/clients/:id changes a client and moves what it is found by", async () => {
  await using app = await startShop();
  const id = await newClient(app, { phone: "0712345678" });
  app.advance(1_000);

  const { status, headers, body } = await asAdmin(app, "PATCH", `/api/v2/clients/${id}`, {
    body: {
      name: "Asha M. Mushi",
      email: "ASHA@new.example.com ",
      phone: "0754 000 111",
      notes: "Pays late",
      marketingConsent: true,
    },
    headers: { "if-match": '"1"' },
  });

  equal(status, 200);
  equal(etagOf({ headers }), '"2"');
  deepEqual(body, {
    id,
    name: "Asha M. Mushi",
    email: "asha@new.example.com",
    phone: "+255754000111",
    notes: "Pays late",
    marketingConsent: true,
    erasedAt: null,
    revision: 2,
    createdAt: "2026-06-15T09:00:00.000Z",
    updatedAt: "2026-06-15T09:00:01.000Z",
  });
  const { store } = app.services;
  equal(await store.get(keys.clientByEmail("asha@example.com")), null);
  equal(await store.get(keys.clientByPhone("+255712345678")), null);
  equal(await store.get(keys.clientByEmail("asha@new.example.com")), id);
  equal(await store.get(keys.clientByPhone("+255754000111")), id);
  equal(await app.count(["client_by_email"]), 1);
  equal(await app.count(["client_by_phone"]), 1);
});

Deno.test("the history of a client names what changed, and repeats nothing personal", async () => {
  await using app = await startShop();
  const id = await newClient(app);
  await asAdmin(app, "PATCH", `/api/v2/clients/${id}`, {
    body: { name: "Neema Zuberi", email: "neema@example.com", marketingConsent: true },
  });

  const [entry] = await checkedHistoryOf(app, "client", keys.client(id));

  deepEqual(entry?.fields.toSorted(), ["email", "marketingConsent", "name"]);
  deepEqual(entry?.changes, { marketingConsent: [false, true] });
  equal(entry?.action, "client.change");
  equal(entry?.by, "bootstrap");
  const text = await app.kv.text(["audit"]);
  for (const personal of ["Asha", "Neema", "example.com"]) ok(!text.includes(personal), personal);
});

Deno.test("an address or a number that was given up can be another client's", async () => {
  await using app = await startShop();
  const first = await newClient(app, { phone: "0712345678" });
  await asAdmin(app, "PATCH", `/api/v2/clients/${first}`, { body: { email: null } });

  const second = await newClient(app, { email: "asha@example.com" });
  const { body } = await asAdmin(app, "GET", `/api/v2/clients/${first}`);

  ok(first !== second);
  equal(body.email, null);
  equal(body.phone, "+255712345678");
});

Deno.test("PATCH /api/v2/clients/:id refuses what another client has", async () => {
  await using app = await startShop();
  await newClient(app, { email: "juma@example.com", phone: "0754000111" });
  const id = await newClient(app);

  for (const [field, value] of [["email", " JUMA@example.com"], ["phone", "+255754000111"]]) {
    const answer = await leavesStoreAlone(
      app,
      () => asAdmin(app, "PATCH", `/api/v2/clients/${id}`, { body: { [field!]: value } }),
    );

    assertProblem(answer, 409, "conflict", { paths: [field!], notEchoed: "JUMA" });
    equal(answer.body.errors[0].code, "taken");
  }
});

Deno.test("two clients that want one address at once do not both get it", async () => {
  await using app = await startShop();
  const ids = await Promise.all(
    Array.from({ length: 8 }, (_, i) => newClient(app, { email: `c${i}@example.com` })),
  );

  const answers = await Promise.all(
    ids.map((id) =>
      asAdmin(app, "PATCH", `/api/v2/clients/${id}`, { body: { email: "shared@example.com" } })
    ),
  );

  deepEqual(answers.map(({ status }) => status).sort(), [200, ...Array(7).fill(409)]);
  const winner = answers.find(({ status }) => status === 200)?.body.id;
  equal(await app.services.store.get(keys.clientByEmail("shared@example.com")), winner);
  equal(await app.count(["client_by_email"]), 8);
});

Deno.test("a client's own address in another spelling is no conflict, and no change", async () => {
  await using app = await startShop();
  const id = await newClient(app);

  const { status, body } = await leavesStoreAlone(
    app,
    () => asAdmin(app, "PATCH", `/api/v2/clients/${id}`, { body: { email: "Asha@Example.COM" } }),
  );

  equal(status, 200);
  equal(body.revision, 1);
});

const BAD: [what: string, change: Record<string, unknown>, path: string][] = [
  ["an address that is none", { email: "asha@" }, "email"],
  ["a number that is none", { phone: "12" }, "phone"],
  ["an empty address", { email: "" }, "email"],
  ["no way to be reached", { email: null }, "email"],
  ["an empty name", { name: " " }, "name"],
  ["a name of null", { name: null }, "name"],
  ["a name with a control character", { name: "a\u0007b" }, "name"],
  ["notes that are too long", { notes: "x".repeat(4_001) }, "notes"],
  ["consent in words", { marketingConsent: "yes" }, "marketingConsent"],
  ["an id of its own", { id: UNKNOWN_ID }, "id"],
  ["erasure by hand", { erasedAt: null }, "erasedAt"],
  ["a chain of its own", { chain: "x" }, "chain"],
];

for (const [what, change, path] of BAD) {
  Deno.test(`PATCH /api/v2/clients/:id refuses ${what}`, async () => {
    await using app = await startShop();
    const id = await newClient(app);

    const answer = await leavesStoreAlone(
      app,
      () => asAdmin(app, "PATCH", `/api/v2/clients/${id}`, { body: change }),
    );

    assertProblem(answer, 422, "invalid_input", { paths: [path] });
  });
}

Deno.test("a stale or malformed If-Match changes no client", async () => {
  await using app = await startShop();
  const id = await newClient(app);
  const patch = (tag: string) =>
    leavesStoreAlone(app, () =>
      asAdmin(app, "PATCH", `/api/v2/clients/${id}`, {
        body: { name: "Other" },
        headers: { "if-match": tag },
      }));

  assertProblem(await patch('"7"'), 412, "stale_revision");
  assertProblem(await patch("yesterday"), 400, "malformed");
});

Deno.test("GET /api/v2/clients/:id/export hands out all there is, and nobody else's", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const id = await newClient(app);
  const { body: sold } = await app.post("/api/v2/leads", { ...LEAD, productId: product.id });
  const { body: draft } = await asAdmin(app, "POST", "/api/v2/invoices", {
    body: {
      clientId: id,
      lines: [{ description: "Work", quantity: 1, unitMinor: 1 }],
      draft: true,
    },
  });
  await app.post("/api/v2/leads", { ...LEAD, email: "juma@example.com", productId: product.id });

  const { status, body } = await asAdmin(app, "GET", `/api/v2/clients/${id}/export`);

  equal(status, 200);
  deepEqual(Object.keys(body).sort(), ["client", "invoices", "leads", "payments"]);
  deepEqual(body.client, (await asAdmin(app, "GET", `/api/v2/clients/${id}`)).body);
  equal(body.leads.length, 2);
  deepEqual(body.leads[0], sold.lead);
  deepEqual(body.invoices, [draft, sold.invoice]);
});

Deno.test("GET /api/v2/clients/:id/export hands out more than one page of leads", async () => {
  await using app = await startShop();
  const id = await newClient(app);
  await Promise.all(Array.from({ length: 205 }, () => app.post("/api/v2/leads", LEAD)));

  const { body } = await asAdmin(app, "GET", `/api/v2/clients/${id}/export`);

  equal(new Set(body.leads.map(({ id }: { id: string }) => id)).size, 206);
});

const SECRETS = ["Siri", "Mushi", "asha@example.com", "712345678", "Pays late"];

/** What of the books says anything of a person. */
async function booksOf(app: Awaited<ReturnType<typeof startShop>>): Promise<string> {
  const books = ["client", "client_by_email", "client_by_phone", "lead", "invoice", "audit"];
  return (await Promise.all(books.map((prefix) => app.kv.text([prefix])))).join("");
}

Deno.test("DELETE /api/v2/clients/:id erases a person and keeps the books", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const { body: { client, lead, invoice } } = await app.post("/api/v2/leads", {
    name: "Asha Siri Mushi",
    email: "asha@example.com",
    phone: "0712345678",
    message: "Siri yangu",
    productId: product.id,
    marketingConsent: true,
  });
  await asAdmin(app, "PATCH", `/api/v2/clients/${client.id}`, { body: { notes: "Pays late" } });
  await newClient(app, { name: "Juma", email: "juma@example.com", phone: "0754000111" });
  app.advance(60_000);

  const { status, headers, body } = await asAdmin(app, "DELETE", `/api/v2/clients/${client.id}`);

  equal(status, 200);
  equal(headers.get("content-type"), "application/json");
  const erasedAt = "2026-06-15T09:01:00.000Z";
  deepEqual(body, {
    id: client.id,
    name: "[erased]",
    email: null,
    phone: null,
    notes: "",
    marketingConsent: false,
    erasedAt,
    revision: 3,
    createdAt: "2026-06-15T09:00:00.000Z",
    updatedAt: erasedAt,
  });
  const left = await asAdmin(app, "GET", `/api/v2/clients/${client.id}/export`);
  deepEqual(left.body.client, body);
  deepEqual(left.body.leads, [{
    ...lead,
    contact: { name: "[erased]", email: null, phone: null },
    message: "",
    marketingConsent: false,
    revision: 2,
    updatedAt: erasedAt,
  }]);
  deepEqual(left.body.invoices, [{
    ...invoice,
    billTo: { name: "Asha Siri Mushi", email: null, phone: null },
    revision: 2,
    updatedAt: erasedAt,
  }]);
  equal(await app.count(["client_by_email"]), 1);
  equal(await app.count(["client_by_phone"]), 1);
  // The law wants the buyer's name on an invoice; nothing else is left of her.
  const books = (await booksOf(app)).replaceAll("Asha Siri Mushi", "");
  for (const secret of SECRETS) ok(!books.includes(secret), secret);
  for (
    const [kind, key] of [
      ["client", keys.client(client.id)],
      ["lead", keys.lead(lead.id)],
      ["invoice", keys.invoice(invoice.id)],
    ] as const
  ) {
    const history = await checkedHistoryOf(app, kind, key);
    equal(history.at(-1)?.action, "client.erase");
    deepEqual(history.at(-1)?.by, "bootstrap");
  }
});

/** An invoice with a payment of each kind, newest first as the program lists them. */
async function payEveryWay(app: GatewayTill) {
  const invoice = await app.bill();
  const address = `/api/v2/invoices/${invoice.id}/payments`;
  const cash = { amountMinor: 500, method: "cash", reference: "R-7", notes: "Asha's brother" };
  const { status, text } = await app.send(address, cash);
  equal(status, 201, text);
  const phoned = await app.payByPhone(invoice, { phone: "0754 111 222" });
  await app.azampay.push(phoned.id).approve();
  const waiting = await app.payAtPesapal(await app.bill({ clientId: invoice.clientId }));
  return { invoice, phoned, waiting };
}

Deno.test("GET /api/v2/clients/:id/export hands out the payments, and not where they are paid", async () => {
  await using app = await startGatewayTill();
  const { invoice, phoned, waiting } = await payEveryWay(app);
  const stranger = await newClient(app, { name: "Juma", email: "juma@example.com" });
  await app.payByHand(await app.bill({ clientId: stranger }), 7);

  const { text, body } = await asAdmin(app, "GET", `/api/v2/clients/${invoice.clientId}/export`);

  const { redirectUrl, ...shown } =
    (await asAdmin(app, "GET", `/api/v2/payments/${waiting.id}`)).body;
  deepEqual(body.payments[0], shown);
  ok(redirectUrl && !text.includes(redirectUrl) && !text.includes("redirectUrl"));
  deepEqual(
    body.payments.map(({ channel, payerPhone, notes }: typeof shown) => [
      channel,
      payerPhone,
      notes,
    ]),
    [["pesapal", null, ""], ["azampay", "+255754111222", ""], ["manual", null, "Asha's brother"]],
  );
  equal(body.payments[1].id, phoned.id);
});

Deno.test("DELETE /api/v2/clients/:id erases who paid, and keeps what was paid", async () => {
  await using app = await startGatewayTill();
  const { invoice, phoned, waiting } = await payEveryWay(app);
  const { payments: before } = await checkedBooks(app, invoice.id);
  app.advance(60_000);

  const { status } = await asAdmin(app, "DELETE", `/api/v2/clients/${invoice.clientId}`);

  equal(status, 200);
  const { payments, invoice: after } = await checkedBooks(app, invoice.id);
  equal(after.paidMinor, TOTAL);
  deepEqual(
    payments,
    before.map((payment, i) => {
      const { revision, updatedAt, chain } = payments[i]!;
      const erased = { payerPhone: null, redirectUrl: null, notes: "" };
      return { ...payment, ...erased, revision, updatedAt, chain };
    }),
  );
  ok(payments[0]?.confirmationCode);
  const books = await app.kv.text(["payment"]) + await app.kv.text(["audit"]);
  for (const secret of ["754111222", "brother", waiting.redirectUrl!]) {
    ok(!books.includes(secret), secret);
  }
  for (const { id } of [phoned, waiting]) {
    const history = await checkedHistoryOf(app, "payment", keys.payment(id));
    equal(history.at(-1)?.action, "client.erase");
  }
  // What waits is asked about as before, and paid in the end.
  await app.pesapal.order(waiting.id).complete();
  equal((await checkedBooks(app, waiting.invoiceId)).invoice.status, "paid");
  equal((await app.payment(waiting.id)).redirectUrl, null);
});

Deno.test("DELETE /api/v2/clients/:id goes on with the payments that it had not come to", async () => {
  await using app = await startGatewayTill();
  const { invoice, phoned, waiting } = await payEveryWay(app);
  await app.kv.corrupt(keys.payment(phoned.id));
  const address = `/api/v2/clients/${invoice.clientId}`;
  const interrupted = await asAdmin(app, "DELETE", address);
  const isAhead = (await app.payment(waiting.id)).redirectUrl === null;
  await app.kv.restore(keys.payment(phoned.id));
  const { payerPhone } = await app.payment(phoned.id);

  const { status } = await asAdmin(app, "DELETE", address);
  const again = await leavesStoreAlone(app, () => asAdmin(app, "DELETE", address));

  assertProblem(interrupted, 500, "internal");
  deepEqual([isAhead, payerPhone], [true, "+255754111222"]);
  deepEqual([status, again.status], [200, 200]);
  equal((await app.payment(phoned.id)).payerPhone, null);
});

Deno.test("DELETE /api/v2/clients/:id repeats harmlessly", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const id = await newClient(app);
  await app.post("/api/v2/leads", { ...LEAD, productId: product.id });
  const first = await asAdmin(app, "DELETE", `/api/v2/clients/${id}`);
  app.advance(60_000);

  const again = await leavesStoreAlone(app, () => asAdmin(app, "DELETE", `/api/v2/clients/${id}`));

  equal(again.status, 200);
  equal(again.text, first.text);
});

Deno.test("DELETE /api/v2/clients/:id finishes what was interrupted", async () => {
  await using app = await startShop();
  const { body: { lead, client } } = await app.post("/api/v2/leads", LEAD);
  await app.kv.corrupt(keys.lead(lead.id));
  const interrupted = await asAdmin(app, "DELETE", `/api/v2/clients/${client.id}`);
  equal(await app.count(["client_by_email"]), 0);
  await app.kv.restore(keys.lead(lead.id));

  const { status } = await asAdmin(app, "DELETE", `/api/v2/clients/${client.id}`);

  assertProblem(interrupted, 500, "internal");
  equal(status, 200);
  equal((await asAdmin(app, "GET", `/api/v2/leads/${lead.id}`)).body.contact.email, null);
});

Deno.test("an erased client is found by nobody: its address makes a new one", async () => {
  await using app = await startShop();
  const erased = await newClient(app, { phone: "0712345678" });
  await asAdmin(app, "DELETE", `/api/v2/clients/${erased}`);

  const byEmail = await newClient(app);
  const byPhone = await app.post("/api/v2/leads", { name: "Asha", phone: "0712345678" });

  ok(byEmail !== erased);
  ok(byPhone.body.client.id !== erased);
  equal(await app.services.store.get(keys.clientByEmail("asha@example.com")), byEmail);
  const { body } = await asAdmin(app, "GET", `/api/v2/clients/${erased}/export`);
  equal(body.leads.length, 1);
  equal(body.client.erasedAt, "2026-06-15T09:00:00.000Z");
});

Deno.test("an erased client is not written to again", async () => {
  await using app = await startShop();
  const id = await newClient(app);
  await asAdmin(app, "DELETE", `/api/v2/clients/${id}`);

  const answer = await leavesStoreAlone(
    app,
    () => asAdmin(app, "PATCH", `/api/v2/clients/${id}`, { body: { email: "asha@example.com" } }),
  );

  assertProblem(answer, 409, "conflict");
});

Deno.test("leads that come while a client is erased leave nothing of the person with it", async () => {
  await using app = await startShop();
  const id = await newClient(app);

  const [erased] = await Promise.all([
    asAdmin(app, "DELETE", `/api/v2/clients/${id}`),
    ...Array.from({ length: 20 }, () => app.post("/api/v2/leads", LEAD)),
  ]);

  equal(erased.status, 200);
  const { body } = await asAdmin(app, "GET", `/api/v2/clients/${id}/export`);
  for (const { contact } of body.leads) equal(contact.email, null);
  equal(await app.count(keys.leads), 21);
  ok(await app.count(keys.clients) <= 2);
});

Deno.test("what is asked of a client that is not there is 404", async () => {
  await using app = await startShop();
  const address = `/api/v2/clients/${UNKNOWN_ID}`;

  const answers = await leavesStoreAlone(app, () =>
    Promise.all([
      asAdmin(app, "GET", address),
      asAdmin(app, "PATCH", address, { body: { name: "x" } }),
      asAdmin(app, "GET", `${address}/export`),
      asAdmin(app, "DELETE", address),
    ]));

  for (const answer of answers) assertProblem(answer, 404, "not_found");
});
