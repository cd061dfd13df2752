/**
 * Synchronous digests, keyed digests and base64url: WebCrypto's are asynchronous, and a
 * decision over the store must not be.
 *
 * All of them ask `node:crypto` for text: in Deno 2.9 a digest as bytes takes twice as long, and its
 * `createHmac` about eight times as long as the two digests that an HMAC consists of.
 *
 * A string always means its UTF-8 bytes. A lone surrogate counts as U+FFFD, so only
 * well-formed texts (`lib/text.ts`) have different digests.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual as equalBytes } from "node:crypto";

/** Letters of the alphabet, as many as make whole bytes. */
const BASE64URL = /^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2,3})?$/;

/** The 32 bytes of SHA-256 (FIPS 180-4). */
export function sha256(data: string | Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(sha256Hex(data));
}

/** SHA-256 as 64 lower-case hexadecimal digits. */
export function sha256Hex(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** SHA-256 in base64url: 43 characters. */
export function sha256Base64Url(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("base64url");
}

/** Bytes that SHA-256 takes at once. */
const BLOCK_BYTES = 64;
const pads = new WeakMap<Uint8Array, { inner: Uint8Array; outer: Uint8Array }>();

/** The 32 bytes of HMAC-SHA-256 (RFC 2104). @param key Must not change after its first use. */
export function hmacSha256(
  key: Uint8Array,
  data: string | Uint8Array,
): Uint8Array<ArrayBuffer> {
  const { inner, outer } = padsOf(key);
  const first = createHash("sha256").update(inner).update(data).digest("hex");
  return Uint8Array.fromHex(createHash("sha256").update(outer).update(first, "hex").digest("hex"));
}

function padsOf(key: Uint8Array): { inner: Uint8Array; outer: Uint8Array } {
  let found = pads.get(key);
  if (!found) {
    const block = new Uint8Array(BLOCK_BYTES);
    block.set(key.length > BLOCK_BYTES ? sha256(key) : key);
    found = { inner: block.map((byte) => byte ^ 0x36), outer: block.map((byte) => byte ^ 0x5c) };
    pads.set(key, found);
  }
  return found;
}

/**
 * Whether `a` and `b` are the same bytes, in a time that does not depend on how many
 * of them agree. Lengths may differ; the time grows with them.
 */
export function timingSafeEqual(a: string | Uint8Array, b: string | Uint8Array): boolean {
  return equalBytes(sha256(a), sha256(b));
}

/** Base64 with the alphabet for URLs and without padding (RFC 4648, 5). */
export function toBase64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}

/**
 * The bytes of a text by {@linkcode toBase64Url}; null for any other text, so that a
 * token has only one spelling.
 */
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> | null {
  // Deno 2.5 throws at other letters, later versions skip them.
  if (!BASE64URL.test(text)) return null;
  const bytes = new Uint8Array(Buffer.from(text, "base64url"));
  // Unused bits at the end may be set, which encoding again reveals.
  return toBase64Url(bytes) === text ? bytes : null;
}
