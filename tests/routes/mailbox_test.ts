/**
 * The development mailbox.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { MAILBOX_MAX } from "../../lib/mailer/mailbox.ts";
import { LEAD, startApp } from "../support/program/app.ts";

const ENV = {
  APP_ENV: "development",
  MAIL_URL: "log:",
  MAIL_FROM: "shop@example.com",
  SHOP_EMAIL: "owner@example.com",
  PUBLIC_URL: "http://127.0.0.1",
};

Deno.test("GET /dev/mailbox shows captured mails, and their content cannot run anything", async () => {
  await using app = await startApp({ env: ENV });
  const product = await app.stockProduct();
  const name = '<script>alert("1")</script>';
  await app.post("/api/v2/leads", {
    ...LEAD,
    name,
    message: "</iframe><b>",
    productId: product.id,
  });
  await app.services.outbox.run();

  const list = await app.get("/dev/mailbox");
  const numbers = Array.from(list.text.matchAll(/href="\/dev\/mailbox\/(\d+)"/g), ([, n]) => n);
  const mails = await Promise.all(numbers.map((number) => app.get(`/dev/mailbox/${number}`)));

  equal(list.status, 200);
  equal(numbers.length, 2);
  for (const { status, headers, text } of [list, ...mails]) {
    equal(status, 200);
    match(headers.get("content-security-policy") ?? "", /^default-src 'none'; style-src 'nonce-/);
    ok(!/script-src/.test(headers.get("content-security-policy") ?? ""));
    ok(!text.includes("<script>") && !text.includes("</iframe><b>"));
  }
  const [notice] = mails.filter(({ text }) =>
    text.includes("<th>To</th><td>owner@example.com</td>")
  );
  match(notice!.text, /<iframe sandbox="" srcdoc="&lt;!DOCTYPE html&gt;/);
  match(notice!.text, /&lt;script&gt;/);
  match(notice!.text, /INV-2026-000001/);
  equal((await app.get("/dev/mailbox/99")).status, 404);
  equal((await app.get("/dev/mailbox/x")).status, 404);
});

Deno.test("the mailbox keeps only the last mails, and none is logged", async () => {
  await using app = await startApp({ env: ENV });
  const { mailbox } = app.services;
  for (let i = 1; i <= MAILBOX_MAX + 5; i++) {
    await mailbox!.send({
      id: `mail-${i}`,
      from: "shop@example.com",
      to: "asha@example.com",
      subject: `Habari Asha ${i}`,
      text: "Siri",
    });
  }

  equal(mailbox!.list().length, MAILBOX_MAX);
  deepEqual([mailbox!.list()[0]!.number, mailbox!.find(5), mailbox!.find(6)?.mail.subject], [
    MAILBOX_MAX + 5,
    null,
    "Habari Asha 6",
  ]);
  ok(!/asha|siri/i.test(app.logLines.join("\n")));
});

Deno.test("the mailbox exists in development only", async () => {
  await using tested = await startApp({ env: { ...ENV, APP_ENV: "test" } });
  await using sending = await startApp({ env: { ...ENV, MAIL_URL: "smtp://127.0.0.1:1" } });

  for (const app of [tested, sending]) {
    equal((await app.get("/dev/mailbox")).status, 404);
    equal((await app.get("/dev/mailbox/1")).status, 404);
  }
});
