/**
 * API keys for programs and operators' scripts.
 *
 * A key is `wtk_`, its id without hyphens, and 256 random bits. Only a digest is stored; a fast one
 * suffices, since 256 random bits cannot be guessed. The id in the key makes it one read to find.
 *
 * @module
 */
import { newEntity, putChange } from "../entities/mod.ts";
import { sha256Hex, timingSafeEqual } from "../digest.ts";
import { AppError } from "../errors.ts";
import { hyphenated, newId, newSecret } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Actor, ApiKey, Scope } from "../kv/records.ts";
import { transact } from "../kv/mod.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { listEntities, type Page, type PageRequest } from "../entities/page.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Config } from "../config/mod.ts";
import { isoTime } from "../time.ts";

/** What API keys need. */
export interface AccessServices extends StoreServices {
  /** The key that gives access before there is any other. */
  readonly config: Pick<Config, "bootstrapApiKey">;
}

export { type ApiKey, type Scope, SCOPES } from "../kv/records.ts";

/** The identity and permissions of a key. */
export interface Principal {
  /** The actor in the history of its changes. */
  actor: Actor;
  /** Use {@linkcode hasScope}: `admin` includes scopes that are not listed. */
  scopes: readonly Scope[];
}

/** The fields of a new key. */
export interface NewApiKey {
  /** Its user and purpose. */
  name: string;
  /** Its permissions; none allow nothing. */
  scopes: Scope[];
  /** ISO 8601; null never expires. */
  expiresAt: string | null;
}

const FORM = /^wtk_([0-9a-f]{32})_[\w-]{43}$/;

/** Creates a key. One commit. @returns The record, and the key, which is shown only once. */
export async function createApiKey(
  services: AccessServices,
  { name, scopes, expiresAt }: NewApiKey,
  by: Caller,
): Promise<{ record: ApiKey; key: string }> {
  const now = services.clock();
  const id = newId(now);
  const key = `wtk_${id.replaceAll("-", "")}_${newSecret()}`;
  const record: ApiKey = {
    ...newEntity(id, by, now),
    name,
    scopes,
    secretHash: sha256Hex(key),
    expiresAt,
    revokedAt: null,
  };
  await transact(services, {}, (_, writes) => {
    writes.set(keys.apiKey(id), record);
  }, { operation: operationOf(by, "api_key.create", id, { now }) });
  return { record, key };
}

/** Revokes a key at once. @throws {AppError} `not_found` */
export async function revokeApiKey(
  services: AccessServices,
  id: string,
  by: Caller,
): Promise<ApiKey> {
  const now = services.clock();
  const key = keys.apiKey(id);
  return await transact(services, { apiKey: key }, ({ apiKey: before }, writes) => {
    if (!before) throw new AppError("not_found", "No such API key");
    if (before.revokedAt) return before;
    const fields = { revokedAt: isoTime(now) };
    const action = "api_key.revoke";
    return putChange(writes, { entity: "api_key", action, key, before, fields, by, now });
  }, { operation: operationOf(by, "api_key.revoke", id, { now }) });
}

/** A page of keys, newest first, revoked ones too. */
export function listApiKeys(services: AccessServices, page: PageRequest): Promise<Page<ApiKey>> {
  return listEntities(services, "api_keys", keys.apiKeys, page);
}

/**
 * The principal of a key. One read, so that a revoked key is refused at once.
 *
 * @throws {AppError} `unauthenticated`, the same for every reason
 */
export async function authenticate(services: AccessServices, key: string): Promise<Principal> {
  const { config, store, clock } = services;
  const { bootstrapApiKey } = config;
  if (bootstrapApiKey !== undefined && timingSafeEqual(key, bootstrapApiKey)) {
    return { actor: "bootstrap", scopes: ["admin"] };
  }
  const hex = FORM.exec(key)?.[1];
  if (hex === undefined) throw refused();
  const id = hyphenated(hex);
  const record = await store.get(keys.apiKey(id));
  const isKnown = timingSafeEqual(sha256Hex(key), record?.secretHash ?? "");
  if (!record || !isKnown || record.revokedAt) throw refused();
  if (record.expiresAt && Date.parse(record.expiresAt) <= clock()) throw refused();
  return { actor: `key:${record.id}`, scopes: record.scopes };
}

/** Whether a principal has a scope. */
export function hasScope({ scopes }: Principal, scope: Scope): boolean {
  return scopes.includes(scope) || scopes.includes("admin");
}

function refused(): AppError {
  return new AppError("unauthenticated", "The API key is not valid");
}
