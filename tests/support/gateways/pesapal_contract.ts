/**
 * What Pesapal's API 3.0 takes and refuses, and the shapes of what it says, as its
 * documents and recorded answers have them.
 *
 * @module
 */

/** An error in Pesapal's words. */
export interface Refusal {
  type: string;
  code: string;
  message: string;
}

/** A JSON object, or an empty one in place of anything else. */
export function recordOf(value: unknown): Record<string, unknown> {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? Object.fromEntries(Object.entries(value)) : {};
}

/** An `api_error`. */
export function apiError(code: string, message: string): Refusal {
  return { type: "api_error", code, message };
}

/** What every call but the first is refused with, without a token that is good. */
export const BAD_TOKEN: Refusal = {
  type: "authentication_error",
  code: "invalid_api_credentials_provided",
  message: "Invalid Access Token",
};

const GUID = /^[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}$/i;

/** Whether it is a GUID, in any case. */
export function isGuid(value: unknown): value is string {
  return typeof value === "string" && GUID.test(value);
}

/** An order as it was submitted, checked. */
export interface Order {
  id: string;
  currency: string;
  amount: number;
  description: string;
  callback_url: string;
  cancellation_url: string | null;
  notification_id: string;
  billing: Record<string, unknown>;
}

const ORDER_FIELDS = new Set([
  "id",
  "currency",
  "amount",
  "description",
  "callback_url",
  "cancellation_url",
  "notification_id",
  "redirect_mode",
  "branch",
  "billing_address",
  "account_number",
  "subscription_details",
]);

const BILLING_FIELDS = new Set([
  "email_address",
  "phone_number",
  "country_code",
  "first_name",
  "middle_name",
  "last_name",
  "line_1",
  "line_2",
  "city",
  "state",
  "postal_code",
  "zip_code",
]);

/** Reads an order; a text is what is wrong with it. */
export function readOrder(body: unknown, currencies: ReadonlySet<string>): Order | string {
  const order = recordOf(body);
  const billing = recordOf(order.billing_address);
  const strange = [
    ...Object.keys(order).filter((name) => !ORDER_FIELDS.has(name)),
    ...Object.keys(billing).filter((name) => !BILLING_FIELDS.has(name)),
  ];
  if (strange.length > 0) return `${strange[0]} is not a field`;
  const { id, currency, amount, description, callback_url, cancellation_url = null } = order;
  if (!isText(id, 50) || !/^[A-Za-z0-9][A-Za-z0-9._:-]*$/.test(id)) return "id is not valid";
  if (typeof currency !== "string" || !currencies.has(currency)) return "currency is not enabled";
  if (typeof amount !== "number" || !(amount > 0)) return "amount is not a number above 0";
  if (!/^\d+(?:\.\d{1,2})?$/.test(String(amount))) return "amount has too many decimals";
  if (!isText(description, 100)) return "description has 1 to 100 characters";
  if (!isUrl(callback_url)) return "callback_url is no URL";
  if (cancellation_url !== null && !isUrl(cancellation_url)) return "cancellation_url is no URL";
  if (!["TOP_WINDOW", "PARENT_WINDOW", undefined, null, ""].includes(textOf(order.redirect_mode))) {
    return "redirect_mode is not valid";
  }
  const { notification_id } = order;
  if (!isGuid(notification_id)) return "notification_id is not valid";
  const { email_address: email, phone_number: phone, country_code: country, state } = billing;
  if (!isText(email, 200) && !isText(phone, 50)) return "email_address or phone_number is required";
  if (isText(email, 1_000) && !/^\S+@\S+\.\S+$/.test(email)) return "email_address is not valid";
  if (isText(country, 1_000) && !/^[A-Z]{2}$/i.test(country)) return "country_code has two letters";
  if (isText(state, 1_000) && state.length > 3) return "state has up to 3 characters";
  return {
    id,
    currency,
    amount,
    description,
    callback_url,
    cancellation_url,
    notification_id: notification_id.toLowerCase(),
    billing,
  };
}

/** What it is if it is text or absent; else something that is in no list. */
function textOf(value: unknown): string | null | undefined {
  return typeof value === "string" || value === null || value === undefined ? value : "?";
}

/** Whether it is text of 1 to `max` characters. */
export function isText(value: unknown, max: number): value is string {
  return typeof value === "string" && value.trim() !== "" && value.length <= max;
}

/** Whether it is an absolute http or https URL. */
export function isUrl(value: unknown): value is string {
  return typeof value === "string" && /^https?:$/.test(URL.parse(value)?.protocol ?? "");
}

/** UTC with seven digits of fraction, as its tokens expire and its addresses are created. */
export function utcTime(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "7772Z");
}

const EAST_AFRICA_MS = 3 * 3_600_000;

/** The time in East Africa, without saying so, as its payments are dated. */
export function eastAfricaTime(ms: number): string {
  return new Date(ms + EAST_AFRICA_MS).toISOString().replace(/0?Z$/, "");
}

/** A token of the usual form and length; nobody can check the signature. */
export function newToken(now: number, lifeMs: number): string {
  const part = (value: unknown) =>
    btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const payload = {
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/userdata": crypto.randomUUID(),
    uid: crypto.randomUUID(),
    nbf: Math.floor(now / 1_000),
    exp: Math.floor((now + lifeMs) / 1_000),
    iat: Math.floor(now / 1_000),
    iss: "http://127.0.0.1/",
    aud: "http://127.0.0.1/",
  };
  const signature = crypto.getRandomValues(new Uint8Array(32)).toHex();
  return `${part({ alg: "HS256", typ: "JWT" })}.${part(payload)}.${signature}`;
}
