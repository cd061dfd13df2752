/**
 * The HTTP routes: the middleware of every request, then the routes.
 *
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { TrieRouter } from "hono/router/trie-router";
import { AppError } from "../lib/errors.ts";
import type { HealthMonitor } from "../lib/health/mod.ts";
import type { Services } from "../lib/app/mod.ts";
import type { AppEnv } from "./_env.ts";
import { exchange, REQUEST_MS } from "./_exchange.ts";
import { checkBody } from "./_guards.ts";
import { newRoutes } from "./_openapi.ts";
import { answerError, answerProblem } from "./_problem.ts";
import { allowCorsOrigins, checkCsrf } from "./_security.ts";
import { callbackRoutes } from "./callbacks.ts";
import { docsRoutes } from "./docs.ts";
import { healthRoutes } from "./health.ts";
import { invoicePage } from "./invoice_page/mod.tsx";
import { mailboxRoutes } from "./mailbox.tsx";
import { metricsRoutes } from "./metrics.ts";
import { startPage } from "./start_page.tsx";
import { unsubscribePage } from "./unsubscribe.tsx";
import { answerV1Error, isV1Request, v1Routes } from "./v1.ts";
import { backupRoutes } from "./v2/backups.ts";
import { clientRoutes } from "./v2/clients.ts";
import { invoicePdfRoutes } from "./v2/invoice_pdf.ts";
import { invoicePaymentRoutes } from "./v2/invoice_payments.ts";
import { invoiceRoutes } from "./v2/invoices.ts";
import { leadRoutes } from "./v2/leads.ts";
import { mailTemplateRoutes, newsletterRoutes } from "./v2/mail_templates.ts";
import { outboxRoutes } from "./v2/outbox.ts";
import { paymentRoutes } from "./v2/payments.ts";
import { productRoutes } from "./v2/products.ts";
import { sweepRoutes } from "./v2/sweeps.ts";
import { systemRoutes } from "./v2/system.ts";
import { webhookRoutes } from "./v2/webhooks.ts";

/** Parts that a test may replace. */
export interface AppOptions {
  /** The time limit of a request, in milliseconds; 20 seconds when absent. */
  requestMs?: number;
}

/** The whole program behind HTTP. */
export function createApp(
  services: Services,
  monitor: HealthMonitor,
  { requestMs = REQUEST_MS }: AppOptions = {},
): OpenAPIHono<AppEnv> {
  const app = newRoutes();
  const answer = (error: unknown, c: Context<AppEnv>) =>
    (isV1Request(c.req) ? answerV1Error : answerError)(error, c, services);
  app.onError(answer);

  app.use(exchange(services, answer, requestMs));
  if (services.config.corsOrigins.length > 0) {
    for (const path of ["/api/*", "/save-lead/*"]) app.use(path, allowCorsOrigins(services));
  }
  app.use(checkCsrf(services));
  app.use(checkBody);

  mount(app, services, monitor);
  app.openAPIRegistry.registerComponent("securitySchemes", "apiKey", {
    type: "http",
    scheme: "bearer",
    description: "An API key: `Authorization: Bearer wtk_…`",
  });

  const methodsAt = methodsByPath(app);
  app.notFound((c) => {
    const methods = methodsAt(c.req.path);
    if (methods.length === 0) {
      return answerProblem(c, new AppError("not_found", "There is no page at this address"));
    }
    const detail = `This address accepts ${methods.join(", ")} only`;
    const answer = answerProblem(c, new AppError("method_not_allowed", detail));
    answer.headers.set("allow", methods.join(", "));
    return answer;
  });
  return app;
}

/** Adds all routes. The order is that of the OpenAPI document. */
function mount(app: OpenAPIHono<AppEnv>, services: Services, monitor: HealthMonitor): void {
  app.route("/", startPage(services));
  app.route("/", healthRoutes(services, monitor));
  app.route("/api/v2/leads", leadRoutes(services));
  app.route("/api/v2/clients", clientRoutes(services));
  app.route("/api/v2/invoices", invoiceRoutes(services));
  app.route("/api/v2/invoices", invoicePaymentRoutes(services));
  app.route("/api/v2/payments", paymentRoutes(services));
  app.route("/api/v2/invoices", invoicePdfRoutes(services));
  app.route("/api/v2/products", productRoutes(services));
  app.route("/api/v2/outbox", outboxRoutes(services));
  app.route("/api/v2/mail-templates", mailTemplateRoutes(services));
  app.route("/api/v2/clients", newsletterRoutes(services));
  app.route("/api/v2/webhooks", webhookRoutes(services));
  app.route("/api/v2/system", systemRoutes(services));
  app.route("/api/v2/system/sweeps", sweepRoutes(services));
  app.route("/api/v2/system", backupRoutes(services));
  app.route("/", v1Routes(services));
  app.route("/payments", callbackRoutes(services));
  app.route("/", invoicePage(services));
  app.route("/", unsubscribePage(services));
  app.route("/", mailboxRoutes(services));
  app.route("/", metricsRoutes(services));
  app.route("/", docsRoutes(services, app));
}

/** The methods of a path; none if it has no route. */
function methodsByPath(app: OpenAPIHono<AppEnv>): (path: string) => string[] {
  const router = new TrieRouter<string>();
  for (const { method, path } of app.routes) {
    if (method !== "ALL") router.add("ALL", path, method);
  }
  return (path) => {
    const methods = router.match("ALL", path)[0].map(([method]) => method);
    const withHead = methods.includes("GET") ? [...methods, "HEAD"] : methods;
    return [...new Set(withHead)].sort();
  };
}
