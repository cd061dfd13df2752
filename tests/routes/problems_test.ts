/**
 * Whatever happens, the answer has one form, a name to ask by, and nothing of
 * the program's insides; and nobody in between keeps it unless it says so.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD } from "../support/program/app.ts";
import { accessLog, assertProblem, etagOf } from "../support/program/answers.ts";
import { contractOf } from "../support/program/openapi.ts";
import { asAdmin, leavesStoreAlone, SHORT_DEADLINES, startShop } from "../support/program/shop.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";

const NOWHERE = [
  "/nope",
  "/api",
  "/api/v2",
  "/api/v2/nope",
  "/api/v3/leads",
  "/api/v2/leads/",
  "//api/v2/leads",
  "/API/v2/leads",
  "/api/v2/leads/x/y",
  "/api/v2/leads%2f..",
  "/.env",
  "/.git/config",
  "/%2e%2e/etc/passwd",
  "/docs/",
  "/docs/../deno.json",
  "/i/",
  "/i/a/b",
  "/%ff%fe",
  "/__proto__",
  `/${"x".repeat(5_000)}`,
];

for (const path of NOWHERE) {
  Deno.test(`GET ${path.slice(0, 40)} finds nothing`, async () => {
    await using app = await startShop();

    const answer = await app.get(path);

    assertProblem(answer, 404, "not_found");
    ok(!answer.headers.has("allow"));
  });
}

const ALLOWED: [path: string, allow: string][] = [
  ["/api/v2/leads", "GET, HEAD, POST"],
  [`/api/v2/leads/${UNKNOWN_ID}`, "GET, HEAD, PATCH"],
  ["/api/v2/clients", "GET, HEAD"],
  [`/api/v2/clients/${UNKNOWN_ID}`, "DELETE, GET, HEAD, PATCH"],
  [`/api/v2/clients/${UNKNOWN_ID}/export`, "GET, HEAD"],
  ["/api/v2/invoices", "GET, HEAD, POST"],
  [`/api/v2/invoices/${UNKNOWN_ID}`, "GET, HEAD, PATCH"],
  [`/api/v2/invoices/${UNKNOWN_ID}/issue`, "POST"],
  [`/api/v2/invoices/${UNKNOWN_ID}/void`, "POST"],
  ["/api/v2/products", "GET, HEAD, POST"],
  [`/api/v2/products/${UNKNOWN_ID}`, "DELETE, GET, HEAD, PATCH"],
  ["/health", "GET, HEAD"],
  ["/health/live/", "GET, HEAD"],
  ["/i/x", "GET, HEAD"],
  ["/docs", "GET, HEAD"],
  ["/openapi.json", "GET, HEAD"],
  ["/api/v1/save-lead", "POST"],
];

for (const [path, allow] of ALLOWED) {
  Deno.test(`${path} refuses every method but ${allow}`, async () => {
    await using app = await startShop();
    const methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "PURGE"];

    for (const method of methods.filter((method) => !allow.split(", ").includes(method))) {
      const answer = await leavesStoreAlone(app, () => app.request(method, path));

      assertProblem(answer, 405, "method_not_allowed");
      equal(answer.headers.get("allow"), allow);
    }
  });
}

Deno.test("every operation of the contract has its method in Allow", async () => {
  await using app = await startShop();
  const { operations } = await contractOf(app);

  for (const { method, path } of operations) {
    const { status, headers } = await app.request("PURGE", path.replace(/\{\w+\}/g, UNKNOWN_ID));
    equal(status, 405, path);
    ok(headers.get("allow")?.split(", ").includes(method), `${method} ${path}`);
  }
});

Deno.test("HEAD answers as GET does, without a body", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const { body } = await app.post("/api/v2/leads", { ...LEAD, productId: product.id });
  const paths = [
    "/api/v2/products",
    `/api/v2/products/${product.slug}`,
    `/api/v2/leads/${body.lead.id}`,
    new URL(body.links.invoice).pathname,
    "/docs",
    "/openapi.json",
    "/nope",
    `/api/v2/leads/${UNKNOWN_ID}`,
  ];

  for (const path of paths) {
    const get = await app.get(path, path.includes("leads") ? app.adminKey : undefined);
    const head = await app.request("HEAD", path, {
      ...(path.includes("leads") ? { key: app.adminKey } : {}),
    });

    equal(head.status, get.status, path);
    equal(head.text, "", path);
    for (const name of ["content-type", "cache-control"]) {
      equal(head.headers.get(name), get.headers.get(name), `${name} of ${path}`);
    }
    equal(etagOf(head), etagOf(get), path);
  }
});

Deno.test("every answer has a request id of its own, which the log has too", async () => {
  await using app = await startShop();
  const requests: [string, string][] = [
    ["GET", "/health"],
    ["GET", "/nope"],
    ["PUT", "/docs"],
    ["GET", "/api/v2/leads"],
    ["POST", "/api/v2/leads"],
    ["GET", "/api/v2/products"],
    ["GET", "/openapi.json"],
    ["POST", "/save-lead/"],
    ["GET", "/i/x"],
  ];

  const answers = await Promise.all(
    requests.map(([method, path]) =>
      app.request(method, path, { headers: { "x-request-id": "mine" } })
    ),
  );

  const ids = answers.map(({ headers }) => headers.get("x-request-id"));
  for (const id of ids) match(id ?? "", /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  equal(new Set(ids).size, requests.length);
  deepEqual(accessLog(app).map(({ requestId }) => requestId).sort(), ids.toSorted());
});

Deno.test("nothing is to be kept unless it says so", async () => {
  await using app = await startShop();
  const { body: { lead, client } } = await app.post("/api/v2/leads", LEAD);
  const paths = [
    "/api/v2/leads",
    `/api/v2/leads/${lead.id}`,
    "/api/v2/clients",
    `/api/v2/clients/${client.id}`,
    `/api/v2/clients/${client.id}/export`,
    "/api/v2/invoices",
    "/docs",
    "/nope",
  ];

  for (const path of paths) {
    const { headers } = await app.get(path, app.adminKey);
    equal(headers.get("cache-control"), "no-store", path);
  }
});

Deno.test("an unexpected error is 500 with a request id, and its cause is logged only", async () => {
  await using app = await startShop();
  const { body: { lead, client } } = await app.post("/api/v2/leads", LEAD);
  await app.kv.corrupt(keys.lead(lead.id));
  const requests: [method: string, path: string, body?: unknown][] = [
    ["GET", `/api/v2/leads/${lead.id}`],
    ["PATCH", `/api/v2/leads/${lead.id}`, { status: "won" }],
    ["GET", "/api/v2/leads"],
    ["GET", "/api/v2/leads?status=new"],
    ["GET", `/api/v2/clients/${client.id}/export`],
  ];

  for (const [method, path, body] of requests) {
    const lines = app.logLines.length;
    const answer = await leavesStoreAlone(
      app,
      () => asAdmin(app, method, path, body ? { body } : {}),
    );

    assertProblem(answer, 500, "internal");
    equal(answer.body.detail, "An unexpected error occurred. It has been logged; please try again");
    const told = app.logLines.slice(lines).map((line) => JSON.parse(line));
    const failure = told.find(({ event }) => event === "request.failed");
    equal(failure?.level, "error");
    equal(failure?.requestId, answer.body.requestId);
    match(JSON.stringify(failure), /TypeError|decode/i);
  }
  equal((await app.get("/health")).status, 200);
});

Deno.test("a corrupt index of a visitor's address refuses the visitor and stores nothing", async () => {
  await using app = await startShop();
  await app.kv.corrupt(keys.clientByEmail("asha@example.com"));

  const answer = await leavesStoreAlone(app, () => app.post("/api/v2/leads", LEAD));
  const other = await app.post("/api/v2/leads", { ...LEAD, email: "juma@example.com" });

  assertProblem(answer, 500, "internal", { notEchoed: "asha@example.com" });
  equal(other.status, 201);
});

Deno.test("a store that hangs is 503, says when to come back, and stores nothing later", async () => {
  await using app = await startShop({ deadlines: SHORT_DEADLINES });
  await app.stockProduct();
  const before = await app.kv.dump();
  app.kv.isHanging = true;
  const startedAt = performance.now();

  const answers = await Promise.all([
    app.get("/api/v2/leads", app.adminKey),
    app.get("/api/v2/products"),
    app.get(`/api/v2/leads/${UNKNOWN_ID}`, app.adminKey),
    app.post("/api/v2/leads", LEAD),
  ]);

  ok(performance.now() - startedAt < 2_000);
  for (const answer of answers) {
    assertProblem(answer, 503, "unavailable");
    match(answer.headers.get("retry-after") ?? "", /^[1-9]\d*$/);
  }
  app.kv.isHanging = false;
  deepEqual(await app.kv.dump(), before);
  equal((await app.post("/api/v2/leads", LEAD)).status, 201);
});

Deno.test("a write whose fate is unknown says so, and is safe to repeat with its key", async () => {
  await using app = await startShop({ deadlines: SHORT_DEADLINES });
  const key = { "idempotency-key": "tab-1" };
  app.kv.hangNextCommitOnwards();

  const unknown = await app.post("/api/v2/leads", LEAD, key);
  app.kv.isHanging = false;
  const again = await app.post("/api/v2/leads", LEAD, key);

  assertProblem(unknown, 503, "outcome_unknown");
  match(unknown.headers.get("retry-after") ?? "", /^[1-9]\d*$/);
  equal(again.status, 201);
  equal(await app.count(keys.leads), 1);
});

Deno.test("the log has a route's pattern, and nothing that a visitor typed", async () => {
  await using app = await startShop();

  await app.post("/api/v2/leads", { ...LEAD, phone: "0712345678", message: "Siri yangu" });
  await app.get("/api/v2/clients?email=asha@example.com", app.adminKey);
  await app.get(`/api/v2/leads/${UNKNOWN_ID}`, app.adminKey);

  deepEqual(accessLog(app).map(({ method, route, status }) => [method, route, status]), [
    ["POST", "/api/v2/leads", 201],
    ["GET", "/api/v2/clients", 200],
    ["GET", "/api/v2/leads/:id", 404],
  ]);
  const log = app.logLines.join("\n");
  for (const typed of ["Asha", "asha@", "712345678", "Siri", UNKNOWN_ID]) {
    ok(!log.includes(typed), typed);
  }
});
