/**
 * Channels for alerts: webhooks in the formats of Slack and Discord, which many
 * chats accept, and e-mail.
 *
 * Texts are shown literally: without links, mentions or formatting. The address of
 * a webhook is a secret and is never logged.
 *
 * @module
 */
import type { MailServer, Webhook } from "../config/endpoints.ts";
import type { Severity } from "../kv/records.ts";
import type { Log } from "../telemetry/mod.ts";
import type { Mailer } from "../mailer/mod.ts";
import { openMailer } from "../mailer/open.ts";
import { parseRetryAfter, sendRequest } from "../outgoing/mod.ts";
import { redactStart } from "../telemetry/redact.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "../time.ts";

/** What a channel delivers: that an incident was raised or resolved. */
export interface AlertNotification {
  /** The state of the incident that it reports. */
  state: "raised" | "resolved";
  /** The name of the incident, such as `job_failed:backup`. */
  name: string;
  /** How much it matters. */
  severity: Severity;
  /** One line of plain text. */
  title: string;
  /** Plain text; may be empty. */
  detail: string;
  /** When it was first seen, ISO 8601. */
  openedAt: string;
  /** How long it lasted, in milliseconds; 0 while it is open. */
  durationMs: number;
  /** How often it was seen. */
  count: number;
}

/** The result of one attempt to deliver. A final failure must not be retried at once. */
export type DeliveryResult =
  | { isDelivered: true }
  | { isDelivered: false; isFinal: boolean; reason: string; retryAfterMs?: number };

/** A way to deliver notifications. */
export interface AlertChannel {
  /** For the log; contains no secret. */
  readonly name: string;
  /** Makes one attempt within `timeoutMs`. Never throws. */
  deliver(notification: AlertNotification, timeoutMs: number): Promise<DeliveryResult>;
}

/** The text of an alert mail. */
export interface AlertWords {
  /** One line. */
  subject: string;
  /** Plain text. */
  text: string;
  /** The same in HTML; absent for a plain-text mail. */
  html?: string;
}

/** Options for {@linkcode openAlertChannels}. */
export interface AlertChannelOptions {
  /** One channel each. */
  webhooks: readonly Webhook[];
  /** The mail server; `log` to log mail instead, `undefined` for no mail. */
  mailServer: MailServer | undefined;
  /** The sender; without it no mail is sent. */
  mailFrom: string | undefined;
  /** The recipient; without it no mail is sent. */
  shopEmail: string | undefined;
  /** The text of a mail; a default when absent or failing. Must take a few seconds at most. */
  wordsOf?: (notification: AlertNotification) => Promise<AlertWords>;
  /** Names the system, such as `production 2026.11.0 at shop.example.com`. */
  system: string;
  /** Receives mail that is logged instead of sent. */
  log: Log;
}

/** The configured channels; an empty list is fine, since the log has every alert. */
export function openAlertChannels(options: AlertChannelOptions): AlertChannel[] {
  const { webhooks, mailServer, mailFrom, shopEmail, system, log } = options;
  const channels = webhooks.map((webhook) => webhookChannel(webhook, system));
  if (mailServer === "log") return [...channels, logChannel(log)];
  if (!mailServer || mailFrom === undefined || shopEmail === undefined) return channels;
  const { wordsOf } = options;
  const defaultWords = (notification: AlertNotification) => ({
    subject: headlineOf(notification).replaceAll(/\s+/g, " "),
    text: [...linesOf(notification), system, ""].join("\n"),
  });
  return [
    ...channels,
    mailChannel(openMailer(mailServer), {
      from: mailFrom,
      to: shopEmail,
      // A mail must go out even when the custom text cannot be read.
      wordsOf: async (notification) =>
        await wordsOf?.(notification).catch(() => defaultWords(notification)) ??
          defaultWords(notification),
    }),
  ];
}

function webhookChannel({ format, url }: Webhook, system: string): AlertChannel {
  const bodyOf = format === "slack" ? slackBody : discordBody;
  return {
    name: `${format} ${new URL(url).host}`,
    deliver: (notification, timeoutMs) =>
      post(url, JSON.stringify(bodyOf(notification, system)), timeoutMs),
  };
}

async function post(url: string, body: string, timeoutMs: number): Promise<DeliveryResult> {
  const result = await sendRequest({
    url,
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
    timeoutMs,
    // A duplicate alert does no harm.
    isRepeatable: true,
  });
  if (!result.isAnswered) return { isDelivered: false, isFinal: false, reason: result.reason };
  const { status, headers } = result;
  if (status >= 200 && status < 300) return { isDelivered: true };
  const retryAfterMs = parseRetryAfter(headers.get("retry-after"));
  return {
    isDelivered: false,
    isFinal: status < 500 && status !== 429 && status !== 408,
    reason: `status ${status}`,
    ...(retryAfterMs === null ? {} : { retryAfterMs }),
  };
}

/** In characters: Slack recommends 4,000 and truncates at 40,000. */
const SLACK_TEXT_MAX = 4_000;

function slackBody(notification: AlertNotification, system: string) {
  const text = [headlineOf(notification), ...linesOf(notification), system].map(inert).join("\n");
  const escapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
  return {
    text: cutPieces([...text].map((char) => escapes[char] ?? char), SLACK_TEXT_MAX),
    mrkdwn: false,
    link_names: false,
    unfurl_links: false,
    unfurl_media: false,
  };
}

/** Discord accepts 6,000 characters in total, and these per part. */
const DISCORD_TITLE_MAX = 256;
const DISCORD_DESCRIPTION_MAX = 4_096;
const DISCORD_FOOTER_MAX = 1_024;

const DISCORD_COLORS = { critical: 0xd92d20, warning: 0xf79009, resolved: 0x12b76a };

function discordBody(notification: AlertNotification, system: string) {
  const escaped = (text: string, max: number) =>
    cutPieces([...inert(text)].map((c) => /[\\*_~`|>#<\[\]()-]/.test(c) ? `\\${c}` : c), max);
  return {
    embeds: [{
      title: escaped(headlineOf(notification), DISCORD_TITLE_MAX),
      description: escaped(linesOf(notification).join("\n"), DISCORD_DESCRIPTION_MAX),
      color: DISCORD_COLORS[notification.state === "resolved" ? "resolved" : notification.severity],
      footer: { text: cutPieces([...inert(system)], DISCORD_FOOTER_MAX) },
    }],
    allowed_mentions: { parse: [] },
  };
}

/** The first whole pieces that fit into `max` characters. */
function cutPieces(pieces: string[], max: number): string {
  let text = "";
  for (const piece of pieces) {
    if (text.length + piece.length > max - 1) return `${text}…`;
    text += piece;
  }
  return text;
}

const ZERO_WIDTH_SPACE = "\u200b";

/** The text without mentions, links and control characters. */
function inert(text: string): string {
  return text
    // deno-lint-ignore no-control-regex
    .replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]/g, " ")
    .replaceAll("@", `@${ZERO_WIDTH_SPACE}`)
    .replaceAll("://", `:${ZERO_WIDTH_SPACE}//`)
    .replaceAll(/www\./gi, (www) => www.replace(".", `${ZERO_WIDTH_SPACE}.`))
    .replaceAll(/:(?=[a-z+][\w+-]{0,63}:)/gi, `:${ZERO_WIDTH_SPACE}`);
}

function mailChannel(
  mailer: Mailer,
  { from, to, wordsOf }: {
    from: string;
    to: string;
    wordsOf: (notification: AlertNotification) => Promise<AlertWords>;
  },
): AlertChannel {
  return {
    name: `mail ${mailer.name}`,
    async deliver(notification, timeoutMs) {
      const id = `${notification.name}.${notification.openedAt}.${notification.state}`;
      const result = await mailer.send({ id, from, to, ...await wordsOf(notification) }, timeoutMs);
      if (result.isSent) return { isDelivered: true };
      const { isFinal, reason, retryAfterMs } = result;
      const wait = retryAfterMs === undefined ? {} : { retryAfterMs };
      return { isDelivered: false, isFinal, reason, ...wait };
    },
  };
}

/** A notification as texts for a mail. */
export interface AlertParts {
  /** One line. */
  title: string;
  /** One or more lines; may be empty. */
  detail: string;
  /** When it was first seen, UTC, to the second. */
  since: string;
  /** How long it lasted, such as `3 h 5 min`. */
  duration: string;
}

/** A notification as redacted and shortened texts. */
export function partsOf({ title, detail, openedAt, durationMs }: AlertNotification): AlertParts {
  return {
    title: redactStart(title, TITLE_MAX).replaceAll(/\s+/g, " "),
    detail: redactStart(detail, DETAIL_MAX),
    since: openedAt.slice(0, 19).replace("T", " "),
    duration: durationText(durationMs),
  };
}

function logChannel(log: Log): AlertChannel {
  return {
    name: "log",
    deliver({ state, name, title, detail }) {
      log.info("alert.mail_not_sent", { incident: name, state, title, detail });
      return Promise.resolve({ isDelivered: true });
    },
  };
}

const HEADLINES = { critical: "ALERT", warning: "WARNING", resolved: "RECOVERED" };

const TITLE_MAX = 150;
const DETAIL_MAX = 1_000;

function headlineOf({ state, severity, title }: AlertNotification): string {
  const text = redactStart(title, TITLE_MAX).replaceAll(/\s+/g, " ");
  return `[${HEADLINES[state === "resolved" ? state : severity]}] ${text}`;
}

function linesOf({ state, detail, openedAt, durationMs, count }: AlertNotification): string[] {
  const since = openedAt.slice(0, 19).replace("T", " ");
  const text = redactStart(detail, DETAIL_MAX);
  if (state === "raised") return [...(text === "" ? [] : [text]), `Since ${since} UTC`];
  const often = count === 1 ? "once" : `${count} times`;
  return [`Lasted ${durationText(durationMs)}, from ${since} UTC; seen ${often}`];
}

/** Such as `45 s`, `12 min`, `3 h 5 min` or `2 days 4 h`. */
function durationText(ms: number): string {
  if (ms < MINUTE_MS) return `${Math.round(ms / SECOND_MS)} s`;
  if (ms < HOUR_MS) return `${Math.round(ms / MINUTE_MS)} min`;
  const hours = Math.floor((ms % DAY_MS) / HOUR_MS);
  if (ms < DAY_MS) return `${hours} h ${Math.floor((ms % HOUR_MS) / MINUTE_MS)} min`;
  return `${Math.floor(ms / DAY_MS)} days ${hours} h`;
}
