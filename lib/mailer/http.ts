/**
 * Mail by an API on the web: JSON over fetch, one request a mail.
 *
 * One rule for all of them: what is about the account or the service is tried
 * again, what is about this mail or its recipient is final.
 *
 * @module
 */
import type { MailApi } from "../config/endpoints.ts";
import { DAY_MS, SECOND_MS } from "../time.ts";
import type { Mail, RefusalScope, SendResult } from "./mod.ts";
import { postmark } from "./_postmark.ts";
import { resend } from "./_resend.ts";

/** As much of an answer is read. */
const ANSWER_MAX_BYTES = 16 * 1024;
/** No API is obeyed that asks for a longer wait. */
const RETRY_AFTER_MAX_MS = DAY_MS;

/** What is said to one API, and what its answers mean. */
export interface MailDialect {
  /** Where mail is posted, from the root. */
  path: string;
  /** Who sends, and which mail it is. */
  headersOf(mail: Mail, key: string): Record<string, string>;
  /** The mail. */
  bodyOf(mail: Mail): unknown;
  /** What an answer means whose status does not say it all; `answer` is its JSON, if it is. */
  judge(status: number, answer: unknown): Verdict;
}

/** What an answer means: that it is sent, or that it is not and what that is of. */
export type Verdict =
  | "sent"
  | {
    scope: RefusalScope;
    /** The API's own word for it; may be empty. */
    code: string;
    /** It is of this mail, and may be taken later. */
    isPassing?: true;
  };

const DIALECTS: Readonly<Record<MailApi["api"], MailDialect>> = { resend, postmark };

/**
 * Gives one mail to an API, by one request.
 *
 * @param mail With a safe head.
 * @param timeoutMs For all of it.
 * @returns Never throws: a failure is told, in codes.
 */
export async function sendByApi(
  { api, origin, key }: MailApi,
  mail: Mail,
  timeoutMs: number,
): Promise<SendResult> {
  const dialect = DIALECTS[api];
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeoutMs);
  try {
    const response = await fetch(origin + dialect.path, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "accept": "application/json",
        ...dialect.headersOf(mail, key),
      },
      body: JSON.stringify(dialect.bodyOf(mail)),
      // The key must not go where someone points to.
      redirect: "manual",
      signal: abort.signal,
    });
    const answer = await readAnswer(response);
    return resultOf(dialect, response, answer);
  } catch {
    // What the error says has the address in it.
    const reason = abort.signal.aborted ? `no answer in ${timeoutMs} ms` : "no connection";
    return { isSent: false, isFinal: false, scope: "all", reason };
  } finally {
    clearTimeout(timer);
  }
}

function resultOf(dialect: MailDialect, response: Response, answer: unknown): SendResult {
  const { status, headers } = response;
  const passing: Verdict = { scope: "all", code: "" };
  const verdict = isPassing(status) ? passing : dialect.judge(status, answer);
  if (verdict === "sent") return { isSent: true };
  const waitMs = Number(headers.get("retry-after")) * SECOND_MS;
  return {
    isSent: false,
    isFinal: verdict.scope !== "all" && !verdict.isPassing,
    scope: verdict.scope,
    reason: `status ${status} ${verdict.code}`.trim(),
    ...(waitMs > 0 ? { retryAfterMs: Math.min(waitMs, RETRY_AFTER_MAX_MS) } : {}),
  };
}

/** Too early, too often, or not well: by its status alone, whatever is said. */
function isPassing(status: number): boolean {
  return status >= 500 || status === 408 || status === 425 || status === 429;
}

/** JSON, as far as it is; undefined for what is none, or too long to be an answer. */
async function readAnswer({ body }: Response): Promise<unknown> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.length;
    if (size > ANSWER_MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(await new Blob(chunks).text());
  } catch {
    return undefined;
  }
}

/** A field of an answer, if it is a word: nothing else of it is believed, or told. */
export function wordOf(answer: unknown, field: string): string {
  const value: unknown = Object(answer)[field];
  return typeof value === "string" && /^\w{1,64}$/.test(value) ? value : "";
}
