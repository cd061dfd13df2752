/** One successful request per operation of the API, with everything that it needs in the store. */
import * as keys from "../../lib/kv/keys.ts";
import { newId } from "../../lib/ids.ts";
import type { Payment, Refund } from "../../lib/kv/payment_records.ts";
import { transact } from "../../lib/kv/mod.ts";
import { operationOf } from "../../lib/entities/caller.ts";
import { newPayment, putNewPayment } from "../../lib/payments/records.ts";
import { isoTime } from "../../lib/time.ts";
import { LEAD, TESTER, type TestRequest } from "../support/program/app.ts";
import { BUSY, happen, newOutbox, newPost, TAKEN } from "../support/program/outbox.ts";
import { asAdmin, newClient, type TestShop } from "../support/program/shop.ts";
import { WEBHOOK_SAMPLES } from "../support/program/webhook_samples.ts";

const LINE = { description: "Work", quantity: 1, unitMinor: 100 };

/** Prepares a request that succeeds; every call prepares a new one. */
export type Sample = (app: TestShop) => Promise<{ path: string } & TestRequest>;

/** Some requests need a way to send mail. */
export const MAILING = { MAIL_URL: "log:", MAIL_FROM: "shop@example.com" };

/** The words of a mail. */
const WORDS = "/api/v2/mail-templates/invoice_sent/en";

let made = 0;
/** A client that agreed to get news, or did not. */
export const aReader = async (app: TestShop, marketingConsent: boolean) => {
  const email = `reader-${++made}@example.com`;
  const lead = { ...LEAD, email, marketingConsent };
  return (await app.post("/api/v2/leads", lead)).body.client.id;
};
export const aLead = async (app: TestShop) => (await app.post("/api/v2/leads", LEAD)).body.lead.id;
export const aProduct = async (app: TestShop) =>
  (await app.stockProduct({ slug: `p-${++made}` })).id;
export const anInvoice = async (app: TestShop, draft = false) => {
  const clientId = await newClient(app);
  const body = { clientId, lines: [LINE], draft };
  return (await asAdmin(app, "POST", "/api/v2/invoices", { body })).body.id;
};

const BACKUP = { id: "2026-06-15T02-00-00-000Z-0a1b2c3d", pointInTime: "2026-06-15T02:00:10.000Z" };

/** What the store says of a backup and of its restore, and of none. */
export const aBackup = (app: TestShop, isThere = true) =>
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
export const aMessage = async (app: TestShop, isSent = false) => {
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
export const aPayment = async (app: TestShop, fields: Partial<Payment> = {}): Promise<Payment> => {
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
export const SAMPLES: Record<string, Sample> = {
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
