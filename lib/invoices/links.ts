/**
 * Public addresses of invoices. Each holds the invoice's signed id; whoever has the address sees the
 * invoice.
 *
 * @module
 */
import type { Config } from "../config/mod.ts";
import { signedId, signId } from "../crypto/signed_ids.ts";

const PURPOSE = "invoice link";

/** The configuration that addresses are made of. */
export type LinkConfig = Pick<Config, "publicUrl" | "secretKey" | "secretKeyPrevious">;

/** The address of an invoice's public page. */
export function invoiceUrl(config: LinkConfig, id: string): string {
  return `${config.publicUrl}/i/${invoiceToken(config, id)}`;
}

/** The last part of {@linkcode invoiceUrl}: 43 characters. */
export function invoiceToken(config: Pick<Config, "secretKey">, id: string): string {
  return signId(config, PURPOSE, id);
}

/** The invoice of a token; null for a forged one. Tokens of the previous key are valid. */
export function invoiceIdOf(config: Omit<LinkConfig, "publicUrl">, token: string): string | null {
  return signedId(config, PURPOSE, token);
}
