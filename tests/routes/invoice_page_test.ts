/**
 * The public invoice: whoever was given its address sees it, and nobody else,
 * and the page hands the address on to no one.
 */
import { match, ok, strictEqual as equal } from "node:assert/strict";
import { toBase64Url } from "../../lib/digest.ts";
import { invoiceToken } from "../../lib/invoice_links.ts";
import { LEAD } from "../support/app.ts";
import { accessLog, assertProblem } from "../support/answers.ts";
import { asAdmin, leavesStoreAlone, newClient, newKvFile, startShop } from "../support/shop.ts";

const WORK = { description: "Work", quantity: 1, unitMinor: 1_234_50 };

Deno.test("GET /i/:token shows the invoice that the lead's answer links to", async () => {
  await using app = await startShop();
  const { id: productId } = await app.stockProduct();
  const lead = await app.post("/api/v2/leads", { ...LEAD, productId, quantity: 2 });
  const { pathname } = new URL(lead.body.links.invoice);

  const { status, headers, text } = await leavesStoreAlone(app, () => app.get(pathname));

  equal(status, 200);
  match(headers.get("content-type") ?? "", /^text\/html; charset=utf-8$/i);
  equal(headers.get("cache-control"), "no-store");
  equal(headers.get("referrer-policy"), "no-referrer");
  equal(headers.get("x-robots-tag"), "noindex");
  match(headers.get("content-security-policy") ?? "", /default-src 'none'/);
  for (const shown of ["INV-2026-000001", "Asha Mushi", "2 × Duka POS", "2026-06-29"]) {
    ok(text.includes(shown), shown);
  }
  match(text, /TZS\s900,000</);
  for (const hidden of ["asha@example.com", lead.body.invoice.id, "Tax", "Paid", "<script"]) {
    ok(!text.includes(hidden), hidden);
  }
});

Deno.test("GET /i/:token writes no token into the log", async () => {
  await using app = await startShop();
  const { id: productId } = await app.stockProduct();
  const { body } = await app.post("/api/v2/leads", { ...LEAD, productId });
  const { pathname } = new URL(body.links.invoice);

  await app.get(pathname);

  equal(accessLog(app).at(-1)?.route, "/i/:token");
  ok(!app.logLines.join().includes(pathname.slice(3)));
});

Deno.test("GET /i/:token shows what was typed as text", async () => {
  await using app = await startShop();
  const clientId = await newClient(app, { name: '<script>alert(1)</script> & "Sons"' });
  const { body: { id } } = await asAdmin(app, "POST", "/api/v2/invoices", {
    body: { clientId, lines: [{ ...WORK, description: "<img src=x onerror=alert(1)>" }] },
  });

  const { text } = await app.get(`/i/${invoiceToken(app.config, id)}`);

  ok(!text.includes("<script>alert") && !text.includes("<img"));
  match(text, /&lt;script&gt;alert\(1\)&lt;\/script&gt; &amp;/);
  match(text, /&lt;img src=x onerror=alert\(1\)&gt;/);
});

Deno.test("GET /i/:token shows tax, and says when nothing is owed any more", async () => {
  await using app = await startShop();
  const clientId = await newClient(app);
  const { body: { id } } = await asAdmin(app, "POST", "/api/v2/invoices", {
    body: { clientId, lines: [WORK], taxMinor: 50, currency: "USD" },
  });
  const path = `/i/${invoiceToken(app.config, id)}`;

  const open = await app.get(path);
  await asAdmin(app, "POST", `/api/v2/invoices/${id}/void`, { body: { reason: "Private reason" } });
  const closed = await app.get(path);

  match(open.text, /\$1,234\.50.*Tax.*\$0\.50.*Total.*\$1,235\.00/s);
  match(open.text, /To be paid.* by 2026-06-29/);
  equal(closed.status, 200);
  match(closed.text, /Void: nothing is owed/);
  ok(!closed.text.includes("Private reason") && !closed.text.includes("To be paid"));
});

Deno.test("GET /i/:token of a draft says what it says of nothing at all", async () => {
  await using app = await startShop();
  const clientId = await newClient(app);
  const { body: { id } } = await asAdmin(app, "POST", "/api/v2/invoices", {
    body: { clientId, lines: [WORK], draft: true },
  });

  const draft = await app.get(`/i/${invoiceToken(app.config, id)}`);
  const none = await app.get(
    `/i/${invoiceToken(app.config, "01938d6e-3c00-7000-8000-000000000001")}`,
  );

  for (const answer of [draft, none]) {
    assertProblem(answer, 404, "not_found");
    equal(answer.body.detail, "No such invoice");
  }
});

Deno.test("GET /i/:token refuses every token that is not ours, without a look at the store", async () => {
  await using app = await startShop();
  const { id: productId } = await app.stockProduct();
  const { body } = await app.post("/api/v2/leads", { ...LEAD, productId });
  const token = new URL(body.links.invoice).pathname.slice(3);
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
      token.slice(0, -1),
      `${token}A`,
      token.toLowerCase(),
      body.invoice.id,
      body.invoice.number,
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

Deno.test("GET /i/:token honours addresses of the key before the last rotation, and no older ones", async () => {
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

Deno.test("POST /i/:token is not for this", async () => {
  await using app = await startShop();

  const answer = await app.request("DELETE", "/i/x");

  assertProblem(answer, 405, "method_not_allowed");
});
