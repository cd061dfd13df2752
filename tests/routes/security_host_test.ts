/** The host check: only configured hosts are served, and no address comes from the request. */
import { match, ok, strictEqual as equal } from "node:assert/strict";
import { LEAD } from "../support/program/app.ts";
import { assertProblem } from "../support/program/answers.ts";
import { leavesStoreAlone, startShop } from "../support/program/shop.ts";
import { get } from "./_raw_requests.ts";

const BROWSER = { accept: "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8" };

for (
  const host of [
    "localhost",
    "localhost:8000",
    "LOCALHOST:1",
    "127.0.0.1",
    "[::1]:8000",
    "shop.example.com",
    "www.example.com:8443",
  ]
) {
  Deno.test(`Host: ${host} is served`, async () => {
    const env = { PUBLIC_URL: "https://shop.example.com", ALLOWED_HOSTS: "www.example.com" };
    await using app = await startShop({ env });

    equal((await get(app, "/api/v2/products", { host })).status, 200);
  });
}

for (
  const host of [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "notlocalhost",
    "shop.example.com.evil.example",
    "sub.shop.example.com",
    "127.0.0.2",
    "[::2]",
  ]
) {
  Deno.test(`Host: ${host} is refused on every path except health`, async () => {
    await using app = await startShop({ env: { PUBLIC_URL: "https://shop.example.com" } });

    for (const path of ["/api/v2/products", "/api/v2/leads", "/docs", "/i/x", "/nowhere"]) {
      const answer = await leavesStoreAlone(app, () => get(app, path, { host }));

      assertProblem(answer, 421, "misdirected", { notEchoed: host });
      ok(!answer.headers.has("location"));
    }
    for (const path of ["/health/live", "/health"]) {
      const { status, text } = await get(app, path, { host });
      equal(status, 200);
      ok(!text.includes(host));
    }
  });
}

Deno.test("a request target that names a host other than the Host header is refused", async () => {
  await using app = await startShop();

  const answer = await get(app, "http://evil.example/docs", { host: "localhost" });

  assertProblem(answer, 421, "misdirected", { notEchoed: "evil" });
});

Deno.test("no address in an answer comes from the request", async () => {
  await using app = await startShop({ env: { PUBLIC_URL: "https://shop.example.com" } });
  const product = await app.stockProduct();
  const spoofed = {
    "x-forwarded-host": "evil.example",
    "x-forwarded-server": "evil.example",
    "x-original-host": "evil.example",
    "x-host": "evil.example",
    "forwarded": "host=evil.example",
    "origin": "https://evil.example",
    "referer": "https://evil.example/",
  };

  const lead = await app.post("/api/v2/leads", { ...LEAD, productId: product.id }, spoofed);
  const old = await app.post("/save-lead/", {
    name: "Asha",
    contact: "asha@example.com",
    product_id: product.id,
    source: "pesapal",
  }, spoofed);
  const document = await app.request("GET", "/openapi.json", { headers: spoofed });
  const missing = await app.request("GET", "/nowhere", { headers: { ...BROWSER, ...spoofed } });

  match(lead.body.links.invoice, /^https:\/\/shop\.example\.com\/i\//);
  match(old.body.url, /^https:\/\/shop\.example\.com\/i\//);
  for (const { text, headers } of [lead, old, document, missing]) {
    ok(!text.includes("evil.example"));
    ok(![...headers.values()].join().includes("evil.example"));
  }
  ok(!(await app.kv.text()).includes("evil.example"));
});
