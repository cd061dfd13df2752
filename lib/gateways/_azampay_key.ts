/**
 * AzamPay's public key, and the verification of its signatures. The key is kept for a
 * day. A signature that does not match is either forged or made with a newer key, so the
 * key is fetched again: but rarely, or forged callbacks would make us flood AzamPay.
 *
 * @module
 */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { type Clock, DAY_MS, MINUTE_MS } from "../time.ts";
import type { SharedCache } from "./mod.ts";

/** Options of an {@linkcode AzamPayKey}. */
export interface AzamPayKeyOptions {
  /** Shares the key with other instances. */
  cache: SharedCache;
  /** Its name in the cache, different for each account and environment. */
  name: string;
  /** Measures the age of the key. */
  clock: Clock;
  /** Fetches the key from AzamPay, in PEM. */
  request: () => Promise<string>;
}

/** The validity of a signature; `unverified` if the key is not available. */
export type SignatureValidity = "valid" | "invalid" | "unverified";

/** As in AzamPay's documents. */
const KEY_LIFE_MS = DAY_MS;
/** The shortest interval between fetches of all instances; a new key is noticed that much later. */
const ASK_PAUSE_MS = MINUTE_MS / 2;

/** RSA keys have 1,024 to 4,096 bits, and their signatures as many. */
const SIGNATURE_BYTES = { min: 128, max: 512 };

interface Kept {
  pem: string;
  /** Milliseconds UTC. */
  askedAt: number;
}

interface Held extends Kept {
  key: KeyObject;
}

/** Keeps the public key of one account. */
export class AzamPayKey {
  readonly #options: AzamPayKeyOptions;
  #held: Held | null = null;
  #search: Promise<Held | null> | null = null;

  /** Makes no call yet. */
  constructor(options: AzamPayKeyOptions) {
    this.#options = options;
  }

  /**
   * Whether AzamPay signed `text`: RSA, PKCS#1 v1.5, over SHA-256 of its UTF-8.
   *
   * Only arithmetic while the key matches; otherwise a few reads of the cache, and at
   * most one call to AzamPay in half a minute.
   *
   * @param signature In base64.
   * @throws what `request` and the cache throw
   */
  async verify(text: string, signature: string): Promise<SignatureValidity> {
    const bytes = decoded(signature);
    if (bytes === null) return "invalid";
    const { clock } = this.#options;
    const fits = ({ key }: Held) =>
      verify("RSA-SHA256", new TextEncoder().encode(text), key, bytes);

    const first = this.#held;
    const isFresh = first !== null && clock() < first.askedAt + KEY_LIFE_MS;
    if (isFresh && fits(first)) return "valid";
    const second = await this.#find(isFresh ? first : null);
    if (second === null) return isFresh ? "invalid" : "unverified";
    return fits(second) ? "valid" : "invalid";
  }

  /** A key other than `unfit`, shared by concurrent callers; null if there is none. */
  #find(unfit: Held | null): Promise<Held | null> {
    this.#search ??= this.#seek(unfit).finally(() => this.#search = null);
    return this.#search;
  }

  async #seek(unfit: Held | null): Promise<Held | null> {
    const { cache, name, clock, request } = this.#options;
    const stored = await cache.get(name);
    const shared: Kept | null = stored === null ? null : JSON.parse(stored);
    if (shared && shared.pem !== unfit?.pem) return this.#hold(shared);

    const pauseName = `${name} asked`;
    if (await cache.get(pauseName) !== null) return null;
    const askedAt = clock();
    // Before the call, so that a failing one counts too.
    await cache.set(pauseName, "1", askedAt + ASK_PAUSE_MS);
    const kept = { pem: await request(), askedAt };
    const found = this.#hold(kept);
    await cache.set(name, JSON.stringify(kept), askedAt + KEY_LIFE_MS);
    return found;
  }

  #hold(kept: Kept): Held | null {
    const key = publicKeyOf(kept.pem);
    if (key === null) return null;
    this.#held = { ...kept, key };
    return this.#held;
  }
}

/** An RSA key in PEM; null for anything else. */
export function publicKeyOf(pem: string): KeyObject | null {
  try {
    // Some sources escape the line ends.
    const key = createPublicKey(pem.replaceAll("\\n", "\n"));
    return key.asymmetricKeyType === "rsa" ? key : null;
  } catch {
    return null;
  }
}

/** Null for a text that cannot be a signature, so that no key is fetched for it. */
function decoded(signature: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z\d+/]+={0,2}$/.test(signature)) return null;
  try {
    const bytes = Uint8Array.from(atob(signature), (char) => char.charCodeAt(0));
    const { min, max } = SIGNATURE_BYTES;
    return bytes.length >= min && bytes.length <= max ? bytes : null;
  } catch {
    return null;
  }
}
