/**
 * Payments under `/api/v2/payments`: list and check them, and resolve those that the
 * gateway cannot report on.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Services } from "../../lib/app/mod.ts";
import {
  getPayment,
  type Payment,
  PAYMENT_CHANNELS,
  PAYMENT_OUTCOMES,
  PAYMENT_STATUSES,
  REFUND_CHANNELS,
  REFUND_OUTCOMES,
  REFUND_STATUSES,
  searchPayments,
} from "../../lib/payments/mod.ts";
import { checkPayment, resolvePayment } from "../../lib/payments/operators.ts";
import { resolveRefund } from "../../lib/payments/refunds.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import {
  Currency,
  Id,
  IdempotencyHeader,
  IdParam,
  jsonBody,
  jsonResponse,
  line,
  Minor,
  MinorOrNone,
  PageQuery,
  problems,
  secured,
  Time,
} from "../_openapi.ts";
import {
  actionRoute,
  commandRoute,
  listRoute,
  pageBody,
  publicFields,
  readRoute,
  routesOf,
  tagged,
} from "../_resource.ts";

const Status = z.enum(PAYMENT_STATUSES);

/** A payment as the API shows it. */
export const PaymentBody = z.object({
  id: Id,
  invoiceId: Id,
  channel: z.enum(PAYMENT_CHANNELS),
  status: Status,
  currency: Currency,
  amountMinor: Minor,
  receivedMinor: MinorOrNone,
  refunds: z.array(z.object({
    id: Id,
    amountMinor: Minor,
    reason: z.string(),
    reference: z.string(),
    through: z.enum(REFUND_CHANNELS),
    status: z.enum(REFUND_STATUSES),
    at: Time,
    by: z.string(),
  })),
  trackingId: z.string().nullable().openapi({ description: "The gateway's own id of the payment" }),
  confirmationCode: z.string().nullable(),
  method: z.string().nullable(),
  redirectUrl: z.string().nullable().openapi({
    description: "The gateway's page where the payer pays",
  }),
  payerPhone: z.string().nullable(),
  problem: z.string().nullable(),
  completedAt: Time.nullable(),
  nextCheckAt: z.int().nullable().openapi({
    description: "Time of the next status check, in milliseconds UTC",
  }),
  checks: z.int(),
  notes: z.string(),
  resolution: z.object({
    outcome: z.enum(PAYMENT_OUTCOMES),
    reference: z.string(),
    reason: z.string(),
    at: Time,
    by: z.string(),
  }).nullable(),
  revision: z.int(),
  createdAt: Time,
  updatedAt: Time,
}).openapi("Payment");

const PaymentDecision = z.strictObject({
  outcome: z.enum(PAYMENT_OUTCOMES),
  amountMinor: Minor.optional().openapi({ description: "Default: the requested amount" }),
  reference: line(120).openapi({
    description: "The evidence, such as a receipt in the gateway's portal",
  }),
  reason: line(300),
}).openapi("PaymentDecision");

const RefundDecision = z.strictObject({
  outcome: z.enum(REFUND_OUTCOMES),
  reference: line(120),
}).openapi("RefundDecision");

const RefundParams = IdParam.extend({
  refundId: Id.openapi({ param: { name: "refundId", in: "path" } }),
});

/** The routes under `/api/v2/payments`. */
export function paymentRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(services, addList, addRead, addCheck, addResolve, addResolveRefund);
}

function addList(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = listRoute(services, {
    path: "/",
    tag: "payments",
    summary: "List payments, newest first",
    scope: "invoices:read",
    query: PageQuery.extend({ status: Status.optional(), invoiceId: Id.optional() }),
    item: PaymentBody,
  });
  routes.openapi(route, async (c) => {
    const { status = null, invoiceId = null, limit, cursor = null } = c.req.valid("query");
    const page = await searchPayments(services, { status, invoiceId }, { limit, cursor });
    return c.json(pageBody(page, paymentBody), 200);
  });
}

function addRead(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = readRoute(services, {
    path: "/{id}",
    tag: "payments",
    summary: "Get a payment by id",
    scope: "invoices:read",
    body: PaymentBody,
    description: "The payment",
  });
  routes.openapi(route, async (c) => {
    const payment = await getPayment(services, c.req.valid("param").id);
    return c.json(paymentBody(tagged(c, payment)), 200);
  });
}

function addCheck(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = actionRoute(services, {
    path: "/{id}/check",
    tag: "payments",
    summary: "Check the status of a payment at the gateway now",
    scope: "invoices:write",
    status: 200,
    body: PaymentBody,
    description: "The payment after the check",
    failures: [409],
  });
  routes.openapi(route, async (c) => {
    const payment = await checkPayment(services, c.req.valid("param").id, callerOf(c));
    return c.json(paymentBody(payment), 200);
  });
}

function addResolve(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = commandRoute(services, {
    path: "/{id}/resolve",
    tag: "payments",
    summary: "Resolve a payment whose status the gateway cannot confirm",
    scope: "invoices:write",
    status: 200,
    input: PaymentDecision,
    body: PaymentBody,
    description: "The resolved payment",
  });
  routes.openapi(route, async (c) => {
    const { id } = c.req.valid("param");
    const payment = await resolvePayment(services, id, c.req.valid("json"), callerOf(c));
    return c.json(paymentBody(payment), 200);
  });
}

function addResolveRefund(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "post",
    path: "/{id}/refunds/{refundId}/resolve",
    tags: ["payments"],
    summary: "Resolve a refund that was requested from a gateway",
    ...secured(services, "invoices:write"),
    request: { params: RefundParams, headers: IdempotencyHeader, ...jsonBody(RefundDecision) },
    responses: {
      200: jsonResponse("The payment with the resolved refund", PaymentBody),
      ...problems(400, 401, 403, 404, 409, 413, 415, 422),
    },
  });
  routes.openapi(route, async (c) => {
    const { id: paymentId, refundId } = c.req.valid("param");
    const which = { paymentId, refundId };
    const payment = await resolveRefund(services, which, c.req.valid("json"), callerOf(c));
    return c.json(paymentBody(payment), 200);
  });
}

/** A payment as the API shows it. */
export function paymentBody(payment: Payment): z.infer<typeof PaymentBody> {
  return publicFields(payment);
}
