/**
 * Damage done behind the program's back, each kind with what a sweep is to find
 * of it.
 *
 * @module
 */
import { newId } from "../../../lib/ids.ts";
import { encode } from "../../../lib/kv/codec.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Invoice } from "../../../lib/kv/records.ts";
import { TEST_START } from "../program/app.ts";
import type { Books, Sample } from "../program/books.ts";

/** Nothing has this id. */
export const NOBODY = newId(TEST_START);

/** A finding, as `check key`. */
export function line(check: string, key: keys.Key<unknown>): string {
  return `${check} ${keys.keyText(key)}`;
}

/** Changes fields of what is stored. */
export async function alter<T extends object>(
  books: Books,
  key: keys.Key<T>,
  fields: Partial<T>,
): Promise<void> {
  await books.put(key, { ...await books.get(key) as T, ...fields });
}

/** Does damage, and returns the findings that a sweep must report. */
export type Damage = (books: Books, sample: Sample) => Promise<string[]>;

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

/** Bytes that are no value. */
const GARBAGE = new Uint8Array([0xff, 0x00]);
const HIDDEN_EMAIL = ["client_by_email", "[redacted]"];
const HIDDEN_PHONE = ["client_by_phone", "[redacted]"];
const openOrder = ({ order }: Sample) => order.invoice!;

/** Every kind of damage, by what it leaves. */
export const DAMAGE: Record<string, Damage> = {
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
  "a sequence of bytes that are no value": async (books) => {
    const key = keys.invoiceSequence("INV", 2026);
    await books.putRaw(key, GARBAGE);
    return [line("value.undecodable", key)];
  },
  "a line's total that is not its quantity times its price": wrongInvoice(
    "invoice.total_wrong",
    openOrder,
    ({ lines }) => ({ lines: lines.map((line) => ({ ...line, totalMinor: line.totalMinor + 1 })) }),
  ),
  "a client_by_email of bytes that are no value": async (books, { question }) => {
    await books.putRaw(keys.clientByEmail(question.client.email!), GARBAGE);
    return [line("value.undecodable", HIDDEN_EMAIL)];
  },
  "a client_by_phone that is no id": async (books, { question }) => {
    await books.putRaw(keys.clientByPhone(question.client.phone!), encode(7));
    return [line("value.malformed", HIDDEN_PHONE)];
  },
  "a client_by_email of nobody, of bytes that are no value": async (books) => {
    await books.putRaw(keys.clientByEmail("gone@example.com"), GARBAGE);
    return [line("value.undecodable", HIDDEN_EMAIL)];
  },
  "a product_by_slug of nothing, that is no id": async (books) => {
    await books.putRaw(keys.productBySlug("gone"), encode(7));
    return [line("value.malformed", keys.productBySlug("gone"))];
  },
  "a client_by_email of a client that is not there": async (books, { question }) => {
    await books.put(keys.clientByEmail(question.client.email!), NOBODY);
    return [line("index.dangling", HIDDEN_EMAIL)];
  },
  "a lead_by_status of bytes that are no value": async (books, { order }) => {
    const key = keys.leadByStatus("new", order.lead.id);
    await books.putRaw(key, GARBAGE);
    return [line("value.undecodable", key)];
  },
  "a lead_by_status that outlived a change, of bytes that are no value": async (
    books,
    { movedLead },
  ) => {
    const key = keys.leadByStatus("new", movedLead.id);
    await books.putRaw(key, GARBAGE);
    return [line("value.undecodable", key)];
  },
  "an invoice_by_number of bytes that are no value": async (books, { order }) => {
    const key = keys.invoiceByNumber(order.invoice!.number!);
    await books.putRaw(key, GARBAGE);
    return [line("value.undecodable", key)];
  },
  "an invoice_by_number of nothing, of bytes that are no value": async (books) => {
    const key = keys.invoiceByNumber("INV-2026-000009");
    await books.putRaw(key, GARBAGE);
    await alter(books, keys.invoiceSequence("INV", 2026), { last: 9 });
    return [line("value.undecodable", key)];
  },
};

/** Damage that a repair cannot resolve; all other kinds in {@linkcode DAMAGE} are repaired. */
export const BEYOND_REPAIR: ReadonlySet<string> = new Set([
  "a lead whose client is not there",
  "a lead whose invoice is not there",
  "a lead whose invoice is of another lead",
  "a lead whose invoice is of another client",
  "an invoice whose client is not there",
  "an invoice whose lead does not point back",
  "an invoice whose lead is not there",
  "a line that is not its quantity times its price",
  "a negative amount",
  "an amount beyond all bounds",
  "a currency that is none",
  "an open invoice with a reason why it is void",
  "an issued invoice without a date of issue",
  "a number of no series",
  "two invoices with one number",
  "a number that no invoice has",
  "numbers that are missing at the end",
  "a price that is none",
  "an old price below the price",
  "two products with one slug",
  "two clients with one e-mail address",
  "two clients with one phone number",
  "an invoice_by_number of nothing",
  "an invoice_by_number of nothing, of bytes that are no value",
  "a history without its last entry",
  "a history without its first entry",
  "a history that goes on",
  "an entity that was changed without an entry",
  "an entry that says something else",
  "an entry that does not follow from the one before",
  "a new entity with the digest of a history",
  "bytes that are no value",
  "something else than bytes",
  "a value of a newer schema",
  "a record without one of its fields",
  "a record under another's key",
  "bytes that are no value, in a room that the sweep does not know",
]);
