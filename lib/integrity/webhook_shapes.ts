/**
 * What whole records of outgoing webhooks look like; `shapes.ts` has
 * the others.
 *
 * @module
 */
import { z } from "zod";
import { isId } from "../ids.ts";
import type {
  WebhookDirectory,
  WebhookEndpoint,
  WebhookEventType,
  WebhookSecrets,
} from "../kv/webhook_records.ts";
import type { Actor } from "../kv/records.ts";

const id = z.string().refine(isId);
const moment = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
/** Any text: which words there are may grow. */
const word = <T extends string>() => z.custom<T>((value) => typeof value === "string");
const wanted = z.array(word<WebhookEventType>());

const endpoint: z.ZodType<WebhookEndpoint> = z.object({
  id,
  revision: z.int().min(1),
  createdAt: moment,
  createdBy: word<Actor>(),
  createdIn: z.string(),
  updatedAt: moment,
  chain: z.string().regex(/^[0-9a-f]{64}$/).nullable(),
  url: z.string(),
  description: z.string(),
  eventTypes: wanted,
  isEnabled: z.boolean(),
  disabledReason: z.enum(["operator", "gone", "failing"]).nullable(),
  secretAt: moment,
  deletedAt: moment.nullable(),
});
const directory: z.ZodType<WebhookDirectory> = z.object({
  subscriptions: z.array(z.object({ id, eventTypes: wanted, isEnabled: z.boolean() })),
});
const secrets: z.ZodType<WebhookSecrets> = z.object({
  secrets: z.array(z.object({ sealed: z.string(), until: z.number().nullable() })),
});

/** Whether a value is a whole endpoint. */
export function isWebhookEndpoint(value: unknown): boolean {
  return endpoint.safeParse(value).success;
}

/** Whether a value is a whole directory. */
export function isWebhookDirectory(value: unknown): boolean {
  return directory.safeParse(value).success;
}

/** Whether a value is the secrets of an endpoint. */
export function isWebhookSecrets(value: unknown): boolean {
  return secrets.safeParse(value).success;
}
