/**
 * Callbacks of payment gateways under `/payments`, and the page that Pesapal returns the
 * payer to. Anyone can call them: a call only names the payment to check. Responses have
 * the format that each gateway expects.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import { AppError } from "../lib/errors.ts";
import { invoiceUrl } from "../lib/invoices/links.ts";
import { isLanguage } from "../lib/languages.ts";
import { type IncomingCall, receiveCall } from "../lib/payments/callbacks.ts";
import type { GatewayName } from "../lib/payments/mod.ts";
import type { Services } from "../lib/app/mod.ts";
import type { AppEnv } from "./_env.ts";
import { byAddress, countRead } from "./_limits.ts";

/** The routes under `/payments`. */
export function callbackRoutes(services: Services): Hono<AppEnv> {
  const receive = async (c: Context<AppEnv>, gateway: GatewayName) => {
    countRead(services, c, "gateway_call", byAddress(c, services));
    return await receiveCall(services, gateway, await callOf(c), c.var.requestId);
  };
  const answer = async (c: Context<AppEnv>, gateway: GatewayName) => {
    const { answer: { status, body } } = await receive(c, gateway);
    return c.json(body, status);
  };
  return new Hono<AppEnv>()
    .get("/pesapal/callback", async (c) => {
      const { payment } = await receive(c, "pesapal");
      if (!payment) throw new AppError("not_found", "No such payment");
      // Set by the invoice page and returned by the gateway; anyone can set it.
      const language = c.req.query("lang");
      const query = isLanguage(language) ? `?lang=${language}` : "";
      return c.redirect(invoiceUrl(services.config, payment.invoiceId) + query, 303);
    })
    .get("/pesapal/ipn", (c) => answer(c, "pesapal"))
    .post("/pesapal/ipn", (c) => answer(c, "pesapal"))
    .post("/azampay/callback", (c) => answer(c, "azampay"));
}

async function callOf(c: Context<AppEnv>): Promise<IncomingCall> {
  return {
    method: c.req.method,
    query: new URL(c.req.url).searchParams,
    contentType: (c.req.header("content-type") ?? "").toLowerCase(),
    body: await c.req.text(),
  };
}
