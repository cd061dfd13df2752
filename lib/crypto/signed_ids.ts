/**
 * Ids as tokens that nobody can make up: an id and 128 bits of a keyed digest over
 * it, so that no index is needed to know one's own.
 *
 * @module
 */
import type { Config } from "../config/mod.ts";
import { fromBase64Url, hmacSha256, timingSafeEqual, toBase64Url } from "../digest.ts";
import { isId } from "../ids.ts";

const ID_BYTES = 16;
const MAC_BYTES = 16;

/** What of the configuration signs. */
export type SignConfig = Pick<Config, "secretKey" | "secretKeyPrevious">;

/**
 * Signs an id.
 *
 * @param purpose A constant: a token for one purpose is none for another.
 * @returns 43 characters, good in an address
 */
export function signId(
  { secretKey }: Pick<Config, "secretKey">,
  purpose: string,
  id: string,
): string {
  const bytes = Uint8Array.from(
    id.replaceAll("-", "").match(/../g) ?? [],
    (hex) => parseInt(hex, 16),
  );
  return toBase64Url(new Uint8Array([...bytes, ...macOf(secretKey, purpose, bytes)]));
}

/** The id in a token; null if the token is not ours. Tokens of the previous key hold. */
export function signedId(
  { secretKey, secretKeyPrevious }: SignConfig,
  purpose: string,
  token: string,
): string | null {
  const bytes = fromBase64Url(token);
  if (bytes?.length !== ID_BYTES + MAC_BYTES) return null;
  const idBytes = bytes.subarray(0, ID_BYTES);
  const mac = bytes.subarray(ID_BYTES);
  const known = [secretKey, secretKeyPrevious].filter((key) => key !== undefined);
  if (!known.some((key) => timingSafeEqual(mac, macOf(key, purpose, idBytes)))) return null;
  const hex = Array.from(idBytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return isId(id) ? id : null;
}

function macOf(
  key: Uint8Array<ArrayBuffer>,
  purpose: string,
  idBytes: Uint8Array,
): Uint8Array {
  const prefix = new TextEncoder().encode(`${purpose}\0`);
  return hmacSha256(key, new Uint8Array([...prefix, ...idBytes])).subarray(0, MAC_BYTES);
}
