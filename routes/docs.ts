/**
 * The OpenAPI document and its viewer, Swagger UI. The viewer is served from its
 * installed package, not from a CDN.
 *
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { Hono } from "hono";
import type { Services } from "../lib/app/mod.ts";
import type { AppEnv } from "./_env.ts";

const PAGE = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>WeTech Edge API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`;
const START = `SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", deepLinking: true });
`;

/** The introduction of the API document, in Markdown. */
const INTRODUCTION =
  `From an enquiry to a paid invoice. JSON of at most 64 KiB; amounts are integers in the currency's minor unit; times are ISO 8601 in UTC; ids are UUIDv7.

Errors are RFC 9457 problems. \`type\` is for programs:

- \`/problems/malformed\` (400): correct the request: invalid JSON, header or cursor
- \`/problems/unauthenticated\` (401): send a valid API key
- \`/problems/forbidden\` (403): use a key with the scope
- \`/problems/not_found\` (404): check the id or the path
- \`/problems/method_not_allowed\` (405): use a method listed in \`Allow\`
- \`/problems/request_timeout\` (408): send the whole request within ten seconds
- \`/problems/conflict\` (409): read the resource again: its state does not allow this, or its name is taken
- \`/problems/stale_revision\` (412): read the resource again: it has changed since
- \`/problems/payload_too_large\` (413): send at most 64 KiB
- \`/problems/unsupported_media_type\` (415): send \`Content-Type: application/json\`
- \`/problems/misdirected\` (421): use the host of \`PUBLIC_URL\`
- \`/problems/invalid_input\` (422): correct the fields in \`errors\` (at most 20 are listed)
- \`/problems/idempotency_key_reused\` (422): use a new key for a new request
- \`/problems/rate_limited\` (429): retry after \`Retry-After\`
- \`/problems/internal\` (500): report the \`requestId\` to the operator
- \`/problems/unavailable\` (503): nothing was stored; retry after \`Retry-After\`
- \`/problems/outcome_unknown\` (503): repeat the request with the same \`Idempotency-Key\`

Every operation can also answer 405, 429 and 503. HEAD works wherever GET does. \`/health…\` and the old site's paths work with and without a trailing slash.

Text is stored as given, except for surrounding white space and \`\\r\\n\`, and escaped when shown. Control characters and characters that change the writing direction are refused. Only product descriptions are HTML: \`b\`, \`i\`, \`em\`, \`strong\`, \`p\` and \`br\` without attributes; everything else becomes text.

POST /leads: a form can send \`website\` (a hidden field that people leave empty) and \`elapsedMs\` (how long the form was open). Enquiries with the first filled in, or sent in less than 1.5 seconds, are dropped with a normal response and counted in \`/metrics\`.

Webhooks: \`webhook-id\` is the same on every repeat. Payloads hold the event's type and time, and ids, numbers, amounts and states, nothing personal. Events of one invoice arrive in order. Retries are delayed further if \`Retry-After\` asks for it.`;

/** The OpenAPI document of `app`'s routes, and its viewer. */
export function docsRoutes({ config }: Services, app: OpenAPIHono<AppEnv>): Hono<AppEnv> {
  let document: string | undefined;
  const text = (body: string, type: string) =>
    new Response(body, {
      headers: {
        "content-type": `${type}; charset=utf-8`,
        "cache-control": "public, max-age=300",
        "x-content-type-options": "nosniff",
      },
    });
  return new Hono<AppEnv>()
    .get("/openapi.json", () => {
      document ??= JSON.stringify(app.getOpenAPI31Document({
        openapi: "3.1.0",
        info: {
          title: "WeTech Edge",
          version: "2.0.0",
          description: INTRODUCTION,
        },
        servers: [{ url: config.publicUrl }],
      }));
      return text(document, "application/json");
    })
    .get("/docs", (c) => {
      c.header(
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
      );
      return c.html(PAGE);
    })
    .get("/docs/start.js", () => text(START, "text/javascript"))
    .get("/docs/swagger-ui.css", async () => {
      const css = await import("swagger-ui-dist/swagger-ui.css", { with: { type: "text" } });
      return text(css.default, "text/css");
    })
    .get("/docs/swagger-ui.js", async () => {
      const js = await import("swagger-ui-dist/swagger-ui-bundle.js", { with: { type: "text" } });
      return text(js.default, "text/javascript");
    });
}
