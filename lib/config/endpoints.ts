/**
 * Parsers of the configured addresses of other services: mail, webhooks,
 * heartbeats, Sentry. All of these addresses are secrets.
 *
 * @module
 */
import { isLoopbackHost } from "../outgoing/mod.ts";

/** A server that accepts mail by SMTP. */
export interface SmtpServer {
  /** A host name or an IP address, without brackets. */
  host: string;
  /** By default 465 for `smtps:` and 587 for `smtp:`. */
  port: number;
  /** TLS from the first byte, instead of STARTTLS. */
  isImplicitTls: boolean;
  /** Null for a server that requires no authentication. */
  credentials: { user: string; password: string } | null;
  /** PEM certificates of authorities to trust beside the default ones. */
  ca?: string;
}

/** An HTTP API that sends mail, for hosts where the SMTP ports are blocked. */
export interface MailApi {
  /** The provider, which decides the form of requests. */
  api: "resend" | "postmark";
  /** Such as `https://api.resend.com`. */
  origin: string;
  /** The API key or server token; printable ASCII, up to 256 characters. Secret. */
  key: string;
}

/** How mail is sent; `log` sends none and keeps it in this process. */
export type MailServer = SmtpServer | MailApi | "log";

const SMTP_PORT = 587;
const SMTPS_PORT = 465;

/**
 * Parses `smtp://user:password@host:port`, `smtps:…`, `resend+https://:key@host`,
 * `postmark+https:…`, or `log:`, which sends nothing. Plain http is accepted for
 * an API on this machine only.
 *
 * @returns null if `text` is not one of these.
 */
export function parseMailUrl(text: string): MailServer | null {
  if (text === "log:") return "log";
  const [, api, address = ""] = /^(resend|postmark)\+(https?:\/\/.+)$/.exec(text) ?? [];
  if (api === "resend" || api === "postmark") return mailApiAt(api, address);
  return smtpServerAt(text);
}

function mailApiAt(api: MailApi["api"], address: string): MailApi | null {
  const url = URL.parse(address);
  if (!url || url.username !== "" || !isBare(url)) return null;
  if (url.protocol !== "https:" && !isLoopbackHost(url.hostname)) return null;
  const key = decoded(url.password);
  // The key is sent in a header.
  return key !== null && /^[\x21-\x7e]{1,256}$/.test(key) ? { api, origin: url.origin, key } : null;
}

/** Whether a URL has nothing after its host and port. */
function isBare({ pathname, search, hash }: URL): boolean {
  return /^\/?$/.test(pathname) && search === "" && hash === "";
}

function smtpServerAt(text: string): SmtpServer | null {
  const url = URL.parse(text);
  const isImplicitTls = url?.protocol === "smtps:";
  if (!url || !(isImplicitTls || url.protocol === "smtp:")) return null;
  if (url.hostname === "" || !isBare(url) || (url.username === "") !== (url.password === "")) {
    return null;
  }
  const [user, password] = [decoded(url.username), decoded(url.password)];
  if (user === null || password === null) return null;
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(url.port) || (isImplicitTls ? SMTPS_PORT : SMTP_PORT),
    isImplicitTls,
    credentials: user === "" ? null : { user, password },
  };
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** A webhook that receives alerts. */
export interface Webhook {
  /** The format of the messages. */
  format: "slack" | "discord";
  /** Secret. */
  url: string;
}

/**
 * Parses the address of a webhook. The hosts of Slack and Discord imply the
 * format; any other address needs `slack+` or `discord+` in front, and may use
 * plain http.
 *
 * @returns null if `text` is not such an address.
 */
export function parseWebhookUrl(text: string): Webhook | null {
  const [, prefix, address = ""] = /^(?:(slack|discord)\+)?(https?:\/\/.+)$/.exec(text) ?? [];
  const url = URL.parse(address);
  if (!url || url.hash !== "") return null;
  if (prefix === "slack" || prefix === "discord") return { format: prefix, url: url.href };
  if (url.protocol !== "https:") return null;
  if (url.hostname === "hooks.slack.com") return { format: "slack", url: url.href };
  const isDiscord = /^(?:\w+\.)?discord(?:app)?\.com$/.test(url.hostname);
  return isDiscord ? { format: "discord", url: url.href } : null;
}

/** The address to request after each run of a job. */
export interface Heartbeat {
  /** The job's name, up to 50 characters. */
  job: string;
  /** Secret. */
  url: string;
}

/** Parses `job=https://…`; http is accepted, too. @returns null if `text` is not of this form */
export function parseHeartbeat(text: string): Heartbeat | null {
  const [, job = "", address = ""] = /^([\w-]{1,50})=(https?:\/\/.+)$/.exec(text) ?? [];
  const url = URL.parse(address);
  return url && url.hash === "" ? { job, url: url.href } : null;
}

/** Whether `text` is a DSN of Sentry or of a service with the same protocol. */
export function isSentryDsn(text: string): boolean {
  const url = URL.parse(text);
  const isWeb = url?.protocol === "https:" || url?.protocol === "http:";
  return isWeb && /^\w+$/.test(url.username) && /^(?:\/[\w-]+)*\/\d+$/.test(url.pathname) &&
    url.search === "" && url.hash === "";
}
