/**
 * The parts of a check, and the checks of indexes: each index has exactly the
 * entries that it should. A check without a repair leaves its findings to a person.
 *
 * @module
 */
import { isId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Client, Entity, Invoice, Lead, Product, Severity } from "../kv/records.ts";
import type { Store } from "../kv/store.ts";
import type { Writes } from "../kv/transaction.ts";
import type { Caller } from "../entities/caller.ts";

/** Returns the value at a key; null if there is none, or if it is unreadable. */
export type Get = <T>(key: keys.Key<T>) => T | null;

/** A repair. It writes derived data or derived fields, and nothing else. */
export interface Repair {
  /** The result, in one line without personal data. */
  done: string;
  /** Writes the repair in the transaction that chose it; `now` is in milliseconds UTC. */
  put(writes: Writes, by: Caller, now: number): void;
}

/** Chooses the repair from the judged values. Pure; null where only a person can repair. */
export type RepairRule = (get: Get) => Repair | null;

/** One invariant of every entry of a table. */
export interface Check {
  /** The name of the finding. */
  name: string;
  /** `critical` if the books are wrong; `warning` if only data that can be rebuilt from them is. */
  severity: Severity;
  /** The fault, in one line without personal data; null for none. */
  judge(value: unknown, key: keys.Key<unknown>, get: Get): string | null;
  /** The key of the finding: the entry itself, or an entry that it requires. */
  at(value: unknown, key: keys.Key<unknown>): keys.Key<unknown>;
  /** The repair, if sound data determines it; null where only a person can repair. */
  repair(value: unknown, key: keys.Key<unknown>, get: Get): Repair | null;
  /** An entry of a later table that only this entry can repair. */
  claim?: Claim;
}

/** An entry whose owner is known, whatever its value is. */
export interface Claim {
  /** The key of the claimed entry; null for none. */
  at(value: unknown): keys.Key<unknown> | null;
  /** The checks of the claimed entry, named as in its own table. */
  checks: readonly Check[];
  /** The repair of an unreadable claimed entry, which does not read it. */
  repair(value: unknown): Repair | null;
}

/** The entries under one prefix, and their checks. */
export interface Table {
  /** One part: the name of the table. */
  prefix: keys.Prefix<unknown>;
  /** The severity of an unreadable entry. */
  severity: Severity;
  /** The checks of a readable entry. */
  checks: readonly Check[];
  /** The repair of an unreadable entry, which does not read it; absent if only a person can. */
  repairUnreadable?(
    key: keys.Key<unknown>,
    store: Store,
  ): RepairRule | null | Promise<RepairRule | null>;
}

/** An index: from a property of an entity to its id. */
export interface Index<T extends Entity> {
  /** The beginning of its keys. */
  prefix: keys.Prefix<string>;
  /** The index key of an entity; null if the index does not list it. */
  keyOf: (entity: T) => keys.Key<string> | null;
  /** The primary key of an entity. */
  primary: (id: string) => keys.Key<T>;
  /** Whether its keys end in the id, so that entities can share a value. */
  hasIds: boolean;
  /** Whether an entry can be the last trace of a lost entity, which no repair may delete. */
  isTrace?: true;
}

/** Products by slug. */
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
/** Leads by status. */
export const leadByStatus: Index<Lead> = {
  prefix: ["lead_by_status"],
  keyOf: ({ status, id }) => keys.leadByStatus(status, id),
  primary: keys.lead,
  hasIds: true,
};
/** Leads by client. */
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
  isTrace: true, // nothing else proves that the number was issued
};
/** Invoices by status. */
export const invoiceByStatus: Index<Invoice> = {
  prefix: ["invoice_by_status"],
  keyOf: ({ status, id }) => keys.invoiceByStatus(status, id),
  primary: keys.invoice,
  hasIds: true,
};
/** Invoices by client. */
export const invoiceByClient: Index<Invoice> = {
  prefix: ["invoice_by_client"],
  keyOf: ({ clientId, id }) => keys.invoiceByClient(clientId, id),
  primary: keys.invoice,
  hasIds: true,
};

/**
 * A check of entries that hold a `T`. The type of {@linkcode Check} does not know
 * `T`: its caller has checked the shape of the value.
 */
export function check<T>(
  name: string,
  severity: Severity,
  judge: (value: T, get: Get, key: keys.Key<unknown>) => string | null,
  at: (value: T) => keys.Key<unknown> | null = () => null,
  repair: (value: T, get: Get, key: keys.Key<unknown>) => Repair | null = () => null,
): Check {
  return {
    name,
    severity,
    judge: (value, key, get) => judge(value as T, get, key),
    at: (value, key) => at(value as T) ?? key,
    repair: (value, key, get) => repair(value as T, get, key),
  };
}

/** Finds an entity that its index does not list. */
export function missing<T extends Entity>(index: Index<T>): Check {
  const { keyOf, hasIds } = index;
  return {
    ...check<T>(
      "index.missing",
      "warning",
      (entity, get) => {
        const key = keyOf(entity);
        return key !== null && get(key) === null ? `${entity.id} is missing` : null;
      },
      keyOf,
      (entity) => settingId(keyOf(entity), entity.id),
    ),
    // A key that ends in the id names its owner itself.
    ...(hasIds ? {} : { claim: claimOf(index) }),
  };
}

/** Finds an entity whose unique value the index gives to another entity that has the same one. */
export function shared<T extends Entity>(name: string, { keyOf, primary }: Index<T>): Check {
  return check<T>(name, "critical", (entity, get) => {
    const key = keyOf(entity);
    const owner = key && get(key);
    if (!key || owner === null || owner === entity.id) return null;
    const other = get(primary(owner));
    return other && isSame(keyOf(other), key) ? `${owner} has the same value` : null;
  });
}

/** Finds index entries whose entity does not exist, or belongs under another key. */
export function indexTable<T extends Entity>(index: Index<T>): Table {
  const { prefix, keyOf, primary, hasIds, isTrace = false } = index;
  const named = (value: string, key: keys.Key<unknown>) => hasIds ? String(key.at(-1)) : value;
  const isOf = (id: string, key: keys.Key<unknown>, get: Get) => {
    const entity = get(primary(id));
    return entity !== null && isSame(keyOf(entity), key);
  };
  const repair = (value: string, get: Get, key: keys.Key<unknown>): Repair | null => {
    if (isTrace) return null;
    const id = named(value, key);
    return hasIds && isOf(id, key, get) ? settingId(key, id) : removal(key);
  };
  return {
    prefix,
    severity: "warning",
    checks: [
      check<string>(
        "index.dangling",
        "warning",
        (value, get, key) =>
          named(value, key) === value && get(primary(value)) === null ? missingEntity(value) : null,
        () => null,
        repair,
      ),
      check<string>(
        "index.wrong_value",
        "warning",
        (value, get, key) => {
          const id = named(value, key);
          if (id !== value) return `The key is for ${id}, the value is another id`;
          return get(primary(id)) !== null && !isOf(id, key, get) ? misplacedEntity(id) : null;
        },
        () => null,
        repair,
      ),
    ],
    repairUnreadable: (key) => (get) => repair("", get, key),
  };
}

/**
 * The claim of an entity on its entry in an index whose keys do not end in the id.
 * Deleting a wrong entry first, and writing it again once its entity is found,
 * would let another entity take the key in between.
 */
function claimOf<T extends Entity>({ keyOf, primary }: Index<T>): Claim {
  const stranger = (entity: T, get: Get) => {
    const key = keyOf(entity);
    const owner = key && get(key);
    return key && owner !== null && owner !== entity.id ? { key, owner } : null;
  };
  const repair = (entity: T) => settingId(keyOf(entity), entity.id);
  return {
    at: (value) => keyOf(value as T), // as in check()
    repair: (value) => repair(value as T),
    checks: [
      check<T>(
        "index.dangling",
        "warning",
        (entity, get) => {
          const found = stranger(entity, get);
          return found && get(primary(found.owner)) === null ? missingEntity(found.owner) : null;
        },
        keyOf,
        repair,
      ),
      check<T>(
        "index.wrong_value",
        "warning",
        (entity, get) => {
          const found = stranger(entity, get);
          const other = found && get(primary(found.owner));
          return other && !isSame(keyOf(other), found.key) ? misplacedEntity(found.owner) : null;
        },
        keyOf,
        repair,
      ),
    ],
  };
}

function settingId(key: keys.Key<string> | keys.Key<unknown> | null, id: string): Repair | null {
  return key && { done: `Set to ${id}`, put: (writes) => writes.set(key, id) };
}

function removal(key: keys.Key<unknown>): Repair {
  return { done: "Entry deleted", put: (writes) => writes.delete(key) };
}

function missingEntity(id: string): string {
  return `${displayId(id)} does not exist`;
}

function misplacedEntity(id: string): string {
  return `${displayId(id)} belongs under another key`;
}

/** A text that is no id may be personal data. */
function displayId(text: string): string {
  return isId(text) ? text : "An invalid id";
}

function isSame(a: keys.Key<unknown> | null, b: keys.Key<unknown>): boolean {
  return a !== null && keys.keyText(a) === keys.keyText(b);
}
