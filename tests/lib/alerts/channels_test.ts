/**
 * What people see of an alert, at real receivers.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import {
  type AlertChannel,
  type AlertNotification,
  openAlertChannels,
} from "../../../lib/alerts/channels.ts";
import type { Log } from "../../../lib/telemetry/mod.ts";
import { hasSmtpServer, SMTP_HINT, startSmtpServer } from "../../support/servers/smtp_server.ts";
import { startWebhookReceiver } from "../../support/servers/webhook_receiver.ts";

const SYSTEM = "production 2026.06.0 at shop.example.com";
const TIMEOUT_MS = 10_000;

const NOTIFICATION: AlertNotification = {
  state: "raised",
  name: "job_failed:backup",
  severity: "critical",
  title: "The job backup failed",
  detail: "Error: no space left",
  openedAt: "2026-06-15T09:00:00.000Z",
  durationMs: 0,
  count: 1,
};

const logged: string[] = [];
const write = (event: string, fields: unknown) =>
  void logged.push(`${event} ${JSON.stringify(fields)}`);
const LOG: Log = { debug: write, info: write, warn: write, error: write };

const NO_MAIL = { mailServer: undefined, mailFrom: undefined, shopEmail: undefined };

function webhook(format: "slack" | "discord", url: string): AlertChannel {
  const [channel] = openAlertChannels({
    webhooks: [{ format, url }],
    ...NO_MAIL,
    system: SYSTEM,
    log: LOG,
  });
  return channel!;
}

Deno.test("a Slack webhook receives plain text", async () => {
  await using receiver = startWebhookReceiver();

  const result = await webhook("slack", receiver.url).deliver(NOTIFICATION, TIMEOUT_MS);

  deepEqual(result, { isDelivered: true });
  deepEqual(receiver.received, [{
    text: [
      "[ALERT] The job backup failed",
      "Error: no space left",
      "Since 2026-06-15 09:00:00 UTC",
      SYSTEM,
    ].join("\n"),
    mrkdwn: false,
    link_names: false,
    unfurl_links: false,
    unfurl_media: false,
  }]);
});

Deno.test("a Discord webhook receives an embed without mentions", async () => {
  await using receiver = startWebhookReceiver();

  await webhook("discord", receiver.url).deliver(
    { ...NOTIFICATION, state: "resolved", durationMs: 12 * 60_000, count: 14 },
    TIMEOUT_MS,
  );

  const [{ embeds: [embed], allowed_mentions }] = receiver.received;
  deepEqual(allowed_mentions, { parse: [] });
  equal(embed.title, "\\[RECOVERED\\] The job backup failed");
  equal(
    embed.description,
    "Lasted 12 min, from 2026\\-06\\-15 09:00:00 UTC; seen 14 times",
  );
  equal(embed.footer.text, SYSTEM);
});

const HOSTILE = {
  ...NOTIFICATION,
  title: "<!channel> *bold* @everyone </b> `code`",
  detail: [
    "<https://evil.example|click> [click](https://evil.example) www.evil.example",
    "@here <@U123> :tada: &lt; \u202e \u0007 asha@example.com +255754123456 wtk_secretsecret",
    "Authorization: Bearer abcdefgh",
  ].join("\n"),
};

for (const format of ["slack", "discord"] as const) {
  Deno.test(`texts are shown literally and redacted on ${format}`, async () => {
    await using receiver = startWebhookReceiver();

    await webhook(format, receiver.url).deliver(HOSTILE, TIMEOUT_MS);

    const [body] = receiver.received;
    const shown: string = body.text ?? body.embeds[0].title + body.embeds[0].description;
    ok(!/@(?!\u200b)/.test(shown), shown);
    ok(!/:\/\//.test(shown), shown);
    ok(!/www\.evil/.test(shown), shown);
    ok(!/:tada:/.test(shown), shown);
    // deno-lint-ignore no-control-regex
    ok(!/[\u0007\u202e]/.test(shown), shown);
    ok(!/asha|255754|secretsecret|abcdefgh/.test(shown), shown);
    if (format === "slack") ok(!/[<>]|&(?!amp;|lt;|gt;)/.test(shown), shown);
    else ok(!/(?<!\\)[*_~`|<>[\]()#]/.test(shown), shown);
  });

  Deno.test(`every text fits into the limits of ${format}`, async () => {
    await using receiver = startWebhookReceiver();
    const channel = webhook(format, receiver.url);
    const text = fc.string({ unit: "binary", maxLength: 3_000, size: "max" });
    const marks = fc.string({ unit: fc.constantFrom("&", "<", "*", "@", "𝒳"), minLength: 900 });
    const any = fc.oneof(text, marks);

    await fc.assert(
      fc.asyncProperty(any, any, async (title, detail) => {
        receiver.received.length = 0;
        deepEqual(await channel.deliver({ ...NOTIFICATION, title, detail }, TIMEOUT_MS), {
          isDelivered: true,
        });
        const [body] = receiver.received;
        if (format === "slack") return ok(body.text.length <= 4_000);
        const [{ title: head, description, footer }] = body.embeds;
        ok(head.length <= 256 && description.length <= 4_096);
        ok(head.length + description.length + footer.text.length <= 6_000);
        ok(!/(?<!\\)(?:\\\\)*\\…$/.test(description), "an escape is cut in half");
      }),
      { numRuns: 30 },
    );
  });
}

Deno.test("a channel returns the result of an attempt, and never its address", async () => {
  await using receiver = startWebhookReceiver();
  const channel = webhook("slack", receiver.url);
  const attempt = (mood: typeof receiver.moods[number], timeoutMs = TIMEOUT_MS) => {
    receiver.moods = [mood];
    return channel.deliver(NOTIFICATION, timeoutMs);
  };

  deepEqual(await attempt({ status: 500 }), {
    isDelivered: false,
    isFinal: false,
    reason: "status 500",
  });
  deepEqual(await attempt({ status: 404 }), {
    isDelivered: false,
    isFinal: true,
    reason: "status 404",
  });
  deepEqual(await attempt({ status: 429, headers: { "retry-after": "2" } }), {
    isDelivered: false,
    isFinal: false,
    reason: "status 429",
    retryAfterMs: 2_000,
  });
  deepEqual(await attempt({ status: 302, headers: { location: receiver.url } }), {
    isDelivered: false,
    isFinal: true,
    reason: "status 302",
  });
  deepEqual(await attempt("hang", 50), {
    isDelivered: false,
    isFinal: false,
    reason: "no answer in 50 ms",
  });
  equal(receiver.received.length, 5);
  deepEqual(await webhook("slack", "http://127.0.0.1:1/secret").deliver(NOTIFICATION, TIMEOUT_MS), {
    isDelivered: false,
    isFinal: false,
    reason: "no connection",
  });
  match(channel.name, /^slack 127\.0\.0\.1:\d+$/);
});

Deno.test({
  name: `a mail is plain text, with the same id each time${SMTP_HINT}`,
  ignore: !hasSmtpServer,
  async fn() {
    await using server = await startSmtpServer();
    const [channel] = openAlertChannels({
      webhooks: [],
      mailServer: {
        host: "127.0.0.1",
        port: server.port,
        isImplicitTls: false,
        credentials: null,
      },
      mailFrom: "shop@example.com",
      shopEmail: "owner@example.com",
      system: SYSTEM,
      log: LOG,
    });

    await channel!.deliver({ ...HOSTILE, title: "Two\nlines" }, TIMEOUT_MS);
    await channel!.deliver(NOTIFICATION, TIMEOUT_MS);

    const [hostile, plain] = (await server.stop()).map(({ data }) => data);
    match(hostile!, /^Subject: \[ALERT\] Two lines\r$/m);
    ok(!/asha|255754|secretsecret|abcdefgh/.test(hostile!), hostile);
    match(plain!, /\r\n\r\nError: no space left\r\nSince 2026-06-15 09:00:00 UTC\r\nproduction/);
    const id = (data: string) => /^Message-ID: (.*)\r$/m.exec(data)?.[1];
    equal(id(hostile!), id(plain!));
    equal(id(plain!), "<job_failed-backup.2026-06-15T09-00-00.000Z.raised@example.com>");
  },
});

Deno.test("with the mail server `log`, mail is logged", async () => {
  const options = { webhooks: [], mailFrom: "a@example.com", shopEmail: "b@example.com" };
  const [channel] = openAlertChannels({ ...options, mailServer: "log", system: SYSTEM, log: LOG });

  deepEqual(await channel!.deliver(NOTIFICATION, TIMEOUT_MS), { isDelivered: true });

  match(logged.at(-1)!, /^alert\.mail_not_sent .*The job backup failed/);
  deepEqual(openAlertChannels({ webhooks: [], ...NO_MAIL, system: SYSTEM, log: LOG }), []);
});
