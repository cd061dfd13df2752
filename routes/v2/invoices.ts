/**
 * Invoices under `/api/v2/invoices`: create, list, change, issue, send and void them.
 * Their payments and PDFs have files of their own.
 *
 * @module
 */
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Services } from "../../lib/app/mod.ts";
import { isOverdue } from "../../lib/invoices/due.ts";
import { LINES_MAX } from "../../lib/invoices/lines.ts";
import {
  changeInvoice,
  createInvoice,
  getInvoice,
  type Invoice,
  INVOICE_STATUSES,
  issueInvoice,
  listInvoices,
} from "../../lib/invoices/mod.ts";
import { sendInvoice } from "../../lib/invoices/sending.ts";
import { withdrawInvoice } from "../../lib/payments/operators.ts";
import { businessDate } from "../../lib/time.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import {
  Currency,
  Day,
  Flag,
  Id,
  line,
  Minor,
  MinorOrNone,
  multiline,
  PageQuery,
  Quantity,
  Time,
} from "../_openapi.ts";
import {
  actionRoute,
  changeOptions,
  changeRoute,
  commandRoute,
  createResourceRoute,
  listRoute,
  pageBody,
  publicFields,
  readRoute,
  routesOf,
  tagged,
} from "../_resource.ts";

const Status = z.enum(INVOICE_STATUSES);
const NewLine = z.strictObject({
  productId: Id.optional(),
  description: line(300).optional().openapi({ description: "Default: the product's title" }),
  quantity: Quantity,
  unitMinor: Minor.optional().openapi({ description: "Default: the product's price" }),
});
const NewLines = z.array(NewLine).min(1).max(LINES_MAX);
const NewInvoice = z.strictObject({
  clientId: Id,
  lines: NewLines,
  currency: Currency.optional().openapi({ description: "Default: the shop's currency" }),
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
const Void = z.strictObject({ reason: line(500) }).openapi("Void");

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
  paidMinor: MinorOrNone.openapi({ description: "Received and not refunded" }),
  refundedMinor: MinorOrNone.openapi({ description: "Received and refunded" }),
  issuedAt: Time.nullable(),
  dueOn: Day,
  isOverdue: z.boolean().openapi({ description: "Unpaid after its due date" }),
  overdueAt: Time.nullable().openapi({ description: "When it was marked as overdue" }),
  notes: z.string(),
  voidReason: z.string().nullable(),
  revision: z.int(),
  createdAt: Time,
  updatedAt: Time,
}).openapi("Invoice");

/** The routes under `/api/v2/invoices`. */
export function invoiceRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(services, addCreate, addList, addRead, addChange, addIssue, addSend, addVoid);
}

function addCreate(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createResourceRoute(services, {
    path: "/",
    tag: "invoices",
    summary: "Create an invoice or a draft",
    scope: "invoices:write",
    input: NewInvoice,
    body: InvoiceBody,
    description: "The invoice",
  });
  routes.openapi(route, async (c) => {
    const { currency = services.config.defaultCurrency, ...input } = c.req.valid("json");
    const invoice = await createInvoice(services, { ...input, currency }, callerOf(c));
    c.header("location", `/api/v2/invoices/${invoice.id}`);
    return c.json(invoiceBody(services, tagged(c, invoice)), 201);
  });
}

function addList(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = listRoute(services, {
    path: "/",
    tag: "invoices",
    summary: "List invoices, newest first",
    scope: "invoices:read",
    query: PageQuery.extend({
      status: Status.optional(),
      clientId: Id.optional(),
      number: z.string().max(40).optional(),
      overdue: Flag.optional(),
    }),
    item: InvoiceBody,
  });
  routes.openapi(route, async (c) => {
    const { status = null, clientId = null, number = null, overdue, limit, cursor = null } = c.req
      .valid("query");
    const isOverdue = overdue === undefined ? null : overdue === "true";
    const filter = { status, clientId, number, isOverdue };
    const page = await listInvoices(services, filter, { limit, cursor });
    return c.json(pageBody(page, (invoice) => invoiceBody(services, invoice)), 200);
  });
}

function addRead(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = readRoute(services, {
    path: "/{id}",
    tag: "invoices",
    summary: "Get an invoice by id",
    scope: "invoices:read",
    body: InvoiceBody,
    description: "The invoice",
  });
  routes.openapi(route, async (c) => {
    const invoice = await getInvoice(services, c.req.valid("param").id);
    return c.json(invoiceBody(services, tagged(c, invoice)), 200);
  });
}

function addChange(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = changeRoute(services, {
    path: "/{id}",
    tag: "invoices",
    summary: "Change a draft, or the notes and due date of an open invoice",
    scope: "invoices:write",
    change: InvoiceChange,
    body: InvoiceBody,
    description: "The updated invoice",
    failures: [409],
  });
  routes.openapi(route, async (c) => {
    const { id } = c.req.valid("param");
    const invoice = await changeInvoice(services, id, c.req.valid("json"), changeOptions(c));
    return c.json(invoiceBody(services, tagged(c, invoice)), 200);
  });
}

function addIssue(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = actionRoute(services, {
    path: "/{id}/issue",
    tag: "invoices",
    summary: "Issue a draft (assigns its number)",
    scope: "invoices:write",
    status: 200,
    body: InvoiceBody,
    description: "The issued invoice",
    failures: [409],
  });
  routes.openapi(route, async (c) => {
    const invoice = await issueInvoice(services, c.req.valid("param").id, callerOf(c));
    return c.json(invoiceBody(services, tagged(c, invoice)), 200);
  });
}

function addSend(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = actionRoute(services, {
    path: "/{id}/send",
    tag: "invoices",
    summary: "Send an invoice to its buyer by e-mail",
    scope: "invoices:write",
    status: 202,
    body: InvoiceBody,
    description: "The invoice; its e-mail is queued",
    failures: [409],
  });
  routes.openapi(route, async (c) => {
    const invoice = await sendInvoice(services, c.req.valid("param").id, callerOf(c));
    return c.json(invoiceBody(services, invoice), 202);
  });
}

function addVoid(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = commandRoute(services, {
    path: "/{id}/void",
    tag: "invoices",
    summary: "Void an unpaid invoice",
    scope: "invoices:write",
    status: 200,
    input: Void,
    body: InvoiceBody,
    description: "The void invoice",
  });
  routes.openapi(route, async (c) => {
    const { reason } = c.req.valid("json");
    const invoice = await withdrawInvoice(services, c.req.valid("param").id, reason, callerOf(c));
    return c.json(invoiceBody(services, tagged(c, invoice)), 200);
  });
}

/** An invoice as the API shows it. */
export function invoiceBody(
  { clock, config }: Services,
  invoice: Invoice,
): z.infer<typeof InvoiceBody> {
  const { remindedDays: _, ...shown } = publicFields(invoice);
  const today = businessDate(clock(), config.timeZone);
  return { ...shown, isOverdue: isOverdue(invoice, today), overdueAt: invoice.overdueAt ?? null };
}
