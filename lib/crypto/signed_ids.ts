/**
 * Ids as unforgeable tokens: an id and 128 bits of its keyed digest, so that no index
 * is needed to verify one.
 *
 * @module
 */
import { fromBase64Url, hmacSha256, timingSafeEqual, toBase64Url } from "../digest.ts";
import { hyphenated, isId } from "../ids.ts";

const ID_BYTES = 16;
const MAC_BYTES = 16;

/** The keys of the configuration. */
export interface SignConfig {
  /** Signs. */
  readonly secretKey: Uint8Array<ArrayBuffer>;
  /** Still accepted, while the key is being changed. */
  readonly secretKeyPrevious?: Uint8Array<ArrayBuffer> | undefined;
}

/**
 * Signs an id.
 *
 * @param purpose A constant; a token is valid for one purpose only.
 * @returns 43 characters, safe in a URL.
 */
export function signId(
  { secretKey }: Pick<SignConfig, "secretKey">,
  purpose: string,
  id: string,
): string {
  const bytes = Uint8Array.fromHex(id.replaceAll("-", ""));
  return toBase64Url(new Uint8Array([...bytes, ...macOf(secretKey, purpose, bytes)]));
}

/** The id in a token; null if it is not valid. Tokens of the previous key are. */
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
  const hex = idBytes.toHex();
  const id = hyphenated(hex);
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
