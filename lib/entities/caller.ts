/**
 * Who makes a request, and under which operation id, so that a repeated request takes effect once.
 * The Idempotency-Key header follows draft-ietf-httpapi-idempotency-key-header.
 *
 * @module
 */
import { sha256Base64Url } from "../digest.ts";
import { newId } from "../ids.ts";
import type { Actor } from "../kv/records.ts";
import type { Store } from "../kv/store.ts";
import { transact } from "../kv/mod.ts";
import type { Guard, Operation } from "../kv/transaction.ts";
import { type Clock, DAY_MS, MINUTE_MS } from "../time.ts";

/** The caller of a use case, as far as the request shows. */
export interface Caller {
  /** Part of the operation id: two actors may use the same idempotency key. */
  actor: Actor;
  /** The request id in the log, in problems and in the history. */
  requestId: string;
  /** The Idempotency-Key; null without one. */
  idempotencyKey: string | null;
  /** Guards that its writes must pass, such as rate limits. */
  guards?: readonly Guard<unknown>[];
}

/** How long a repeated request is recognized where money moves. */
export const MONEY_RECEIPT_MS: number = 7 * DAY_MS;
/** How long a repeated request is recognized otherwise. */
export const RECEIPT_MS: number = 2 * DAY_MS;

/**
 * The operation of a call: the same action, actor and key with the same input is the same operation;
 * without a key each call is a new one.
 *
 * @param input The parsed input, so that equal requests give equal text.
 * @param now Milliseconds UTC.
 */
export function operationOf(
  { actor, idempotencyKey, guards = [] }: Caller,
  action: string,
  input: unknown,
  { now, keepMs = RECEIPT_MS }: { now: number; keepMs?: number },
): Operation {
  if (idempotencyKey === null) {
    return { id: newId(now), fingerprint: "", isNew: true, keepMs, guards };
  }
  return {
    id: sha256Base64Url(JSON.stringify([action, actor, idempotencyKey])),
    fingerprint: sha256Base64Url(JSON.stringify(input)),
    isNew: false,
    keepMs,
    guards,
  };
}

/** Passes the guards for a request that writes nothing else. One read and one commit. @throws what they throw */
export async function passGuards(
  services: { readonly store: Store; readonly clock: Clock },
  by: Caller,
): Promise<void> {
  const now = services.clock();
  // It is never repeated: the receipt only has to outlive this call.
  const options = { now, keepMs: MINUTE_MS };
  const operation = operationOf({ ...by, idempotencyKey: null }, "guards", null, options);
  await transact(services, {}, () => null, { operation });
}
