/**
 * What the environment says of payment gateways: all of one, or nothing.
 *
 * @module
 */
import type { Name, Texts } from "./variables.ts";
import { gatewayUrl } from "./values.ts";

/** Pesapal's API and the account with it. */
export interface PesapalConfig {
  /** Where the API begins, without a slash at the end. */
  readonly baseUrl: string;
  /** The account. */
  readonly consumerKey: string;
  /** Its secret. */
  readonly consumerSecret: string;
}

/** AzamPay's two hosts and the app that is registered there. */
export interface AzamPayConfig {
  /** Where tokens come from, without a slash at the end. */
  readonly authUrl: string;
  /** Where all else is, without a slash at the end. */
  readonly checkoutUrl: string;
  /** The app, letter for letter. */
  readonly appName: string;
  /** The app's id. */
  readonly clientId: string;
  /** Its secret. */
  readonly clientSecret: string;
  /** What is sent as X-API-Key; secret. */
  readonly apiKey: string;
}

/** The variables without which a gateway cannot be called. */
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

/** Those of the variables that are addresses. */
const ADDRESSES: readonly Name[] = [
  "PESAPAL_BASE_URL",
  "AZAMPAY_AUTH_URL",
  "AZAMPAY_CHECKOUT_URL",
];

/** How Pesapal is reached; undefined if nothing, or not enough, is said of it. */
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

/** How AzamPay is reached; undefined if nothing, or not enough, is said of it. */
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

/** What is missing of a gateway of which something is said, and what production does not allow. */
export function gatewayProblems(texts: Texts, isProduction: boolean): [Name, string][] {
  const problems: [Name, string][] = [];
  for (const names of NEEDED) {
    const said = names.find((name) => texts[name]);
    if (!said) continue;
    for (const name of names) {
      if (!texts[name]) problems.push([name, `is required when ${said} is set`]);
    }
  }
  for (const name of isProduction ? ADDRESSES : []) {
    if (texts[name]?.startsWith("http:")) problems.push([name, "must be https in production"]);
  }
  return problems;
}
