/**
 * The PDF response of an invoice, shared by the API and the public page.
 *
 * @module
 */
import type { Context } from "hono";
import { documentOf } from "../lib/documents/mod.ts";
import { digestOf } from "../lib/documents/pdfs.ts";
import type { Invoice } from "../lib/invoices/mod.ts";
import type { Language } from "../lib/languages.ts";
import type { Services } from "../lib/app/mod.ts";
import { businessDate } from "../lib/time.ts";
import type { AppEnv } from "./_env.ts";

/** Content type of the response, also for the OpenAPI document. */
export const PDF_TYPE = "application/pdf";

/** The PDF, or 304 if the client has it. The tag includes the version, since builds may draw differently. */
export async function answerPdf(
  c: Context<AppEnv>,
  { config, clock, pdfs }: Services,
  { invoice, language }: { invoice: Invoice; language: Language },
): Promise<Response> {
  const today = businessDate(clock(), config.timeZone);
  const document = documentOf(config, { invoice, language, today });
  const etag = `"${config.appVersion}-${digestOf(document)}"`;
  c.header("etag", etag);
  c.header("x-robots-tag", "noindex");
  const known = c.req.header("if-none-match")?.split(",") ?? [];
  // The runtime weakens the tag of a response that it compresses.
  if (known.some((tag) => tag.trim().replace(/^W\//, "") === etag)) return c.body(null, 304);
  c.header("content-type", PDF_TYPE);
  c.header("content-disposition", `inline; filename="${invoice.number ?? "draft"}.pdf"`);
  return c.body(await pdfs.get(document));
}
