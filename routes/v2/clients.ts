/**
 * Clients under `/api/v2/clients`: list, change, export and erase them.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Services } from "../../lib/app/mod.ts";
import {
  changeClient,
  type Client,
  eraseClient,
  exportClient,
  type ExportedPayment,
  getClient,
  listClients,
} from "../../lib/leads/clients.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import {
  Id,
  IdParam,
  jsonResponse,
  line,
  multiline,
  PageQuery,
  problems,
  secured,
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
import { LeadBody, leadBody } from "./leads.ts";
import { PaymentBody } from "./payments.ts";

const ClientBody = z.object({
  id: Id,
  name: z.string(),
  email: z.string().nullable(),
  phone: z.string().nullable().openapi({ description: "E.164" }),
  notes: z.string(),
  marketingConsent: z.boolean(),
  erasedAt: Time.nullable(),
  revision: z.int(),
  createdAt: Time,
  updatedAt: Time,
}).openapi("Client");
const ClientChange = z.strictObject({
  name: line(120).optional(),
  email: z.string().min(1).max(254).nullable().optional(),
  phone: z.string().min(1).max(40).nullable().optional(),
  notes: multiline(4_000).optional(),
  marketingConsent: z.boolean().optional(),
}).openapi("ClientChange");
/** Without `redirectUrl`, which is a credential at the gateway. */
const ExportedPaymentBody = PaymentBody.omit({ redirectUrl: true }).openapi("ExportedPayment");

const ClientExport = z.object({
  client: ClientBody,
  leads: z.array(LeadBody),
  invoices: z.array(InvoiceBody),
  payments: z.array(ExportedPaymentBody),
});

/** The routes under `/api/v2/clients`. */
export function clientRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(services, addList, addRead, addChange, addExport, addErase);
}

function addList(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = listRoute(services, {
    path: "/",
    tag: "clients",
    summary: "List clients, newest first, or find one by e-mail address or phone number",
    scope: "clients:read",
    query: PageQuery.extend({
      email: z.string().min(1).max(254).optional(),
      phone: z.string().min(1).max(40).optional(),
    }),
    item: ClientBody,
  });
  routes.openapi(route, async (c) => {
    const { email = null, phone = null, limit, cursor = null } = c.req.valid("query");
    const page = await listClients(services, { email, phone }, { limit, cursor });
    return c.json(pageBody(page, clientBody), 200);
  });
}

function addRead(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = readRoute(services, {
    path: "/{id}",
    tag: "clients",
    summary: "Get a client by id",
    scope: "clients:read",
    body: ClientBody,
    description: "The client",
  });
  routes.openapi(route, async (c) => {
    const client = await getClient(services, c.req.valid("param").id);
    return c.json(clientBody(tagged(c, client)), 200);
  });
}

function addChange(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = changeRoute(services, {
    path: "/{id}",
    tag: "clients",
    summary: "Change a client",
    scope: "clients:write",
    change: ClientChange,
    body: ClientBody,
    description: "The updated client",
    failures: [409],
  });
  routes.openapi(route, async (c) => {
    const { id } = c.req.valid("param");
    const client = await changeClient(services, id, c.req.valid("json"), changeOptions(c));
    return c.json(clientBody(tagged(c, client)), 200);
  });
}

function addExport(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = readRoute(services, {
    path: "/{id}/export",
    tag: "clients",
    summary: "Export all data about a client",
    scope: "clients:read",
    body: ClientExport,
    description: "The client with its leads, invoices and payments",
  });
  routes.openapi(route, async (c) => {
    const { id } = c.req.valid("param");
    const { client, leads, invoices, payments } = await exportClient(services, id);
    return c.json({
      client: clientBody(client),
      leads: leads.map(leadBody),
      invoices: invoices.map((invoice) => invoiceBody(services, invoice)),
      payments: payments.map(exportedPaymentBody),
    }, 200);
  });
}

function addErase(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "delete",
    path: "/{id}",
    tags: ["clients"],
    summary: "Erase a client's personal data; invoices keep what accounting requires",
    ...secured(services, "clients:write"),
    request: { params: IdParam },
    responses: {
      200: jsonResponse("The erased client", ClientBody),
      ...problems(400, 401, 403, 404, 422),
    },
  });
  routes.openapi(route, async (c) => {
    const client = await eraseClient(services, c.req.valid("param").id, callerOf(c));
    return c.json(clientBody(client), 200);
  });
}

function exportedPaymentBody(payment: ExportedPayment): z.infer<typeof ExportedPaymentBody> {
  return publicFields(payment);
}

function clientBody(client: Client): z.infer<typeof ClientBody> {
  return publicFields(client);
}
