/**
 * How people are told that something is unwell, or well again: webhooks in the
 * formats of Slack and Discord, which many chats take, and e-mail.
 *
 * Whatever a text holds is shown as it is: it makes no link, mentions nobody
 * and formats nothing. The address of a webhook is a secret and is never told.
 *
 * @module
 */
import type { MailServer, Webhook } from "../config/endpoints.ts";
import type { Severity } from "../kv/records.ts";
import type { Log } from "../telemetry/log.ts";
import { type Mailer, openMailer } from "../mailer/mod.ts";
import { redactStart } from "../telemetry/redact.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "../time.ts";

/** What people are told. */
export interface Notice {
  /** Whether it is the news that something is unwell, or that it is well again. */
  state: "raised" | "resolved";
  /** Of the incident, such as `job_failed:backup`. */
  name: string;
  /** How much it matters. */
  severity: Severity;
  /** One line of plain text. */
  title: string;
  /** Plain text; may be empty. */
  detail: string;
  /** When it was first seen, ISO 8601. */
  openedAt: string;
  /** How long it lasted, in milliseconds; 0 for what is raised. */
  durationMs: number;
  /** How often it was seen. */
  count: number;
}

/** What became of one attempt to tell. */
export type Told =
  | { isTold: true }
  | { isTold: false; isFinal: boolean; reason: string; retryAfterMs?: number };

/** One way to tell. */
export interface AlertChannel {
  /** For the log: says nothing secret. */
  readonly name: string;
  /** Makes one attempt, that ends within `timeoutMs`. Never throws. */
  tell(notice: Notice, timeoutMs: number): Promise<Told>;
}

/** What a mail about a notice says. */
export interface AlertWords {
  /** One line. */
  subject: string;
  /** Plain text. */
  text: string;
  /** The same in HTML; absent for a mail of text only. */
  html?: string;
}

/** How {@linkcode openAlertChannels} is to tell. */
export interface AlertChannelOptions {
  /** Each is told. */
  webhooks: readonly Webhook[];
  /** Where mail is given away; `log` to log it instead, `undefined` for no mail. */
  mailServer: MailServer | undefined;
  /** Who writes. */
  mailFrom: string | undefined;
  /** Who is written to; without it there is no mail. */
  shopEmail: string | undefined;
  /** What a mail says; the words of this file when absent, or when it fails. Ends in good time. */
  wordsOf?: (notice: Notice) => Promise<AlertWords>;
  /** Which system this is, such as `production 2026.11.0 at shop.example.com`. */
  system: string;
  /** Where mail goes that is only logged. */
  log: Log;
}

/** The ways that the configuration names; none is good, for the log tells too. */
export function openAlertChannels(options: AlertChannelOptions): AlertChannel[] {
  const { webhooks, mailServer, mailFrom, shopEmail, system, log } = options;
  const channels = webhooks.map((webhook) => webhookChannel(webhook, system));
  if (mailServer === "log") return [...channels, logChannel(log)];
  if (!mailServer || mailFrom === undefined || shopEmail === undefined) return channels;
  const { wordsOf } = options;
  const usualWords = (notice: Notice) => ({
    subject: headlineOf(notice).replaceAll(/\s+/g, " "),
    text: [...linesOf(notice), system, ""].join("\n"),
  });
  return [
    ...channels,
    mailChannel(openMailer(mailServer), {
      from: mailFrom,
      to: shopEmail,
      // Whatever is unwell, it must be told.
      wordsOf: async (notice) =>
        await wordsOf?.(notice).catch(() => usualWords(notice)) ?? usualWords(notice),
    }),
  ];
}

function webhookChannel({ format, url }: Webhook, system: string): AlertChannel {
  const bodyOf = format === "slack" ? slackBody : discordBody;
  return {
    name: `${format} ${new URL(url).host}`,
    tell: (notice, timeoutMs) => post(url, JSON.stringify(bodyOf(notice, system)), timeoutMs),
  };
}

async function post(url: string, body: string, timeoutMs: number): Promise<Told> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeoutMs);
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      // What is secret must not go where someone points to.
      redirect: "manual",
      signal: abort.signal,
    });
    await answer.body?.cancel();
    if (answer.ok) return { isTold: true };
    const waitS = Number(answer.headers.get("retry-after"));
    return {
      isTold: false,
      isFinal: answer.status < 500 && answer.status !== 429 && answer.status !== 408,
      reason: `status ${answer.status}`,
      ...(waitS > 0 ? { retryAfterMs: waitS * SECOND_MS } : {}),
    };
  } catch {
    // The message has the address in it.
    const reason = abort.signal.aborted ? `no answer in ${timeoutMs} ms` : "no connection";
    return { isTold: false, isFinal: false, reason };
  } finally {
    clearTimeout(timer);
  }
}

/** Slack cuts at 40,000 and asks for 4,000. */
const SLACK_TEXT_MAX = 4_000;

function slackBody(notice: Notice, system: string) {
  const text = [headlineOf(notice), ...linesOf(notice), system].map(inert).join("\n");
  const escapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
  return {
    text: cutPieces([...text].map((char) => escapes[char] ?? char), SLACK_TEXT_MAX),
    mrkdwn: false,
    link_names: false,
    unfurl_links: false,
    unfurl_media: false,
  };
}

/** What Discord takes: 6,000 characters in all, and for each part less. */
const DISCORD_TITLE_MAX = 256;
const DISCORD_DESCRIPTION_MAX = 4_096;
const DISCORD_FOOTER_MAX = 1_024;

const DISCORD_COLORS = { critical: 0xd92d20, warning: 0xf79009, resolved: 0x12b76a };

function discordBody(notice: Notice, system: string) {
  const escaped = (text: string, max: number) =>
    cutPieces([...inert(text)].map((c) => /[\\*_~`|>#<\[\]()-]/.test(c) ? `\\${c}` : c), max);
  return {
    embeds: [{
      title: escaped(headlineOf(notice), DISCORD_TITLE_MAX),
      description: escaped(linesOf(notice).join("\n"), DISCORD_DESCRIPTION_MAX),
      color: DISCORD_COLORS[notice.state === "resolved" ? "resolved" : notice.severity],
      footer: { text: cutPieces([...inert(system)], DISCORD_FOOTER_MAX) },
    }],
    allowed_mentions: { parse: [] },
  };
}

/** Pieces as far as `max` characters go, none of them in part. */
function cutPieces(pieces: string[], max: number): string {
  let text = "";
  for (const piece of pieces) {
    if (text.length + piece.length > max - 1) return `${text}…`;
    text += piece;
  }
  return text;
}

const ZERO_WIDTH_SPACE = "\u200b";

/** Without what ends up as a mention, a link or a control character. */
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
    wordsOf: (notice: Notice) => Promise<AlertWords>;
  },
): AlertChannel {
  return {
    name: `mail ${mailer.name}`,
    async tell(notice, timeoutMs) {
      const id = `${notice.name}.${notice.openedAt}.${notice.state}`;
      const result = await mailer.send({ id, from, to, ...await wordsOf(notice) }, timeoutMs);
      if (result.isSent) return { isTold: true };
      const { isFinal, reason, retryAfterMs } = result;
      const wait = retryAfterMs === undefined ? {} : { retryAfterMs };
      return { isTold: false, isFinal, reason, ...wait };
    },
  };
}

/** What a mail can say of a notice. */
export interface NoticeParts {
  /** One line. */
  title: string;
  /** In lines; may be empty. */
  detail: string;
  /** When it was first seen, UTC, to the second. */
  since: string;
  /** How long it lasted, such as `3 h 5 min`. */
  duration: string;
}

/** A notice in texts without secrets, and no longer than is good. */
export function partsOf({ title, detail, openedAt, durationMs }: Notice): NoticeParts {
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
    tell({ state, name, title, detail }) {
      log.info("alert.mail_not_sent", { incident: name, state, title, detail });
      return Promise.resolve({ isTold: true });
    },
  };
}

const HEADLINES = { critical: "ALERT", warning: "WARNING", resolved: "RECOVERED" };

const TITLE_MAX = 150;
const DETAIL_MAX = 1_000;

function headlineOf({ state, severity, title }: Notice): string {
  const text = redactStart(title, TITLE_MAX).replaceAll(/\s+/g, " ");
  return `[${HEADLINES[state === "resolved" ? state : severity]}] ${text}`;
}

function linesOf({ state, detail, openedAt, durationMs, count }: Notice): string[] {
  const since = openedAt.slice(0, 19).replace("T", " ");
  const text = redactStart(detail, DETAIL_MAX);
  if (state === "raised") return [...(text === "" ? [] : [text]), `Since ${since} UTC`];
  const often = count === 1 ? "once" : `${count} times`;
  return [`It lasted ${durationText(durationMs)}, from ${since} UTC, and was seen ${often}`];
}

/** Such as `45 s`, `12 min`, `3 h 5 min` or `2 days 4 h`. */
function durationText(ms: number): string {
  if (ms < MINUTE_MS) return `${Math.round(ms / SECOND_MS)} s`;
  if (ms < HOUR_MS) return `${Math.round(ms / MINUTE_MS)} min`;
  const hours = Math.floor((ms % DAY_MS) / HOUR_MS);
  if (ms < DAY_MS) return `${hours} h ${Math.floor((ms % HOUR_MS) / MINUTE_MS)} min`;
  return `${Math.floor(ms / DAY_MS)} days ${hours} h`;
}
