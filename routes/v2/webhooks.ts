/**
 * Webhook endpoints under `/api/v2/webhooks`: manage endpoints and their secrets, send a
 * test, list deliveries and repeat them.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Services } from "../../lib/app/mod.ts";
import { MESSAGE_STATUSES } from "../../lib/outbox/admin.ts";
import {
  changeWebhook,
  createWebhook,
  getWebhook,
  listWebhooks,
  removeWebhook,
  rotateWebhookSecret,
  WEBHOOK_DISABLED_REASONS,
  WEBHOOK_EVENT_TYPES,
  type WebhookEndpoint,
  WEBHOOKS_MAX,
} from "../../lib/webhooks/mod.ts";
import { type Delivery, listDeliveries, pingWebhook, redeliver } from "../../lib/webhooks/log.ts";
import { cleanLine, isLine } from "../../lib/text.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import {
  Id,
  IdParam,
  jsonResponse,
  pageOf,
  PageQuery,
  problems,
  RevisionHeader,
  secured,
  Time,
} from "../_openapi.ts";
import {
  actionRoute,
  changeOptions,
  changeRoute,
  createResourceRoute,
  listAllRoute,
  listRoute,
  pageBody,
  publicFields,
  readRoute,
  routesOf,
  tagged,
} from "../_resource.ts";

const EventType = z.enum(WEBHOOK_EVENT_TYPES);
const EventTypes = z.array(EventType).min(1).max(WEBHOOK_EVENT_TYPES.length).openapi({
  description: "Subscribed events; `*` for all, including those of later versions",
  example: ["invoice.paid", "payment.needs_review"],
});
const Url = z.string().min(1).max(500).openapi({
  description: "In production: https and a public address. Without credentials and fragment",
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
  disabledReason: z.enum(WEBHOOK_DISABLED_REASONS).nullable().openapi({
    description: "`gone`: it answered 410; `failing`: every delivery failed for 5 days",
  }),
  secretAt: Time.openapi({ description: "When its secret was generated" }),
  revision: z.int(),
  createdAt: Time,
  updatedAt: Time,
};
const WebhookBody = z.object(webhookFields).openapi("Webhook");
const RevealedBody = z.object({
  ...webhookFields,
  secret: z.string().openapi({
    description: "The signing secret (standardwebhooks.com); not shown again",
    example: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
  }),
}).openapi("WebhookWithSecret");
const Attempt = z.object({
  at: Time,
  status: z.int().nullable().openapi({
    description: "Status of the response; null for no response",
  }),
  reason: z.string().nullable().openapi({
    description: "Why the attempt failed; null if it succeeded",
  }),
  ms: z.int(),
});
const DeliveryBody = z.object({
  messageId: Id.openapi({ description: "The `webhook-id` header, the same in every attempt" }),
  type: z.string().openapi({ example: "invoice.paid" }),
  at: Time.openapi({ description: "When the event happened" }),
  status: z.enum(MESSAGE_STATUSES),
  nextAttemptAt: Time.nullable(),
  attempts: z.int(),
  lastStatus: z.int().nullable().openapi({
    description: "Status of the last response; null for no response",
  }),
  lastAttempts: z.array(Attempt).openapi({ description: "At most the last 12" }),
}).openapi("WebhookDelivery");
const DeliveryParam = IdParam.extend({
  messageId: Id.openapi({ param: { name: "messageId", in: "path" } }),
});

/** The routes under `/api/v2/webhooks`. */
export function webhookRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(
    services,
    addList,
    addCreate,
    addRead,
    addChange,
    addDelete,
    addRotate,
    addTest,
    addDeliveries,
    addRedeliver,
  );
}

function addList(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = listAllRoute(services, {
    path: "/",
    tag: "webhooks",
    summary: `List the endpoints (at most ${WEBHOOKS_MAX}), newest first`,
    scope: "webhooks:read",
    body: pageOf(WebhookBody),
  });
  routes.openapi(route, async (c) => {
    const data = (await listWebhooks(services)).map(webhookBody);
    return c.json({ data, nextCursor: null }, 200);
  });
}

function addCreate(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createResourceRoute(services, {
    path: "/",
    tag: "webhooks",
    summary: "Create an endpoint; its secret is shown in this response only",
    scope: "webhooks:write",
    input: NewWebhook,
    body: RevealedBody,
    description: "The endpoint and its secret",
    failures: [409],
  });
  routes.openapi(route, async (c) => {
    const { endpoint, secret } = await createWebhook(services, c.req.valid("json"), callerOf(c));
    c.header("location", `/api/v2/webhooks/${endpoint.id}`);
    return c.json({ ...webhookBody(tagged(c, endpoint)), secret }, 201);
  });
}

function addRead(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = readRoute(services, {
    path: "/{id}",
    tag: "webhooks",
    summary: "Get an endpoint by id",
    scope: "webhooks:read",
    body: WebhookBody,
    description: "The endpoint",
  });
  routes.openapi(route, async (c) => {
    const endpoint = await getWebhook(services, c.req.valid("param").id);
    return c.json(webhookBody(tagged(c, endpoint)), 200);
  });
}

function addChange(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = changeRoute(services, {
    path: "/{id}",
    tag: "webhooks",
    summary: "Change an endpoint, or enable a disabled one",
    scope: "webhooks:write",
    change: WebhookChange,
    body: WebhookBody,
    description: "The updated endpoint",
  });
  routes.openapi(route, async (c) => {
    const { id } = c.req.valid("param");
    const endpoint = await changeWebhook(services, id, c.req.valid("json"), changeOptions(c));
    return c.json(webhookBody(tagged(c, endpoint)), 200);
  });
}

function addDelete(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "delete",
    path: "/{id}",
    tags: ["webhooks"],
    summary: "Delete an endpoint; its pending messages are not sent",
    ...secured(services, "webhooks:write"),
    request: { params: IdParam, headers: RevisionHeader },
    responses: {
      204: { description: "Deleted; its history remains" },
      ...problems(400, 401, 403, 404, 412, 422),
    },
  });
  routes.openapi(route, async (c) => {
    await removeWebhook(services, c.req.valid("param").id, changeOptions(c));
    return c.body(null, 204);
  });
}

function addRotate(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = actionRoute(services, {
    path: "/{id}/rotate",
    tag: "webhooks",
    summary: "Rotate the secret of an endpoint; the old one also signs for 24 hours",
    scope: "webhooks:write",
    status: 200,
    body: RevealedBody,
    description: "The endpoint and its new secret",
    failures: [409],
  });
  routes.openapi(route, async (c) => {
    const { id } = c.req.valid("param");
    const { endpoint, secret } = await rotateWebhookSecret(services, id, callerOf(c));
    return c.json({ ...webhookBody(tagged(c, endpoint)), secret }, 200);
  });
}

function addTest(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = actionRoute(services, {
    path: "/{id}/test",
    tag: "webhooks",
    summary: "Send a `ping` to an endpoint, once; its deliveries show the result",
    scope: "webhooks:write",
    status: 202,
    body: DeliveryBody,
    description: "The queued delivery",
  });
  routes.openapi(route, async (c) => {
    const delivery = await pingWebhook(services, c.req.valid("param").id, callerOf(c));
    return c.json(deliveryBody(delivery), 202);
  });
}

function addDeliveries(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const base = listRoute(services, {
    path: "/{id}/deliveries",
    tag: "webhooks",
    summary: "List the deliveries to an endpoint in the last 30 days, newest event first",
    scope: "webhooks:read",
    query: PageQuery,
    item: DeliveryBody,
    failures: [404],
  });
  const route = { ...base, request: { ...base.request, params: IdParam } };
  routes.openapi(route, async (c) => {
    const { limit, cursor = null } = c.req.valid("query");
    const { id } = c.req.valid("param");
    const page = await listDeliveries(services, id, { limit, cursor });
    return c.json(pageBody(page, deliveryBody), 200);
  });
}

function addRedeliver(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "post",
    path: "/{id}/deliveries/{messageId}/redeliver",
    tags: ["webhooks"],
    summary: "Send a message to an endpoint again, with the same id",
    ...secured(services, "webhooks:write"),
    request: { params: DeliveryParam },
    responses: {
      202: jsonResponse("The queued delivery", DeliveryBody),
      ...problems(400, 401, 403, 404, 409, 413, 415, 422),
    },
  });
  routes.openapi(route, async (c) => {
    const delivery = await redeliver(services, c.req.valid("param"), callerOf(c));
    return c.json(deliveryBody(delivery), 202);
  });
}

function webhookBody(endpoint: WebhookEndpoint): z.infer<typeof WebhookBody> {
  const { deletedAt: _, ...shown } = publicFields(endpoint);
  return shown;
}

function deliveryBody({ lastAttempts, ...delivery }: Delivery): z.infer<typeof DeliveryBody> {
  return { ...delivery, lastStatus: lastAttempts.at(-1)?.status ?? null, lastAttempts };
}
