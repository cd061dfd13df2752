/**
 * A store with one of everything, changed by the use cases or directly.
 *
 * @module
 */
import { createApiKey, revokeApiKey } from "../../../lib/access/mod.ts";
import { changeClient, eraseClient } from "../../../lib/leads/clients.ts";
import { readConfig } from "../../../lib/config/mod.ts";
import {
  changeInvoice,
  createInvoice,
  issueInvoice,
  type NewInvoice,
  voidInvoice,
} from "../../../lib/invoices/mod.ts";
import { decode, encode } from "../../../lib/kv/codec.ts";
import { isDurable, type Key } from "../../../lib/kv/keys.ts";
import type { Client, Invoice, Lead, Product } from "../../../lib/kv/records.ts";
import type { Deadlines } from "../../../lib/kv/deadlines.ts";
import type { KvPort } from "../../../lib/kv/store.ts";
import { type AcceptedLead, acceptLead, moveLead, type NewLead } from "../../../lib/leads/mod.ts";
import { openLog } from "../../../lib/telemetry/mod.ts";
import { changeProduct, createProduct } from "../../../lib/products/mod.ts";
import { openServices } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/mod.ts";
import { PATIENT } from "../store/deadlines.ts";
import { PRODUCT, TEST_START, TESTER } from "./app.ts";

/** An open store on the test's clock, and the KV beneath it. */
export interface Books extends AsyncDisposable {
  readonly services: Services;
  /** The KV that `wrapKv` received. */
  readonly kv: KvPort;
  /** Moves the clock. */
  advance(ms: number): void;
  /** The value at a key, or null. */
  get<T>(key: Key<T>): Promise<T | null>;
  /** Writes a value directly, past the use cases. */
  put<T>(key: Key<T>, value: T): Promise<void>;
  /** Writes bytes that are no value of ours. */
  putRaw(key: Key<unknown>, value: unknown): Promise<void>;
  remove(...keys: Key<unknown>[]): Promise<void>;
  /** All durable keys with their bytes, in order. */
  entries(): Promise<[Key<unknown>, Uint8Array][]>;
}

/** Options of {@linkcode openBooks}. */
export interface BooksOptions {
  /** Wraps the opened KV, for example to inject faults. */
  wrapKv?: (kv: KvPort) => KvPort;
  /** {@linkcode PATIENT} when absent. */
  deadlines?: Deadlines;
}

/** Opens an empty store of its own. */
export async function openBooks(
  { wrapKv = (kv) => kv, deadlines = PATIENT }: BooksOptions = {},
): Promise<
  Books
> {
  let opened: KvPort | undefined;
  let offset = 0;
  const services = await openServices(
    readConfig({ APP_ENV: "test", KV_PATH: ":memory:", PORT: "0" }),
    {
      log: openLog({ level: "error", format: "json", write: () => {} }),
      clock: () => TEST_START + offset,
      random: Math.random,
      wrapKv: (kv) => wrapKv(opened = kv),
      deadlines,
    },
  );
  const kv = opened!;
  const commit = async (atomic: Deno.AtomicOperation) => {
    await atomic.commit();
  };
  return {
    services,
    kv,
    advance(ms) {
      offset += ms;
    },
    async get<T>(key: Key<T>) {
      const [{ value }] = await kv.getMany<[Uint8Array]>([key]);
      return value === null ? null : decode<T>(value);
    },
    put: (key, value) => commit(kv.atomic().set(key, encode(value))),
    putRaw: (key, value) => commit(kv.atomic().set(key, value)),
    remove: (...keys) => commit(keys.reduce((atomic, key) => atomic.delete(key), kv.atomic())),
    async entries() {
      const found: [Key<unknown>, Uint8Array][] = [];
      for await (const { key, value } of kv.list<Uint8Array>({ prefix: [] })) {
        if (isDurable(key as Key<unknown>)) found.push([key as Key<unknown>, value]);
      }
      return found;
    },
    async [Symbol.asyncDispose]() {
      await services.store.close();
    },
  };
}

/** An enquiry from a person, named by the part before the @. */
export function leadOf(name: string, fields: Partial<NewLead> = {}): NewLead {
  return {
    name,
    email: `${name}@example.com`,
    message: "Habari",
    quantity: 1,
    source: "website",
    marketingConsent: false,
    ...fields,
  };
}

/** An invoice of one line. */
export function invoiceOf(clientId: string, fields: Partial<NewInvoice> = {}): NewInvoice {
  return {
    clientId,
    lines: [{ description: "Training", quantity: 3, unitMinor: 5_000_00 }],
    currency: "TZS",
    taxMinor: 1_000_00,
    notes: "",
    draft: false,
    ...fields,
  };
}

/** The stored entities; all are at revision 1 unless noted. */
export interface Sample {
  product: Product;
  /** Has been changed, so that it is at revision 3. */
  changedProduct: Product;
  /** Without a product, from a client with an e-mail address and a telephone number. */
  question: AcceptedLead;
  /** The same client's, with an invoice. */
  order: AcceptedLead;
  /** Another client's, with an invoice; it has the last but one number. */
  otherOrder: AcceptedLead;
  /** The last to be numbered. */
  lastOrder: AcceptedLead;
  /** At revision 3. */
  movedLead: Lead;
  /** At revision 2. */
  changedClient: Client;
  /** At revision 2. */
  erasedClient: Client;
  draft: Invoice;
  /** Written by an operator. */
  written: Invoice;
  /** A draft that was changed and issued: at revision 3. */
  issuedDraft: Invoice;
  /** At revision 2. */
  voided: Invoice;
  /** Never revoked. */
  apiKeyId: string;
  /** At revision 2. */
  revokedApiKeyId: string;
}

/** Fills the books with one of everything. */
export async function fillBooks({ services }: Books): Promise<Sample> {
  const by = TESTER;
  const product = await createProduct(services, PRODUCT, by);
  const { id } = await createProduct(services, { ...PRODUCT, slug: "tovuti" }, by);
  await changeProduct(services, id, { slug: "website" }, { by });
  const changedProduct = await changeProduct(services, id, { active: false }, { by });

  const productId = product.id;
  const question = await acceptLead(services, leadOf("asha", { phone: "0712345678" }), by);
  const order = await acceptLead(services, leadOf("asha", { productId, quantity: 2 }), by);
  const moved = await acceptLead(services, leadOf("juma", { productId }), by);
  await moveLead(services, moved.lead.id, "contacted", { by });
  const movedLead = await moveLead(services, moved.lead.id, "won", { by });
  const changedClient = await changeClient(
    services,
    moved.client.id,
    { email: "juma.new@example.com", phone: "0754000001", notes: "Pays late" },
    { by },
  );
  const leaving = await acceptLead(services, leadOf("neema", { productId }), by);
  const erasedClient = await eraseClient(services, leaving.client.id, by);

  const clientId = question.client.id;
  const draft = await createInvoice(services, invoiceOf(clientId, { draft: true }), by);
  const written = await createInvoice(services, invoiceOf(clientId), by);
  const second = await createInvoice(services, invoiceOf(clientId, { draft: true }), by);
  await changeInvoice(services, second.id, { taxMinor: 0 }, { by });
  const issuedDraft = await issueInvoice(services, second.id, by);
  const wrong = await createInvoice(services, invoiceOf(clientId), by);
  const voided = await voidInvoice(services, wrong.id, "A mistake", by);

  const { record: { id: apiKeyId } } = await createApiKey(
    services,
    { name: "Website", scopes: ["leads:write"], expiresAt: null },
    by,
  );
  const { record: { id: revokedApiKeyId } } = await createApiKey(
    services,
    { name: "Old website", scopes: ["leads:write"], expiresAt: null },
    by,
  );
  await revokeApiKey(services, revokedApiKeyId, by);
  const otherOrder = await acceptLead(services, leadOf("baraka", { productId }), by);
  const lastOrder = await acceptLead(services, leadOf("zawadi", { productId }), by);
  return {
    product,
    changedProduct,
    question,
    order,
    otherOrder,
    lastOrder,
    movedLead,
    changedClient,
    erasedClient,
    draft,
    written,
    issuedDraft,
    voided,
    apiKeyId,
    revokedApiKeyId,
  };
}
