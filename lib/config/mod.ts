/**
 * Configuration: the environment, read once and checked as a whole.
 *
 * To add a variable, describe it in `variables.ts` and add a field to
 * {@linkcode Config} and a line to {@linkcode readConfig}.
 *
 * @module
 */
import {
  about,
  DEVELOPMENT_SECRET_KEY,
  ENVIRONMENT,
  type Name,
  NAMES,
  type Texts,
} from "./variables.ts";
import type { Heartbeat, MailServer, Webhook } from "./endpoints.ts";
import type { RateRule } from "./rate_rules.ts";
import {
  type AzamPayConfig,
  azampayOf,
  gatewayProblems,
  type PesapalConfig,
  pesapalOf,
} from "./gateways.ts";
import { integer, secretKey } from "./values.ts";
import type { Language } from "../languages.ts";
import type { Currency } from "../money.ts";

export type { AzamPayConfig, PesapalConfig } from "./gateways.ts";

/** Where the program runs: decides the defaults and the values that are refused. */
export type AppEnv = "development" | "test" | "production";

/** The lowest severity that is logged. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** The format of the log: one JSON object per line, or text for people. */
export type LogFormat = "json" | "pretty";

/** The object storage and its credentials. */
export interface S3Config {
  /** Its origin. */
  readonly endpoint: string;
  /** The service's name of the region. */
  readonly region: string;
  /** The access key. */
  readonly accessKeyId: string;
  /** The secret access key. */
  readonly secretAccessKey: string;
}

/** How many backups are kept. */
export interface Retention {
  /** Number of days (UTC) whose newest backup is kept; days without one do not count. */
  readonly dailies: number;
  /** The same for weeks, Monday to Sunday. */
  readonly weeklies: number;
  /** The same for months. */
  readonly monthlies: number;
}

/** Daily backups for a month, weekly for two months, monthly for a year. */
export const BACKUP_RETENTION: Retention = Object.freeze({
  dailies: 30,
  weeklies: 8,
  monthlies: 12,
});

/** The parsed environment. Frozen, including lists; byte arrays cannot be. */
export interface Config {
  /** Where the program runs. */
  readonly appEnv: AppEnv;
  /** Whether it runs on Deno Deploy, where only the assigned store can be opened. */
  readonly isDeploy: boolean;
  /** The build: up to 64 letters, digits, dots and hyphens; `dev` if unknown. */
  readonly appVersion: string;
  /** The address to listen on. */
  readonly host: string;
  /** The port to listen on, 0 to 65,535; 0 takes any free port. */
  readonly port: number;
  /** The origin of absolute links, without a trailing slash. */
  readonly publicUrl: string;
  /** Host names, without ports, that requests are accepted for. */
  readonly allowedHosts: readonly string[];
  /** Origins whose pages may call the API from a browser. */
  readonly corsOrigins: readonly string[];
  /** Number of trusted proxies in front of the program, 0 to 10. */
  readonly trustedProxyHops: number;
  /** The rate limits; empty for none. */
  readonly rateRules: readonly RateRule[];
  /** A file, `:memory:` or a KV Connect URL; `undefined` is the database that Deno Deploy assigns. */
  readonly kvPath: string | undefined;
  /** At least 32 bytes, for signatures and keyed digests. */
  readonly secretKey: Uint8Array<ArrayBuffer>;
  /** The key before the last rotation: still verifies, no longer signs. */
  readonly secretKeyPrevious: Uint8Array<ArrayBuffer> | undefined;
  /** An API key with every scope, for the first start; 24 to 256 characters. */
  readonly bootstrapApiKey: string | undefined;
  /** The currency of prices that name none. */
  readonly defaultCurrency: Currency;
  /** The ISO 3166 country of phone numbers written without a country code. */
  readonly defaultRegion: string;
  /** The IANA time zone of due dates and invoice years. */
  readonly timeZone: string;
  /** The prefix of invoice numbers, 1 to 8 capital letters. */
  readonly invoiceSeries: string;
  /** Days from issue to due date, 1 to 365. */
  readonly invoiceDueDays: number;
  /** Days relative to the due date on which buyers are reminded, -365 to 365, ascending. */
  readonly reminderDays: readonly number[];
  /** Where backups are stored, `file:` or `s3:`; undefined for no backups. */
  readonly storageUrl: string | undefined;
  /** Required for `s3:`; secret. */
  readonly s3: S3Config | undefined;
  /** 32 bytes that encrypt backups; undefined stores them unencrypted. */
  readonly backupEncryptionKey: Uint8Array<ArrayBuffer> | undefined;
  /** How many backups are kept. */
  readonly backupRetention: Retention;
  /** The lowest severity that is logged. */
  readonly logLevel: LogLevel;
  /** The format of the log. */
  readonly logFormat: LogFormat;
  /** Requests that take longer, in milliseconds, are logged as slow. */
  readonly slowRequestMs: number;
  /** Receives unexpected errors and job check-ins; secret. */
  readonly sentryDsn: string | undefined;
  /** The share of requests whose timing is sent to Sentry, 0 to 1. */
  readonly sentrySampleRate: number;
  /** The webhooks that receive alerts; secret. */
  readonly alertWebhooks: readonly Webhook[];
  /** Addresses to request after runs of jobs, at most one per job; secret. */
  readonly heartbeats: readonly Heartbeat[];
  /** Unexpected errors per instance in 5 minutes; more raise an alert. */
  readonly errorsMax: number;
  /** How mail is sent; `log` sends none; secret. */
  readonly mailServer: MailServer | undefined;
  /** Whether mails that send an invoice have its PDF attached. */
  readonly attachesPdf: boolean;
  /** The seller's name; one line, up to 80 characters. */
  readonly shopName: string;
  /** The lines of the seller's postal address; empty if not set. */
  readonly shopAddress: readonly string[];
  /** The seller's tax identification number. */
  readonly shopTaxId: string | undefined;
  /** The seller's phone number. */
  readonly shopPhone: string | undefined;
  /** The language of mails to buyers who chose none. */
  readonly defaultLanguage: Language;
  /** Pesapal's API and our account; undefined if not offered; secret. */
  readonly pesapal: PesapalConfig | undefined;
  /** AzamPay's API and our app; undefined if not offered; secret. */
  readonly azampay: AzamPayConfig | undefined;
  /** The From address, in lower case; undefined for no mail. */
  readonly mailFrom: string | undefined;
  /** The shop's mailbox for notifications and replies, in lower case. */
  readonly shopEmail: string | undefined;
}

/** A variable as README.md and .env.example show it. */
export interface VariableDescription {
  /** The heading of its section, the same for variables next to each other. */
  section: string;
  /** For example `PORT`. */
  name: string;
  /** One or two sentences in one line of Markdown. */
  meaning: string;
  /** The default in Markdown, or `none`. */
  fallback: string;
}

/** The environment is not acceptable; the message lists every problem. */
export class ConfigError extends Error {
  /** The name in logs. */
  override readonly name = "ConfigError";

  /** `problems` has one sentence per problem, without secrets. */
  constructor(readonly problems: readonly string[]) {
    const many = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    super(`The configuration has ${many}:\n${problems.map((line) => `  - ${line}`).join("\n")}`);
  }
}

/** The environment of this process. Only this function reads it. */
export function environment(): Record<string, string> {
  return Deno.env.toObject();
}

/**
 * Parses and checks the configuration in `env`. A blank value counts as unset;
 * unknown variables are ignored.
 *
 * @throws {ConfigError} with all problems, at most one per variable.
 */
export function readConfig(env: Record<string, string | undefined>): Config {
  const platform = readPlatform(env);
  const texts = readTexts(env, platform);
  const { success, data, error } = ENVIRONMENT.safeParse(texts);
  const problems = problemsTogether(texts, platform);
  for (const { path: [name], message } of error?.issues ?? []) {
    const isMissing = texts[name as Name] === undefined;
    problems.set(name as Name, isMissing ? "is required in production" : message);
  }
  if (!success || problems.size > 0) {
    const found = NAMES.filter((name) => problems.has(name));
    throw new ConfigError(found.map((name) => sentence(name, problems.get(name)!, texts[name])));
  }

  const local = data.APP_ENV === "production" ? [] : ["localhost", "127.0.0.1", "[::1]"];
  const hosts = [new URL(data.PUBLIC_URL).hostname, ...data.ALLOWED_HOSTS, ...local];
  return Object.freeze({
    appEnv: data.APP_ENV,
    isDeploy: platform.isDeploy,
    appVersion: data.APP_VERSION,
    host: data.HOST,
    port: data.PORT,
    publicUrl: data.PUBLIC_URL,
    allowedHosts: Object.freeze([...new Set(hosts)]),
    corsOrigins: Object.freeze(data.CORS_ORIGINS),
    trustedProxyHops: data.TRUSTED_PROXY_HOPS,
    rateRules: Object.freeze(data.RATE_LIMITS),
    kvPath: data.KV_PATH,
    secretKey: data.SECRET_KEY,
    secretKeyPrevious: data.SECRET_KEY_PREVIOUS,
    bootstrapApiKey: data.BOOTSTRAP_API_KEY,
    defaultCurrency: data.DEFAULT_CURRENCY,
    defaultRegion: data.DEFAULT_REGION,
    timeZone: data.TIME_ZONE,
    invoiceSeries: data.INVOICE_SERIES,
    invoiceDueDays: data.INVOICE_DUE_DAYS,
    reminderDays: data.REMINDER_DAYS,
    storageUrl: data.STORAGE_URL,
    s3: s3Of(texts),
    backupEncryptionKey: data.BACKUP_ENCRYPTION_KEY,
    backupRetention: BACKUP_RETENTION,
    logLevel: data.LOG_LEVEL,
    logFormat: data.LOG_FORMAT,
    slowRequestMs: data.SLOW_REQUEST_MS,
    sentryDsn: data.SENTRY_DSN,
    sentrySampleRate: data.SENTRY_SAMPLE_RATE,
    alertWebhooks: Object.freeze(data.ALERT_WEBHOOK_URLS),
    heartbeats: Object.freeze(data.HEARTBEAT_URLS),
    errorsMax: data.ALERT_ERRORS_MAX,
    mailServer: data.MAIL_URL,
    attachesPdf: data.MAIL_ATTACH_PDF,
    shopName: data.SHOP_NAME,
    shopAddress: Object.freeze(data.SHOP_ADDRESS),
    shopTaxId: data.SHOP_TAX_ID,
    shopPhone: data.SHOP_PHONE,
    defaultLanguage: data.DEFAULT_LANGUAGE,
    pesapal: pesapalOf(texts),
    azampay: azampayOf(texts),
    mailFrom: data.MAIL_FROM,
    shopEmail: data.SHOP_EMAIL,
  });
}

function s3Of(
  { S3_ENDPOINT, S3_REGION, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY }: Texts,
): S3Config | undefined {
  if (!S3_ENDPOINT || !S3_REGION || !S3_ACCESS_KEY_ID || !S3_SECRET_ACCESS_KEY) return undefined;
  return Object.freeze({
    endpoint: S3_ENDPOINT,
    region: S3_REGION,
    accessKeyId: S3_ACCESS_KEY_ID,
    secretAccessKey: S3_SECRET_ACCESS_KEY,
  });
}

/** Every variable that {@linkcode readConfig} reads, in the order of README.md. */
export function describeVariables(): VariableDescription[] {
  let section = "";
  return NAMES.map((name) => {
    const { section: heading = section, meaning, fallback } = about(name);
    section = heading;
    return { section, name, meaning, fallback: describeFallback(fallback) };
  });
}

function describeFallback(fallback: ReturnType<typeof about>["fallback"]): string {
  const shown = (text: string) => text === "" ? "none" : `\`${text}\``;
  if (fallback === undefined) return "none";
  if (typeof fallback === "string") return shown(fallback);
  const { development, test = development, production } = fallback;
  return [
    shown(development),
    ...(test === development ? [] : [`${shown(test)} in tests`]),
    production === undefined ? "required in production" : `${shown(production)} in production`,
  ].join("; ");
}

interface Platform {
  appEnv: AppEnv;
  isDeploy: boolean;
  /** Deno Deploy's name of the build. */
  revision: string | undefined;
}

function readPlatform(env: Record<string, string | undefined>): Platform {
  const revision = env.DENO_DEPLOY_BUILD_ID || env.DENO_DEPLOYMENT_ID || undefined;
  const isDeploy = Boolean(env.DENO_DEPLOYMENT_ID || env.DENO_DEPLOY);
  const named = env.APP_ENV?.trim();
  if (named === "development" || named === "test") return { appEnv: named, isDeploy, revision };
  // A misspelt value is checked by the rules of production, so that every problem shows at once.
  return { appEnv: named || isDeploy ? "production" : "development", isDeploy, revision };
}

/** The values of the variables that are set, and the defaults of the others. */
function readTexts(env: Record<string, string | undefined>, platform: Platform): Texts {
  const { appEnv, revision } = platform;
  const texts: Texts = {};
  for (const name of NAMES) {
    const text = env[name]?.trim() || fallbackOf(name, appEnv);
    if (text !== undefined) texts[name] = text;
  }
  if (!env.APP_ENV?.trim()) texts.APP_ENV = appEnv;
  if (!env.APP_VERSION?.trim() && revision) texts.APP_VERSION = revision;
  // An invalid port is reported under its own name.
  const port = String(integer(0, 65_535)(texts.PORT ?? "") ?? 0);
  texts.PUBLIC_URL &&= texts.PUBLIC_URL.replace("$PORT", port);
  return texts;
}

function fallbackOf(name: Name, appEnv: AppEnv): string | undefined {
  const { fallback } = about(name);
  if (typeof fallback !== "object") return fallback;
  if (appEnv === "production") return fallback.production || undefined;
  const { development, test = development } = fallback;
  return (appEnv === "test" ? test : development) || undefined;
}

const S3_NAMES = ["S3_ENDPOINT", "S3_REGION", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"] as const;

/** Of 32 random bytes about 30 are distinct; fewer than this suggest typed text. */
const DISTINCT_BYTES_MIN = 16;

/** Problems between variables, and values that production does not accept. */
function problemsTogether(texts: Texts, { appEnv, isDeploy }: Platform): Map<Name, string> {
  const problems = new Map<Name, string>();
  const { KV_PATH: path, DENO_KV_ACCESS_TOKEN: token } = texts;
  if (path && /^https?:/i.test(path) && !token) {
    problems.set("DENO_KV_ACCESS_TOKEN", "is required when KV_PATH is a URL");
  }
  if (texts.STORAGE_URL?.startsWith("s3:")) {
    for (const name of S3_NAMES) {
      if (!texts[name]) problems.set(name, "is required when STORAGE_URL starts with s3:");
    }
  }
  for (const [name, problem] of gatewayProblems(texts, appEnv === "production")) {
    problems.set(name, problem);
  }
  if (appEnv !== "production") {
    return isDeploy ? problems.set("APP_ENV", "must be production on Deno Deploy") : problems;
  }

  if (!path && !isDeploy) problems.set("KV_PATH", "is required in production");
  if (path === ":memory:") {
    problems.set("KV_PATH", "must be a store that survives a restart in production");
  }
  if (texts.RATE_LIMITS === "off") {
    problems.set("RATE_LIMITS", "must not be off in production");
  }
  if (texts.PUBLIC_URL?.startsWith("http:")) {
    problems.set("PUBLIC_URL", "must be https in production");
  }
  for (const name of ["SECRET_KEY", "SECRET_KEY_PREVIOUS"] as const) {
    const key = secretKey(texts[name] ?? "");
    if (!key) continue;
    if (new Set(key).size < DISTINCT_BYTES_MIN) problems.set(name, "must be random bytes");
    if (btoa(String.fromCharCode(...key)) === DEVELOPMENT_SECRET_KEY) {
      problems.set(name, "must not be the development default");
    }
  }
  for (const name of NAMES) {
    const { fallback } = about(name);
    const isRefused = typeof fallback === "object" && !fallback.production;
    if (isRefused && texts[name] === fallback.development) {
      problems.set(name, "must not be the development default");
    }
  }
  return problems;
}

/** A problem with the value found, unless that may be secret, and an example. */
function sentence(name: Name, problem: string, text: string | undefined): string {
  const { isSecret, example } = about(name);
  if (isSecret) return `${name} ${problem} (${example})`;
  // A URL may contain a password before its @.
  const isShown = text !== undefined && !text.includes("@");
  const found = isShown ? `, not ${JSON.stringify(text.slice(0, 80))}` : "";
  return `${name} ${problem}${found} (for example ${name}=${example})`;
}
