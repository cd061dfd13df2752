/**
 * Every variable: its meaning, default and check. README.md and .env.example are
 * tested against this list.
 *
 * @module
 */
import { z } from "zod";
import { CURRENCIES } from "../money.ts";
import {
  addressLines,
  currency,
  dayOffsets,
  encryptionKey,
  exactOrigin,
  gatewayUrl,
  heartbeats,
  hostName,
  integer,
  kvPath,
  line,
  list,
  mailAddress,
  mailServer,
  matching,
  oneOf,
  onOff,
  origin,
  parseWebhook,
  rateRules,
  region,
  SECRET_KEY_BYTES_MIN,
  secretKey,
  sentryDsn,
  share,
  storageUrl,
  timeZone,
} from "./values.ts";

/** Defaults that differ between environments. */
export interface Fallbacks {
  /** On a developer's machine. */
  development: string;
  /** In tests; as in development when absent. */
  test?: string;
  /** When absent, production must set the variable, to another value than `development`. */
  production?: string;
}

/** The description of a variable. */
export interface Variable {
  /** The heading of the section that this variable begins. */
  section?: string;
  /** One or two sentences in one line of Markdown. */
  meaning: string;
  /** The default; absent if there is none and the variable is optional. */
  fallback?: string | Fallbacks;
  /** A valid value; for a secret, where to get one. */
  example: string;
  /** The value is never printed. */
  isSecret?: true;
}

const DESCRIPTIONS = z.registry<Variable>();

/** A required variable. `expected` completes the message "NAME must be …" when `parse` fails. */
function variable<T>(parse: (text: string) => T | undefined, expected: string, about: Variable) {
  return z.string().transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: "custom", message: `must be ${expected}` });
    return z.NEVER;
  }).register(DESCRIPTIONS, about);
}

/** The same for an optional variable. */
function optional<T>(parse: (text: string) => T | undefined, expected: string, about: Variable) {
  return variable(parse, expected, about).optional().register(DESCRIPTIONS, about);
}

/** An optional secret that another party issued; `source` says where to get it. */
function credential(meaning: string, source: string, lengthMax = 256) {
  const parse = matching(new RegExp(`^[\\x21-\\x7e]{1,${lengthMax}}$`));
  const expected = `1 to ${lengthMax} printable ASCII characters without spaces`;
  return optional(parse, expected, { meaning, example: source, isSecret: true });
}

/** Public, so that development needs no configuration; production refuses it. */
export const DEVELOPMENT_SECRET_KEY: string = btoa("development only, 32 bytes long!");

const API_KEY_LENGTH_MIN = 24;
const MAKE_KEY = "openssl rand -base64 32";
const FROM_STORAGE = "copy it from the settings of the object storage";
const FROM_PESAPAL = "copy it from Pesapal's mail";
const FROM_AZAMPAY = "copy it from the app's page at AzamPay";

/**
 * The environment, in the order of README.md and .env.example.
 *
 * @internal
 */
export const ENVIRONMENT = z.object({
  APP_ENV: variable(oneOf("development", "test", "production"), "development, test or production", {
    section: "Program",
    meaning:
      "Where the program runs: `development`, `test` or `production`. Deno Deploy implies `production` and accepts nothing else.",
    fallback: "development",
    example: "production",
  }),
  APP_VERSION: variable(matching(/^[\w.+-]{1,64}$/), "1 to 64 letters, digits, dots or hyphens", {
    meaning: "The build, shown by `/health`. On Deno Deploy: the revision.",
    fallback: "dev",
    example: "2026.11.0",
  }),
  HOST: variable(matching(/^[\w.:-]{1,253}$/), "a host name or an IP address", {
    section: "Network",
    meaning: "The address to listen on.",
    fallback: { development: "127.0.0.1", production: "0.0.0.0" },
    example: "0.0.0.0",
  }),
  PORT: variable(integer(0, 65_535), "a whole number from 0 to 65535", {
    meaning: "The port to listen on.",
    fallback: "8000",
    example: "8080",
  }),
  PUBLIC_URL: variable(origin, "an http or https URL with a host and nothing after it", {
    meaning: "The origin of all absolute links and callback addresses; https in production.",
    fallback: { development: "http://localhost:$PORT" },
    example: "https://shop.example.com",
  }),
  ALLOWED_HOSTS: variable(list(hostName), "host names without ports, separated by commas", {
    meaning:
      "More host names to accept requests for, separated by commas. The host of `PUBLIC_URL` is always accepted.",
    fallback: "",
    example: "www.example.com,shop.example.com",
  }),
  CORS_ORIGINS: variable(
    list(exactOrigin),
    "exact origins as browsers send them, separated by commas",
    {
      meaning: "Origins whose pages may call the API from a browser, separated by commas.",
      fallback: "",
      example: "https://example.com,https://www.example.com",
    },
  ),
  TRUSTED_PROXY_HOPS: variable(integer(0, 10), "a whole number from 0 to 10", {
    meaning:
      "Number of trusted proxies in front of the program, each adding one `X-Forwarded-For` entry.",
    fallback: "0",
    example: "1",
  }),
  RATE_LIMITS: variable(rateRules, "off, or rules such as lead_post=10/1m", {
    meaning:
      "Changes to the rate limits, such as `lead_post=20/1m,key_write=100/10s`; `off` disables all, except in production.",
    fallback: "",
    example: "lead_post=20/1m",
  }),
  KV_PATH: optional(kvPath, "a file, :memory: or an http(s) URL", {
    section: "Store and keys",
    meaning:
      "The store: a file, `:memory:`, or the URL of a KV Connect server. Unset on Deno Deploy: the assigned database.",
    fallback: { development: ".data/wetech.kv", test: ":memory:" },
    example: "/var/lib/wetech/wetech.kv",
  }),
  DENO_KV_ACCESS_TOKEN: optional(String, "the token of the KV Connect server", {
    meaning: "Token for the KV Connect server. Required if `KV_PATH` is a URL.",
    example: "copy it from the settings of the KV Connect server",
    isSecret: true,
  }),
  SECRET_KEY: variable(secretKey, `at least ${SECRET_KEY_BYTES_MIN} bytes in base64`, {
    meaning:
      `At least 32 random bytes in base64, for signatures and keyed digests: \`${MAKE_KEY}\`.`,
    fallback: { development: DEVELOPMENT_SECRET_KEY },
    example: MAKE_KEY,
    isSecret: true,
  }),
  SECRET_KEY_PREVIOUS: optional(secretKey, `at least ${SECRET_KEY_BYTES_MIN} bytes in base64`, {
    meaning: "The `SECRET_KEY` before the last rotation. Its signatures stay valid.",
    example: "the SECRET_KEY in use until now",
    isSecret: true,
  }),
  BOOTSTRAP_API_KEY: optional(
    matching(new RegExp(`^[\\x21-\\x7e]{${API_KEY_LENGTH_MIN},256}$`)),
    `${API_KEY_LENGTH_MIN} to 256 printable ASCII characters without spaces`,
    {
      meaning:
        "API key with every scope, for creating the first API keys. Unset it afterwards. Optional in production.",
      fallback: { development: "dev-bootstrap-api-key-000", production: "" },
      example: MAKE_KEY,
      isSecret: true,
    },
  ),
  DEFAULT_CURRENCY: variable(currency, `one of ${CURRENCIES.join(", ")}`, {
    section: "Shop and invoices",
    meaning: "Currency of prices that name none.",
    fallback: "TZS",
    example: "KES",
  }),
  DEFAULT_REGION: variable(region, "the two capital letters of a country in ISO 3166", {
    meaning: "Country of phone numbers written without a country code.",
    fallback: "TZ",
    example: "KE",
  }),
  TIME_ZONE: variable(timeZone, "a time zone of the IANA database", {
    meaning: "Time zone of business days: due dates and invoice years.",
    fallback: "Africa/Dar_es_Salaam",
    example: "Africa/Nairobi",
  }),
  INVOICE_SERIES: variable(matching(/^[A-Z]{1,8}$/), "1 to 8 capital letters", {
    meaning: "Prefix of invoice numbers.",
    fallback: "INV",
    example: "INV",
  }),
  INVOICE_DUE_DAYS: variable(integer(1, 365), "a whole number from 1 to 365", {
    meaning: "Days from issue to due date.",
    fallback: "14",
    example: "30",
  }),
  REMINDER_DAYS: variable(dayOffsets, "days such as -3,1,7,14, from -365 to 365", {
    meaning:
      "Days relative to the due date on which buyers are reminded of an unpaid invoice, separated by commas; negative: before it. Unset: no reminders.",
    fallback: "",
    example: "-3,1,7,14",
  }),
  SHOP_NAME: variable(line(80), "one line of up to 80 characters", {
    meaning: "The seller's name on invoices, pages and mails.",
    fallback: "WeTech",
    example: "WeTech Ltd",
  }),
  SHOP_ADDRESS: variable(addressLines, "up to 200 characters without line ends", {
    meaning: "The seller's postal address on invoices; semicolons separate lines.",
    fallback: "",
    example: "Samora Avenue 12; Dar es Salaam; Tanzania",
  }),
  SHOP_TAX_ID: optional(line(40), "one line of up to 40 characters", {
    meaning: "The seller's tax identification number on invoices.",
    example: "100-200-300",
  }),
  SHOP_PHONE: optional(matching(/^\+?[\d ()-]{5,24}$/), "a phone number", {
    meaning: "The seller's phone number on invoices and their pages.",
    example: "+255 712 345 678",
  }),
  DEFAULT_LANGUAGE: variable(oneOf("en", "sw"), "en or sw", {
    meaning: "Language of mails to buyers who chose none: `en` (English) or `sw` (Swahili).",
    fallback: "en",
    example: "sw",
  }),
  STORAGE_URL: optional(storageUrl, "file: and a folder, or s3://bucket/prefix", {
    section: "Backups",
    meaning:
      "Where backups are stored: `file:` and a folder, or `s3://bucket/prefix`. Unset: no backups.",
    fallback: { development: "file:.data/backups", production: "" },
    example: "s3://wetech-backups/production",
  }),
  S3_ENDPOINT: optional(origin, "an http or https URL with a host and nothing after it", {
    meaning:
      "Origin of the object storage. A host that starts with the bucket's name is used as is; otherwise the bucket is the first part of the path.",
    example: "https://s3.eu-west-1.amazonaws.com",
  }),
  S3_REGION: optional(matching(/^[\w-]{1,64}$/), "1 to 64 letters, digits or hyphens", {
    meaning: "Region of the object storage; some services expect `auto` or `us-east-1`.",
    example: "eu-west-1",
  }),
  S3_ACCESS_KEY_ID: credential("Access key for the object storage.", FROM_STORAGE),
  S3_SECRET_ACCESS_KEY: credential("Secret access key for the object storage.", FROM_STORAGE),
  BACKUP_ENCRYPTION_KEY: optional(encryptionKey, "exactly 32 bytes in base64", {
    meaning:
      `32 random bytes in base64 that encrypt backups: \`${MAKE_KEY}\`. Keep a copy elsewhere: without it these backups cannot be read.`,
    example: MAKE_KEY,
    isSecret: true,
  }),
  LOG_LEVEL: variable(oneOf("debug", "info", "warn", "error"), "debug, info, warn or error", {
    section: "Logs, errors and alerts",
    meaning: "Lowest severity that is logged: `debug`, `info`, `warn` or `error`.",
    fallback: "info",
    example: "debug",
  }),
  LOG_FORMAT: variable(oneOf("json", "pretty"), "json or pretty", {
    meaning: "`json` for machines, `pretty` for people.",
    fallback: { development: "pretty", production: "json" },
    example: "json",
  }),
  SLOW_REQUEST_MS: variable(integer(1, 600_000), "a whole number from 1 to 600000", {
    meaning: "Requests that take longer, in milliseconds, are logged as slow.",
    fallback: "1000",
    example: "500",
  }),
  SENTRY_DSN: optional(sentryDsn, "a Sentry DSN", {
    meaning: "Sentry DSN for unexpected errors and job check-ins. Unset: disabled.",
    example: "copy it from the settings of the project in Sentry",
    isSecret: true,
  }),
  SENTRY_SAMPLE_RATE: variable(share, "a number from 0 to 1", {
    meaning: "Share of requests whose timing is sent to Sentry, 0 to 1.",
    fallback: "0.1",
    example: "0.05",
  }),
  ALERT_WEBHOOK_URLS: variable(
    list(parseWebhook),
    "Slack or Discord webhooks, or other addresses with slack+ or discord+ in front",
    {
      meaning:
        "Slack or Discord webhooks that receive alerts, separated by commas. `slack+https://…` or `discord+https://…` for other services that accept one of the two formats.",
      fallback: "",
      example: "copy them from the settings of the channel",
      isSecret: true,
    },
  ),
  HEARTBEAT_URLS: variable(
    heartbeats,
    "one http or https address a job, such as backup=https://hc-ping.com/…, separated by commas",
    {
      meaning:
        "Addresses to request after each successful run of a job, such as `backup=https://hc-ping.com/…`, separated by commas; after a failed run with /fail appended.",
      fallback: "",
      example: "backup= and the address that healthchecks.io shows",
      isSecret: true,
    },
  ),
  ALERT_ERRORS_MAX: variable(integer(0, 10_000), "a whole number from 0 to 10000", {
    meaning: "Unexpected errors per instance in five minutes; more raise an alert.",
    fallback: "10",
    example: "25",
  }),
  MAIL_URL: optional(
    mailServer,
    "log:, smtp(s)://user:password@host:port, resend+https://:key@host or postmark+https://:token@host",
    {
      section: "Mail",
      meaning:
        "How mail is sent: `smtp://user:password@host` (STARTTLS) or `smtps://…`; where these ports are blocked, `resend+https://:key@api.resend.com` or `postmark+https://:token@api.postmarkapp.com`. `log:` sends nothing; `/dev/mailbox` shows the mails in development.",
      fallback: { development: "log:", production: "" },
      example: "smtps://user:password@mail.example.com",
      isSecret: true,
    },
  ),
  MAIL_FROM: optional(mailAddress, "an e-mail address", {
    meaning: "The From address; the display name is `SHOP_NAME`. Unset: no mail is sent.",
    fallback: { development: "shop@dev.example", test: "", production: "" },
    example: "billing@example.com",
  }),
  MAIL_ATTACH_PDF: variable(onOff, "on or off", {
    meaning: "Whether mails that send an invoice have its PDF attached: `on` or `off`.",
    fallback: "on",
    example: "off",
  }),
  SHOP_EMAIL: optional(mailAddress, "an e-mail address", {
    meaning:
      "The shop's mailbox. Receives enquiry, payment and incident notifications, and replies from clients. Unset: no notifications.",
    example: "owner@example.com",
  }),
  PESAPAL_BASE_URL: optional(gatewayUrl, "an https URL, or an http URL on this machine", {
    section: "Payment gateways",
    meaning:
      "Pesapal's API: `https://pay.pesapal.com/v3`, or `https://cybqa.pesapal.com/pesapalv3` for its sandbox. Unset: Pesapal is not offered.",
    example: "https://pay.pesapal.com/v3",
  }),
  PESAPAL_CONSUMER_KEY: credential("Consumer key of the Pesapal account.", FROM_PESAPAL),
  PESAPAL_CONSUMER_SECRET: credential("Consumer secret of the Pesapal account.", FROM_PESAPAL),
  AZAMPAY_AUTH_URL: optional(gatewayUrl, "an https URL, or an http URL on this machine", {
    meaning:
      "AzamPay's token service: `https://authenticator.azampay.co.tz`, or `https://authenticator-sandbox.azampay.co.tz` for its sandbox. Unset: AzamPay is not offered.",
    example: "https://authenticator.azampay.co.tz",
  }),
  AZAMPAY_CHECKOUT_URL: optional(gatewayUrl, "an https URL, or an http URL on this machine", {
    meaning:
      "AzamPay's checkout service: `https://checkout.azampay.co.tz`, or `https://sandbox.azampay.co.tz` for its sandbox.",
    example: "https://checkout.azampay.co.tz",
  }),
  AZAMPAY_APP_NAME: optional(line(100), "one line of up to 100 characters", {
    meaning: "Name of the app exactly as registered with AzamPay.",
    example: "WeTech",
  }),
  AZAMPAY_CLIENT_ID: credential("Client id of the AzamPay app.", FROM_AZAMPAY),
  AZAMPAY_CLIENT_SECRET: credential("Client secret of the AzamPay app.", FROM_AZAMPAY, 4_096),
  AZAMPAY_API_KEY: credential(
    "Token of the AzamPay app, also called its callback token.",
    FROM_AZAMPAY,
    4_096,
  ),
});

/** The name of a variable. */
export type Name = keyof typeof ENVIRONMENT.shape;

/** The values of the variables that are set, unparsed. */
export type Texts = Partial<Record<Name, string>>;

/** Every name, in order. */
// The keys of an object literal are exactly those of its type.
export const NAMES = Object.keys(ENVIRONMENT.shape) as readonly Name[];

/** The description of a variable. */
export function about(name: Name): Variable {
  // variable() and optional() register each one.
  return DESCRIPTIONS.get(ENVIRONMENT.shape[name])!;
}
