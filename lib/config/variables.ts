/**
 * Every variable: its meaning, its default and its check. README.md and
 * .env.example are tested against this list.
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

/** Defaults that differ. */
export interface Fallbacks {
  /** On a laptop. */
  development: string;
  /** That of development, if it is left out. */
  test?: string;
  /** If it is left out, production must set the variable, and not to `development`. */
  production?: string;
}

/** What is to know about a variable. */
export interface Variable {
  /** A sentence or two, Markdown. */
  meaning: string;
  /** What holds when it is unset; `undefined` if that may be. */
  fallback?: string | Fallbacks;
  /** A good value, or for a secret where to get one. */
  example: string;
  /** Its value is never printed. */
  isSecret?: true;
}

const DESCRIPTIONS = z.registry<Variable>();

/** A variable whose text `parse` understands; what it has to be is `expected`. */
function variable<T>(parse: (text: string) => T | undefined, expected: string, about: Variable) {
  return z.string().transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: "custom", message: `must be ${expected}` });
    return z.NEVER;
  }).register(DESCRIPTIONS, about);
}

/** The same, for one that may stay unset. */
function optional<T>(parse: (text: string) => T | undefined, expected: string, about: Variable) {
  return variable(parse, expected, about).optional().register(DESCRIPTIONS, about);
}

/** Public by nature, so that a laptop needs no configuration; production refuses it. */
export const DEVELOPMENT_SECRET_KEY = btoa("development only, 32 bytes long!");

const API_KEY_LENGTH_MIN = 24;
const MAKE_KEY = "openssl rand -base64 32";

/** The environment, in the order in which README.md shows it. */
export const ENVIRONMENT = z.object({
  APP_ENV: variable(oneOf("development", "test", "production"), "development, test or production", {
    meaning:
      "Where it runs: `development`, `test` or `production`. Deno Deploy implies, and allows only, `production`.",
    fallback: "development",
    example: "production",
  }),
  APP_VERSION: variable(matching(/^[\w.+-]{1,64}$/), "1 to 64 letters, digits, dots or hyphens", {
    meaning: "The build, as shown by the health page. On Deno Deploy it is the revision.",
    fallback: "dev",
    example: "2026.11.0",
  }),
  HOST: variable(matching(/^[\w.:-]{1,253}$/), "a host name or an IP address", {
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
    meaning: "The only source of absolute links and callback addresses; https in production.",
    fallback: { development: "http://localhost:$PORT" },
    example: "https://shop.example.com",
  }),
  ALLOWED_HOSTS: variable(list(hostName), "host names without ports, separated by commas", {
    meaning:
      "More host names that requests may be addressed to, separated by commas. The one of `PUBLIC_URL` is always allowed.",
    fallback: "",
    example: "www.example.com,shop.example.com",
  }),
  CORS_ORIGINS: variable(
    list(exactOrigin),
    "exact origins, as browsers send them, separated by commas",
    {
      meaning: "Origins whose pages may call the API from a browser, separated by commas.",
      fallback: "",
      example: "https://example.com,https://www.example.com",
    },
  ),
  TRUSTED_PROXY_HOPS: variable(integer(0, 10), "a whole number from 0 to 10", {
    meaning: "How many proxies in front of the program are ours, and tell the visitor's address.",
    fallback: "0",
    example: "1",
  }),
  RATE_LIMITS: variable(rateRules, "off, or rules such as lead_post=10/1m", {
    meaning:
      "Other limits than the usual ones, such as `lead_post=20/1m,key_write=100/10s`; `off`, for none, only outside production.",
    fallback: "",
    example: "lead_post=20/1m",
  }),
  KV_PATH: optional(kvPath, "a file, :memory: or an http(s) URL", {
    meaning:
      "The store: a file, `:memory:`, or the URL of a KV Connect server. Unset on Deno Deploy it is the assigned database.",
    fallback: { development: ".data/wetech.kv", test: ":memory:" },
    example: "/var/lib/wetech/wetech.kv",
  }),
  DENO_KV_ACCESS_TOKEN: optional(String, "the token of the KV Connect server", {
    meaning: "The token for the KV Connect server; required when `KV_PATH` is a URL.",
    example: "copy it from the settings of the KV Connect server",
    isSecret: true,
  }),
  SECRET_KEY: variable(secretKey, `at least ${SECRET_KEY_BYTES_MIN} bytes in base64`, {
    meaning:
      `At least 32 random bytes in base64, for keyed hashes and signatures: \`${MAKE_KEY}\`.`,
    fallback: { development: DEVELOPMENT_SECRET_KEY },
    example: MAKE_KEY,
    isSecret: true,
  }),
  SECRET_KEY_PREVIOUS: optional(secretKey, `at least ${SECRET_KEY_BYTES_MIN} bytes in base64`, {
    meaning: "The `SECRET_KEY` before the last rotation: what it signed stays valid.",
    example: "the SECRET_KEY until now",
    isSecret: true,
  }),
  BOOTSTRAP_API_KEY: optional(
    matching(new RegExp(`^[\\x21-\\x7e]{${API_KEY_LENGTH_MIN},256}$`)),
    `${API_KEY_LENGTH_MIN} to 256 characters without spaces`,
    {
      meaning:
        "An API key with every scope, to make the first ones with; unset it again afterwards. Optional in production.",
      fallback: { development: "dev-bootstrap-api-key-000", production: "" },
      example: MAKE_KEY,
      isSecret: true,
    },
  ),
  DEFAULT_CURRENCY: variable(currency, `one of ${CURRENCIES.join(", ")}`, {
    meaning: "The currency of prices when nobody says.",
    fallback: "TZS",
    example: "KES",
  }),
  DEFAULT_REGION: variable(region, "the two capital letters of a country in ISO 3166", {
    meaning: "The country of telephone numbers that are written without a country code.",
    fallback: "TZ",
    example: "KE",
  }),
  TIME_ZONE: variable(timeZone, "a time zone of the IANA database", {
    meaning: "The time zone of business days: due dates and invoice years.",
    fallback: "Africa/Dar_es_Salaam",
    example: "Africa/Nairobi",
  }),
  INVOICE_SERIES: variable(matching(/^[A-Z]{1,8}$/), "1 to 8 capital letters", {
    meaning: "What invoice numbers start with.",
    fallback: "INV",
    example: "INV",
  }),
  INVOICE_DUE_DAYS: variable(integer(1, 365), "a whole number from 1 to 365", {
    meaning: "Days from the issue of an invoice until it is due.",
    fallback: "14",
    example: "30",
  }),
  REMINDER_DAYS: variable(dayOffsets, "days such as -3,1,7,14, from -365 to 365", {
    meaning:
      "Days from the due date on which buyers are reminded of an unpaid invoice, separated by commas, with a minus before it; unset, on none.",
    fallback: "",
    example: "-3,1,7,14",
  }),
  SHOP_NAME: variable(line(80), "one line of up to 80 characters", {
    meaning: "The seller, as invoices and their pages have it.",
    fallback: "WeTech",
    example: "WeTech Ltd",
  }),
  SHOP_ADDRESS: variable(addressLines, "up to 200 characters without line ends", {
    meaning: "Its postal address on invoices; a semicolon ends a line.",
    fallback: "",
    example: "Samora Avenue 12; Dar es Salaam; Tanzania",
  }),
  SHOP_TAX_ID: optional(line(40), "one line of up to 40 characters", {
    meaning: "Its number with the tax authority, on invoices.",
    example: "100-200-300",
  }),
  SHOP_PHONE: optional(matching(/^\+?[\d ()-]{5,24}$/), "a telephone number", {
    meaning: "Where buyers can ring, on invoices and their pages.",
    example: "+255 712 345 678",
  }),
  DEFAULT_LANGUAGE: variable(oneOf("en", "sw"), "en or sw", {
    meaning: "What buyers are written to in when nobody says: `en` for English, `sw` for Swahili.",
    fallback: "en",
    example: "sw",
  }),
  STORAGE_URL: optional(storageUrl, "file: and a folder, or s3://bucket/prefix", {
    meaning:
      "Where backups are kept: `file:` and a folder, or `s3://bucket/prefix`. Unset, there are none.",
    fallback: { development: "file:.data/backups", production: "" },
    example: "s3://wetech-backups/production",
  }),
  S3_ENDPOINT: optional(origin, "an http or https URL with a host and nothing after it", {
    meaning: "The object storage that `s3:` means; one that begins with the bucket is asked by it.",
    example: "https://s3.eu-west-1.amazonaws.com",
  }),
  S3_REGION: optional(matching(/^[\w-]{1,64}$/), "1 to 64 letters, digits or hyphens", {
    meaning: "The region of the object storage; some want `auto` or `us-east-1`.",
    example: "eu-west-1",
  }),
  S3_ACCESS_KEY_ID: optional(matching(/^[\x21-\x7e]{1,256}$/), "an access key", {
    meaning: "The public half of the credentials for the object storage.",
    example: "copy it from the settings of the object storage",
    isSecret: true,
  }),
  S3_SECRET_ACCESS_KEY: optional(matching(/^[\x21-\x7e]{1,256}$/), "a secret access key", {
    meaning: "The secret half.",
    example: "copy it from the settings of the object storage",
    isSecret: true,
  }),
  BACKUP_ENCRYPTION_KEY: optional(encryptionKey, "exactly 32 bytes in base64", {
    meaning:
      `32 random bytes in base64 that backups are encrypted with: \`${MAKE_KEY}\`. Without it no backup of its time can be read: keep it elsewhere, too.`,
    example: MAKE_KEY,
    isSecret: true,
  }),
  LOG_LEVEL: variable(oneOf("debug", "info", "warn", "error"), "debug, info, warn or error", {
    meaning: "The least severe record that is logged: `debug`, `info`, `warn` or `error`.",
    fallback: "info",
    example: "debug",
  }),
  LOG_FORMAT: variable(oneOf("json", "pretty"), "json or pretty", {
    meaning: "`json` for machines, `pretty` for people.",
    fallback: { development: "pretty", production: "json" },
    example: "json",
  }),
  SENTRY_DSN: optional(sentryDsn, "a DSN of Sentry", {
    meaning: "Where unexpected errors and the runs of jobs are told; unset, nowhere.",
    example: "copy it from the settings of the project in Sentry",
    isSecret: true,
  }),
  SENTRY_SAMPLE_RATE: variable(share, "a number from 0 to 1", {
    meaning: "The share of requests whose timing is told to Sentry.",
    fallback: "0.1",
    example: "0.05",
  }),
  ALERT_WEBHOOK_URLS: variable(
    list(parseWebhook),
    "webhooks of Slack or Discord, or slack+https: or discord+https: and any place",
    {
      meaning:
        "Who is told when something is unwell: webhooks of Slack or Discord, separated by commas; `slack+https://…` or `discord+https://…` for other places that take their format.",
      fallback: "",
      example: "copy them from the settings of the channel",
      isSecret: true,
    },
  ),
  HEARTBEAT_URLS: variable(
    heartbeats,
    "jobs and http or https addresses, such as backup=https://hc-ping.com/…, separated by commas",
    {
      meaning:
        "Who is told that a job did its work, such as `backup=https://hc-ping.com/…`, separated by commas; of a failure the same address with `/fail` is told.",
      fallback: "",
      example: "backup= and the address that healthchecks.io shows",
      isSecret: true,
    },
  ),
  ALERT_ERRORS_MAX: variable(integer(0, 10_000), "a whole number from 0 to 10000", {
    meaning: "Unexpected errors of an instance in five minutes that nobody is told of.",
    fallback: "10",
    example: "25",
  }),
  MAIL_URL: optional(
    mailServer,
    "log:, smtp(s)://user:password@host:port, or resend+https: or postmark+https: and ://:key@host",
    {
      meaning:
        "Where mail is given away: `smtp://` (with STARTTLS) or `smtps://`, user and password in it; or, where those ports are closed, `resend+https://:key@api.resend.com` or `postmark+https://:token@api.postmarkapp.com`. `log:` sends nothing: in development `/dev/mailbox` shows it.",
      fallback: { development: "log:", production: "" },
      example: "smtps://user:password@mail.example.com",
      isSecret: true,
    },
  ),
  MAIL_FROM: optional(mailAddress, "an e-mail address", {
    meaning: "Who mail is from, by the name of `SHOP_NAME`; without it none is sent.",
    fallback: { development: "shop@dev.example", test: "", production: "" },
    example: "billing@example.com",
  }),
  MAIL_ATTACH_PDF: variable(onOff, "on or off", {
    meaning: "Whether the PDF of an invoice goes with the mail that sends it: `on` or `off`.",
    fallback: "on",
    example: "off",
  }),
  SHOP_EMAIL: optional(mailAddress, "an e-mail address", {
    meaning:
      "Who is written to of enquiries, payments, and when something is unwell, and gets what clients answer; without it nobody is and does.",
    example: "owner@example.com",
  }),
  PESAPAL_BASE_URL: optional(gatewayUrl, "an https URL; http only on this machine", {
    meaning:
      "The API of Pesapal: `https://pay.pesapal.com/v3`, or `https://cybqa.pesapal.com/pesapalv3` to try it. Unset, Pesapal is not offered.",
    example: "https://pay.pesapal.com/v3",
  }),
  PESAPAL_CONSUMER_KEY: optional(matching(/^[\x21-\x7e]{1,256}$/), "a consumer key", {
    meaning: "The account's key at Pesapal.",
    example: "copy it from the mail of Pesapal",
    isSecret: true,
  }),
  PESAPAL_CONSUMER_SECRET: optional(matching(/^[\x21-\x7e]{1,256}$/), "a consumer secret", {
    meaning: "The secret that belongs to it.",
    example: "copy it from the mail of Pesapal",
    isSecret: true,
  }),
  AZAMPAY_AUTH_URL: optional(gatewayUrl, "an https URL; http only on this machine", {
    meaning:
      "Where AzamPay gives tokens: `https://authenticator.azampay.co.tz`, or `https://authenticator-sandbox.azampay.co.tz` to try it. Unset, AzamPay is not offered.",
    example: "https://authenticator.azampay.co.tz",
  }),
  AZAMPAY_CHECKOUT_URL: optional(gatewayUrl, "an https URL; http only on this machine", {
    meaning:
      "Where AzamPay takes payments: `https://checkout.azampay.co.tz`, or `https://sandbox.azampay.co.tz` to try it.",
    example: "https://checkout.azampay.co.tz",
  }),
  AZAMPAY_APP_NAME: optional(line(100), "one line of up to 100 characters", {
    meaning: "The app as it is registered at AzamPay, letter for letter.",
    example: "WeTech",
  }),
  AZAMPAY_CLIENT_ID: optional(matching(/^[\x21-\x7e]{1,256}$/), "a client id", {
    meaning: "The app's client id.",
    example: "copy it from the app's page at AzamPay",
    isSecret: true,
  }),
  AZAMPAY_CLIENT_SECRET: optional(matching(/^[\x21-\x7e]{1,4096}$/), "a client secret", {
    meaning: "The secret that belongs to it.",
    example: "copy it from the app's page at AzamPay",
    isSecret: true,
  }),
  AZAMPAY_API_KEY: optional(matching(/^[\x21-\x7e]{1,4096}$/), "a callback token", {
    meaning: "What AzamPay calls the token, or callback token, of the app.",
    example: "copy it from the app's page at AzamPay",
    isSecret: true,
  }),
  SLOW_REQUEST_MS: variable(integer(1, 600_000), "a whole number from 1 to 600000", {
    meaning: "A request that takes longer, in milliseconds, is logged as slow.",
    fallback: "1000",
    example: "500",
  }),
});

/** What a variable is called. */
export type Name = keyof typeof ENVIRONMENT.shape;

/** The texts of the variables that are set. */
export type Texts = Partial<Record<Name, string>>;

/** Every name, in order. */
// An object literal has no other keys than its type says.
export const NAMES = Object.keys(ENVIRONMENT.shape) as readonly Name[];

/** What is to know about the variable `name`. */
export function about(name: Name): Variable {
  // variable() and optional() register all of them.
  return DESCRIPTIONS.get(ENVIRONMENT.shape[name])!;
}
