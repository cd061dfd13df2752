/** The OpenAPI document is true: every answer that it lists is caused, and matches its schema. */
import { ok, strictEqual as equal } from "node:assert/strict";
import type { Scope } from "../../lib/access/mod.ts";
import { LEAD, type TestAnswer, type TestRequest } from "../support/program/app.ts";
import { Conformance } from "../support/program/conformance.ts";
import { contractOf, type DocumentedOperation } from "../support/program/openapi.ts";
import {
  asAdmin,
  newClient,
  newKvFile,
  SHORT_DEADLINES,
  startShop,
  type TestShop,
} from "../support/program/shop.ts";
import { WEBHOOK_CONFLICTS } from "../support/program/webhook_samples.ts";
import {
  aBackup,
  aLead,
  aMessage,
  anInvoice,
  aPayment,
  aProduct,
  aReader,
  MAILING,
  type Sample,
  SAMPLES,
} from "./_openapi_samples.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";

/** A gateway at an address where nobody listens. */
const PAYABLE = {
  ...MAILING,
  PESAPAL_BASE_URL: "http://127.0.0.1:9/v3",
  PESAPAL_CONSUMER_KEY: "key",
  PESAPAL_CONSUMER_SECRET: "secret",
};

/** By operation: what to send to a conflict. */
const CONFLICTS: Record<string, Sample> = {
  ...WEBHOOK_CONFLICTS,
  "POST /api/v2/system/restore-drills": async (app) => {
    await aBackup(app, false);
    return { path: "/api/v2/system/restore-drills" };
  },
  "PATCH /api/v2/leads/{id}": async (app) => {
    const path = `/api/v2/leads/${await aLead(app)}`;
    await asAdmin(app, "PATCH", path, { body: { status: "won" } });
    return { path, body: { status: "new" } };
  },
  "PATCH /api/v2/clients/{id}": async (app) => {
    await newClient(app, { email: "taken@example.com" });
    return {
      path: `/api/v2/clients/${await newClient(app)}`,
      body: { email: "taken@example.com" },
    };
  },
  "PATCH /api/v2/invoices/{id}": async (app) => ({
    path: `/api/v2/invoices/${await anInvoice(app)}`,
    body: { taxMinor: 5 },
  }),
  "POST /api/v2/invoices/{id}/issue": async (app) => ({
    path: `/api/v2/invoices/${await anInvoice(app)}/issue`,
  }),
  "POST /api/v2/invoices/{id}/send": async (app) => ({
    path: `/api/v2/invoices/${await anInvoice(app, true)}/send`,
  }),
  "POST /api/v2/clients/{id}/news": async (app) => ({
    path: `/api/v2/clients/${await aReader(app, false)}/news`,
  }),
  "POST /api/v2/outbox/{id}/retry": async (app) => ({
    path: `/api/v2/outbox/${await aMessage(app, true)}/retry`,
  }),
  "POST /api/v2/outbox/{id}/cancel": async (app) => ({
    path: `/api/v2/outbox/${await aMessage(app, true)}/cancel`,
  }),
  "POST /api/v2/invoices/{id}/void": async (app) => {
    const path = `/api/v2/invoices/${await anInvoice(app)}/void`;
    await asAdmin(app, "POST", path, { body: { reason: "First" } });
    return { path, body: { reason: "Again" } };
  },
  "POST /api/v2/invoices/{id}/checkout": async (app) => {
    const id = await anInvoice(app, true);
    return { path: `/api/v2/invoices/${id}/checkout`, body: { gateway: "pesapal" } };
  },
  "POST /api/v2/invoices/{id}/payments": async (app) => {
    const path = `/api/v2/invoices/${await anInvoice(app)}/payments`;
    const body = { amountMinor: 5, method: "cash", reference: "taken" };
    await asAdmin(app, "POST", path, { body });
    return { path, body };
  },
  "POST /api/v2/invoices/{id}/refunds": async (app) => {
    const { id, invoiceId } = await aPayment(app);
    return {
      path: `/api/v2/invoices/${invoiceId}/refunds`,
      body: { paymentId: id, amountMinor: 1, reason: "x", reference: "y" },
    };
  },
  "POST /api/v2/payments/{id}/check": async (app) => ({
    path: `/api/v2/payments/${(await aPayment(app, { channel: "manual" })).id}/check`,
  }),
  "POST /api/v2/payments/{id}/resolve": async (app) => ({
    path: `/api/v2/payments/${(await aPayment(app, { status: "completed" })).id}/resolve`,
    body: { outcome: "completed", reference: "portal", reason: "Seen there" },
  }),
  "POST /api/v2/payments/{id}/refunds/{refundId}/resolve": async (app) => {
    const name = "POST /api/v2/payments/{id}/refunds/{refundId}/resolve";
    const request = await SAMPLES[name]!(app);
    await asAdmin(app, "POST", request.path, { body: request.body });
    return request;
  },
  "POST /api/v2/products": async (app) => {
    await app.stockProduct({ slug: "taken" });
    const price = { currency: "TZS", minor: 1 };
    return {
      path: "/api/v2/products",
      body: { title: "x", slug: "taken", category: "web", price },
    };
  },
  "PATCH /api/v2/products/{id}": async (app) => {
    await app.stockProduct({ slug: "taken-too" });
    return { path: `/api/v2/products/${await aProduct(app)}`, body: { slug: "taken-too" } };
  },
};

/** Turns a request that succeeds into one that is answered with the status. */
const SPOILERS: Record<
  string,
  (request: { path: string } & TestRequest, operation: DocumentedOperation) => object
> = {
  200: (request) => request,
  201: (request) => request,
  202: (request) => request,
  204: (request) => request,
  400: ({ path, body }, { path: template, method }) => {
    if (body !== undefined) return { body: "{" };
    const isList = !template.includes("{") || /\/(?:payments|deliveries)$/.test(template);
    if (method === "GET" && isList) return { path: withQuery(path, "cursor=x") };
    return { headers: { "idempotency-key": "a b" } };
  },
  401: () => ({ key: "garbage" }),
  404: ({ path }) => ({ path: path.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, UNKNOWN_ID) }),
  412: () => ({ headers: { "if-match": '"99"' } }),
  413: () => ({ body: "x".repeat(65_537) }),
  415: () => ({ body: "x", headers: { "content-type": "text/plain" } }),
  422: ({ path, body }, { path: template }) => {
    if (body !== undefined) return { body: { nope: 1 } };
    if (!template.includes("{")) return { path: withQuery(path, "limit=0") };
    const named = path.replace("/mail-templates/invoice_sent", "/mail-templates/nothing");
    return { path: named.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, "x".repeat(81)) };
  },
};

function withQuery(path: string, query: string): string {
  return path + (path.includes("?") ? "&" : "?") + query;
}

async function cause(
  app: TestShop,
  operation: DocumentedOperation,
  status: string,
): Promise<TestAnswer<unknown>> {
  const { method, path, isPublic, scope } = operation;
  const name = `${method} ${path}`;
  const key = isPublic ? {} : { key: app.adminKey };
  const sample = (status === "409" ? CONFLICTS : SAMPLES)[name];
  if (!sample) throw new Error(`Cannot cause ${status} of ${name}: there is no request for it`);
  const request = { ...key, ...await sample(app) };
  const send = ({ path, ...rest }: { path: string } & TestRequest) =>
    app.request(method, path, rest);
  switch (status) {
    case "304": {
      const etag = (await send(request)).headers.get("etag")!;
      return await send({ ...request, headers: { "if-none-match": etag } });
    }
    case "403": {
      const other: Scope = scope === "system:read" ? "leads:read" : "system:read";
      return await send({ ...request, key: await app.newKey(other) });
    }
    case "409":
      return await send(request);
  }
  const spoil = SPOILERS[status];
  if (!spoil) throw new Error(`Cannot cause ${status} of ${name}: nobody said how`);
  return await send({ ...request, ...spoil(request, operation) });
}

/** By too many requests, and by a store that hangs: each has a test of its own. */
const CAUSED_ELSEWHERE = new Set(["429", "503"]);

Deno.test("every answer that the contract lists can be caused, and matches its schema", async () => {
  await using app = await startShop({ env: PAYABLE });
  const contract = await contractOf(app);
  const conformance = new Conformance(contract);

  for (const operation of contract.operations) {
    for (const status of Object.keys(operation.responses)) {
      if (CAUSED_ELSEWHERE.has(status)) continue;
      app.services.catalogue.forget();
      const answer = await cause(app, operation, status);

      equal(String(answer.status), status, `${operation.method} ${operation.path} ${answer.text}`);
      conformance.check(operation, answer);
    }
  }
});

Deno.test("every operation with a rate limit answers 429 beyond it, as the contract says", async () => {
  await using file = await newKvFile();
  await using app = await startShop({ env: { ...PAYABLE, KV_PATH: file.path } });
  await using limited = await startShop({
    env: {
      ...PAYABLE,
      KV_PATH: file.path,
      TRUSTED_PROXY_HOPS: "1",
      RATE_LIMITS: "lead_post=1/1m,key_write=1/1m,key_read=1/1m,catalogue_read=1/1m",
    },
  });
  const contract = await contractOf(app);
  const conformance = new Conformance(contract);
  const withLimit = contract.operations.filter(({ responses }) => "429" in responses);

  const unlimited = contract.operations.filter(({ responses }) => !("429" in responses));
  ok(unlimited.every(({ path }) => path.startsWith("/health")));
  for (const [i, operation] of withLimit.entries()) {
    const { method, path, isPublic, scope } = operation;
    const name = `${method} ${path}`;
    const sample = await SAMPLES[name]!(app);
    const request = {
      ...sample,
      headers: { ...sample.headers, "x-forwarded-for": `192.0.2.${i}` },
      ...(isPublic ? {} : { key: await app.newKey(scope!) }),
    };
    const first = await limited.request(method, sample.path, request);
    const second = await limited.request(method, sample.path, request);

    ok(first.status < 300, `${first.status} of ${name}: ${first.text}`);
    equal(second.status, 429, name);
    equal(second.headers.get("retry-after"), "60", name);
    conformance.check(operation, second);
  }
});

Deno.test("every operation that needs the store answers 503 while it hangs, as the contract says", async () => {
  await using app = await startShop({ deadlines: SHORT_DEADLINES, env: PAYABLE });
  const contract = await contractOf(app);
  const conformance = new Conformance(contract);
  const withStore = contract.operations.filter(({ path }) => path !== "/health/live");
  // The bootstrap key is known without the store, and for some that is all they need.
  const key = await app.newKey("admin");
  const requests: [DocumentedOperation, { path: string } & TestRequest][] = [];
  for (const operation of withStore) {
    const request = await SAMPLES[`${operation.method} ${operation.path}`]!(app);
    requests.push([operation, operation.isPublic ? request : { key, ...request }]);
  }
  app.services.catalogue.forget();
  app.kv.isHanging = true;

  const answers = await Promise.all(
    requests.map(([{ method }, { path, ...rest }]) => app.request(method, path, rest)),
  );

  for (const [i, [operation]] of requests.entries()) {
    equal(answers[i]!.status, 503, `${operation.method} ${operation.path}`);
    conformance.check(operation, answers[i]!);
  }
});

Deno.test("replays, filters, pages and other variants answer as the contract says", async () => {
  await using app = await startShop();
  const contract = await contractOf(app);
  const conformance = new Conformance(contract);
  const check = async (name: string, path: string, request: TestRequest = {}) => {
    const [method, template] = name.split(" ");
    const operation = contract.operations.find((one) =>
      one.method === method && one.path === template
    )!;
    const answer = await app.request(method!, path, { key: app.adminKey, ...request });
    conformance.check(operation, answer);
    return answer.body;
  };
  const productId = await aProduct(app);
  const leads = "POST /api/v2/leads";

  const { lead, client } = await check(leads, "/api/v2/leads", {
    body: { ...LEAD, productId },
    headers: { "idempotency-key": "1" },
  });
  await check(leads, "/api/v2/leads", {
    body: { ...LEAD, productId },
    headers: { "idempotency-key": "1" },
  });
  await check(leads, "/api/v2/leads", { body: LEAD, headers: { "idempotency-key": "1" } });
  await check(leads, "/api/v2/leads", { body: { name: "Juma", phone: "0754000111" } });
  await check(leads, "/api/v2/leads", { body: { ...LEAD, productId: UNKNOWN_ID } });
  await check("GET /api/v2/leads", `/api/v2/leads?clientId=${client.id}&limit=1`);
  await check("PATCH /api/v2/leads/{id}", `/api/v2/leads/${lead.id}`, {
    body: { status: "lost" },
    headers: { "if-match": "x" },
  });
  await check("GET /api/v2/clients", "/api/v2/clients?limit=1");
  await check("GET /api/v2/clients", "/api/v2/clients?phone=0754000111");
  await check("POST /api/v2/invoices/{id}/void", `/api/v2/invoices/${lead.invoiceId}/void`, {
    body: { reason: "x" },
  });
  await check("DELETE /api/v2/clients/{id}", `/api/v2/clients/${client.id}`);
  await check("PATCH /api/v2/clients/{id}", `/api/v2/clients/${client.id}`, {
    body: { name: "x" },
  });
  await check("GET /api/v2/clients/{id}/export", `/api/v2/clients/${client.id}/export`);
  await check("GET /api/v2/invoices", "/api/v2/invoices?status=void&number=INV-2026-000001");
  await check("GET /api/v2/products", "/api/v2/products?status=all&category=saas&limit=1");
  await check("GET /api/v2/products", "/api/v2/products?status=all", { key: "garbage" });
  await check("GET /health", "/health");
});
