/**
 * | method | path                         | who              | answers                      |
 * | ------ | ---------------------------- | ---------------- | ---------------------------- |
 * | POST   | `/api/v2/invoices`           | `invoices:write` | 201, 400, 413, 415, 422      |
 * | GET    | `/api/v2/invoices`           | `invoices:read`  | 200, 400, 422                |
 * | GET    | `/api/v2/invoices/:id`       | `invoices:read`  | 200, 404                     |
 * | PATCH  | `/api/v2/invoices/:id`       | `invoices:write` | 200, 404, 409, 412, 422      |
 * | POST   | `/api/v2/invoices/:id/issue` | `invoices:write` | 200, 404, 409                |
 * | POST   | `/api/v2/invoices/:id/void`  | `invoices:write` | 200, 404, 409, 422           |
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import {
  changeInvoice,
  createInvoice,
  getInvoice,
  type Invoice,
  issueInvoice,
  listInvoices,
} from "../../lib/invoices/mod.ts";
import { isOverdue } from "../../lib/invoices/due.ts";
import { sendInvoice } from "../../lib/invoices/sending.ts";
import { LINES_MAX } from "../../lib/invoices/lines.ts";
import { withdrawInvoice } from "../../lib/payments/operators.ts";
import type { Services } from "../../lib/app/services.ts";
import { businessDate } from "../../lib/time.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf, revisionOf, revisionTag } from "../_http.ts";
import {
  Currency,
  Day,
  Id,
  IdempotencyHeader,
  IdParam,
  jsonAnswer,
  jsonBody,
  line,
  Minor,
  MinorOrNone,
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

const Status = z.enum([
  "draft",
  "open",
  "partially_paid",
  "paid",
  "void",
  "uncollectible",
  "refunded",
]);
const NewLine = z.strictObject({
  productId: Id.optional(),
  description: line(300).optional().openapi({ description: "The product's title when absent" }),
  quantity: Quantity,
  unitMinor: Minor.optional().openapi({ description: "The product's price when absent" }),
});
const NewLines = z.array(NewLine).min(1).max(LINES_MAX);
const NewInvoice = z.strictObject({
  clientId: Id,
  lines: NewLines,
  currency: Currency.optional().openapi({ description: "The shop's own when absent" }),
  taxMinor: MinorOrNone.default(0),
  dueOn: Day.optional(),
  notes: multiline(2_000).default(""),
  draft: z.boolean().default(false),
}).openapi("NewInvoice");
const InvoiceChange = z.strictObject({
  lines: NewLines.optional(),
  taxMinor: MinorOrNone.optional(),
  dueOn: Day.optional(),
  notes: multiline(2_000).optional(),
}).openapi("InvoiceChange");
/** An invoice as the API shows it. */
export const InvoiceBody = z.object({
  id: Id,
  number: z.string().nullable().openapi({ example: "INV-2026-000123" }),
  clientId: Id,
  leadId: Id.nullable(),
  billTo: z.object({
    name: z.string(),
    email: z.string().nullable(),
    phone: z.string().nullable(),
  }),
  status: Status,
  currency: Currency,
  lines: z.array(z.object({
    productId: Id.nullable(),
    description: z.string(),
    quantity: Quantity,
    unitMinor: Minor,
    totalMinor: Minor,
  })),
  subtotalMinor: Minor,
  taxMinor: MinorOrNone,
  totalMinor: Minor,
  paidMinor: MinorOrNone.openapi({ description: "Paid and not paid back" }),
  refundedMinor: MinorOrNone.openapi({ description: "Paid and paid back" }),
  issuedAt: Time.nullable(),
  dueOn: Day,
  isOverdue: z.boolean().openapi({ description: "To be paid, and its day is over" }),
  overdueAt: Time.nullable().openapi({ description: "When that was noted" }),
  notes: z.string(),
  voidReason: z.string().nullable(),
  revision: z.int(),
  createdAt: Time,
  updatedAt: Time,
}).openapi("Invoice");

/** The routes under `/api/v2/invoices`. */
export function invoiceRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "post",
      path: "/",
      tags: ["invoices"],
      summary: "Write an invoice, or a draft of one",
      ...secured(services, "invoices:write"),
      request: { headers: IdempotencyHeader, ...jsonBody(NewInvoice) },
      responses: {
        201: jsonAnswer("The invoice", InvoiceBody),
        ...problems(400, 401, 403, 413, 415, 422),
      },
    }),
    async (c) => {
      const { currency = services.config.defaultCurrency, ...input } = c.req.valid("json");
      const invoice = await createInvoice(services, { ...input, currency }, callerOf(c));
      c.header("location", `/api/v2/invoices/${invoice.id}`);
      c.header("etag", revisionTag(invoice));
      return c.json(invoiceBody(services, invoice), 201);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/",
      tags: ["invoices"],
      summary: "List invoices, newest first",
      ...secured(services, "invoices:read"),
      request: {
        query: PageQuery.extend({
          status: Status.optional(),
          clientId: Id.optional(),
          number: z.string().max(40).optional(),
          overdue: z.enum(["true", "false"]).optional(),
        }),
      },
      responses: {
        200: jsonAnswer("A page", pageOf(InvoiceBody)),
        ...problems(400, 401, 403, 422),
      },
    }),
    async (c) => {
      const { status = null, clientId = null, number = null, overdue, limit, cursor = null } = c.req
        .valid("query");
      const isOverdue = overdue === undefined ? null : overdue === "true";
      const filter = { status, clientId, number, isOverdue };
      const page = await listInvoices(services, filter, { limit, cursor });
      return c.json(
        { ...page, data: page.data.map((invoice) => invoiceBody(services, invoice)) },
        200,
      );
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/{id}",
      tags: ["invoices"],
      summary: "Read an invoice",
      ...secured(services, "invoices:read"),
      request: { params: IdParam },
      responses: { 200: jsonAnswer("The invoice", InvoiceBody), ...problems(401, 403, 404, 422) },
    }),
    async (c) => {
      const invoice = await getInvoice(services, c.req.valid("param").id);
      c.header("etag", revisionTag(invoice));
      return c.json(invoiceBody(services, invoice), 200);
    },
  ).openapi(
    createRoute({
      method: "patch",
      path: "/{id}",
      tags: ["invoices"],
      summary: "Change a draft, or the notes and due date of an open invoice",
      ...secured(services, "invoices:write"),
      request: { params: IdParam, headers: RevisionHeader, ...jsonBody(InvoiceChange) },
      responses: {
        200: jsonAnswer("The invoice as it is now", InvoiceBody),
        ...problems(400, 401, 403, 404, 409, 412, 413, 415, 422),
      },
    }),
    async (c) => {
      const options = { by: callerOf(c), revision: revisionOf(c) };
      const { id } = c.req.valid("param");
      const invoice = await changeInvoice(services, id, c.req.valid("json"), options);
      c.header("etag", revisionTag(invoice));
      return c.json(invoiceBody(services, invoice), 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/issue",
      tags: ["invoices"],
      summary: "Number a draft, which makes it owed",
      ...secured(services, "invoices:write"),
      request: { params: IdParam, headers: IdempotencyHeader },
      responses: {
        200: jsonAnswer("The invoice as it is now", InvoiceBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const invoice = await issueInvoice(services, c.req.valid("param").id, callerOf(c));
      c.header("etag", revisionTag(invoice));
      return c.json(invoiceBody(services, invoice), 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/send",
      tags: ["invoices"],
      summary: "Have an invoice sent to its buyer by e-mail",
      ...secured(services, "invoices:write"),
      request: { params: IdParam, headers: IdempotencyHeader },
      responses: {
        202: jsonAnswer("The invoice; the mail follows", InvoiceBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const invoice = await sendInvoice(services, c.req.valid("param").id, callerOf(c));
      return c.json(invoiceBody(services, invoice), 202);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/void",
      tags: ["invoices"],
      summary: "Make an invoice on which nothing is paid no longer owed",
      ...secured(services, "invoices:write"),
      request: {
        params: IdParam,
        headers: IdempotencyHeader,
        ...jsonBody(z.strictObject({ reason: line(500) }).openapi("Void")),
      },
      responses: {
        200: jsonAnswer("The invoice as it is now", InvoiceBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const { reason } = c.req.valid("json");
      const invoice = await withdrawInvoice(services, c.req.valid("param").id, reason, callerOf(c));
      c.header("etag", revisionTag(invoice));
      return c.json(invoiceBody(services, invoice), 200);
    },
  );
}

/** An invoice as the API shows it. */
export function invoiceBody(
  { clock, config }: Services,
  invoice: Invoice,
): z.infer<typeof InvoiceBody> {
  const { createdBy: _by, createdIn: _in, chain: _chain, remindedDays: _days, ...shown } = invoice;
  const today = businessDate(clock(), config.timeZone);
  return { ...shown, isOverdue: isOverdue(invoice, today), overdueAt: invoice.overdueAt ?? null };
}
