/**
 * Who comes too often is told so, and when to come back; nobody else notices,
 * and what it costs the store is counted.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import * as keys from "../../lib/kv/keys.ts";
import { transact } from "../../lib/kv/transact.ts";
import { newId } from "../../lib/ids.ts";
import { invoiceToken } from "../../lib/invoices/links.ts";
import { LEAD, startApp, type TestAnswer, type TestApp } from "../support/program/app.ts";
import { assertProblem } from "../support/program/answers.ts";
import {
  asAdmin,
  leavesStoreAlone,
  newKvFile,
  SHORT_DEADLINES,
  startShop,
  type TestShop,
} from "../support/program/shop.ts";
import { type ServerProcess, startServer } from "../support/processes/server_process.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
/** Behind one proxy, so that a test may come from anywhere. */
const ONE_HOP = { TRUSTED_PROXY_HOPS: "1" };

/** Starts the program with the usual limits but for these. */
function startLimited(
  limits = "",
  { env = {}, ...options }: Parameters<typeof startShop>[0] = {},
): Promise<TestShop> {
  return startShop({ ...options, env: { ...ONE_HOP, RATE_LIMITS: limits, ...env } });
}

let sent = 0;

/** Sends an enquiry of someone new from an address. */
function postFrom(app: TestApp, address: string, fields: object = {}, headers = {}) {
  const body = { ...LEAD, email: `visitor${++sent}@example.com`, ...fields };
  return app.post("/api/v2/leads", body, { "x-forwarded-for": address, ...headers });
}

/** What a list of RFC 9651 says: items that are strings, with parameters that are integers. */
function parseFields(field: string | null): Record<string, Record<string, number>> {
  const items = (field ?? "").split(", ").map((item) => {
    const [, name, text] = /^"([a-z_]+)"((?:;[a-z]+=(?:0|[1-9]\d{0,14}))+)$/.exec(item) ?? [];
    if (name === undefined || text === undefined) throw new Error(`Not an item: ${item}`);
    const parameters = text.slice(1).split(";").map((parameter) => {
      const [key, value] = parameter.split("=");
      return [key, Number(value)];
    });
    return [name, Object.fromEntries(parameters)];
  });
  return Object.fromEntries(items);
}

/** What an answer says of the limits. */
function limitsOf({ headers }: TestAnswer<unknown>) {
  return {
    policy: parseFields(headers.get("ratelimit-policy")),
    state: parseFields(headers.get("ratelimit")),
  };
}

function assertLimited(answer: TestAnswer<unknown>, retryAfter: number): void {
  assertProblem(answer, 429, "rate_limited");
  equal(answer.headers.get("retry-after"), String(retryAfter));
}

Deno.test("the 11th lead in a minute from one address is refused, until Retry-After has passed", async () => {
  await using app = await startLimited();
  const start = app.services.clock();
  for (let i = 0; i < 10; i++) {
    const answer = await postFrom(app, "192.0.2.1");
    equal(answer.status, 201);
    deepEqual(limitsOf(answer), {
      policy: { lead_post: { q: 10, w: 60 }, lead_email: { q: 20, w: 3_600 } },
      state: {
        lead_post: { r: 9 - i, t: Math.ceil(60 - 1.5 * i) },
        lead_email: { r: 19, t: 3_600 },
      },
    });
    app.advance(1_500);
  }

  app.advance(5_250);
  const refused = await leavesStoreAlone(app, () => postFrom(app, "192.0.2.1"));

  // The first of them leaves 60 s after it came: 39.75 s from here.
  equal(app.services.clock() - start, 20_250);
  assertLimited(refused, 40);
  deepEqual(limitsOf(refused).policy.lead_post, { q: 10, w: 60 });
  deepEqual(limitsOf(refused).state, { lead_post: { r: 0, t: 40 } });
  equal((await postFrom(app, "192.0.2.2")).status, 201);
  app.advance(39_000);
  assertLimited(await postFrom(app, "192.0.2.1"), 1);
  app.advance(1_000);
  equal((await postFrom(app, "192.0.2.1")).status, 201);
  assertLimited(await postFrom(app, "192.0.2.1"), 2);
  equal(await app.count(keys.leads), 12);
});

Deno.test("Retry-After is to the second: one less is too early", async () => {
  await using app = await startLimited("lead_post=1/30s");
  await postFrom(app, "192.0.2.1");

  assertLimited(await postFrom(app, "192.0.2.1"), 30);
  app.advance(29_000);
  assertLimited(await postFrom(app, "192.0.2.1"), 1);
  app.advance(999);
  assertLimited(await postFrom(app, "192.0.2.1"), 1);
  app.advance(1);
  equal((await postFrom(app, "192.0.2.1")).status, 201);
});

Deno.test("an accepted lead costs one read round trip and one commit, limits included", async () => {
  await using app = await startLimited();
  const { id } = await app.stockProduct();
  const { reads, commits } = app.kv;

  const fields = { productId: id, phone: "0712345678" };
  const { status } = await postFrom(app, "192.0.2.1", fields, { "idempotency-key": "1" });

  equal(status, 201);
  deepEqual([app.kv.reads - reads, app.kv.commits - commits], [1, 1]);
});

Deno.test("a refused lead costs no commit, and the next one not even a read", async () => {
  await using file = await newKvFile();
  const env = { KV_PATH: file.path };
  await using here = await startLimited("lead_post=2/1m", { env });
  await using there = await startLimited("lead_post=2/1m", { env });
  for (let i = 0; i < 2; i++) await postFrom(here, "192.0.2.1");
  const costOf = async (app: TestShop) => {
    const { reads, commits } = app.kv;
    assertLimited(await postFrom(app, "192.0.2.1"), 60);
    return [app.kv.reads - reads, app.kv.commits - commits];
  };

  deepEqual(await costOf(here), [1, 0]);
  deepEqual(await costOf(here), [0, 0]);
  deepEqual(await costOf(here), [0, 0]);
  // What another instance has not seen, it looks up once.
  deepEqual(await costOf(there), [1, 0]);
  deepEqual(await costOf(there), [0, 0]);
});

Deno.test("of a hundred leads at once, ten get in", async () => {
  await using app = await startLimited();

  const answers = await Promise.all(
    Array.from({ length: 100 }, () => postFrom(app, "192.0.2.1")),
  );

  const statuses = answers.map(({ status }) => status).sort();
  deepEqual(statuses, [...Array(10).fill(201), ...Array(90).fill(429)]);
  equal(await app.count(keys.leads), 10);
});

Deno.test("what is refused for other reasons does not count", async () => {
  await using app = await startLimited("lead_post=2/1m,lead_email=2/1h");
  const email = "asha@example.com";
  const bad: [unknown, Record<string, string>?][] = [
    [{ ...LEAD, email, productId: UNKNOWN_ID }],
    [{ ...LEAD, email, name: "" }],
    [{ name: "Asha" }],
    [{ ...LEAD, email: "no address" }],
    [{ ...LEAD, email }, { "idempotency-key": "a b" }],
    ["{"],
    ["name=Asha", { "content-type": "text/plain" }],
  ];
  for (let i = 0; i < 3; i++) {
    for (const [body, headers] of bad) {
      const address = { "x-forwarded-for": "192.0.2.1" };
      const { status } = await app.post("/api/v2/leads", body, { ...address, ...headers });
      ok([400, 415, 422].includes(status), `${status}`);
    }
  }

  const statuses = [];
  for (let i = 0; i < 3; i++) statuses.push((await postFrom(app, "192.0.2.1", { email })).status);

  deepEqual(statuses, [201, 201, 429]);
});

Deno.test("a lead that is sent again under its Idempotency-Key counts once", async () => {
  await using app = await startLimited("lead_post=3/1m");
  const again = () =>
    postFrom(app, "192.0.2.1", { email: "asha@example.com" }, { "idempotency-key": "tab-1" });

  const first = await again();
  for (let i = 0; i < 10; i++) {
    const { text, headers } = await again();
    equal(text, first.text);
    equal(headers.get("idempotency-replayed"), "true");
  }

  equal((await postFrom(app, "192.0.2.1")).status, 201);
  equal((await postFrom(app, "192.0.2.1")).status, 201);
  // The window is full by now, and a repetition asks nothing of it.
  equal((await again()).text, first.text);
  assertLimited(await postFrom(app, "192.0.2.1"), 60);
});

Deno.test("one e-mail address is limited wherever it is sent from and however it is written", async () => {
  await using app = await startLimited("lead_email=3/1h");
  const old = (contact: string) =>
    app.post("/save-lead/", { name: "Asha", contact }, { "x-forwarded-for": "192.0.2.9" });

  equal((await postFrom(app, "192.0.2.1", { email: "asha@example.com" })).status, 201);
  equal((await postFrom(app, "192.0.2.2", { email: " ASHA@Example.com" })).status, 201);
  equal((await old("Asha@example.COM")).status, 200);

  assertLimited(await postFrom(app, "192.0.2.3", { email: "asha@example.com" }), 3_600);
  equal((await old("asha@example.com ")).status, 429);
  equal((await postFrom(app, "192.0.2.3", { email: "juma@example.com" })).status, 201);
  const { email: _, ...byPhone } = LEAD;
  const phone = await app.post("/api/v2/leads", { ...byPhone, phone: "0712345678" });
  deepEqual(Object.keys(limitsOf(phone).policy), ["lead_post"]);
});

Deno.test("the writes of an API key are limited, each key for itself, exactly", async () => {
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
  // Whether the key is one has to be read before it can be told anything.
  deepEqual([app.kv.reads - reads, app.kv.commits - commits], [1, 0]);
  equal((await post(other)).status, 201);
  // Visitors are counted by address, and this is the first.
  equal((await postFrom(app, "192.0.2.1")).status, 201);
  app.advance(60_000);
  equal((await post(one)).status, 201);
});

Deno.test("every kind of write of a key counts, its reads do not", async () => {
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

Deno.test("the reads of an API key are limited in each instance, at no cost", async () => {
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

Deno.test("a visitor's reads of the catalogue are limited by address, at no cost", async () => {
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

Deno.test("wrong guesses at invoice addresses are limited, by all instances together", async () => {
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

Deno.test("looking at one's own invoice is no guess, however often", async () => {
  await using app = await startLimited("invoice_link=1/1m");
  const product = await app.stockProduct();
  const { body } = await postFrom(app, "192.0.2.1", { productId: product.id });

  for (let i = 0; i < 5; i++) {
    const answer = await app.get(new URL(body.links.invoice).pathname);
    equal(answer.status, 200);
    ok(!answer.headers.has("ratelimit-policy"));
  }
});

Deno.test("the old site's form shares the limit, and is told in its own words", async () => {
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
    deepEqual(answer.body, { status: "error", message: "Too many requests; come back later" });
  }
  assertLimited(await postFrom(app, "192.0.2.1"), 60);
  equal(await app.count(keys.leads), 4);
});

/** By proxies of ours: X-Forwarded-For as it arrives, and whether two such requests are one visitor's. */
const ADDRESSES: [hops: number, first: string | null, second: string | null, isOne: boolean][] = [
  // Without a proxy nobody may say where they come from.
  [0, null, "192.0.2.7", true],
  [0, "192.0.2.1", "192.0.2.2", true],
  [0, "192.0.2.1", "2001:db8::1", true],
  // Behind one, only what it appended counts.
  [1, "192.0.2.1", "192.0.2.1", true],
  [1, "192.0.2.1", "192.0.2.2", false],
  [1, "192.0.2.7, 192.0.2.1", "192.0.2.8, 192.0.2.1", true],
  [1, "192.0.2.1", "192.0.2.7,192.0.2.9,  192.0.2.1", true],
  [1, "192.0.2.7, 192.0.2.1", "192.0.2.7, 192.0.2.2", false],
  [1, "192.0.2.7", "192.0.2.7, 192.0.2.2", false],
  [1, null, null, true],
  [1, null, "", true],
  [1, null, " , ", true],
  [1, "garbage", "<script>", true],
  [1, "garbage", "192.0.2.1", false],
  [1, "999.1.1.1", "unknown", true],
  // Behind two, what the inner one appended is the outer one.
  [2, "192.0.2.1, 198.51.100.1", "192.0.2.1, 198.51.100.2", true],
  [2, "192.0.2.1, 198.51.100.1", "192.0.2.2, 198.51.100.1", false],
  [2, "192.0.2.7, 192.0.2.1, 198.51.100.1", "192.0.2.8, 192.0.2.1, 198.51.100.1", true],
  [2, "192.0.2.7, 192.0.2.1, 198.51.100.1", "192.0.2.7, 192.0.2.2, 198.51.100.1", false],
  // Who goes round the outer one is counted with all that do.
  [2, "192.0.2.1", "192.0.2.2", true],
  [2, "192.0.2.1", null, true],
  // A subscriber has all of an IPv6 /64, and an IPv4 address in one spelling.
  [1, "2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true],
  [1, "2001:db8:0:1::1", "2001:db8:0:2::1", false],
  [1, "2001:DB8::1", "2001:0db8:0000:0000:0000:0000:0000:0002", true],
  [1, "::ffff:192.0.2.1", "192.0.2.1", true],
  [1, "::ffff:c000:201", "192.0.2.1", true],
  [1, "::ffff:192.0.2.1", "::ffff:192.0.2.2", false],
];

for (const [hops, first, second, isOne] of ADDRESSES) {
  const name = `${first ?? "none"} and ${second ?? "none"}`;
  Deno.test(`behind ${hops} proxies, X-Forwarded-For ${name} are ${isOne ? "one" : "two"}`, async () => {
    const env = { TRUSTED_PROXY_HOPS: String(hops) };
    await using app = await startLimited("lead_post=1/1m", { env });
    const post = (forwardedFor: string | null) =>
      app.post("/api/v2/leads", { ...LEAD, email: `visitor${++sent}@example.com` }, {
        ...(forwardedFor === null ? {} : { "x-forwarded-for": forwardedFor }),
      });

    const statuses = [(await post(first)).status, (await post(second)).status];

    deepEqual(statuses, [201, isOne ? 429 : 201]);
  });
}

Deno.test("nobody can use up the limit of someone else by saying to be them", async () => {
  await using app = await startLimited("lead_post=3/1m");

  for (let i = 0; i < 10; i++) await postFrom(app, "192.0.2.7, 192.0.2.1");
  for (let i = 0; i < 10; i++) {
    const other = { "x-real-ip": "192.0.2.7", "forwarded": "for=192.0.2.7" };
    await postFrom(app, "192.0.2.2", {}, other);
  }

  equal((await postFrom(app, "192.0.2.7")).status, 201);
});

Deno.test("a window tells neither the address nor the e-mail address that it is about", async () => {
  await using app = await startLimited();
  for (const address of ["192.0.2.1", "2001:db8:0:1::1"]) {
    await postFrom(app, address, { email: "asha@example.com" });
  }
  await app.request("GET", "/i/x", { headers: { "x-forwarded-for": "192.0.2.1" } });

  const windows = await app.kv.text(["rate"]);
  const everything = await app.kv.text();

  equal(windows.trim().split("\n").length, 4);
  for (const line of windows.trim().split("\n")) {
    match(line, /^\["rate","[a-z_]+","[\w-]{22}"\] 1 \{"slots":\[(\[\d+,\d+\],?)+\],"exp":\d+\}$/);
  }
  ok(!/192\.0\.2|2001|0db8|asha/.test(windows.replace(/\d{13}/g, "")));
  ok(!everything.includes("192.0.2.1") && !everything.includes("2001:db8"));
  ok(!app.logLines.join().includes("192.0.2.1") && !app.logLines.join().includes("2001:db8"));
});

Deno.test("who was refused, and by which rule, is counted", async () => {
  await using app = await startLimited("lead_post=1/1m,catalogue_read=1/1m");
  for (let i = 0; i < 4; i++) await postFrom(app, "192.0.2.1");
  for (let i = 0; i < 3; i++) await app.get("/api/v2/products");

  const lines = app.services.metrics.refusals.lines();

  deepEqual(lines.sort(), [
    'wetech_rate_limited_total{rule="catalogue_read"} 2',
    'wetech_rate_limited_total{rule="lead_post"} 3',
  ]);
});

Deno.test("a store that hangs loses no lead, and lets none past the limit", async () => {
  await using app = await startLimited("lead_post=2/1m", { deadlines: SHORT_DEADLINES });
  const post = (key: string) =>
    postFrom(app, "192.0.2.1", { email: `${key}@example.com` }, { "idempotency-key": key });

  app.kv.isHanging = true;
  const unavailable = await post("first");
  app.kv.isHanging = false;
  assertProblem(unavailable, 503, "unavailable");
  equal(await app.count(keys.leads), 0);

  // This one is stored, though nobody can say so.
  app.kv.hangNextCommitOnwards();
  const unknown = await post("second");
  app.kv.isHanging = false;
  assertProblem(unknown, 503, "outcome_unknown");
  equal((await post("second")).status, 201);
  equal(await app.count(keys.leads), 1);

  equal((await post("first")).status, 201);
  assertLimited(await post("third"), 60);
  equal(await app.count(keys.leads), 2);
});

const SERVERS = 3;
const POSTS = 300;
const LIMIT = 20;

Deno.test(`${SERVERS} processes on one store let exactly ${LIMIT} of ${POSTS} leads at once through`, async () => {
  await using file = await newKvFile();
  const env = { RATE_LIMITS: `lead_post=${LIMIT}/1m` };
  const start = () => startServer({ kvPath: file.path, env });
  await using first = await start();
  await using second = await start();
  await using third = await start();
  const servers: ServerProcess[] = [first, second, third];

  const statuses = await Promise.all(Array.from({ length: POSTS }, async (_, i) => {
    const response = await fetch(`${servers[i % SERVERS]!.url}/api/v2/leads`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...LEAD, email: `visitor${i}@example.com` }),
    });
    await response.body?.cancel();
    return response.status;
  }));

  deepEqual(statuses.sort(), [...Array(LIMIT).fill(201), ...Array(POSTS - LIMIT).fill(429)]);
  await using app = await startApp({ env: { KV_PATH: file.path } });
  equal(await app.count(keys.leads), LIMIT);
  equal(await app.count(keys.rateWindows), 1 + LIMIT);
});

const SUBJECTS = 100_000;
/** As many as a transaction reads. */
const GUARDS = 9;

Deno.test(`${SUBJECTS} subjects leave no key behind once their windows have expired`, async () => {
  await using file = await newKvFile();
  const startedAt = Date.now();
  {
    await using app = await startLimited("lead_post=10/1m", {
      env: { KV_PATH: file.path },
      useRealClock: true,
    });
    for (let first = 0; first < SUBJECTS; first += 100 * GUARDS) {
      const transactions = Array.from({ length: 100 }, (_, i) => first + i * GUARDS)
        .filter((from) => from < SUBJECTS)
        .map((from) => countFor(app, from, Math.min(from + GUARDS, SUBJECTS)));
      await Promise.all(transactions);
    }
    equal(await app.count(keys.rateWindows), SUBJECTS);
  }

  const expiries = storedExpiries(file.path);
  equal(expiries.length, SUBJECTS + Math.ceil(SUBJECTS / GUARDS));
  const latest = Date.now() + 2 * 60_000 + 10;
  const windows = expiries.filter((at) => at > startedAt + 60_000 && at <= latest);
  equal(windows.length, SUBJECTS);
  // The rest are receipts, which have to expire as well.
  ok(expiries.every((at) => at > 0 && at < Date.now() + 3 * 86_400_000));
  letTimePass(file.path, 3 * 86_400_000);
  using kv = await Deno.openKv(file.path);
  equal(await isEmptyWithin(kv, 10_000), true);
});

/** Counts one request each for some of the subjects. */
function countFor({ services }: TestShop, from: number, to: number): Promise<null> {
  const guards = Array.from(
    { length: to - from },
    (_, i) => services.limiter.guard("lead_post", `subject ${from + i}`)!,
  );
  const operation = {
    id: newId(services.clock()),
    fingerprint: "",
    isNew: true,
    keepMs: 60_000,
    guards,
  };
  return transact(services, {}, () => null, { operation });
}

/** Does something with the database that a KV file is. */
function inDatabase<T>(path: string, act: (database: DatabaseSync) => T): T {
  const database = new DatabaseSync(path);
  try {
    return act(database);
  } finally {
    database.close();
  }
}

/** When each entry of a KV file expires, in milliseconds UTC. */
function storedExpiries(path: string): number[] {
  const rows = inDatabase(
    path,
    (database) => database.prepare("select expiration_ms as at from kv").all(),
  );
  return rows.map(({ at }) => Number(at));
}

/** Makes everything in a KV file older. */
function letTimePass(path: string, ms: number): void {
  inDatabase(
    path,
    (database) => database.prepare("update kv set expiration_ms = expiration_ms - ?").run(ms),
  );
}

/** Whether a KV clears itself in time; it sweeps when it is opened. */
async function isEmptyWithin(kv: Deno.Kv, ms: number): Promise<boolean> {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    const { done } = await kv.list({ prefix: [] }, { limit: 1 }).next();
    if (done) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}
