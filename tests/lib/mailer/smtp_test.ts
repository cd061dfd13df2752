/**
 * Mail given to a real SMTP server.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { parseMailUrl } from "../../../lib/endpoints.ts";
import { sendMail } from "../../../lib/mailer/smtp.ts";
import { hasSmtpServer, SMTP_HINT, startSmtpServer } from "../../support/smtp_server.ts";

const TIMEOUT_MS = 10_000;

const MAIL = {
  id: "job_failed-backup.1",
  from: "WeTech <shop@example.com>",
  to: "owner@example.com",
  subject: "[ALERT] Habari ✓",
  text: "Mstari wa kwanza\nwa pili ✓\n",
};

/** A test that needs the server. */
function smtpTest(name: string, fn: () => Promise<void>) {
  Deno.test({ name: name + SMTP_HINT, ignore: !hasSmtpServer, fn });
}

function serverAt(url: string) {
  const server = parseMailUrl(url);
  if (!server || server === "log") throw new Error(`No server: ${url}`);
  return server;
}

smtpTest("sendMail() gives a mail to a server on this machine", async () => {
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

  smtpTest(`sendMail() signs in by ${scheme}: over TLS`, async () => {
    await using server = await startSmtpServer({ tls, user: "shop", password: "p@ss/word" });
    const url = `${scheme}://shop:p%40ss%2Fword@localhost:${server.port}`;

    const result = await sendMail({ ...serverAt(url), ca: server.ca }, MAIL, TIMEOUT_MS);

    deepEqual(result, { isSent: true });
    const [mail] = await server.stop();
    equal(mail!.isTls, true);
    equal(mail!.isAuthenticated, true);
  });

  smtpTest(`sendMail() sends nothing by ${scheme}: to a server it cannot trust`, async () => {
    await using server = await startSmtpServer({ tls });
    await using other = await startSmtpServer({ tls });
    const url = `${scheme}://localhost:${server.port}`;

    // Deno 2.5 does not tell that it refused the certificate.
    const result = await sendMail({ ...serverAt(url), ca: other.ca }, MAIL, 2_000);

    equal(result.isSent, false);
    deepEqual(await server.stop(), []);
  });
}

smtpTest("sendMail() sends nothing in the clear where TLS is asked for", async () => {
  await using tls = await startSmtpServer({ tls: "implicit" });
  await using server = await startSmtpServer();
  const address = serverAt(`smtp://localhost:${server.port}`);

  const result = await sendMail({ ...address, ca: tls.ca }, MAIL, TIMEOUT_MS);

  deepEqual(result, { isSent: false, isFinal: false, reason: "ETLS 454" });
  deepEqual(await server.stop(), []);
});

smtpTest("sendMail() tells a refusal by its code, without what was said", async () => {
  await using refusing = await startSmtpServer({ reply: "550 No owner@example.com here" });
  await using busy = await startSmtpServer({ reply: "451 Later, owner@example.com" });
  await using closed = await startSmtpServer({ user: "shop", password: "right" });
  const send = ({ port }: { port: number }, who = "") =>
    sendMail(serverAt(`smtp://${who}127.0.0.1:${port}`), MAIL, TIMEOUT_MS);

  deepEqual(await send(refusing), { isSent: false, isFinal: true, reason: "EMESSAGE 550" });
  deepEqual(await send(busy), { isSent: false, isFinal: false, reason: "EMESSAGE 451" });
  deepEqual(await send(closed, "shop:wrong@"), {
    isSent: false,
    isFinal: false,
    reason: "EAUTH 535",
  });
});

Deno.test("sendMail() gives up on a server that is silent or not there", async () => {
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

Deno.test("sendMail() puts no second header into a subject with a line break", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const said = speakSmtp(listener);
  const mail = { ...MAIL, subject: "one\r\nBcc: thief@example.com", to: "owner@example.com" };

  await sendMail(serverAt(`smtp://127.0.0.1:${listener.addr.port}`), mail, TIMEOUT_MS);

  const text = await said;
  ok(!/^Bcc:/m.test(text), text);
  ok(!/RCPT TO:<thief/i.test(text), text);
  listener.close();
});

/** The least of a server: says yes to one client, and returns what it said. */
async function speakSmtp(listener: Deno.TcpListener): Promise<string> {
  using connection = await listener.accept();
  const write = (line: string) => connection.write(new TextEncoder().encode(`${line}\r\n`));
  await write("220 test");
  let text = "";
  let isData = false;
  for await (const chunk of connection.readable) {
    const said = new TextDecoder().decode(chunk);
    text += said;
    if (/^QUIT/m.test(said)) {
      await write("221 bye");
      break;
    }
    if (isData && !text.endsWith("\r\n.\r\n")) continue;
    isData = /^DATA/m.test(said);
    await write(isData ? "354 go on" : "250 ok");
  }
  return text;
}
