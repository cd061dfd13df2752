/** The headers that protect browsers, and those that keep personal data out of caches. */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { isId } from "../../lib/ids.ts";
import { LEAD, type TestAnswer } from "../support/program/app.ts";
import { contractOf } from "../support/program/openapi.ts";
import {
  asAdmin,
  newClient,
  SHORT_DEADLINES,
  startShop,
  type TestShop,
} from "../support/program/shop.ts";
import { forge, get } from "./_raw_requests.ts";

const BROWSER = { accept: "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8" };
const NOTHING_TO_LOAD = "default-src 'none'; frame-ancestors 'none'";

/** One answer of each kind that there is. */
async function answersOfEveryKind(app: TestShop): Promise<Map<string, TestAnswer<unknown>>> {
  const product = await app.stockProduct();
  const { body, ...lead } = await app.post("/api/v2/leads", { ...LEAD, productId: product.id });
  const page = new URL(body.links.invoice).pathname;
  const listed = await app.get("/api/v2/products");
  const etag = listed.headers.get("etag")!;
  const origin = "https://pages.example.com";
  const broken = await newClient(app, { email: "broken@example.com" });
  await app.kv.corrupt(["client", broken]);
  const ask = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    app.request(method, path, { headers });
  const answers = new Map<string, TestAnswer<unknown>>([
    ["201", { ...lead, body }],
    ["200", await asAdmin(app, "GET", "/api/v2/leads")],
    ["200 of the catalogue", listed],
    ["304", await ask("/api/v2/products", { "if-none-match": etag })],
    ["HEAD", await ask("/api/v2/products", {}, "HEAD")],
    ["a preflight", await ask("/api/v2/leads", { origin }, "OPTIONS")],
    ["a page", await ask(page, BROWSER)],
    ["/docs", await ask("/docs", BROWSER)],
    ["a script", await ask("/docs/start.js")],
    ["a style sheet", await ask("/docs/swagger-ui.css")],
    ["/openapi.json", await ask("/openapi.json")],
    ["/health", await ask("/health")],
    ["/metrics", await asAdmin(app, "GET", "/metrics")],
    ["400", await app.post("/api/v2/leads", "{")],
    ["401", await ask("/api/v2/leads")],
    ["403", await app.get("/api/v2/leads", await app.newKey())],
    ["403 as a page", await forge(app, "/nowhere")],
    ["404", await ask("/api/nowhere")],
    ["404 as a page", await ask("/nowhere", BROWSER)],
    ["405", await ask("/api/v2/leads", {}, "PUT")],
    ["413", await app.post("/api/v2/leads", "x".repeat(70_000))],
    ["415", await app.post("/api/v2/leads", "x", { "content-type": "text/plain" })],
    ["421", await get(app, "/", { host: "evil.example" })],
    ["422", await app.post("/api/v2/leads", {})],
    ["500", await asAdmin(app, "GET", `/api/v2/clients/${broken}`)],
    ["the old site's", await app.post("/save-lead/", { name: "Asha", contact: "0712345678" })],
    ["the old site's 422", await app.post("/save-lead/", {})],
    ["429", await app.post("/api/v2/leads", LEAD)],
  ]);
  app.kv.isHanging = true;
  answers.set("503", await asAdmin(app, "GET", "/api/v2/leads"));
  app.kv.isHanging = false;
  return answers;
}

/** Everything at once that {@linkcode answersOfEveryKind} needs. */
const EVERY_KIND = {
  env: { CORS_ORIGINS: "https://pages.example.com", RATE_LIMITS: "lead_post=3/1m" },
  deadlines: SHORT_DEADLINES,
};

Deno.test("every kind of answer has the security headers for browsers", async () => {
  await using app = await startShop(EVERY_KIND);

  for (const [kind, { status, headers }] of await answersOfEveryKind(app)) {
    if (/^\d{3}/.test(kind)) equal(String(status), kind.slice(0, 3), kind);
    equal(headers.get("x-content-type-options"), "nosniff", kind);
    equal(headers.get("x-frame-options"), "DENY", kind);
    equal(headers.get("referrer-policy"), "no-referrer", kind);
    equal(headers.get("cross-origin-resource-policy"), "same-origin", kind);
    equal(headers.get("cross-origin-opener-policy"), "same-origin", kind);
    ok(isId(headers.get("x-request-id") ?? ""), kind);
    ok(!headers.has("x-powered-by") && !headers.has("server"), kind);
    const policy = headers.get("content-security-policy") ?? "";
    if (kind !== "a page" && kind !== "/docs") equal(policy, NOTHING_TO_LOAD, kind);
  }
});

Deno.test("no kind of answer discloses stack traces, file names or error classes", async () => {
  await using app = await startShop(EVERY_KIND);
  const internals = /\bat \S+ \(|\bat file:|\.tsx?:\d+|node_modules|TypeError|SyntaxError|AppError/;

  for (const [kind, { headers, text }] of await answersOfEveryKind(app)) {
    // The reader of the contract is another's program, and says what it likes.
    if (kind === "a script" || kind === "a style sheet") continue;
    ok(!internals.test(text), kind);
    ok(!internals.test(JSON.stringify([...headers])), kind);
  }
});

Deno.test("the invoice page runs no scripts, and applies only styles with the nonce of the answer", async () => {
  await using app = await startShop();
  const product = await app.stockProduct({ title: "<script>alert(1)</script>" });
  const { body } = await app.post("/api/v2/leads", { ...LEAD, productId: product.id });
  const nonces = new Set<string>();

  for (let i = 0; i < 3; i++) {
    const { headers, text } = await app.get(new URL(body.links.invoice).pathname);
    const policy = headers.get("content-security-policy") ?? "";
    const nonce = /style-src 'nonce-([\w-]{22})'(?:;|$)/.exec(policy)?.[1] ?? "";
    const directives = new Map(
      policy.split("; ").map((part) => {
        const [name = "", ...values] = part.split(" ");
        return [name, values.join(" ")];
      }),
    );
    equal(directives.get("default-src"), "'none'");
    equal(directives.get("script-src"), `'nonce-${nonce}'`);
    equal(directives.get("base-uri"), "'none'");
    equal(directives.get("form-action"), "'self'");
    equal(directives.get("frame-ancestors"), "'none'");
    ok(!/unsafe|\*|https?:/.test(policy), policy);
    deepEqual(text.match(/<style[^>]*>/g), [`<style nonce="${nonce}">`]);
    ok(!/<script|\son\w+=|\sstyle=|javascript:/i.test(text), text);
    nonces.add(nonce);
  }
  equal(nonces.size, 3);
  ok(!nonces.has(""));
});

Deno.test("/docs runs and loads only scripts and styles of this origin", async () => {
  await using app = await startShop();

  const { headers, text } = await app.get("/docs");

  const policy = headers.get("content-security-policy") ?? "";
  match(policy, /^default-src 'none'; script-src 'self'; /);
  ok(!/script-src[^;]*unsafe/.test(policy), policy);
  ok(!/https?:|\*/.test(policy), policy);
  ok(!/<script>|<script [^>]*>[^<]|\son\w+=/i.test(text), text);
  for (const [, address] of text.matchAll(/(?:src|href)="([^"]+)"/g)) {
    match(address!, /^(?:\/docs\/[\w.-]+|data:,)$/);
  }
});

/** Answers that are the same for everyone, while no key was shown. */
const FOR_EVERYONE = new Set(["GET /api/v2/products", "GET /api/v2/products/{idOrSlug}"]);

Deno.test("answers with personal data may not be cached", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const { body } = await app.post("/api/v2/leads", { ...LEAD, productId: product.id });
  const ids: Record<string, string> = {
    leads: body.lead.id,
    clients: body.client.id,
    invoices: body.invoice.id,
    products: product.id,
  };
  const { operations } = await contractOf(app);

  for (const { method, path } of operations) {
    const resource = path.split("/")[3] ?? "";
    const place = path.replace(/\{\w+\}/g, ids[resource] ?? "");
    for (const key of [app.adminKey, undefined]) {
      const { status, headers } = await app.request(method, place, {
        ...(method === "POST" || method === "PATCH" ? { body: {} } : {}),
        ...(key === undefined ? {} : { key }),
      });
      const isPublic = FOR_EVERYONE.has(`${method} ${path}`) && key === undefined;
      const said = headers.get("cache-control") ?? "";
      const expected = isPublic ? /^public, max-age=\d+/ : /^(?:private, )?no-store$/;
      match(said, expected, `${status} of ${method} ${path}: ${said}`);
    }
  }
  const page = await app.get(new URL(body.links.invoice).pathname);
  equal(page.headers.get("cache-control"), "no-store");
});
