/**
 * The contract and its reader come from this program alone: no page of ours
 * loads anything from anywhere else.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { startShop } from "../support/program/shop.ts";

Deno.test("GET /openapi.json is the contract, which may be kept for a while", async () => {
  await using app = await startShop({ env: { PUBLIC_URL: "https://shop.example.com" } });

  const { status, headers, body } = await app.get("/openapi.json");

  equal(status, 200);
  match(headers.get("content-type") ?? "", /^application\/json/);
  equal(headers.get("cache-control"), "public, max-age=300");
  equal(headers.get("x-content-type-options"), "nosniff");
  equal(body.openapi, "3.1.0");
  deepEqual(body.servers, [{ url: "https://shop.example.com" }]);
  ok(Object.keys(body.paths).length > 10);
});

Deno.test("GET /docs names nothing that is elsewhere, and allows nothing that is", async () => {
  await using app = await startShop();

  const { status, headers, text } = await app.get("/docs");

  equal(status, 200);
  match(headers.get("content-type") ?? "", /^text\/html; charset=utf-8$/i);
  ok(!/(?:https?:)?\/\/[a-z0-9]/i.test(text), text);
  const policy = headers.get("content-security-policy") ?? "";
  match(policy, /default-src 'none'/);
  match(policy, /script-src 'self'(;|$)/);
  ok(!/https?:|\*|script-src[^;]*unsafe/.test(policy), policy);
});

Deno.test("every asset that /docs names is here, and is what its name says", async () => {
  await using app = await startShop();
  const { text } = await app.get("/docs");
  const assets = [...text.matchAll(/(?:src|href)="(\/[^"]*)"/g)].map(([, path]) => path!);
  const types: Record<string, RegExp> = { css: /^text\/css/, js: /^text\/javascript/ };

  ok(assets.length >= 3);
  for (const path of assets) {
    const asset = await app.get(path);
    equal(asset.status, 200, path);
    match(asset.headers.get("content-type") ?? "", types[path.split(".").at(-1)!]!, path);
    equal(asset.headers.get("x-content-type-options"), "nosniff");
    equal(asset.headers.get("cache-control"), "public, max-age=300");
    ok(asset.text.length > 50, path);
  }
  ok(!/<script(?![^>]*\bsrc=)[^>]*>/.test(text), "A script within the page");
});

Deno.test("the reader starts by itself on this program's contract", async () => {
  await using app = await startShop();

  const { text } = await app.get("/docs/start.js");

  const url = /url: "([^"]+)"/.exec(text)![1]!;
  equal((await app.get(url)).body.openapi, "3.1.0");
  match(text, /SwaggerUIBundle\(/);
  match((await app.get("/docs")).text, /id="docs"/);
});
