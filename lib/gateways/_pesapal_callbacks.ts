/**
 * Pesapal's callbacks: the instant payment notification (IPN) and the payer's return.
 * Neither is signed, and neither has the status of the payment.
 *
 * @module
 */
import { isId } from "../ids.ts";
import { trackingIdOf } from "./_pesapal_answers.ts";
import type { CallbackAnswer, GatewayCallback, IncomingCall } from "./mod.ts";

/** The kinds of callbacks. */
const KINDS = ["IPNCHANGE", "RECURRING", "CALLBACKURL"];

/**
 * Reads a callback, whether its three values are in the query, in JSON or in a form,
 * with names in any case; null if a value is missing, is not of the form that we or
 * Pesapal use, or occurs twice with a difference.
 */
export function callbackOf(call: IncomingCall): GatewayCallback | null {
  const values = new Map<string, Set<string>>();
  for (const [name, value] of [...call.query, ...fieldsOf(call)]) {
    const key = name.toLowerCase();
    values.set(key, (values.get(key) ?? new Set()).add(value.trim()));
  }
  const only = (name: string) => {
    const [value, ...others] = values.get(name) ?? [];
    return others.length === 0 ? value : undefined;
  };
  const trackingId = trackingIdOf(only("ordertrackingid"));
  const reference = only("ordermerchantreference")?.toLowerCase();
  const kind = (only("ordernotificationtype") ?? "").toUpperCase();
  if (!trackingId || !reference || !isId(reference) || !KINDS.includes(kind)) return null;
  return { reference, trackingId, kind, confirmation: null };
}

function fieldsOf({ contentType, body }: IncomingCall): [string, string][] {
  const type = contentType.split(";")[0]?.trim();
  if (type === "application/x-www-form-urlencoded") return [...new URLSearchParams(body)];
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return [];
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).filter((field): field is [string, string] =>
    typeof field[1] === "string"
  );
}

/**
 * The response that Pesapal expects, with the values that it sent. Status 500, which
 * makes it try again, only if the callback could not be stored.
 */
export function ipnAnswer(
  callback: GatewayCallback | null,
  isStored: boolean,
): CallbackAnswer {
  const isAccepted = callback !== null && isStored;
  return {
    status: callback === null ? 400 : isAccepted ? 200 : 500,
    body: {
      orderNotificationType: callback?.kind ?? "IPNCHANGE",
      orderTrackingId: callback?.trackingId ?? "",
      orderMerchantReference: callback?.reference ?? "",
      status: isAccepted ? 200 : 500,
    },
  };
}
