import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";
import fc from "fast-check";
import { AppError } from "../../lib/errors.ts";
import {
  add,
  CURRENCIES,
  type Currency,
  formatMajor,
  formatMoney,
  isCurrency,
  MINOR_MAX,
  type Money,
  multiply,
  parseMajor,
} from "../../lib/money.ts";

const anyCurrency = fc.constantFrom(...CURRENCIES);
const anyMinor = fc.oneof(
  fc.integer({ min: -MINOR_MAX, max: MINOR_MAX }),
  fc.integer({ min: -1_000, max: 1_000 }),
  fc.integer({ min: MINOR_MAX - 1_000, max: MINOR_MAX }),
);
const anyMoney = fc.record({ currency: anyCurrency, minor: anyMinor }, { noNullPrototype: true });
const anyQuantity = fc.oneof(fc.nat(1_000), fc.maxSafeNat());

/** What a refusal says to programs. */
function codeOf(act: () => unknown): string | undefined {
  try {
    act();
  } catch (error) {
    if (error instanceof AppError && error.kind === "invalid_input") return error.fields[0]?.code;
    throw error;
  }
}

/** What exact arithmetic says of `minor`: an amount, or a refusal. */
function expected(minor: bigint, currency: Currency): Money | "amount_too_large" {
  const isTooLarge = minor > BigInt(MINOR_MAX) || minor < -BigInt(MINOR_MAX);
  return isTooLarge ? "amount_too_large" : { currency, minor: Number(minor) };
}

Deno.test("formatMajor() has as many decimals as Intl gives every currency", () => {
  for (const currency of CURRENCIES) {
    const { maximumFractionDigits } = new Intl.NumberFormat("en", { style: "currency", currency })
      .resolvedOptions();

    const [, decimals = ""] = formatMajor({ currency, minor: 0 }).split(".");
    equal(decimals.length, maximumFractionDigits, currency);
  }
});

Deno.test("isCurrency() accepts our currencies in capitals, and nothing else", () => {
  ok(CURRENCIES.every(isCurrency));
  deepEqual(["TZS", "KES", "UGX", "USD"].filter(isCurrency), ["TZS", "KES", "UGX", "USD"]);
  for (const x of ["tzs", "XXX", "", "toString", "__proto__", null, undefined, 834, ["TZS"]]) {
    equal(isCurrency(x), false, String(x));
  }
});

Deno.test("multiply() is exact, or refuses", () => {
  fc.assert(fc.property(anyMoney, anyQuantity, (money, quantity) => {
    const result = expected(BigInt(money.minor) * BigInt(quantity), money.currency);

    if (result === "amount_too_large") equal(codeOf(() => multiply(money, quantity)), result);
    else deepEqual(multiply(money, quantity), result);
  }));
});

Deno.test("multiply() returns the largest amount and refuses one unit more", () => {
  const most: Money = { currency: "UGX", minor: MINOR_MAX };

  deepEqual(multiply({ currency: "UGX", minor: MINOR_MAX / 4 }, 4), most);
  equal(codeOf(() => add(most, { currency: "UGX", minor: 1 })), "amount_too_large");
  ok(Object.is(multiply({ currency: "UGX", minor: -5 }, 0).minor, 0), "not -0");
});

Deno.test("multiply() refuses a quantity that is not a whole number", () => {
  for (const quantity of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
    const act = () => multiply({ currency: "TZS", minor: 100 }, quantity);

    equal(codeOf(act), "not_a_quantity", String(quantity));
  }
});

Deno.test("add() is exact in either order, or refuses", () => {
  fc.assert(fc.property(anyMoney, anyMinor, (a, minor) => {
    const b = { currency: a.currency, minor };
    const result = expected(BigInt(a.minor) + BigInt(minor), a.currency);

    if (result === "amount_too_large") equal(codeOf(() => add(a, b)), result);
    else deepEqual([add(a, b), add(b, a)], [result, result]);
  }));
});

Deno.test("add() refuses two currencies", () => {
  fc.assert(fc.property(anyMoney, anyMoney, (a, b) => {
    fc.pre(a.currency !== b.currency);

    equal(codeOf(() => add(a, b)), "currency_mismatch");
  }));
});

Deno.test("add() reports a fraction of a minor unit as a defect", () => {
  const act = () => add({ currency: "TZS", minor: 0.5 }, { currency: "TZS", minor: 1 });

  throws(act, (error) => error instanceof AppError && error.kind === "internal");
});

Deno.test("parseMajor() reads back what formatMajor() writes", () => {
  fc.assert(fc.property(anyMoney, (money) => {
    const text = formatMajor(money);

    if (money.minor < 0) equal(codeOf(() => parseMajor(text, money.currency)), "not_an_amount");
    else deepEqual(parseMajor(text, money.currency), money);
  }));
});

Deno.test("formatMajor() agrees with the arithmetic of whole numbers", () => {
  fc.assert(fc.property(anyMoney, (money) => {
    const [whole = "", fraction = ""] = formatMajor(money).split(".");
    const unit = 10n ** BigInt(fraction.length);

    equal(BigInt(whole), BigInt(money.minor) / unit);
    equal(BigInt(whole + fraction), BigInt(money.minor));
  }));
});

Deno.test("parseMajor() reads digits and a point", () => {
  deepEqual(parseMajor("12500.50", "TZS"), { currency: "TZS", minor: 12_500_50 });
  deepEqual(parseMajor("12500.5", "TZS"), { currency: "TZS", minor: 12_500_50 });
  deepEqual(parseMajor("12500", "KES"), { currency: "KES", minor: 12_500_00 });
  deepEqual(parseMajor("12500", "UGX"), { currency: "UGX", minor: 12_500 });
  deepEqual(parseMajor("0.29", "USD"), { currency: "USD", minor: 29 });
  deepEqual(parseMajor("1000000000000.00", "TZS"), { currency: "TZS", minor: MINOR_MAX });
});

Deno.test("parseMajor() refuses everything else, and names the problem and the field", () => {
  const cases: Record<string, string[]> = {
    not_an_amount: [
      ...["", ".", ".5", "5.", "-5", "+5", "1e3", "0x10", " 5", "5 ", "5\n", "1,000", "1 000"],
      ...[
        "1_000",
        "1.0.0",
        "NaN",
        "Infinity",
        "TZS 5",
        "\u0665",
        "\uFF15",
        "1".repeat(16),
        "1".repeat(1e6),
      ],
    ],
    too_many_decimals: ["0.001", "5.000", "5.123456789"],
    amount_too_large: ["1000000000000.01", "999999999999999", "999999999999999.99"],
  };

  for (const [code, texts] of Object.entries(cases)) {
    for (const text of texts) equal(codeOf(() => parseMajor(text, "TZS")), code, text.slice(0, 20));
  }
  equal(codeOf(() => parseMajor("5.0", "UGX")), "too_many_decimals");
  for (const text of ["x", "0.001", "999999999999999"]) {
    throws(() => parseMajor(text, "TZS", { path: "lines.0.price" }), (error) => {
      return error instanceof AppError && error.fields[0]?.path === "lines.0.price";
    });
  }
});

Deno.test("formatMoney() formats for people, in English and Swahili", () => {
  const cases: [Currency, number, string, string][] = [
    ["TZS", 1_250_000_00, "TZS 1,250,000", "TSh 1,250,000"],
    ["TZS", 1_250_000_50, "TZS 1,250,000.50", "TSh 1,250,000.50"],
    ["KES", 99_00, "KES 99", "Ksh 99"],
    ["UGX", 5_000, "UGX 5,000", "UGX 5,000"],
    ["USD", 12_00, "$12.00", "US$ 12.00"],
    ["TZS", 0, "TZS 0", "TSh 0"],
    ["TZS", -5_00, "-TZS 5", "-TSh 5"],
    ["TZS", MINOR_MAX - 1, "TZS 999,999,999,999.99", "TSh 999,999,999,999.99"],
  ];

  for (const [currency, minor, en, sw] of cases) {
    equal(formatMoney({ currency, minor }).replaceAll("\u00A0", " "), en);
    equal(formatMoney({ currency, minor }, "sw").replaceAll("\u00A0", " "), sw);
  }
});

Deno.test("formatMoney() shows every digit of every amount", () => {
  fc.assert(
    fc.property(anyMoney, fc.constantFrom("en" as const, "sw" as const), (money, locale) => {
      const shown = formatMoney(money, locale).replace(/[^\d.-]/g, "");
      const exact = formatMajor(money);

      ok(shown === exact || `${shown}.00` === exact, `${shown} for ${exact}`);
    }),
  );
});
