/**
 * Values of gateways that instances share, such as a token or the id of our callback
 * URL. Each value is sealed under its name.
 *
 * The cache only saves calls: while the store does not answer, each instance uses
 * values of its own.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { SealedValue } from "../kv/payment_records.ts";
import type { Store } from "../kv/store.ts";
import { transact } from "../kv/mod.ts";
import type { Log } from "../telemetry/mod.ts";
import { seal, type SealConfig, type SealPlace, unseal } from "../crypto/mod.ts";
import { type Clock, MINUTE_MS } from "../time.ts";
import type { SharedCache } from "./mod.ts";

/** What the cache needs. */
export interface GatewayCacheOptions {
  /** Stores the values. */
  store: Store;
  /** Decides what has expired. */
  clock: Clock;
  /** Records that the store did not answer. */
  log: Log;
  /** Has the key for sealing. */
  config: SealConfig;
}

/** Opens the cache. A read is one round trip, a write two; neither throws when the store is down. */
export function openGatewayCache(options: GatewayCacheOptions): SharedCache {
  const { store, clock, log, config } = options;

  /** Continues without the cache if the store failed. */
  function withoutCache(error: unknown): null {
    if (!(error instanceof AppError)) throw error;
    log.warn("gateway.cache_failed", { error });
    return null;
  }

  return {
    async get(name) {
      const found = await store.get(keys.gatewayCache(name)).catch(withoutCache);
      if (!found || found.exp <= clock()) return null;
      return (await unseal(config, sealPlaceOf(name, found.exp), found.sealed))?.text ?? null;
    },
    async set(name, value, expiresAt) {
      const now = clock();
      const sealed = await seal(config, sealPlaceOf(name, expiresAt), value);
      const entry: SealedValue = { sealed, exp: expiresAt };
      // Nobody repeats this operation: the receipt only has to outlive the call.
      const operation = { id: newId(now), fingerprint: "", isNew: true, keepMs: MINUTE_MS };
      const expireIn = Math.max(expiresAt - now, 1);
      await transact({ store }, {}, (_, writes) => {
        writes.set(keys.gatewayCache(name), entry, { expireIn });
        return null;
      }, { operation }).catch(withoutCache);
    },
  };
}

/** Name and expiry are bound to the sealed value. */
function sealPlaceOf(name: string, exp: number): SealPlace {
  return { purpose: "gateway cache", label: JSON.stringify([name, exp]) };
}
