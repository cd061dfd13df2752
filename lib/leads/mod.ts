/**
 * Leads: a visitor's enquiry becomes a lead, a client and, for a product, an invoice, all in one
 * commit or not at all.
 *
 * @module
 */
import { expectRevision, newEntity, putChange } from "../entities/mod.ts";
import { parseContactFields, putNewClient } from "./clients.ts";
import { AppError, invalidField } from "../errors.ts";
import { newId } from "../ids.ts";
import {
  type InvoiceServices,
  issued,
  newDraft,
  NUMBERS,
  putNewInvoice,
  sequenceKey,
  takeNumber,
  usualDueOn,
} from "../invoices/mod.ts";
import { productLine } from "../invoices/lines.ts";
import * as keys from "../kv/keys.ts";
import type { Contact, Invoice, Lead, LeadSource, LeadStatus, Product } from "../kv/records.ts";
import { transact } from "../kv/mod.ts";
import type { Language } from "../languages.ts";
import type { Currency } from "../money.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { invoiceFacts, putEvent } from "../outbox/events.ts";
import { listByIndex, listEntities, type Page, type PageRequest } from "../entities/page.ts";
import type { Config } from "../config/mod.ts";

/** What leads need. */
export interface LeadServices extends InvoiceServices {
  /** Also the country of telephone numbers without a country code. */
  readonly config: InvoiceServices["config"] & Pick<Config, "defaultRegion">;
}

export type { Lead, LeadSource, LeadStatus } from "../kv/records.ts";
export { LEAD_SOURCES, LEAD_STATUSES } from "../kv/records.ts";

/** An enquiry. */
export interface NewLead {
  /** A person or a firm, 1 to 120 characters. */
  name: string;
  /** One of e-mail and phone is required. */
  email?: string | undefined;
  /** In any spelling, with or without a country code. */
  phone?: string | undefined;
  /** Plain text, up to 4,000 characters; may be empty. */
  message: string;
  /** The product; with one an invoice is issued. */
  productId?: string | undefined;
  /** Quantity of the product, 1 to 10,000; ignored without one. */
  quantity: number;
  /** Where the visitor came from, as the sending page states. */
  source: LeadSource;
  /** The currency that the visitor saw; refused when the product has another. */
  currency?: Currency | undefined;
  /** Whether the visitor agreed to newsletters. */
  marketingConsent: boolean;
  /** The visitor's language; the shop's default when absent. */
  language?: Language | undefined;
}

/** An accepted enquiry. */
export interface AcceptedLead {
  /** The lead at revision 1. */
  lead: Lead;
  /** The client's id with this enquiry's contact; nothing that was stored before. */
  client: Contact & { id: string };
  /** Issued and open; null without a product. */
  invoice: Invoice | null;
}

/** Which leads are listed: those for which all of it holds. */
export interface LeadFilter {
  /** Only leads with this status; null for all. */
  status: LeadStatus | null;
  /** Only leads of this client; null for all. */
  clientId: string | null;
}

/** Allowed transitions. A lost lead can be reopened. */
const TRANSITIONS: Readonly<Record<LeadStatus, readonly LeadStatus[]>> = {
  new: ["contacted", "qualified", "won", "lost"],
  contacted: ["qualified", "won", "lost"],
  qualified: ["contacted", "won", "lost"],
  won: ["lost"],
  lost: ["contacted"],
};

/**
 * Stores an enquiry: the lead, its client (the one with this e-mail address, else the one with this
 * number, else a new one) and the invoice. One read and one commit.
 *
 * @throws {AppError} `invalid_input`, also for a product that is not on sale; what `transact()` throws
 */
export async function acceptLead(
  services: LeadServices,
  input: NewLead,
  by: Caller,
): Promise<AcceptedLead> {
  const now = services.clock();
  const contact = await parseContactFields(
    { name: input.name, email: input.email ?? null, phone: input.phone ?? null },
    services.config.defaultRegion,
  );
  const leadId = newId(now);
  const newClientId = newId(now);
  const invoiceId = newId(now);
  const eventId = newId(now);
  const sequence = sequenceKey(services, now);
  const { productId } = input;
  const reads = {
    ...(contact.email === null ? {} : { byEmail: keys.clientByEmail(contact.email) }),
    ...(contact.phone === null ? {} : { byPhone: keys.clientByPhone(contact.phone) }),
    ...(productId === undefined ? {} : { product: keys.product(productId), sequence }),
  };
  const accepted = await transact(services, reads, (found, writes) => {
    const product = productId === undefined ? null : onSale(found.product, input);
    const knownId = found.byEmail ?? found.byPhone ?? null;
    const clientId = knownId ?? newClientId;
    if (knownId === null) {
      const { marketingConsent } = input;
      putNewClient(writes, { id: clientId, contact, marketingConsent, by, now });
    }
    const invoice = product && issued(
      newDraft(
        {
          id: invoiceId,
          clientId,
          leadId,
          billTo: contact,
          currency: product.price.currency,
          lines: [productLine(product, input.quantity)],
          taxMinor: 0,
          dueOn: usualDueOn(services, now),
          notes: "",
        },
        by,
        now,
      ),
      takeNumber(writes, sequence, found.sequence ?? null),
      now,
    );
    if (invoice) putNewInvoice(writes, invoice);
    const lead: Lead = {
      ...newEntity(leadId, by, now),
      clientId,
      contact,
      productId: product?.id ?? null,
      quantity: input.quantity,
      message: input.message,
      source: input.source,
      status: "new",
      invoiceId: invoice?.id ?? null,
      marketingConsent: input.marketingConsent,
      ...(input.language === undefined ? {} : { language: input.language }),
    };
    writes.set(keys.lead(leadId), lead);
    writes.set(keys.leadByStatus(lead.status, leadId), leadId);
    writes.set(keys.leadByClient(clientId, leadId), leadId);
    // One event covers the invoice too: every key costs each lead.
    const subject = { leadId, clientId, ...(invoice ? { invoiceId } : {}) };
    const facts = {
      source: lead.source,
      productId: lead.productId,
      hasEmail: contact.email !== null,
    };
    const data = { ...facts, ...(invoice ? invoiceFacts(invoice) : {}) };
    putEvent(writes, { id: eventId, type: "lead.created", subject, data }, now);
    return { lead, client: { id: clientId, ...contact }, invoice };
  }, {
    operation: operationOf(by, "lead.accept", input, { now }),
    ...(productId === undefined ? {} : { hotKey: NUMBERS }),
  });
  return accepted;
}

/** A lead. @throws {AppError} `not_found` */
export async function getLead({ store }: LeadServices, id: string): Promise<Lead> {
  const lead = await store.get(keys.lead(id));
  if (!lead) throw unknownLead();
  return lead;
}

/** A page of leads, newest first. */
export function listLeads(
  services: LeadServices,
  { status, clientId }: LeadFilter,
  page: PageRequest,
): Promise<Page<Lead>> {
  if (clientId !== null) {
    const name = `leads/client/${clientId}`;
    const isWanted = (lead: Lead) => status === null || lead.status === status;
    return listByIndex(services, name, keys.leadsByClient(clientId), keys.lead, page, isWanted);
  }
  if (status !== null) {
    const name = `leads/status/${status}`;
    const isWanted = (lead: Lead) => lead.status === status;
    return listByIndex(services, name, keys.leadsByStatus(status), keys.lead, page, isWanted);
  }
  return listEntities(services, "leads", keys.leads, page);
}

/**
 * Changes a lead's status. One read and one commit.
 *
 * @param revision The revision that the caller saw, or null for any.
 * @throws {AppError} `not_found`; `stale_revision`; `conflict` for a transition that is not allowed
 */
export async function moveLead(
  services: LeadServices,
  id: string,
  status: LeadStatus,
  { by, revision = null }: { by: Caller; revision?: number | null },
): Promise<Lead> {
  const now = services.clock();
  const key = keys.lead(id);
  return await transact(services, { lead: key }, ({ lead: before }, writes) => {
    if (!before) throw unknownLead();
    expectRevision(before, revision);
    if (before.status === status) return before;
    if (!TRANSITIONS[before.status].includes(status)) {
      throw new AppError("conflict", `Cannot change the lead from ${before.status} to ${status}`);
    }
    writes.delete(keys.leadByStatus(before.status, id));
    writes.set(keys.leadByStatus(status, id), id);
    const fields = { status };
    return putChange(writes, { entity: "lead", action: "lead.move", key, before, fields, by, now });
  }, { operation: operationOf(by, "lead.move", [id, status], { now }) });
}

/** The product, if it is on sale in the currency that the visitor saw. */
function onSale(product: Product | null | undefined, { currency }: NewLead): Product {
  if (!product?.active) throw invalidField("productId", "This product is not on sale", "unknown");
  if (currency !== undefined && currency !== product.price.currency) {
    throw invalidField(
      "currency",
      `The product is sold in ${product.price.currency}`,
      "currency_mismatch",
    );
  }
  return product;
}

function unknownLead(): AppError {
  return new AppError("not_found", "No such lead");
}
