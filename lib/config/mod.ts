/**
 * Configuration: the environment, read once and checked all together.
 *
 * To add a variable, describe it in `config/variables.ts`, and give it a field of
 * {@linkcode Config} and its line in {@linkcode readConfig}.
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

/** Where the program runs: it decides the defaults and what is refused. */
export type AppEnv = "development" | "test" | "production";

/** The least severe record that is logged. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** How records are written: a JSON object a line, or a line for people. */
export type LogFormat = "json" | "pretty";

/** The object storage and its credentials. */
export interface S3Config {
  /** Its address, an origin. */
  readonly endpoint: string;
  /** As the service names it. */
  readonly region: string;
  /** The public half of the credentials. */
  readonly accessKeyId: string;
  /** The secret half. */
  readonly secretAccessKey: string;
}

/** How many backups are kept. */
export interface Retention {
  /** The newest backup of each of so many days (UTC) that have one. */
  readonly dailies: number;
  /** Of each of so many weeks, Monday to Sunday. */
  readonly weeklies: number;
  /** Of each of so many months. */
  readonly monthlies: number;
}

/** A month of days, two of weeks, a year of months. */
export const BACKUP_RETENTION: Retention = Object.freeze({
  dailies: 30,
  weeklies: 8,
  monthlies: 12,
});

/** What the environment says, parsed. Frozen, lists included; bytes cannot be. */
export interface Config {
  /** Where the program runs. */
  readonly appEnv: AppEnv;
  /** It runs on Deno Deploy, where no store but the assigned one can be opened. */
  readonly isDeploy: boolean;
  /** The build that runs: up to 64 letters, digits, dots, hyphens; `dev` if unknown. */
  readonly appVersion: string;
  /** The address to listen on. */
  readonly host: string;
  /** The port to listen on, 0 to 65,535; 0 lets the system choose. */
  readonly port: number;
  /** The origin that absolute links start with, without a slash at the end. */
  readonly publicUrl: string;
  /** Host names, without ports, that a request may be addressed to. */
  readonly allowedHosts: readonly string[];
  /** Origins whose pages may call the API from a browser. */
  readonly corsOrigins: readonly string[];
  /** How many proxies in front of the program are ours, 0 to 10. */
  readonly trustedProxyHops: number;
  /** How often whom is let in; empty for no limits. */
  readonly rateRules: readonly RateRule[];
  /** A file, `:memory:` or a KV Connect URL; `undefined` is the database that Deno Deploy assigns. */
  readonly kvPath: string | undefined;
  /** At least 32 bytes, for keyed hashes and signatures. */
  readonly secretKey: Uint8Array<ArrayBuffer>;
  /** The key before the last rotation: it still verifies, and signs nothing. */
  readonly secretKeyPrevious: Uint8Array<ArrayBuffer> | undefined;
  /** An API key with every scope, for the first start; at least 24 characters. */
  readonly bootstrapApiKey: string | undefined;
  /** What prices are in when nobody says. */
  readonly defaultCurrency: Currency;
  /** The ISO 3166 country of telephone numbers written without a country code. */
  readonly defaultRegion: string;
  /** The IANA time zone of business days: due dates, invoice years. */
  readonly timeZone: string;
  /** What invoice numbers start with, 1 to 8 capital letters. */
  readonly invoiceSeries: string;
  /** Days from issue to due, 1 to 365. */
  readonly invoiceDueDays: number;
  /** Days from an unpaid invoice's due date on which its buyer is reminded, less than 0 before it. */
  readonly reminderDays: readonly number[];
  /** Where backups are kept, `file:` or `s3:`; without it there are none. */
  readonly storageUrl: string | undefined;
  /** What `s3:` needs; secret. */
  readonly s3: S3Config | undefined;
  /** 32 bytes that backups are encrypted with; undefined to store them as they are. */
  readonly backupEncryptionKey: Uint8Array<ArrayBuffer> | undefined;
  /** How many backups are kept. */
  readonly backupRetention: Retention;
  /** The least severe record that is logged. */
  readonly logLevel: LogLevel;
  /** How records are written. */
  readonly logFormat: LogFormat;
  /** A request that takes longer, in milliseconds, is logged as slow. */
  readonly slowRequestMs: number;
  /** Where unexpected errors are told; secret. */
  readonly sentryDsn: string | undefined;
  /** The share of requests whose timing is told, 0 to 1. */
  readonly sentrySampleRate: number;
  /** Who is told when something is unwell; secret. */
  readonly alertWebhooks: readonly Webhook[];
  /** Who is told that a job did its work, one for a job at most; secret. */
  readonly heartbeats: readonly Heartbeat[];
  /** Unexpected errors of an instance in 5 minutes that nobody is told of. */
  readonly errorsMax: number;
  /** Where mail is given away; `log` for nowhere; secret. */
  readonly mailServer: MailServer | undefined;
  /** Whether an invoice's PDF goes with the mail that sends it. */
  readonly attachesPdf: boolean;
  /** The seller as invoices have it; one line, up to 80 characters. */
  readonly shopName: string;
  /** The seller's postal address, a line each; empty if it gave none. */
  readonly shopAddress: readonly string[];
  /** The seller's number with the tax authority. */
  readonly shopTaxId: string | undefined;
  /** Where buyers can ring. */
  readonly shopPhone: string | undefined;
  /** What buyers are written to in when nobody says. */
  readonly defaultLanguage: Language;
  /** How Pesapal is called, if it is offered; secret. */
  readonly pesapal: PesapalConfig | undefined;
  /** AzamPay's API and the app there; secret. */
  readonly azampay: AzamPayConfig | undefined;
  /** Who mail is from. */
  readonly mailFrom: string | undefined;
  /** Who is written to when something is unwell. */
  readonly shopEmail: string | undefined;
}

/** A variable as README.md and .env.example show it. */
export interface VariableDescription {
  /** Such as `PORT`. */
  name: string;
  /** A sentence or two, Markdown. */
  meaning: string;
  /** What holds when it is unset, Markdown. */
  fallback: string;
}

/** The environment is not acceptable; the message lists everything that is wrong with it. */
export class ConfigError extends Error {
  /** What the class is called in logs. */
  override readonly name = "ConfigError";

  /** Takes one sentence a problem; none of them quotes a secret. */
  constructor(readonly problems: readonly string[]) {
    const many = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    super(`The configuration has ${many}:\n${problems.map((line) => `  - ${line}`).join("\n")}`);
  }
}

/** The environment of this process. Nothing else in the program reads it. */
export function environment(): Record<string, string> {
  return Deno.env.toObject();
}

/**
 * Reads the configuration out of `env`. A blank value counts as unset, and a
 * variable that is not ours is not looked at.
 *
 * @throws {ConfigError} with every problem at once, one to a variable.
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

/** Every variable that {@linkcode readConfig} reads, in the order to show them. */
export function describeVariables(): VariableDescription[] {
  return NAMES.map((name) => {
    const { meaning, fallback } = about(name);
    return { name, meaning, fallback: describeFallback(fallback) };
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
  /** What Deno Deploy calls the build that runs. */
  revision: string | undefined;
}

function readPlatform(env: Record<string, string | undefined>): Platform {
  const revision = env.DENO_DEPLOY_BUILD_ID || env.DENO_DEPLOYMENT_ID || undefined;
  const isDeploy = Boolean(env.DENO_DEPLOYMENT_ID || env.DENO_DEPLOY);
  const said = env.APP_ENV?.trim();
  if (said === "development" || said === "test") return { appEnv: said, isDeploy, revision };
  // A misspelt one is held to the strictest rules, so that all is said at once.
  return { appEnv: said || isDeploy ? "production" : "development", isDeploy, revision };
}

/** What is set, and the defaults of what is not. */
function readTexts(env: Record<string, string | undefined>, platform: Platform): Texts {
  const { appEnv, revision } = platform;
  const texts: Texts = {};
  for (const name of NAMES) {
    const text = env[name]?.trim() || fallbackOf(name, appEnv);
    if (text !== undefined) texts[name] = text;
  }
  if (!env.APP_ENV?.trim()) texts.APP_ENV = appEnv;
  if (!env.APP_VERSION?.trim() && revision) texts.APP_VERSION = revision;
  // A bad port is a problem of its own.
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

/** Of 32 random bytes about 30 differ; with fewer than this a person typed them. */
const DISTINCT_BYTES_MIN = 16;

/** What shows only when variables are looked at together, or by the rules of production. */
function problemsTogether(texts: Texts, { appEnv, isDeploy }: Platform): Map<Name, string> {
  const problems = new Map<Name, string>();
  const { KV_PATH: path, DENO_KV_ACCESS_TOKEN: token } = texts;
  if (path && /^https?:/i.test(path) && !token) {
    problems.set("DENO_KV_ACCESS_TOKEN", "is required when KV_PATH is a URL");
  }
  if (texts.STORAGE_URL?.startsWith("s3:")) {
    for (const name of S3_NAMES) {
      if (!texts[name]) problems.set(name, "is required when STORAGE_URL is s3:");
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
    problems.set("KV_PATH", "must outlive a restart in production");
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
    if (new Set(key).size < DISTINCT_BYTES_MIN) problems.set(name, "must be random");
    if (btoa(String.fromCharCode(...key)) === DEVELOPMENT_SECRET_KEY) {
      problems.set(name, "must not be the default of development");
    }
  }
  for (const name of NAMES) {
    const { fallback } = about(name);
    const isOurs = typeof fallback === "object" && !fallback.production;
    if (isOurs && texts[name] === fallback.development) {
      problems.set(name, "must not be the default of development");
    }
  }
  return problems;
}

/** A problem, what was found unless it may be a secret, and how to do better. */
function sentence(name: Name, problem: string, text: string | undefined): string {
  const { isSecret, example } = about(name);
  if (isSecret) return `${name} ${problem} (${example})`;
  // A URL may have a password before its @.
  const isShown = text !== undefined && !text.includes("@");
  const found = isShown ? `, not ${JSON.stringify(text.slice(0, 80))}` : "";
  return `${name} ${problem}${found} (such as ${name}=${example})`;
}
