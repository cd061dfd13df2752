/**
 * Requests to `/api/v2/webhooks`, for tests that walk through the whole contract.
 *
 * @module
 */
import { type NewWebhook, WEBHOOKS_MAX } from "../../../lib/webhooks/mod.ts";
import type { TestRequest } from "./app.ts";
import { asAdmin, type TestShop } from "./shop.ts";

type Sample = (app: TestShop) => Promise<{ path: string } & TestRequest>;

const ROOT = "/api/v2/webhooks";

/** An ordinary endpoint at which nobody listens. */
export const WEBHOOK = {
  url: "http://127.0.0.1:1/hook",
  description: "Bookkeeping",
  eventTypes: ["invoice.paid"],
} as const satisfies Partial<NewWebhook>;

/** Adds an endpoint, and removes another one first when the limit is reached. @returns Its path */
async function aWebhook(app: TestShop): Promise<string> {
  const { body: { data } } = await asAdmin(app, "GET", ROOT);
  if (data.length === WEBHOOKS_MAX) await asAdmin(app, "DELETE", `${ROOT}/${data[0].id}`);
  const { body } = await asAdmin(app, "POST", ROOT, { body: WEBHOOK });
  return `${ROOT}/${body.id}`;
}

/** @returns The paths of an endpoint and of a message that it did not accept */
async function aDelivery(app: TestShop): Promise<{ webhook: string; delivery: string }> {
  const webhook = await aWebhook(app);
  const { body } = await asAdmin(app, "POST", `${webhook}/test`);
  await app.services.outbox.run();
  return { webhook, delivery: `${webhook}/deliveries/${body.messageId}` };
}

/** By operation: one successful request. */
export const WEBHOOK_SAMPLES: Record<string, Sample> = {
  "GET /api/v2/webhooks": async (app) => (await aWebhook(app), { path: ROOT }),
  "POST /api/v2/webhooks": async (app) => {
    await asAdmin(app, "DELETE", await aWebhook(app)); // there is room
    return { path: ROOT, body: WEBHOOK };
  },
  "GET /api/v2/webhooks/{id}": async (app) => ({ path: await aWebhook(app) }),
  "PATCH /api/v2/webhooks/{id}": async (app) => ({
    path: await aWebhook(app),
    body: { isEnabled: false },
  }),
  "DELETE /api/v2/webhooks/{id}": async (app) => ({ path: await aWebhook(app) }),
  "POST /api/v2/webhooks/{id}/rotate": async (app) => ({ path: `${await aWebhook(app)}/rotate` }),
  "POST /api/v2/webhooks/{id}/test": async (app) => ({ path: `${await aWebhook(app)}/test` }),
  "GET /api/v2/webhooks/{id}/deliveries": async (app) => ({
    path: `${(await aDelivery(app)).webhook}/deliveries`,
  }),
  "POST /api/v2/webhooks/{id}/deliveries/{messageId}/redeliver": async (app) => ({
    path: `${(await aDelivery(app)).delivery}/redeliver`,
  }),
};

/** By operation: a request that causes a conflict. */
export const WEBHOOK_CONFLICTS: Record<string, Sample> = {
  "POST /api/v2/webhooks": async (app) => {
    for (let i = 0; i < WEBHOOKS_MAX; i++) await asAdmin(app, "POST", ROOT, { body: WEBHOOK });
    return { path: ROOT, body: WEBHOOK };
  },
  "POST /api/v2/webhooks/{id}/rotate": async (app) => {
    const path = `${await aWebhook(app)}/rotate`;
    for (let i = 0; i < 4; i++) await asAdmin(app, "POST", path);
    return { path };
  },
  "POST /api/v2/webhooks/{id}/deliveries/{messageId}/redeliver": async (app) => {
    const { webhook, delivery } = await aDelivery(app);
    await asAdmin(app, "PATCH", webhook, { body: { isEnabled: false } });
    return { path: `${delivery}/redeliver` };
  },
};
