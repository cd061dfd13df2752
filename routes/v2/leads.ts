/**
 * | method | path                | who           | answers                 |
 * | ------ | ------------------- | ------------- | ----------------------- |
 * | POST   | `/api/v2/leads`     | anyone        | 201, 400, 413, 415, 422 |
 * | GET    | `/api/v2/leads`     | `leads:read`  | 200, 400, 422           |
 * | GET    | `/api/v2/leads/:id` | `leads:read`  | 200, 404                |
 * | PATCH  | `/api/v2/leads/:id` | `leads:write` | 200, 404, 409, 412, 422 |
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { invoiceUrl } from "../../lib/invoices/links.ts";
import { acceptLead, getLead, type Lead, listLeads, moveLead } from "../../lib/leads/mod.ts";
import { LANGUAGES } from "../../lib/languages.ts";
import type { Services } from "../../lib/app/services.ts";
import { dropLead, spamReason } from "../../lib/leads/spam.ts";
import type { AppEnv } from "../_env.ts";
import { allowScope } from "../_guards.ts";
import { callerOf, revisionOf, revisionTag } from "../_http.ts";
import { countLead, countUnstored } from "../_limits.ts";
import {
  Currency,
  Id,
  IdempotencyHeader,
  IdParam,
  jsonAnswer,
  jsonBody,
  line,
  multiline,
  newRoutes,
  pageOf,
  PageQuery,
  problems,
  Quantity,
  RevisionHeader,
  secured,
  Time,
} from "../_openapi.ts";
import { InvoiceBody, invoiceBody } from "./invoices.ts";

const SOURCES = [
  "website",
  "whatsapp",
  "email",
  "pesapal",
  "azampay",
  "contact",
  "estimate",
  "newsletter",
  "api",
  "other",
] as const;
const Source = z.enum(SOURCES);
const Status = z.enum(["new", "contacted", "qualified", "won", "lost"]);

const Language = z.enum(LANGUAGES);

/** What the enquiry form sends. */
export const NewLead = z.strictObject({
  name: line(120),
  email: z.string().max(254).optional().openapi({ format: "email" }),
  phone: z.string().max(40).optional().openapi({ example: "0712 345 678" }),
  message: multiline(4_000).default(""),
  productId: Id.optional(),
  quantity: Quantity.default(1),
  source: Source.default("website"),
  currency: Currency.optional(),
  marketingConsent: z.boolean().default(false),
  language: Language.optional().openapi({ description: "What the visitor reads" }),
  website: z.string().max(500).optional().openapi({ description: "Leave it empty" }),
  elapsedMs: z.int().min(0).optional().openapi({
    description: "How long the form was open, in milliseconds; programs leave it out",
  }),
}).openapi("NewLead");

const Contact = z.object({
  name: z.string(),
  email: z.string().nullable(),
  phone: z.string().nullable().openapi({ description: "E.164" }),
});
const LeadBody = z.object({
  id: Id,
  clientId: Id,
  contact: Contact,
  productId: Id.nullable(),
  quantity: Quantity,
  message: z.string(),
  source: Source,
  status: Status,
  invoiceId: Id.nullable(),
  marketingConsent: z.boolean(),
  language: Language.optional(),
  revision: z.int(),
  createdAt: Time,
  updatedAt: Time,
}).openapi("Lead");
const AcceptedLead = z.object({
  lead: LeadBody,
  client: Contact.extend({ id: Id }),
  // A component that is nullable() would lose its null in the contract.
  invoice: z.union([InvoiceBody, z.null()]),
  links: z.object({
    invoice: z.string().optional().openapi({
      format: "uri",
      description: "The invoice's public page",
    }),
  }),
}).openapi("AcceptedLead");

/** The routes under `/api/v2/leads`. */
export function leadRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "post",
      path: "/",
      tags: ["leads"],
      summary: "Send an enquiry",
      description:
        "Public. One of email and phone is needed. With a productId the enquiry becomes an invoice. A client that already has the e-mail address or number gets the lead.",
      middleware: allowScope(services, "leads:write"),
      request: { headers: IdempotencyHeader, ...jsonBody(NewLead) },
      responses: {
        201: jsonAnswer("Stored, whole", AcceptedLead),
        ...problems(400, 401, 403, 413, 415, 422),
      },
    }),
    async (c) => {
      const { website, elapsedMs, ...enquiry } = c.req.valid("json");
      countLead(services, c, enquiry.email);
      const by = callerOf(c);
      const spam = c.var.principal ? null : spamReason({ website, elapsedMs });
      if (spam) countUnstored(services, c);
      const { lead, client, invoice } = spam
        ? await dropLead(services, enquiry, { reason: spam, by })
        : await acceptLead(services, enquiry, by);
      c.header("location", `/api/v2/leads/${lead.id}`);
      return c.json({
        lead: leadBody(lead),
        client,
        invoice: invoice && invoiceBody(services, invoice),
        links: invoice ? { invoice: invoiceUrl(services.config, invoice.id) } : {},
      }, 201);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/",
      tags: ["leads"],
      summary: "List leads, newest first",
      ...secured(services, "leads:read"),
      request: { query: PageQuery.extend({ status: Status.optional(), clientId: Id.optional() }) },
      responses: { 200: jsonAnswer("A page", pageOf(LeadBody)), ...problems(400, 401, 403, 422) },
    }),
    async (c) => {
      const { status = null, clientId = null, limit, cursor = null } = c.req.valid("query");
      const page = await listLeads(services, { status, clientId }, { limit, cursor });
      return c.json({ ...page, data: page.data.map(leadBody) }, 200);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/{id}",
      tags: ["leads"],
      summary: "Read a lead",
      ...secured(services, "leads:read"),
      request: { params: IdParam },
      responses: { 200: jsonAnswer("The lead", LeadBody), ...problems(401, 403, 404, 422) },
    }),
    async (c) => {
      const lead = await getLead(services, c.req.valid("param").id);
      c.header("etag", revisionTag(lead));
      return c.json(leadBody(lead), 200);
    },
  ).openapi(
    createRoute({
      method: "patch",
      path: "/{id}",
      tags: ["leads"],
      summary: "Move a lead along",
      ...secured(services, "leads:write"),
      request: {
        params: IdParam,
        headers: RevisionHeader,
        ...jsonBody(z.strictObject({ status: Status }).openapi("LeadChange")),
      },
      responses: {
        200: jsonAnswer("The lead as it is now", LeadBody),
        ...problems(400, 401, 403, 404, 409, 412, 413, 415, 422),
      },
    }),
    async (c) => {
      const { status } = c.req.valid("json");
      const options = { by: callerOf(c), revision: revisionOf(c) };
      const lead = await moveLead(services, c.req.valid("param").id, status, options);
      c.header("etag", revisionTag(lead));
      return c.json(leadBody(lead), 200);
    },
  );
}

/** A lead as the API shows it. */
export function leadBody(
  { createdBy: _by, createdIn: _in, chain: _chain, ...shown }: Lead,
): z.infer<typeof LeadBody> {
  return shown;
}

export { LeadBody };
