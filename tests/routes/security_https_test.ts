/** In production plain HTTP is redirected to HTTPS, and HSTS keeps browsers there. */
import { strictEqual as equal } from "node:assert/strict";
import { LEAD } from "../support/program/app.ts";
import { assertProblem } from "../support/program/answers.ts";
import { leavesStoreAlone, newKvFile, startShop } from "../support/program/shop.ts";
import { get, speak } from "./_raw_requests.ts";

/** The least that production needs, beside a KV file. */
const PRODUCTION = {
  APP_ENV: "production",
  PUBLIC_URL: "https://shop.example.com",
  SECRET_KEY: btoa(Array.from({ length: 32 }, (_, i) => String.fromCharCode(7 * i)).join("")),
  BOOTSTRAP_API_KEY: "a-key-for-this-test-only",
  RATE_LIMITS: "",
};
const HSTS = "max-age=31536000; includeSubDomains";
const HOST = { host: "shop.example.com" };

/** What is asked for, and where that is sent. */
const REDIRECTS: [target: string, location: string][] = [
  ["/", "/"],
  ["/api/v2/products?category=web&limit=2", "/api/v2/products?category=web&limit=2"],
  ["/i/abc", "/i/abc"],
  ["/docs?next=https://evil.example", "/docs?next=https://evil.example"],
  ["/x?y=%0d%0aset-cookie:z", "/x?y=%0d%0aset-cookie:z"],
  ["//evil.example/x", "//evil.example/x"],
  ["/@evil.example", "/@evil.example"],
  ["/a/../../@evil.example", "/@evil.example"],
];

Deno.test("in production plain HTTP is redirected to the public address, with path and query", async () => {
  await using file = await newKvFile();
  await using app = await startShop({ env: { ...PRODUCTION, KV_PATH: file.path } });

  for (const [target, location] of REDIRECTS) {
    const { status, headers, text } = await get(app, target, HOST);
    equal(status, 308);
    equal(headers.get("location"), `https://shop.example.com${location}`);
    equal(new URL(headers.get("location")!).host, "shop.example.com");
    equal(headers.get("strict-transport-security"), HSTS);
    equal(text, "");
  }
  const body = JSON.stringify(LEAD);
  const posted = await leavesStoreAlone(app, () =>
    speak(
      app,
      `POST /api/v2/leads HTTP/1.1\r\nhost: ${HOST.host}\r\ncontent-type: application/json\r\n` +
        `content-length: ${body.length}\r\n\r\n${body}`,
    ));
  equal(posted.status, 308);
  equal(posted.headers.get("location"), "https://shop.example.com/api/v2/leads");
});

Deno.test("in production health checks work over plain HTTP, and requests for other hosts are not redirected", async () => {
  await using file = await newKvFile();
  await using app = await startShop({ env: { ...PRODUCTION, KV_PATH: file.path } });

  for (const path of ["/health", "/health/", "/health/live", "/health/ready"]) {
    equal((await get(app, path, { host: "10.0.0.7:8000" })).status, 200);
  }
  for (const host of ["evil.example", "localhost", "127.0.0.1"]) {
    assertProblem(await get(app, "/docs", { host }), 421, "misdirected");
  }
});

/** By number of trusted proxies: X-Forwarded-Proto as received, and whether it means HTTPS. */
const PROTOCOLS: [hops: number, proto: string | null, isHttps: boolean][] = [
  [0, null, false],
  [0, "https", false],
  [1, null, false],
  [1, "", false],
  [1, "http", false],
  [1, "https", true],
  [1, "https, http", false],
  [1, "http, https", true],
  [1, "httpsx", false],
  [2, "https, http", true],
  [2, "http, https", false],
  // A proxy that overwrites instead of appending.
  [2, "https", true],
  [2, "http", false],
];

for (const [hops, proto, isHttps] of PROTOCOLS) {
  Deno.test(`behind ${hops} proxies, X-Forwarded-Proto ${proto ?? "none"} is ${isHttps ? "" : "not "}HTTPS`, async () => {
    await using file = await newKvFile();
    const env = { ...PRODUCTION, KV_PATH: file.path, TRUSTED_PROXY_HOPS: String(hops) };
    await using app = await startShop({ env });
    const headers = { ...HOST, ...(proto === null ? {} : { "x-forwarded-proto": proto }) };

    const answer = await get(app, "/api/v2/products", headers);

    equal(answer.status, isHttps ? 200 : 308);
    equal(answer.headers.get("strict-transport-security"), HSTS);
  });
}
