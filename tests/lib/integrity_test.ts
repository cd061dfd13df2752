/**
 * The sweep finds what is wrong, all of it and nothing else: each kind of damage
 * is done behind the program's back, and seen under its name.
 */
// Under their short names Deno exports from here what compares with `==`.
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import fc from "fast-check";
import { changeClient, eraseClient } from "../../lib/clients.ts";
import { AppError } from "../../lib/errors.ts";
import { newId } from "../../lib/ids.ts";
import { FINDINGS_MAX, sweep } from "../../lib/integrity.ts";
import { createInvoice, issueInvoice, voidInvoice } from "../../lib/invoices.ts";
import { encode } from "../../lib/kv/codec.ts";
import * as keys from "../../lib/kv/keys.ts";
import type { Entity, Invoice } from "../../lib/kv/records.ts";
import { acceptLead, moveLead } from "../../lib/leads.ts";
import { changeProduct } from "../../lib/products.ts";
import { TEST_START, TESTER } from "../support/app.ts";
import {
  type Books,
  fillBooks,
  invoiceOf,
  leadOf,
  openBooks,
  type Sample,
} from "../support/books.ts";

const by = TESTER;
/** Nothing has this id. */
const NOBODY = newId(TEST_START);

/** What a sweep to the end finds, as `check key`. */
async function found({ services }: Books): Promise<string[]> {
  const { findings, isComplete } = await sweep(services);
  equal(isComplete, true);
  return findings.map(({ check, key }) => `${check} ${key}`).sort();
}

function line(check: string, key: keys.Key<unknown>): string {
  return `${check} ${keys.keyText(key)}`;
}

/** Changes fields of what is stored. */
async function alter<T extends object>(
  books: Books,
  key: keys.Key<T>,
  fields: Partial<T>,
): Promise<void> {
  await books.put(key, { ...await books.get(key) as T, ...fields });
}

/** Does damage, and says what is to be found. */
type Damage = (books: Books, sample: Sample) => Promise<string[]>;

/** Damage to the fields of an invoice, seen as `check`. */
function wrongInvoice(
  check: string,
  pick: (sample: Sample) => Invoice,
  fields: (invoice: Invoice) => Partial<Invoice>,
): Damage {
  return async (books, sample) => {
    const invoice = pick(sample);
    await alter(books, keys.invoice(invoice.id), fields(invoice));
    return [line(check, keys.invoice(invoice.id))];
  };
}

/** An index entry that is not there. */
function missingIndex(pick: (sample: Sample) => keys.Key<unknown>, shown = pick): Damage {
  return async (books, sample) => {
    await books.remove(pick(sample));
    return [line("index.missing", shown(sample))];
  };
}

/** An index entry about something that is not there. */
function danglingIndex(key: keys.Key<string>, shown: keys.Key<unknown> = key): Damage {
  return async (books) => {
    await books.put(key, NOBODY);
    return [line("index.dangling", shown)];
  };
}

/** An index entry that holds another id than it should. */
function wrongIndex(
  pick: (sample: Sample) => [key: keys.Key<string>, id: string],
  shown: (sample: Sample) => keys.Key<unknown> = (sample) => pick(sample)[0],
): Damage {
  return async (books, sample) => {
    await books.put(...pick(sample));
    return [line("index.wrong_value", shown(sample))];
  };
}

const HIDDEN_EMAIL = ["client_by_email", "[redacted]"];
const HIDDEN_PHONE = ["client_by_phone", "[redacted]"];
const openOrder = ({ order }: Sample) => order.invoice!;

const DAMAGE: Record<string, Damage> = {
  "a lead whose client is not there": async (books, { question: { lead } }) => {
    const { id } = lead;
    await alter(books, keys.lead(id), { clientId: NOBODY });
    await books.remove(keys.leadByClient(lead.clientId, id));
    await books.put(keys.leadByClient(NOBODY, id), id);
    return [line("lead.client_missing", keys.lead(id))];
  },
  "a lead whose invoice is not there": async (books, { question: { lead } }) => {
    await alter(books, keys.lead(lead.id), { invoiceId: NOBODY });
    return [line("lead.invoice_mismatch", keys.lead(lead.id))];
  },
  "a lead whose invoice is of another lead": async (books, { question, order }) => {
    await alter(books, keys.lead(question.lead.id), { invoiceId: order.invoice!.id });
    return [line("lead.invoice_mismatch", keys.lead(question.lead.id))];
  },
  "a lead whose invoice is of another client": async (books, { order, otherOrder }) => {
    const { id, clientId } = order.invoice!;
    await alter(books, keys.invoice(id), { clientId: otherOrder.client.id });
    await books.remove(keys.invoiceByClient(clientId, id));
    await books.put(keys.invoiceByClient(otherOrder.client.id, id), id);
    return [line("lead.invoice_mismatch", keys.lead(order.lead.id))];
  },
  "an invoice whose client is not there": async (books, { written: { id, clientId } }) => {
    await alter(books, keys.invoice(id), { clientId: NOBODY });
    await books.remove(keys.invoiceByClient(clientId, id));
    await books.put(keys.invoiceByClient(NOBODY, id), id);
    return [line("invoice.client_missing", keys.invoice(id))];
  },
  "an invoice whose lead does not point back": async (books, { order }) => {
    await alter(books, keys.lead(order.lead.id), { invoiceId: null });
    return [line("invoice.lead_mismatch", keys.invoice(order.invoice!.id))];
  },
  "an invoice whose lead is not there": wrongInvoice(
    "invoice.lead_mismatch",
    ({ written }) => written,
    () => ({ leadId: NOBODY }),
  ),
  "a total that is not subtotal and tax": wrongInvoice(
    "invoice.total_wrong",
    openOrder,
    ({ totalMinor }) => ({ totalMinor: totalMinor + 1 }),
  ),
  "a subtotal that is not the lines": wrongInvoice(
    "invoice.total_wrong",
    openOrder,
    ({ subtotalMinor, taxMinor }) => ({ subtotalMinor: subtotalMinor - 1, taxMinor: taxMinor + 1 }),
  ),
  "a line that is not its quantity times its price": wrongInvoice(
    "invoice.total_wrong",
    openOrder,
    ({ lines }) => ({ lines: lines.map((line) => ({ ...line, quantity: line.quantity + 1 })) }),
  ),
  "a fraction of a cent": wrongInvoice(
    "invoice.amount_invalid",
    openOrder,
    ({ totalMinor }) => ({ totalMinor: totalMinor + 0.5 }),
  ),
  "a negative amount": wrongInvoice("invoice.amount_invalid", openOrder, () => ({ taxMinor: -1 })),
  "an amount beyond all bounds": wrongInvoice(
    "invoice.amount_invalid",
    openOrder,
    () => ({ paidMinor: Number.MAX_SAFE_INTEGER }),
  ),
  "an amount that is no number": wrongInvoice(
    "invoice.amount_invalid",
    openOrder,
    () => ({ totalMinor: NaN }),
  ),
  "a currency that is none": wrongInvoice(
    "invoice.amount_invalid",
    openOrder,
    () => ({ currency: "TZZ" as "TZS" }),
  ),
  "an open invoice on which money was paid": wrongInvoice(
    "invoice.status_wrong",
    openOrder,
    () => ({ paidMinor: 1 }),
  ),
  "an open invoice with a reason why it is void": wrongInvoice(
    "invoice.status_wrong",
    openOrder,
    () => ({ voidReason: "None" }),
  ),
  "an issued invoice without a date of issue": wrongInvoice(
    "invoice.status_wrong",
    openOrder,
    () => ({ issuedAt: null }),
  ),
  "a paid invoice on which nothing was paid": async (books, { order }) => {
    const { id } = order.invoice!;
    await alter(books, keys.invoice(id), { status: "paid" });
    await books.remove(keys.invoiceByStatus("open", id));
    await books.put(keys.invoiceByStatus("paid", id), id);
    return [line("invoice.status_wrong", keys.invoice(id))];
  },
  "a number of no series": async (books, { lastOrder }) => {
    const { id, number } = lastOrder.invoice!;
    await alter(books, keys.invoice(id), { number: "INV-26-1" });
    await books.remove(keys.invoiceByNumber(number!));
    await books.put(keys.invoiceByNumber("INV-26-1"), id);
    await alter(books, keys.invoiceSequence("INV", 2026), { last: 7 });
    return [line("invoice.number_invalid", keys.invoice(id))];
  },
  "two invoices with one number": async (books, { otherOrder, lastOrder }) => {
    const { id, number } = lastOrder.invoice!;
    await alter(books, keys.invoice(id), { number: otherOrder.invoice!.number });
    await books.remove(keys.invoiceByNumber(number!));
    await alter(books, keys.invoiceSequence("INV", 2026), { last: 7 });
    return [line("invoice.number_duplicate", keys.invoice(id))];
  },
  "a number that no invoice has": async (books, { written }) => {
    const { id, number, clientId } = written;
    await books.remove(
      keys.invoice(id),
      keys.invoiceByNumber(number!),
      keys.invoiceByClient(clientId, id),
      keys.invoiceByStatus("open", id),
    );
    return [line("invoice.number_gap", keys.invoiceByNumber(number!))];
  },
  "numbers that are missing at the end": async (books) => {
    await alter(books, keys.invoiceSequence("INV", 2026), { last: 20 });
    return [line("invoice.number_gap", ["invoice_by_number", "INV-2026-000009"])];
  },
  "a sequence that stands below its numbers": async (books) => {
    await alter(books, keys.invoiceSequence("INV", 2026), { last: 3 });
    return [line("sequence.wrong", keys.invoiceSequence("INV", 2026))];
  },
  "a sequence that is not there": async (books) => {
    await books.remove(keys.invoiceSequence("INV", 2026));
    return [line("sequence.wrong", keys.invoiceSequence("INV", 2026))];
  },
  "a price that is none": async (books, { product }) => {
    await alter(books, keys.product(product.id), { price: { currency: "TZS", minor: 0 } });
    return [line("product.amount_invalid", keys.product(product.id))];
  },
  "an old price below the price": async (books, { product }) => {
    await alter(books, keys.product(product.id), { oldPrice: { currency: "TZS", minor: 1 } });
    return [line("product.amount_invalid", keys.product(product.id))];
  },
  "two products with one slug": async (books, { product, changedProduct }) => {
    await alter(books, keys.product(product.id), { slug: changedProduct.slug });
    await books.remove(keys.productBySlug(product.slug));
    return [line("product.slug_shared", keys.product(product.id))];
  },
  "two clients with one e-mail address": async (books, { lastOrder, otherOrder }) => {
    const { id, email } = lastOrder.client;
    await alter(books, keys.client(id), { email: otherOrder.client.email });
    await books.remove(keys.clientByEmail(email!));
    return [line("client.email_shared", keys.client(id))];
  },
  "two clients with one phone number": async (books, { lastOrder, question }) => {
    await alter(books, keys.client(lastOrder.client.id), { phone: question.client.phone });
    return [line("client.phone_shared", keys.client(lastOrder.client.id))];
  },
  "no product_by_slug": missingIndex(({ product }) => keys.productBySlug(product.slug)),
  "no client_by_email": missingIndex(
    ({ question }) => keys.clientByEmail(question.client.email!),
    () => HIDDEN_EMAIL,
  ),
  "no client_by_phone": missingIndex(
    ({ question }) => keys.clientByPhone(question.client.phone!),
    () => HIDDEN_PHONE,
  ),
  "no lead_by_status": missingIndex(({ order }) => keys.leadByStatus("new", order.lead.id)),
  "no lead_by_client": missingIndex(({ order }) =>
    keys.leadByClient(order.client.id, order.lead.id)
  ),
  "no invoice_by_number": missingIndex(({ order }) => keys.invoiceByNumber(order.invoice!.number!)),
  "no invoice_by_status": missingIndex(({ draft }) => keys.invoiceByStatus("draft", draft.id)),
  "no invoice_by_client": missingIndex(({ draft }) =>
    keys.invoiceByClient(draft.clientId, draft.id)
  ),
  "a product_by_slug of nothing": danglingIndex(keys.productBySlug("gone")),
  "a client_by_email of nobody": danglingIndex(
    keys.clientByEmail("gone@example.com"),
    HIDDEN_EMAIL,
  ),
  "a client_by_phone of nobody": danglingIndex(keys.clientByPhone("+255700000000"), HIDDEN_PHONE),
  "a lead_by_status of nothing": danglingIndex(keys.leadByStatus("won", NOBODY)),
  "a lead_by_client of nothing": danglingIndex(keys.leadByClient(NOBODY, NOBODY)),
  "an invoice_by_number of nothing": async (books) => {
    const key = keys.invoiceByNumber("INV-2026-000009");
    await books.put(key, NOBODY);
    await alter(books, keys.invoiceSequence("INV", 2026), { last: 9 });
    return [line("index.dangling", key)];
  },
  "an invoice_by_status of nothing": danglingIndex(keys.invoiceByStatus("paid", NOBODY)),
  "an invoice_by_client of nothing": danglingIndex(keys.invoiceByClient(NOBODY, NOBODY)),
  "a product_by_slug of another": wrongIndex((
    { product, changedProduct },
  ) => [keys.productBySlug(product.slug), changedProduct.id]),
  "a client_by_email of another": wrongIndex(
    ({ question, lastOrder }) => [
      keys.clientByEmail(question.client.email!),
      lastOrder.client.id,
    ],
    () => HIDDEN_EMAIL,
  ),
  "a client_by_phone of another": wrongIndex(
    ({ question, lastOrder }) => [
      keys.clientByPhone(question.client.phone!),
      lastOrder.client.id,
    ],
    () => HIDDEN_PHONE,
  ),
  "a client_by_email that outlived a change": wrongIndex(
    ({ changedClient }) => [keys.clientByEmail("juma@example.com"), changedClient.id],
    () => HIDDEN_EMAIL,
  ),
  "a lead_by_status that names another": wrongIndex((
    { order, question },
  ) => [keys.leadByStatus("new", order.lead.id), question.lead.id]),
  "a lead_by_status that outlived a change": wrongIndex((
    { movedLead },
  ) => [keys.leadByStatus("new", movedLead.id), movedLead.id]),
  "a lead_by_client that names another": wrongIndex((
    { order, question },
  ) => [keys.leadByClient(order.client.id, order.lead.id), question.lead.id]),
  "a lead_by_client of another client": wrongIndex((
    { order, lastOrder },
  ) => [keys.leadByClient(lastOrder.client.id, order.lead.id), order.lead.id]),
  "an invoice_by_number of another": wrongIndex((
    { order, lastOrder },
  ) => [keys.invoiceByNumber(order.invoice!.number!), lastOrder.invoice!.id]),
  "an invoice_by_status that names another": wrongIndex((
    { order, lastOrder },
  ) => [keys.invoiceByStatus("open", order.invoice!.id), lastOrder.invoice!.id]),
  "an invoice_by_status that outlived a change": wrongIndex((
    { voided },
  ) => [keys.invoiceByStatus("open", voided.id), voided.id]),
  "an invoice_by_client that names another": wrongIndex((
    { order, lastOrder },
  ) => [keys.invoiceByClient(order.client.id, order.invoice!.id), lastOrder.invoice!.id]),
  "a history without its last entry": async (books, { movedLead }) => {
    const key = keys.audit("lead", movedLead.id, 3);
    await books.remove(key);
    return [line("audit.entry_missing", key)];
  },
  "a history without its first entry": async (books, { movedLead }) => {
    const key = keys.audit("lead", movedLead.id, 2);
    await books.remove(key);
    return [line("audit.entry_missing", key)];
  },
  "a history that goes on": async (books, { movedLead }) => {
    const last = await books.get(keys.audit("lead", movedLead.id, 3));
    const key = keys.audit("lead", movedLead.id, 5);
    await books.put(key, { ...last!, revision: 5 });
    // It is also not what was written, and there is none of revision 4.
    return [
      line("audit.chain_broken", key),
      line("audit.entity_missing", key),
      line("audit.entry_missing", keys.audit("lead", movedLead.id, 4)),
    ];
  },
  "an entity that was changed without an entry": async (books, { changedClient }) => {
    await alter(books, keys.client(changedClient.id), { notes: "Pays early" });
    return [line("audit.chain_broken", keys.client(changedClient.id))];
  },
  "an entry that says something else": async (books, { changedClient }) => {
    const key = keys.audit("client", changedClient.id, 2);
    await alter(books, key, { by: "bootstrap" });
    return [line("audit.chain_broken", key)];
  },
  "an entry that does not follow from the one before": async (books, { issuedDraft }) => {
    const [first, second] = [2, 3].map((n) => keys.audit("invoice", issuedDraft.id, n));
    const { digest } = (await books.get(second!))!;
    await alter(books, first!, { digest });
    return [line("audit.chain_broken", first!), line("audit.chain_broken", second!)];
  },
  "a new entity with the digest of a history": async (books, { product }) => {
    await alter(books, keys.product(product.id), { chain: "0".repeat(64) });
    return [line("audit.chain_broken", keys.product(product.id))];
  },
  "bytes that are no value": async (books, { order }) => {
    await books.putRaw(keys.client(order.client.id), new Uint8Array([0xff, 0x00]));
    return [line("value.undecodable", keys.client(order.client.id))];
  },
  "something else than bytes": async (books, { order }) => {
    await books.putRaw(keys.lead(order.lead.id), { id: order.lead.id });
    return [line("value.undecodable", keys.lead(order.lead.id))];
  },
  "a value of a newer schema": async (books, { order }) => {
    await books.putRaw(keys.invoice(order.invoice!.id), new TextEncoder().encode("99 {}"));
    return [line("value.undecodable", keys.invoice(order.invoice!.id))];
  },
  "a record without one of its fields": async (books, { order }) => {
    const { invoiceId: _, ...rest } = (await books.get(keys.lead(order.lead.id)))!;
    await books.putRaw(keys.lead(order.lead.id), encode(rest));
    return [line("value.malformed", keys.lead(order.lead.id))];
  },
  "a record under another's key": async (books, { order, question }) => {
    await books.put(keys.lead(order.lead.id), (await books.get(keys.lead(question.lead.id)))!);
    return [line("value.malformed", keys.lead(order.lead.id))];
  },
  "an index entry that is no id": async (books, { order }) => {
    const key = keys.leadByStatus("new", order.lead.id);
    await books.putRaw(key, encode({ id: order.lead.id }));
    return [line("value.malformed", key)];
  },
  "a sequence that is no number": async (books) => {
    const key = keys.invoiceSequence("INV", 2026);
    await books.putRaw(key, encode({ last: "8" }));
    return [line("value.malformed", key)];
  },
  "bytes that are no value, in a room that the sweep does not know": async (books) => {
    await books.putRaw(["zebra", 1], new Uint8Array([1]));
    await books.put(["zebra", 2], "striped");
    await books.put(["zulu", 2], "warrior");
    return [line("value.undecodable", ["zebra", 1])];
  },
};

for (const [name, damage] of Object.entries(DAMAGE)) {
  Deno.test(`sweep() finds ${name}, and nothing else`, async () => {
    await using books = await openBooks();
    const sample = await fillBooks(books);
    deepEqual(await found(books), []);

    const expected = await damage(books, sample);

    deepEqual(await found(books), expected.sort());
  });
}

Deno.test("sweep() counts every durable entry once and tells of its progress", async () => {
  await using books = await openBooks();
  await fillBooks(books);
  await books.put(["zebra", 1], "striped");
  const prefixes: string[] = [];

  const report = await sweep(books.services, { onProgress: ({ prefix }) => prefixes.push(prefix) });

  const expected = new Map<string, number>();
  for (const [[name]] of await books.entries()) {
    expected.set(String(name), (expected.get(String(name)) ?? 0) + 1);
  }
  const counted = Object.entries(report.counts).filter(([, count]) => count > 0);
  deepEqual(new Map(counted.sort()), new Map([...expected].sort()));
  deepEqual(report.findings, []);
  equal(report.findingsTotal, 0);
  equal(report.resumeFrom, null);
  equal(prefixes[0], "product");
  equal(prefixes.at(-1), "others");
});

Deno.test("sweep() of an empty store finds nothing", async () => {
  await using books = await openBooks();

  deepEqual(await found(books), []);
});

Deno.test("sweep() tells no personal data", async () => {
  await using books = await openBooks();
  const { question, lastOrder } = await fillBooks(books);
  await books.remove(
    keys.clientByEmail(question.client.email!),
    keys.clientByPhone(question.client.phone!),
  );
  await books.put(keys.clientByEmail("gone@example.com"), NOBODY);
  await alter(books, keys.client(lastOrder.client.id), { phone: question.client.phone });

  const { findings } = await sweep(books.services);

  ok(findings.length >= 4);
  ok(!/asha|zawadi|example|@|\+255/.test(JSON.stringify(findings)), JSON.stringify(findings));
});

/** Books with more leads than a page holds. */
async function fillPages(books: Books, leads: number): Promise<Sample> {
  const sample = await fillBooks(books);
  await Promise.all(
    Array.from(
      { length: leads },
      (_, i) =>
        acceptLead(books.services, leadOf(`person${i}`, { productId: sample.product.id }), by),
    ),
  );
  return sample;
}

Deno.test("sweep() in slices finds what one sweep finds", async () => {
  await using books = await openBooks();
  await fillPages(books, 1_200);
  const numbers = await books.services.store.list(keys.invoiceByNumber("").slice(0, 1), {
    limit: 2_000,
  });
  // An invoice without its number, another one gone, and one whose client is.
  await books.remove(numbers[400]!.key);
  await books.remove(keys.invoice(String(numbers[900]!.value)));
  const { clientId } = (await books.get<Invoice>(keys.invoice(String(numbers[1_100]!.value))))!;
  await books.remove(keys.client(clientId));
  await books.remove(numbers[1_000]!.key, keys.invoice(String(numbers[1_000]!.value)));
  const whole = await sweep(books.services);

  const counts: Record<string, number> = {};
  const findings: string[] = [];
  let resumeFrom: string | null = null;
  let slices = 0;
  do {
    const report = await sweep(books.services, { budgetMs: 0, resumeFrom });
    slices++;
    resumeFrom = report.resumeFrom;
    equal(report.isComplete, resumeFrom === null);
    for (const [name, count] of Object.entries(report.counts)) {
      counts[name] = (counts[name] ?? 0) + count;
    }
    findings.push(...report.findings.map((finding) => JSON.stringify(finding)));
  } while (resumeFrom !== null);

  ok(slices > 30, `${slices} slices`);
  ok(whole.findingsTotal > 8, `${whole.findingsTotal} findings`);
  ok(whole.findings.some(({ check }) => check === "invoice.number_gap"));
  deepEqual(findings.sort(), whole.findings.map((finding) => JSON.stringify(finding)).sort());
  deepEqual(counts, whole.counts);
});

Deno.test("sweep() refuses to go on from what is no end of a sweep", async () => {
  await using books = await openBooks();

  for (const resumeFrom of ["", "{", "7", "{}", '{"stage":"moon","after":null,"unindexed":[]}']) {
    await rejects(
      sweep(books.services, { resumeFrom }),
      (error) => error instanceof AppError && error.kind === "malformed",
      resumeFrom,
    );
  }
});

Deno.test("sweep() lists a bounded number of findings and counts them all", async () => {
  await using books = await openBooks();
  for (let i = 0; i < FINDINGS_MAX + 10; i++) await books.put(keys.productBySlug(`p${i}`), NOBODY);

  const { findings, findingsTotal } = await sweep(books.services);

  equal(findings.length, FINDINGS_MAX);
  equal(findingsTotal, FINDINGS_MAX + 10);
});

Deno.test("sweep() follows the numbers beyond the six digits they start with", async () => {
  await using books = await openBooks();
  const { product } = await fillBooks(books);
  const sequence = keys.invoiceSequence("INV", 2026);
  await books.put(sequence, { last: 999_997 });
  const orders = [];
  for (const name of ["a", "b", "c", "d", "e"]) {
    orders.push(await acceptLead(books.services, leadOf(name, { productId: product.id }), by));
  }
  const { lead, invoice } = orders[3]!;
  await books.remove(
    keys.invoice(invoice!.id),
    keys.invoiceByNumber("INV-2026-1000001"),
    keys.invoiceByStatus("open", invoice!.id),
    keys.invoiceByClient(lead.clientId, invoice!.id),
  );
  await alter(books, keys.lead(lead.id), { invoiceId: null });

  deepEqual(await found(books), [
    line("invoice.number_gap", keys.invoiceByNumber("INV-2026-000009")),
    line("invoice.number_gap", keys.invoiceByNumber("INV-2026-1000001")),
  ]);
  await books.put(sequence, { last: 999_999 });
  deepEqual(await found(books), [
    line("invoice.number_gap", keys.invoiceByNumber("INV-2026-000009")),
    line("sequence.wrong", sequence),
  ]);
});

Deno.test("sweep() finds nothing beside writers at full speed", async () => {
  await using books = await openBooks();
  const { product } = await fillPages(books, 600);
  const { services } = books;
  const random = (n: number) => Math.floor(Math.random() * n);
  let isOver = false;
  let writes = 0;
  const refused = (error: unknown) => {
    if (!(error instanceof AppError) || error.kind === "internal") throw error;
  };
  const write = async () => {
    const accepted = await acceptLead(
      services,
      leadOf(`person${random(2_000)}`, random(2) === 0 ? { productId: product.id } : {}),
      by,
    );
    const { lead, client, invoice } = accepted;
    const draft = await createInvoice(services, invoiceOf(client.id, { draft: true }), by).catch(
      refused,
    );
    await Promise.all([
      moveLead(services, lead.id, "contacted", { by }).catch(refused),
      moveLead(services, lead.id, "won", { by }).catch(refused),
      changeClient(services, client.id, { email: `new${random(2_000)}@example.com` }, { by })
        .catch(refused),
      invoice && voidInvoice(services, invoice.id, "A mistake", by).catch(refused),
      draft && issueInvoice(services, draft.id, by).catch(refused),
      random(20) === 0 && eraseClient(services, client.id, by).catch(refused),
      changeProduct(services, product.id, { slug: `slug-${random(100)}` }, { by }).catch(refused),
    ]);
    writes++;
  };
  const writers = Array.from({ length: 12 }, async () => {
    while (!isOver) await write();
  });

  const reports = [];
  const until = performance.now() + 2_000;
  while (performance.now() < until) reports.push(await sweep(services));
  isOver = true;
  await Promise.all(writers);

  ok(writes > 50 && reports.length > 0, `${writes} writes, ${reports.length} sweeps`);
  deepEqual(reports.flatMap(({ findings }) => findings), []);
  deepEqual(await found(books), []);
});

/** Ways to damage one entry, whatever it is. */
const BLOWS = {
  removed: () => null,
  truncated: (bytes: Uint8Array) => bytes.slice(0, -1),
  emptied: () => new Uint8Array(),
  "with a bit flipped in its header": (bytes: Uint8Array) => {
    const flipped = bytes.slice();
    flipped[0]! ^= 0x40;
    return flipped;
  },
  "of another schema": (bytes: Uint8Array) => new Uint8Array([0x39, ...bytes.slice(1)]),
  "an object of V8's": () => ({ id: "x" }),
  "null": () => encode(null),
} satisfies Record<string, (bytes: Uint8Array) => unknown>;

Deno.test("sweep() finds whatever is done to any entry but a key of the API that is gone", async () => {
  await using books = await openBooks();
  const { apiKeyId } = await fillBooks(books);
  const entries = await books.entries();
  const blows = Object.keys(BLOWS) as (keyof typeof BLOWS)[];

  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...entries),
      fc.constantFrom(...blows),
      async (entry, blow) => {
        const [key, bytes] = entry;
        // Nothing refers to a new one.
        fc.pre(!(blow === "removed" && key[0] === "api_key" && key[1] === apiKeyId));
        const damaged = BLOWS[blow](bytes);
        if (damaged === null) await books.remove(key);
        else await books.putRaw(key, damaged);

        const { findingsTotal } = await sweep(books.services);

        await books.putRaw(key, bytes);
        ok(findingsTotal > 0, `${keys.keyText(key)} ${blow}`);
      },
    ),
    { numRuns: 300 },
  );
  deepEqual(await found(books), []);
});

Deno.test("sweep() finds any entry exchanged for another under the same prefix", async () => {
  await using books = await openBooks();
  await fillBooks(books);
  const byPrefix = Map.groupBy(await books.entries(), ([[name]]) => name);
  const pairs = [...byPrefix.values()].flatMap((entries) =>
    entries.flatMap((one) =>
      entries.filter((other) => other !== one).map((other) => ({ one, other }))
    )
  );

  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...pairs), async ({ one: [key, bytes], other }) => {
      fc.pre(String(bytes) !== String(other[1]));
      await books.putRaw(key, other[1]);

      const { findingsTotal } = await sweep(books.services);

      await books.putRaw(key, bytes);
      ok(findingsTotal > 0, `${keys.keyText(key)} holds what ${keys.keyText(other[0])} holds`);
    }),
    { numRuns: 200 },
  );
});

/** Another value of the same kind. */
function another(value: unknown): unknown {
  switch (typeof value) {
    case "string": {
      if (/^\d{4}-\d\d-\d\d/.test(value)) return value.replace(/^\d{4}/, "1999");
      if (/^[0-9a-f-]{36,}$/.test(value)) return value.replace(/.$/, (c) => c === "0" ? "1" : "0");
      return `${value}x`;
    }
    case "number":
      return value + 1;
    case "boolean":
      return !value;
    default:
      return value === null
        ? null
        : Array.isArray(value)
        ? value.map(another)
        : Object.fromEntries(Object.entries(value as object).map(([k, v]) => [k, another(v)]));
  }
}

/** Which fields of an entity can be altered unnoticed, each alone. */
async function unnoticed(books: Books, key: keys.Key<Entity>): Promise<string[]> {
  const entity = await books.get(key);
  const fields: string[] = [];
  for (const [name, value] of Object.entries(entity!)) {
    const altered = another(value);
    if (JSON.stringify(altered) === JSON.stringify(value)) continue;
    await books.put(key, { ...entity!, [name]: altered });
    if ((await sweep(books.services)).findingsTotal === 0) fields.push(name);
  }
  await books.put(key, entity!);
  return fields;
}

Deno.test("sweep() finds any field altered in what has a history, and in the history", async () => {
  await using books = await openBooks();
  const sample = await fillBooks(books);
  const { changedProduct, changedClient, movedLead, issuedDraft, voided, revokedApiKeyId } = sample;
  const revised: keys.Key<Entity>[] = [
    keys.product(changedProduct.id),
    keys.client(changedClient.id),
    keys.lead(movedLead.id),
    keys.invoice(issuedDraft.id),
    keys.invoice(voided.id),
    keys.apiKey(revokedApiKeyId),
  ];
  const history = (await books.entries()).map(([key]) => key).filter(([name]) => name === "audit");

  for (const key of [...revised, ...history as keys.Key<Entity>[]]) {
    deepEqual(await unnoticed(books, key), [], keys.keyText(key));
  }
});

Deno.test("sweep() cannot see what nothing else refers to in what was never changed", async () => {
  await using books = await openBooks();
  const { product, question, order, apiKeyId } = await fillBooks(books);
  const bookkeeping = ["createdAt", "createdBy", "createdIn", "updatedAt"];

  deepEqual(await unnoticed(books, keys.product(product.id)), [
    ...bookkeeping,
    "title",
    "description",
    "features",
    "active",
  ]);
  deepEqual(await unnoticed(books, keys.client(question.client.id)), [
    ...bookkeeping,
    "name",
    "notes",
    "marketingConsent",
  ]);
  deepEqual(await unnoticed(books, keys.lead(order.lead.id)), [
    ...bookkeeping,
    "contact",
    "productId",
    "quantity",
    "message",
    "marketingConsent",
  ]);
  deepEqual(await unnoticed(books, keys.invoice(order.invoice!.id)), [
    ...bookkeeping,
    "billTo",
    "issuedAt",
    "dueOn",
    "notes",
  ]);
  deepEqual(await unnoticed(books, keys.apiKey(apiKeyId)), [...bookkeeping, "name", "secretHash"]);
});
