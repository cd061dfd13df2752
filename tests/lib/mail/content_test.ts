/**
 * The content, recipients and language of each mail, and when a mail is skipped.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import type { Email } from "postal-mime";
import { eraseClient } from "../../../lib/leads/clients.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { OutboxMessage } from "../../../lib/kv/outbox_records.ts";
import { type MailKind, type MailTexts, putTemplate } from "../../../lib/mail/templates.ts";
import { markOverdue } from "../../../lib/invoices/overdue.ts";
import { DAY_MS } from "../../../lib/time.ts";
import { LEAD, startApp, type TestApp, TESTER } from "../../support/program/app.ts";
import {
  headerOf,
  type MailTaker,
  readMail,
  startMailTaker,
} from "../../support/servers/mail_taker.ts";

const SHOP = "owner@example.com";
const BUYER = "asha@example.com";

/** The program with a mail server that accepts everything. */
async function startShop(env: Record<string, string> = {}) {
  const smtp = startMailTaker();
  const app = await startApp({
    env: {
      MAIL_URL: smtp.url,
      MAIL_FROM: "shop@example.com",
      SHOP_EMAIL: SHOP,
      SHOP_NAME: "Duka la Asha",
      REMINDER_DAYS: "-3,1",
      ...env,
    },
  });
  return {
    app,
    smtp,
    async [Symbol.asyncDispose]() {
      await app.services.alerts.close();
      await app[Symbol.asyncDispose]();
      await smtp[Symbol.asyncDispose]();
    },
  };
}

/** Sends all pending mail. @returns The mails as a mail program reads them */
async function sent(app: TestApp, smtp: MailTaker): Promise<Email[]> {
  smtp.taken.length = 0;
  await app.services.outbox.run();
  return await Promise.all(smtp.taken.map(({ raw }) => readMail(raw)));
}

function to(mails: Email[], address: string): Email {
  const found = mails.filter((mail) => mail.to?.[0]?.address === address);
  equal(found.length, 1, `mails to ${address}`);
  return found[0]!;
}

/** A lead with an invoice, whose mails have been sent. */
async function newInvoice({ app, smtp }: { app: TestApp; smtp: MailTaker }, fields = {}) {
  const product = await app.stockProduct({ slug: `pos-${await app.count(keys.products)}` });
  const { body } = await app.post("/api/v2/leads", { ...LEAD, productId: product.id, ...fields });
  const mails = await sent(app, smtp);
  return { invoice: body.invoice, client: body.client, url: body.links.invoice, mails };
}

function pay(app: TestApp, id: string, amountMinor: number) {
  const body = { amountMinor, method: "cash", reference: `receipt ${amountMinor}` };
  return app.request("POST", `/api/v2/invoices/${id}/payments`, { key: app.adminKey, body });
}

async function done({ services: { store } }: TestApp): Promise<OutboxMessage[]> {
  return (await store.list(keys.messagesDone, { limit: 100 })).map(({ value }) => value);
}

Deno.test("a lead is confirmed to its sender and announced to the shop, which can reply", async () => {
  await using shop = await startShop();

  const { invoice, url, mails } = await newInvoice(shop, { phone: "0754 000 111" });

  const received = to(mails, BUYER);
  equal(received.subject, "We have received your enquiry");
  deepEqual([received.from?.name, received.from?.address], ["Duka la Asha", "shop@example.com"]);
  deepEqual(received.replyTo?.map(({ address }) => address), [SHOP]);
  match(received.text ?? "", /^Hello Asha Mushi,\n/);
  for (const part of [received.text, received.html]) {
    ok(part?.includes(invoice.number) && part.includes(url) && part.includes("TZS\u00a0450,000"));
    // The visitor's message is not sent to an address that may be another person's.
    ok(!part?.includes(LEAD.message));
  }
  deepEqual(headerOf(received, "List-Unsubscribe"), []);
  const notice = to(mails, SHOP);
  equal(notice.subject, "New enquiry from Asha Mushi");
  deepEqual(notice.replyTo?.map(({ address }) => address), [BUYER]);
  match(notice.text ?? "", /Habari\n\nEmail: asha@example\.com\nPhone: \+255754000111/);
});

Deno.test("a name that looks like an advertisement is left out of the mail to the given address", async () => {
  await using shop = await startShop();
  const { app, smtp } = shop;
  for (const name of ["Win now http://evil.example", "visit evil.example today", "a@b.example"]) {
    await app.post("/api/v2/leads", { ...LEAD, name });
    const mail = to(await sent(app, smtp), BUYER);
    match(mail.text ?? "", /^Hello,\n/);
    ok(![mail.subject, mail.text, mail.html].some((part) => part?.includes("example today")));
    ok(![mail.text, mail.html].some((part) => /evil|a@b/.test(part ?? "")));
  }
});

Deno.test("mails are in the language of the lead, else of the shop", async () => {
  await using shop = await startShop();
  await using swahili = await startShop({ DEFAULT_LANGUAGE: "sw" });

  const asked = await newInvoice(shop, { language: "sw" });
  const usual = await newInvoice(swahili);
  const english = await newInvoice(swahili, { language: "en", email: "juma@example.com" });

  equal(to(asked.mails, BUYER).subject, "Tumepokea ombi lako");
  match(to(asked.mails, BUYER).html ?? "", /<html lang="sw">[^]*TSh\u00a0450,000[^]*Tazama ankara/);
  // The shop's mails are in its own language.
  equal(to(asked.mails, SHOP).subject, "New enquiry from Asha Mushi");
  equal(to(usual.mails, SHOP).subject, "Ombi jipya kutoka kwa Asha Mushi");
  equal(to(usual.mails, BUYER).subject, "Tumepokea ombi lako");
  equal(to(english.mails, "juma@example.com").subject, "We have received your enquiry");

  await shop.app.request("POST", `/api/v2/invoices/${asked.invoice.id}/send`, {
    key: shop.app.adminKey,
    body: {},
  });
  const [invoice] = await sent(shop.app, shop.smtp);
  equal(invoice!.subject, `Ankara ${asked.invoice.number} kutoka Duka la Asha`);
});

Deno.test("an invoice is sent with its PDF, unless attachments are off", async () => {
  for (const attaches of ["on", "off"]) {
    await using shop = await startShop({ MAIL_ATTACH_PDF: attaches });
    const { invoice, url } = await newInvoice(shop);
    const { app, smtp } = shop;
    await app.request("POST", `/api/v2/invoices/${invoice.id}/send`, {
      key: app.adminKey,
      body: {},
    });

    const mail = to(await sent(app, smtp), BUYER);

    equal(mail.subject, `Invoice ${invoice.number} from Duka la Asha`);
    match(mail.text ?? "", /- Duka POS, 1 × TZS\u00a0450,000: TZS\u00a0450,000/);
    ok(mail.text?.includes(url) && mail.html?.includes(url));
    equal(mail.attachments.length, attaches === "on" ? 1 : 0);
    equal(mail.text?.includes("PDF"), attaches === "on");
    if (attaches === "off") continue;
    const [file] = mail.attachments;
    deepEqual([file!.filename, file!.mimeType], [`${invoice.number}.pdf`, "application/pdf"]);
    ok(file!.content instanceof ArrayBuffer);
    const page = await fetch(`${app.url}${new URL(url).pathname}.pdf?lang=en`);
    deepEqual(new Uint8Array(file!.content), await page.bytes());
  }
});

Deno.test("a payment is announced to the buyer and the shop, a refund to the buyer", async () => {
  await using shop = await startShop();
  const { app, smtp } = shop;
  const { invoice } = await newInvoice(shop);

  const { body: part } = await pay(app, invoice.id, 20_000_000);
  const first = await sent(app, smtp);
  await pay(app, invoice.id, 25_000_000);
  const second = await sent(app, smtp);
  await app.request("POST", `/api/v2/invoices/${invoice.id}/refunds`, {
    key: app.adminKey,
    body: { paymentId: part.id, amountMinor: 5_000_000, reason: "siri", reference: "bank 1" },
  });
  const third = await sent(app, smtp);

  match(
    to(first, BUYER).text ?? "",
    /payment of TZS\u00a0200,000 for invoice .*\.\nThe balance of TZS\u00a0250,000 is due by 29 June 2026\./,
  );
  match(to(first, SHOP).subject ?? "", /^Payment of TZS 200,000 for invoice INV-/);
  match(
    to(second, BUYER).text ?? "",
    /payment of TZS\u00a0250,000 for invoice .*\.\nNo balance is due\./,
  );
  const [back, ...others] = third;
  deepEqual(others, []);
  equal(back!.to?.[0]?.address, BUYER);
  match(back!.text ?? "", /We have refunded TZS\u00a050,000 for invoice/);
  ok(!`${back!.text}${back!.html}`.includes("siri"));
});

Deno.test("a buyer is reminded before and after the due date, unless the invoice is paid by then", async () => {
  await using shop = await startShop();
  const { app, smtp } = shop;
  const { invoice } = await newInvoice(shop);
  const remind = async (days: number) => {
    app.advance(days * DAY_MS);
    await markOverdue(app.services, { budgetMs: 60_000 }, TESTER);
  };

  await remind(12);
  const before = to(await sent(app, smtp), BUYER);
  await remind(4);
  const after = to(await sent(app, smtp), BUYER);

  equal(before.subject, `Invoice ${invoice.number} is due on 29 June 2026`);
  equal(after.subject, `Invoice ${invoice.number} is overdue`);
  match(after.text ?? "", /was due on 29 June 2026\. The balance due is TZS\u00a0450,000\./);

  await using other = await startShop();
  const late = await newInvoice(other);
  other.app.advance(12 * DAY_MS);
  await markOverdue(other.app.services, { budgetMs: 60_000 }, TESTER);
  await pay(other.app, late.invoice.id, 45_000_000);
  const mails = await sent(other.app, other.smtp);
  ok(mails.every(({ subject }) => !subject?.includes("due on")));
  const reminder = (await done(other.app)).find(({ type }) => type === "invoice.reminder");
  deepEqual([reminder?.status, reminder?.lastError], ["cancelled", "no balance due"]);
});

Deno.test("nothing is sent to, or about, a client who was erased before the mail was sent", async () => {
  await using shop = await startShop();
  const { app, smtp } = shop;
  const { invoice, client } = await newInvoice(shop);
  await app.post("/api/v2/leads", LEAD);
  await app.request("POST", `/api/v2/invoices/${invoice.id}/send`, { key: app.adminKey, body: {} });
  await pay(app, invoice.id, 100);
  await eraseClient(app.services, client.id, TESTER);

  const mails = await sent(app, smtp);

  // The books keep the buyer: the payment is announced to the shop.
  deepEqual(mails.map(({ to }) => to?.[0]?.address), [SHOP]);
  match(mails[0]!.subject ?? "", /^Payment of TZS 1 for invoice/);
  const reasons = (await done(app)).filter(({ status }) => status === "cancelled")
    .map(({ type, to, lastError }) => `${type} ${to}: ${lastError}`);
  deepEqual(reasons.sort(), [
    "invoice.sent client: no email address",
    "lead.created client: no email address",
    "lead.created shop: client data erased",
  ]);
  ok(!app.logLines.join("\n").includes(BUYER));
});

Deno.test("a void invoice is not sent", async () => {
  await using shop = await startShop();
  const { app, smtp } = shop;
  const { invoice } = await newInvoice(shop);
  const post = (what: string, body: unknown) =>
    app.request("POST", `/api/v2/invoices/${invoice.id}/${what}`, { key: app.adminKey, body });
  await post("send", {});
  equal((await post("void", { reason: "typo" })).status, 200);

  deepEqual(await sent(app, smtp), []);
});

Deno.test("mails use the shop's custom templates as soon as they are stored", async () => {
  await using shop = await startShop();
  const { app, smtp } = shop;
  const put = (kind: MailKind, texts: MailTexts) =>
    putTemplate(app.services, { kind, language: "en" }, texts, { by: TESTER });
  await app.post("/api/v2/leads", { ...LEAD, name: "Asha <b>Mushi</b> & Co" });

  await put("lead_received", {
    subject: "Karibu {{clientName}}",
    text: "Karibu, {{clientName}}!",
    html: "<h1>Karibu, {{clientName}}!</h1>",
  });
  await put("lead_notice", { subject: "{{clientName}}", text: "{{message}}", html: "" });
  const mails = await sent(app, smtp);

  const received = to(mails, BUYER);
  equal(received.subject, "Karibu");
  match(received.html ?? "", /<h1>Karibu, !<\/h1>/);
  const notice = to(mails, SHOP);
  equal(notice.subject, "Asha <b>Mushi</b> & Co");
  equal(notice.html, undefined);
  match(notice.text ?? "", /^Habari\n/);
});

Deno.test("a refused recipient is dead-lettered at once, a server that refuses everybody is retried", async () => {
  for (
    const [replies, status, reason] of [
      [{ rcpt: "550 No such asha@example.com" }, "dead", "recipient refused: EENVELOPE 550"],
      [{ message: "554 Spam" }, "dead", "mail refused: EMESSAGE 554"],
      [{ rcpt: "450 Later" }, "pending", "recipient refused: EENVELOPE 450"],
      [{ mail: "550 Not you" }, "pending", "EENVELOPE 550"],
    ] as const
  ) {
    await using shop = await startShop();
    const { app, smtp } = shop;
    smtp.replies = replies;
    await app.post("/api/v2/leads", { ...LEAD, phone: "0754000111" });

    await app.services.outbox.run();

    const messages = (await app.services.store.list(keys.messages, { limit: 9 }))
      .map(({ value }) => value).filter(({ attempts }) => attempts > 0);
    ok(messages.length > 0);
    deepEqual(
      new Set(messages.map(({ status, lastError }) => `${status} ${lastError}`)),
      new Set([`${status} ${reason}`]),
    );
  }
});
