/**
 * | method | path                                             | who              | answers                 |
 * | ------ | ------------------------------------------------ | ---------------- | ----------------------- |
 * | GET    | `/api/v2/payments`                               | `invoices:read`  | 200, 400, 422           |
 * | GET    | `/api/v2/payments/:id`                           | `invoices:read`  | 200, 404                |
 * | POST   | `/api/v2/payments/:id/check`                     | `invoices:write` | 200, 404, 409           |
 * | POST   | `/api/v2/payments/:id/resolve`                   | `invoices:write` | 200, 404, 409, 422      |
 * | POST   | `/api/v2/payments/:id/refunds/:refundId/resolve` | `invoices:write` | 200, 404, 409, 422      |
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { checkPayment, resolvePayment } from "../../lib/payments/operators.ts";
import { getPayment, type Payment, searchPayments } from "../../lib/payments/checkout.ts";
import { resolveRefund } from "../../lib/payments/refunds.ts";
import type { Services } from "../../lib/app/services.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf, revisionTag } from "../_http.ts";
import {
  Currency,
  Id,
  IdempotencyHeader,
  IdParam,
  jsonAnswer,
  jsonBody,
  line,
  Minor,
  MinorOrNone,
  newRoutes,
  pageOf,
  PageQuery,
  problems,
  secured,
  Time,
} from "../_openapi.ts";

const Status = z.enum([
  "created",
  "pending",
  "completed",
  "failed",
  "reversed",
  "needs_review",
]);

/** A payment as the API shows it. */
export const PaymentBody = z.object({
  id: Id,
  invoiceId: Id,
  channel: z.enum(["pesapal", "azampay", "manual"]),
  status: Status,
  currency: Currency,
  amountMinor: Minor,
  receivedMinor: MinorOrNone,
  refunds: z.array(z.object({
    id: Id,
    amountMinor: Minor,
    reason: z.string(),
    reference: z.string(),
    through: z.enum(["gateway", "hand"]),
    status: z.enum(["requested", "completed", "refused"]),
    at: Time,
    by: z.string(),
  })),
  trackingId: z.string().nullable().openapi({ description: "What the gateway calls it" }),
  confirmationCode: z.string().nullable(),
  method: z.string().nullable(),
  redirectUrl: z.string().nullable().openapi({ description: "Where the payer pays" }),
  payerPhone: z.string().nullable(),
  problem: z.string().nullable(),
  completedAt: Time.nullable(),
  nextCheckAt: z.int().nullable().openapi({
    description: "When the gateway is asked next, in milliseconds UTC",
  }),
  checks: z.int(),
  notes: z.string(),
  resolution: z.object({
    outcome: z.enum(["completed", "failed"]),
    reference: z.string(),
    reason: z.string(),
    at: Time,
    by: z.string(),
  }).nullable(),
  revision: z.int(),
  createdAt: Time,
  updatedAt: Time,
}).openapi("Payment");

const Resolve = z.strictObject({
  outcome: z.enum(["completed", "failed"]),
  amountMinor: Minor.optional().openapi({ description: "What was asked for when absent" }),
  reference: line(120).openapi({ description: "The evidence, such as a receipt in its portal" }),
  reason: line(300),
}).openapi("PaymentDecision");

const ResolveRefund = z.strictObject({
  outcome: z.enum(["completed", "refused"]),
  reference: line(120),
}).openapi("RefundDecision");

const RefundParams = IdParam.extend({
  refundId: Id.openapi({ param: { name: "refundId", in: "path" } }),
});

/** The routes under `/api/v2/payments`. */
export function paymentRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "get",
      path: "/",
      tags: ["payments"],
      summary: "List payments, newest first",
      ...secured(services, "invoices:read"),
      request: {
        query: PageQuery.extend({ status: Status.optional(), invoiceId: Id.optional() }),
      },
      responses: {
        200: jsonAnswer("A page", pageOf(PaymentBody)),
        ...problems(400, 401, 403, 422),
      },
    }),
    async (c) => {
      const { status = null, invoiceId = null, limit, cursor = null } = c.req.valid("query");
      const page = await searchPayments(services, { status, invoiceId }, { limit, cursor });
      return c.json({ ...page, data: page.data.map(paymentBody) }, 200);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/{id}",
      tags: ["payments"],
      summary: "Read a payment",
      ...secured(services, "invoices:read"),
      request: { params: IdParam },
      responses: { 200: jsonAnswer("The payment", PaymentBody), ...problems(401, 403, 404, 422) },
    }),
    async (c) => {
      const payment = await getPayment(services, c.req.valid("param").id);
      c.header("etag", revisionTag(payment));
      return c.json(paymentBody(payment), 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/check",
      tags: ["payments"],
      summary: "Have the gateway asked about a payment now",
      ...secured(services, "invoices:write"),
      request: { params: IdParam, headers: IdempotencyHeader },
      responses: {
        200: jsonAnswer("The payment as it is now", PaymentBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const payment = await checkPayment(services, c.req.valid("param").id, callerOf(c));
      return c.json(paymentBody(payment), 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/resolve",
      tags: ["payments"],
      summary: "Decide what became of a payment of which the gateway gives no clear word",
      ...secured(services, "invoices:write"),
      request: { params: IdParam, headers: IdempotencyHeader, ...jsonBody(Resolve) },
      responses: {
        200: jsonAnswer("The payment as it is now", PaymentBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const payment = await resolvePayment(services, id, c.req.valid("json"), callerOf(c));
      return c.json(paymentBody(payment), 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/refunds/{refundId}/resolve",
      tags: ["payments"],
      summary: "Decide whether a refund that a gateway was asked for was made",
      ...secured(services, "invoices:write"),
      request: { params: RefundParams, headers: IdempotencyHeader, ...jsonBody(ResolveRefund) },
      responses: {
        200: jsonAnswer("The payment as it is now", PaymentBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const { id: paymentId, refundId } = c.req.valid("param");
      const which = { paymentId, refundId };
      const payment = await resolveRefund(services, which, c.req.valid("json"), callerOf(c));
      return c.json(paymentBody(payment), 200);
    },
  );
}

/** A payment as the API shows it. */
export function paymentBody(
  { createdBy: _by, createdIn: _in, chain: _chain, ...shown }: Payment,
): z.infer<typeof PaymentBody> {
  return shown;
}
