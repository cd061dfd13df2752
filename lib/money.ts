/**
 * Money: an integer number of minor units and a currency. Amounts never pass
 * through a fraction, and two currencies never meet.
 *
 * @module
 */
import { AppError, invalidField } from "./errors.ts";

/** A currency that prices and payments may be in, by its ISO 4217 code. */
export type Currency = "TZS" | "KES" | "UGX" | "RWF" | "USD" | "EUR" | "GBP";

/**
 * Digits after the point, by ISO 4217. The cents of the Tanzanian and Kenyan
 * shilling exist there though no one pays in them.
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

/** Every {@linkcode Currency}. */
export const CURRENCIES: readonly Currency[] = Object.freeze(
  // An object literal has no other keys than its type says.
  Object.keys(EXPONENTS) as Currency[],
);

/** An amount in one currency; negative where money goes back. */
export interface Money {
  /** What the amount is counted in. */
  currency: Currency;
  /** An integer: cents of a shilling or dollar, but whole Ugandan shillings. */
  minor: number;
}

/**
 * The greatest amount either way, in minor units: 10^14, a million million
 * shillings. That is 1/90 of what a number holds exactly, so that a sum can be
 * taken first and checked after, and even 90 amounts together are exact.
 */
export const MINOR_MAX = 100_000_000_000_000;

/** Currencies whose cents are left out when there are none. */
const CENTLESS: ReadonlySet<Currency> = new Set(["TZS", "KES"]);

const AMOUNT = /^(\d{1,15})(?:\.(\d{1,15}))?$/;

/** Whether `x` is the code of a {@linkcode Currency}, in capitals. */
export function isCurrency(x: unknown): x is Currency {
  return typeof x === "string" && Object.hasOwn(EXPONENTS, x);
}

/** How many digits `currency` has after the point, by ISO 4217. */
export function exponentOf(currency: Currency): number {
  return EXPONENTS[currency];
}

/**
 * `quantity` times `money`.
 *
 * @param options.path What the error is about.
 * @throws {AppError} `invalid_input`, code `amount_too_large`, beyond
 * {@linkcode MINOR_MAX}; `not_a_quantity` if `quantity` is no integer from 0 up.
 */
export function multiply(
  money: Money,
  quantity: number,
  { path = "" }: { path?: string } = {},
): Money {
  if (!Number.isSafeInteger(quantity) || quantity < 0) {
    throw invalidField(path, "A quantity is a whole number from 0 up", "not_a_quantity");
  }
  return newMoney(money.minor * quantity, money.currency, path);
}

/**
 * `a` and `b` together.
 *
 * @param options.path What the error is about.
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
 * `12500.50`: what {@linkcode parseMajor} reads and gateways ask for.
 */
export function formatMajor({ minor, currency }: Money): string {
  const exponent = exponentOf(currency);
  const digits = String(Math.abs(minor)).padStart(exponent + 1, "0");
  const point = digits.length - exponent;
  const fraction = exponent === 0 ? "" : `.${digits.slice(point)}`;
  return `${minor < 0 ? "-" : ""}${digits.slice(0, point)}${fraction}`;
}

/**
 * The amount for people: `TZS 1,250,000` in English, `TSh 1,250,000` in Swahili.
 * The space is one that does not break (U+00A0). Shillings are printed without
 * cents when they have none, dollars, euros and pounds always with.
 */
export function formatMoney(money: Money, locale: "en" | "sw" = "en"): string {
  return numberFormat(money.currency, locale).format(toNumeric(formatMajor(money)));
}

/**
 * Reads a decimal number such as `12500.50`: digits, and after a point at most
 * as many as the currency has, zeros included. No sign, exponent, space or
 * separator of thousands is understood.
 *
 * @param options.path Where the text stood, for the error to say.
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
    throw invalidField(path, "An amount is digits, such as 12500 or 12500.50", "not_an_amount");
  }
  const exponent = exponentOf(currency);
  if (fraction.length > exponent) {
    const message = `${currency} has at most ${exponent} digits after the point`;
    throw invalidField(path, message, "too_many_decimals");
  }
  return newMoney(Number(whole + fraction.padEnd(exponent, "0")), currency, path);
}

/**
 * Checks after the arithmetic, which is enough: a result beyond 2^53 may have
 * been rounded, but never to less than the bound.
 */
function newMoney(minor: number, currency: Currency, path = ""): Money {
  if (Math.abs(minor) > MINOR_MAX) {
    const most = formatMoney({ currency, minor: MINOR_MAX });
    throw invalidField(path, `An amount is at most ${most}`, "amount_too_large");
  }
  if (!Number.isInteger(minor)) {
    throw new AppError("internal", "An amount is not a whole number of minor units");
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

/** Intl reads a decimal string digit by digit; its type wants to see that it is one. */
function toNumeric(decimal: string): `${number}` {
  return decimal as `${number}`;
}
