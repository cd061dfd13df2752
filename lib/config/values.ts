/**
 * Parsers of variables: each returns the value of a text, or `undefined` if the
 * text is not acceptable.
 *
 * @module
 */
import {
  type Heartbeat,
  isSentryDsn,
  type MailServer,
  parseHeartbeat,
  parseMailUrl,
  parseWebhookUrl,
  type Webhook,
} from "./endpoints.ts";
import { normalizeEmail } from "../contact.ts";
import { type Currency, isCurrency } from "../money.ts";
import { isLoopbackHost } from "../outgoing/mod.ts";
import { parseRules, RATE_RULES, type RateRule } from "./rate_rules.ts";
import { isLine } from "../text.ts";

/** A secret key is at least as long as the SHA-256 digests made with it. */
export const SECRET_KEY_BYTES_MIN = 32;

/** URLs accept `*` and other characters in a host that no host name has. */
const HOST = /^(?:[a-z\d._-]+|\[[a-f\d:.]+\])$/;

/** Exactly one of `words`. */
export function oneOf<T extends string>(...words: T[]): (value: string) => T | undefined {
  return (value) => words.find((word) => word === value);
}

/** A text that matches `pattern`. */
export function matching(pattern: RegExp): (value: string) => string | undefined {
  return (value) => pattern.test(value) ? value : undefined;
}

/** One line of plain text without control characters, up to `max` characters. */
export function line(max: number): (value: string) => string | undefined {
  return (value) => isLine(value) && value.length <= max ? value : undefined;
}

/** The lines of a postal address of up to 200 characters, separated by semicolons. */
export function addressLines(value: string): string[] | undefined {
  return line(200)(value)?.split(";").map((part) => part.trim()).filter((part) => part !== "");
}

/** A whole number from `min` to `max`, in up to nine decimal digits. */
export function integer(min: number, max: number): (value: string) => number | undefined {
  return (value) => {
    const number = /^\d{1,9}$/.test(value) ? Number(value) : NaN;
    return number >= min && number <= max ? number : undefined;
  };
}

/** A boolean, as `on` or `off`. */
export function onOff(value: string): boolean | undefined {
  return value === "on" ? true : value === "off" ? false : undefined;
}

/** Days from -365 to 365, separated by commas: sorted, without duplicates. */
export function dayOffsets(value: string): readonly number[] | undefined {
  const found = list((item) => {
    const days = /^-?\d{1,3}$/.test(item) ? Number(item) : NaN;
    // Turns -0 into 0.
    return days >= -365 && days <= 365 ? days + 0 : undefined;
  })(value);
  return found && Object.freeze(found.sort((a, b) => a - b));
}

/** Items separated by commas, without duplicates; an empty text is an empty list. */
export function list<T>(
  parse: (value: string) => T | undefined,
): (value: string) => T[] | undefined {
  return (value) => {
    const items = value.split(",").map((item) => item.trim()).filter((item) => item !== "");
    const parsed = items.map(parse).filter((item) => item !== undefined);
    return parsed.length === items.length ? [...new Set(parsed)] : undefined;
  };
}

/** An http or https URL with nothing after its host and port. */
export function origin(value: string): string | undefined {
  const url = URL.parse(value);
  if (!url || !/^https?:$/.test(url.protocol) || !HOST.test(url.hostname)) return undefined;
  return url.href === `${url.origin}/` && !/[?#]/.test(value) ? url.origin : undefined;
}

/** An origin exactly as browsers send it, so that it can be compared as text. */
export function exactOrigin(value: string): string | undefined {
  return origin(value) === value ? value : undefined;
}

/** The base address of a gateway's API, without a trailing slash; http only on this machine. */
export function gatewayUrl(value: string): string | undefined {
  const url = URL.parse(value);
  if (!url || !HOST.test(url.hostname) || /[?#@]/.test(value)) return undefined;
  const isPlain = url.protocol === "http:" && isLoopbackHost(url.hostname);
  if (url.protocol !== "https:" && !isPlain) return undefined;
  return url.href.replace(/\/+$/, "");
}

/** A host name or an IP address without a port, in the form that URLs use. */
export function hostName(value: string): string | undefined {
  const name = value.toLowerCase();
  return HOST.test(name) && URL.parse(`http://${name}/`)?.host === name ? name : undefined;
}

/** A path or URL that `Deno.openKv` accepts. */
export function kvPath(value: string): string | undefined {
  if (!/^[a-z][a-z\d+.-]+:\/\//i.test(value)) return value;
  return /^https?:$/.test(URL.parse(value)?.protocol ?? "") ? value : undefined;
}

/** At least 32 bytes in base64 or base64url. */
export function secretKey(value: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[\w+/-]+={0,2}$/.test(value)) return undefined;
  try {
    const text = atob(value.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
    return bytes.length >= SECRET_KEY_BYTES_MIN ? bytes : undefined;
  } catch {
    return undefined;
  }
}

/** A currency that prices can have. */
export function currency(value: string): Currency | undefined {
  return isCurrency(value) ? value : undefined;
}

/** A country or territory of ISO 3166, as two capital letters. */
export function region(value: string): string | undefined {
  const names = new Intl.DisplayNames("en", { type: "region", fallback: "none" });
  return /^[A-Z]{2}$/.test(value) && names.of(value) ? value : undefined;
}

/** An IANA time zone that this version of Deno supports. */
export function timeZone(value: string): string | undefined {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: value }).resolvedOptions().timeZone && value;
  } catch {
    return undefined;
  }
}

/** The default rate rules with the changes listed in `value`; no rules for `off`. */
export function rateRules(value: string): readonly RateRule[] | undefined {
  if (value === "off") return [];
  return value === "" ? RATE_RULES : parseRules(value) ?? undefined;
}

/** A Slack or Discord webhook for alerts. */
export function parseWebhook(value: string): Webhook | undefined {
  return parseWebhookUrl(value) ?? undefined;
}

/** Heartbeat addresses, at most one per job. */
export function heartbeats(value: string): Heartbeat[] | undefined {
  const found = list((item) => parseHeartbeat(item) ?? undefined)(value);
  const isClear = found && new Set(found.map(({ job }) => job)).size === found.length;
  return isClear ? found : undefined;
}

/** A mail server, a mail API, or `log:`. */
export function mailServer(value: string): MailServer | undefined {
  return parseMailUrl(value) ?? undefined;
}

/** An email address, in lower case. */
export function mailAddress(value: string): string | undefined {
  return normalizeEmail(value) ?? undefined;
}

/** A Sentry DSN: a public key, a host and a project number. */
export function sentryDsn(value: string): string | undefined {
  return isSentryDsn(value) ? value : undefined;
}

/** A fraction from 0 to 1, with up to six decimals. */
export function share(value: string): number | undefined {
  const number = /^(?:0|1|[01]?\.\d{1,6})$/.test(value) ? Number(value) : NaN;
  return number >= 0 && number <= 1 ? number : undefined;
}

/** `file:` and a folder, or `s3://` with a bucket and an optional prefix. */
export function storageUrl(value: string): string | undefined {
  return /^(?:file:[^\0]{1,500}|s3:\/\/[\w.-]{3,63}(?:\/[\w./-]{0,200})?)$/.test(value)
    ? value
    : undefined;
}

/** An AES-256 key: exactly 32 bytes. */
export function encryptionKey(value: string): Uint8Array<ArrayBuffer> | undefined {
  const key = secretKey(value);
  return key?.length === SECRET_KEY_BYTES_MIN ? key : undefined;
}
