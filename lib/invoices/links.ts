/**
 * Addresses under which anyone who was given one can see an invoice, each with the
 * invoice's signed id.
 *
 * @module
 */
import type { Config } from "../config/mod.ts";
import { signedId, signId } from "../crypto/signed_ids.ts";

const PURPOSE = "invoice link";

/** What of the configuration an address is made of. */
export type LinkConfig = Pick<Config, "publicUrl" | "secretKey" | "secretKeyPrevious">;

/** The address of an invoice's public page. */
export function invoiceUrl(config: LinkConfig, id: string): string {
  return `${config.publicUrl}/i/${invoiceToken(config, id)}`;
}

/** The last part of {@linkcode invoiceUrl}: 43 characters. */
export function invoiceToken(config: Pick<Config, "secretKey">, id: string): string {
  return signId(config, PURPOSE, id);
}

/** The invoice that a token is for; null if the token is not ours. Tokens of the previous key hold. */
export function invoiceIdOf(config: Omit<LinkConfig, "publicUrl">, token: string): string | null {
  return signedId(config, PURPOSE, token);
}
