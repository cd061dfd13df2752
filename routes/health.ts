/**
 * | method    | path            | who    | answers  |
 * | --------- | --------------- | ------ | -------- |
 * | GET, HEAD | `/health`       | anyone | 200, 503 |
 * | GET, HEAD | `/health/live`  | anyone | 200      |
 * | GET, HEAD | `/health/ready` | anyone | 200, 503 |
 *
 * Each also with a slash at its end, for pingers that add one. Why something is
 * not healthy is told to whoever has a key with `system:read`.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { authenticate, hasScope } from "../lib/access/mod.ts";
import type { Health, HealthMonitor } from "../lib/health/mod.ts";
import type { Services } from "../lib/app/services.ts";
import type { AppEnv } from "./_env.ts";
import { jsonAnswer, newRoutes, Time } from "./_openapi.ts";

const Status = z.enum(["healthy", "degraded", "unhealthy"]);
const CheckBody = z.object({
  status: Status,
  latencyMs: z.number().nullable().optional(),
  ageS: z.int().nullable().optional().openapi({ description: "For operators only" }),
  reason: z.string().nullable().optional().openapi({ description: "For operators only" }),
});
const HealthBody = z.object({
  status: Status,
  version: z.string(),
  uptimeS: z.int(),
  at: Time,
  checks: z.record(z.string(), CheckBody).openapi({
    description: "By name: `store` always, and what else there is",
  }),
}).openapi("Health");
const StateBody = z.object({ status: z.enum(["live", "ready", "not_ready"]) });

/** The health routes. */
export function healthRoutes(services: Services, monitor: HealthMonitor): OpenAPIHono<AppEnv> {
  const routes = newRoutes();
  for (const slash of ["", "/"]) {
    // The alias does the same and need not be in the document twice.
    const hide = slash !== "";
    routes.openapi(
      createRoute({
        method: "get",
        path: `/health${slash}`,
        tags: ["health"],
        summary: "The state of the system, from a real write and read",
        hide,
        responses: {
          200: jsonAnswer("Healthy or degraded", HealthBody),
          503: jsonAnswer("Unhealthy", HealthBody),
        },
      }),
      async (c) => {
        const [health, isOperator] = await Promise.all([
          monitor.check(),
          isAuthorised(services, c),
        ]);
        c.header("cache-control", "no-store");
        return c.json(
          isOperator ? health : shortened(health),
          health.status === "unhealthy" ? 503 : 200,
        );
      },
    ).openapi(
      createRoute({
        method: "get",
        path: `/health/live${slash}`,
        tags: ["health"],
        summary: "Whether the process answers; looks at nothing else",
        hide,
        responses: { 200: jsonAnswer("It does", StateBody) },
      }),
      (c) => {
        c.header("cache-control", "no-store");
        return c.json({ status: "live" as const }, 200);
      },
    ).openapi(
      createRoute({
        method: "get",
        path: `/health/ready${slash}`,
        tags: ["health"],
        summary: "Whether this instance can do its work",
        hide,
        responses: {
          200: jsonAnswer("It can", StateBody),
          503: jsonAnswer("It cannot, or is stopping", StateBody),
        },
      }),
      async (c) => {
        c.header("cache-control", "no-store");
        const isReady = !monitor.isStopping && (await monitor.check()).status !== "unhealthy";
        return isReady
          ? c.json({ status: "ready" as const }, 200)
          : c.json({ status: "not_ready" as const }, 503);
      },
    );
  }
  return routes;
}

function shortened(health: Health): z.infer<typeof HealthBody> {
  const short = Object.entries(health.checks).map(([name, { status, latencyMs }]) =>
    [name, { status, ...(latencyMs === undefined ? {} : { latencyMs }) }] as const
  );
  return { ...health, checks: Object.fromEntries(short) };
}

/** Whether to tell details. Never fails: with the store down a stored key cannot be checked. */
async function isAuthorised(services: Services, c: Context<AppEnv>): Promise<boolean> {
  const key = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "")?.[1];
  if (key === undefined) return false;
  return await authenticate(services, key).then(
    (principal) => hasScope(principal, "system:read"),
    () => false,
  );
}
