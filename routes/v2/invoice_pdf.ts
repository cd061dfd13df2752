/**
 * The PDF of an invoice under `/api/v2/invoices/{id}/pdf`; that of a draft is marked as one.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { getInvoice } from "../../lib/invoices/mod.ts";
import { LANGUAGES } from "../../lib/languages.ts";
import type { Services } from "../../lib/app/mod.ts";
import type { AppEnv } from "../_env.ts";
import { answerPdf, PDF_TYPE } from "../_invoice_pdf.ts";
import { IdParam, newRoutes, problems, secured } from "../_openapi.ts";

const Query = z.object({
  lang: z.enum(LANGUAGES).optional().openapi({ description: "Default: the shop's language" }),
});
const File = z.string().openapi({ format: "binary" });

/** The PDF route under `/api/v2/invoices`. */
export function invoicePdfRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "get",
      path: "/{id}/pdf",
      tags: ["invoices"],
      summary: "Get an invoice as a PDF, as its buyer sees it",
      ...secured(services, "invoices:read"),
      request: { params: IdParam, query: Query },
      responses: {
        200: { description: "The PDF", content: { [PDF_TYPE]: { schema: File } } },
        304: { description: "The caller's copy, named by its ETag, is current" },
        ...problems(401, 403, 404, 422),
      },
    }),
    async (c) => {
      const { lang: language = services.config.defaultLanguage } = c.req.valid("query");
      const invoice = await getInvoice(services, c.req.valid("param").id);
      return await answerPdf(c, services, { invoice, language });
    },
  );
}
