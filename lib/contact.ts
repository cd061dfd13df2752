/**
 * E-mail addresses and telephone numbers, each in one spelling, so that a returning
 * client is found.
 *
 * @module
 */
import type { CountryCode } from "libphonenumber-js/max";

/** A country by its ISO 3166-1 alpha-2 code in capitals, such as `TZ`. */
export type Region = string;

/** The limit of mail servers (RFC 5321, 4.5.3.1.3, without the angle brackets). */
const EMAIL_MAX_LENGTH = 254;
/** RFC 5321, 4.5.3.1.1. */
const EMAIL_LOCAL_MAX_LENGTH = 64;

/** The dot-atom of RFC 5322; quoted strings and comments do not occur in forms. */
const EMAIL_LOCAL = /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/i;
/** At least two labels of RFC 1035, the last not a number: a host name, not an address. */
const EMAIL_DOMAIN =
  /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])$/i;

/** What people write between digits: hyphens, dashes, brackets, points, slashes, spaces. */
const PHONE_PUNCTUATION = /[-\u2010-\u2015\u2212()./\t\p{Zs}]/gu;

/**
 * An e-mail address, trimmed and in lower case; null if `text` is not one. Accepted
 * are ASCII addresses with a plain local part of at most 64 characters, a domain with a
 * point, and at most 254 characters in all.
 *
 * Servers may distinguish capitals in the local part; none in common use does.
 */
export function normalizeEmail(text: string): string | null {
  const address = text.trim();
  if (address.length > EMAIL_MAX_LENGTH) return null;
  const at = address.lastIndexOf("@");
  const local = address.slice(0, Math.max(at, 0));
  if (local.length > EMAIL_LOCAL_MAX_LENGTH || !EMAIL_LOCAL.test(local)) return null;
  if (!EMAIL_DOMAIN.test(address.slice(at + 1))) return null;
  return address.toLowerCase();
}

/** Loads the number plans of all countries (about 20 ms), so that the first number does not wait. */
export async function loadPhones(): Promise<void> {
  await importPhones();
}

/**
 * A telephone number in E.164, such as `+255712345678`; null if `text` is not a valid
 * number of its country. Landlines are valid; short codes, extensions and numbers with
 * other text around them are not.
 *
 * @param region The country whose numbers may lack the country code or its `+`.
 */
export async function normalizePhone(text: string, region: Region): Promise<string | null> {
  const dialled = toDialled(text);
  if (dialled === null) return null;
  const { parsePhoneNumberFromString } = await importPhones();
  const number = parsePhoneNumberFromString(dialled, {
    defaultCountry: toCountryCode(region),
    extract: false,
  });
  return number?.isValid() ? number.number : null;
}

/**
 * Reads a field for either: an e-mail address if it contains `@`, otherwise a telephone
 * number. Null if it is neither.
 */
export async function parseContact(
  text: string,
  region: Region,
): Promise<{ email: string } | { phone: string } | null> {
  if (text.includes("@")) {
    const email = normalizeEmail(text);
    return email === null ? null : { email };
  }
  const phone = await normalizePhone(text, region);
  return phone === null ? null : { phone };
}

/** ASCII digits, after a `+` for an international number; null if other text remains. */
function toDialled(text: string): string | null {
  // Telephones wrap a copied number in invisible direction marks.
  const visible = text.replace(/\p{Cf}/gu, "").trim();
  const dialled = visible
    .replace(PHONE_PUNCTUATION, "")
    // Arabic, Eastern Arabic and full-width digits start at a multiple of 16.
    .replace(
      /[\u0660-\u0669\u06F0-\u06F9\uFF10-\uFF19]/g,
      (digit) => String(digit.charCodeAt(0) % 16),
    )
    .replace("\uFF0B", "+")
    // No country code starts with 0, and the exit codes of East Africa are 00 and 000.
    .replace(/^000?(?=[1-9])/, "+");
  return /^\+?\d+$/.test(dialled) ? dialled : null;
}

let phones: Promise<typeof import("libphonenumber-js/max")> | undefined;

/** Kept, since even an import that is loaded already costs more than reading a number. */
function importPhones(): Promise<typeof import("libphonenumber-js/max")> {
  return phones ??= import("libphonenumber-js/max");
}

/** The library ignores an unknown country, which its type does not allow. */
function toCountryCode(region: Region): CountryCode {
  return region as CountryCode;
}
