/**
 * Requests to Sentry's ingest.
 *
 * @module
 */
import { sendRequest } from "../outgoing/mod.ts";
import { SECOND_MS } from "../time.ts";

/** Time limit of one request; the report is then lost. */
const SEND_MS = 5 * SECOND_MS;

/** The ingest did not take a request. The message is a few words without its address. */
export class IngestError extends Error {}

/** One request to the ingest. @throws {IngestError} if it does not answer, or redirects */
export async function sendToIngest(
  url: string,
  headers: Record<string, string>,
  body: string | Uint8Array,
): Promise<
  { statusCode: number; headers: Record<"x-sentry-rate-limits" | "retry-after", string | null> }
> {
  const result = await sendRequest({
    url,
    method: "POST",
    headers,
    body: typeof body === "string" ? body : new Uint8Array(body),
    timeoutMs: SEND_MS,
    // An event has an id, by which the ingest drops a duplicate.
    isRepeatable: true,
  });
  if (!result.isAnswered) throw new IngestError(result.reason);
  const { status: statusCode, headers: answered } = result;
  if (statusCode >= 300 && statusCode < 400) throw new IngestError(`status ${statusCode}`);
  return {
    statusCode,
    headers: {
      "x-sentry-rate-limits": answered.get("x-sentry-rate-limits"),
      "retry-after": answered.get("retry-after"),
    },
  };
}
