/**
 * Who asks for what, and under which name, so that asking twice is doing once.
 * The Idempotency-Key header follows draft-ietf-httpapi-idempotency-key-header.
 *
 * @module
 */
import { sha256, toBase64Url } from "../digest.ts";
import { newId } from "../ids.ts";
import type { Actor } from "../kv/records.ts";
import type { Store } from "../kv/store.ts";
import { type Guard, type Operation, transact } from "../kv/transact.ts";
import { type Clock, DAY_MS, MINUTE_MS } from "../time.ts";

/** Who asks, as far as the door could tell. */
export interface Caller {
  /** Part of the operation's name: two actors may use the same key for two intents. */
  actor: Actor;
  /** Names the exchange in the log, in problems and in the history. */
  requestId: string;
  /** The caller's own name for this intent; null when it gave none. */
  idempotencyKey: string | null;
  /** What its writes have to pass, such as rate limits. */
  guards?: readonly Guard<unknown>[];
}

/** How long a repetition is recognised where money moves. */
export const MONEY_RECEIPT_MS: number = 7 * DAY_MS;
/** How long a repetition is recognised otherwise. */
export const RECEIPT_MS: number = 2 * DAY_MS;

/**
 * Names one intent: the same action, actor and key with the same input is the
 * same operation; without a key each call is its own.
 *
 * @param input Parsed, so that equal requests give equal text.
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
    id: toBase64Url(sha256(JSON.stringify([action, actor, idempotencyKey]))),
    fingerprint: toBase64Url(sha256(JSON.stringify(input))),
    isNew: false,
    keepMs,
    guards,
  };
}

/** Makes a request that writes nothing else pass its guards, and count. @throws what they throw */
export async function passGuards(
  services: { readonly store: Store; readonly clock: Clock },
  by: Caller,
): Promise<void> {
  const now = services.clock();
  // Nobody repeats it under its name: the receipt only has to outlive this call.
  const options = { now, keepMs: MINUTE_MS };
  const operation = operationOf({ ...by, idempotencyKey: null }, "guards", null, options);
  await transact(services, {}, () => null, { operation });
}
