/**
 * | method | path                                                  | who              | answers                 |
 * | ------ | ----------------------------------------------------- | ---------------- | ----------------------- |
 * | GET    | `/api/v2/webhooks`                                    | `webhooks:read`  | 200                     |
 * | POST   | `/api/v2/webhooks`                                    | `webhooks:write` | 201, 409, 422           |
 * | GET    | `/api/v2/webhooks/:id`                                | `webhooks:read`  | 200, 404, 422           |
 * | PATCH  | `/api/v2/webhooks/:id`                                | `webhooks:write` | 200, 404, 412, 422      |
 * | DELETE | `/api/v2/webhooks/:id`                                | `webhooks:write` | 204, 404, 412, 422      |
 * | POST   | `/api/v2/webhooks/:id/rotate`                         | `webhooks:write` | 200, 404, 409, 422      |
 * | POST   | `/api/v2/webhooks/:id/test`                           | `webhooks:write` | 202, 404, 422           |
 * | GET    | `/api/v2/webhooks/:id/deliveries`                     | `webhooks:read`  | 200, 400, 404, 422      |
 * | POST   | `/api/v2/webhooks/:id/deliveries/:messageId/redeliver` | `webhooks:write` | 202, 404, 409, 422      |
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Services } from "../../lib/app/services.ts";
import {
  changeWebhook,
  createWebhook,
  getWebhook,
  listWebhooks,
  removeWebhook,
  rotateWebhookSecret,
  WEBHOOK_EVENT_TYPES,
  type WebhookEndpoint,
  WEBHOOKS_MAX,
} from "../../lib/webhooks/endpoints.ts";
import { type Delivery, listDeliveries, pingWebhook, redeliver } from "../../lib/webhooks/log.ts";
import { cleanLine, isLine } from "../../lib/text.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf, revisionOf, revisionTag } from "../_http.ts";
import {
  Id,
  IdempotencyHeader,
  IdParam,
  jsonAnswer,
  jsonBody,
  newRoutes,
  pageOf,
  PageQuery,
  problems,
  RevisionHeader,
  secured,
  Time,
} from "../_openapi.ts";

const EventType = z.enum(WEBHOOK_EVENT_TYPES);
const EventTypes = z.array(EventType).min(1).max(WEBHOOK_EVENT_TYPES.length).openapi({
  description: "What it is told of; `*` for everything, what later versions tell of included",
  example: ["invoice.paid", "payment.needs_review"],
});
const Url = z.string().min(1).max(500).openapi({
  description: "In production https at a public address; without credentials and fragment",
  example: "https://hooks.example.com/wetech",
});
const DESCRIPTION_MAX = 200;
const Description = z.string().max(DESCRIPTION_MAX).transform(cleanLine).pipe(
  z.string().refine(isLine, { message: "Must be one line without control characters" }),
);

const NewWebhook = z.strictObject({
  url: Url,
  description: Description.default(""),
  eventTypes: EventTypes,
  isEnabled: z.boolean().default(true),
}).openapi("NewWebhook");
const WebhookChange = z.strictObject({
  url: Url.optional(),
  description: Description.optional(),
  eventTypes: EventTypes.optional(),
  isEnabled: z.boolean().optional(),
}).openapi("WebhookChange");
const webhookFields = {
  id: Id,
  url: z.string(),
  description: z.string(),
  eventTypes: z.array(EventType),
  isEnabled: z.boolean(),
  disabledReason: z.enum(["operator", "gone", "failing"]).nullable().openapi({
    description: "`gone`: it answered 410; `failing`: it took nothing for 5 days",
  }),
  secretAt: Time.openapi({ description: "When its secret was made" }),
  revision: z.int(),
  createdAt: Time,
  updatedAt: Time,
};
const WebhookBody = z.object(webhookFields).openapi("Webhook");
const RevealedBody = z.object({
  ...webhookFields,
  secret: z.string().openapi({
    description: "What signs its webhooks, as standardwebhooks.com has it; not shown again",
    example: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
  }),
}).openapi("WebhookWithSecret");
const Attempt = z.object({
  at: Time,
  status: z.int().nullable().openapi({ description: "What it answered; null for nothing" }),
  reason: z.string().nullable().openapi({ description: "Why it failed; null if it did not" }),
  ms: z.int(),
});
const DeliveryBody = z.object({
  messageId: Id.openapi({ description: "The header `webhook-id`, the same in each attempt" }),
  type: z.string().openapi({ example: "invoice.paid" }),
  at: Time.openapi({ description: "When it happened" }),
  status: z.enum(["pending", "sent", "dead", "cancelled"]),
  nextAttemptAt: Time.nullable(),
  attempts: z.int(),
  lastStatus: z.int().nullable().openapi({
    description: "What the last attempt was answered; null for nothing",
  }),
  lastAttempts: z.array(Attempt).openapi({ description: "The last 12 at the most" }),
}).openapi("WebhookDelivery");
const DeliveryParam = IdParam.extend({
  messageId: Id.openapi({ param: { name: "messageId", in: "path" } }),
});

/** The routes under `/api/v2/webhooks`. */
export function webhookRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "get",
      path: "/",
      tags: ["webhooks"],
      summary: `List the endpoints, at most ${WEBHOOKS_MAX}, newest first`,
      ...secured(services, "webhooks:read"),
      responses: { 200: jsonAnswer("All of them", pageOf(WebhookBody)), ...problems(401, 403) },
    }),
    async (c) => {
      const data = (await listWebhooks(services)).map(webhookBody);
      return c.json({ data, nextCursor: null }, 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/",
      tags: ["webhooks"],
      summary: "Add an endpoint; the answer has its secret, which is not shown again",
      ...secured(services, "webhooks:write"),
      request: { headers: IdempotencyHeader, ...jsonBody(NewWebhook) },
      responses: {
        201: jsonAnswer("The endpoint and its secret", RevealedBody),
        ...problems(400, 401, 403, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const { endpoint, secret } = await createWebhook(services, c.req.valid("json"), callerOf(c));
      c.header("location", `/api/v2/webhooks/${endpoint.id}`);
      c.header("etag", revisionTag(endpoint));
      return c.json({ ...webhookBody(endpoint), secret }, 201);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/{id}",
      tags: ["webhooks"],
      summary: "Read an endpoint",
      ...secured(services, "webhooks:read"),
      request: { params: IdParam },
      responses: { 200: jsonAnswer("The endpoint", WebhookBody), ...problems(401, 403, 404, 422) },
    }),
    async (c) => {
      const endpoint = await getWebhook(services, c.req.valid("param").id);
      c.header("etag", revisionTag(endpoint));
      return c.json(webhookBody(endpoint), 200);
    },
  ).openapi(
    createRoute({
      method: "patch",
      path: "/{id}",
      tags: ["webhooks"],
      summary: "Change an endpoint, or enable one that was disabled",
      ...secured(services, "webhooks:write"),
      request: { params: IdParam, headers: RevisionHeader, ...jsonBody(WebhookChange) },
      responses: {
        200: jsonAnswer("The endpoint as it is now", WebhookBody),
        ...problems(400, 401, 403, 404, 412, 413, 415, 422),
      },
    }),
    async (c) => {
      const options = { by: callerOf(c), revision: revisionOf(c) };
      const { id } = c.req.valid("param");
      const endpoint = await changeWebhook(services, id, c.req.valid("json"), options);
      c.header("etag", revisionTag(endpoint));
      return c.json(webhookBody(endpoint), 200);
    },
  ).openapi(
    createRoute({
      method: "delete",
      path: "/{id}",
      tags: ["webhooks"],
      summary: "Delete an endpoint; what is still to be sent to it is not",
      ...secured(services, "webhooks:write"),
      request: { params: IdParam, headers: RevisionHeader },
      responses: {
        204: { description: "It is gone; its history stays" },
        ...problems(400, 401, 403, 404, 412, 422),
      },
    }),
    async (c) => {
      const options = { by: callerOf(c), revision: revisionOf(c) };
      await removeWebhook(services, c.req.valid("param").id, options);
      return c.body(null, 204);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/rotate",
      tags: ["webhooks"],
      summary: "Give an endpoint a new secret; for 24 hours the old one signs as well",
      ...secured(services, "webhooks:write"),
      request: { params: IdParam, headers: IdempotencyHeader },
      responses: {
        200: jsonAnswer("The endpoint and its new secret", RevealedBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const { endpoint, secret } = await rotateWebhookSecret(services, id, callerOf(c));
      c.header("etag", revisionTag(endpoint));
      return c.json({ ...webhookBody(endpoint), secret }, 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/test",
      tags: ["webhooks"],
      summary: "Send an endpoint a `ping`, once; what comes of it is among its deliveries",
      ...secured(services, "webhooks:write"),
      request: { params: IdParam, headers: IdempotencyHeader },
      responses: {
        202: jsonAnswer("It is on its way", DeliveryBody),
        ...problems(400, 401, 403, 404, 413, 415, 422),
      },
    }),
    async (c) => {
      const delivery = await pingWebhook(services, c.req.valid("param").id, callerOf(c));
      return c.json(deliveryBody(delivery), 202);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/{id}/deliveries",
      tags: ["webhooks"],
      summary: "List what an endpoint was sent within 30 days, newest event first",
      ...secured(services, "webhooks:read"),
      request: { params: IdParam, query: PageQuery },
      responses: {
        200: jsonAnswer("A page", pageOf(DeliveryBody)),
        ...problems(400, 401, 403, 404, 422),
      },
    }),
    async (c) => {
      const { limit, cursor = null } = c.req.valid("query");
      const { id } = c.req.valid("param");
      const page = await listDeliveries(services, id, { limit, cursor });
      return c.json({ ...page, data: page.data.map(deliveryBody) }, 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/deliveries/{messageId}/redeliver",
      tags: ["webhooks"],
      summary: "Send an endpoint a message again, under its old id",
      ...secured(services, "webhooks:write"),
      request: { params: DeliveryParam },
      responses: {
        202: jsonAnswer("It is on its way", DeliveryBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const delivery = await redeliver(services, c.req.valid("param"), callerOf(c));
      return c.json(deliveryBody(delivery), 202);
    },
  );
}

function webhookBody(
  { createdBy: _by, createdIn: _in, chain: _chain, deletedAt: _deletedAt, ...shown }:
    WebhookEndpoint,
): z.infer<typeof WebhookBody> {
  return shown;
}

function deliveryBody({ lastAttempts, ...delivery }: Delivery): z.infer<typeof DeliveryBody> {
  return { ...delivery, lastStatus: lastAttempts.at(-1)?.status ?? null, lastAttempts };
}
