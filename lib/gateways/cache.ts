/**
 * What instances keep together of a gateway: its token, the address that it has
 * of us. Each value is sealed under its name.
 *
 * It saves calls and no more: while the store does not answer, each instance
 * gets along with its own.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { SharedCache } from "./mod.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { SealedValue } from "../kv/payment_records.ts";
import type { Store } from "../kv/store.ts";
import { transact } from "../kv/transact.ts";
import type { Log } from "../telemetry/log.ts";
import { seal, type SealConfig, type SealPlace, unseal } from "../crypto/sealing.ts";
import { type Clock, MINUTE_MS } from "../time.ts";

/** What of `Services` the cache is made of. */
export interface GatewayCacheOptions {
  /** Where it is kept. */
  store: Store;
  /** Tells what has expired. */
  clock: Clock;
  /** Told when the store did not answer. */
  log: Log;
  /** Gives the key. */
  config: SealConfig;
}

/** Opens the cache. A read is one round trip, a write two; neither throws when the store is down. */
export function openGatewayCache(options: GatewayCacheOptions): SharedCache {
  const { store, clock, log, config } = options;

  /** Does without the store where that is why it failed. */
  function orWithout(error: unknown): null {
    if (!(error instanceof AppError)) throw error;
    log.warn("gateway.cache_failed", { error });
    return null;
  }

  return {
    async get(name) {
      const found = await store.get(keys.gatewayCache(name)).catch(orWithout);
      if (!found || found.exp <= clock()) return null;
      return (await unseal(config, placeOf(name, found.exp), found.sealed))?.text ?? null;
    },
    async set(name, value, expiresAt) {
      const now = clock();
      const sealed = await seal(config, placeOf(name, expiresAt), value);
      const entry: SealedValue = { sealed, exp: expiresAt };
      // Nobody repeats it under its name: the receipt only has to outlive this call.
      const operation = { id: newId(now), fingerprint: "", isNew: true, keepMs: MINUTE_MS };
      const expireIn = Math.max(expiresAt - now, 1);
      await transact({ store }, {}, (_, writes) => {
        writes.set(keys.gatewayCache(name), entry, { expireIn });
        return null;
      }, { operation }).catch(orWithout);
    },
  };
}

/** The name and the end of its time are sealed in. */
function placeOf(name: string, exp: number): SealPlace {
  return { purpose: "gateway cache", label: JSON.stringify([name, exp]) };
}
