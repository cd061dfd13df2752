/**
 * The meaning of Pesapal's answers (API 3.0). Most failures have status 200 and an
 * `error`, which is also sent, empty, with success; the `status` in a body is text, and
 * `"500"` may only mean that nobody has paid yet. So each field is validated and used
 * only where it is needed.
 *
 * @module
 */
import { z } from "zod";
import { isCurrency, type Money, parseMajor } from "../money.ts";
import { quotable } from "./_call.ts";
import type { Confirmation } from "./mod.ts";

/** An error as Pesapal reports it. */
export interface PesapalError {
  /** A word; `error` if there is none. */
  code: string;
  /** Its message, or else the code. */
  message: string;
}

const text = z.string().trim().nullish().catch(null);
/** Documents and answers disagree on whether it is a number or text. */
const number = z.preprocess(
  (value) => typeof value === "string" && /^\d{1,15}(?:\.\d{1,6})?$/.test(value) ? +value : value,
  z.number().nullish().catch(null),
);
const guid = z.string().trim().toLowerCase().regex(
  /^[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}$/,
).nullish().catch(null);

const ErrorBody = z.looseObject({ error_type: text, type: text, code: text, message: text });
const Answer = z.looseObject({
  error: z.unknown().optional(),
  status: z.unknown().optional(),
  message: text,
});
const TokenBody = z.looseObject({ token: text, expiryDate: text });
const OrderBody = z.looseObject({
  order_tracking_id: guid,
  merchant_reference: text,
  redirect_url: text,
});
const IpnBody = z.looseObject({
  url: text,
  ipn_id: guid,
  ipn_status: number,
  ipn_notification_type_description: text,
});
const StatusBody = z.looseObject({
  payment_method: text,
  amount: number,
  currency: text,
  confirmation_code: text,
  order_tracking_id: guid,
  merchant_reference: text,
  status_code: number,
  payment_status_description: text,
  payment_status_code: text,
  description: text,
});

/** A tracking id in the form of Pesapal, in lower case; null for anything else. */
export function trackingIdOf(value: unknown): string | null {
  return guid.parse(value) ?? null;
}

/** The error of an answer; null if there is none, or an empty one. */
export function errorOf(body: unknown): PesapalError | null {
  const { data: answer } = Answer.safeParse(body);
  if (!answer) return null;
  if (typeof answer.error === "string" && answer.error !== "") {
    return { code: "error", message: quotable(answer.error) };
  }
  const { data: error } = ErrorBody.safeParse(answer.error);
  if (!error) return null;
  const { error_type, type, code, message } = error;
  const kind = code || error_type || type;
  if (!kind && !message) return null;
  return { code: codeOf(kind || "error"), message: quotable(message || kind || "") };
}

/** A code for the log; `error` if it is not a single word. */
function codeOf(text: string): string {
  return /^[\w.-]{1,64}$/.test(text) ? text : "error";
}

/** Whether the token was refused. */
export function isUnauthorized({ status, body }: { status: number; body: unknown }): boolean {
  if (status === 401) return true;
  const { data: answer } = Answer.safeParse(body);
  const { data: error } = ErrorBody.safeParse(answer?.error);
  const type = error?.error_type || error?.type;
  return type === "authentication_error" || error?.code === "invalid_api_credentials_provided" ||
    /invalid access token/i.test(error?.message ?? "");
}

/** The outcome of a call that is answered by `status` and `message` only; null if unclear. */
export function outcomeOf(body: unknown): { isDone: boolean; message: string } | null {
  const { data: answer } = Answer.safeParse(body);
  const status = String(answer?.status ?? "");
  if (!answer || (status !== "200" && status !== "500")) return null;
  const error = errorOf(body);
  const message = error?.message ?? quotable(answer.message ?? "");
  return { isDone: status === "200" && error === null, message };
}

/** A token, and when it expires by Pesapal's clock, milliseconds UTC; null if it did not say. */
export function tokenOf(body: unknown): { token: string; expiresAt: number | null } | null {
  const { data } = TokenBody.safeParse(body);
  // It goes into a header.
  if (!data?.token || !/^[\x21-\x7e]{1,8192}$/.test(data.token)) return null;
  const expiresAt = Date.parse(data.expiryDate ?? "");
  return { token: data.token, expiresAt: Number.isNaN(expiresAt) ? null : expiresAt };
}

/** The id of a registered URL; null if there is none. */
export function ipnIdOf(body: unknown): string | null {
  return IpnBody.safeParse(body).data?.ipn_id ?? null;
}

/** The newest id of `url` in a list of registered URLs; null if there is none. */
export function findIpnId(body: unknown, url: string, method: "GET" | "POST"): string | null {
  if (!Array.isArray(body)) return null;
  const found = body.map((item) => IpnBody.safeParse(item).data).findLast((item) =>
    item?.url === url && item.ipn_id && (item.ipn_status ?? 1) === 1 &&
    // Lists often omit the method; the registration is then ours.
    (item.ipn_notification_type_description || method).toUpperCase() === method
  );
  return found?.ipn_id ?? null;
}

/** An accepted order; null for a missing field. */
export function orderOf(body: unknown): {
  trackingId: string | null;
  reference: string | null;
  redirectUrl: string | null;
} {
  const { data } = OrderBody.safeParse(body);
  return {
    trackingId: data?.order_tracking_id ?? null,
    reference: data?.merchant_reference ?? null,
    redirectUrl: data?.redirect_url || null,
  };
}

/** Status codes, by index, with their descriptions, which come in any case. */
const STATES = [
  { description: "INVALID", state: "pending" },
  { description: "COMPLETED", state: "completed" },
  { description: "FAILED", state: "failed" },
  { description: "REVERSED", state: "reversed" },
] as const;

/** The error code that means that nobody has paid yet. */
const NOT_PAID_YET = "payment_details_not_found";

/** The status of a payment, as an answer has it. */
export function confirmationOf(body: unknown): Confirmation {
  const { data } = StatusBody.safeParse(body);
  const { state, reason } = stateOf(body);
  return {
    state,
    reference: data?.merchant_reference || null,
    trackingIds: data?.order_tracking_id ? [data.order_tracking_id] : [],
    amount: amountOf(data?.amount, data?.currency),
    confirmationCode: data?.confirmation_code || null,
    method: data?.payment_method ? quotable(data.payment_method) : null,
    reason,
  };
}

function stateOf(body: unknown): Pick<Confirmation, "state" | "reason"> {
  const { data } = StatusBody.safeParse(body);
  const error = errorOf(body);
  const ownReason = quotable(data?.description || data?.payment_status_code || "") || null;
  if (error?.code === NOT_PAID_YET) {
    return data?.status_code
      ? { state: "unknown", reason: `It reports status ${data.status_code}, and that nobody paid` }
      : { state: "pending", reason: ownReason ?? error.message };
  }
  const known = STATES[data?.status_code ?? -1];
  if (!data || !known) {
    return {
      state: "unknown",
      reason: error?.message ?? "It does not report the status of the payment",
    };
  }
  const { state, description } = known;
  const words = data.payment_status_description || description;
  if (words.toUpperCase() !== description) {
    const reason = quotable(`It reports status ${data.status_code}, but also ${words}`);
    return { state: "unknown", reason };
  }
  // This alone decides that somebody has paid, so nothing may contradict it.
  const isSound = state === "failed" || state === "reversed" || error === null;
  return isSound ? { state, reason: ownReason } : { state: "unknown", reason: error.message };
}

/** A valid amount; additional zeros after the decimals do not matter. */
function amountOf(
  amount: number | null | undefined,
  currency: string | null | undefined,
): Money | null {
  if (typeof amount !== "number" || !isCurrency(currency)) return null;
  try {
    return parseMajor(String(amount), currency);
  } catch {
    // Negative, too large or with too many decimals: not an amount that we requested.
    return null;
  }
}
