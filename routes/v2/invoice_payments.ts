/**
 * Payments of an invoice under `/api/v2/invoices/{id}`: start a checkout, record a
 * payment, refund one.
 *
 * @module
 */
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Services } from "../../lib/app/mod.ts";
import { startCheckout } from "../../lib/payments/checkout.ts";
import {
  GATEWAY_NAMES,
  MOBILE_PROVIDERS,
  type Payment,
  searchPayments,
} from "../../lib/payments/mod.ts";
import { PAYMENT_METHODS, recordPayment } from "../../lib/payments/operators.ts";
import { refundPayment } from "../../lib/payments/refunds.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import { Id, IdParam, line, Minor, multiline, PageQuery } from "../_openapi.ts";
import { commandRoute, listRoute, pageBody, routesOf } from "../_resource.ts";
import { PaymentBody, paymentBody } from "./payments.ts";

const Checkout = z.strictObject({
  gateway: z.enum(GATEWAY_NAMES),
  amountMinor: Minor.optional().openapi({ description: "Default: the amount due" }),
  phone: z.string().min(1).max(40).optional().openapi({
    description: "The mobile money account. Default: the buyer's number",
  }),
  provider: z.enum(MOBILE_PROVIDERS).optional().openapi({
    description: "The mobile money network; required for mobile money",
  }),
}).openapi("Checkout");

const NewPayment = z.strictObject({
  amountMinor: Minor,
  method: z.enum(PAYMENT_METHODS),
  reference: line(120).openapi({ description: "The receipt; each is recorded once" }),
  receivedAt: z.iso.datetime().optional().openapi({ description: "Default: now" }),
  notes: multiline(2_000).default(""),
}).openapi("NewPayment");

const NewRefund = z.strictObject({
  paymentId: Id,
  amountMinor: Minor,
  reason: line(300),
  reference: line(120).optional().openapi({
    description: "The receipt of a refund made by hand; if absent, the gateway makes the refund",
  }),
}).openapi("NewRefund");

/** The payment routes under `/api/v2/invoices/{id}`. */
export function invoicePaymentRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(services, addCheckout, addList, addRecord, addRefund);
}

function addCheckout(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = commandRoute(services, {
    path: "/{id}/checkout",
    tag: "payments",
    summary: "Start a payment through a gateway, or get the one in progress",
    scope: "invoices:write",
    status: 201,
    input: Checkout,
    body: PaymentBody,
    description:
      "The payment. `pending`: the payer continues at `redirectUrl` or on their phone. `failed`: see `problem`. `created`: it may or may not have reached the gateway",
  });
  routes.openapi(route, async (c) => {
    const { id } = c.req.valid("param");
    const payment = await startCheckout(services, id, c.req.valid("json"), callerOf(c));
    c.header("location", pathOf(payment));
    return c.json(paymentBody(payment), 201);
  });
}

function addList(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const base = listRoute(services, {
    path: "/{id}/payments",
    tag: "payments",
    summary: "List the payments of an invoice, newest first, including failed ones",
    scope: "invoices:read",
    query: PageQuery,
    item: PaymentBody,
    description: "A page; empty if the invoice does not exist",
  });
  const route = { ...base, request: { ...base.request, params: IdParam } };
  routes.openapi(route, async (c) => {
    const { limit, cursor = null } = c.req.valid("query");
    const filter = { invoiceId: c.req.valid("param").id, status: null };
    const page = await searchPayments(services, filter, { limit, cursor });
    return c.json(pageBody(page, paymentBody), 200);
  });
}

function addRecord(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = commandRoute(services, {
    path: "/{id}/payments",
    tag: "payments",
    summary: "Record a payment received outside the gateways",
    scope: "invoices:write",
    status: 201,
    input: NewPayment,
    body: PaymentBody,
    description: "The payment",
  });
  routes.openapi(route, async (c) => {
    const { id } = c.req.valid("param");
    const payment = await recordPayment(services, id, c.req.valid("json"), callerOf(c));
    c.header("location", pathOf(payment));
    return c.json(paymentBody(payment), 201);
  });
}

function addRefund(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = commandRoute(services, {
    path: "/{id}/refunds",
    tag: "payments",
    summary: "Refund a payment in full or in part, or record a refund made by hand",
    scope: "invoices:write",
    status: 201,
    input: NewRefund,
    body: PaymentBody,
    description: "The payment; its last refund is the new one",
  });
  routes.openapi(route, async (c) => {
    const { id } = c.req.valid("param");
    const payment = await refundPayment(services, id, c.req.valid("json"), callerOf(c));
    c.header("location", pathOf(payment));
    return c.json(paymentBody(payment), 201);
  });
}

function pathOf({ id }: Payment): string {
  return `/api/v2/payments/${id}`;
}
