/**
 * The catalogue: what visitors see is remembered for minutes, here and in
 * browsers, and what is sold is what is stored.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD, PRODUCT } from "../support/program/app.ts";
import { accessLog, assertProblem, etagOf } from "../support/program/answers.ts";
import {
  asAdmin,
  checkedHistoryOf,
  leavesStoreAlone,
  newKvFile,
  startShop,
} from "../support/program/shop.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
const PRICE = { currency: "TZS", minor: 45_000_000 };
const NEW = { title: "Duka POS", category: "saas", price: PRICE };

Deno.test("POST /api/v2/products puts a product on sale", async () => {
  await using app = await startShop();
  const oldPrice = { currency: "TZS", minor: 60_000_000 };

  const { status, headers, body } = await asAdmin(app, "POST", "/api/v2/products", {
    body: { ...PRODUCT, oldPrice, demoUrl: "https://demo.example.com/x" },
  });

  equal(status, 201);
  equal(headers.get("location"), `/api/v2/products/${body.id}`);
  equal(etagOf({ headers }), '"1"');
  equal(headers.get("cache-control"), "no-store");
  deepEqual(body, {
    id: body.id,
    slug: "duka-pos",
    title: "Duka POS",
    category: "saas",
    price: PRICE,
    oldPrice,
    description: "<p>Point of sale</p>",
    features: ["Works offline"],
    demoUrl: "https://demo.example.com/x",
    active: true,
    revision: 1,
    createdAt: "2026-06-15T09:00:00.000Z",
    updatedAt: "2026-06-15T09:00:00.000Z",
  });
  for (const address of [body.id, "duka-pos"]) {
    deepEqual((await app.get(`/api/v2/products/${address}`)).body, body);
  }
  deepEqual((await app.get("/api/v2/products")).body.data, [body]);
  equal(await app.services.store.get(keys.productBySlug("duka-pos")), body.id);
});

Deno.test("POST /api/v2/products makes a slug of the title when none is given", async () => {
  await using app = await startShop();

  for (
    const [title, slug] of [
      ["Duka POS", "duka-pos"],
      ["  Café & Bar — 2.0!  ", "cafe-bar-2-0"],
      ["x".repeat(160), "x".repeat(80)],
    ]
  ) {
    const { body } = await asAdmin(app, "POST", "/api/v2/products", { body: { ...NEW, title } });
    equal(body.slug, slug);
  }
  const nothing = await asAdmin(app, "POST", "/api/v2/products", {
    body: { ...NEW, title: "دكان" },
  });
  assertProblem(nothing, 422, "invalid_input", { paths: ["slug"] });
});

Deno.test("a slug belongs to one product, also when two ask at once", async () => {
  await using app = await startShop();
  const create = () => asAdmin(app, "POST", "/api/v2/products", { body: NEW });

  const answers = await Promise.all([create(), create(), create()]);
  const other = await app.stockProduct({ slug: "other" });
  const moved = await leavesStoreAlone(
    app,
    () => asAdmin(app, "PATCH", `/api/v2/products/${other.id}`, { body: { slug: "duka-pos" } }),
  );

  deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409]);
  const refused = answers.find(({ status }) => status === 409)!;
  assertProblem(refused, 409, "conflict", { paths: ["slug"] });
  assertProblem(moved, 409, "conflict", { paths: ["slug"] });
  equal(await app.count(keys.products), 2);
  equal(await app.count(["product_by_slug"]), 2);
});

Deno.test("a product that is renamed is found under its new slug only, which frees the old one", async () => {
  await using app = await startShop();
  const { id } = await app.stockProduct();

  const { status, body } = await asAdmin(app, "PATCH", `/api/v2/products/${id}`, {
    body: { slug: "duka" },
  });

  equal(status, 200);
  equal(body.slug, "duka");
  equal((await app.get("/api/v2/products/duka")).body.id, id);
  assertProblem(await app.get("/api/v2/products/duka-pos"), 404, "not_found");
  const again = await asAdmin(app, "POST", "/api/v2/products", { body: NEW });
  equal(again.status, 201);
  equal((await app.get("/api/v2/products/duka-pos")).body.id, again.body.id);
});

Deno.test("a browser's copy of a slug does not pass for the product that has it now", async () => {
  await using app = await startShop();
  const first = await app.stockProduct();
  const copy = await app.get("/api/v2/products/duka-pos");
  await asAdmin(app, "PATCH", `/api/v2/products/${first.id}`, { body: { slug: "old" } });
  await app.stockProduct({ title: "Duka POS, anew" });

  const { status, body } = await app.request("GET", "/api/v2/products/duka-pos", {
    headers: { "if-none-match": copy.headers.get("etag")! },
  });

  equal(status, 200);
  equal(body.title, "Duka POS, anew");
});

Deno.test("POST /api/v2/products does a repeated Idempotency-Key once", async () => {
  await using app = await startShop();
  const create = (body: unknown) =>
    asAdmin(app, "POST", "/api/v2/products", { body, headers: { "idempotency-key": "p-1" } });
  const first = await create(NEW);

  const again = await create(NEW);
  const other = await create({ ...NEW, slug: "other" });

  equal(again.text, first.text);
  equal(again.headers.get("idempotency-replayed"), "true");
  assertProblem(other, 422, "idempotency_key_reused");
  equal(await app.count(keys.products), 1);
});

for (const path of ["/api/v2/products", "/api/v2/products/duka-pos"]) {
  Deno.test(`GET ${path} may be kept for a minute and asked after by ETag`, async () => {
    await using app = await startShop();
    const { id } = await app.stockProduct();
    const ask = (tag: string) => app.request("GET", path, { headers: { "if-none-match": tag } });

    const first = await app.get(path);
    const etag = etagOf(first)!;
    const same = await ask(etag);
    const among = await ask(`"x", W/${etag}`);
    const other = await ask('"x"');
    await asAdmin(app, "PATCH", `/api/v2/products/${id}`, { body: { title: "Duka 2" } });
    const changed = await ask(etag);

    equal(first.status, 200);
    match(etag, /^"[^"]+"$/);
    for (const { status, headers, text } of [same, among]) {
      equal(status, 304);
      equal(text, "");
      equal(etagOf({ headers }), etag);
      ok(!headers.has("content-type"));
    }
    for (const { headers } of [first, same, other, changed]) {
      equal(headers.get("cache-control"), "public, max-age=60");
      ok(headers.get("vary")?.split(/, */).includes("Authorization"));
      ok(headers.has("x-request-id"));
    }
    equal(other.status, 200);
    equal(changed.status, 200);
    ok(etagOf(changed) !== etag);
  });

  Deno.test(`GET ${path} with a key is nobody else's to keep`, async () => {
    await using app = await startShop();
    await app.stockProduct();

    const { headers } = await app.get(path, await app.newKey("products:read"));

    equal(headers.get("cache-control"), "private, no-store");
    ok(headers.get("vary")?.split(/, */).includes("Authorization"));
  });
}

Deno.test("the catalogue is read once, and then served from memory", async () => {
  await using app = await startShop();
  await app.stockProduct();
  for (
    const path of ["/api/v2/products", "/api/v2/products?limit=50", "/api/v2/products/duka-pos"]
  ) {
    await app.get(path);
  }
  const first = accessLog(app).length;
  const { reads } = app.kv;

  app.advance(4 * 60_000);
  for (const path of ["/api/v2/products", "/api/v2/products/duka-pos"]) {
    equal((await app.get(path)).status, 200);
  }

  deepEqual(accessLog(app).slice(first).map(({ kvReads, kvCommits }) => [kvReads, kvCommits]), [
    [0, 0],
    [0, 0],
  ]);
  equal(app.kv.reads, reads);
  app.advance(1);
  await app.get("/api/v2/products/duka-pos");
  ok(app.kv.reads > reads);
});

Deno.test("a change is seen at once where it was made", async () => {
  await using app = await startShop();
  const { id } = await app.stockProduct();
  const seen = async () => {
    const list = (await app.get("/api/v2/products")).body.data;
    const one = await app.get("/api/v2/products/duka-pos");
    return [list.map(({ title }: { title: string }) => title), one.status, one.body.title];
  };

  deepEqual(await seen(), [["Duka POS"], 200, "Duka POS"]);
  await asAdmin(app, "PATCH", `/api/v2/products/${id}`, { body: { title: "Duka 2" } });
  deepEqual(await seen(), [["Duka 2"], 200, "Duka 2"]);
  await asAdmin(app, "DELETE", `/api/v2/products/${id}`);
  deepEqual(await seen(), [[], 404, "Not found"]);
  await asAdmin(app, "PATCH", `/api/v2/products/${id}`, { body: { active: true } });
  deepEqual(await seen(), [["Duka 2"], 200, "Duka 2"]);
});

Deno.test("a change is seen by every instance within five minutes, browsers included", async () => {
  await using file = await newKvFile();
  await using here = await startShop({ env: { KV_PATH: file.path } });
  await using there = await startShop({ env: { KV_PATH: file.path } });
  const { id } = await here.stockProduct();
  const titles = async () => [
    (await there.get("/api/v2/products")).body.data[0].title,
    (await there.get(`/api/v2/products/${id}`)).body.title,
  ];
  deepEqual(await titles(), ["Duka POS", "Duka POS"]);

  await asAdmin(here, "PATCH", `/api/v2/products/${id}`, { body: { title: "Duka 2" } });
  there.advance(4 * 60_000);
  const before = await titles();
  there.advance(1);
  const after = await titles();

  deepEqual(before, ["Duka POS", "Duka POS"]);
  deepEqual(after, ["Duka 2", "Duka 2"]);
  const { headers } = await there.get("/api/v2/products");
  const maxAgeMs = Number(/max-age=(\d+)/.exec(headers.get("cache-control")!)![1]) * 1_000;
  ok(4 * 60_000 + maxAgeMs <= 5 * 60_000);
});

Deno.test("an instance sells by what is stored, whatever it remembers", async () => {
  await using file = await newKvFile();
  await using here = await startShop({ env: { KV_PATH: file.path } });
  await using there = await startShop({ env: { KV_PATH: file.path } });
  const { id } = await here.stockProduct();
  equal((await there.get(`/api/v2/products/${id}`)).status, 200);

  await asAdmin(here, "PATCH", `/api/v2/products/${id}`, {
    body: { price: { currency: "TZS", minor: 7 } },
  });
  const dearer = await there.post("/api/v2/leads", { ...LEAD, productId: id });
  await asAdmin(here, "DELETE", `/api/v2/products/${id}`);
  const gone = await there.post("/api/v2/leads", { ...LEAD, productId: id });

  equal(dearer.body.invoice.totalMinor, 7);
  assertProblem(gone, 422, "invalid_input", { paths: ["productId"] });
  equal(await there.count(keys.leads), 1);
});

Deno.test("a read that a change overtook is answered, but not remembered", async () => {
  await using app = await startShop();
  const { id } = await app.stockProduct();
  const held = app.kv.holdNextRead();

  const overtaken = app.get(`/api/v2/products/${id}`);
  await held.answered;
  await asAdmin(app, "PATCH", `/api/v2/products/${id}`, { body: { title: "Duka 2" } });
  held.release();

  equal((await overtaken).body.title, "Duka POS");
  equal((await app.get(`/api/v2/products/${id}`)).body.title, "Duka 2");
});

Deno.test("a description keeps a few tags, and everything else becomes text", async () => {
  await using app = await startShop();
  const description =
    '<p>Fast <b onclick="x()">and</b> <strong>safe</strong><script>alert(1)</script>\n<br/>';
  const cleaned =
    "<p>Fast &lt;b onclick=&quot;x()&quot;&gt;and&lt;/b&gt; <strong>safe</strong>&lt;script&gt;alert(1)&lt;/script&gt;\n<br></p>";

  const { body } = await asAdmin(app, "POST", "/api/v2/products", {
    body: { ...NEW, description },
  });
  const patched = await asAdmin(app, "PATCH", `/api/v2/products/${body.id}`, {
    body: { description: "<img src=x onerror=alert(1)>" },
  });

  equal(body.description, cleaned);
  equal(patched.body.description, "&lt;img src=x onerror=alert(1)&gt;");
  const again = await asAdmin(app, "PATCH", `/api/v2/products/${body.id}`, {
    body: { description: cleaned },
  });
  equal(again.body.description, cleaned);
  ok(!(await app.kv.text(["product"])).includes("<script"));
});

Deno.test("a product that is not on sale is hidden from visitors, and shown to whoever may", async () => {
  await using app = await startShop();
  const hidden = await app.stockProduct({ slug: "hidden", active: false });
  const key = await app.newKey("products:read");

  for (const address of [hidden.id, "hidden"]) {
    assertProblem(await app.get(`/api/v2/products/${address}`), 404, "not_found");
    equal((await app.get(`/api/v2/products/${address}`, key)).body.id, hidden.id);
  }
  deepEqual((await app.get("/api/v2/products")).body.data, []);
  for (const status of ["inactive", "all"]) {
    const path = `/api/v2/products?status=${status}`;
    assertProblem(await app.get(path), 401, "unauthenticated");
    equal((await app.get(path, key)).body.data[0].id, hidden.id);
  }
  deepEqual((await app.get("/api/v2/products", key)).body.data, []);
});

Deno.test("what an operator has looked at is not remembered for visitors", async () => {
  await using app = await startShop();
  await app.stockProduct({ slug: "hidden", active: false });
  const key = await app.newKey("products:read");

  await app.get("/api/v2/products/hidden", key);
  await app.get("/api/v2/products?status=all", key);

  assertProblem(await app.get("/api/v2/products/hidden"), 404, "not_found");
  deepEqual((await app.get("/api/v2/products")).body.data, []);
});

Deno.test("DELETE /api/v2/products/:id takes it off sale and leaves what was sold alone", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const { body: sold } = await app.post("/api/v2/leads", { ...LEAD, productId: product.id });
  const remove = (headers: Record<string, string> = {}) =>
    asAdmin(app, "DELETE", `/api/v2/products/${product.id}`, { headers });

  const stale = await leavesStoreAlone(app, () => remove({ "if-match": '"9"' }));
  const { status, body } = await remove({ "if-match": '"1"' });
  const again = await leavesStoreAlone(app, () => remove());

  assertProblem(stale, 412, "stale_revision");
  equal(status, 200);
  equal(body.active, false);
  equal(body.revision, 2);
  deepEqual(again.body, body);
  assertProblem(
    await app.post("/api/v2/leads", { ...LEAD, productId: product.id }),
    422,
    "invalid_input",
    { paths: ["productId"] },
  );
  deepEqual((await asAdmin(app, "GET", `/api/v2/invoices/${sold.invoice.id}`)).body, sold.invoice);
  const [entry] = await checkedHistoryOf(app, "product", keys.product(product.id));
  equal(entry?.action, "product.archive");
  deepEqual(entry?.changes, { active: [true, false] });
});

Deno.test("PATCH /api/v2/products/:id keeps a history of prices that leads to the price", async () => {
  await using app = await startShop();
  const { id } = await app.stockProduct();
  for (const minor of [2, 3]) {
    await asAdmin(app, "PATCH", `/api/v2/products/${id}`, {
      body: { price: { currency: "TZS", minor } },
    });
  }

  const history = await checkedHistoryOf(app, "product", keys.product(id));

  deepEqual(history.map(({ changes }) => changes.price), [
    [PRICE, { currency: "TZS", minor: 2 }],
    [{ currency: "TZS", minor: 2 }, { currency: "TZS", minor: 3 }],
  ]);
});

const BAD: [what: string, fields: Record<string, unknown>, paths: string[]][] = [
  ["an empty title", { title: "" }, ["title"]],
  ["a title of two lines", { title: "a\nb" }, ["title"]],
  ["a title that is too long", { title: "x".repeat(161) }, ["title"]],
  ["a category that is none", { category: "food" }, ["category"]],
  ["a price of nothing", { price: { currency: "TZS", minor: 0 } }, ["price.minor"]],
  ["a negative price", { price: { currency: "TZS", minor: -1 } }, ["price.minor"]],
  ["half a cent", { price: { currency: "TZS", minor: 0.5 } }, ["price.minor"]],
  ["too high a price", { price: { currency: "TZS", minor: 1e14 + 1 } }, ["price.minor"]],
  ["a price in words", { price: { currency: "TZS", minor: "100" } }, ["price.minor"]],
  ["a currency that is none", { price: { currency: "tzs", minor: 1 } }, ["price.currency"]],
  ["a price and more", { price: { ...PRICE, tax: 1 } }, ["price.tax"]],
  ["an old price in another currency", { oldPrice: { currency: "KES", minor: 1e9 } }, [
    "oldPrice.currency",
  ]],
  ["an old price that is no higher", { oldPrice: PRICE }, ["oldPrice.minor"]],
  ["a slug with capitals", { slug: "Duka" }, ["slug"]],
  ["a slug that leaves its place", { slug: "../x" }, ["slug"]],
  ["a slug that is too long", { slug: "x".repeat(81) }, ["slug"]],
  ["a slug like an id", { slug: UNKNOWN_ID }, ["slug"]],
  ["a description that is too long", { description: "x".repeat(8_001) }, ["description"]],
  ["a description with a control", { description: "a\u0000" }, ["description"]],
  ["51 features", { features: Array(51).fill("x") }, ["features"]],
  ["a feature that is empty", { features: ["x", ""] }, ["features.1"]],
  ["a demo that is a script", { demoUrl: "javascript:alert(1)" }, ["demoUrl"]],
  ["a demo that is no address", { demoUrl: "example" }, ["demoUrl"]],
  ["active in words", { active: "yes" }, ["active"]],
  ["an id of its own", { id: UNKNOWN_ID }, ["id"]],
  ["a revision of its own", { revision: 9 }, ["revision"]],
];

for (const [what, fields, paths] of BAD) {
  Deno.test(`POST and PATCH /api/v2/products refuse ${what}`, async () => {
    await using app = await startShop();
    const { id } = await app.stockProduct();

    const [post, patch] = await leavesStoreAlone(app, () =>
      Promise.all([
        asAdmin(app, "POST", "/api/v2/products", { body: { ...NEW, slug: "new", ...fields } }),
        asAdmin(app, "PATCH", `/api/v2/products/${id}`, { body: fields }),
      ]));

    assertProblem(post, 422, "invalid_input", { paths });
    assertProblem(patch, 422, "invalid_input", { paths });
  });
}

Deno.test("PATCH /api/v2/products/:id compares a new price with the old price that stands", async () => {
  await using app = await startShop();
  const { id } = await app.stockProduct({ oldPrice: { currency: "TZS", minor: 50_000_000 } });

  const answer = await leavesStoreAlone(app, () =>
    asAdmin(app, "PATCH", `/api/v2/products/${id}`, {
      body: { price: { currency: "TZS", minor: 50_000_000 } },
    }));

  assertProblem(answer, 422, "invalid_input", { paths: ["oldPrice.minor"] });
});

Deno.test("a stale or malformed If-Match changes no product", async () => {
  await using app = await startShop();
  const { id } = await app.stockProduct();
  const patch = (tag: string) =>
    leavesStoreAlone(app, () =>
      asAdmin(app, "PATCH", `/api/v2/products/${id}`, {
        body: { title: "Other" },
        headers: { "if-match": tag },
      }));

  assertProblem(await patch('"2"'), 412, "stale_revision");
  assertProblem(await patch("1"), 400, "malformed");
});

Deno.test("what is asked of a product that is not there is 404", async () => {
  await using app = await startShop();
  const address = `/api/v2/products/${UNKNOWN_ID}`;

  const answers = await leavesStoreAlone(app, () =>
    Promise.all([
      app.get(address),
      app.get("/api/v2/products/no-such-product"),
      app.get("/api/v2/products/%F0%9F%98%80"),
      asAdmin(app, "GET", address),
      asAdmin(app, "PATCH", address, { body: { title: "x" } }),
      asAdmin(app, "DELETE", address),
    ]));

  for (const answer of answers) assertProblem(answer, 404, "not_found");
  assertProblem(await app.get(`/api/v2/products/${"x".repeat(81)}`), 422, "invalid_input", {
    paths: ["idOrSlug"],
  });
});
