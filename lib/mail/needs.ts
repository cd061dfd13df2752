/**
 * Dependencies of mail.
 *
 * @module
 */
import type { Config } from "../config/mod.ts";
import type { InvoicePdfs } from "../documents/pdfs.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Mailer } from "../mailer/mod.ts";

/** Services for rendering and sending mail. */
export interface MailServices extends StoreServices {
  /** Sender, language, and base URL of links. */
  readonly config: Config;
  /** Sends mail; null when no mail server is configured. */
  readonly mailer: Mailer | null;
  /** Invoices as PDF, for attachments. */
  readonly pdfs: InvoicePdfs;
}
