/**
 * The history of entities. Revision 1 of an entity holds who created it; each later revision has an
 * audit entry. The entries form a chain of digests that ends in the stored entity, so that neither
 * can be altered unnoticed.
 *
 * @module
 */
import { sha256Hex } from "../digest.ts";
import { AppError } from "../errors.ts";
import * as keys from "../kv/keys.ts";
import type { AuditEntry, Entity, EntityKind } from "../kv/records.ts";
import type { Store } from "../kv/store.ts";
import type { Writes } from "../kv/transaction.ts";
import type { Caller } from "./caller.ts";
import type { Page } from "./page.ts";
import { isoTime } from "../time.ts";

export type { AuditEntry, EntityKind } from "../kv/records.ts";
export { ENTITY_KINDS } from "../kv/records.ts";

/** Fields whose values are not copied into the history: secrets, and data that an erasure could not reach there. */
const PERSONAL = new Set([
  "name",
  "email",
  "phone",
  "notes",
  "contact",
  "billTo",
  "message",
  "secretHash",
  "redirectUrl",
  "url",
  "payerPhone",
  "refunds",
  "resolution",
]);

/** Fields that every change changes. */
const BOOKKEEPING = new Set(["revision", "updatedAt", "chain"]);

/** A change of an entity, and its actor. */
export interface Change<T extends Entity> {
  /** The kind of entity. */
  entity: EntityKind;
  /** The use case, such as `invoice.void`. */
  action: string;
  /** The entity's key. */
  key: keys.Key<T>;
  /** The entity as it was read in this transaction. */
  before: T;
  /** The fields that get new values. */
  fields: Partial<T>;
  /** The actor in the entry. */
  by: Caller;
  /** Milliseconds UTC. */
  now: number;
}

/** The common fields of a new entity. */
export function newEntity(id: string, { actor, requestId }: Caller, now: number): Entity {
  const at = isoTime(now);
  return {
    id,
    revision: 1,
    createdAt: at,
    createdBy: actor,
    createdIn: requestId,
    updatedAt: at,
    chain: null,
  };
}

/**
 * Writes the next revision of an entity and its audit entry.
 *
 * @returns The entity after the change; `before` itself, and nothing is written, when no field has a
 * new value.
 */
export function putChange<T extends Entity>(
  writes: Writes,
  { entity, action, key, before, fields, by, now }: Change<T>,
): T {
  const at = isoTime(now);
  const revised: T = { ...before, ...fields, revision: before.revision + 1, updatedAt: at };
  const changed = changedFields(before, revised);
  if (changed.length === 0) return before;
  const unsealed: Omit<AuditEntry, "digest"> = {
    entity,
    entityId: before.id,
    revision: revised.revision,
    at,
    by: by.actor,
    requestId: by.requestId,
    action,
    fields: changed,
    changes: Object.fromEntries(
      changed.filter((field) => !PERSONAL.has(field)).map((
        field,
      ) => [field, [valueOf(before, field), valueOf(revised, field)]]),
    ),
    previousDigest: before.chain ?? stateDigest(before),
    stateDigest: stateDigest(revised),
  };
  const entry: AuditEntry = { ...unsealed, digest: entryDigest(unsealed) };
  const after: T = { ...revised, chain: entry.digest };
  writes.set(key, after);
  writes.set(keys.audit(entity, before.id, after.revision), entry);
  return after;
}

/**
 * Whether a history leads, entry by entry, to the stored entity.
 *
 * @param entries The whole history, oldest first.
 */
export function isChainIntact(entity: Entity, entries: AuditEntry[]): boolean {
  if (entries.length !== entity.revision - 1) return false;
  const last = entries.at(-1);
  if (!last) return entity.chain === null;
  return leadsTo(last, entity) &&
    entries.every((entry, i) =>
      isUnaltered(entry) && (i === 0 ? entry.revision === 2 : follows(entries[i - 1]!, entry))
    );
}

/** Whether an entry is as it was written. */
export function isUnaltered({ digest, ...unsealed }: AuditEntry): boolean {
  return digest === entryDigest(unsealed);
}

/** Whether `entry` is the one that was written after `previous`. */
export function follows(previous: AuditEntry, entry: AuditEntry): boolean {
  return entry.revision === previous.revision + 1 && entry.previousDigest === previous.digest;
}

/** Whether the change of the entry `last` left the entity as it is stored. */
export function leadsTo(last: AuditEntry, entity: Entity): boolean {
  return last.revision === entity.revision && last.digest === entity.chain &&
    last.stateDigest === stateDigest(entity);
}

/**
 * A page of an entity's history, oldest first.
 *
 * @param after The last known revision; 1 for the whole history.
 */
export async function listHistory(
  { store }: { readonly store: Store },
  { entity, id }: { entity: EntityKind; id: string },
  { limit, after }: { limit: number; after: number },
): Promise<Page<AuditEntry>> {
  const entries = await store.list(keys.auditOf(entity, id), {
    limit: limit + 1,
    start: keys.audit(entity, id, after + 1),
  });
  const data = entries.slice(0, limit).map(({ value }) => value);
  const hasMore = entries.length > limit;
  return { data, nextCursor: hasMore ? String(data.at(-1)!.revision) : null };
}

/**
 * Refuses a change of another revision than the one that the caller saw.
 *
 * @param expected From If-Match; null for any.
 * @throws {AppError} `stale_revision`
 */
export function expectRevision({ revision }: Entity, expected: number | null): void {
  if (expected !== null && expected !== revision) {
    throw new AppError(
      "stale_revision",
      `The record is at revision ${revision}, not ${expected}. Read it again`,
    );
  }
}

/** Digest of an entity without the end of its chain. */
function stateDigest(entity: Entity): string {
  return sha256Hex(canonical({ ...entity, chain: null }));
}

/** Digest of an entry, the previous digest included: this makes the chain. */
function entryDigest(unsealed: Omit<AuditEntry, "digest">): string {
  return sha256Hex(canonical(unsealed));
}

/** JSON with sorted fields: the same for equal values. */
function canonical(value: unknown): string {
  return JSON.stringify(sorted(value));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([k, v]) => [k, sorted(v)]),
  );
}

function changedFields(before: Entity, after: Entity): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((field) =>
    !BOOKKEEPING.has(field) &&
    JSON.stringify(sorted(valueOf(before, field))) !== JSON.stringify(sorted(valueOf(after, field)))
  );
}

function valueOf(entity: Entity, field: string): unknown {
  return Object.entries(entity).find(([name]) => name === field)?.[1] ?? null;
}
