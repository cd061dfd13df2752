/**
 * Pesapal's calls to us: the instant payment notification (IPN) and the payer's
 * way back. Neither is signed and neither says how a payment stands.
 *
 * @module
 */
import { isId } from "../ids.ts";
import { trackingIdOf } from "./_pesapal_answers.ts";
import type { CallbackAnswer, GatewayCallback, IncomingCall } from "./mod.ts";

/** What it may say that it is. */
const KINDS = ["IPNCHANGE", "RECURRING", "CALLBACKURL"];

/**
 * Reads a call, whether its three values are in the query, in JSON or in a form,
 * and however their names are spelt; null if they are not there, are not what we
 * or Pesapal would have written, or are there twice and differ.
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
 * The answer that Pesapal waits for, with the values that it sent. Only when the
 * notification could not be kept it is told so, to try again.
 */
export function ipnAnswer(
  notification: GatewayCallback | null,
  isStored: boolean,
): CallbackAnswer {
  const isTaken = notification !== null && isStored;
  return {
    status: notification === null ? 400 : isTaken ? 200 : 500,
    body: {
      orderNotificationType: notification?.kind ?? "IPNCHANGE",
      orderTrackingId: notification?.trackingId ?? "",
      orderMerchantReference: notification?.reference ?? "",
      status: isTaken ? 200 : 500,
    },
  };
}
