/**
 * The public invoice page: visible to holders of its link only, and it never discloses
 * the link.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { toBase64Url } from "../../lib/digest.ts";
import { invoiceToken } from "../../lib/invoices/links.ts";
import { DAY_MS } from "../../lib/time.ts";
import { LEAD, type TestApp } from "../support/program/app.ts";
import { accessLog, assertProblem } from "../support/program/answers.ts";
import { hasPoppler, POPPLER_HINT, textOf } from "../support/readers/pdf.ts";
import {
  asAdmin,
  leavesStoreAlone,
  newClient,
  newKvFile,
  startShop,
} from "../support/program/shop.ts";

const WORK = { description: "Work", quantity: 1, unitMinor: 1_234_50 };
const SHOP = {
  SHOP_NAME: "Duka la Kahawa",
  SHOP_ADDRESS: "Samora Avenue 12; Dar es Salaam",
  SHOP_TAX_ID: "100-200-300",
  SHOP_PHONE: "+255 712 345 678",
};
/** Size limit of a page: one second on a slow connection. */
const PAGE_BYTES_MAX = 10_000;

/** An invoice issued by an operator, and the path of its page. */
async function newInvoice(
  app: TestApp,
  fields: object = {},
): Promise<{ id: string; path: string }> {
  const clientId = await newClient(app);
  const { body: { id } } = await asAdmin(app, "POST", "/api/v2/invoices", {
    body: { clientId, lines: [WORK], ...fields },
  });
  return { id, path: `/i/${invoiceToken(app.config, id)}` };
}

/** The visible text of a page, with plain spaces in amounts. */
function wordsOf(html: string): string {
  const body = html.replace(/^.*<body>/s, "").replaceAll(/<[^>]*>/g, " ");
  return body.replaceAll(/[\s\u00a0]+/g, " ").trim();
}

async function bytesOf(app: TestApp, path: string, headers: Record<string, string> = {}) {
  const response = await fetch(app.url + path, { headers });
  return {
    status: response.status,
    headers: response.headers,
    bytes: new Uint8Array(await response.arrayBuffer()),
  };
}

Deno.test("GET /i/:token shows the invoice linked from the lead's response", async () => {
  await using app = await startShop({ env: SHOP });
  const { id: productId } = await app.stockProduct();
  const lead = await app.post("/api/v2/leads", { ...LEAD, productId, quantity: 2 });
  const { pathname } = new URL(lead.body.links.invoice);

  const { status, headers, text } = await leavesStoreAlone(app, () => app.get(pathname));

  equal(status, 200);
  match(headers.get("content-type") ?? "", /^text\/html; charset=utf-8$/i);
  equal(headers.get("content-language"), "en");
  equal(headers.get("cache-control"), "no-store");
  equal(headers.get("referrer-policy"), "no-referrer");
  equal(headers.get("x-robots-tag"), "noindex");
  match(headers.get("content-security-policy") ?? "", /default-src 'none'/);
  equal(
    wordsOf(text),
    "Duka la Kahawa Kiswahili Invoice INV-2026-000001 Bill to: Asha Mushi " +
      "Issue date: 15 June 2026 · Due date: 29 June 2026 " +
      "Unpaid TZS 900,000 Please pay by 29 June 2026. " +
      "Duka POS 2 × TZS 450,000 TZS 900,000 Total TZS 900,000 " +
      "This invoice cannot be paid online at the moment. Please contact us. " +
      "Download PDF Share on WhatsApp " +
      "Duka la Kahawa · Samora Avenue 12 · Dar es Salaam · Tax ID: 100-200-300 " +
      "Questions? Call +255 712 345 678 .",
  );
  for (const hidden of ["asha@example.com", lead.body.invoice.id, "<script", "<form"]) {
    ok(!text.includes(hidden), hidden);
  }
});

Deno.test("GET /i/:token is small, needs no script and loads nothing", async () => {
  await using app = await startShop({ env: SHOP });
  const lines = Array.from({ length: 10 }, (_, i) => ({ ...WORK, quantity: i + 1 }));
  const { path } = await newInvoice(app, {
    lines,
    taxMinor: 100,
    notes: "Asante sana. ".repeat(20),
  });

  for (const language of ["en", "sw"]) {
    const { text } = await app.get(`${path}?lang=${language}`);

    const { length } = new TextEncoder().encode(text);
    ok(length < PAGE_BYTES_MAX, `${length} bytes`);
    ok(!/<script|\son\w+=|\sstyle=|javascript:|<img|<iframe|@import|url\(/i.test(text));
    for (
      const [, name, address = ""] of text.matchAll(/<(\w+)[^>]*\s(?:href|src|action)="([^"]*)"/g)
    ) {
      // Links are not loaded.
      if (name === "a") match(address, /^(?:\/i\/|https:\/\/wa\.me\/|tel:|#)/);
      else equal(address, "data:,");
    }
  }
});

Deno.test("GET /i/:token is in the requested language, else the preferred one, else the shop's", async () => {
  await using english = await startShop();
  await using swahili = await startShop({ env: { DEFAULT_LANGUAGE: "sw" } });
  const [here, there] = [await newInvoice(english), await newInvoice(swahili)];
  const languageOf = async (app: TestApp, path: string, accept: string) => {
    const { headers, text } = await app.request("GET", path, {
      headers: { "accept-language": accept },
    });
    const language = headers.get("content-language");
    ok(text.includes(`<html lang="${language}">`) && headers.get("cache-control") === "no-store");
    match(text, language === "sw" ? /English<.*Haijalipwa/s : /Kiswahili<.*Unpaid/s);
    return language;
  };

  equal(await languageOf(english, here.path, "sw-TZ,sw;q=0.9,en;q=0.8"), "sw");
  equal(await languageOf(english, here.path, "en;q=0.3, sw;q=0.7"), "sw");
  equal(await languageOf(english, here.path, "fr,en-GB;q=0.5,sw;q=0"), "en");
  equal(await languageOf(english, `${here.path}?lang=sw`, "en"), "sw");
  equal(await languageOf(swahili, `${there.path}?lang=en`, "sw"), "en");
  for (const nothing of ["*", "fr", ";;q=x,,", "sw,".repeat(2_000)]) {
    equal(await languageOf(english, here.path, nothing), "en", nothing);
    equal(await languageOf(swahili, `${there.path}?lang=fr`, nothing), "sw", nothing);
  }
});

Deno.test("GET /i/:token shows the state of each invoice in both languages", async () => {
  await using app = await startShop();
  const pay = (id: string, amountMinor: number) =>
    asAdmin(app, "POST", `/api/v2/invoices/${id}/payments`, {
      body: { amountMinor, method: "cash", reference: crypto.randomUUID() },
    });
  const open = await newInvoice(app, { currency: "USD", taxMinor: 50 });
  const partly = await newInvoice(app);
  equal((await pay(partly.id, 1_000_00)).status, 201);
  const paid = await newInvoice(app);
  equal((await pay(paid.id, 1_234_50)).status, 201);
  const isVoid = await newInvoice(app);
  const reason = { reason: "Private reason" };
  await asAdmin(app, "POST", `/api/v2/invoices/${isVoid.id}/void`, { body: reason });
  const both = async (path: string) =>
    [
      wordsOf((await app.get(`${path}?lang=en`)).text),
      wordsOf((await app.get(`${path}?lang=sw`)).text),
    ] as const;

  const [openEn, openSw] = await both(open.path);
  match(openEn, /Unpaid \$1,235\.00 Please pay by 29 June 2026\. Work \$1,234\.50 Subtotal/);
  match(openEn, /Subtotal \$1,234\.50 Tax \$0\.50 Total \$1,235\.00/);
  match(openSw, /Haijalipwa US\$ 1,235\.00 Tafadhali lipa kufikia tarehe 29 Juni 2026\./);
  match(openSw, /Kodi US\$ 0\.50 Jumla US\$ 1,235\.00/);
  const [partlyEn, partlySw] = await both(partly.path);
  match(partlyEn, /Partially paid TZS 234\.50 Please pay the balance by 29 June 2026\./);
  match(partlyEn, /Total TZS 1,234\.50 Amount paid TZS 1,000 Balance due TZS 234\.50/);
  match(
    partlySw,
    /Imelipwa kwa sehemu TSh 234\.50 .*Kiasi kilicholipwa TSh 1,000 Salio linalodaiwa TSh 234\.50/,
  );
  const [paidEn, paidSw] = await both(paid.path);
  match(
    paidEn,
    /Paid Thank you\. No payment is due\. .*Total TZS 1,234\.50 Amount paid TZS 1,234\.50 D/,
  );
  match(paidSw, /Imelipwa Asante\. Hakuna malipo yanayodaiwa\./);
  const [voidEn, voidSw] = await both(isVoid.path);
  match(voidEn, /Void This invoice is void\. No payment is due\./);
  match(voidSw, /Imebatilishwa Ankara hii imebatilishwa\. Hakuna malipo yanayodaiwa\./);
  ok(!/Private|Unpaid|cannot be paid/.test(voidEn + paidEn));

  app.advance(15 * DAY_MS);
  const [lateEn, lateSw] = await both(open.path);
  match(lateEn, /Overdue \$1,235\.00 Payment was due on 29 June 2026\./);
  match(lateSw, /Muda wa kulipa umepita US\$ 1,235\.00/);
  match((await both(partly.path))[0], /Partially paid, overdue TZS 234\.50/);
  equal((await both(paid.path))[0], paidEn);
});

Deno.test("GET /i/:token can be shared on WhatsApp, with a preview that discloses little", async () => {
  await using app = await startShop({ env: { ...SHOP, PUBLIC_URL: "https://shop.example.com" } });
  const { path } = await newInvoice(app);

  const { text } = await app.get(`${path}?lang=sw`);

  const [, link = ""] = /href="(https:\/\/wa\.me\/[^"]*)"/.exec(text) ?? [];
  equal(
    new URL(link).searchParams.get("text")?.replaceAll("\u00a0", " "),
    `Ankara INV-2026-000001 kutoka Duka la Kahawa ya TSh 1,234.50: https://shop.example.com${path}`,
  );
  const metas = (text.match(/<meta property="og:[^>]*>/g) ?? []).join();
  match(metas, /Ankara INV-2026-000001 · Duka la Kahawa/);
  ok(!metas.includes("Asha"));
});

Deno.test("GET /i/:token shows user input as text", async () => {
  await using app = await startShop();
  const clientId = await newClient(app, { name: '<script>alert(1)</script> & "Sons"' });
  const { path } = await newInvoice(app, {
    clientId,
    lines: [{ ...WORK, description: "<img src=x onerror=alert(1)>" }],
    notes: "</style></main><b>{page}</b>",
  });

  const { text } = await app.get(path);

  ok(!/<script>alert|<img|<\/style><\/main>/.test(text));
  match(text, /&lt;script&gt;alert\(1\)&lt;\/script&gt; &amp;/);
  match(text, /&lt;img src=x onerror=alert\(1\)&gt;/);
  match(text, /&lt;b&gt;\{page\}&lt;\/b&gt;/);
});

Deno.test("GET /i/:token logs no token", async () => {
  await using app = await startShop();
  const { path } = await newInvoice(app);

  await app.get(path);
  await bytesOf(app, `${path}.pdf`);

  deepEqual(accessLog(app).slice(-2).map(({ route }) => route), ["/i/:token", "/i/:token"]);
  ok(!app.logLines.join().includes(path.slice(3)));
});

Deno.test("GET /i/:token of a draft responds as for a missing invoice", async () => {
  await using app = await startShop();
  const { path } = await newInvoice(app, { draft: true });
  const nothing = `/i/${invoiceToken(app.config, "01938d6e-3c00-7000-8000-000000000001")}`;

  for (const address of [path, nothing, `${path}.pdf`, `${nothing}.pdf`]) {
    const answer = await app.get(address);
    assertProblem(answer, 404, "not_found");
    equal(answer.body.detail, "No such invoice");
  }
});

Deno.test("GET /i/:token refuses every invalid token without reading the store", async () => {
  await using app = await startShop();
  const { id, path } = await newInvoice(app);
  const token = path.slice(3);
  const bytes = Uint8Array.from(
    atob(token.replaceAll("-", "+").replaceAll("_", "/")),
    (char) => char.charCodeAt(0),
  );
  const flipped = Array.from(
    { length: 32 },
    (_, i) => toBase64Url(bytes.map((byte, j) => i === j ? byte ^ 1 : byte)),
  );
  const { reads } = app.kv;

  for (
    const bad of [
      ...flipped,
      ...flipped.slice(0, 3).map((guess) => `${guess}.pdf`),
      token.slice(0, -1),
      `${token}A`,
      `${token}.PDF`,
      `${token}.pdf.pdf`,
      token.toLowerCase(),
      id,
      "INV-2026-000001",
      ".pdf",
      "A".repeat(43),
      "A".repeat(5_000),
      "%00",
      "__proto__",
      "%E2%80%AE",
    ]
  ) {
    assertProblem(await app.get(`/i/${bad}`), 404, "not_found");
  }
  equal(app.kv.reads, reads);
  equal((await app.get(`/i/${token}`)).status, 200);
});

Deno.test("GET /i/:token accepts links of the previous key, and no older ones", async () => {
  const keyOf = (fill: number) => toBase64Url(Uint8Array.from({ length: 32 }, (_, i) => fill + i));
  await using file = await newKvFile();
  const start = (key: number, previous?: number) =>
    startShop({
      env: {
        KV_PATH: file.path,
        SECRET_KEY: keyOf(key),
        ...(previous ? { SECRET_KEY_PREVIOUS: keyOf(previous) } : {}),
      },
    });
  await using before = await start(1);
  const { id: productId } = await before.stockProduct();
  const { body } = await before.post("/api/v2/leads", { ...LEAD, productId });
  const { pathname } = new URL(body.links.invoice);

  await using after = await start(2, 1);
  await using later = await start(3, 2);

  equal((await after.get(pathname)).status, 200);
  equal((await later.get(pathname)).status, 404);
});

Deno.test("DELETE /i/:token is not allowed", async () => {
  await using app = await startShop();

  const answer = await app.request("DELETE", "/i/x");

  assertProblem(answer, 405, "method_not_allowed");
});

Deno.test("GET /i/:token with .pdf returns the PDF, and 304 if the client has it", async () => {
  await using app = await startShop();
  const { id, path } = await newInvoice(app);

  const first = await bytesOf(app, `${path}.pdf?lang=sw`);
  const etag = first.headers.get("etag") ?? "";
  const again = await bytesOf(app, `${path}.pdf?lang=sw`, { "if-none-match": `"x", W/${etag}` });
  const english = await bytesOf(app, `${path}.pdf?lang=en`, { "if-none-match": etag });
  await asAdmin(app, "POST", `/api/v2/invoices/${id}/void`, { body: { reason: "x" } });
  const changed = await bytesOf(app, `${path}.pdf?lang=sw`, { "if-none-match": etag });

  equal(first.status, 200);
  equal(first.headers.get("content-type"), "application/pdf");
  equal(first.headers.get("content-disposition"), 'inline; filename="INV-2026-000001.pdf"');
  equal(first.headers.get("cache-control"), "no-store");
  equal(first.headers.get("x-robots-tag"), "noindex");
  equal(new TextDecoder().decode(first.bytes.subarray(0, 5)), "%PDF-");
  deepEqual([again.status, again.bytes.length], [304, 0]);
  equal(english.status, 200);
  equal(changed.status, 200);
  ok(changed.headers.get("etag") !== etag);
});

Deno.test({
  name: "GET /api/v2/invoices/:id/pdf returns what the buyer sees, and marks drafts" +
    POPPLER_HINT,
  ignore: !hasPoppler,
  async fn() {
    await using app = await startShop({ env: { DEFAULT_LANGUAGE: "sw" } });
    const { id, path } = await newInvoice(app);
    const draft = await newInvoice(app, { draft: true });
    const authorization = `Bearer ${await app.newKey("invoices:read")}`;
    const pdfOf = (id: string, query = "") =>
      bytesOf(app, `/api/v2/invoices/${id}/pdf${query}`, { authorization });

    const ours = await pdfOf(id);
    const theirs = await bytesOf(app, `${path}.pdf`);
    const drafted = await pdfOf(draft.id, "?lang=en");

    equal(ours.status, 200);
    deepEqual(ours.bytes, theirs.bytes);
    match(await textOf(ours.bytes), /ANKARA INV-2026-000001 .*Haijalipwa/);
    equal(drafted.headers.get("content-disposition"), 'inline; filename="draft.pdf"');
    match(await textOf(drafted.bytes), /INVOICE Draft .*This is a draft, not an invoice\./);
    const french = await asAdmin(app, "GET", `/api/v2/invoices/${id}/pdf?lang=fr`);
    assertProblem(french, 422, "invalid_input", { paths: ["lang"] });
    assertProblem(await app.get(`/api/v2/invoices/${id}/pdf`), 401, "unauthenticated");
    const other = await app.newKey("leads:read");
    assertProblem(await app.get(`/api/v2/invoices/${id}/pdf`, other), 403, "forbidden");
  },
});
