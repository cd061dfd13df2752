/**
 * What a check is, and the checks of indexes: that each has what it should, and
 * nothing else. Beside each check stands how what it finds is mended; where
 * nothing stands, a person has to look.
 *
 * @module
 */
import { isId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Client, Entity, Invoice, Lead, Product, Severity } from "../kv/records.ts";
import type { Store } from "../kv/store.ts";
import type { Writes } from "../kv/transact.ts";
import type { Caller } from "../entities/caller.ts";

/** What is at a key; null where nothing is, or nothing that can be read. */
export type Get = <T>(key: keys.Key<T>) => T | null;

/** What mends a finding. It writes derived data, or derived fields, and nothing else. */
export interface Mend {
  /** What it does, in one line without personal data. */
  done: string;
  /** Writes it, in the transaction that chose it; `now` is in milliseconds UTC. */
  put(writes: Writes, by: Caller, now: number): void;
}

/** Chooses what mends something from the values that it was judged by. Pure; null where only a person can. */
export type Mender = (get: Get) => Mend | null;

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
  /** What mends it, if what is wrong follows from something that is not; null where only a person can. */
  mend(value: unknown, key: keys.Key<unknown>, get: Get): Mend | null;
  /** What the entry can put right of others that are looked at later, and cannot be by themselves. */
  claim?: Claim;
}

/** Something that belongs to an entry, whatever it says. */
export interface Claim {
  /** Where it is; null for nowhere. */
  at(value: unknown): keys.Key<unknown> | null;
  /** What its own checks find there. */
  checks: readonly Check[];
  /** What mends it if it cannot be read: without reading it. */
  mend(value: unknown): Mend | null;
}

/** The entries under one prefix, and what must be true of each. */
export interface Room {
  /** Its name is the first and only part. */
  prefix: keys.Prefix<unknown>;
  /** Of an entry that cannot be read. */
  severity: Severity;
  /** All that can be wrong with an entry that can. */
  checks: readonly Check[];
  /** What mends one that cannot be read, without reading it; absent where only a person can. */
  mendUnreadable?(key: keys.Key<unknown>, store: Store): Mender | null | Promise<Mender | null>;
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
  /** Whether an entry is the last trace of an entity that is gone, which no repair may wipe out. */
  isTrace?: true;
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
  isTrace: true, // the number was given, and nothing else tells so
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

/**
 * A check of entries that hold a `T`, and forgets that they do: whoever runs a
 * check has seen that the value is whole.
 */
export function check<T>(
  name: string,
  severity: Severity,
  judge: (value: T, get: Get, key: keys.Key<unknown>) => string | null,
  at: (value: T) => keys.Key<unknown> | null = () => null,
  mend: (value: T, get: Get, key: keys.Key<unknown>) => Mend | null = () => null,
): Check {
  return {
    name,
    severity,
    judge: (value, key, get) => judge(value as T, get, key),
    at: (value, key) => at(value as T) ?? key,
    mend: (value, key, get) => mend(value as T, get, key),
  };
}

/** Seen from the entity: the index does not have it. */
export function missing<T extends Entity>(index: Index<T>): Check {
  const { keyOf, hasIds } = index;
  return {
    ...check<T>(
      "index.missing",
      "warning",
      (entity, get) => {
        const key = keyOf(entity);
        return key !== null && get(key) === null ? `${entity.id} is not in it` : null;
      },
      keyOf,
      (entity) => naming(keyOf(entity), entity.id),
    ),
    // What a key with an id is about can be told from the key.
    ...(hasIds ? {} : { claim: claimOf(index) }),
  };
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
export function indexRoom<T extends Entity>(index: Index<T>): Room {
  const { prefix, keyOf, primary, hasIds, isTrace = false } = index;
  const named = (value: string, key: keys.Key<unknown>) => hasIds ? String(key.at(-1)) : value;
  const isOf = (id: string, key: keys.Key<unknown>, get: Get) => {
    const entity = get(primary(id));
    return entity !== null && isSame(keyOf(entity), key);
  };
  const mend = (value: string, get: Get, key: keys.Key<unknown>): Mend | null => {
    if (isTrace) return null;
    const id = named(value, key);
    return hasIds && isOf(id, key, get) ? naming(key, id) : removal(key);
  };
  return {
    prefix,
    severity: "warning",
    checks: [
      check<string>(
        "index.dangling",
        "warning",
        (value, get, key) =>
          named(value, key) === value && get(primary(value)) === null ? isGone(value) : null,
        () => null,
        mend,
      ),
      check<string>(
        "index.wrong_value",
        "warning",
        (value, get, key) => {
          const id = named(value, key);
          if (id !== value) return `It is about ${id} and does not name it`;
          return get(primary(id)) !== null && !isOf(id, key, get) ? isElsewhere(id) : null;
        },
        () => null,
        mend,
      ),
    ],
    mendUnreadable: (key) => (get) => mend("", get, key),
  };
}

/**
 * What an entity puts right in an index whose entries do not tell by their key
 * whom they belong to. Deleting such an entry first, and writing it again when
 * the entity is found, would leave time for another entity to take its place.
 */
function claimOf<T extends Entity>({ keyOf, primary }: Index<T>): Claim {
  const stranger = (entity: T, get: Get) => {
    const key = keyOf(entity);
    const owner = key && get(key);
    return key && owner !== null && owner !== entity.id ? { key, owner } : null;
  };
  const name = (entity: T) => naming(keyOf(entity), entity.id);
  return {
    at: (value) => keyOf(value as T), // as in check()
    mend: (value) => name(value as T),
    checks: [
      check<T>(
        "index.dangling",
        "warning",
        (entity, get) => {
          const found = stranger(entity, get);
          return found && get(primary(found.owner)) === null ? isGone(found.owner) : null;
        },
        keyOf,
        name,
      ),
      check<T>(
        "index.wrong_value",
        "warning",
        (entity, get) => {
          const found = stranger(entity, get);
          const other = found && get(primary(found.owner));
          return other && !isSame(keyOf(other), found.key) ? isElsewhere(found.owner) : null;
        },
        keyOf,
        name,
      ),
    ],
  };
}

function naming(key: keys.Key<string> | keys.Key<unknown> | null, id: string): Mend | null {
  return key && { done: `It names ${id} now`, put: (writes) => writes.set(key, id) };
}

function removal(key: keys.Key<unknown>): Mend {
  return { done: "It was removed", put: (writes) => writes.delete(key) };
}

function isGone(id: string): string {
  return `It names ${shownId(id)}, which is not there`;
}

function isElsewhere(id: string): string {
  return `It names ${shownId(id)}, which is elsewhere`;
}

/** What is no id may be anything, also something personal. */
function shownId(text: string): string {
  return isId(text) ? text : "what is no id";
}

function isSame(a: keys.Key<unknown> | null, b: keys.Key<unknown>): boolean {
  return a !== null && keys.keyText(a) === keys.keyText(b);
}
