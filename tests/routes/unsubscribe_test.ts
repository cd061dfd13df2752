/**
 * Unsubscribing from the newsletter by the link in a mail.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { changeClient, getClient } from "../../lib/leads/clients.ts";
import { clientIdOf, sendNews, unsubscribeUrl } from "../../lib/mail/consent.ts";
import { invoiceToken } from "../../lib/invoices/links.ts";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD, startApp, type TestApp, TESTER } from "../support/program/app.ts";
import { headerOf, readMail, startMailTaker } from "../support/servers/mail_taker.ts";

const FORM = { "content-type": "application/x-www-form-urlencoded" };

async function newClient(app: TestApp, marketingConsent = true): Promise<string> {
  const { body } = await app.post("/api/v2/leads", { ...LEAD, marketingConsent });
  return body.client.id;
}

function pathOf({ config }: TestApp, clientId: string): string {
  return new URL(unsubscribeUrl(config, clientId)).pathname;
}

Deno.test("GET /u/:token asks in both languages, and changes nothing", async () => {
  await using app = await startApp();
  const id = await newClient(app);

  const { status, headers, text } = await app.get(pathOf(app, id));

  equal(status, 200);
  equal(headers.get("cache-control"), "no-store");
  match(headers.get("content-security-policy") ?? "", /default-src 'none'.*form-action 'self'/);
  match(text, /Do you want to unsubscribe from news from WeTech\?/);
  match(text, /Ungependa kuacha kupokea habari kutoka WeTech\?/);
  match(text, /<form method="post">/);
  ok(!text.includes("asha"));
  equal((await getClient(app.services, id)).marketingConsent, true);
});

Deno.test("POST /u/:token withdraws consent, from mail programs and the page, and is idempotent", async () => {
  await using app = await startApp();
  const id = await newClient(app);
  const path = pathOf(app, id);

  const oneClick = await app.request("POST", path, {
    headers: FORM,
    body: "List-Unsubscribe=One-Click",
  });
  const byPage = await app.request("POST", path, { headers: FORM, body: "" });

  deepEqual([oneClick.status, byPage.status], [200, 200]);
  match(oneClick.text, /You are unsubscribed\./);
  const client = await getClient(app.services, id);
  deepEqual([client.marketingConsent, client.revision], [false, 2]);
  const [stored] = await app.services.store.list(keys.auditOf("client", id), { limit: 9 });
  const entry = stored!.value;
  deepEqual([entry.action, entry.by, entry.changes], [
    "client.unsubscribe",
    "public",
    { marketingConsent: [true, false] },
  ]);
});

Deno.test("/u/ knows no token but its own, and guesses count", async () => {
  await using app = await startApp({ env: { RATE_LIMITS: "invoice_link=5/1m" } });
  const id = await newClient(app);
  const own = pathOf(app, id);
  const invoices = `/u/${invoiceToken(app.config, id)}`;
  const altered = own.slice(0, -1) + (own.endsWith("A") ? "E" : "A");

  for (const path of [invoices, altered, "/u/x", `${own}A`]) {
    const method = path === altered ? "POST" : "GET";
    equal((await app.request(method, path)).status, 404, path);
  }
  equal((await app.get("/u/y")).status, 404);
  equal((await app.get("/u/z")).status, 429);
  equal((await app.get(own)).status, 200);
  equal((await getClient(app.services, id)).marketingConsent, true);
});

Deno.test("a token of the previous secret key still ends the consent", async () => {
  const [now, before] = ["b".repeat(48), "a".repeat(48)];
  await using app = await startApp({ env: { SECRET_KEY: now, SECRET_KEY_PREVIOUS: before } });
  const id = await newClient(app);
  const secretKey = app.config.secretKeyPrevious!;
  const url = unsubscribeUrl({ publicUrl: app.config.publicUrl, secretKey }, id);

  equal((await app.request("POST", new URL(url).pathname)).status, 200);

  equal((await getClient(app.services, id)).marketingConsent, false);
  const token = url.slice(url.lastIndexOf("/") + 1);
  equal(clientIdOf(app.config, token), id);
  equal(clientIdOf({ ...app.config, secretKeyPrevious: undefined }, token), null);
});

Deno.test("news go to who has agreed, with a way to end them that works", async () => {
  await using smtp = startMailTaker();
  await using app = await startApp({ env: { MAIL_URL: smtp.url, MAIL_FROM: "shop@example.com" } });
  const id = await newClient(app);
  await app.services.outbox.run();
  smtp.taken.length = 0;

  const sent = await app.request("POST", `/api/v2/clients/${id}/news`, {
    key: app.adminKey,
    body: {},
  });
  await app.services.outbox.run();

  equal(sent.status, 202);
  const [mail, ...others] = smtp.taken;
  deepEqual(others, []);
  const email = await readMail(mail!.raw);
  deepEqual(email.to?.map(({ address }) => address), ["asha@example.com"]);
  equal(email.messageId, `<${sent.body.messageId}@example.com>`);
  deepEqual(headerOf(email, "List-Unsubscribe-Post"), ["List-Unsubscribe=One-Click"]);
  const [url = ""] = headerOf(email, "List-Unsubscribe");
  const target = new URL(url.slice(1, -1));
  equal(target.origin, app.config.publicUrl);
  ok(email.text?.includes(target.href) && email.html?.includes(target.href));

  await app.request("POST", target.pathname, { headers: FORM, body: "List-Unsubscribe=One-Click" });
  const again = await app.request("POST", `/api/v2/clients/${id}/news`, {
    key: app.adminKey,
    body: {},
  });
  equal(again.status, 409);
  equal((await getClient(app.services, id)).marketingConsent, false);
});

Deno.test("a pending newsletter is not sent after consent was withdrawn", async () => {
  await using smtp = startMailTaker();
  await using app = await startApp({ env: { MAIL_URL: smtp.url, MAIL_FROM: "shop@example.com" } });
  const id = await newClient(app);
  await app.services.outbox.run();
  smtp.taken.length = 0;
  const { id: messageId } = await sendNews(app.services, id, TESTER);
  await changeClient(app.services, id, { marketingConsent: false }, { by: TESTER });

  await app.services.outbox.run();

  deepEqual(smtp.taken, []);
  const message = await app.services.store.get(keys.messageDone(messageId));
  deepEqual([message?.status, message?.lastError], ["cancelled", "no marketing consent"]);
});

Deno.test("POST /api/v2/clients/:id/news refuses clients without consent, and a program without mail", async () => {
  await using smtp = startMailTaker();
  await using app = await startApp({ env: { MAIL_URL: smtp.url, MAIL_FROM: "shop@example.com" } });
  await using silent = await startApp();
  const send = (app: TestApp, id: string, key = app.adminKey) =>
    app.request("POST", `/api/v2/clients/${id}/news`, { key, body: {} });

  equal((await send(app, await newClient(app, false))).status, 409);
  equal((await send(app, "01938d6e-3c00-7000-8000-000000000001")).status, 404);
  equal((await send(app, await newClient(app), await app.newKey("clients:read"))).status, 403);
  equal((await send(silent, await newClient(silent))).status, 409);
});
