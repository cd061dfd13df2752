/**
 * Clients: the persons and firms that are billed, found by e-mail address or phone number; each
 * address and number belongs to one client at most.
 *
 * A visitor never changes a known client and learns nothing about it: the enquiry's data stays with
 * the lead.
 *
 * @module
 */
import { expectRevision, newEntity, putChange } from "../entities/mod.ts";
import { normalizeEmail, normalizePhone, type Region } from "../contact.ts";
import { AppError, type FieldProblem, invalidField } from "../errors.ts";
import * as keys from "../kv/keys.ts";
import type { Payment } from "../kv/payment_records.ts";
import type { Client, Contact, Invoice, Lead } from "../kv/records.ts";
import { transact } from "../kv/mod.ts";
import type { Writes } from "../kv/transaction.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import {
  everyPage,
  listByIndex,
  listEntities,
  type Page,
  type PageRequest,
} from "../entities/page.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Config } from "../config/mod.ts";
import { isoTime } from "../time.ts";

/** What clients need. */
export interface ClientServices extends StoreServices {
  /** The country of telephone numbers without a country code. */
  readonly config: Pick<Config, "defaultRegion">;
}

export type { Client, Contact } from "../kv/records.ts";

/** A change of a client; null removes an address or a number, absent fields stay. */
export interface ClientChange {
  /** One line, 1 to 120 characters. */
  name?: string | undefined;
  /** In any spelling; stored in lower case. Must belong to no other client. */
  email?: string | null | undefined;
  /** In any spelling; stored as E.164. Must belong to no other client. */
  phone?: string | null | undefined;
  /** Internal notes, never shown to the client; up to 4,000 characters. */
  notes?: string | undefined;
  /** Whether the client agreed to newsletters. */
  marketingConsent?: boolean | undefined;
}

/** A payment for export, without the payer's page at the gateway, which is a credential. */
export type ExportedPayment = Omit<Payment, "redirectUrl">;

/** All stored data about a client. */
export interface ClientExport {
  /** The client. */
  client: Client;
  /** All of its leads, newest first. */
  leads: Lead[];
  /** All of its invoices, newest first, drafts and void ones too. */
  invoices: Invoice[];
  /** All payments of them, those of the newest invoice first. */
  payments: ExportedPayment[];
}

const ERASED = "[erased]";

/**
 * Normalizes contact fields.
 *
 * @throws {AppError} `invalid_input` naming each invalid field, or both when neither is given
 */
export async function parseContactFields(
  { name, email, phone }: { name: string; email?: string | null; phone?: string | null },
  region: Region,
): Promise<Contact> {
  const contact: Contact = {
    name,
    email: email ? normalizeEmail(email) : null,
    phone: phone ? await normalizePhone(phone, region) : null,
  };
  const fields: FieldProblem[] = [];
  if (email && contact.email === null) {
    fields.push({ path: "email", message: "This is not an e-mail address", code: "not_an_email" });
  }
  if (phone && contact.phone === null) {
    fields.push({ path: "phone", message: "This is not a phone number", code: "not_a_phone" });
  }
  if (!email && !phone) {
    for (const path of ["email", "phone"]) {
      fields.push({
        path,
        message: "An e-mail address or a phone number is required",
        code: "required",
      });
    }
  }
  if (fields.length > 0) {
    throw new AppError("invalid_input", "The contact details cannot be used", { fields });
  }
  return contact;
}

/** Writes a new client with its indexes. */
export function putNewClient(
  writes: Writes,
  { id, contact, marketingConsent, by, now }: {
    id: string;
    contact: Contact;
    marketingConsent: boolean;
    by: Caller;
    now: number;
  },
): Client {
  const client: Client = {
    ...newEntity(id, by, now),
    ...contact,
    notes: "",
    marketingConsent,
    erasedAt: null,
  };
  writes.set(keys.client(id), client);
  if (contact.email !== null) writes.set(keys.clientByEmail(contact.email), id);
  if (contact.phone !== null) writes.set(keys.clientByPhone(contact.phone), id);
  return client;
}

/** A client. @throws {AppError} `not_found` */
export async function getClient({ store }: ClientServices, id: string): Promise<Client> {
  const client = await store.get(keys.client(id));
  if (!client) throw unknownClient();
  return client;
}

/** A page of clients, newest first; with an e-mail address or phone number, the client that has it. */
export async function listClients(
  services: ClientServices,
  { email, phone }: { email: string | null; phone: string | null },
  page: PageRequest,
): Promise<Page<Client>> {
  if (email === null && phone === null) {
    return listEntities(services, "clients", keys.clients, page);
  }
  const contact = await parseContactFields(
    { name: "", email, phone },
    services.config.defaultRegion,
  );
  const wanted = [
    ...contact.email === null ? [] : [keys.clientByEmail(contact.email)],
    ...contact.phone === null ? [] : [keys.clientByPhone(contact.phone)],
  ];
  const ids = new Set(await services.store.getMany(wanted));
  const [id] = ids;
  if (ids.size !== 1 || !id) return { data: [], nextCursor: null };
  const client = await services.store.get(keys.client(id));
  return { data: client ? [client] : [], nextCursor: null };
}

/**
 * Changes a client and its indexes. One read and one commit.
 *
 * @throws {AppError} `not_found`; `stale_revision`; `invalid_input`; `conflict` if another client
 * has the address or number, or the data was erased
 */
export async function changeClient(
  services: ClientServices,
  id: string,
  change: ClientChange,
  { by, revision = null }: { by: Caller; revision?: number | null },
): Promise<Client> {
  const now = services.clock();
  const fields = await normalized(change, services.config.defaultRegion);
  const key = keys.client(id);
  const reads = {
    client: key,
    ...(fields.email ? { emailOwner: keys.clientByEmail(fields.email) } : {}),
    ...(fields.phone ? { phoneOwner: keys.clientByPhone(fields.phone) } : {}),
  };
  return await transact(services, reads, (found, writes) => {
    const before = found.client;
    if (!before) throw unknownClient();
    expectRevision(before, revision);
    if (before.erasedAt) {
      throw new AppError("conflict", "Cannot change the client: its data was erased");
    }
    if (found.emailOwner && found.emailOwner !== id) throw taken("email");
    if (found.phoneOwner && found.phoneOwner !== id) throw taken("phone");
    const after = { ...before, ...fields };
    if (after.email === null && after.phone === null) {
      throw invalidField("email", "A client needs an e-mail address or a phone number", "required");
    }
    putIndexes(writes, before, after);
    return putChange(writes, {
      entity: "client",
      action: "client.change",
      key,
      before,
      fields,
      by,
      now,
    });
  }, { operation: operationOf(by, "client.change", [id, change], { now }) });
}

/** All stored data about a client. @throws {AppError} `not_found` */
export async function exportClient(services: ClientServices, id: string): Promise<ClientExport> {
  const client = await getClient(services, id);
  const leads = await Array.fromAsync(leadsOf(services, id));
  const invoices = await Array.fromAsync(invoicesOf(services, id));
  const payments: ExportedPayment[] = [];
  for (const invoice of invoices) {
    for await (const { redirectUrl: _, ...payment } of paymentsOf(services, invoice.id)) {
      payments.push(payment);
    }
  }
  return { client, leads, invoices, payments };
}

/**
 * Erases a client's personal data, also in its leads, invoices and payments. Records that the law
 * requires stay: numbers, amounts, dates, receipts, reasons of refunds, and the buyer's name on an
 * invoice.
 *
 * The client's indexes go first, so that no new lead finds it. The rest follows entry by entry;
 * repeating the call completes an interrupted one.
 *
 * @throws {AppError} `not_found`
 */
export async function eraseClient(
  services: ClientServices,
  id: string,
  by: Caller,
): Promise<Client> {
  const now = services.clock();
  const key = keys.client(id);
  // Each step is an operation of its own and safe to repeat. The first one passes the limits.
  const step = (guards: Caller["guards"] = []) =>
    operationOf({ ...by, idempotencyKey: null, guards }, "client.erase", id, { now });
  const client = await transact(services, { client: key }, (found, writes) => {
    const before = found.client;
    if (!before) throw unknownClient();
    if (before.erasedAt) return before;
    const fields = {
      name: ERASED,
      email: null,
      phone: null,
      notes: "",
      marketingConsent: false,
      erasedAt: isoTime(now),
    };
    putIndexes(writes, before, { ...before, ...fields });
    return putChange(writes, {
      entity: "client",
      action: "client.erase",
      key,
      before,
      fields,
      by,
      now,
    });
  }, { operation: step(by.guards) });
  for await (const { id: leadId } of leadsOf(services, id)) {
    await eraseOne(services, "lead", keys.lead(leadId), {
      contact: { name: ERASED, email: null, phone: null },
      message: "",
      marketingConsent: false,
    }, { by, now, operation: step() });
  }
  for await (const { id: invoiceId, billTo } of invoicesOf(services, id)) {
    await eraseOne(services, "invoice", keys.invoice(invoiceId), {
      billTo: { name: billTo.name, email: null, phone: null },
    }, { by, now, operation: step() });
    // Neither an index nor an amount of the payment changes.
    for await (const { id: paymentId } of paymentsOf(services, invoiceId)) {
      await eraseOne(services, "payment", keys.payment(paymentId), {
        payerPhone: null,
        redirectUrl: null,
        notes: "",
      }, { by, now, operation: step() });
    }
  }
  return client;
}

async function eraseOne<T extends Lead | Invoice | Payment>(
  services: ClientServices,
  entity: "lead" | "invoice" | "payment",
  key: keys.Key<T>,
  fields: Partial<T>,
  { by, now, operation }: { by: Caller; now: number; operation: ReturnType<typeof operationOf> },
): Promise<void> {
  await transact(services, { entity: key }, (found, writes) => {
    const before = found.entity as T | null; // what the key holds
    if (before) {
      putChange(writes, { entity, action: "client.erase", key, before, fields, by, now });
    }
  }, { operation });
}

function leadsOf(services: ClientServices, id: string): AsyncGenerator<Lead> {
  return everyPage((page) =>
    listByIndex(services, `leads/client/${id}`, keys.leadsByClient(id), keys.lead, page)
  );
}

function invoicesOf(services: ClientServices, id: string): AsyncGenerator<Invoice> {
  return everyPage((page) =>
    listByIndex(services, `invoices/client/${id}`, keys.invoicesByClient(id), keys.invoice, page)
  );
}

function paymentsOf(services: ClientServices, invoiceId: string): AsyncGenerator<Payment> {
  const list = `payments/invoice/${invoiceId}`;
  return everyPage((page) =>
    listByIndex(services, list, keys.paymentsByInvoice(invoiceId), keys.payment, page)
  );
}

/** Moves the indexes from the old to the new address and number. */
function putIndexes(writes: Writes, before: Client, after: Client): void {
  if (before.email !== after.email) {
    if (before.email !== null) writes.delete(keys.clientByEmail(before.email));
    if (after.email !== null) writes.set(keys.clientByEmail(after.email), after.id);
  }
  if (before.phone !== after.phone) {
    if (before.phone !== null) writes.delete(keys.clientByPhone(before.phone));
    if (after.phone !== null) writes.set(keys.clientByPhone(after.phone), after.id);
  }
}

async function normalized(change: ClientChange, region: Region): Promise<Partial<Client>> {
  const { name, notes, marketingConsent, email, phone } = change;
  const fields: Partial<Client> = {};
  if (name !== undefined) fields.name = name;
  if (notes !== undefined) fields.notes = notes;
  if (marketingConsent !== undefined) fields.marketingConsent = marketingConsent;
  if (email || phone) {
    const contact = await parseContactFields(
      { name: "", email: email ?? null, phone: phone ?? null },
      region,
    );
    if (email) fields.email = contact.email;
    if (phone) fields.phone = contact.phone;
  }
  if (email === null) fields.email = null;
  if (phone === null) fields.phone = null;
  return fields;
}

function unknownClient(): AppError {
  return new AppError("not_found", "No such client");
}

function taken(path: "email" | "phone"): AppError {
  return new AppError("conflict", `Another client has this ${path}`, {
    fields: [{ path, message: `Another client has this ${path}`, code: "taken" }],
  });
}
