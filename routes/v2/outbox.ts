/**
 * Outgoing messages under `/api/v2/outbox`: list, retry and cancel them.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Services } from "../../lib/app/mod.ts";
import {
  cancelMessage,
  getMessage,
  listMessages,
  MESSAGE_KINDS,
  MESSAGE_STATUSES,
  type OutboxMessage,
  retryMessage,
} from "../../lib/outbox/admin.ts";
import { isoTime } from "../../lib/time.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import { Id, IdParam, jsonResponse, PageQuery, problems, secured, Time } from "../_openapi.ts";
import { listRoute, pageBody, readRoute, routesOf } from "../_resource.ts";

const Status = z.enum(MESSAGE_STATUSES);
const Kind = z.enum(MESSAGE_KINDS);
const MessageBody = z.object({
  id: Id,
  kind: Kind,
  type: z.string().openapi({ example: "invoice.sent" }),
  to: z.string().openapi({
    example: "client",
    description: "Recipient reference, never an address",
  }),
  status: Status,
  attempts: z.int(),
  nextAttemptAt: Time.nullable().openapi({
    description: "Time of the next attempt; while it is being sent, of a possible repeat",
  }),
  isBeingSent: z.boolean(),
  lastError: z.string().nullable(),
  eventId: Id,
  subject: z.record(z.string(), z.string()).openapi({
    example: { invoiceId: "01938d6e-3c00-7000-8000-000000000001" },
  }),
  at: Time.openapi({ description: "When the event happened" }),
  createdAt: Time,
  endedAt: Time.nullable(),
}).openapi("Message");

/** The routes under `/api/v2/outbox`. */
export function outboxRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(services, addList, addRead, addRetry, addCancel);
}

function addList(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = listRoute(services, {
    path: "/",
    tag: "outbox",
    summary: "List messages by the time of their event, newest first",
    scope: "system:read",
    query: PageQuery.extend({
      status: Status.optional().openapi({ description: "Default: pending and dead messages" }),
      kind: Kind.optional(),
    }),
    item: MessageBody,
  });
  routes.openapi(route, async (c) => {
    const { status = null, kind = null, limit, cursor = null } = c.req.valid("query");
    const page = await listMessages(services, { status, kind }, { limit, cursor });
    const now = services.clock();
    return c.json(pageBody(page, (message) => messageBody(message, now)), 200);
  });
}

function addRead(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = readRoute(services, {
    path: "/{id}",
    tag: "outbox",
    summary: "Get a message by id",
    scope: "system:read",
    body: MessageBody,
    description: "The message",
  });
  routes.openapi(route, async (c) => {
    const message = await getMessage(services, c.req.valid("param").id);
    return c.json(messageBody(message, services.clock()), 200);
  });
}

function addRetry(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = messageActionRoute(services, "retry", "Retry a message now");
  routes.openapi(route, async (c) => {
    const message = await retryMessage(services, c.req.valid("param").id, callerOf(c));
    return c.json(messageBody(message, services.clock()), 200);
  });
}

function addCancel(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = messageActionRoute(services, "cancel", "Cancel a message");
  routes.openapi(route, async (c) => {
    const message = await cancelMessage(services, c.req.valid("param").id, callerOf(c));
    return c.json(messageBody(message, services.clock()), 200);
  });
}

/** Without an Idempotency-Key: a repeated action has the same result. */
function messageActionRoute(services: Services, action: string, summary: string) {
  return createRoute({
    method: "post",
    path: `/{id}/${action}`,
    tags: ["outbox"],
    summary,
    ...secured(services, "system:write"),
    request: { params: IdParam },
    responses: {
      200: jsonResponse("The updated message", MessageBody),
      ...problems(400, 401, 403, 404, 409, 413, 415, 422),
    },
  });
}

function messageBody(
  message: OutboxMessage,
  now: number,
): z.infer<typeof MessageBody> {
  const { id, kind, type, to, status, attempts, lastError, eventId, subject } = message;
  const { lease, dueAt, at, createdAt, endedAt } = message;
  return {
    id,
    kind,
    type,
    to,
    status,
    attempts,
    nextAttemptAt: status === "pending" ? isoTime(dueAt) : null,
    isBeingSent: lease !== null && lease.until > now,
    lastError,
    eventId,
    subject,
    at,
    createdAt,
    endedAt,
  };
}
