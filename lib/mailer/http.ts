/**
 * Mail by an HTTP API: JSON, one request per mail.
 *
 * Refusals of the account or the service are tried again; refusals of this mail or
 * its recipient are final.
 *
 * @module
 */
import type { MailApi } from "../config/endpoints.ts";
import { parseJson, parseRetryAfter, sendRequest } from "../outgoing/mod.ts";
import { DAY_MS } from "../time.ts";
import type { MailDialect, Meaning } from "./_dialect.ts";
import { postmark } from "./_postmark.ts";
import { resend } from "./_resend.ts";
import type { Mail, SendResult } from "./mod.ts";

/** Answers are read up to this size. */
const ANSWER_MAX_BYTES = 16 * 1024;
/** A longer Retry-After is cut to this. */
const RETRY_AFTER_MAX_MS = DAY_MS;

const DIALECTS: Readonly<Record<MailApi["api"], MailDialect>> = { resend, postmark };

/**
 * Sends one mail by one request.
 *
 * @param mail With a safe head.
 * @param timeoutMs For the whole exchange.
 * @returns Never throws: a failure is a result with codes.
 */
export async function sendByApi(
  { api, origin, key }: MailApi,
  mail: Mail,
  timeoutMs: number,
): Promise<SendResult> {
  const dialect = DIALECTS[api];
  const result = await sendRequest({
    url: origin + dialect.path,
    method: "POST",
    headers: {
      "content-type": "application/json",
      "accept": "application/json",
      ...dialect.headersOf(mail, key),
    },
    body: JSON.stringify(dialect.bodyOf(mail)),
    timeoutMs,
    // A repeated mail has the same id, as when the outbox tries again.
    isRepeatable: true,
    answerMaxBytes: ANSWER_MAX_BYTES,
  });
  if (!result.isAnswered) {
    return { isSent: false, isFinal: false, scope: "all", reason: result.reason };
  }
  const { status, headers, text } = result;
  const temporary: Meaning = { scope: "all", code: "" };
  const meaning = isTemporary(status) ? temporary : dialect.interpret(status, parseJson(text));
  if (meaning === "sent") return { isSent: true };
  const waitMs = parseRetryAfter(headers.get("retry-after"));
  return {
    isSent: false,
    isFinal: meaning.scope !== "all" && !meaning.isTemporary,
    scope: meaning.scope,
    reason: `status ${status} ${meaning.code}`.trim(),
    ...(waitMs === null ? {} : { retryAfterMs: Math.min(waitMs, RETRY_AFTER_MAX_MS) }),
  };
}

/** Too early, too many, or a failure of the service: the body does not matter. */
function isTemporary(status: number): boolean {
  return status >= 500 || status === 408 || status === 425 || status === 429;
}
