/**
 * The payment part of the public invoice page, for every outcome of an attempt.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { readConfig } from "../../lib/config/mod.ts";
import { documentOf } from "../../lib/documents/mod.ts";
import { INVOICE_TEXTS, type PayProblem } from "../../lib/documents/texts.ts";
import type { Invoice } from "../../lib/invoices/mod.ts";
import { type Language, LANGUAGES } from "../../lib/languages.ts";
import { newPayment } from "../../lib/payments/records.ts";
import type { Payment, PaymentStatus } from "../../lib/payments/mod.ts";
import { MINUTE_MS, SECOND_MS } from "../../lib/time.ts";
import { type FormProblem, Page } from "../../routes/invoice_page/_page.tsx";
import { type Offer, payViewOf } from "../../routes/invoice_page/_pay_view.ts";
import { TESTER } from "../support/program/app.ts";
import { sampleInvoice } from "../support/program/invoices.ts";

const NOW = Date.UTC(2026, 5, 20, 9);
const CONFIG = readConfig({ APP_ENV: "test" });
const PATH = `/i/${"A".repeat(43)}`;

const PESAPAL: Offer = { name: "pesapal", isMobileMoney: false, refusalOf: () => null };
const AZAMPAY: Offer = {
  name: "azampay",
  isMobileMoney: true,
  refusalOf: ({ currency }) => currency === "TZS" ? null : "Mobile money accepts only shillings",
};

/** An attempt of the given age in milliseconds. */
function attempt(status: PaymentStatus, ageMs = 0, fields: Partial<Payment> = {}): Payment {
  const parts = {
    id: "01938d6e-3c00-7000-8000-000000000009",
    invoiceId: "01938d6e-3c00-7000-8000-000000000001",
    channel: "pesapal",
    status,
    currency: "TZS",
    amountMinor: 1_234_50,
  } as const;
  return newPayment({ ...parts, ...fields }, TESTER, NOW - ageMs);
}

function view(payments: Payment[], { invoice = {}, gateways = [PESAPAL, AZAMPAY] }: {
  invoice?: Partial<Invoice>;
  gateways?: Offer[];
} = {}) {
  return payViewOf({ invoice: sampleInvoice(invoice), payments, gateways, now: NOW });
}

/** The page as the browser gets it. */
async function page(payments: Payment[], options: {
  language?: Language;
  invoice?: Partial<Invoice>;
  gateways?: Offer[];
  isPayingAgain?: boolean;
  formProblem?: FormProblem;
} = {}): Promise<string> {
  const { language = "en", invoice = {}, isPayingAgain = false, formProblem = null } = options;
  const html = await Page({
    document: documentOf(CONFIG, {
      invoice: sampleInvoice(invoice),
      language,
      today: "2026-06-20",
    }),
    pay: view(payments, options),
    isPayingAgain,
    formProblem,
    path: PATH,
    attempt: "attempt-1",
    nonce: "nonce",
  });
  return String(html);
}

const refreshOf = (html: string) => /<meta http-equiv="refresh" content="([^"]*)"/.exec(html)?.[1];
const formsOf = (html: string) => html.match(/<form .*?<\/form>/gs) ?? [];

Deno.test("payViewOf() offers every gateway, with the reason if one cannot accept the amount", () => {
  deepEqual(view([]), {
    status: null,
    refreshS: null,
    ways: [
      { gateway: "pesapal", isMobileMoney: false, refusal: null },
      { gateway: "azampay", isMobileMoney: true, refusal: null },
    ],
  });
  deepEqual(
    view([], { invoice: { currency: "USD" } }).ways[1]?.refusal,
    "Mobile money accepts only shillings",
  );
  deepEqual(view([], { gateways: [] }).ways, []);
});

Deno.test("payViewOf() asks gateways about the balance due, not the total", () => {
  const asked: unknown[] = [];
  const curious: Offer = { ...PESAPAL, refusalOf: (amount) => (asked.push(amount), null) };

  view([], { invoice: { status: "partially_paid", paidMinor: 34_50 }, gateways: [curious] });

  deepEqual(asked, [{ currency: "TZS", minor: 1_200_00 }]);
});

Deno.test("payViewOf() is empty when no balance is due", () => {
  for (const status of ["paid", "void", "refunded"] as const) {
    const invoice = { status, paidMinor: status === "paid" ? 1_234_50 : 0 };
    deepEqual(view([attempt("pending"), attempt("failed")], { invoice }), {
      status: null,
      refreshS: null,
      ways: [],
    });
  }
});

Deno.test("payViewOf() refreshes less and less often, and stops after 20 minutes", () => {
  const refreshes = [0, 59, 60, 179, 180, 599, 600, 1_199, 1_200, 90_000].map((ageS) =>
    view([attempt("pending", ageS * SECOND_MS)]).refreshS
  );

  deepEqual(refreshes, [5, 5, 10, 10, 30, 30, 60, 60, null, null]);
  equal(view([attempt("created", MINUTE_MS)]).refreshS, 10);
});

Deno.test("payViewOf() distinguishes an attempt by phone from one on the gateway's page", () => {
  equal(view([attempt("pending")]).status, "checking_online");
  equal(view([attempt("pending", 0, { payerPhone: "+255712345678" })]).status, "checking_phone");
});

Deno.test("payViewOf() reports the outcome of the last attempt", () => {
  equal(view([attempt("failed")]).status, "failed");
  equal(view([attempt("completed"), attempt("failed")]).status, null);
  equal(view([attempt("failed"), attempt("pending", MINUTE_MS)]).status, "checking_online");
  equal(view([attempt("failed"), attempt("needs_review")]).status, "in_review");
  equal(view([attempt("reversed")]).status, null);
  // Too old to wait for.
  equal(view([attempt("pending", 60 * MINUTE_MS)]).status, null);
});

Deno.test("the page has a form for each payment option, which works without scripts", async () => {
  for (const language of LANGUAGES) {
    const forms = formsOf(await page([], { language }));

    equal(forms.length, 2);
    for (const form of forms) {
      ok(form.startsWith(`<form method="post" action="${PATH}/pay?lang=${language}">`), form);
      match(form, /<input type="hidden" name="attempt" value="attempt-1"\/?>/);
      match(form, /<button type="submit">(?:Pay|Lipa) T(?:ZS|Sh)\u00a01,234\.50<\/button>/);
    }
    ok(!/name="(?:phone|provider)"/.test(forms[0]!));
    match(forms[1]!, /<input name="phone" type="tel"[^>]* required/);
    match(forms[1]!, /<select name="provider" required.*M-Pesa.*Mixx.*Airtel.*HaloPesa.*AzamPesa/s);
  }
});

Deno.test("the page says why a payment option is not available, and has no form for it", async () => {
  const html = await page([], { invoice: { currency: "USD" } });
  const none = await page([], { invoice: { currency: "USD" }, gateways: [AZAMPAY] });

  equal(formsOf(html).length, 1);
  match(html, /Mobile money<\/b><br\/?>Mobile money accepts only shillings\./);
  equal(formsOf(none).length, 0);
  match(none, /This invoice cannot be paid online at the moment/);
  ok(!none.includes('href="#pay"'));
});

Deno.test("the page refreshes automatically while an attempt is checked, and offers another one", async () => {
  for (const language of LANGUAGES) {
    const texts = INVOICE_TEXTS[language];
    const checking = [attempt("pending", 0, { payerPhone: "+255712345678" })];
    const html = await page(checking, { language });
    const again = await page(checking, { language, isPayingAgain: true });

    equal(refreshOf(html), `5;url=${PATH}?lang=${language}`);
    ok(html.includes(texts.checking) && html.includes(texts.checkingPhone));
    equal(formsOf(html).length, 0);
    ok(html.includes(`href="${PATH}?lang=${language}&amp;pay=again#pay"`), html);
    // A refresh would discard what the payer types.
    equal(refreshOf(again), undefined);
    equal(formsOf(again).length, 2);
    ok(again.includes(texts.checking));
  }
});

Deno.test("the page reports a payment that failed or is in review, and allows another one", async () => {
  for (const language of LANGUAGES) {
    const texts = INVOICE_TEXTS[language];
    const failed = await page([attempt("failed")], { language });
    const inReview = await page([attempt("needs_review")], { language });

    ok(failed.includes(texts.failed));
    ok(inReview.includes(texts.inReview));
    for (const html of [failed, inReview]) {
      equal(refreshOf(html), undefined);
      equal(formsOf(html).length, 2);
    }
  }
});

Deno.test("the page reports the problem of a form, and shows its fields as text", async () => {
  const problems = Object.keys(INVOICE_TEXTS.en.problems) as PayProblem[];
  for (const language of LANGUAGES) {
    for (const problem of problems) {
      const formProblem = { problem, minutes: 3, phone: '"><script>x', provider: "Airtel" };
      const html = await page([attempt("pending")], { language, formProblem });

      const text = INVOICE_TEXTS[language].problems[problem].replace("{minutes}", "3");
      ok(html.includes(text), `${text} in ${html}`);
      match(html, /value="&quot;&gt;&lt;script&gt;x"/);
      match(html, /<option value="Airtel" selected/);
      // The address of a form's response cannot be reloaded.
      equal(refreshOf(html), undefined);
      equal(formsOf(html).length, 2);
    }
  }
});

Deno.test("the page is small in every state", async () => {
  const sizes = await Promise.all(LANGUAGES.flatMap((language) => [
    page([], { language }),
    page([attempt("pending")], { language, isPayingAgain: true }),
    page([attempt("failed")], { language, invoice: { notes: "Asante. ".repeat(50) } }),
  ]));

  for (const html of sizes) ok(new TextEncoder().encode(html).length < 10_000, `${html.length}`);
});
