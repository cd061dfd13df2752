/**
 * Consent to be written to beyond one's own business: mail that needs it, and
 * addresses under which whoever got one ends it.
 *
 * @module
 */
import { putChange } from "../entities/audit.ts";
import type { Config } from "../config/mod.ts";
import { AppError } from "../errors.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { OutboxMessage } from "../kv/outbox_records.ts";
import { transact } from "../kv/transact.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { putMessage } from "../outbox/states.ts";
import type { Services } from "../app/open.ts";
import { signedId, signId } from "../crypto/signed_ids.ts";
import { isoTime } from "../time.ts";

/** An invoice's token ends no consent. */
const PURPOSE = "unsubscribe link";

/** Where a client ends its consent: shows a page, and takes a POST of one click (RFC 8058). */
export function unsubscribeUrl(
  config: Pick<Config, "publicUrl" | "secretKey">,
  clientId: string,
): string {
  return `${config.publicUrl}/u/${signId(config, PURPOSE, clientId)}`;
}

/** The client that a token is for; null if the token is not ours. Tokens of the previous key hold. */
export function clientIdOf(
  config: Pick<Config, "secretKey" | "secretKeyPrevious">,
  token: string,
): string | null {
  return signedId(config, PURPOSE, token);
}

/**
 * Ends a client's consent; what is waiting to be sent by it is not sent. One that
 * gave none, is erased or is not there is told the same. One read and one commit.
 */
export async function withdrawConsent(
  services: Services,
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
 * Has the news sent to one client, in the words of its template. It is looked at
 * again when it is sent whether the client still agrees.
 *
 * @returns The message
 * @throws {AppError} `not_found`, or `conflict` if the client has not agreed or has no
 * address, or if no mail server is configured
 */
export async function sendNews(
  services: Services,
  clientId: string,
  by: Caller,
): Promise<OutboxMessage> {
  const { clock, config, mailer, outbox } = services;
  const isMailing = mailer !== null && config.mailFrom !== undefined;
  const now = clock();
  const id = newId(now);
  const reads = { client: keys.client(clientId) };
  const message = await transact(services, reads, ({ client }, writes) => {
    if (!client) throw new AppError("not_found", "No such client");
    if (!isMailing) {
      throw new AppError("conflict", "Mail is not configured: set MAIL_URL and MAIL_FROM");
    }
    if (client.email === null) throw new AppError("conflict", "The client has no e-mail address");
    if (!client.marketingConsent) {
      throw new AppError("conflict", "The client has not agreed to get news");
    }
    const origin = { id, at: isoTime(now), subject: { clientId }, data: {} };
    return putMessage(
      writes,
      origin,
      { kind: "email", type: "news", to: "client", lane: "" },
      now,
    );
  }, { operation: operationOf(by, "client.send_news", clientId, { now }) });
  outbox.wake();
  return message;
}
