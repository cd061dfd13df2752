/**
 * Texts that the store may keep and not tell: encrypted (AES-GCM) with a key
 * derived from `SECRET_KEY`, bound to what they are for. Who can read the store
 * learns nothing, and who can write it cannot put one in another's place.
 *
 * @module
 */
import type { Config } from "../config/mod.ts";
import { fromBase64Url, hmacSha256, toBase64Url } from "../digest.ts";

/** What of the configuration seals. */
export type SealConfig = Pick<Config, "secretKey" | "secretKeyPrevious">;

/** What a text is for; it opens for nothing else. */
export interface SealPlace {
  /** A constant: another purpose has another key. */
  purpose: string;
  /** Which one, such as the id of its owner. Not encrypted and not kept. */
  label: string;
}

/** A text, and whether it is to be sealed anew before the key that it was sealed with is gone. */
export interface Unsealed {
  /** As it was sealed. */
  text: string;
  /** Sealed with the key before the present one. */
  isOldKey: boolean;
}

const NONCE_BYTES = 12;

const encoder = new TextEncoder();

/** Encrypts a text. @returns The nonce and what follows from it, base64url */
export async function seal(
  { secretKey }: SealConfig,
  place: SealPlace,
  text: string,
): Promise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealed = await crypto.subtle.encrypt(
    algorithm(nonce, place),
    await cipherKey(secretKey, place),
    encoder.encode(text),
  );
  return toBase64Url(new Uint8Array([...nonce, ...new Uint8Array(sealed)]));
}

/** Decrypts a text; null if it was sealed with neither key, or for another place. */
export async function unseal(
  { secretKey, secretKeyPrevious }: SealConfig,
  place: SealPlace,
  sealed: string,
): Promise<Unsealed | null> {
  const bytes = fromBase64Url(sealed);
  if (!bytes) return null;
  const nonce = bytes.slice(0, NONCE_BYTES);
  for (const key of [secretKey, secretKeyPrevious]) {
    if (key === undefined) continue;
    try {
      const text = await crypto.subtle.decrypt(
        algorithm(nonce, place),
        await cipherKey(key, place),
        bytes.slice(NONCE_BYTES),
      );
      return { text: new TextDecoder().decode(text), isOldKey: key !== secretKey };
    } catch {
      // Of another key: the other one may fit.
    }
  }
  return null;
}

function algorithm(nonce: Uint8Array<ArrayBuffer>, { label }: SealPlace): AesGcmParams {
  return { name: "AES-GCM", iv: nonce, additionalData: encoder.encode(label) };
}

function cipherKey(
  secretKey: Uint8Array<ArrayBuffer>,
  { purpose }: SealPlace,
): Promise<CryptoKey> {
  const bytes = hmacSha256(secretKey, `${purpose}\0`);
  return crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
}
