/**
 * Money: an integer number of minor units and a currency. No arithmetic uses
 * fractions or mixes currencies.
 *
 * @module
 */
import { AppError, invalidField } from "./errors.ts";

/** The currencies of prices and payments, by their ISO 4217 codes. */
export const CURRENCIES = ["TZS", "KES", "UGX", "RWF", "USD", "EUR", "GBP"] as const;
/** One of {@linkcode CURRENCIES}. */
export type Currency = (typeof CURRENCIES)[number];

/**
 * Digits after the point, by ISO 4217, which gives the Tanzanian and Kenyan
 * shilling cents although nobody pays in them.
 */
const EXPONENTS: Readonly<Record<Currency, number>> = {
  TZS: 2,
  KES: 2,
  UGX: 0,
  RWF: 0,
  USD: 2,
  EUR: 2,
  GBP: 2,
};

/** An amount in one currency; negative for money that is returned. */
export interface Money {
  /** The currency of the amount. */
  currency: Currency;
  /** An integer: cents of a shilling or dollar, but whole Ugandan shillings. */
  minor: number;
}

/**
 * The largest absolute amount, in minor units: 10^14, a million million shillings.
 * That is 1/90 of what a number holds exactly, so that a sum of up to 90 amounts is
 * exact and can be checked after it was computed.
 */
export const MINOR_MAX = 100_000_000_000_000;

/** Currencies printed without cents when the amount has none. */
const CENTLESS: ReadonlySet<Currency> = new Set(["TZS", "KES"]);

const AMOUNT = /^(\d{1,15})(?:\.(\d{1,15}))?$/;

/** Whether `x` is a {@linkcode Currency}, in capitals. */
export function isCurrency(x: unknown): x is Currency {
  return typeof x === "string" && Object.hasOwn(EXPONENTS, x);
}

/**
 * `quantity` times `money`.
 *
 * @param options.path The field that the error names.
 * @throws {AppError} `invalid_input`, code `amount_too_large`, beyond
 * {@linkcode MINOR_MAX}; `not_a_quantity` if `quantity` is not an integer of at least 0.
 */
export function multiply(
  money: Money,
  quantity: number,
  { path = "" }: { path?: string } = {},
): Money {
  if (!Number.isSafeInteger(quantity) || quantity < 0) {
    throw invalidField(path, "The quantity must be a whole number of at least 0", "not_a_quantity");
  }
  return newMoney(money.minor * quantity, money.currency, path);
}

/**
 * The sum of `a` and `b`.
 *
 * @param options.path The field that the error names.
 * @throws {AppError} `invalid_input`, code `currency_mismatch`, unless both are
 * in one currency; `amount_too_large` beyond {@linkcode MINOR_MAX}.
 */
export function add(a: Money, b: Money, { path = "" }: { path?: string } = {}): Money {
  if (a.currency !== b.currency) {
    const message = `Cannot add ${b.currency} to ${a.currency}`;
    throw invalidField(path, message, "currency_mismatch");
  }
  return newMoney(a.minor + b.minor, a.currency, path);
}

/**
 * The amount as a decimal number with all its digits and no code, such as
 * `12500.50`: the form that {@linkcode parseMajor} reads and gateways expect.
 */
export function formatMajor({ minor, currency }: Money): string {
  const exponent = EXPONENTS[currency];
  const digits = String(Math.abs(minor)).padStart(exponent + 1, "0");
  const point = digits.length - exponent;
  const fraction = exponent === 0 ? "" : `.${digits.slice(point)}`;
  return `${minor < 0 ? "-" : ""}${digits.slice(0, point)}${fraction}`;
}

/**
 * The amount for people: `TZS 1,250,000` in English, `TSh 1,250,000` in Swahili.
 * The space does not break (U+00A0). Shillings are printed without cents when they
 * have none; dollars, euros and pounds always with cents.
 */
export function formatMoney(money: Money, locale: "en" | "sw" = "en"): string {
  return numberFormat(money.currency, locale).format(toNumeric(formatMajor(money)));
}

/**
 * Reads a decimal number such as `12500.50`: digits, and after a point at most as
 * many as the currency has, zeros included. Signs, exponents, spaces and thousands
 * separators are refused.
 *
 * @param options.path The field that the error names.
 * @throws {AppError} `invalid_input`, code `not_an_amount`, `too_many_decimals`
 * or `amount_too_large`.
 */
export function parseMajor(
  text: string,
  currency: Currency,
  { path = "" }: { path?: string } = {},
): Money {
  const [, whole, fraction = ""] = AMOUNT.exec(text) ?? [];
  if (whole === undefined) {
    throw invalidField(
      path,
      "The amount must be digits, such as 12500 or 12500.50",
      "not_an_amount",
    );
  }
  const exponent = EXPONENTS[currency];
  if (fraction.length > exponent) {
    const message = `${currency} has at most ${exponent} digits after the point`;
    throw invalidField(path, message, "too_many_decimals");
  }
  return newMoney(Number(whole + fraction.padEnd(exponent, "0")), currency, path);
}

/**
 * Checks the result of the arithmetic, which is enough: one beyond 2^53 may have been
 * rounded, but not below the limit.
 */
function newMoney(minor: number, currency: Currency, path = ""): Money {
  if (Math.abs(minor) > MINOR_MAX) {
    const most = formatMoney({ currency, minor: MINOR_MAX });
    throw invalidField(path, `The amount exceeds ${most}`, "amount_too_large");
  }
  if (!Number.isInteger(minor)) {
    throw new AppError("internal", "The amount is not a whole number of minor units");
  }
  // Turns -0 into 0.
  return { currency, minor: minor + 0 };
}

const numberFormats = new Map<string, Intl.NumberFormat>();

function numberFormat(currency: Currency, locale: string): Intl.NumberFormat {
  const key = `${locale} ${currency}`;
  let format = numberFormats.get(key);
  if (!format) {
    format = new Intl.NumberFormat(locale, {
      style: "currency",
      currency,
      trailingZeroDisplay: CENTLESS.has(currency) ? "stripIfInteger" : "auto",
    });
    numberFormats.set(key, format);
  }
  return format;
}

/** Intl reads a decimal string exactly; its type asks for a numeric one. */
function toNumeric(decimal: string): `${number}` {
  return decimal as `${number}`;
}
