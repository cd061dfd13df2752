/**
 * The content of an invoice, as its page and its PDF show it.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { readConfig } from "../../../lib/config/mod.ts";
import { documentOf, stateOf } from "../../../lib/documents/mod.ts";
import { digestOf } from "../../../lib/documents/pdfs.ts";
import { fill, formatDay, INVOICE_TEXTS } from "../../../lib/documents/texts.ts";
import type { Invoice } from "../../../lib/invoices/mod.ts";
import { statusWith } from "../../../lib/invoices/status.ts";
import { type Language, LANGUAGES } from "../../../lib/languages.ts";
import { DRAFT, invoiceLine, sampleInvoice } from "../../support/program/invoices.ts";

const CONFIG = readConfig({
  APP_ENV: "test",
  PUBLIC_URL: "https://shop.example.com",
  SHOP_NAME: "WeTech Ltd",
  SHOP_ADDRESS: "Samora Avenue 12; Dar es Salaam",
  SHOP_TAX_ID: "100-200-300",
  SHOP_PHONE: "+255 712 345 678",
});
const TOTAL = 1_234_50;

function documentIn(language: Language, fields: Partial<Invoice> = {}, today = "2026-06-20") {
  return documentOf(CONFIG, { invoice: sampleInvoice(fields), language, today });
}

/** Rows as people read them; the space in an amount does not break. */
function rowsOf({ totals }: ReturnType<typeof documentOf>): string[] {
  return totals.map(({ label, amount }) => `${label} ${amount}`.replaceAll("\u00a0", " "));
}

Deno.test("documentOf() describes an invoice in English", () => {
  const document = documentIn("en", {
    lines: [invoiceLine("Duka POS", { quantity: 1_200, unitMinor: 45_000_000 })],
    taxMinor: 50,
    notes: "Asante",
  });

  const { url, ...rest } = document;
  match(url ?? "", /^https:\/\/shop\.example\.com\/i\/[\w-]{43}$/);
  deepEqual(rest, {
    language: "en",
    number: "INV-2026-000123",
    issuedAt: "2026-06-15T09:00:00.000Z",
    state: "due",
    stateLabel: "Unpaid",
    stateNote: "Please pay by 29 June 2026.",
    seller: {
      name: "WeTech Ltd",
      lines: [
        "Samora Avenue 12",
        "Dar es Salaam",
        "Tax ID: 100-200-300",
      ],
      phone: "+255 712 345 678",
    },
    buyer: "Asha Mushi",
    facts: [["Issue date", "15 June 2026"], ["Due date", "29 June 2026"]],
    lines: [{
      description: "Duka POS",
      quantity: "1,200",
      unitPrice: "TZS\u00a0450,000",
      amount: "TZS\u00a0540,000,000",
    }],
    totals: [
      { label: "Subtotal", amount: "TZS\u00a0540,000,000", isStrong: false },
      { label: "Tax", amount: "TZS\u00a00.50", isStrong: false },
      { label: "Total", amount: "TZS\u00a0540,000,000.50", isStrong: true },
    ],
    owed: "TZS\u00a0540,000,000.50",
    notes: "Asante",
  });
});

Deno.test("documentOf() describes an invoice in Swahili", () => {
  const document = documentIn("sw", { paidMinor: 34_50, status: "partially_paid" });

  equal(document.stateLabel, "Imelipwa kwa sehemu");
  equal(document.stateNote, "Tafadhali lipa salio kufikia tarehe 29 Juni 2026.");
  deepEqual(rowsOf(document), [
    "Jumla TSh 1,234.50",
    "Kiasi kilicholipwa TSh 34.50",
    "Salio linalodaiwa TSh 1,200",
  ]);
});

Deno.test("documentOf() shows balance, payments, refunds and credit of each state", () => {
  const today = "2026-06-30";
  const shown = (fields: Partial<Invoice>, day = today) => {
    const document = documentIn("en", fields, day);
    return [document.state, document.owed?.replace("\u00a0", " ") ?? null, ...rowsOf(document)];
  };

  deepEqual(shown({}, "2026-06-29"), ["due", "TZS 1,234.50", "Total TZS 1,234.50"]);
  deepEqual(shown({}), ["overdue", "TZS 1,234.50", "Total TZS 1,234.50"]);
  deepEqual(shown({ status: "uncollectible" })[0], "overdue");
  deepEqual(shown({ status: "partially_paid", paidMinor: 34_50 }), [
    "partly_overdue",
    "TZS 1,200",
    "Total TZS 1,234.50",
    "Amount paid TZS 34.50",
    "Balance due TZS 1,200",
  ]);
  deepEqual(shown({ status: "paid", paidMinor: TOTAL }), [
    "paid",
    null,
    "Total TZS 1,234.50",
    "Amount paid TZS 1,234.50",
  ]);
  deepEqual(shown({ status: "paid", paidMinor: TOTAL + 100, refundedMinor: 50 }), [
    "paid",
    null,
    "Total TZS 1,234.50",
    "Amount paid TZS 1,236",
    "Amount refunded TZS 0.50",
    "Credit (overpaid) TZS 1",
  ]);
  deepEqual(shown({ status: "refunded", refundedMinor: TOTAL }), [
    "refunded",
    null,
    "Total TZS 1,234.50",
    "Amount paid TZS 1,234.50",
    "Amount refunded TZS 1,234.50",
  ]);
  deepEqual(shown({ status: "void", voidReason: "Private reason" }), [
    "void",
    null,
    "Total TZS 1,234.50",
  ]);
  ok(!JSON.stringify(documentIn("en", { voidReason: "Private reason" })).includes("Private"));
});

Deno.test("documentOf() of a draft has no number, no issue date and no URL", () => {
  const { number, url, facts, stateLabel } = documentIn("en", DRAFT);

  deepEqual([number, url, stateLabel], [null, null, "Draft"]);
  deepEqual(facts, [["Due date", "29 June 2026"]]);
});

Deno.test("documentOf() leaves out the buyer's contact details", () => {
  const text = JSON.stringify(documentIn("en"));

  ok(!text.includes("asha@example.com") && !text.includes("712345678"));
});

Deno.test("documentOf() formats each currency with its own decimals", () => {
  const amounts = (["TZS", "KES", "UGX", "RWF", "USD", "EUR", "GBP"] as const).map((currency) =>
    LANGUAGES.map((language) => documentIn(language, { currency }).owed?.replace("\u00a0", " "))
  );

  deepEqual(amounts, [
    ["TZS 1,234.50", "TSh 1,234.50"],
    ["KES 1,234.50", "Ksh 1,234.50"],
    ["UGX 123,450", "UGX 123,450"],
    ["RWF 123,450", "RWF 123,450"],
    ["$1,234.50", "US$ 1,234.50"],
    ["€1,234.50", "€ 1,234.50"],
    ["£1,234.50", "£ 1,234.50"],
  ]);
});

Deno.test("documentOf() adds up for any payments and refunds", () => {
  const cents = fc.integer({ min: 0, max: 3_000_00 });
  fc.assert(fc.property(cents, cents, fc.boolean(), (paidMinor, refundedMinor, isVoid) => {
    const status = statusWith(isVoid ? "void" : "open", {
      totalMinor: TOTAL,
      paidMinor,
      refundedMinor,
    });
    const document = documentIn("en", { status, paidMinor, refundedMinor });

    const minor = (label: string) => {
      const row = document.totals.find((row) => row.label === label);
      const digits = row?.amount.replaceAll(/[^\d.]/g, "") ?? "0";
      return Math.round(Number(digits) * 100);
    };
    const received = minor("Amount paid") - minor("Amount refunded");
    equal(received, paidMinor);
    const isOwed = !isVoid && status !== "refunded" && paidMinor < TOTAL;
    equal(document.owed === null, !isOwed);
    if (minor("Balance due") > 0) equal(minor("Balance due"), TOTAL - received);
    equal(
      minor("Credit (overpaid)"),
      isVoid ? paidMinor : Math.max(0, paidMinor - TOTAL),
    );
  }));
});

Deno.test("stateOf() depends on the day in the shop's time zone", () => {
  const invoice = sampleInvoice();

  deepEqual(["2026-06-28", "2026-06-29", "2026-06-30"].map((day) => stateOf(invoice, day)), [
    "due",
    "due",
    "overdue",
  ]);
});

Deno.test("digestOf() changes with everything that a document shows", () => {
  const digests = [
    documentIn("en"),
    documentIn("sw"),
    documentIn("en", {}, "2026-07-01"),
    documentIn("en", { paidMinor: 1, status: "partially_paid" }),
    documentIn("en", { notes: "x" }),
    documentOf({ ...CONFIG, shopName: "Other" }, {
      invoice: sampleInvoice(),
      language: "en",
      today: "2026-06-20",
    }),
  ].map(digestOf);

  equal(new Set(digests).size, digests.length);
  // None of these is shown.
  equal(digestOf(documentIn("en", { revision: 7, leadId: "x" }, "2026-06-21")), digests[0]);
});

Deno.test("INVOICE_TEXTS has the same texts and placeholders in every language", () => {
  const flat = (texts: object, path = ""): [string, string][] =>
    Object.entries(texts).flatMap(([name, text]) =>
      typeof text === "string" ? [[path + name, text]] : flat(text, `${path}${name}.`)
    );
  const braces = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort().join();
  const [english, swahili] = [flat(INVOICE_TEXTS.en), flat(INVOICE_TEXTS.sw)];

  deepEqual(swahili.map(([name]) => name), english.map(([name]) => name));
  for (const [i, [name, text]] of swahili.entries()) {
    ok(text.trim() === text && text !== "", name);
    // The gateway's reason is in English only.
    if (name !== "cannotTake") equal(braces(text), braces(english[i]![1]), name);
  }
});

Deno.test("fill() replaces known names once, and leaves unknown ones", () => {
  equal(
    fill("{a} and {b}, {a}, {constructor}", { a: "{b}", b: 2 }),
    "{b} and 2, {b}, {constructor}",
  );
});

Deno.test("formatDay() formats dates in each language", () => {
  equal(formatDay("2026-01-05", "en"), "5 January 2026");
  equal(formatDay("2026-12-31", "sw"), "31 Desemba 2026");
});
