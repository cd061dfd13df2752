/**
 * A store and a backup of an earlier program, opened by today's: nothing is lost,
 * nothing is read in another way, and the work continues where it was.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { authenticate } from "../../lib/access/mod.ts";
import { listIncidents, resolveAlert, settleAlerts } from "../../lib/alerts/mod.ts";
import { restore } from "../../lib/backup/restore.ts";
import { sweep } from "../../lib/integrity/mod.ts";
import { invoiceIdOf } from "../../lib/invoices/links.ts";
import { getInvoice, listInvoices } from "../../lib/invoices/mod.ts";
import * as keys from "../../lib/kv/keys.ts";
import { listClients } from "../../lib/leads/clients.ts";
import { listLeads } from "../../lib/leads/mod.ts";
import { getTemplate } from "../../lib/mail/templates.ts";
import { confirmPayment } from "../../lib/payments/confirm.ts";
import { searchPayments } from "../../lib/payments/mod.ts";
import { MINUTE_MS } from "../../lib/time.ts";
import { listWebhooks } from "../../lib/webhooks/mod.ts";
import { openSecrets } from "../../lib/webhooks/secrets.ts";
import {
  type BackupShop,
  openBackupShop,
  sendLead,
  shopBooksOf,
  stock,
} from "../support/processes/backup_shop.ts";
import { runTask } from "../support/processes/task_process.ts";
import { TESTER } from "../support/program/app.ts";
import { expectSameBooks } from "../support/store/same_books.ts";
import {
  ISSUED_BEFORE,
  MADE_AT,
  type StoreBefore,
  unpackStoreBefore,
} from "../support/store/store_before.ts";

const ALL = { limit: 200, cursor: null };

/** What the earlier program's own lists showed, newest first. */
const RECORDED = {
  clients: [
    "Zawadi Mollel zawadi@example.com -",
    "[erased] - -",
    "Neema Kweka - +255754000111",
    "Juma Ali juma@example.com -",
    "Asha Mushi asha@example.com +255712345678",
  ],
  leads: [
    "Zawadi Mollel: new, 1",
    "Asha Mushi: new, 1, INV-2026-000009",
    "Asha M.: new, 1, INV-2026-000006",
    "[erased]: new, 1, INV-2026-000005",
    "Juma Ali: new, 3, INV-2026-000004",
    "Neema Kweka: new, 1",
    "Asha Mushi: lost, 1",
    "Neema Kweka: new, 1, INV-2026-000003",
    "Juma Ali: contacted, 1, INV-2026-000002",
    "Asha Mushi: won, 2, INV-2026-000001",
  ],
  /** Number, status, total, paid and refunded in minor units, due date. */
  invoices: [
    ["INV-2026-000009", "open", 300_000_00, 0, 0, "2026-12-14"],
    ["INV-2026-000008", "open", 80_000_00, 0, 0, "2026-11-10"],
    ["INV-2026-000007", "open", 177_000_00, 0, 0, "2026-12-14"],
    [null, "draft", 10_000_00, 0, 0, "2026-12-14"],
    ["INV-2026-000006", "void", 300_000_00, 0, 0, "2026-12-14"],
    ["INV-2026-000005", "open", 300_000_00, 0, 0, "2026-12-14"],
    ["INV-2026-000004", "open", 900_000_00, 0, 0, "2026-12-14"],
    ["INV-2026-000003", "open", 300_000_00, 0, 0, "2026-12-14"],
    ["INV-2026-000002", "partially_paid", 300_000_00, 75_000_00, 25_000_00, "2026-12-14"],
    ["INV-2026-000001", "paid", 600_000_00, 600_000_00, 0, "2026-12-14"],
  ],
  /** Channel, status, amount and refunds in minor units, problem. */
  payments: [
    ["azampay", "failed", 900_000_00, [], "Transaction failed"],
    [
      "azampay",
      "needs_review",
      300_000_00,
      [],
      "Somebody called in the gateway's name without a signature",
    ],
    ["manual", "completed", 100_000_00, [25_000_00], null],
    ["manual", "completed", 400_000_00, [], null],
    ["manual", "completed", 200_000_00, [], null],
  ],
};

/** Opens a store with today's program, ten minutes after the earlier one was stopped. */
function openToday({ kvPath, backups }: StoreBefore): Promise<BackupShop> {
  return openBackupShop({ kvPath, folder: backups, clock: () => MADE_AT + 10 * MINUTE_MS });
}

/** The same as {@linkcode RECORDED} by today's lists. */
async function listed({ services }: BackupShop): Promise<typeof RECORDED> {
  const clients = (await listClients(services, { email: null, phone: null }, ALL)).data;
  const leads = (await listLeads(services, { status: null, clientId: null }, ALL)).data;
  const all = { status: null, clientId: null, number: null, isOverdue: null };
  const invoices = (await listInvoices(services, all, ALL)).data;
  const payments = (await searchPayments(services, { status: null, invoiceId: null }, ALL)).data;
  const numbers = new Map(invoices.map(({ id, number }) => [id, number]));
  return {
    clients: clients.map(({ name, email, phone }) => `${name} ${email ?? "-"} ${phone ?? "-"}`),
    leads: leads.map(({ contact, status, quantity, invoiceId }) => {
      const number = invoiceId === null ? "" : `, ${numbers.get(invoiceId)}`;
      return `${contact.name}: ${status}, ${quantity}${number}`;
    }),
    invoices: invoices.map((
      { number, status, totalMinor, paidMinor, refundedMinor, dueOn },
    ) => [number, status, totalMinor, paidMinor, refundedMinor, dueOn]),
    payments: payments.map((
      { channel, status, amountMinor, refunds, problem },
    ) => [channel, status, amountMinor, refunds.map(({ amountMinor }) => amountMinor), problem]),
  };
}

async function expectNoFindings({ services }: BackupShop): Promise<void> {
  const { isComplete, findings, counts } = await sweep(services);

  deepEqual({ isComplete, findings }, { isComplete: true, findings: [] });
  ok(counts["lead"]! > 0);
}

Deno.test("a store of an earlier program lists the clients, leads, invoices and payments that it recorded", async () => {
  await using before = await unpackStoreBefore();
  await using shop = await openToday(before);

  deepEqual(await listed(shop), RECORDED);
  const overdue = { status: null, clientId: null, number: null, isOverdue: true };
  const { data } = await listInvoices(shop.services, overdue, ALL);
  deepEqual(data.map(({ number }) => number), ["INV-2026-000008"]);
  const template = await getTemplate(shop.services, { kind: "lead_notice", language: "en" });
  equal(template.subject, "Enquiry: {{clientName}}");
});

Deno.test("a store of an earlier program has no findings, before and after a lead that takes the next invoice number", async () => {
  await using before = await unpackStoreBefore();
  await using shop = await openToday(before);

  await expectNoFindings(shop);
  const { invoiceId } = await sendLead(shop, await stock(shop), 1);

  equal((await getInvoice(shop.services, invoiceId)).number, "INV-2026-000010");
  await expectNoFindings(shop);
});

Deno.test("an open incident of an earlier program counts as notified, and resolves", async () => {
  await using before = await unpackStoreBefore();
  await using shop = await openToday(before);
  const { services } = shop;
  const name = "job_failed:backup";
  const stored = await services.store.get(keys.incident(name));
  ok(stored && "toldAt" in stored && !("notifiedAt" in stored));
  const { toldAt } = stored;

  const open = (await listIncidents(services)).find((incident) => incident.name === name);
  const settled = await settleAlerts(services);
  await resolveAlert(services, name);

  equal(open?.resolvedAt, null);
  equal(open?.notifiedAt, toldAt);
  deepEqual(settled, { resolved: 0, notified: 0 });
  await services.alerts.close();
  const after = await services.store.get(keys.incident(name));
  equal(after?.resolvedAt, new Date(MADE_AT + 10 * MINUTE_MS).toISOString());
  ok(!("toldAt" in after) && !("tellingUntil" in after));
});

Deno.test("a payment that an earlier program put in review for an unsigned callback ends by the gateway's answer", async () => {
  await using before = await unpackStoreBefore();
  await using shop = await openToday(before);
  const { services } = shop;
  const inReview = { status: "needs_review", invoiceId: null } as const;
  const [payment] = (await searchPayments(services, inReview, ALL)).data;
  ok(payment);

  // A failure ends a provisional review only: one about a mismatch outranks it.
  const { status, problem } = await confirmPayment(services, {
    reference: payment.id,
    confirmation: {
      state: "failed",
      reference: payment.id,
      trackingIds: [payment.trackingId!],
      amount: null,
      confirmationCode: null,
      method: null,
      reason: "Insufficient funds",
    },
  }, TESTER);

  deepEqual({ status, problem }, { status: "failed", problem: "Insufficient funds" });
  deepEqual((await searchPayments(services, inReview, ALL)).data, []);
  await expectNoFindings(shop);
});

Deno.test("links, API keys and webhook secrets that an earlier program issued are valid", async () => {
  await using before = await unpackStoreBefore();
  await using shop = await openToday(before);
  const { services } = shop;
  const { config, store, clock } = services;

  const invoiceId = invoiceIdOf(config, ISSUED_BEFORE.invoiceToken);
  const { scopes } = await authenticate(services, ISSUED_BEFORE.apiKey);
  const [endpoint] = await listWebhooks(services);
  const sealed = await store.get(keys.webhookSecrets(endpoint!.id));
  const { secrets, isOldKey } = await openSecrets(config, endpoint!.id, sealed!, clock());

  equal((await getInvoice(services, invoiceId!)).number, "INV-2026-000001");
  deepEqual(scopes, ["invoices:read"]);
  equal(endpoint!.description, "Accounting");
  ok(secrets.length === 1 && secrets[0]!.startsWith("whsec_") && !isOldKey);
});

Deno.test("a backup of an earlier program, and the log shipped after it, restore every entry of its store", async () => {
  await using before = await unpackStoreBefore();
  await using lost = await openToday(before);
  await using shop = await openToday({ ...before, kvPath: before.emptyKvPath });

  const { isExact, findings } = await restore(shop.services, "latest");

  deepEqual({ isExact, findings }, { isExact: false, findings: 0 });
  expectSameBooks(await shopBooksOf(shop.kv), await shopBooksOf(lost.kv));
  deepEqual(await listed(shop), RECORDED);
  await expectNoFindings(shop);
  const { invoiceId } = await sendLead(shop, await stock(shop), 1);
  equal((await getInvoice(shop.services, invoiceId)).number, "INV-2026-000010");
});

Deno.test("the restore and sweep tasks take a backup and a store of an earlier program", async () => {
  await using before = await unpackStoreBefore();

  const sweepEnd = await runTask("sweep", [], { kvPath: before.kvPath });
  const restoreEnd = await runTask("restore", ["latest"], { kvPath: before.emptyKvPath });

  equal(sweepEnd.code, 0, sweepEnd.stdout + sweepEnd.stderr);
  equal(restoreEnd.code, 0, restoreEnd.stdout + restoreEnd.stderr);
  ok(restoreEnd.stdout.trim().endsWith("Sweep:      no findings"), restoreEnd.stdout);
});
