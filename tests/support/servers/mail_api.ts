/**
 * A server in place of the mail APIs, as strict as their documents: they accept whatever it
 * accepts.
 *
 * @module
 */
import { z } from "zod";

const base64 = z.string().regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/);
const headerValue = z.string().regex(/^[^\r\n]+$/);

/** https://resend.com/docs/api-reference/emails/send-email */
const ResendMail = z.strictObject({
  from: z.string().regex(/^(?:"[^\r\n]*" <[^<>\s@]+@[^<>\s@]+>|[^<>\s@]+@[^<>\s@]+)$/),
  to: z.array(z.email()).min(1).max(50),
  subject: z.string().min(1),
  text: z.string(),
  html: z.string().optional(),
  reply_to: z.email().optional(),
  headers: z.record(z.string(), headerValue),
  attachments: z.array(
    z.strictObject({ filename: z.string(), content: base64, content_type: z.string() }),
  ).optional(),
});

/** https://postmarkapp.com/developer/api/email-api */
const PostmarkMail = z.strictObject({
  From: z.string().max(255),
  To: z.email(),
  Subject: z.string().max(2_000),
  TextBody: z.string(),
  HtmlBody: z.string().optional(),
  ReplyTo: z.email().optional(),
  Headers: z.array(z.strictObject({ Name: z.string().regex(/^[\w-]+$/), Value: headerValue })),
  Attachments: z.array(
    z.strictObject({ Name: z.string(), Content: base64, ContentType: z.string() }),
  ).optional(),
  MessageStream: z.enum(["outbound", "broadcast"]),
  TrackOpens: z.boolean(),
});

/** A request that it received. */
export interface ApiRequest {
  path: string;
  headers: Headers;
  // Each test knows which API it asks.
  // deno-lint-ignore no-explicit-any
  body: any;
}

/** The server. */
export interface MailApiServer extends AsyncDisposable {
  readonly port: number;
  /** Mails that it accepted. */
  readonly taken: ApiRequest[];
  /** All requests received. */
  readonly asked: ApiRequest[];
  /** While not null, its answer instead of accepting mails. */
  answer: (() => Response | Promise<Response>) | null;
}

/** Starts it; both know one key. */
export function startMailApi(api: "resend" | "postmark", key: string): MailApiServer {
  const taken: ApiRequest[] = [];
  const asked: ApiRequest[] = [];
  /** By idempotency key: the request, and its answer. */
  const known = new Map<string, { text: string; id: string }>();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (req) => {
    const text = await req.text();
    const request = { path: new URL(req.url).pathname, headers: req.headers, body: parsed(text) };
    asked.push(request);
    if (self.answer) return await self.answer();
    if (req.method !== "POST" || req.headers.get("content-type") !== "application/json") {
      return Response.json({ message: "no" }, { status: 415 });
    }
    return api === "resend" ? resend(request, text) : postmark(request);
  });

  function resend(request: ApiRequest, text: string): Response {
    const problem = (statusCode: number, name: string) =>
      Response.json({ statusCode, name, message: "Rejected someone@example.com" }, {
        status: statusCode,
      });
    if (request.path !== "/emails") return problem(404, "not_found");
    if (request.headers.get("authorization") !== `Bearer ${key}`) {
      return problem(401, "validation_error");
    }
    const name = request.headers.get("idempotency-key") ?? "";
    if (!/^.{1,256}$/.test(name)) return problem(400, "invalid_idempotency_key");
    const before = known.get(name);
    if (before) {
      return before.text === text
        ? Response.json({ id: before.id })
        : problem(409, "invalid_idempotent_request");
    }
    if (!ResendMail.safeParse(request.body).success) return problem(422, "validation_error");
    const id = crypto.randomUUID();
    known.set(name, { text, id });
    taken.push(request);
    return Response.json({ id });
  }

  function postmark(request: ApiRequest): Response {
    const problem = (status: number, ErrorCode: number) =>
      Response.json({ ErrorCode, Message: "Rejected someone@example.com" }, { status });
    if (request.path !== "/email") return problem(404, 0);
    if (request.headers.get("accept") !== "application/json") return problem(422, 409);
    if (request.headers.get("x-postmark-server-token") !== key) return problem(401, 10);
    if (!PostmarkMail.safeParse(request.body).success) return problem(422, 300);
    taken.push(request);
    return Response.json({
      To: request.body.To,
      SubmittedAt: "2026-06-15T09:00:00.0000000Z",
      MessageID: crypto.randomUUID(),
      ErrorCode: 0,
      Message: "OK",
    });
  }

  const self: MailApiServer = {
    port: server.addr.port,
    taken,
    asked,
    answer: null,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  return self;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
