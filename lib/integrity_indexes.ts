/**
 * What a check is, and the checks of indexes: that each has what it should, and
 * nothing else.
 *
 * @module
 */
import * as keys from "./kv/keys.ts";
import type { Client, Entity, Invoice, Lead, Product, Severity } from "./kv/records.ts";

/** What is at a key; null where nothing is, or nothing that can be read. */
export type Get = <T>(key: keys.Key<T>) => T | null;

/** One invariant, for every entry under a prefix. */
export interface Check {
  /** What the finding is called. */
  name: string;
  /** `critical` if the books are wrong; `warning` if what follows from them is, and can be rebuilt. */
  severity: Severity;
  /** What is wrong, in one line without personal data; null if nothing is. */
  judge(value: unknown, key: keys.Key<unknown>, get: Get): string | null;
  /** Where it is wrong, if not at the entry itself. */
  at(value: unknown, key: keys.Key<unknown>): keys.Key<unknown>;
}

/** The entries under one prefix, and what must be true of each. */
export interface Room {
  /** Its name is the first and only part. */
  prefix: keys.Prefix<unknown>;
  /** Of an entry that cannot be read. */
  severity: Severity;
  /** All that can be wrong with an entry that can. */
  checks: readonly Check[];
}

/** An index: from something of an entity to its id. */
export interface Index<T extends Entity> {
  /** The beginning of its keys. */
  prefix: keys.Prefix<string>;
  /** Where an entity is to be found in it; null for one that is not in it. */
  keyOf: (entity: T) => keys.Key<string> | null;
  /** Where the entities are. */
  primary: (id: string) => keys.Key<T>;
  /** Whether its keys end in the id, so that many entities have the same value. */
  hasIds: boolean;
}

/** Products by the last part of their address. */
export const productBySlug: Index<Product> = {
  prefix: ["product_by_slug"],
  keyOf: ({ slug }) => keys.productBySlug(slug),
  primary: keys.product,
  hasIds: false,
};
/** Clients by e-mail address. */
export const clientByEmail: Index<Client> = {
  prefix: ["client_by_email"],
  keyOf: ({ email }) => email === null ? null : keys.clientByEmail(email),
  primary: keys.client,
  hasIds: false,
};
/** Clients by phone number. */
export const clientByPhone: Index<Client> = {
  prefix: ["client_by_phone"],
  keyOf: ({ phone }) => phone === null ? null : keys.clientByPhone(phone),
  primary: keys.client,
  hasIds: false,
};
/** Leads by how far they have come. */
export const leadByStatus: Index<Lead> = {
  prefix: ["lead_by_status"],
  keyOf: ({ status, id }) => keys.leadByStatus(status, id),
  primary: keys.lead,
  hasIds: true,
};
/** Leads by who sent them. */
export const leadByClient: Index<Lead> = {
  prefix: ["lead_by_client"],
  keyOf: ({ clientId, id }) => keys.leadByClient(clientId, id),
  primary: keys.lead,
  hasIds: true,
};
/** Issued invoices by number. */
export const invoiceByNumber: Index<Invoice> = {
  prefix: ["invoice_by_number"],
  keyOf: ({ number }) => number === null ? null : keys.invoiceByNumber(number),
  primary: keys.invoice,
  hasIds: false,
};
/** Invoices by state. */
export const invoiceByStatus: Index<Invoice> = {
  prefix: ["invoice_by_status"],
  keyOf: ({ status, id }) => keys.invoiceByStatus(status, id),
  primary: keys.invoice,
  hasIds: true,
};
/** Invoices by who owes them. */
export const invoiceByClient: Index<Invoice> = {
  prefix: ["invoice_by_client"],
  keyOf: ({ clientId, id }) => keys.invoiceByClient(clientId, id),
  primary: keys.invoice,
  hasIds: true,
};

/** A check of entries that hold a `T`, and forgets that they do: whoever runs a check has seen that the value is whole. */
export function check<T>(
  name: string,
  severity: Severity,
  judge: (value: T, get: Get, key: keys.Key<unknown>) => string | null,
  at: (value: T) => keys.Key<unknown> | null = () => null,
): Check {
  return {
    name,
    severity,
    judge: (value, key, get) => judge(value as T, get, key),
    at: (value, key) => at(value as T) ?? key,
  };
}

/** Seen from the entity: the index does not have it. */
export function missing<T extends Entity>({ keyOf }: Index<T>): Check {
  return check<T>("index.missing", "warning", (entity, get) => {
    const key = keyOf(entity);
    return key !== null && get(key) === null ? `${entity.id} is not in it` : null;
  }, keyOf);
}

/** Seen from the entity: the index has another one that has the same value. */
export function shared<T extends Entity>(name: string, { keyOf, primary }: Index<T>): Check {
  return check<T>(name, "critical", (entity, get) => {
    const key = keyOf(entity);
    const owner = key && get(key);
    if (!key || owner === null || owner === entity.id) return null;
    const other = get(primary(owner));
    return other && isSame(keyOf(other), key) ? `${owner} has the same` : null;
  });
}

/** Seen from the index: what an entry names does not exist, or is somewhere else. */
export function indexRoom<T extends Entity>({ prefix, keyOf, primary, hasIds }: Index<T>): Room {
  const named = (value: string, key: keys.Key<unknown>) => hasIds ? String(key.at(-1)) : value;
  return {
    prefix,
    severity: "warning",
    checks: [
      check<string>("index.dangling", "warning", (value, get, key) => {
        const id = named(value, key);
        return id === value && get(primary(id)) === null
          ? `It names ${id}, which is not there`
          : null;
      }),
      check<string>("index.wrong_value", "warning", (value, get, key) => {
        const id = named(value, key);
        if (id !== value) return `It is about ${id} and does not name it`;
        const entity = get(primary(id));
        return entity && !isSame(keyOf(entity), key) ? `It names ${id}, which is elsewhere` : null;
      }),
    ],
  };
}

function isSame(a: keys.Key<unknown> | null, b: keys.Key<unknown>): boolean {
  return a !== null && keys.keyText(a) === keys.keyText(b);
}
