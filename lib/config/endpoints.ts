/**
 * Addresses of what is outside, as the configuration has them: what they may
 * be, and what they mean. All of them are secrets.
 *
 * @module
 */

/** Where mail is given away. */
export interface SmtpServer {
  /** A name or an address. */
  host: string;
  /** Usually 465 for `smtps:` and 587 for `smtp:`. */
  port: number;
  /** TLS from the first byte. */
  isImplicitTls: boolean;
  /** Who sends; null for a server that takes mail from anyone here. */
  credentials: { user: string; password: string } | null;
  /** Certificates, in PEM, of authorities to trust beside the usual ones. */
  ca?: string;
}

/** A mail API on the web, for where the ports of SMTP are closed. */
export interface MailApi {
  /** Whose: what it is asked differs. */
  api: "resend" | "postmark";
  /** Such as `https://api.resend.com`. */
  origin: string;
  /** Who sends. */
  key: string;
}

/** Whichever way mail is given away; `log` for none, but keeping it in this process. */
export type MailServer = SmtpServer | MailApi | "log";

const SMTP_PORT = 587;
const SMTPS_PORT = 465;

/**
 * Reads `smtp://user:password@host:port`, `smtps:…`, `resend+https://:key@host`,
 * `postmark+https:…`, or `log:`, whose mail goes nowhere. An API may be on plain
 * http on this machine only.
 *
 * @returns null if `text` is none of them
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
  const isHere = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== "https:" && !isHere) return null;
  const key = decoded(url.password);
  // It goes into a header.
  return key !== null && /^[\x21-\x7e]{1,256}$/.test(key) ? { api, origin: url.origin, key } : null;
}

/** Whether a URL has nothing after its host. */
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

/** A place on the web that takes notices. */
export interface Webhook {
  /** How it wants them. */
  format: "slack" | "discord";
  /** Secret. */
  url: string;
}

/**
 * Reads the address of a webhook. Its host tells the format; any other place
 * needs `slack+https:` or `discord+https:`, and may then be on plain http.
 *
 * @returns null if `text` is no such address
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

/** Who listens for a job. */
export interface Heartbeat {
  /** The job's name. */
  job: string;
  /** Secret. */
  url: string;
}

/** Reads `job=https://…`. @returns null if `text` is none */
export function parseHeartbeat(text: string): Heartbeat | null {
  const [, job = "", address = ""] = /^([\w-]{1,50})=(https?:\/\/.+)$/.exec(text) ?? [];
  const url = URL.parse(address);
  return url && url.hash === "" ? { job, url: url.href } : null;
}

/** Whether `text` is where Sentry, or what speaks its protocol, takes reports. */
export function isSentryDsn(text: string): boolean {
  const url = URL.parse(text);
  const isWeb = url?.protocol === "https:" || url?.protocol === "http:";
  return isWeb && /^\w+$/.test(url.username) && /^(?:\/[\w-]+)*\/\d+$/.test(url.pathname) &&
    url.search === "" && url.hash === "";
}
