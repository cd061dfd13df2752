/**
 * Health checks under `/health`, each also with a trailing slash, for monitors that add
 * one. Reasons are shown to callers with a key that has `system:read`.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { HEALTH_STATUSES, type HealthMonitor } from "../lib/health/mod.ts";
import type { Services } from "../lib/app/mod.ts";
import type { AppEnv } from "./_env.ts";
import { healthAnswer, PROBE_STATUSES, readyAnswer } from "./_health.ts";
import { jsonResponse, newRoutes, Time } from "./_openapi.ts";

const Status = z.enum(HEALTH_STATUSES);
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
    description: "By name: `store`, and others if configured",
  }),
}).openapi("Health");
const StateBody = z.object({ status: z.enum(PROBE_STATUSES) });

/** Registers a probe at a path. */
type AddProbe = (
  routes: OpenAPIHono<AppEnv>,
  services: Services,
  monitor: HealthMonitor,
  slash: "" | "/",
) => void;

/** The health routes. The document has those without a trailing slash. */
export function healthRoutes(services: Services, monitor: HealthMonitor): OpenAPIHono<AppEnv> {
  const routes = newRoutes();
  for (const slash of ["", "/"] as const) {
    for (const add of [addHealth, addLive, addReady]) add(routes, services, monitor, slash);
  }
  return routes;
}

const addHealth: AddProbe = (routes, services, monitor, slash) => {
  const route = createRoute({
    method: "get",
    path: `/health${slash}`,
    tags: ["health"],
    summary: "Get the health of the system, measured by a write and a read",
    hide: slash !== "",
    responses: {
      200: jsonResponse("Healthy or degraded", HealthBody),
      503: jsonResponse("Unhealthy", HealthBody),
    },
  });
  routes.openapi(route, async (c) => {
    const { body, status } = await healthAnswer(services, monitor, c);
    c.header("cache-control", "no-store");
    return c.json(body, status);
  });
};

const addLive: AddProbe = (routes, _services, _monitor, slash) => {
  const route = createRoute({
    method: "get",
    path: `/health/live${slash}`,
    tags: ["health"],
    summary: "Check that the process responds; checks nothing else",
    hide: slash !== "",
    responses: { 200: jsonResponse("Live", StateBody) },
  });
  routes.openapi(route, (c) => {
    c.header("cache-control", "no-store");
    return c.json({ status: "live" as const }, 200);
  });
};

const addReady: AddProbe = (routes, _services, monitor, slash) => {
  const route = createRoute({
    method: "get",
    path: `/health/ready${slash}`,
    tags: ["health"],
    summary: "Check that this instance can serve requests",
    hide: slash !== "",
    responses: {
      200: jsonResponse("Ready", StateBody),
      503: jsonResponse("Not ready, or stopping", StateBody),
    },
  });
  routes.openapi(route, async (c) => {
    c.header("cache-control", "no-store");
    const { body, status } = await readyAnswer(monitor);
    return c.json(body, status);
  });
};
