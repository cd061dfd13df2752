/**
 * What instances keep together of a gateway: its token, the address that it has
 * of us. Encrypted with a key derived from `SECRET_KEY`, and under a name that
 * is sealed in, so that who can read the store learns nothing and who can write
 * it cannot exchange one value for another. A rotated key forgets all of it.
 *
 * It saves calls and no more: while the store does not answer, each instance
 * gets along with its own.
 *
 * @module
 */
import type { Config } from "./config.ts";
import { hmacSha256 } from "./digest.ts";
import { AppError } from "./errors.ts";
import type { SharedCache } from "./gateways/mod.ts";
import { newId } from "./ids.ts";
import * as keys from "./kv/keys.ts";
import type { SealedValue } from "./kv/payment_records.ts";
import type { Store } from "./kv/store.ts";
import { transact } from "./kv/transact.ts";
import type { Log } from "./log.ts";
import { type Clock, MINUTE_MS } from "./time.ts";

/** What of `Services` the cache is made of. */
export interface GatewayCacheOptions {
  /** Where it is kept. */
  store: Store;
  /** Tells what has expired. */
  clock: Clock;
  /** Told when the store did not answer. */
  log: Log;
  /** Gives the key. */
  config: Pick<Config, "secretKey">;
}

const NONCE_BYTES = 12;

const encoder = new TextEncoder();

/** Opens the cache. A read is one round trip, a write two; neither throws when the store is down. */
export function openGatewayCache(options: GatewayCacheOptions): SharedCache {
  const { store, clock, log, config } = options;
  const bytes = hmacSha256(config.secretKey, "gateway cache\0");
  const cipherKey = crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);

  async function seal(name: string, value: string, exp: number): Promise<SealedValue> {
    const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    const algorithm = { name: "AES-GCM", iv: nonce, additionalData: sealedWith(name, exp) };
    const sealed = await crypto.subtle.encrypt(algorithm, await cipherKey, encoder.encode(value));
    return { nonce, sealed: new Uint8Array(sealed), exp };
  }

  async function unseal(name: string, { nonce, sealed, exp }: SealedValue): Promise<string | null> {
    const additionalData = sealedWith(name, exp);
    const algorithm = { name: "AES-GCM", iv: Uint8Array.from(nonce), additionalData };
    try {
      const text = await crypto.subtle.decrypt(
        algorithm,
        await cipherKey,
        Uint8Array.from(sealed),
      );
      return new TextDecoder().decode(text);
    } catch {
      // Of another key, or not ours: there is nothing to be had, as in an empty cache.
      return null;
    }
  }

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
      return await unseal(name, found);
    },
    async set(name, value, expiresAt) {
      const now = clock();
      const entry = await seal(name, value, expiresAt);
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

/** What is not secret but must not be exchanged either. */
function sealedWith(name: string, exp: number): Uint8Array<ArrayBuffer> {
  return encoder.encode(JSON.stringify([name, exp]));
}
