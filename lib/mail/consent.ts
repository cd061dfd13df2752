/**
 * Marketing consent: the newsletter that requires it, and the links with which
 * its recipients withdraw it.
 *
 * @module
 */
import { putChange } from "../entities/mod.ts";
import type { Config } from "../config/mod.ts";
import { AppError } from "../errors.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { OutboxMessage } from "../kv/outbox_records.ts";
import { transact } from "../kv/mod.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { putMessage } from "../outbox/states.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Mailer } from "../mailer/mod.ts";
import { signedId, signId } from "../crypto/signed_ids.ts";
import { isoTime } from "../time.ts";

/** What consent to mail needs. */
export interface ConsentServices extends StoreServices {
  /** Signs the links, and names the sender. */
  readonly config: Pick<Config, "secretKey" | "secretKeyPrevious" | "mailFrom" | "publicUrl">;
  /** Sends mail; null when no mail server is configured. */
  readonly mailer: Mailer | null;
}

/** Keeps tokens of invoice links from being accepted here. */
const PURPOSE = "unsubscribe link";

/** The client's unsubscribe page; also accepts a one-click POST (RFC 8058). */
export function unsubscribeUrl(
  config: Pick<Config, "publicUrl" | "secretKey">,
  clientId: string,
): string {
  return `${config.publicUrl}/u/${signId(config, PURPOSE, clientId)}`;
}

/** The client of a token; null if the token is invalid. Tokens of the previous key are valid. */
export function clientIdOf(
  config: Pick<Config, "secretKey" | "secretKeyPrevious">,
  token: string,
): string | null {
  return signedId(config, PURPOSE, token);
}

/**
 * Withdraws a client's consent; pending newsletters to the client are skipped. Does
 * nothing, without an error, for a client that gave none, is erased or does not exist.
 * One read and one commit.
 */
export async function withdrawConsent(
  services: ConsentServices,
  clientId: string,
  by: Caller,
): Promise<void> {
  const now = services.clock();
  const key = keys.client(clientId);
  await transact(services, { client: key }, ({ client: before }, writes) => {
    if (!before?.marketingConsent) return;
    const action = "client.unsubscribe";
    const fields = { marketingConsent: false };
    putChange(writes, { entity: "client", action, key, before, fields, by, now });
  }, { operation: operationOf(by, "client.unsubscribe", clientId, { now }) });
}

/**
 * Queues the newsletter for one client. Consent is checked again when it is sent.
 *
 * @returns The queued message
 * @throws {AppError} `not_found`, or `conflict` if the client has given no consent or has
 * no email address, or if no mail server is configured
 */
export async function sendNews(
  services: ConsentServices,
  clientId: string,
  by: Caller,
): Promise<OutboxMessage> {
  const { clock, config, mailer } = services;
  const isMailing = mailer !== null && config.mailFrom !== undefined;
  const now = clock();
  const id = newId(now);
  const reads = { client: keys.client(clientId) };
  const message = await transact(services, reads, ({ client }, writes) => {
    if (!client) throw new AppError("not_found", "No such client");
    if (!isMailing) {
      throw new AppError("conflict", "Mail is not configured: set MAIL_URL and MAIL_FROM");
    }
    if (client.email === null) throw new AppError("conflict", "The client has no email address");
    if (!client.marketingConsent) {
      throw new AppError("conflict", "The client has not given marketing consent");
    }
    const origin = { id, at: isoTime(now), subject: { clientId }, data: {} };
    return putMessage(
      writes,
      origin,
      { kind: "email", type: "news", to: "client", lane: "" },
      now,
    );
  }, { operation: operationOf(by, "client.send_news", clientId, { now }) });
  return message;
}
