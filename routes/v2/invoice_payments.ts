/**
 * | method | path                            | who              | answers                 |
 * | ------ | ------------------------------- | ---------------- | ----------------------- |
 * | POST   | `/api/v2/invoices/:id/checkout` | `invoices:write` | 201, 404, 409, 422      |
 * | GET    | `/api/v2/invoices/:id/payments` | `invoices:read`  | 200, 400, 422           |
 * | POST   | `/api/v2/invoices/:id/payments` | `invoices:write` | 201, 404, 409, 422      |
 * | POST   | `/api/v2/invoices/:id/refunds`  | `invoices:write` | 201, 404, 409, 422      |
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { PAYMENT_METHODS, recordPayment } from "../../lib/payments/operators.ts";
import { type Payment, searchPayments, startCheckout } from "../../lib/payments/checkout.ts";
import { refundPayment } from "../../lib/payments/refunds.ts";
import type { Services } from "../../lib/app/services.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import {
  Id,
  IdempotencyHeader,
  IdParam,
  jsonAnswer,
  jsonBody,
  line,
  Minor,
  multiline,
  newRoutes,
  pageOf,
  PageQuery,
  problems,
  secured,
} from "../_openapi.ts";
import { PaymentBody, paymentBody } from "./payments.ts";

const Checkout = z.strictObject({
  gateway: z.enum(["pesapal", "azampay"]),
  amountMinor: Minor.optional().openapi({ description: "All that is owed when absent" }),
  phone: z.string().min(1).max(40).optional().openapi({
    description: "The account of mobile money; the buyer's number when absent",
  }),
  provider: z.enum(["Airtel", "Tigo", "Halopesa", "Azampesa", "Mpesa"]).optional().openapi({
    description: "Whose mobile money it is; needed there",
  }),
}).openapi("Checkout");

const NewPayment = z.strictObject({
  amountMinor: Minor,
  method: z.enum(PAYMENT_METHODS),
  reference: line(120).openapi({ description: "The receipt; recorded once" }),
  receivedAt: z.iso.datetime().optional().openapi({ description: "Now when absent" }),
  notes: multiline(2_000).default(""),
}).openapi("NewPayment");

const NewRefund = z.strictObject({
  paymentId: Id,
  amountMinor: Minor,
  reason: line(300),
  reference: line(120).optional().openapi({
    description: "Where a refund made by hand can be found; without it the gateway is asked",
  }),
}).openapi("NewRefund");

/** The routes under `/api/v2/invoices/:id` that are about money. */
export function invoicePaymentRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "post",
      path: "/{id}/checkout",
      tags: ["payments"],
      summary: "Begin a payment through a gateway, or find the one that is under way",
      ...secured(services, "invoices:write"),
      request: { params: IdParam, headers: IdempotencyHeader, ...jsonBody(Checkout) },
      responses: {
        201: jsonAnswer(
          "The attempt: `pending` is to be paid at its `redirectUrl`, or by telephone; `failed` " +
            "says why in `problem`; `created` may or may not have reached the gateway",
          PaymentBody,
        ),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const payment = await startCheckout(services, id, c.req.valid("json"), callerOf(c));
      c.header("location", addressOf(payment));
      return c.json(paymentBody(payment), 201);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/{id}/payments",
      tags: ["payments"],
      summary: "List what was paid, or tried, on an invoice, newest first",
      ...secured(services, "invoices:read"),
      request: { params: IdParam, query: PageQuery },
      responses: {
        200: jsonAnswer("A page; empty also for an invoice that is not there", pageOf(PaymentBody)),
        ...problems(400, 401, 403, 422),
      },
    }),
    async (c) => {
      const { limit, cursor = null } = c.req.valid("query");
      const filter = { invoiceId: c.req.valid("param").id, status: null };
      const page = await searchPayments(services, filter, { limit, cursor });
      return c.json({ ...page, data: page.data.map(paymentBody) }, 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/payments",
      tags: ["payments"],
      summary: "Record a payment that no gateway took",
      ...secured(services, "invoices:write"),
      request: { params: IdParam, headers: IdempotencyHeader, ...jsonBody(NewPayment) },
      responses: {
        201: jsonAnswer("The payment", PaymentBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const payment = await recordPayment(services, id, c.req.valid("json"), callerOf(c));
      c.header("location", addressOf(payment));
      return c.json(paymentBody(payment), 201);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/refunds",
      tags: ["payments"],
      summary: "Pay back a payment or a part of it, or record that it was paid back",
      ...secured(services, "invoices:write"),
      request: { params: IdParam, headers: IdempotencyHeader, ...jsonBody(NewRefund) },
      responses: {
        201: jsonAnswer("The payment, whose last refund it is", PaymentBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const payment = await refundPayment(services, id, c.req.valid("json"), callerOf(c));
      c.header("location", addressOf(payment));
      return c.json(paymentBody(payment), 201);
    },
  );
}

function addressOf({ id }: Payment): string {
  return `/api/v2/payments/${id}`;
}
