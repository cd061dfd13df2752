/**
 * | method | path                        | who            | answers            |
 * | ------ | --------------------------- | -------------- | ------------------ |
 * | GET    | `/api/v2/outbox`            | `system:read`  | 200, 400, 422      |
 * | GET    | `/api/v2/outbox/:id`        | `system:read`  | 200, 404, 422      |
 * | POST   | `/api/v2/outbox/:id/retry`  | `system:write` | 200, 404, 409, 422 |
 * | POST   | `/api/v2/outbox/:id/cancel` | `system:write` | 200, 404, 409, 422 |
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import {
  cancelMessage,
  getMessage,
  listMessages,
  type OutboxMessage,
  retryMessage,
} from "../../lib/outbox/admin.ts";
import type { Services } from "../../lib/app/services.ts";
import { isoTime } from "../../lib/time.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import {
  Id,
  IdParam,
  jsonAnswer,
  newRoutes,
  pageOf,
  PageQuery,
  problems,
  secured,
  Time,
} from "../_openapi.ts";

const Status = z.enum(["pending", "sent", "dead", "cancelled"]);
const Kind = z.enum(["email", "webhook", "alert"]);
const MessageBody = z.object({
  id: Id,
  kind: Kind,
  type: z.string().openapi({ example: "invoice.sent" }),
  to: z.string().openapi({ example: "client", description: "Whom, never an address" }),
  status: Status,
  attempts: z.int(),
  nextAttemptAt: Time.nullable().openapi({
    description: "From when on it is tried, or if it is being sent, tried again",
  }),
  isBeingSent: z.boolean(),
  lastError: z.string().nullable(),
  eventId: Id,
  subject: z.record(z.string(), z.string()).openapi({
    example: { invoiceId: "01938d6e-3c00-7000-8000-000000000001" },
  }),
  at: Time.openapi({ description: "When it happened" }),
  createdAt: Time,
  endedAt: Time.nullable(),
}).openapi("Message");

/** The routes under `/api/v2/outbox`. */
export function outboxRoutes(services: Services): OpenAPIHono<AppEnv> {
  const bodyOf = (message: OutboxMessage) => messageBody(message, services.clock());
  return newRoutes().openapi(
    createRoute({
      method: "get",
      path: "/",
      tags: ["outbox"],
      summary: "List messages by what they tell of, newest first",
      ...secured(services, "system:read"),
      request: {
        query: PageQuery.extend({
          status: Status.optional().openapi({ description: "Pending and dead ones when absent" }),
          kind: Kind.optional(),
        }),
      },
      responses: {
        200: jsonAnswer("A page", pageOf(MessageBody)),
        ...problems(400, 401, 403, 422),
      },
    }),
    async (c) => {
      const { status = null, kind = null, limit, cursor = null } = c.req.valid("query");
      const page = await listMessages(services, { status, kind }, { limit, cursor });
      return c.json({ ...page, data: page.data.map(bodyOf) }, 200);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/{id}",
      tags: ["outbox"],
      summary: "Read a message",
      ...secured(services, "system:read"),
      request: { params: IdParam },
      responses: { 200: jsonAnswer("The message", MessageBody), ...problems(401, 403, 404, 422) },
    }),
    async (c) => c.json(bodyOf(await getMessage(services, c.req.valid("param").id)), 200),
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/retry",
      tags: ["outbox"],
      summary: "Have a message tried now that waits, is dead or was cancelled",
      ...secured(services, "system:write"),
      request: { params: IdParam },
      responses: {
        200: jsonAnswer("The message as it is now", MessageBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const message = await retryMessage(services, c.req.valid("param").id, callerOf(c));
      return c.json(bodyOf(message), 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/{id}/cancel",
      tags: ["outbox"],
      summary: "Have a message not sent",
      ...secured(services, "system:write"),
      request: { params: IdParam },
      responses: {
        200: jsonAnswer("The message as it is now", MessageBody),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const message = await cancelMessage(services, c.req.valid("param").id, callerOf(c));
      return c.json(bodyOf(message), 200);
    },
  );
}

function messageBody(
  { id, kind, type, to, status, attempts, lastError, eventId, subject, ...rest }: OutboxMessage,
  now: number,
): z.infer<typeof MessageBody> {
  const { lease, dueAt, at, createdAt, endedAt } = rest;
  return {
    ...{ id, kind, type, to, status, attempts },
    nextAttemptAt: status === "pending" ? isoTime(dueAt) : null,
    isBeingSent: lease !== null && lease.until > now,
    ...{ lastError, eventId, subject, at, createdAt, endedAt },
  };
}
