/**
 * Secrets in the store, encrypted (AES-GCM) with a key derived from `SECRET_KEY` and
 * bound to their purpose. Whoever reads the store learns nothing; whoever writes it
 * cannot put one secret in the place of another.
 *
 * @module
 */
import { fromBase64Url, hmacSha256, toBase64Url } from "../digest.ts";

/** The keys of the configuration. */
export interface SealConfig {
  /** Seals. */
  readonly secretKey: Uint8Array<ArrayBuffer>;
  /** Still opens, while the key is being changed. */
  readonly secretKeyPrevious?: Uint8Array<ArrayBuffer> | undefined;
}

/** What a text is for; it can be opened for nothing else. */
export interface SealPlace {
  /** A constant; each purpose has its own key. */
  purpose: string;
  /** Which one, such as the id of its owner. Neither encrypted nor stored. */
  label: string;
}

/** An opened text. */
export interface Unsealed {
  /** The text that was sealed. */
  text: string;
  /** It was sealed with the previous key: seal it again before that key is removed. */
  isOldKey: boolean;
}

const NONCE_BYTES = 12;

const encoder = new TextEncoder();

/** Encrypts a text. @returns The nonce and the ciphertext, base64url. */
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

/** Decrypts a text; null if it was sealed with neither key, or for another purpose or label. */
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
      // Sealed with the other key, perhaps.
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
