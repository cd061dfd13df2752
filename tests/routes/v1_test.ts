/**
 * The old site's contract: its pages send what they always sent, and read
 * `status`, `url` and `message` whatever happens.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import type { TestAnswer } from "../support/program/app.ts";
import { accessLog, assertProblem } from "../support/program/answers.ts";
import {
  leavesStoreAlone,
  newKvFile,
  SHORT_DEADLINES,
  startShop,
} from "../support/program/shop.ts";

const PATHS = ["/api/v1/save-lead", "/api/v1/save-lead/", "/save-lead", "/save-lead/"];
const OLD_LEAD = { name: "Asha Mushi", contact: "asha@example.com", source: "website" };

/** Checks an answer that the old pages can read, and that says it will go away. */
function assertOld({ status, headers, body }: TestAnswer<unknown>, expected: number): void {
  equal(status, expected, JSON.stringify(body));
  equal(headers.get("content-type"), "application/json");
  equal(headers.get("cache-control"), "no-store");
  equal(headers.get("deprecation"), "@1764547200");
  equal(headers.get("sunset"), "Wed, 01 Dec 2027 00:00:00 GMT");
  match(headers.get("link") ?? "", /rel="deprecation"/);
  match(headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/);
}

function assertOldError(answer: TestAnswer<unknown>, expected: number, message: RegExp): void {
  assertOld(answer, expected);
  const body = answer.body as Record<string, string>; // checked next
  deepEqual(Object.keys(body).sort(), ["message", "status"]);
  equal(body.status, "error");
  match(body.message ?? "", message);
  ok(!/\.ts\b|Error\b/.test(answer.text), answer.text);
}

for (const path of PATHS) {
  Deno.test(`POST ${path} saves a lead`, async () => {
    await using app = await startShop();

    const answer = await app.post(path, { ...OLD_LEAD, product: "Duka POS", more: "is ignored" });

    assertOld(answer, 200);
    deepEqual(answer.body, { status: "success" });
    const [entry, ...others] = await app.services.store.list(keys.leads, { limit: 10 });
    deepEqual(others, []);
    const lead = entry!.value;
    deepEqual(lead.contact, { name: "Asha Mushi", email: "asha@example.com", phone: null });
    equal(lead.message, "Product: Duka POS");
    equal(lead.source, "website");
    equal(lead.marketingConsent, false);
    equal(await app.count(keys.invoices), 0);
  });
}

Deno.test("POST /api/v1/save-lead takes a telephone number as the contact", async () => {
  await using app = await startShop();

  const answer = await app.post("/api/v1/save-lead", { ...OLD_LEAD, contact: "0712 345 678" });

  assertOld(answer, 200);
  const [client] = await app.services.store.list(keys.clients, { limit: 10 });
  equal(client?.value.phone, "+255712345678");
  equal(client?.value.email, null);
});

for (const by of ["id", "slug"] as const) {
  for (const source of ["pesapal", "azampay", "Pesapal"]) {
    Deno.test(`POST /api/v1/save-lead sends ${source} with a product's ${by} on to the invoice`, async () => {
      await using app = await startShop();
      const product = await app.stockProduct();

      const answer = await app.post("/api/v1/save-lead", {
        ...OLD_LEAD,
        source,
        product_id: product[by],
      });

      assertOld(answer, 200);
      deepEqual(Object.keys(answer.body).sort(), ["status", "url"]);
      equal(answer.body.status, "redirect");
      ok(answer.body.url.startsWith(`${app.config.publicUrl}/i/`));
      const page = await app.get(new URL(answer.body.url).pathname);
      equal(page.status, 200);
      match(page.text, /INV-2026-000001/);
      const [lead] = await app.services.store.list(keys.leads, { limit: 10 });
      equal(lead?.value.source, source.toLowerCase());
      equal(lead?.value.productId, product.id);
    });
  }
}

Deno.test("POST /api/v1/save-lead sends nobody on who did not come to pay", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();

  const website = await app.post("/api/v1/save-lead", { ...OLD_LEAD, product_id: product.id });
  const nothing = await app.post("/api/v1/save-lead", { ...OLD_LEAD, source: "pesapal" });

  deepEqual(website.body, { status: "success" });
  deepEqual(nothing.body, { status: "success" });
  equal(await app.count(keys.invoices), 1);
});

for (const product_id of [null, "", undefined]) {
  Deno.test(`POST /api/v1/save-lead takes product_id ${product_id ?? typeof product_id} for none`, async () => {
    await using app = await startShop();

    const answer = await app.post("/api/v1/save-lead", {
      ...OLD_LEAD,
      product_id,
      product: null,
      source: null,
    });

    assertOld(answer, 200);
    const [lead] = await app.services.store.list(keys.leads, { limit: 10 });
    equal(lead?.value.productId, null);
    equal(lead?.value.message, "");
    equal(lead?.value.source, "website");
  });
}

Deno.test("POST /api/v1/save-lead files a source that it does not know under other", async () => {
  await using app = await startShop();

  for (const source of ["billboard", "__proto__", "constructor"]) {
    assertOld(await app.post("/api/v1/save-lead", { ...OLD_LEAD, source }), 200);
  }

  const leads = await app.services.store.list(keys.leads, { limit: 10 });
  deepEqual(leads.map(({ value }) => value.source), ["other", "other", "other"]);
});

Deno.test("POST /api/v1/save-lead stores nothing for a product that is not on sale", async () => {
  await using app = await startShop();
  const inactive = await app.stockProduct({ active: false });

  for (const product_id of ["no-such-product", 17, inactive.id, inactive.slug]) {
    const answer = await leavesStoreAlone(
      app,
      () => app.post("/api/v1/save-lead", { ...OLD_LEAD, product_id, source: "pesapal" }),
    );

    assertOldError(answer, 422, /product_id/);
  }
});

Deno.test("POST /api/v1/save-lead goes by the product as it is stored, not as it remembers it", async () => {
  await using file = await newKvFile();
  await using here = await startShop({ env: { KV_PATH: file.path } });
  await using there = await startShop({ env: { KV_PATH: file.path } });
  const product = await here.stockProduct();
  equal((await there.get(`/api/v2/products/${product.slug}`)).status, 200);
  await here.request("DELETE", `/api/v2/products/${product.id}`, { key: here.adminKey });

  const answer = await there.post("/api/v1/save-lead", { ...OLD_LEAD, product_id: product.slug });

  assertOldError(answer, 422, /This product is not on sale/);
  equal(await there.count(keys.leads), 0);
});

const BAD: [what: string, body: unknown, status: number, message: RegExp][] = [
  ["no name", { contact: "asha@example.com" }, 422, /name/],
  ["an empty name", { ...OLD_LEAD, name: "  " }, 422, /name/],
  ["a name that turns the writing", { ...OLD_LEAD, name: "a\u202eb" }, 422, /name/],
  ["no contact", { name: "Asha" }, 422, /contact/],
  ["a contact that is none", { ...OLD_LEAD, contact: "call me" }, 422, /contact/],
  ["a contact that is an object", { ...OLD_LEAD, contact: { a: 1 } }, 422, /contact/],
  ["a contact that is too long", { ...OLD_LEAD, contact: "a".repeat(255) }, 422, /contact/],
  ["a product that is too long", { ...OLD_LEAD, product: "a".repeat(201) }, 422, /product/],
  ["a product that turns the writing", { ...OLD_LEAD, product: "a\u202eb" }, 422, /product/],
  ["a product that is half a character", { ...OLD_LEAD, product: "\ud800" }, 422, /product/],
  ["a product_id that is a fraction", { ...OLD_LEAD, product_id: 1.5 }, 422, /product_id/],
  ["a list", [OLD_LEAD], 422, /./],
  ["null", "null", 422, /./],
  ["half a body", "{", 400, /JSON/],
  ["an empty body", "", 400, /JSON/],
  ["a body that is not UTF-8", new Uint8Array([0x22, 0xff, 0x22]), 400, /UTF-8/],
  ["a body that is too large", { ...OLD_LEAD, more: "x".repeat(65_536) }, 413, /65536 bytes/],
];

for (const [what, body, status, message] of BAD) {
  Deno.test(`POST /save-lead/ refuses ${what}, in words for the old pages`, async () => {
    await using app = await startShop();

    const answer = await leavesStoreAlone(app, () => app.post("/save-lead/", body));

    assertOldError(answer, status, message);
  });
}

Deno.test("POST /save-lead/ refuses a form, in words for the old pages", async () => {
  await using app = await startShop();

  const answer = await leavesStoreAlone(
    app,
    () =>
      app.post("/save-lead/", "name=Asha&contact=asha@example.com", {
        "content-type": "application/x-www-form-urlencoded",
      }),
  );

  assertOldError(answer, 415, /application\/json/);
});

Deno.test("POST /api/v1/save-lead repeats nothing that was sent", async () => {
  await using app = await startShop();

  const { text } = await app.post("/api/v1/save-lead", {
    name: "Bad\u0000 Nameless",
    contact: "not-an-address@",
  });

  ok(!text.includes("Nameless") && !text.includes("not-an-address"), text);
});

Deno.test("POST /api/v1/save-lead does a repeated Idempotency-Key once", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const lead = { ...OLD_LEAD, source: "pesapal", product_id: product.slug };
  const key = { "idempotency-key": "tab-1" };

  const first = await app.post("/api/v1/save-lead", lead, key);
  const again = await app.post("/api/v1/save-lead", lead, key);
  const other = await app.post("/api/v1/save-lead", { ...lead, name: "Juma" }, key);
  const strange = await app.post("/api/v1/save-lead", lead, { "idempotency-key": "a b" });

  equal(again.text, first.text);
  equal(again.headers.get("idempotency-replayed"), "true");
  assertOldError(other, 422, /Idempotency-Key/);
  assertOldError(strange, 400, /Idempotency-Key/);
  equal(await app.count(keys.invoices), 1);
});

Deno.test("POST /api/v1/save-lead says 503 and when to come back while the store hangs", async () => {
  await using app = await startShop({ deadlines: SHORT_DEADLINES });
  app.kv.isHanging = true;

  const answer = await app.post("/api/v1/save-lead", OLD_LEAD);

  assertOldError(answer, 503, /./);
  match(answer.headers.get("retry-after") ?? "", /^\d+$/);
});

Deno.test("POST /api/v1/save-lead says nothing of a defect of ours", async () => {
  await using app = await startShop();
  await app.kv.corrupt(keys.clientByEmail("asha@example.com"));

  const answer = await leavesStoreAlone(app, () => app.post("/api/v1/save-lead", OLD_LEAD));

  assertOldError(
    answer,
    500,
    /^An unexpected error occurred\. It has been logged; please try again$/,
  );
  equal(accessLog(app).at(-1)?.status, 500);
});

Deno.test("GET /save-lead/ is a problem: nobody of old sends it", async () => {
  await using app = await startShop();

  const answer = await app.get("/save-lead/");

  assertProblem(answer, 405, "method_not_allowed");
  equal(answer.headers.get("allow"), "POST");
});
