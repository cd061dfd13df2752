/**
 * What a browser, a proxy or a bot may not do, whatever it asks for.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { isId } from "../../lib/ids.ts";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD, type TestAnswer, type TestApp } from "../support/program/app.ts";
import { accessLog, assertProblem } from "../support/program/answers.ts";
import { Conformance } from "../support/program/conformance.ts";
import { contractOf } from "../support/program/openapi.ts";
import {
  asAdmin,
  leavesStoreAlone,
  newClient,
  newKvFile,
  SHORT_DEADLINES,
  startShop,
  type TestShop,
} from "../support/program/shop.ts";

const BROWSER = { accept: "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8" };
const NOTHING_TO_LOAD = "default-src 'none'; frame-ancestors 'none'";
/** A test that waits for an answer in vain fails. */
const ANSWER_MS = 5_000;

/** Speaks HTTP/1.1 by hand, and takes what comes until the answer is whole. */
async function speak(app: TestApp, text: string): Promise<TestAnswer<unknown>> {
  const { hostname, port } = new URL(app.url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const timer = setTimeout(() => connection.close(), ANSWER_MS);
  await connection.write(new TextEncoder().encode(text));
  const buffer = new Uint8Array(65_536);
  let received = "";
  let answer: TestAnswer<unknown> | null = null;
  while (!answer) {
    const size = await connection.read(buffer);
    if (size === null) throw new Error(`The connection ended in the middle of an answer`);
    // A character a byte, since that is what lengths are in.
    received += new TextDecoder("latin1").decode(buffer.subarray(0, size));
    answer = parseAnswer(received);
  }
  clearTimeout(timer);
  return answer;
}

/** Reads an answer in ASCII; null as long as it is not whole. */
function parseAnswer(received: string): TestAnswer<unknown> | null {
  const [head = "", rest] = received.split(/\r\n\r\n(.*)/s);
  const [statusLine = "", ...lines] = head.split("\r\n");
  const headers = new Headers(lines.map((line) => [
    line.slice(0, line.indexOf(":")),
    line.slice(line.indexOf(":") + 1).trim(),
  ]));
  const text = rest === undefined
    ? null
    : headers.has("transfer-encoding")
    ? unchunked(rest)
    : rest.length < Number(headers.get("content-length"))
    ? null
    : rest;
  if (text === null) return null;
  const isJson = /json/.test(headers.get("content-type") ?? "");
  return {
    status: Number(statusLine.split(" ")[1]),
    headers,
    text,
    body: isJson ? JSON.parse(text) : undefined,
  };
}

/** What chunks come to; null as long as the last one is not there. */
function unchunked(chunks: string): string | null {
  let text = "";
  for (let rest = chunks;;) {
    const [, digits] = /^([0-9a-f]+)\r\n/i.exec(rest) ?? [];
    if (digits === undefined) return null;
    const size = parseInt(digits, 16);
    const start = digits.length + 2;
    if (rest.length < start + size + 2) return null;
    if (size === 0) return text;
    text += rest.slice(start, start + size);
    rest = rest.slice(start + size + 2);
  }
}

/** A GET of which every header is the test's. */
function get(app: TestApp, target: string, headers: Record<string, string>) {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return speak(app, `GET ${target} HTTP/1.1\r\n${lines}\r\n`);
}

/** Makes timers that are set to exactly `ms` go off at once. */
function hasten(ms: number): Disposable {
  const { setTimeout: usual } = globalThis;
  globalThis.setTimeout =
    ((act: () => void, after?: number, ...rest: []) =>
      usual(act, after === ms ? 20 : after, ...rest)) as typeof setTimeout; // takes what it takes
  return {
    [Symbol.dispose]() {
      globalThis.setTimeout = usual;
    },
  };
}

// Hosts

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
  Deno.test(`Host: ${host} is refused, wherever it asks to go, but for health`, async () => {
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

Deno.test("a target that names another host than Host is refused", async () => {
  await using app = await startShop();

  const answer = await get(app, "http://evil.example/docs", { host: "localhost" });

  assertProblem(answer, 421, "misdirected", { notEchoed: "evil" });
});

Deno.test("no address that is given out comes from the request", async () => {
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

// HTTPS

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

Deno.test("in production plain HTTP is sent on to the public address, path and all", async () => {
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

Deno.test("in production health is answered over plain HTTP, and other hosts are not sent on", async () => {
  await using file = await newKvFile();
  await using app = await startShop({ env: { ...PRODUCTION, KV_PATH: file.path } });

  for (const path of ["/health", "/health/", "/health/live", "/health/ready"]) {
    equal((await get(app, path, { host: "10.0.0.7:8000" })).status, 200);
  }
  for (const host of ["evil.example", "localhost", "127.0.0.1"]) {
    assertProblem(await get(app, "/docs", { host }), 421, "misdirected");
  }
});

/** By proxies of ours: X-Forwarded-Proto as it arrives, and whether that was HTTPS. */
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

// Headers for browsers

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

/** Sends a form as a browser does for a page of another site. */
function forge(app: TestApp, path: string, headers: Record<string, string> = {}) {
  return app.request("POST", path, {
    body: "name=Asha",
    headers: {
      ...BROWSER,
      "content-type": "application/x-www-form-urlencoded",
      "cookie": "session=1",
      "origin": "https://evil.example",
      "sec-fetch-site": "cross-site",
      ...headers,
    },
  });
}

/** Everything at once that {@linkcode answersOfEveryKind} needs. */
const EVERY_KIND = {
  env: { CORS_ORIGINS: "https://pages.example.com", RATE_LIMITS: "lead_post=3/1m" },
  deadlines: SHORT_DEADLINES,
};

Deno.test("every kind of answer tells browsers what not to do", async () => {
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

Deno.test("no answer of any kind tells how the program is made", async () => {
  await using app = await startShop(EVERY_KIND);
  const internals = /\bat \S+ \(|\bat file:|\.tsx?:\d+|node_modules|TypeError|SyntaxError|AppError/;

  for (const [kind, { headers, text }] of await answersOfEveryKind(app)) {
    // The reader of the contract is another's program, and says what it likes.
    if (kind === "a script" || kind === "a style sheet") continue;
    ok(!internals.test(text), kind);
    ok(!internals.test(JSON.stringify([...headers])), kind);
  }
});

Deno.test("the invoice page runs nothing and styles only what has this answer's nonce", async () => {
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

Deno.test("/docs runs and loads what is ours alone", async () => {
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

// CORS

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

Deno.test("without configured origins, and outside of the API, no page of another site may read", async () => {
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

// Forged forms

for (
  const [how, headers] of [
    ["from another site", {}],
    ["from a neighbour of the same site", {
      "origin": "https://www.example.com",
      "sec-fetch-site": "same-site",
    }],
    ["without a word where from", { "origin": "null", "sec-fetch-site": "none" }],
    ["as text", { "content-type": "text/plain" }],
    ["with a file", { "content-type": "multipart/form-data; boundary=x" }],
  ] as [string, Record<string, string>][]
) {
  Deno.test(`a form ${how} with a cookie of ours is refused, in words for people`, async () => {
    await using app = await startShop();

    const answer = await leavesStoreAlone(app, () => forge(app, "/console/leads", headers));
    const asProgram = await forge(app, "/api/v2/leads", headers);

    equal(answer.status, 403);
    equal(answer.headers.get("content-type"), "text/html; charset=utf-8");
    equal(answer.headers.get("cache-control"), "no-store");
    match(answer.text, /<h1>Forbidden<\/h1>/);
    match(answer.text, /came from a page of another site; open it on ours and send it again/);
    ok(answer.text.includes(answer.headers.get("x-request-id")!));
    assertProblem(asProgram, 403, "forbidden");
  });
}

Deno.test("a form of our own, or with no cookie to abuse, is no forgery", async () => {
  await using app = await startShop();
  const noCookie = {
    "content-type": "application/x-www-form-urlencoded",
    "origin": "https://evil.example",
  };
  const statusOf = async (headers: Record<string, string>) =>
    (await forge(app, "/nowhere", headers)).status;

  equal(await statusOf({ "sec-fetch-site": "same-origin" }), 404);
  equal(await statusOf({ "origin": app.config.publicUrl, "sec-fetch-site": "x" }), 404);
  const bare = await app.request("POST", "/nowhere", { body: "a=b", headers: noCookie });
  equal(bare.status, 404);
  // A browser asks before it sends JSON, and is told no by CORS.
  const json = await app.request("POST", "/api/v2/leads", {
    body: LEAD,
    headers: { cookie: "a=b", origin: "https://evil.example", "sec-fetch-site": "cross-site" },
  });
  equal(json.status, 201);
  const read = await app.request("GET", "/api/v2/products", {
    headers: { cookie: "a=b", origin: "https://evil.example" },
  });
  equal(read.status, 200);
});

// Bodies and time

const HEAD = "POST /api/v2/leads HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

Deno.test("a body that says to be too large is refused before it comes", async () => {
  await using app = await startShop();

  const answer = await speak(app, `${HEAD}content-length: 65537\r\n\r\n{`);

  assertProblem(answer, 413, "payload_too_large");
});

Deno.test("a body that turns out too large is refused at that", async () => {
  await using app = await startShop();
  const chunk = `8000\r\n${" ".repeat(0x8000)}\r\n`;

  const answer = await speak(app, `${HEAD}transfer-encoding: chunked\r\n\r\n${chunk.repeat(3)}`);

  assertProblem(answer, 413, "payload_too_large");
});

for (
  const [how, framing, first] of [
    ["said how long it is", "content-length: 100", "{"],
    ["comes in chunks", "transfer-encoding: chunked", "1\r\n{\r\n"],
  ]
) {
  Deno.test(`a body that ${how} and stops is waited for ten seconds`, async () => {
    await using app = await startShop();
    using _ = hasten(10_000);

    const answer = await speak(app, `${HEAD}${framing}\r\n\r\n${first}`);
    const old = HEAD.replace("/api/v2/leads", "/save-lead/");
    const inOldWords = await speak(app, `${old}${framing}\r\n\r\n${first}`);

    assertProblem(answer, 408, "request_timeout");
    // Deno 2.9 says it once more by itself.
    match(answer.headers.get("connection") ?? "", /^close(?:, close)?$/);
    equal(inOldWords.status, 408);
    deepEqual(inOldWords.body, { status: "error", message: "The body did not arrive in time" });
    equal(await app.count(keys.leads), 0);
    equal((await app.post("/api/v2/leads", LEAD)).status, 201);
  });
}

Deno.test("a body that comes in time is read whole, however slowly", async () => {
  await using app = await startShop();
  const body = JSON.stringify(LEAD);
  const { hostname, port } = new URL(app.url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const write = (text: string) => connection.write(new TextEncoder().encode(text));

  await write(`${HEAD}content-length: ${body.length}\r\n\r\n`);
  for (const char of body) await write(char);
  const buffer = new Uint8Array(4_096);
  const size = await connection.read(buffer);

  match(new TextDecoder().decode(buffer.subarray(0, size ?? 0)), /^HTTP\/1\.1 201 /);
});

Deno.test("a request that is stuck is answered after twenty seconds", async () => {
  await using app = await startShop({ deadlines: SHORT_DEADLINES });
  app.kv.isHanging = true;
  using _ = hasten(20_000);

  const read = await asAdmin(app, "GET", "/api/v2/clients");
  const written = await app.post("/api/v2/leads", LEAD);

  assertProblem(read, 503, "unavailable");
  equal(read.body.detail, "It took too long");
  // By now nobody knows whether it will be stored.
  assertProblem(written, 503, "outcome_unknown");
  equal(written.headers.get("retry-after"), "1");
});

Deno.test("while the store hangs every request ends by the store's own deadlines", async () => {
  await using app = await startShop({ deadlines: SHORT_DEADLINES });
  app.kv.isHanging = true;
  const startedAt = performance.now();

  const answers = await Promise.all([
    asAdmin(app, "GET", "/api/v2/clients"),
    app.post("/api/v2/leads", LEAD),
    app.get("/i/x"),
  ]);

  deepEqual(answers.slice(0, 2).map(({ status }) => status), [503, 503]);
  ok(performance.now() - startedAt < ANSWER_MS);
});

// Errors as pages

Deno.test("a browser that looks at a page gets failures as pages, a program never", async () => {
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

Deno.test("a defect of ours shows a browser a page that says nothing of it", async () => {
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
  match(text, /<p>Something went wrong on our side<\/p>/);
  ok(!/decode|schema|TypeError|\.ts/.test(text), text);
});

// What may be kept

/** Answers that are the same for everyone, while no key was shown. */
const FOR_EVERYONE = new Set(["GET /api/v2/products", "GET /api/v2/products/{idOrSlug}"]);

Deno.test("whatever is personal may be kept by nobody", async () => {
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
      if (isPublic) match(said, /^public, max-age=\d+/, path);
      else {match(
          said,
          /^(?:private, )?no-store$/,
          `${status} of ${method} ${path}: ${said}`,
        );}
    }
  }
  const page = await app.get(new URL(body.links.invoice).pathname);
  equal(page.headers.get("cache-control"), "no-store");
});

// Spam

const SPAM: [reason: string, fields: Record<string, unknown>][] = [
  ["honeypot", { website: "https://spam.example" }],
  ["honeypot", { website: " " }],
  ["honeypot", { website: "x", elapsedMs: 60_000 }],
  ["haste", { elapsedMs: 0 }],
  ["haste", { elapsedMs: 1_499 }],
  ["haste", { website: "", elapsedMs: 300 }],
];

for (const [reason, fields] of SPAM) {
  Deno.test(`an enquiry with ${JSON.stringify(fields)} is dropped, and looks accepted`, async () => {
    await using app = await startShop({ env: { RATE_LIMITS: "" } });
    const product = await app.stockProduct();
    const enquiry = { ...LEAD, phone: "0712 345 678", productId: product.id, quantity: 2 };
    const contract = await contractOf(app);
    const lines = app.logLines.length;
    const { reads, commits } = app.kv;

    const answer = await leavesStoreAlone(
      app,
      () => app.post("/api/v2/leads", { ...enquiry, ...fields }),
    );

    equal(answer.status, 201);
    deepEqual([app.kv.reads - reads, app.kv.commits - commits], [0, 0]);
    const operation = contract.operations.find(({ method, path }) =>
      method === "POST" && path === "/api/v2/leads"
    )!;
    new Conformance(contract).check(operation, answer);
    const { lead, client, invoice, links } = answer.body;
    equal(invoice, null);
    deepEqual(links, {});
    equal(answer.headers.get("location"), `/api/v2/leads/${lead.id}`);
    equal(lead.clientId, client.id);
    deepEqual(app.services.metrics.spam.lines(), [`wetech_spam_total{reason="${reason}"} 1`]);
    const log = app.logLines.slice(lines);
    const dropped = log.map((line) => JSON.parse(line)).find(({ event }) =>
      event === "lead.dropped"
    );
    equal(dropped.reason, reason);
    ok(!/asha|mushi|habari|712 ?345|spam\.example/i.test(log.join()), log.join());
    assertSame(answer, await app.post("/api/v2/leads", { ...enquiry, productId: undefined }));
  });
}

/** Checks that two answers have the same headers and fields, of the same kinds. */
function assertSame(dropped: TestAnswer<unknown>, stored: TestAnswer<unknown>): void {
  const shape = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return typeof value;
    return Object.fromEntries(
      Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([name, field]) => [
        name,
        // Of these one of the two has none.
        name === "productId" ? "any" : shape(field),
      ]),
    );
  };
  equal(stored.status, dropped.status);
  deepEqual(shape(stored.body), shape(dropped.body));
  const named = (answer: TestAnswer<unknown>) => [...answer.headers.keys()].sort();
  deepEqual(named(stored), named(dropped));
  equal(
    stored.headers.get("ratelimit-policy"),
    dropped.headers.get("ratelimit-policy"),
  );
}

Deno.test("what people and programs send is no spam", async () => {
  await using app = await startShop();
  const key = await app.newKey("leads:write");

  const enquiries: [object, string?][] = [
    [{}],
    [{ website: "" }],
    [{ elapsedMs: 1_500 }],
    [{ website: "", elapsedMs: 3_600_000 }],
    [{ website: "https://customer.example", elapsedMs: 0 }, key],
  ];
  for (const [i, [fields, key]] of enquiries.entries()) {
    const { status, body } = await app.request("POST", "/api/v2/leads", {
      body: { ...LEAD, ...fields },
      ...(key === undefined ? {} : { key }),
    });
    equal(status, 201);
    ok(await app.services.store.get(keys.lead(body.lead.id)));
    equal(await app.count(keys.leads), i + 1);
  }
  deepEqual(app.services.metrics.spam.lines(), []);
  ok(!(await app.kv.text(["lead"])).includes("elapsedMs"));
});

Deno.test("a form that is sent again after a longer while is the same enquiry", async () => {
  await using app = await startShop();
  const post = (elapsedMs: number) =>
    app.post("/api/v2/leads", { ...LEAD, elapsedMs }, { "idempotency-key": "tab-1" });

  const first = await post(5_000);
  const again = await post(9_000);

  equal(first.status, 201);
  equal(again.text, first.text);
  equal(await app.count(keys.leads), 1);
});

Deno.test("spam that is no enquiry is told what is wrong with it, like any other", async () => {
  await using app = await startShop();
  const post = (fields: object) => app.post("/api/v2/leads", { website: "x", ...fields });

  assertProblem(await post({ name: "Asha", email: "none" }), 422, "invalid_input", {
    paths: ["email"],
  });
  assertProblem(await post({ email: LEAD.email }), 422, "invalid_input", {
    paths: ["name"],
  });
  for (const elapsedMs of [-1, 1.5, "1", null]) {
    const { status } = await app.post("/api/v2/leads", { ...LEAD, elapsedMs });
    equal(status, 422);
  }
  deepEqual(app.services.metrics.spam.lines(), []);
});

Deno.test("spam counts against the sender as enquiries do", async () => {
  await using app = await startShop({ env: { RATE_LIMITS: "lead_post=3/1m" } });
  const spam = () => app.post("/api/v2/leads", { ...LEAD, website: "x" });

  const states = [];
  for (let i = 0; i < 3; i++) states.push((await spam()).headers.get("ratelimit")?.split(",")[0]);

  deepEqual(states, [
    '"lead_post";r=2;t=60',
    '"lead_post";r=1;t=60',
    '"lead_post";r=0;t=60',
  ]);
  assertProblem(await spam(), 429, "rate_limited");
  equal(accessLog(app).at(-1)?.kvReads, 0);
});
