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
          description:
            "Lead-to-cash API: from an enquiry to a paid invoice. Amounts are integers in the currency's minor unit. Times are ISO 8601 in UTC. Errors are RFC 9457 problems.",
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
