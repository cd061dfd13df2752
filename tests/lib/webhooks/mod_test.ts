/**
 * Webhooks reach those who asked for them, signed, in order and until they are
 * taken; and whoever takes none for long is left alone.
 */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { Webhook } from "standardwebhooks";
import * as keys from "../../../lib/kv/keys.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "../../../lib/time.ts";
import { createWebhook, type NewWebhook, rotateWebhookSecret } from "../../../lib/webhooks/mod.ts";
import { WEBHOOK_POLICY } from "../../../lib/webhooks/delivery.ts";
import { listDeliveries } from "../../../lib/webhooks/log.ts";
import { LEAD, startApp, type TestApp, TESTER } from "../../support/program/app.ts";
import { happen } from "../../support/program/outbox.ts";
import { asAdmin, checkedHistoryOf, newKvFile } from "../../support/program/shop.ts";
import {
  type ReceivedHook,
  SECRET_PATH,
  startWebhookEndpoint,
  type WebhookEndpointServer,
} from "../../support/servers/webhook_endpoint.ts";

function hook(app: TestApp, { url }: WebhookEndpointServer, fields: Partial<NewWebhook> = {}) {
  const usual = { url, description: "", eventTypes: ["*"], isEnabled: true } as const;
  return createWebhook(app.services, { ...usual, ...fields }, TESTER);
}

/** What production cannot do without, besides a file for the store. */
const PRODUCTION = {
  APP_ENV: "production",
  PUBLIC_URL: "https://shop.example.com",
  SECRET_KEY: btoa(Array.from({ length: 32 }, (_, i) => String.fromCharCode(7 * i)).join("")),
  RATE_LIMITS: "",
};

function run({ services }: TestApp) {
  return services.outbox.run();
}

/** As long as an attempt may have to be waited for. */
async function runLater(app: TestApp, ms: number = DAY_MS) {
  app.advance(ms);
  await run(app);
}

/** Whether the headers are those of the convention, by its own library. */
function isSigned({ headers, text }: ReceivedHook, secret: string, now: number): boolean {
  const { "webhook-id": id = "", "webhook-timestamp": timestamp } = headers;
  equal(timestamp, String(Math.floor(now / 1_000)));
  const expected = new Webhook(secret).sign(id, new Date(Number(timestamp) * 1_000), text);
  return headers["webhook-signature"]!.split(" ").includes(expected);
}

function idsOf({ received }: WebhookEndpointServer): string[] {
  return received.map(({ headers }) => headers["webhook-id"]!);
}

Deno.test("a webhook has the convention's signature, and says what happened without personal data", async () => {
  await using receiver = startWebhookEndpoint();
  await using app = await startApp({ useRealClock: true });
  const { secret } = await hook(app, receiver);
  const { id: productId } = await app.stockProduct();

  await app.post("/api/v2/leads", { ...LEAD, productId });
  await run(app);

  equal(receiver.received.length, 2);
  for (const { text, headers, path } of receiver.received) {
    new Webhook(secret).verify(text, headers);
    equal(path, SECRET_PATH);
    equal(headers["content-type"], "application/json");
    ok(!/asha|mushi|@|habari/i.test(text), text);
  }
  const [lead, invoice] = receiver.received.map(({ body }) => body);
  equal(lead.type, "lead.created");
  deepEqual(Object.keys(lead), ["type", "timestamp", "data"]);
  deepEqual(Object.keys(invoice.data), [
    ...["clientId", "currency", "dueOn", "invoiceId", "leadId", "number", "paidMinor"],
    ...["revision", "status", "totalMinor"],
  ]);
  deepEqual([invoice.type, invoice.data.totalMinor], ["invoice.issued", 45_000_000]);
  deepEqual([lead.data.productId, lead.data.hasEmail], [productId, true]);
});

Deno.test("a webhook goes to each endpoint that wants the event, and to no other", async () => {
  await using app = await startApp();
  await using all = startWebhookEndpoint();
  await using some = startWebhookEndpoint();
  await using none = startWebhookEndpoint();
  await hook(app, all);
  await hook(app, some, { eventTypes: ["invoice.paid", "payment.needs_review"] });
  const { endpoint } = await hook(app, none);
  await asAdmin(app, "PATCH", `/api/v2/webhooks/${endpoint.id}`, { body: { isEnabled: false } });

  for (const type of ["invoice.issued", "invoice.paid", "payment.refunded"] as const) {
    await happen(app.services, { type, subject: { invoiceId: "a" } });
  }
  await run(app);

  const typesAt = ({ received }: WebhookEndpointServer) => received.map(({ body }) => body.type);
  deepEqual(typesAt(all), ["invoice.issued", "invoice.paid", "payment.refunded"]);
  deepEqual(typesAt(some), ["invoice.paid"]);
  deepEqual(typesAt(none), []);
});

Deno.test("an old secret signs for 24 hours beside a new one", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { secret: old, endpoint } = await hook(app, receiver);
  const { secret } = await rotateWebhookSecret(app.services, endpoint.id, TESTER);
  const signedBy = async () => {
    await happen(app.services);
    await run(app);
    const last = receiver.received.at(-1)!;
    return [old, secret].map((one) => isSigned(last, one, app.services.clock()));
  };

  deepEqual(await signedBy(), [true, true]);
  app.advance(DAY_MS - 1);
  deepEqual(await signedBy(), [true, true]);
  app.advance(1);
  deepEqual(await signedBy(), [false, true]);
  ok(old !== secret);
});

Deno.test("a secret outlives two rotations of SECRET_KEY, if something was sent in between", async () => {
  await using file = await newKvFile();
  await using receiver = startWebhookEndpoint();
  const key = (n: number) => btoa(String.fromCharCode(...new Uint8Array(32).fill(n)));
  const withKeys = (...ns: number[]) => {
    const [now = 0, before] = ns;
    const previous = before === undefined ? {} : { SECRET_KEY_PREVIOUS: key(before) };
    return startApp({ env: { KV_PATH: file.path, SECRET_KEY: key(now), ...previous } });
  };
  const lastIsSigned = async (app: TestApp, secret: string) => {
    await happen(app.services);
    await run(app);
    return isSigned(receiver.received.at(-1)!, secret, app.services.clock());
  };
  let secret: string;
  {
    await using app = await withKeys(1);
    ({ secret } = await hook(app, receiver));
    ok(await lastIsSigned(app, secret));
  }
  {
    await using app = await withKeys(2, 1);
    ok(await lastIsSigned(app, secret));
  }
  {
    await using app = await withKeys(3, 2);
    ok(await lastIsSigned(app, secret));
  }
  {
    await using app = await withKeys(4);
    await happen(app.services);
    await run(app);

    equal(receiver.received.length, 3);
    const [waiting] = await app.services.store.list(keys.messages, { limit: 2 });
    equal(waiting?.value.lastError, "its secret cannot be decrypted");
  }
});

Deno.test("createWebhook() takes https and public addresses only in production, and nothing else is sent to", async () => {
  await using file = await newKvFile();
  await using receiver = startWebhookEndpoint();
  {
    await using app = await startApp({
      env: { ...PRODUCTION, APP_ENV: "test", KV_PATH: file.path },
    });
    await hook(app, receiver);
  }
  await using app = await startApp({ env: { ...PRODUCTION, KV_PATH: file.path } });
  const wrong = [
    ...["http://hooks.example.com/", "https://127.0.0.1/", "https://[::1]/", "https://10.1.1.1/"],
    ...["https://[::ffff:127.0.0.1]/", "https://100.64.0.1/", receiver.url],
  ];

  for (const url of wrong) {
    await rejects(
      hook(app, { ...receiver, url }),
      { name: "AppError", kind: "invalid_input" },
      url,
    );
  }
  await hook(app, { ...receiver, url: "https://hooks.example.com/" }, {
    eventTypes: ["lead.created"],
  });
  await happen(app.services);
  await run(app);

  equal(receiver.received.length, 0);
  const [waiting] = await app.services.store.list(keys.messages, { limit: 2 });
  equal(waiting?.value.lastError, "address not allowed");
});

Deno.test("a webhook is tried for days, with the same id and bytes, until it is taken", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { endpoint } = await hook(app, receiver);
  receiver.answer = () => 500;
  await happen(app.services, { subject: { invoiceId: "b", clientId: "a" }, data: { z: 1, a: 2 } });

  await run(app);
  for (const waitMs of WEBHOOK_POLICY.backoffMs.slice(0, -1)) await runLater(app, waitMs);
  receiver.answer = () => 204;
  await runLater(app, WEBHOOK_POLICY.backoffMs.at(-1)!);

  equal(receiver.received.length, WEBHOOK_POLICY.backoffMs.length + 1);
  equal(new Set(idsOf(receiver)).size, 1);
  equal(new Set(receiver.received.map(({ text }) => text)).size, 1);
  equal(new Set(receiver.received.map(({ headers }) => headers["webhook-timestamp"])).size, 11);
  const { data: [delivery] } = await listDeliveries(app.services, endpoint.id, {
    limit: 2,
    cursor: null,
  });
  deepEqual([delivery?.status, delivery?.attempts], ["sent", 11]);
  deepEqual(delivery?.lastAttempts.map(({ status }) => status), [...Array(10).fill(500), 204]);
});

Deno.test("a webhook waits between attempts at least half of what is scheduled for three days", () => {
  const sum = WEBHOOK_POLICY.backoffMs.reduce((sum, ms) => sum + ms, 0);

  ok(sum / 2 >= 2 * DAY_MS && sum <= 4.5 * DAY_MS, `${sum / DAY_MS}`);
  equal(WEBHOOK_POLICY.deadLetterAfterMs, 3 * DAY_MS);
});

Deno.test("a webhook is not tried again before the endpoint wants it, within a day", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  await hook(app, receiver);
  const busy = (after: string) => () =>
    new Response(null, { status: 429, headers: { "retry-after": after } });

  receiver.answer = busy("3600");
  await happen(app.services);
  await run(app);
  await runLater(app, HOUR_MS - 1);
  equal(receiver.received.length, 1);
  receiver.answer = busy("99999999");
  await runLater(app, 1);
  equal(receiver.received.length, 2);
  await runLater(app, DAY_MS - 1);
  equal(receiver.received.length, 2);
  receiver.answer = () => 200;
  await runLater(app, 1);
  equal(receiver.received.length, 3);
});

Deno.test("webhooks about one invoice come in order, those about others meanwhile", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  await hook(app, receiver);
  receiver.answer = ({ body }) => body.data.invoiceId === "a" && isClosed ? 500 : 200;
  let isClosed = true;

  for (const type of ["invoice.issued", "invoice.sent", "invoice.paid"] as const) {
    await happen(app.services, { type, subject: { invoiceId: "a" } });
    await happen(app.services, { type, subject: { invoiceId: "b" } });
  }
  await run(app);
  await runLater(app, MINUTE_MS);
  const before = receiver.received.map(({ body }) => `${body.data.invoiceId} ${body.type}`);
  isClosed = false;
  await runLater(app);

  const b = ["b invoice.issued", "b invoice.sent", "b invoice.paid"];
  deepEqual(before.filter((one) => one.startsWith("b")), b);
  deepEqual(before.filter((one) => one.startsWith("a")), ["a invoice.issued", "a invoice.issued"]);
  deepEqual(
    receiver.received.slice(before.length).map(({ body }) => body.type),
    ["invoice.issued", "invoice.sent", "invoice.paid"],
  );
});

Deno.test("an endpoint that does not answer does not hold up another", async () => {
  await using app = await startApp();
  await using slow = startWebhookEndpoint();
  await using quick = startWebhookEndpoint();
  await hook(app, slow);
  await hook(app, quick);
  slow.answer = () => slow.released.then(() => 200);
  for (let i = 0; i < 20; i++) await happen(app.services);

  const running = run(app);
  await quick.got(20);
  const waiting = slow.received.length;
  slow.release();
  await running;

  equal(waiting, WEBHOOK_POLICY.atOnce);
  equal(new Set(idsOf(slow)).size, 20);
  equal(new Set(idsOf(quick)).size, 20);
});

Deno.test("an endpoint that answers 410 is disabled at once, and people are told", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { endpoint } = await hook(app, receiver);
  const { id } = endpoint;
  receiver.answer = () => 410;
  for (let i = 0; i < 3; i++) await happen(app.services, { subject: { invoiceId: "a" } });

  await run(app);
  await happen(app.services);
  await runLater(app);
  await app.services.alerts.close();

  equal(receiver.received.length, 1);
  const stored = await app.services.store.get(keys.webhook(id));
  deepEqual([stored?.isEnabled, stored?.disabledReason], [false, "gone"]);
  const [entry] = await checkedHistoryOf(app, "webhook", keys.webhook(id));
  deepEqual([entry?.action, entry?.by], ["webhook.disable", "job:outbox"]);
  const incident = await app.services.store.get(keys.incident(`webhook_disabled:${id}`));
  equal(incident?.resolvedAt, null);
  equal(await app.count(keys.outboxDues), 0);

  // Enabled, it is told again, and the incident is over.
  receiver.answer = () => 200;
  await asAdmin(app, "PATCH", `/api/v2/webhooks/${id}`, { body: { isEnabled: true } });
  await happen(app.services);
  await run(app);
  equal(receiver.received.length, 2);
  const over = await app.services.store.get(keys.incident(`webhook_disabled:${id}`));
  ok(over?.resolvedAt);
});

/** An event a day, each tried as often as the schedule has it. @returns Days until it is disabled */
async function daysUntilDisabled(
  app: TestApp,
  id: string,
  isWell: (day: number) => boolean,
  receiver: WebhookEndpointServer,
): Promise<number> {
  for (let hour = 0; hour < 20 * 24; hour++) {
    receiver.answer = () => isWell(Math.floor(hour / 24)) ? 200 : 503;
    if (hour % 24 === 0) await happen(app.services);
    await run(app);
    const endpoint = await app.services.store.get(keys.webhook(id));
    if (endpoint?.disabledReason === "failing") return hour / 24;
    app.advance(HOUR_MS);
  }
  return Infinity;
}

Deno.test("an endpoint that takes nothing for five days is disabled, and people are told", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { endpoint: { id } } = await hook(app, receiver);

  const days = await daysUntilDisabled(app, id, () => false, receiver);
  await app.services.alerts.close();

  ok(days >= 5 && days < 7, `${days} days`);
  const incident = await app.services.store.get(keys.incident(`webhook_disabled:${id}`));
  ok(incident?.detail.endsWith("accepted nothing for 5 days; last failure: status 503"));
});

Deno.test("an endpoint that takes something every fourth day is never disabled", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { endpoint: { id } } = await hook(app, receiver);

  equal(await daysUntilDisabled(app, id, (day) => day % 4 === 3, receiver), Infinity);
});

Deno.test("one slip after months of silence does not disable an endpoint", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { endpoint: { id } } = await hook(app, receiver);
  receiver.answer = () => 500;
  await happen(app.services);
  await run(app);
  for (const waitMs of WEBHOOK_POLICY.backoffMs) await runLater(app, waitMs);
  equal(await app.count(keys.messagesDead), 1);

  app.advance(60 * DAY_MS);
  await happen(app.services);
  await run(app);
  await app.services.alerts.close();

  equal((await app.services.store.get(keys.webhook(id)))?.isEnabled, true);
});

Deno.test("a trial is made once, disabled or not, and tells what came of it", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { endpoint: { id } } = await hook(app, receiver, { isEnabled: false });
  const ping = async () => {
    const { status, body } = await asAdmin(app, "POST", `/api/v2/webhooks/${id}/test`);
    deepEqual([status, body.type, body.status], [202, "ping", "pending"]);
    await run(app);
    await runLater(app);
    const { body: page } = await asAdmin(app, "GET", `/api/v2/webhooks/${id}/deliveries`);
    return page.data.find(({ messageId }: { messageId: string }) => messageId === body.messageId);
  };

  const { lastStatus, attempts, status } = await ping();
  deepEqual([lastStatus, attempts, status], [200, 1, "sent"]);
  deepEqual(receiver.received[0]?.body.data, { webhookId: id });

  receiver.answer = () => new Response(null, { status: 302, headers: { location: receiver.url } });
  const refused = await ping();
  deepEqual([refused.lastStatus, refused.attempts, refused.status], [302, 1, "cancelled"]);
  equal(refused.lastAttempts[0].reason, "status 302");
  equal(receiver.received.length, 2);
});

Deno.test("a deleted endpoint is sent nothing any more, and its secret is gone", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { endpoint: { id } } = await hook(app, receiver);
  receiver.answer = () => 500;
  await happen(app.services);
  await run(app);

  const { status } = await asAdmin(app, "DELETE", `/api/v2/webhooks/${id}`);
  await happen(app.services);
  await runLater(app);

  equal(status, 204);
  equal(receiver.received.length, 1);
  equal(await app.services.store.get(keys.webhookSecrets(id)), null);
  deepEqual(await app.services.store.get(keys.webhookDirectory), { subscriptions: [] });
  equal(
    (await checkedHistoryOf(app, "webhook", keys.webhook(id))).at(-1)?.action,
    "webhook.delete",
  );
});

Deno.test("neither log, history nor messages have an endpoint's address or secret", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { endpoint: { id, url }, secret } = await hook(app, receiver);
  for (const status of [500, 410]) {
    receiver.answer = () => status;
    await happen(app.services);
    await runLater(app);
  }
  await asAdmin(app, "PATCH", `/api/v2/webhooks/${id}`, {
    body: { url: "http://127.0.0.1:1/s3cret", isEnabled: true },
  });
  await asAdmin(app, "POST", `/api/v2/webhooks/${id}/test`);
  await run(app);
  await app.services.alerts.close();

  const { data } = await listDeliveries(app.services, id, { limit: 9, cursor: null });
  const ping = data.find(({ type }) => type === "ping");
  deepEqual(ping?.lastAttempts.map(({ reason }) => reason), ["no connection"]);
  const said = [
    ...app.logLines,
    JSON.stringify(await app.services.store.list(keys.auditOf("webhook", id), { limit: 99 })),
    JSON.stringify(await app.services.store.list(["incident"], { limit: 99 })),
    JSON.stringify(await app.services.store.list(keys.webhookDeliveries(id), { limit: 99 })),
  ].join("\n");
  ok(said.includes("webhook.disabled"));
  for (const hidden of ["T0p5ecret", "s3cret", "whsec_", secret, url]) {
    ok(!said.includes(hidden), hidden);
  }
});

Deno.test("listDeliveries() forgets after 30 days, and knows no message of another endpoint", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { endpoint: { id } } = await hook(app, receiver);
  await using other = startWebhookEndpoint();
  const { endpoint: { id: otherId } } = await hook(app, other);
  await happen(app.services);
  await run(app);
  const [messageId] = idsOf(receiver);
  const page = { limit: 5, cursor: null };

  equal((await listDeliveries(app.services, id, page)).data[0]?.messageId, messageId);
  const path = `/api/v2/webhooks/${otherId}/deliveries/${messageId}/redeliver`;
  equal((await asAdmin(app, "POST", path)).status, 404);
  app.advance(30 * DAY_MS - SECOND_MS);
  equal((await listDeliveries(app.services, id, page)).data.length, 1);
  app.advance(SECOND_MS);
  equal((await listDeliveries(app.services, id, page)).data.length, 0);
});
