/**
 * How people are reached: e-mail addresses and telephone numbers, each in one
 * spelling, so that a person who comes twice is found again.
 *
 * @module
 */
import type { CountryCode } from "libphonenumber-js/max";

/** A country by its ISO 3166-1 alpha-2 code in capitals, such as `TZ`. */
export type Region = string;

/** The codes that ISO 3166-1 assigns. */
const REGIONS: ReadonlySet<string> = new Set(
  ("AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR " +
    "BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO " +
    "DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT " +
    "GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP " +
    "KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR " +
    "MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN " +
    "PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX " +
    "SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN " +
    "VU WF WS YE YT ZA ZM ZW").split(" "),
);

/** What a mail server takes (RFC 5321, 4.5.3.1.3, less the angle brackets). */
const EMAIL_MAX_LENGTH = 254;
/** RFC 5321, 4.5.3.1.1. */
const EMAIL_LOCAL_MAX_LENGTH = 64;

/** RFC 5322's dot-atom, without quoted strings and comments, which no form meets. */
const EMAIL_LOCAL = /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/i;
/** At least two labels of RFC 1035, the last no number: a host by name, not by address. */
const EMAIL_DOMAIN =
  /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])$/i;

/** Hyphens and dashes, brackets, points, slashes and spaces: what people write between digits. */
const PHONE_PUNCTUATION = /[-\u2010-\u2015\u2212()./\t\p{Zs}]/gu;

/**
 * One spelling of an e-mail address: trimmed and all in lower case. Null for what
 * is no address: only ASCII, a plain local part of at most 64 characters, a
 * domain with a point, at most 254 characters in all.
 *
 * Servers may tell capitals apart in the local part; none that people use does.
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

/** Whether `text` is a {@linkcode Region}. */
export function isRegion(text: string): boolean {
  return REGIONS.has(text);
}

/** Loads the tables of the world's numbers (about 20 ms), which the first number would wait for. */
export async function loadPhones(): Promise<void> {
  await importPhones();
}

/**
 * One spelling of a telephone number: E.164, such as `+255712345678`. Null for
 * what is not a valid number of its country: landlines are, short codes and
 * extensions are not, nor is a number with anything else before or after it.
 *
 * @param region Whose numbers need no country code; theirs may also lack the `+`.
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
 * Reads a field that takes either: an e-mail address where there is an `@`,
 * otherwise a telephone number. Null for what is neither.
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

/** The digits as ASCII, after a `+` if it is an international number; null if there is more. */
function toDialled(text: string): string | null {
  // Telephones wrap a number that is copied in invisible marks of direction.
  const visible = text.replace(/\p{Cf}/gu, "").trim();
  const dialled = visible
    .replace(PHONE_PUNCTUATION, "")
    // Arabic, Eastern Arabic and full-width digits start at a multiple of 16.
    .replace(
      /[\u0660-\u0669\u06F0-\u06F9\uFF10-\uFF19]/g,
      (digit) => String(digit.charCodeAt(0) % 16),
    )
    .replace("\uFF0B", "+")
    // No country code starts with 0, and East Africa's exits are 00 and 000.
    .replace(/^000?(?=[1-9])/, "+");
  return /^\+?\d+$/.test(dialled) ? dialled : null;
}

function importPhones(): Promise<typeof import("libphonenumber-js/max")> {
  return import("libphonenumber-js/max");
}

/** The library passes over a country it does not know; its type cannot say so. */
function toCountryCode(region: Region): CountryCode {
  return region as CountryCode;
}
