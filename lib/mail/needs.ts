/**
 * What mail needs from the rest of the program.
 *
 * @module
 */
import type { Config } from "../config/mod.ts";
import type { InvoicePdfs } from "../documents/pdfs.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Mailer } from "../mailer/mod.ts";

/** What writing and sending mail needs. */
export interface MailServices extends StoreServices {
  /** Who writes, in which language, and where links lead. */
  readonly config: Config;
  /** Sends mail; null when no mail server is configured. */
  readonly mailer: Mailer | null;
  /** Invoices as PDF, for attachments. */
  readonly pdfs: InvoicePdfs;
}
