/**
 * The program for most tests of its HTTP surface: the test controls its KV, and there are no
 * rate limits, which have tests of their own.
 *
 * @module
 */
import { deepStrictEqual as deepEqual } from "node:assert/strict";
import { isChainIntact } from "../../../lib/entities/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { AuditEntry, Entity, EntityKind } from "../../../lib/kv/records.ts";
import { LEAD, startApp, type TestAnswer, type TestApp, type TestAppOptions } from "./app.ts";
import { TestKv } from "../store/test_kv.ts";

/** Deadlines of a hanging store, in tests that make it hang. */
export const SHORT_DEADLINES = { readMs: 300, commitMs: 300, transactionMs: 500, fenceMs: 300 };

/** The running program and its KV. */
export interface TestShop extends TestApp {
  readonly kv: TestKv;
}

/** Starts the program. */
export async function startShop(options: TestAppOptions = {}): Promise<TestShop> {
  const kv = new TestKv();
  const app = await startApp({
    wrapKv: kv.wrapKv,
    ...options,
    env: { RATE_LIMITS: "off", ...options.env },
  });
  return Object.assign(app, { kv });
}

/** A path for a KV file. Its folder is removed when the programs on it have ended. */
export async function newKvFile(): Promise<{ path: string } & AsyncDisposable> {
  const folder = await Deno.makeTempDir();
  return {
    path: `${folder}/shop.kv`,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

/** Runs something, and checks that it changes no key of the store. */
export async function leavesStoreAlone<T>({ kv }: TestShop, act: () => Promise<T>): Promise<T> {
  const before = await kv.dump();
  const answer = await act();
  deepEqual(await kv.dump(), before);
  return answer;
}

/** Creates a client as visitors do, by an enquiry. @returns Its id */
export async function newClient(
  app: TestApp,
  fields: { name?: string; email?: string; phone?: string } = {},
): Promise<string> {
  const { body } = await app.post("/api/v2/leads", { ...LEAD, ...fields });
  return body.client.id;
}

/** Makes a request with the administrator's key. */
export function asAdmin(
  app: TestApp,
  method: string,
  path: string,
  { body, headers = {} }: { body?: unknown; headers?: Record<string, string> } = {},
  // deno-lint-ignore no-explicit-any
): Promise<TestAnswer<any>> {
  return app.request(method, path, { body, headers, key: app.adminKey });
}

/** The history of an entity, oldest first. */
export async function historyOf(
  { services: { store } }: TestApp,
  kind: EntityKind,
  id: string,
): Promise<AuditEntry[]> {
  const entries = await store.list(keys.auditOf(kind, id), { limit: 1_000 });
  return entries.map(({ value }) => value);
}

/** The history of an entity, checked: its chain ends at the entity as stored. */
export async function checkedHistoryOf(
  app: TestApp,
  kind: EntityKind,
  key: keys.Key<Entity>,
): Promise<AuditEntry[]> {
  const entity = await app.services.store.get(key);
  if (!entity) throw new Error(`Cannot check a history: there is no ${kind}`);
  const entries = await historyOf(app, kind, entity.id);
  deepEqual(isChainIntact(entity, entries), true);
  return entries;
}
