/**
 * Leads under `/api/v2/leads`: visitors send enquiries, operators list leads and move
 * them through their statuses.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Services } from "../../lib/app/mod.ts";
import { invoiceUrl } from "../../lib/invoices/links.ts";
import { LANGUAGES } from "../../lib/languages.ts";
import {
  acceptLead,
  getLead,
  type Lead,
  LEAD_SOURCES,
  LEAD_STATUSES,
  listLeads,
  moveLead,
} from "../../lib/leads/mod.ts";
import { dropLead, spamReason } from "../../lib/leads/spam.ts";
import type { AppEnv } from "../_env.ts";
import { allowScope } from "../_guards.ts";
import { callerOf } from "../_http.ts";
import { countLead, countUnstored } from "../_limits.ts";
import {
  Currency,
  Id,
  IdempotencyHeader,
  jsonBody,
  jsonResponse,
  line,
  multiline,
  PageQuery,
  problems,
  Quantity,
  Time,
} from "../_openapi.ts";
import {
  changeOptions,
  changeRoute,
  listRoute,
  pageBody,
  publicFields,
  readRoute,
  routesOf,
  tagged,
} from "../_resource.ts";
import { InvoiceBody, invoiceBody } from "./invoices.ts";

const Source = z.enum(LEAD_SOURCES);
const Status = z.enum(LEAD_STATUSES);
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
  language: Language.optional().openapi({ description: "The visitor's language" }),
  website: z.string().max(500).optional().openapi({
    description: "Spam trap: leave this field empty",
  }),
  elapsedMs: z.int().min(0).optional().openapi({
    description: "Time that the form was open, in milliseconds; omitted by programs",
  }),
}).openapi("NewLead");

const Contact = z.object({
  name: z.string(),
  email: z.string().nullable(),
  phone: z.string().nullable().openapi({ description: "E.164" }),
});

/** A lead as the API shows it. */
export const LeadBody = z.object({
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
const LeadChange = z.strictObject({ status: Status }).openapi("LeadChange");
const AcceptedLead = z.object({
  lead: LeadBody,
  client: Contact.extend({ id: Id }),
  // A component that is nullable() would lose its null in the document.
  invoice: z.union([InvoiceBody, z.null()]),
  links: z.object({
    invoice: z.string().optional().openapi({
      format: "uri",
      description: "The public invoice page",
    }),
  }),
}).openapi("AcceptedLead");

/** The routes under `/api/v2/leads`. */
export function leadRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(services, addAccept, addList, addRead, addMove);
}

function addAccept(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "post",
    path: "/",
    tags: ["leads"],
    summary: "Send an enquiry",
    description:
      "Public. An e-mail address or a phone number is required. With a productId the enquiry becomes an invoice. The lead is added to the client who has this e-mail address or phone number, or to a new one.",
    middleware: allowScope(services, "leads:write"),
    request: { headers: IdempotencyHeader, ...jsonBody(NewLead) },
    responses: {
      201: jsonResponse("The lead, its client and its invoice", AcceptedLead),
      ...problems(400, 401, 403, 413, 415, 422),
    },
  });
  routes.openapi(route, async (c) => {
    const { website, elapsedMs, ...enquiry } = c.req.valid("json");
    countLead(services, c, enquiry.email);
    const by = callerOf(c);
    const spam = c.get("principal") ? null : spamReason({ website, elapsedMs });
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
  });
}

function addList(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = listRoute(services, {
    path: "/",
    tag: "leads",
    summary: "List leads, newest first",
    scope: "leads:read",
    query: PageQuery.extend({ status: Status.optional(), clientId: Id.optional() }),
    item: LeadBody,
  });
  routes.openapi(route, async (c) => {
    const { status = null, clientId = null, limit, cursor = null } = c.req.valid("query");
    const page = await listLeads(services, { status, clientId }, { limit, cursor });
    return c.json(pageBody(page, leadBody), 200);
  });
}

function addRead(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = readRoute(services, {
    path: "/{id}",
    tag: "leads",
    summary: "Get a lead by id",
    scope: "leads:read",
    body: LeadBody,
    description: "The lead",
  });
  routes.openapi(route, async (c) => {
    const lead = await getLead(services, c.req.valid("param").id);
    return c.json(leadBody(tagged(c, lead)), 200);
  });
}

function addMove(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = changeRoute(services, {
    path: "/{id}",
    tag: "leads",
    summary: "Change the status of a lead",
    scope: "leads:write",
    change: LeadChange,
    body: LeadBody,
    description: "The updated lead",
    failures: [409],
  });
  routes.openapi(route, async (c) => {
    const { status } = c.req.valid("json");
    const lead = await moveLead(services, c.req.valid("param").id, status, changeOptions(c));
    return c.json(leadBody(tagged(c, lead)), 200);
  });
}

/** A lead as the API shows it. */
export function leadBody(lead: Lead): z.infer<typeof LeadBody> {
  return publicFields(lead);
}
