/**
 * The payment gateways in the environment: each configured completely, or not at all.
 *
 * @module
 */
import type { Name, Texts } from "./variables.ts";
import { gatewayUrl } from "./values.ts";

/** Pesapal's API and our account's credentials. */
export interface PesapalConfig {
  /** The API's base address, without a trailing slash. */
  readonly baseUrl: string;
  /** Identifies the account; secret. */
  readonly consumerKey: string;
  /** Secret. */
  readonly consumerSecret: string;
}

/** AzamPay's two services and the app registered there. */
export interface AzamPayConfig {
  /** Base address of the service that issues tokens, without a trailing slash. */
  readonly authUrl: string;
  /** Base address of everything else, without a trailing slash. */
  readonly checkoutUrl: string;
  /** The app's name exactly as registered. */
  readonly appName: string;
  /** The app's id; secret. */
  readonly clientId: string;
  /** Secret. */
  readonly clientSecret: string;
  /** Sent as X-API-Key; secret. */
  readonly apiKey: string;
}

/** The variables that each gateway requires. */
const NEEDED: readonly (readonly Name[])[] = [
  ["PESAPAL_BASE_URL", "PESAPAL_CONSUMER_KEY", "PESAPAL_CONSUMER_SECRET"],
  [
    "AZAMPAY_AUTH_URL",
    "AZAMPAY_CHECKOUT_URL",
    "AZAMPAY_APP_NAME",
    "AZAMPAY_CLIENT_ID",
    "AZAMPAY_CLIENT_SECRET",
    "AZAMPAY_API_KEY",
  ],
];

/** The variables that hold addresses. */
const ADDRESSES: readonly Name[] = [
  "PESAPAL_BASE_URL",
  "AZAMPAY_AUTH_URL",
  "AZAMPAY_CHECKOUT_URL",
];

/** Pesapal's configuration; undefined unless complete. */
export function pesapalOf(
  { PESAPAL_BASE_URL, PESAPAL_CONSUMER_KEY, PESAPAL_CONSUMER_SECRET }: Texts,
): PesapalConfig | undefined {
  const baseUrl = gatewayUrl(PESAPAL_BASE_URL ?? "");
  if (!baseUrl || !PESAPAL_CONSUMER_KEY || !PESAPAL_CONSUMER_SECRET) return undefined;
  return Object.freeze({
    baseUrl,
    consumerKey: PESAPAL_CONSUMER_KEY,
    consumerSecret: PESAPAL_CONSUMER_SECRET,
  });
}

/** AzamPay's configuration; undefined unless complete. */
export function azampayOf(texts: Texts): AzamPayConfig | undefined {
  const authUrl = gatewayUrl(texts.AZAMPAY_AUTH_URL ?? "");
  const checkoutUrl = gatewayUrl(texts.AZAMPAY_CHECKOUT_URL ?? "");
  const {
    AZAMPAY_APP_NAME: appName,
    AZAMPAY_CLIENT_ID: clientId,
    AZAMPAY_CLIENT_SECRET: clientSecret,
    AZAMPAY_API_KEY: apiKey,
  } = texts;
  if (!authUrl || !checkoutUrl || !appName || !clientId || !clientSecret || !apiKey) {
    return undefined;
  }
  return Object.freeze({ authUrl, checkoutUrl, appName, clientId, clientSecret, apiKey });
}

/** Missing variables of partly configured gateways, and plain http in production. */
export function gatewayProblems(texts: Texts, isProduction: boolean): [Name, string][] {
  const problems: [Name, string][] = [];
  for (const names of NEEDED) {
    const first = names.find((name) => texts[name]);
    if (!first) continue;
    for (const name of names) {
      if (!texts[name]) problems.push([name, `is required when ${first} is set`]);
    }
  }
  for (const name of isProduction ? ADDRESSES : []) {
    if (texts[name]?.startsWith("http:")) problems.push([name, "must be https in production"]);
  }
  return problems;
}
