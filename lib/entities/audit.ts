/**
 * The history of entities. An entity says at revision 1 who made it; each later
 * revision has an audit entry, and the entries form a chain of digests that
 * ends in the entity as it stands: neither can be altered unnoticed.
 *
 * @module
 */
import { sha256Hex } from "../digest.ts";
import { AppError } from "../errors.ts";
import * as keys from "../kv/keys.ts";
import type { AuditEntry, Entity, EntityKind } from "../kv/records.ts";
import type { Store } from "../kv/store.ts";
import type { Writes } from "../kv/transact.ts";
import type { Caller } from "./caller.ts";
import type { Page } from "./page.ts";
import { isoTime } from "../time.ts";

export type { AuditEntry, EntityKind } from "../kv/records.ts";

/** Fields whose values must not be repeated in the history: secrets, and what erasing could not reach there. */
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

/** What changes, and who does it. */
export interface Change<T extends Entity> {
  /** Which of the histories the entry belongs to. */
  entity: EntityKind;
  /** The use case, such as `invoice.void`. */
  action: string;
  /** Where the entity is stored. */
  key: keys.Key<T>;
  /** The entity as it was read in this transaction. */
  before: T;
  /** The fields that get new values. */
  fields: Partial<T>;
  /** Who is named in the entry. */
  by: Caller;
  /** Milliseconds UTC. */
  now: number;
}

/** What a new entity starts with. */
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
 * @returns The entity as it is now; `before` itself, and nothing written, when
 * no field has a new value.
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
 * Whether a history leads, entry by entry, to the entity as it stands.
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

/** Whether an entry still says what it said when it was written. */
export function isUnaltered({ digest, ...unsealed }: AuditEntry): boolean {
  return digest === entryDigest(unsealed);
}

/** Whether `entry` is the one that was written after `previous`. */
export function follows(previous: AuditEntry, entry: AuditEntry): boolean {
  return entry.revision === previous.revision + 1 && entry.previousDigest === previous.digest;
}

/** Whether the change that `last` is about left the entity as it stands. */
export function leadsTo(last: AuditEntry, entity: Entity): boolean {
  return last.revision === entity.revision && last.digest === entity.chain &&
    last.stateDigest === stateDigest(entity);
}

/**
 * The history of an entity, oldest first: a page of what comes after a revision.
 *
 * @param after The last revision that is known; 1 for the whole history.
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
 * Refuses to change another revision than the one that the caller saw.
 *
 * @param expected From If-Match; null when the caller does not mind.
 * @throws {AppError} `stale_revision`
 */
export function expectRevision({ revision }: Entity, expected: number | null): void {
  if (expected !== null && expected !== revision) {
    throw new AppError("stale_revision", `It is at revision ${revision}, not ${expected}`);
  }
}

/** Of an entity, but for the end of its chain. */
function stateDigest(entity: Entity): string {
  return sha256Hex(canonical({ ...entity, chain: null }));
}

/** Of all that an entry says, the digest before it included: what makes a chain of them. */
function entryDigest(unsealed: Omit<AuditEntry, "digest">): string {
  return sha256Hex(canonical(unsealed));
}

/** JSON with sorted fields: the same for equal values, however they were put together. */
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
