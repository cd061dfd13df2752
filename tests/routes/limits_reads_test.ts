/** Rate limits of API keys, of the catalogue, of invoice addresses and of the old site's form. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { invoiceToken } from "../../lib/invoices/links.ts";
import { LEAD } from "../support/program/app.ts";
import { assertProblem } from "../support/program/answers.ts";
import { asAdmin, newKvFile, type TestShop } from "../support/program/shop.ts";
import { assertLimited, limitsOf, postFrom, startLimited } from "./_limits.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";

let sent = 0;

Deno.test("the writes of each API key are limited separately and exactly", async () => {
  await using app = await startLimited("key_write=2/1m,lead_post=1/1m");
  const [one, other] = [await app.newKey("leads:write"), await app.newKey("leads:write")];
  const post = (key: string) =>
    app.request("POST", "/api/v2/leads", { body: { ...LEAD, email: `k${++sent}@a.example` }, key });

  const first = await post(one);
  equal(first.status, 201);
  deepEqual(Object.keys(limitsOf(first).policy), ["key_write", "lead_email"]);
  deepEqual(limitsOf(first).state.key_write, { r: 1, t: 60 });
  equal((await post(one)).status, 201);

  assertLimited(await post(one), 60);
  const { reads, commits } = app.kv;
  assertLimited(await post(one), 60);
  // The key has to be read before anything can be answered.
  deepEqual([app.kv.reads - reads, app.kv.commits - commits], [1, 0]);
  equal((await post(other)).status, 201);
  // Visitors are counted by address, and this is the first.
  equal((await postFrom(app, "192.0.2.1")).status, 201);
  app.advance(60_000);
  equal((await post(one)).status, 201);
});

Deno.test("every kind of write by an API key counts, its reads do not", async () => {
  await using app = await startLimited("key_write=3/1m");
  const price = { currency: "TZS", minor: 1 };
  const body = { title: "One", category: "web", price };
  const { body: product } = await asAdmin(app, "POST", "/api/v2/products", { body });
  const path = `/api/v2/products/${product.id}`;
  equal((await asAdmin(app, "PATCH", path, { body: { title: "Two" } })).status, 200);
  for (let i = 0; i < 5; i++) equal((await asAdmin(app, "GET", path)).status, 200);
  equal((await asAdmin(app, "DELETE", path)).status, 200);

  assertLimited(await asAdmin(app, "POST", "/api/v2/products", { body }), 60);
  assertLimited(await asAdmin(app, "PATCH", path, { body: { title: "Three" } }), 60);
  assertLimited(await asAdmin(app, "DELETE", path), 60);
  equal((await asAdmin(app, "GET", path)).status, 200);
});

Deno.test("the reads of an API key are limited per instance, without reading the store", async () => {
  await using app = await startLimited("key_read=3/1m,catalogue_read=1/1m");
  const key = await app.newKey("products:read", "leads:read");
  const { reads, commits } = app.kv;

  for (const path of ["/api/v2/leads", "/api/v2/products?status=all", "/api/v2/leads"]) {
    const answer = await app.get(path, key);
    equal(answer.status, 200);
    deepEqual(limitsOf(answer).policy, { key_read: { q: 3, w: 60 } });
  }

  assertLimited(await app.get("/api/v2/leads", key), 60);
  assertLimited(await app.get("/api/v2/products", key), 60);
  // One for each key that was shown; lists are no getMany().
  deepEqual([app.kv.reads - reads, app.kv.commits - commits], [5, 0]);
  equal((await app.get("/api/v2/leads", app.adminKey)).status, 200);
  app.advance(60_000);
  equal((await app.get("/api/v2/leads", key)).status, 200);
});

Deno.test("a visitor's reads of the catalogue are limited by address, without reading the store", async () => {
  await using app = await startLimited("catalogue_read=3/10s");
  const { slug } = await app.stockProduct();
  const read = (path: string, address: string) =>
    app.request("GET", path, { headers: { "x-forwarded-for": address } });
  for (const path of ["/api/v2/products", `/api/v2/products/${slug}`]) {
    await read(path, "192.0.2.9");
  }
  const { reads, commits } = app.kv;

  for (const path of ["/api/v2/products", `/api/v2/products/${slug}`, "/api/v2/products?limit=1"]) {
    const answer = await read(path, "192.0.2.1");
    equal(answer.status, 200);
    deepEqual(limitsOf(answer).policy, { catalogue_read: { q: 3, w: 10 } });
  }
  assertLimited(await read(`/api/v2/products/${slug}`, "192.0.2.1"), 10);

  deepEqual([app.kv.reads - reads, app.kv.commits - commits], [0, 0]);
  equal((await read("/api/v2/products", "192.0.2.2")).status, 200);
  app.advance(10_000);
  equal((await read("/api/v2/products", "192.0.2.1")).status, 200);
});

Deno.test("wrong invoice addresses are limited across all instances", async () => {
  await using file = await newKvFile();
  const env = { KV_PATH: file.path };
  await using here = await startLimited("invoice_link=4/1m", { env });
  await using there = await startLimited("invoice_link=4/1m", { env });
  const product = await here.stockProduct();
  const { body } = await postFrom(here, "192.0.2.9", { productId: product.id });
  const right = new URL(body.links.invoice).pathname;
  const get = (app: TestShop, path: string, address = "192.0.2.1") =>
    app.request("GET", path, { headers: { "x-forwarded-for": address } });
  const guesses = [
    "x",
    "A".repeat(43),
    right.slice(3, -1) + (right.endsWith("A") ? "B" : "A"),
    invoiceToken(here.config, UNKNOWN_ID),
  ];

  for (const [i, guess] of guesses.entries()) {
    const answer = await get(i % 2 ? here : there, `/i/${guess}`);
    assertProblem(answer, 404, "not_found");
    equal(answer.body.detail, "No such invoice");
  }

  for (const app of [here, there]) {
    for (const guess of guesses) {
      const answer = await get(app, `/i/${guess}`);
      assertLimited(answer, 60);
      deepEqual(limitsOf(answer), {
        policy: { invoice_link: { q: 4, w: 60 } },
        state: { invoice_link: { r: 0, t: 60 } },
      });
    }
    equal((await get(app, right)).status, 200);
    equal((await get(app, "/i/x", "192.0.2.2")).status, 404);
  }
  const { reads, commits } = here.kv;
  assertLimited(await get(here, "/i/x"), 60);
  deepEqual([here.kv.reads - reads, here.kv.commits - commits], [0, 0]);
});

Deno.test("reading a valid invoice page does not count as a guess", async () => {
  await using app = await startLimited("invoice_link=1/1m");
  const product = await app.stockProduct();
  const { body } = await postFrom(app, "192.0.2.1", { productId: product.id });

  for (let i = 0; i < 5; i++) {
    const answer = await app.get(new URL(body.links.invoice).pathname);
    equal(answer.status, 200);
    ok(!answer.headers.has("ratelimit-policy"));
  }
});

Deno.test("the old site's form shares the limit, and is refused in its own format", async () => {
  await using app = await startLimited("lead_post=4/1m");
  const old = (path: string) =>
    app.post(path, { name: "Asha", contact: `old${++sent}@example.com` }, {
      "x-forwarded-for": "192.0.2.1",
    });
  for (const path of ["/save-lead/", "/api/v1/save-lead", "/save-lead"]) {
    equal((await old(path)).status, 200);
  }
  equal((await postFrom(app, "192.0.2.1")).status, 201);

  for (const path of ["/save-lead/", "/api/v1/save-lead"]) {
    const answer = await old(path);
    equal(answer.status, 429);
    equal(answer.headers.get("content-type"), "application/json");
    equal(answer.headers.get("retry-after"), "60");
    deepEqual(limitsOf(answer).state, { lead_post: { r: 0, t: 60 } });
    deepEqual(answer.body, { status: "error", message: "Too many requests. Try again later" });
  }
  assertLimited(await postFrom(app, "192.0.2.1"), 60);
  equal(await app.count(keys.leads), 4);
});
