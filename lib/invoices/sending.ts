/**
 * Sending an invoice to its buyer at an operator's request.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Invoice } from "../kv/records.ts";
import { transact } from "../kv/mod.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { putInvoiceEvent } from "../outbox/events.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Config } from "../config/mod.ts";
import type { Mailer } from "../mailer/mod.ts";

/** What sending an invoice needs. */
export interface SendingServices extends StoreServices {
  /** The sender's address; undefined when no mail is sent. */
  readonly config: Pick<Config, "mailFrom">;
  /** Sends mail; null when no mail server is configured. */
  readonly mailer: Mailer | null;
}

/**
 * Sends an invoice to its buyer. One read and one commit; the mail follows from the event.
 *
 * @returns The invoice, unchanged.
 * @throws {AppError} `not_found`; `conflict` if it is a draft or void, the buyer has no e-mail
 * address, or no mail server is configured
 */
export async function sendInvoice(
  services: SendingServices,
  id: string,
  by: Caller,
): Promise<Invoice> {
  const { mailer, config, clock } = services;
  const isMailing = mailer !== null && config.mailFrom !== undefined;
  const now = clock();
  const eventId = newId(now);
  const sent = await transact(services, { invoice: keys.invoice(id) }, ({ invoice }, writes) => {
    if (!invoice) throw new AppError("not_found", "No such invoice");
    if (!isMailing) {
      throw new AppError("conflict", "Cannot send mail: set MAIL_URL and MAIL_FROM");
    }
    if (invoice.status === "draft" || invoice.status === "void") {
      throw new AppError("conflict", `Cannot send the invoice: it is ${invoice.status}`);
    }
    if (invoice.billTo.email === null) {
      throw new AppError("conflict", "Cannot send the invoice: the buyer has no e-mail address");
    }
    putInvoiceEvent(writes, { id: eventId, type: "invoice.sent", invoice }, now);
    return invoice;
  }, { operation: operationOf(by, "invoice.send", id, { now }) });
  return sent;
}
