/**
 * Digests, keyed digests and base64url, without waiting: WebCrypto's versions
 * are asynchronous, and a decision over the store must not be.
 *
 * A string always means its UTF-8 bytes. A lone surrogate has none and counts as
 * U+FFFD, so text that is to be told apart has to be well formed (`lib/text.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, createHmac, timingSafeEqual as equalBytes } from "node:crypto";

/** Letters of the alphabet in a number that comes to whole bytes. */
const BASE64URL = /^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2,3})?$/;

/** The 32 bytes of SHA-256 (FIPS 180-4). */
export function sha256(data: string | Uint8Array): Uint8Array<ArrayBuffer> {
  // Copied, since a Buffer is neither equal to plain bytes nor storable as such.
  return new Uint8Array(createHash("sha256").update(data).digest());
}

/** SHA-256 as 64 lower-case hexadecimal digits. */
export function sha256Hex(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** The 32 bytes of HMAC-SHA-256 (RFC 2104). */
export function hmacSha256(
  key: Uint8Array,
  data: string | Uint8Array,
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHmac("sha256", key).update(data).digest());
}

/**
 * Whether `a` and `b` are the same bytes, in a time that tells nothing about how
 * much of them agrees. Lengths may differ; the time does grow with them.
 */
export function timingSafeEqual(a: string | Uint8Array, b: string | Uint8Array): boolean {
  return equalBytes(sha256(a), sha256(b));
}

/** Base64 with the alphabet for URLs and without padding (RFC 4648, 5). */
export function toBase64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}

/**
 * The bytes that {@linkcode toBase64Url} wrote, or null for anything that it
 * would not have written: a token thus has one spelling only.
 */
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> | null {
  // Deno 2.5 throws at strange letters, where later versions skip them.
  if (!BASE64URL.test(text)) return null;
  const bytes = new Uint8Array(Buffer.from(text, "base64url"));
  // Unused bits at the end may be set; writing it back brings that to light.
  return toBase64Url(bytes) === text ? bytes : null;
}
