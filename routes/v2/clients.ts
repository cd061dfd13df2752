/**
 * | method | path                         | who             | answers                 |
 * | ------ | ---------------------------- | --------------- | ----------------------- |
 * | GET    | `/api/v2/clients`            | `clients:read`  | 200, 400, 422           |
 * | GET    | `/api/v2/clients/:id`        | `clients:read`  | 200, 404                |
 * | PATCH  | `/api/v2/clients/:id`        | `clients:write` | 200, 404, 409, 412, 422 |
 * | GET    | `/api/v2/clients/:id/export` | `clients:read`  | 200, 404                |
 * | DELETE | `/api/v2/clients/:id`        | `clients:write` | 200, 404                |
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import {
  changeClient,
  type Client,
  eraseClient,
  exportClient,
  type ExportedPayment,
  getClient,
  listClients,
} from "../../lib/leads/clients.ts";
import type { Services } from "../../lib/app/services.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf, revisionOf, revisionTag } from "../_http.ts";
import {
  Id,
  IdParam,
  jsonAnswer,
  jsonBody,
  line,
  multiline,
  newRoutes,
  pageOf,
  PageQuery,
  problems,
  RevisionHeader,
  secured,
  Time,
} from "../_openapi.ts";
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
/** Without the address at the gateway, which is a credential. */
const ExportedPaymentBody = PaymentBody.omit({ redirectUrl: true }).openapi("ExportedPayment");

/** The routes under `/api/v2/clients`. */
export function clientRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "get",
      path: "/",
      tags: ["clients"],
      summary: "List clients, newest first, or find one by e-mail address or phone number",
      ...secured(services, "clients:read"),
      request: {
        query: PageQuery.extend({
          email: z.string().min(1).max(254).optional(),
          phone: z.string().min(1).max(40).optional(),
        }),
      },
      responses: { 200: jsonAnswer("A page", pageOf(ClientBody)), ...problems(400, 401, 403, 422) },
    }),
    async (c) => {
      const { email = null, phone = null, limit, cursor = null } = c.req.valid("query");
      const page = await listClients(services, { email, phone }, { limit, cursor });
      return c.json({ ...page, data: page.data.map(clientBody) }, 200);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/{id}",
      tags: ["clients"],
      summary: "Read a client",
      ...secured(services, "clients:read"),
      request: { params: IdParam },
      responses: { 200: jsonAnswer("The client", ClientBody), ...problems(401, 403, 404, 422) },
    }),
    async (c) => {
      const client = await getClient(services, c.req.valid("param").id);
      c.header("etag", revisionTag(client));
      return c.json(clientBody(client), 200);
    },
  ).openapi(
    createRoute({
      method: "patch",
      path: "/{id}",
      tags: ["clients"],
      summary: "Change a client",
      ...secured(services, "clients:write"),
      request: { params: IdParam, headers: RevisionHeader, ...jsonBody(ClientChange) },
      responses: {
        200: jsonAnswer("The client as it is now", ClientBody),
        ...problems(400, 401, 403, 404, 409, 412, 413, 415, 422),
      },
    }),
    async (c) => {
      const options = { by: callerOf(c), revision: revisionOf(c) };
      const { id } = c.req.valid("param");
      const client = await changeClient(services, id, c.req.valid("json"), options);
      c.header("etag", revisionTag(client));
      return c.json(clientBody(client), 200);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/{id}/export",
      tags: ["clients"],
      summary: "All that is stored about a client",
      ...secured(services, "clients:read"),
      request: { params: IdParam },
      responses: {
        200: jsonAnswer(
          "Everything",
          z.object({
            client: ClientBody,
            leads: z.array(LeadBody),
            invoices: z.array(InvoiceBody),
            payments: z.array(ExportedPaymentBody),
          }),
        ),
        ...problems(401, 403, 404, 422),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const { client, leads, invoices, payments } = await exportClient(services, id);
      return c.json({
        client: clientBody(client),
        leads: leads.map(leadBody),
        invoices: invoices.map((invoice) => invoiceBody(services, invoice)),
        payments: payments.map(exportedPaymentBody),
      }, 200);
    },
  ).openapi(
    createRoute({
      method: "delete",
      path: "/{id}",
      tags: ["clients"],
      summary: "Erase a client's personal data; invoices keep what the books need",
      ...secured(services, "clients:write"),
      request: { params: IdParam },
      responses: {
        200: jsonAnswer("The client as it is now", ClientBody),
        ...problems(400, 401, 403, 404, 422),
      },
    }),
    async (c) => {
      const client = await eraseClient(services, c.req.valid("param").id, callerOf(c));
      return c.json(clientBody(client), 200);
    },
  );
}

function exportedPaymentBody(
  { createdBy: _by, createdIn: _in, chain: _chain, ...shown }: ExportedPayment,
): z.infer<typeof ExportedPaymentBody> {
  return shown;
}

function clientBody(
  { createdBy: _by, createdIn: _in, chain: _chain, ...shown }: Client,
): z.infer<typeof ClientBody> {
  return shown;
}
