/**
 * The contract is valid, complete and kept: a walk causes every answer that it
 * lists, and holds each one to what it says.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { Validator } from "@seriousme/openapi-schema-validator";
import type { Scope } from "../../lib/access/api_keys.ts";
import * as keys from "../../lib/kv/keys.ts";
import { newId } from "../../lib/ids.ts";
import type { Payment, Refund } from "../../lib/kv/payment_records.ts";
import { transact } from "../../lib/kv/transact.ts";
import { operationOf } from "../../lib/entities/caller.ts";
import { newPayment, putNewPayment } from "../../lib/payments/records.ts";
import { isoTime } from "../../lib/time.ts";
import { createApp } from "../../routes/mod.ts";
import { LEAD, type TestAnswer, TESTER, type TestRequest } from "../support/program/app.ts";
import { Conformance } from "../support/program/conformance.ts";
import { contractOf, type DocumentedOperation } from "../support/program/openapi.ts";
import { BUSY, happen, newOutbox, newPost, TAKEN } from "../support/program/outbox.ts";
import { parseMetrics } from "../support/readers/prometheus.ts";
import {
  asAdmin,
  newClient,
  newKvFile,
  SHORT_DEADLINES,
  startShop,
  type TestShop,
} from "../support/program/shop.ts";
import { WEBHOOK_CONFLICTS, WEBHOOK_SAMPLES } from "../support/program/webhook_samples.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
const LINE = { description: "Work", quantity: 1, unitMinor: 100 };

/** Answered, and not in the contract: pages for people, and other names of the same. */
const NOT_IN_CONTRACT = [
  "GET /docs",
  "GET /docs/start.js",
  "GET /docs/swagger-ui.css",
  "GET /docs/swagger-ui.js",
  "GET /health/",
  "GET /health/live/",
  "GET /health/ready/",
  "GET /i/{token}",
  "GET /openapi.json",
  "GET /payments/pesapal/callback",
  "GET /payments/pesapal/ipn",
  "POST /api/v1/save-lead",
  "POST /api/v1/save-lead/",
  "POST /payments/azampay/callback",
  "POST /payments/pesapal/ipn",
  "POST /i/{token}/pay",
  "GET /u/{token}",
  "POST /u/{token}",
  "POST /save-lead",
  "POST /save-lead/",
];

Deno.test("the contract is a valid OpenAPI 3.1 document", async () => {
  await using app = await startShop();
  const { document } = await contractOf(app);

  const { valid, errors } = await new Validator().validate(document);

  deepEqual(errors ?? [], []);
  equal(valid, true);
});

Deno.test("the contract has every route of the program, and none that is not there", async () => {
  await using app = await startShop();
  const { operations } = await contractOf(app);
  const routes = createApp(app.services, app.monitor).routes
    .filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);

  const documented = operations.map(({ method, path }) => `${method} ${path}`);

  deepEqual([...new Set(routes)].sort(), [...documented, ...NOT_IN_CONTRACT].sort());
});

Deno.test("the contract says of every operation what it is, who may, and how it fails", async () => {
  await using app = await startShop();
  const { document, operations } = await contractOf(app);

  ok(document.components.securitySchemes.apiKey);
  for (const { method, path, isPublic, responses } of operations) {
    const operation = document.paths[path][method.toLowerCase()];
    const name = `${method} ${path}`;
    ok(operation.summary?.length > 10, name);
    ok(operation.tags?.length === 1, name);
    if (!isPublic) deepEqual(operation.security, [{ apiKey: [] }], name);
    if (!isPublic) ok("401" in responses && "403" in responses, name);
    for (const [, parameter] of path.matchAll(/\{(\w+)\}/g)) {
      const described = operation.parameters.find(({ name }: { name: string }) =>
        name === parameter
      );
      equal(described?.in, "path", name);
      equal(described?.required, true, name);
    }
  }
});

/** A request that succeeds, made anew for each time it is asked. */
type Sample = (app: TestShop) => Promise<{ path: string } & TestRequest>;

/** Some requests need a way to send mail. */
const MAILING = { MAIL_URL: "log:", MAIL_FROM: "shop@example.com" };
/** A gateway at an address where nobody is. */
const PAYABLE = {
  ...MAILING,
  PESAPAL_BASE_URL: "http://127.0.0.1:9/v3",
  PESAPAL_CONSUMER_KEY: "key",
  PESAPAL_CONSUMER_SECRET: "secret",
};

/** The words of a mail. */
const WORDS = "/api/v2/mail-templates/invoice_sent/en";

let made = 0;
/** A client that agreed to get news, or did not. */
const aReader = async (app: TestShop, marketingConsent: boolean) => {
  const email = `reader-${++made}@example.com`;
  const lead = { ...LEAD, email, marketingConsent };
  return (await app.post("/api/v2/leads", lead)).body.client.id;
};
const aLead = async (app: TestShop) => (await app.post("/api/v2/leads", LEAD)).body.lead.id;
const aProduct = async (app: TestShop) => (await app.stockProduct({ slug: `p-${++made}` })).id;
const anInvoice = async (app: TestShop, draft = false) => {
  const clientId = await newClient(app);
  const body = { clientId, lines: [LINE], draft };
  return (await asAdmin(app, "POST", "/api/v2/invoices", { body })).body.id;
};

const BACKUP = { id: "2026-06-15T02-00-00-000Z-0a1b2c3d", pointInTime: "2026-06-15T02:00:10.000Z" };

/** What the store says of a backup and of its restore, and of none. */
const aBackup = (app: TestShop, isThere = true) =>
  transact(app.services, {}, (_, writes) => {
    if (!isThere) return writes.delete(keys.newestBackup);
    const verified = {
      verifiedAt: "2026-06-15T02:00:20.000Z",
      entries: 1,
      bytes: 2,
      durationMs: 3,
    };
    writes.set(keys.backup(BACKUP.id), { ...BACKUP, ...verified });
    writes.set(keys.newestBackup, { ...BACKUP, epoch: "2026-06-01-0a1b2c3d" });
    const proof = { kind: "drill", isProven: true, problem: null, findings: 0 } as const;
    const at = "2026-06-15T04:00:00.000Z";
    const { id: backupId, pointInTime } = BACKUP;
    const drill = { ...proof, at, backupId, pointInTime, entries: 1, durationMs: 4 };
    writes.set(keys.restoreProof(at), drill);
  }, { operation: operationOf(TESTER, "test", null, { now: app.services.clock() }) });

/** A message that waits, or one that was sent. */
const aMessage = async (app: TestShop, isSent = false) => {
  const post = newPost();
  post.answer = () => isSent ? TAKEN : BUSY;
  await happen(app.services);
  await newOutbox(
    app.services,
    post,
    ({ type }) => [{ kind: "email", type, to: "client", lane: "" }],
  )
    .run();
  return post.got[0]!.id;
};

/** A payment that failed, or as given; behind the program's back, for want of a gateway. */
const aPayment = async (app: TestShop, fields: Partial<Payment> = {}): Promise<Payment> => {
  const now = app.services.clock();
  const isReceived = fields.status === "completed";
  const refund: Refund = {
    id: newId(now),
    amountMinor: 1,
    reason: "x",
    reference: "",
    through: "gateway",
    status: "requested",
    at: isoTime(now),
    by: "cli",
  };
  const payment = newPayment(
    {
      id: newId(now),
      invoiceId: await anInvoice(app),
      channel: "pesapal",
      status: "failed",
      currency: "TZS",
      amountMinor: 100,
      ...(isReceived ? { receivedMinor: 100, completedAt: isoTime(now), refunds: [refund] } : {}),
      ...fields,
    },
    TESTER,
    now,
  );
  await transact(app.services, {}, (_, writes) => putNewPayment(writes, payment), {
    operation: operationOf(TESTER, "test", null, { now }),
  });
  return payment;
};

const SWEEPS = "/api/v2/system/sweeps";
const aSweep = async (app: TestShop): Promise<string> =>
  (await asAdmin(app, "POST", SWEEPS, { body: {} })).body.id;

/** By operation: one request that does what it is for. */
const SAMPLES: Record<string, Sample> = {
  ...WEBHOOK_SAMPLES,
  "GET /health": () => Promise.resolve({ path: "/health" }),
  "GET /health/live": () => Promise.resolve({ path: "/health/live" }),
  "GET /health/ready": () => Promise.resolve({ path: "/health/ready" }),
  "GET /metrics": () => Promise.resolve({ path: "/metrics" }),
  "GET /api/v2/system/audit": async (app) => {
    const id = await aLead(app);
    await asAdmin(app, "PATCH", `/api/v2/leads/${id}`, { body: { status: "won" } });
    return { path: `/api/v2/system/audit?entity=lead&id=${id}` };
  },
  "GET /api/v2/outbox": async (app) => (await aMessage(app), { path: "/api/v2/outbox" }),
  "GET /api/v2/outbox/{id}": async (app) => ({ path: `/api/v2/outbox/${await aMessage(app)}` }),
  "POST /api/v2/outbox/{id}/retry": async (app) => ({
    path: `/api/v2/outbox/${await aMessage(app)}/retry`,
  }),
  "POST /api/v2/outbox/{id}/cancel": async (app) => ({
    path: `/api/v2/outbox/${await aMessage(app)}/cancel`,
  }),
  "GET /api/v2/mail-templates": () => Promise.resolve({ path: "/api/v2/mail-templates" }),
  "GET /api/v2/mail-templates/{kind}/{language}": () => Promise.resolve({ path: WORDS }),
  "PUT /api/v2/mail-templates/{kind}/{language}": () =>
    Promise.resolve({ path: WORDS, body: { subject: "Habari", text: "{{clientName}}" } }),
  "DELETE /api/v2/mail-templates/{kind}/{language}": () => Promise.resolve({ path: WORDS }),
  "POST /api/v2/mail-templates/{kind}/{language}/preview": () =>
    Promise.resolve({ path: `${WORDS}/preview`, body: {} }),
  "POST /api/v2/clients/{id}/news": async (app) => ({
    path: `/api/v2/clients/${await aReader(app, true)}/news`,
  }),
  "GET /api/v2/system/jobs": () => Promise.resolve({ path: "/api/v2/system/jobs" }),
  "GET /api/v2/system/incidents": () => Promise.resolve({ path: "/api/v2/system/incidents" }),
  "GET /api/v2/system/backups": async (app) => {
    await aBackup(app);
    return { path: "/api/v2/system/backups" };
  },
  "GET /api/v2/system/sweeps": async (app) => (await aSweep(app), { path: SWEEPS }),
  "POST /api/v2/system/sweeps": () => Promise.resolve({ path: SWEEPS, body: { repair: true } }),
  "GET /api/v2/system/sweeps/{id}": async (app) => ({ path: `${SWEEPS}/${await aSweep(app)}` }),
  "POST /api/v2/system/backups": () => Promise.resolve({ path: "/api/v2/system/backups" }),
  "POST /api/v2/system/restore-drills": async (app) => {
    await aBackup(app);
    return { path: "/api/v2/system/restore-drills" };
  },
  "POST /api/v2/leads": async (app) => ({
    path: "/api/v2/leads",
    body: { ...LEAD, phone: "0712345678", productId: await aProduct(app) },
  }),
  "GET /api/v2/leads": async (app) => (await aLead(app), { path: "/api/v2/leads?status=new" }),
  "GET /api/v2/leads/{id}": async (app) => ({ path: `/api/v2/leads/${await aLead(app)}` }),
  "PATCH /api/v2/leads/{id}": async (app) => ({
    path: `/api/v2/leads/${await aLead(app)}`,
    body: { status: "won" },
  }),
  "GET /api/v2/clients": async (app) => (await newClient(app), { path: "/api/v2/clients" }),
  "GET /api/v2/clients/{id}": async (app) => ({ path: `/api/v2/clients/${await newClient(app)}` }),
  "PATCH /api/v2/clients/{id}": async (app) => ({
    path: `/api/v2/clients/${await newClient(app)}`,
    body: { name: `Asha ${++made}`, phone: null, notes: "Pays late" },
  }),
  "GET /api/v2/clients/{id}/export": async (app) => {
    await anInvoice(app);
    return { path: `/api/v2/clients/${await newClient(app)}/export` };
  },
  "DELETE /api/v2/clients/{id}": async (app) => ({
    path: `/api/v2/clients/${await newClient(app, { email: `c${++made}@example.com` })}`,
  }),
  "POST /api/v2/invoices": async (app) => ({
    path: "/api/v2/invoices",
    body: {
      clientId: await newClient(app),
      lines: [LINE, { productId: await aProduct(app), quantity: 2 }],
      taxMinor: 1,
    },
  }),
  "GET /api/v2/invoices": async (app) => (await anInvoice(app), { path: "/api/v2/invoices" }),
  "GET /api/v2/invoices/{id}": async (app) => ({
    path: `/api/v2/invoices/${await anInvoice(app, true)}`,
  }),
  "GET /api/v2/invoices/{id}/pdf": async (app) => ({
    path: `/api/v2/invoices/${await anInvoice(app)}/pdf`,
  }),
  "PATCH /api/v2/invoices/{id}": async (app) => ({
    path: `/api/v2/invoices/${await anInvoice(app)}`,
    body: { notes: "Asante" },
  }),
  "POST /api/v2/invoices/{id}/issue": async (app) => ({
    path: `/api/v2/invoices/${await anInvoice(app, true)}/issue`,
  }),
  "POST /api/v2/invoices/{id}/send": async (app) => ({
    path: `/api/v2/invoices/${await anInvoice(app)}/send`,
  }),
  "POST /api/v2/invoices/{id}/void": async (app) => ({
    path: `/api/v2/invoices/${await anInvoice(app)}/void`,
    body: { reason: "Written twice" },
  }),
  "POST /api/v2/invoices/{id}/checkout": async (app) => ({
    path: `/api/v2/invoices/${await anInvoice(app)}/checkout`,
    body: { gateway: "pesapal" },
  }),
  "GET /api/v2/invoices/{id}/payments": async (app) => ({
    path: `/api/v2/invoices/${(await aPayment(app)).invoiceId}/payments`,
  }),
  "POST /api/v2/invoices/{id}/payments": async (app) => ({
    path: `/api/v2/invoices/${await anInvoice(app)}/payments`,
    body: { amountMinor: 5, method: "cash", reference: `receipt ${++made}` },
  }),
  "POST /api/v2/invoices/{id}/refunds": async (app) => {
    const { id, invoiceId } = await aPayment(app, { status: "completed" });
    return {
      path: `/api/v2/invoices/${invoiceId}/refunds`,
      body: { paymentId: id, amountMinor: 1, reason: "x", reference: "y" },
    };
  },
  "GET /api/v2/payments": async (app) => (await aPayment(app), { path: "/api/v2/payments" }),
  "GET /api/v2/payments/{id}": async (app) => ({
    path: `/api/v2/payments/${(await aPayment(app)).id}`,
  }),
  "POST /api/v2/payments/{id}/check": async (app) => ({
    path: `/api/v2/payments/${(await aPayment(app)).id}/check`,
  }),
  "POST /api/v2/payments/{id}/resolve": async (app) => ({
    path: `/api/v2/payments/${(await aPayment(app)).id}/resolve`,
    body: { outcome: "completed", reference: `portal ${++made}`, reason: "Seen there" },
  }),
  "POST /api/v2/payments/{id}/refunds/{refundId}/resolve": async (app) => {
    const { id, refunds: [refund] } = await aPayment(app, { status: "completed" });
    return {
      path: `/api/v2/payments/${id}/refunds/${refund?.id}/resolve`,
      body: { outcome: "completed", reference: "portal" },
    };
  },
  "GET /api/v2/products": async (app) => (await aProduct(app), { path: "/api/v2/products" }),
  "GET /api/v2/products/{idOrSlug}": async (app) => ({
    path: `/api/v2/products/${await aProduct(app)}`,
  }),
  "POST /api/v2/products": () =>
    Promise.resolve({
      path: "/api/v2/products",
      body: {
        title: `Duka ${++made}`,
        category: "saas",
        price: { currency: "UGX", minor: 1 },
        oldPrice: { currency: "UGX", minor: 2 },
      },
    }),
  "PATCH /api/v2/products/{id}": async (app) => ({
    path: `/api/v2/products/${await aProduct(app)}`,
    body: { active: false },
  }),
  "DELETE /api/v2/products/{id}": async (app) => ({
    path: `/api/v2/products/${await aProduct(app)}`,
  }),
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

Deno.test("every answer that the contract lists can be had, and is as it says", async () => {
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

Deno.test("every operation that has a limit says 429 beyond it, as the contract has it", async () => {
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

Deno.test("GET /metrics is in the format that Prometheus reads, and counts what was asked", async () => {
  await using app = await startShop();
  await app.post("/api/v2/leads", LEAD);
  await app.post("/api/v2/leads", {});
  await app.request("PROPFIND", "/");
  await app.request("BREW", "/coffee?x=%0a1");
  await app.get("/nowhere/of/old");

  const { headers, text } = await asAdmin(app, "GET", "/metrics");
  const families = parseMetrics(text);
  const again = parseMetrics((await asAdmin(app, "GET", "/metrics")).text);

  equal(headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const counts = (of: typeof families) =>
    of.get("wetech_requests_total")!.samples.map(({ labels, value }) =>
      [labels.method, labels.route, labels.status, value].join(" ")
    );
  deepEqual(counts(families).sort(), [
    "GET /* 404 1",
    "POST /api/v2/leads 201 1",
    "POST /api/v2/leads 422 1",
    // Whoever makes up methods and paths makes no series with them.
    "other /* 404 2",
  ]);
  ok(counts(again).includes("GET /metrics 200 1"));
  const commits = families.get("wetech_kv_operations_total")!.samples.find(({ labels }) =>
    labels.operation === "commit"
  );
  equal(commits?.value, 1);
  ok(!/asha|mushi|habari|coffee|nowhere/i.test(text));
});

Deno.test("every operation that needs the store says 503 while it hangs, as the contract has it", async () => {
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

Deno.test("answers beyond the plainest are as the contract says", async () => {
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
