/**
 * What the text of a variable may say: each function here returns the value that
 * the text stands for, or `undefined` if it stands for none.
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
import { parseRules, RATE_RULES, type RateRule } from "./rate_rules.ts";
import { isLine } from "../text.ts";

/** A secret key is at least as long as the digests made with it. */
export const SECRET_KEY_BYTES_MIN = 32;

/** A URL may have * and more in its host; a host has not. */
const HOST = /^(?:[a-z\d._-]+|\[[a-f\d:.]+\])$/;

/** One of `words`, exactly. */
export function oneOf<T extends string>(...words: T[]): (value: string) => T | undefined {
  return (value) => words.find((word) => word === value);
}

/** A text that matches `pattern`. */
export function matching(pattern: RegExp): (value: string) => string | undefined {
  return (value) => pattern.test(value) ? value : undefined;
}

/** One line of plain text that can be shown as it is. */
export function line(max: number): (value: string) => string | undefined {
  return (value) => isLine(value) && value.length <= max ? value : undefined;
}

/** Lines of a postal address, separated by semicolons; none if `value` is empty. */
export function addressLines(value: string): string[] | undefined {
  return line(200)(value)?.split(";").map((part) => part.trim()).filter((part) => part !== "");
}

/** A whole number in decimal digits. */
export function integer(min: number, max: number): (value: string) => number | undefined {
  return (value) => {
    const number = /^\d{1,9}$/.test(value) ? Number(value) : NaN;
    return number >= min && number <= max ? number : undefined;
  };
}

/** Yes or no, as `on` or `off`. */
export function onOff(value: string): boolean | undefined {
  return value === "on" ? true : value === "off" ? false : undefined;
}

/** Different days from -365 to 365, separated by commas, in order; none if `value` is empty. */
export function dayOffsets(value: string): readonly number[] | undefined {
  const found = list((item) => {
    const days = /^-?\d{1,3}$/.test(item) ? Number(item) : NaN;
    // -0 is 0.
    return days >= -365 && days <= 365 ? days + 0 : undefined;
  })(value);
  return found && Object.freeze(found.sort((a, b) => a - b));
}

/** Several, separated by commas, without repetitions; none if `value` is empty. */
export function list<T>(
  parse: (value: string) => T | undefined,
): (value: string) => T[] | undefined {
  return (value) => {
    const items = value.split(",").map((item) => item.trim()).filter((item) => item !== "");
    const parsed = items.map(parse).filter((item) => item !== undefined);
    return parsed.length === items.length ? [...new Set(parsed)] : undefined;
  };
}

/** An http(s) URL that is nothing but an origin. */
export function origin(value: string): string | undefined {
  const url = URL.parse(value);
  if (!url || !/^https?:$/.test(url.protocol) || !HOST.test(url.hostname)) return undefined;
  return url.href === `${url.origin}/` && !/[?#]/.test(value) ? url.origin : undefined;
}

/** An origin as browsers send it, so that comparing is enough. */
export function exactOrigin(value: string): string | undefined {
  return origin(value) === value ? value : undefined;
}

/** Where a gateway's API begins, without a slash at the end; http only on this machine. */
export function gatewayUrl(value: string): string | undefined {
  const url = URL.parse(value);
  if (!url || !HOST.test(url.hostname) || /[?#@]/.test(value)) return undefined;
  const isHere = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== "https:" && !(isHere && url.protocol === "http:")) return undefined;
  return url.href.replace(/\/+$/, "");
}

/** A host name or an address, without a port, as a URL has it. */
export function hostName(value: string): string | undefined {
  const name = value.toLowerCase();
  return HOST.test(name) && URL.parse(`http://${name}/`)?.host === name ? name : undefined;
}

/** What `Deno.openKv` takes. */
export function kvPath(value: string): string | undefined {
  if (!/^[a-z][a-z\d+.-]+:\/\//i.test(value)) return value;
  return /^https?:$/.test(URL.parse(value)?.protocol ?? "") ? value : undefined;
}

/** Bytes in base64, or in its variant for URLs. */
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

/** A currency that prices may be in. */
export function currency(value: string): Currency | undefined {
  return isCurrency(value) ? value : undefined;
}

/** A country or territory of ISO 3166. */
export function region(value: string): string | undefined {
  const names = new Intl.DisplayNames("en", { type: "region", fallback: "none" });
  return /^[A-Z]{2}$/.test(value) && names.of(value) ? value : undefined;
}

/** A time zone that this Deno knows. */
export function timeZone(value: string): string | undefined {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: value }).resolvedOptions().timeZone && value;
  } catch {
    return undefined;
  }
}

/** Rate rules: the usual ones with the changes that `value` lists, or none for `off`. */
export function rateRules(value: string): readonly RateRule[] | undefined {
  if (value === "off") return [];
  return value === "" ? RATE_RULES : parseRules(value) ?? undefined;
}

/** A webhook for alerts. */
export function parseWebhook(value: string): Webhook | undefined {
  return parseWebhookUrl(value) ?? undefined;
}

/** Who listens for which job, one for a job. */
export function heartbeats(value: string): Heartbeat[] | undefined {
  const found = list((item) => parseHeartbeat(item) ?? undefined)(value);
  const isClear = found && new Set(found.map(({ job }) => job)).size === found.length;
  return isClear ? found : undefined;
}

/** A mail server, a mail API, or `log:` for neither. */
export function mailServer(value: string): MailServer | undefined {
  return parseMailUrl(value) ?? undefined;
}

/** An e-mail address, in lower case. */
export function mailAddress(value: string): string | undefined {
  return normalizeEmail(value) ?? undefined;
}

/** A DSN of Sentry: a public key, a host and the number of a project. */
export function sentryDsn(value: string): string | undefined {
  return isSentryDsn(value) ? value : undefined;
}

/** A part of a whole, in decimals. */
export function share(value: string): number | undefined {
  const number = /^(?:0|1|[01]?\.\d{1,6})$/.test(value) ? Number(value) : NaN;
  return number >= 0 && number <= 1 ? number : undefined;
}

/** A folder, or a bucket and a prefix in it. */
export function storageUrl(value: string): string | undefined {
  return /^(?:file:[^\0]{1,500}|s3:\/\/[\w.-]{3,63}(?:\/[\w./-]{0,200})?)$/.test(value)
    ? value
    : undefined;
}

/** A key of AES-256: exactly 32 bytes. */
export function encryptionKey(value: string): Uint8Array<ArrayBuffer> | undefined {
  const key = secretKey(value);
  return key?.length === SECRET_KEY_BYTES_MIN ? key : undefined;
}
