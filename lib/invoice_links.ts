/**
 * Addresses under which anyone who was given one can see an invoice.
 *
 * A token is the invoice's id and 128 bits of a keyed digest over it, so that it
 * needs no index, and without the key none can be made up.
 *
 * @module
 */
import type { Config } from "./config.ts";
import { fromBase64Url, hmacSha256, timingSafeEqual, toBase64Url } from "./digest.ts";
import { isId } from "./ids.ts";

const ID_BYTES = 16;
const MAC_BYTES = 16;

/** What of the configuration an address is made of. */
export type LinkConfig = Pick<Config, "publicUrl" | "secretKey" | "secretKeyPrevious">;

/** The address of an invoice's public page. */
export function invoiceUrl(config: LinkConfig, id: string): string {
  return `${config.publicUrl}/i/${invoiceToken(config, id)}`;
}

/** The last part of {@linkcode invoiceUrl}: 43 characters. */
export function invoiceToken({ secretKey }: Pick<Config, "secretKey">, id: string): string {
  const bytes = Uint8Array.from(
    id.replaceAll("-", "").match(/../g) ?? [],
    (hex) => parseInt(hex, 16),
  );
  return toBase64Url(new Uint8Array([...bytes, ...macOf(secretKey, bytes)]));
}

/** The invoice that a token is for; null if the token is not ours. Tokens of the previous key hold. */
export function invoiceIdOf(
  { secretKey, secretKeyPrevious }: Omit<LinkConfig, "publicUrl">,
  token: string,
): string | null {
  const bytes = fromBase64Url(token);
  if (bytes?.length !== ID_BYTES + MAC_BYTES) return null;
  const idBytes = bytes.subarray(0, ID_BYTES);
  const mac = bytes.subarray(ID_BYTES);
  const known = [secretKey, secretKeyPrevious].filter((key) => key !== undefined);
  if (!known.some((key) => timingSafeEqual(mac, macOf(key, idBytes)))) return null;
  const hex = Array.from(idBytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return isId(id) ? id : null;
}

function macOf(key: Uint8Array<ArrayBuffer>, idBytes: Uint8Array): Uint8Array {
  const purpose = new TextEncoder().encode("invoice link\0");
  return hmacSha256(key, new Uint8Array([...purpose, ...idBytes])).subarray(0, MAC_BYTES);
}
