/**
 * Metrics of this instance since it started, for Prometheus.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Services } from "../lib/app/mod.ts";
import type { AppEnv } from "./_env.ts";
import { newRoutes, problems, secured } from "./_openapi.ts";

const FORMAT = "text/plain; version=0.0.4; charset=utf-8";

/** The metrics route. */
export function metricsRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "get",
      path: "/metrics",
      tags: ["health"],
      summary: "Get the metrics of this instance in the Prometheus text format",
      ...secured(services, "system:read"),
      responses: {
        200: { description: "Samples", content: { "text/plain": { schema: z.string() } } },
        ...problems(401, 403),
      },
    }),
    (c) => c.text(services.metrics.render(), 200, { "content-type": FORMAT }),
  );
}
