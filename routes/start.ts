/**
 * The program behind HTTP from its first moment: health checks are answered at once, everything else
 * as soon as the routes have loaded. Routes, their validators and their documentation are a large
 * part of a start, and nothing is answered while they are evaluated; so they load at the first
 * request that needs them, or after a short pause.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import type { Services } from "../lib/app/mod.ts";
import type { HealthMonitor } from "../lib/health/mod.ts";
import { sleep } from "../lib/time.ts";
import type { AppEnv } from "./_env.ts";
import { exchange, REQUEST_MS } from "./_exchange.ts";
import { healthAnswer, readyAnswer } from "./_health.ts";
import { answerError } from "./_problem.ts";

/** Long enough for a check that waits for the port to open. In milliseconds. */
const PAUSE_MS = 50;

/** A program that is loading. */
export interface StartingApp {
  /** Answers a request; waits for the routes unless it is a health check. */
  fetch(request: Request, info: AppEnv["Bindings"]): Response | Promise<Response>;
  /** Resolves when everything has loaded. @throws what loading throws */
  loaded: Promise<void>;
}

type Fetch = StartingApp["fetch"];

/** Serves what needs no routes, and loads them. */
export function startApp(services: Services, monitor: HealthMonitor): StartingApp {
  const early = earlyApp(services, monitor);
  let full: Fetch | null = null;
  let loading: Promise<Fetch> | null = null;
  const load = () =>
    loading ??= import("./mod.ts").then(({ createApp }): Fetch => {
      const { fetch } = createApp(services, monitor);
      return full = (request, info) => fetch(request, info);
    });
  return {
    fetch(request, info) {
      if (full) return full(request, info);
      const { pathname } = new URL(request.url);
      if (pathname === "/health" || pathname.startsWith("/health/")) {
        return early.fetch(request, info);
      }
      return load().then((fetch) => fetch(request, info));
    },
    loaded: sleep(PAUSE_MS).then(load).then(() => {}),
  };
}

/** The health checks alone, with the middleware of every request. */
function earlyApp(services: Services, monitor: HealthMonitor): Hono<AppEnv> {
  const answer = (error: unknown, c: Context<AppEnv>) => answerError(error, c, services);
  const app = new Hono<AppEnv>({ strict: false });
  app.onError(answer);
  app.use(exchange(services, answer, REQUEST_MS));
  app.get("/health", async (c) => {
    const { body, status } = await healthAnswer(services, monitor, c);
    return c.json(body, status);
  });
  app.get("/health/live", (c) => c.json({ status: "live" }));
  app.get("/health/ready", async (c) => {
    const { body, status } = await readyAnswer(monitor);
    return c.json(body, status);
  });
  return app;
}
