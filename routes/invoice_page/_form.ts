/**
 * Parses the payment form from an untrusted body.
 *
 * @module
 */
import type { Context } from "hono";
import { normalizePhone } from "../../lib/contact.ts";
import { sha256Base64Url } from "../../lib/digest.ts";
import type { PayProblem } from "../../lib/documents/texts.ts";
import { AppError } from "../../lib/errors.ts";
import type { GatewayName, MobileProvider } from "../../lib/payments/mod.ts";
import type { Services } from "../../lib/app/mod.ts";
import type { AppEnv } from "../_env.ts";
import { PROVIDERS } from "./_pay_view.ts";

const FORM_TYPE = /^application\/x-www-form-urlencoded\s*(;|$)/i;
const ATTEMPT = /^[\w-]{8,40}$/;
/** Longest part of a field that is kept and shown again, in characters. */
const FIELD_MAX = 40;

/** The fields as sent. */
export interface PayFields {
  gateway: string;
  /** Differs on every rendered page. */
  attempt: string;
  phone: string;
  provider: string;
}

/** The payer's choice. */
export interface PayChoice {
  gateway: GatewayName;
  /** For mobile money, E.164. */
  phone?: string;
  /** For mobile money. */
  provider?: MobileProvider;
}

/** The fields of a form. @throws {AppError} `unsupported_media_type` */
export async function readPayFields(c: Context<AppEnv>): Promise<PayFields> {
  if (!FORM_TYPE.test(c.req.header("content-type") ?? "")) {
    throw new AppError(
      "unsupported_media_type",
      "Content-Type must be application/x-www-form-urlencoded",
    );
  }
  const fields = new URLSearchParams(await c.req.text());
  const field = (name: string) => fields.get(name)?.trim().slice(0, FIELD_MAX) ?? "";
  return {
    gateway: field("gateway"),
    attempt: field("attempt"),
    phone: field("phone"),
    provider: field("provider"),
  };
}

/** The payer's choice, or the problem of the fields. */
export async function readPayChoice(
  { gateways, config }: Services,
  { gateway: name, attempt, phone: text, provider }: PayFields,
): Promise<PayChoice | PayProblem> {
  const gateway = [...gateways.values()].find((gateway) => gateway.name === name);
  if (!gateway || !ATTEMPT.test(attempt)) return "gateway";
  if (!gateway.isMobileMoney) return { gateway: gateway.name };
  const phone = await normalizePhone(text, config.defaultRegion);
  if (phone === null) return "phone";
  if (!isProvider(provider)) return "provider";
  return { gateway: gateway.name, phone, provider };
}

/** The idempotency key: pressing the button twice on one page is one payment. */
export function keyOf(invoiceId: string, { attempt }: PayFields, choice: PayChoice): string {
  const { gateway, phone = "", provider = "" } = choice;
  const text = JSON.stringify([invoiceId, attempt, gateway, phone, provider]);
  return `page:${sha256Base64Url(text)}`;
}

function isProvider(text: string): text is MobileProvider {
  return Object.hasOwn(PROVIDERS, text);
}
