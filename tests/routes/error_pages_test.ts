/** Browsers that open a page receive errors as pages; programs receive problem documents. */
import { match, ok, strictEqual as equal } from "node:assert/strict";
import { LEAD } from "../support/program/app.ts";
import { startShop } from "../support/program/shop.ts";

const BROWSER = { accept: "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8" };
const NOTHING_TO_LOAD = "default-src 'none'; frame-ancestors 'none'";

Deno.test("a browser receives errors as pages, a program as problem documents", async () => {
  await using app = await startShop();
  const pages: [path: string, status: number, heading: string][] = [
    ["/nowhere", 404, "Not found"],
    ["/i/x", 404, "Not found"],
    ["/metrics", 401, "Not authenticated"],
    ["/save-lead/", 405, "Method not allowed"],
  ];

  for (const [path, expected, heading] of pages) {
    const { status, headers, text } = await app.request("GET", path, { headers: BROWSER });
    equal(status, expected, path);
    equal(headers.get("content-type"), "text/html; charset=utf-8");
    equal(headers.get("cache-control"), "no-store");
    equal(headers.get("content-security-policy"), NOTHING_TO_LOAD);
    match(text, /^<!DOCTYPE html>\n<html lang="en">/);
    match(text, new RegExp(`<h1>${heading}</h1>`));
    ok(text.includes(headers.get("x-request-id")!));
    ok(!/<script|<style|\sstyle=|\son\w+=/.test(text));
    for (const accept of ["*/*", "application/json", "image/png"]) {
      const { headers } = await app.request("GET", path, { headers: { accept } });
      equal(headers.get("content-type"), "application/problem+json", path);
    }
  }
  for (const path of ["/api/nowhere", "/api/v2/leads", "/api/v2/products/none"]) {
    const { headers } = await app.request("GET", path, { headers: BROWSER });
    equal(headers.get("content-type"), "application/problem+json", path);
  }
});

Deno.test("an internal error shows a browser a page without details", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const { body } = await app.post("/api/v2/leads", { ...LEAD, productId: product.id });
  await app.kv.corrupt(["invoice", body.invoice.id]);

  const { status, text, headers } = await app.request(
    "GET",
    new URL(body.links.invoice).pathname,
    { headers: BROWSER },
  );

  equal(status, 500);
  equal(headers.get("content-type"), "text/html; charset=utf-8");
  match(text, /<p>An unexpected error occurred\. It has been logged; please try again<\/p>/);
  ok(!/decode|schema|TypeError|\.ts/.test(text), text);
});
