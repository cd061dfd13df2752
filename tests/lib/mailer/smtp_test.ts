/**
 * Mail delivered to a real SMTP server.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { parseMailUrl, type SmtpServer } from "../../../lib/config/endpoints.ts";
import type { Mail, SendResult } from "../../../lib/mailer/mod.ts";
import { openMailer } from "../../../lib/mailer/open.ts";
import {
  headerOf,
  readMail,
  startMailTaker,
  type TakerReplies,
} from "../../support/servers/mail_taker.ts";
import { hasSmtpServer, SMTP_HINT, startSmtpServer } from "../../support/servers/smtp_server.ts";

const TIMEOUT_MS = 10_000;

const MAIL: Mail = {
  id: "job_failed-backup.1",
  from: "shop@example.com",
  fromName: "WeTech",
  to: "owner@example.com",
  subject: "[ALERT] Habari ✓",
  text: "Mstari wa kwanza\nwa pili ✓\n",
};

/** A test that needs the server. */
function smtpTest(name: string, fn: () => Promise<void>) {
  Deno.test({ name: name + SMTP_HINT, ignore: !hasSmtpServer, fn });
}

function serverAt(url: string): SmtpServer {
  const server = parseMailUrl(url);
  if (!server || server === "log" || "api" in server) throw new Error(`No server: ${url}`);
  return server;
}

function sendMail(server: SmtpServer, mail: Mail, timeoutMs: number): Promise<SendResult> {
  return openMailer(server).send(mail, timeoutMs);
}

smtpTest("openMailer().send() delivers a mail to a server on this machine", async () => {
  await using server = await startSmtpServer();

  const result = await sendMail(serverAt(`smtp://127.0.0.1:${server.port}`), MAIL, TIMEOUT_MS);

  deepEqual(result, { isSent: true });
  const [mail, ...others] = await server.stop();
  deepEqual(others, []);
  equal(mail!.from, "shop@example.com");
  deepEqual(mail!.to, ["owner@example.com"]);
  match(mail!.data, /^Message-ID: <job_failed-backup\.1@example\.com>\r$/m);
  match(mail!.data, /^Auto-Submitted: auto-generated\r$/m);
  match(mail!.data, /^Content-Type: text\/plain; charset=utf-8\r$/m);
});

for (const tls of ["implicit", "starttls"] as const) {
  const scheme = tls === "implicit" ? "smtps" : "smtp";

  smtpTest(`openMailer().send() signs in by ${scheme}: over TLS`, async () => {
    await using server = await startSmtpServer({ tls, user: "shop", password: "p@ss/word" });
    const url = `${scheme}://shop:p%40ss%2Fword@localhost:${server.port}`;

    const result = await sendMail({ ...serverAt(url), ca: server.ca }, MAIL, TIMEOUT_MS);

    deepEqual(result, { isSent: true });
    const [mail] = await server.stop();
    equal(mail!.isTls, true);
    equal(mail!.isAuthenticated, true);
  });

  smtpTest(
    `openMailer().send() sends nothing by ${scheme}: to a server it cannot trust`,
    async () => {
      await using server = await startSmtpServer({ tls });
      await using other = await startSmtpServer({ tls });
      const url = `${scheme}://localhost:${server.port}`;

      // Deno 2.5 does not report that it refused the certificate.
      const result = await sendMail({ ...serverAt(url), ca: other.ca }, MAIL, 2_000);

      equal(result.isSent, false);
      deepEqual(await server.stop(), []);
    },
  );
}

smtpTest("openMailer().send() sends nothing in plain text where TLS is required", async () => {
  await using tls = await startSmtpServer({ tls: "implicit" });
  await using server = await startSmtpServer();
  const address = serverAt(`smtp://localhost:${server.port}`);

  const result = await sendMail({ ...address, ca: tls.ca }, MAIL, TIMEOUT_MS);

  deepEqual(result, {
    isSent: false,
    isFinal: false,
    scope: "all",
    reason: "ETLS 454",
  });
  deepEqual(await server.stop(), []);
});

smtpTest(
  "openMailer().send() reports a refusal by its code, without the server's text",
  async () => {
    await using refusing = await startSmtpServer({ reply: "550 No owner@example.com here" });
    await using busy = await startSmtpServer({ reply: "451 Later, owner@example.com" });
    await using closed = await startSmtpServer({ user: "shop", password: "right" });
    const send = ({ port }: { port: number }, who = "") =>
      sendMail(serverAt(`smtp://${who}127.0.0.1:${port}`), MAIL, TIMEOUT_MS);

    const [mine, everybodys] = [{ isSent: false, scope: "mail" }, { isSent: false, scope: "all" }];
    deepEqual(await send(refusing), { ...mine, isFinal: true, reason: "EMESSAGE 550" });
    deepEqual(await send(busy), { ...mine, isFinal: false, reason: "EMESSAGE 451" });
    deepEqual(await send(closed, "shop:wrong@"), {
      ...everybodys,
      isFinal: false,
      reason: "EAUTH 535",
    });
  },
);

Deno.test("openMailer().send() fails in time on a server that is silent or unreachable", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const silent = (async () => {
    for await (const connection of listener) {
      for await (const _ of connection.readable) { /* says nothing */ }
    }
  })();
  const startedAt = performance.now();

  const hanging = await sendMail(serverAt(`smtp://127.0.0.1:${listener.addr.port}`), MAIL, 300);
  const absent = await sendMail(serverAt("smtp://127.0.0.1:1"), MAIL, TIMEOUT_MS);

  equal(hanging.isSent, false);
  equal(absent.isSent, false);
  ok(performance.now() - startedAt < 5_000);
  listener.close();
  await silent;
});

smtpTest("a mail with every feature arrives unchanged at a real server", async () => {
  await using server = await startSmtpServer({ tls: "starttls", user: "shop", password: "word" });
  const address = serverAt(`smtp://shop:word@localhost:${server.port}`);
  const bytes = crypto.getRandomValues(new Uint8Array(40_000));
  const mail: Mail = {
    ...MAIL,
    id: "01938d6e-3c00-7000-8000-000000000001",
    fromName: 'Duka la "Ñandú" 🛒, Ltd',
    replyTo: "owner@example.com",
    subject: "Ankara ya “Ng'ombe” – malipo ya TSh 450,000 ✅ yamepokelewa, asante sana 🙏🏾",
    text: `Habari,\n${"mstari mrefu sana ".repeat(100)}\n.\nFrom here é 🙂\n`,
    html: '<p lang="sw">Habari &amp; asante é 🙂</p>',
    attachments: [{ name: "INV-2026-000001 é.pdf", type: "application/pdf", bytes }],
    unsubscribeUrl: "https://shop.example.com/u/abc",
  };

  const result = await sendMail({ ...address, ca: server.ca }, mail, TIMEOUT_MS);

  deepEqual(result, { isSent: true });
  const [received] = await server.stop();
  deepEqual([received!.isTls, received!.isAuthenticated], [true, true]);
  equal(received!.from, "shop@example.com");
  deepEqual(received!.to, ["owner@example.com"]);
  const email = await readMail(received!.data);
  equal(email.subject, mail.subject);
  deepEqual([email.from?.name, email.from?.address], [mail.fromName, mail.from]);
  deepEqual(email.to?.map(({ address }) => address), [mail.to]);
  deepEqual(email.replyTo?.map(({ address }) => address), [mail.replyTo]);
  equal(email.messageId, `<${mail.id}@example.com>`);
  equal(email.text!.replaceAll("\r\n", "\n").trim(), mail.text.trim());
  equal(email.html!.trim(), mail.html);
  deepEqual(email.attachments.map(({ filename, mimeType }) => [filename, mimeType]), [
    ["INV-2026-000001 é.pdf", "application/pdf"],
  ]);
  const content = email.attachments[0]!.content;
  ok(content instanceof ArrayBuffer);
  deepEqual(new Uint8Array(content), bytes);
  deepEqual(headerOf(email, "Auto-Submitted"), ["auto-generated"]);
  deepEqual(headerOf(email, "List-Unsubscribe"), ["<https://shop.example.com/u/abc>"]);
  deepEqual(headerOf(email, "List-Unsubscribe-Post"), ["List-Unsubscribe=One-Click"]);
  // Head and body are ASCII, whatever is in them.
  // deno-lint-ignore no-control-regex
  match(received!.data, /^[\x00-\x7f]*$/);
});

for (
  const [what, replies, expected] of [
    ["a recipient for good", { rcpt: "550 No" }, ["recipient", true, "EENVELOPE 550"]],
    ["a recipient for now", { rcpt: "450 Later" }, ["recipient", false, "EENVELOPE 450"]],
    ["who sends", { mail: "550 Not from you" }, ["all", false, "EENVELOPE 550"]],
    ["a size", { mail: "552 Too large" }, ["mail", true, "EENVELOPE 552"]],
    ["what is said", { message: "554 Spam" }, ["mail", true, "EMESSAGE 554"]],
    ["the message before it comes", { data: "554 No" }, ["mail", true, "EENVELOPE 554"]],
    ["all, by closing", { rcpt: "421 Closing" }, ["all", false, "EENVELOPE 421"]],
    ["all, at the door", { greeting: "554 No service" }, ["all", false, "EPROTOCOL 554"]],
  ] satisfies [string, TakerReplies, [string, boolean, string]][]
) {
  Deno.test(`openMailer().send() reports that a server refuses ${what}`, async () => {
    await using server = startMailTaker(replies);

    const result = await sendMail(serverAt(server.url), MAIL, TIMEOUT_MS);

    const [scope, isFinal, reason] = expected;
    deepEqual(result, { isSent: false, isFinal, scope, reason });
    deepEqual(server.taken, []);
  });
}
