/** CORS: pages of configured origins may call the API, other pages may not. */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { LEAD } from "../support/program/app.ts";
import { startShop } from "../support/program/shop.ts";

const PAGES = "https://pages.example.com";
const EXPOSED = [
  "ETag",
  "Idempotency-Replayed",
  "Location",
  "RateLimit",
  "RateLimit-Policy",
  "Retry-After",
  "X-Request-Id",
];

Deno.test("pages of a configured origin may call the API, and read its answers and errors", async () => {
  await using app = await startShop({
    env: { CORS_ORIGINS: `${PAGES},https://www.example.com`, RATE_LIMITS: "lead_post=1/1m" },
  });
  const headers = { origin: PAGES };
  const ask = (method: string, path: string, body?: unknown) =>
    app.request(method, path, { headers, ...(body === undefined ? {} : { body }) });

  const preflight = await app.request("OPTIONS", "/api/v2/leads", {
    headers: {
      ...headers,
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type,idempotency-key",
    },
  });
  const answers = [
    await ask("POST", "/api/v2/leads", LEAD),
    await ask("POST", "/api/v2/leads", LEAD),
    await ask("POST", "/api/v2/leads", {}),
    await ask("POST", "/api/v2/leads", "{"),
    await ask("GET", "/api/v2/leads"),
    await ask("GET", "/api/nowhere"),
    await ask("PUT", "/api/v2/leads"),
    await ask("GET", "/api/v2/products"),
    await ask("POST", "/api/v1/save-lead", {}),
  ];

  equal(preflight.status, 204);
  equal(preflight.headers.get("access-control-allow-origin"), PAGES);
  equal(preflight.headers.get("access-control-max-age"), "600");
  deepEqual(preflight.headers.get("access-control-allow-methods")?.split(","), [
    "GET",
    "HEAD",
    "POST",
    "PATCH",
    "DELETE",
  ]);
  deepEqual(preflight.headers.get("access-control-allow-headers")?.split(","), [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
  ]);
  deepEqual(answers.map(({ status }) => status), [201, 429, 422, 400, 401, 404, 405, 200, 422]);
  for (const { headers } of [preflight, ...answers]) {
    equal(headers.get("access-control-allow-origin"), PAGES);
    match(headers.get("vary") ?? "", /\borigin\b/i);
    ok(!headers.has("access-control-allow-credentials"));
  }
  for (const { headers } of answers) {
    deepEqual(headers.get("access-control-expose-headers")?.split(","), EXPOSED);
  }
});

for (
  const origin of [
    "https://evil.example",
    "http://pages.example.com",
    "https://pages.example.com:8443",
    "https://pages.example.com.evil.example",
    "https://evilpages.example.com",
    "HTTPS://PAGES.EXAMPLE.COM",
    "null",
    "",
  ]
) {
  Deno.test(`pages of ${origin || "nowhere"} may not read the API`, async () => {
    await using app = await startShop({ env: { CORS_ORIGINS: PAGES } });

    for (const method of ["GET", "OPTIONS"]) {
      const { headers } = await app.request(method, "/api/v2/products", { headers: { origin } });

      ok(!headers.has("access-control-allow-origin"));
      ok(!headers.has("access-control-allow-credentials"));
      match(headers.get("vary") ?? "", /\borigin\b/i);
    }
  });
}

Deno.test("pages of other sites may not read without configured origins, or outside the API", async () => {
  await using app = await startShop();
  await using open = await startShop({ env: { CORS_ORIGINS: PAGES } });

  const preflight = await app.request("OPTIONS", "/api/v2/leads", { headers: { origin: PAGES } });
  const read = await app.request("GET", "/api/v2/products", { headers: { origin: PAGES } });
  const metrics = await open.request("GET", "/metrics", {
    headers: { origin: PAGES },
    key: open.adminKey,
  });

  equal(preflight.status, 405);
  for (const { headers } of [preflight, read, metrics]) {
    ok(![...headers.keys()].some((name) => name.startsWith("access-control-")));
  }
});
