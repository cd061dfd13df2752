/**
 * The accepted forms of addresses of other services.
 */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import {
  isSentryDsn,
  parseHeartbeat,
  parseMailUrl,
  parseWebhookUrl,
} from "../../../lib/config/endpoints.ts";

function portOf(server: ReturnType<typeof parseMailUrl>): number | null {
  return server !== null && server !== "log" && "port" in server ? server.port : null;
}

Deno.test("parseMailUrl() parses SMTP servers and log:, and nothing else", () => {
  deepEqual(parseMailUrl("smtps://u%40x:p%3Aw@mail.example.com"), {
    host: "mail.example.com",
    port: 465,
    isImplicitTls: true,
    credentials: { user: "u@x", password: "p:w" },
  });
  deepEqual(parseMailUrl("smtp://[::1]:2525/"), {
    host: "::1",
    port: 2525,
    isImplicitTls: false,
    credentials: null,
  });
  equal(portOf(parseMailUrl("smtp://mail.example.com")), 587);
  equal(parseMailUrl("log:"), "log");
  for (
    const text of [
      "",
      "https://mail.example.com",
      "smtp://",
      "smtp://user@mail.example.com",
      "smtp://u:%ff@mail.example.com",
      "smtp://mail.example.com/path",
      "smtp://mail.example.com?tls=no",
    ]
  ) equal(parseMailUrl(text), null, text);
});

Deno.test("parseMailUrl() parses mail APIs, and refuses addresses that would expose the key", () => {
  deepEqual(parseMailUrl("resend+https://:re_%2Fkey@api.resend.com/"), {
    api: "resend",
    origin: "https://api.resend.com",
    key: "re_/key",
  });
  deepEqual(parseMailUrl("postmark+http://:token@127.0.0.1:8025"), {
    api: "postmark",
    origin: "http://127.0.0.1:8025",
    key: "token",
  });
  for (
    const text of [
      "resend+https://api.resend.com",
      "resend+https://user:key@api.resend.com",
      "resend+https://:key@api.resend.com/emails",
      "resend+http://:key@api.resend.com",
      "postmark+https://:a%0Db@api.postmarkapp.com",
      "brevo+https://:key@api.brevo.com",
      "resend+smtp://:key@api.resend.com",
    ]
  ) equal(parseMailUrl(text), null, text);
});

Deno.test("parseWebhookUrl() recognizes Slack and Discord, and other services by a prefix", () => {
  const slack = "https://hooks.slack.com/services/T0/B0/x";
  const discord = "https://discord.com/api/webhooks/1/x";

  deepEqual(parseWebhookUrl(slack), { format: "slack", url: slack });
  deepEqual(parseWebhookUrl(discord), { format: "discord", url: discord });
  deepEqual(parseWebhookUrl("https://ptb.discordapp.com/api/webhooks/1/x")?.format, "discord");
  deepEqual(parseWebhookUrl("slack+http://mattermost:8065/hooks/x"), {
    format: "slack",
    url: "http://mattermost:8065/hooks/x",
  });
  deepEqual(parseWebhookUrl(`discord+${slack}`), { format: "discord", url: slack });
  for (
    const text of [
      "",
      "slack",
      "https://example.com/hook",
      "http://hooks.slack.com/services/T0/B0/x",
      "https://hooks.slack.com.evil.example/x",
      "https://notdiscord.com/api/webhooks/1/x",
      "teams+https://example.com/x",
      "slack+ftp://example.com/x",
      `${slack}#x`,
    ]
  ) equal(parseWebhookUrl(text), null, text);
});

Deno.test("isSentryDsn() requires a key, a host and a project number", () => {
  for (
    const text of [
      "https://abc123@o1.ingest.sentry.io/42",
      "http://public@127.0.0.1:9000/42",
      "https://k@glitchtip.example.com/sub/path/7",
    ]
  ) equal(isSentryDsn(text), true, text);
  for (
    const text of [
      "",
      "https://o1.ingest.sentry.io/42",
      "https://k@o1.ingest.sentry.io/",
      "https://k@o1.ingest.sentry.io/name",
      "ftp://k@o1.ingest.sentry.io/42",
      "https://k@o1.ingest.sentry.io/42?x=1",
    ]
  ) equal(isSentryDsn(text), false, text);
});

Deno.test("parseHeartbeat() parses a job and an http or https address", () => {
  deepEqual(parseHeartbeat("ship_log=https://hc-ping.com/1b2c"), {
    job: "ship_log",
    url: "https://hc-ping.com/1b2c",
  });
  equal(parseHeartbeat("backup=http://10.0.0.1:8000/ping/x?a=b")?.url.endsWith("?a=b"), true);
  for (
    const text of [
      "",
      "backup",
      "https://hc-ping.com/1b2c",
      "backup=hc-ping.com/1b2c",
      "a job=https://hc-ping.com/1b2c",
      "backup=https://",
      "backup=ftp://example.com/x",
      "backup=https://hc-ping.com/1b2c#x",
    ]
  ) equal(parseHeartbeat(text), null, text);
});
