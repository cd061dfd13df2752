/**
 * Endpoints of webhooks: adding, changing and trying them, and who may.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { newId } from "../../lib/ids.ts";
import * as keys from "../../lib/kv/keys.ts";
import { WEBHOOK_EVENT_TYPES, WEBHOOKS_MAX } from "../../lib/webhooks/mod.ts";
import { startApp, type TestApp } from "../support/program/app.ts";
import { happen } from "../support/program/outbox.ts";
import { asAdmin, checkedHistoryOf, leavesStoreAlone, startShop } from "../support/program/shop.ts";
import { startWebhookEndpoint } from "../support/servers/webhook_endpoint.ts";
import { WEBHOOK } from "../support/program/webhook_samples.ts";

const ROOT = "/api/v2/webhooks";

async function add(app: TestApp, fields: object = {}) {
  const { status, body } = await asAdmin(app, "POST", ROOT, { body: { ...WEBHOOK, ...fields } });
  equal(status, 201);
  return body;
}

Deno.test("POST /api/v2/webhooks adds an endpoint and shows its secret this once", async () => {
  await using app = await startShop();

  const { status, headers, body } = await asAdmin(app, "POST", ROOT, { body: WEBHOOK });

  equal(status, 201);
  const { id, secret, createdAt, updatedAt, secretAt, ...rest } = body;
  equal(headers.get("location"), `${ROOT}/${id}`);
  // Weak where the answer is compressed.
  equal(headers.get("etag")?.replace("W/", ""), '"1"');
  ok(/^whsec_[A-Za-z0-9+/]{43}=$/.test(secret), "256 bits");
  deepEqual([createdAt, secretAt], [updatedAt, updatedAt]);
  deepEqual(rest, { ...WEBHOOK, isEnabled: true, disabledReason: null, revision: 1 });
  const read = await asAdmin(app, "GET", `${ROOT}/${id}`);
  deepEqual(read.body, { id, createdAt, updatedAt, secretAt, ...rest });
  const listed = await asAdmin(app, "GET", ROOT);
  deepEqual(listed.body, { data: [read.body], nextCursor: null });
});

Deno.test("POST /api/v2/webhooks stores no secret that can be read, and repeats it under the same key", async () => {
  await using app = await startShop();
  const create = () =>
    asAdmin(app, "POST", ROOT, { body: WEBHOOK, headers: { "idempotency-key": "k1" } });

  const first = await create();
  const again = await create();
  const rotated = await asAdmin(app, "POST", `${ROOT}/${first.body.id}/rotate`);

  deepEqual(again.body, first.body);
  equal(await app.count(keys.webhooks), 1);
  ok(rotated.body.secret !== first.body.secret);
  equal(rotated.body.revision, 2);
  const stored = JSON.stringify(
    await app.kv.dump(),
    (_, value) => value instanceof Uint8Array ? new TextDecoder().decode(value) : value,
  );
  ok(stored.includes(first.body.id), "the dump can be searched");
  for (const { secret } of [first.body, rotated.body]) {
    ok(!stored.includes(secret) && !stored.includes("whsec_"));
  }
});

Deno.test("POST /api/v2/webhooks refuses what is no place for webhooks, and leaves the store alone", async () => {
  await using app = await startShop();
  const wrong: [object, string][] = [
    [{ url: "hooks" }, "url"],
    [{ url: "ftp://example.com/" }, "url"],
    [{ url: "https://user:pass@example.com/" }, "url"],
    [{ url: "https://example.com/#a" }, "url"],
    [{ url: "https://10.0.0.1/" }, "url"],
    [{ url: "https://169.254.169.254/latest" }, "url"],
    [{ url: `https://example.com/${"x".repeat(500)}` }, "url"],
    [{ eventTypes: [] }, "eventTypes"],
    [{ eventTypes: ["invoice.eaten"] }, "eventTypes.0"],
    [{ description: "two\nlines" }, "description"],
    [{ description: "x".repeat(201) }, "description"],
    [{ secret: "whsec_mine" }, "secret"],
  ];

  await leavesStoreAlone(app, async () => {
    for (const [fields, path] of wrong) {
      const { status, body } = await asAdmin(app, "POST", ROOT, {
        body: { ...WEBHOOK, ...fields },
      });
      equal(status, 422, path);
      deepEqual(body.errors.map((error: { path: string }) => error.path), [path]);
    }
  });
});

Deno.test(`POST /api/v2/webhooks adds ${WEBHOOKS_MAX} endpoints at most`, async () => {
  await using app = await startApp();
  for (let i = 0; i < WEBHOOKS_MAX; i++) await add(app);

  const refused = await asAdmin(app, "POST", ROOT, { body: WEBHOOK });
  const { body: { data } } = await asAdmin(app, "GET", ROOT);
  await asAdmin(app, "DELETE", `${ROOT}/${data[3].id}`);

  equal(refused.status, 409);
  equal(data.length, WEBHOOKS_MAX);
  await add(app);
});

Deno.test("PATCH /api/v2/webhooks/:id changes the given fields, and records it in the history", async () => {
  await using app = await startApp();
  const { id } = await add(app);
  const patch = (body: object, headers = {}) =>
    asAdmin(app, "PATCH", `${ROOT}/${id}`, { body, headers });

  const off = await patch({ isEnabled: false });
  deepEqual([off.body.isEnabled, off.body.disabledReason], [false, "operator"]);
  const on = await patch({ isEnabled: true, eventTypes: ["*", "lead.created", "*"] });
  deepEqual([on.body.disabledReason, on.body.eventTypes], [null, ["*", "lead.created"]]);
  const moved = await patch({ url: "https://hooks.example.com/s3cret" }, { "if-match": '"3"' });
  deepEqual([moved.status, moved.body.revision], [200, 4]);
  equal((await patch({ description: "x" }, { "if-match": '"3"' })).status, 412);
  equal((await patch({ url: "https://10.0.0.1/" })).status, 422);

  const history = await checkedHistoryOf(app, "webhook", keys.webhook(id));
  deepEqual(history.map(({ fields }) => fields.toSorted()), [
    ["disabledReason", "isEnabled"],
    ["disabledReason", "eventTypes", "isEnabled"],
    ["url"],
  ]);
  const { body } = await asAdmin(app, "GET", `/api/v2/system/audit?entity=webhook&id=${id}`);
  equal(body.data.length, 3);
  ok(!JSON.stringify(body).includes("s3cret"));
});

Deno.test("DELETE /api/v2/webhooks/:id leaves no endpoint behind, and the history", async () => {
  await using app = await startApp();
  const { id } = await add(app, { url: "https://hooks.example.com/s3cret" });
  const kept = await add(app);

  equal(
    (await asAdmin(app, "DELETE", `${ROOT}/${id}`, { headers: { "if-match": '"9"' } })).status,
    412,
  );
  equal((await asAdmin(app, "DELETE", `${ROOT}/${id}`)).status, 204);

  for (
    const [method, path] of [
      ...[["GET", ""], ["PATCH", ""], ["DELETE", ""], ["POST", "/rotate"], ["POST", "/test"]],
      ...[["GET", "/deliveries"], ["POST", `/deliveries/${newId(1)}/redeliver`]],
    ]
  ) {
    const body = method === "PATCH" ? { body: {} } : {};
    equal(
      (await asAdmin(app, method!, `${ROOT}/${id}${path}`, body)).status,
      404,
      `${method}${path}`,
    );
  }
  const { body: { data } } = await asAdmin(app, "GET", ROOT);
  deepEqual(data.map((one: { id: string }) => one.id), [kept.id]);
  const stored = await app.services.store.get(keys.webhook(id));
  deepEqual([stored?.url, stored?.isEnabled], ["", false]);
  equal((await checkedHistoryOf(app, "webhook", keys.webhook(id))).length, 1);
});

Deno.test("POST /api/v2/webhooks/:id/deliveries/:messageId/redeliver sends it again under its id", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { id } = await add(app, { url: receiver.url });
  await happen(app.services);
  await app.services.outbox.run();
  const deliveries = async () => (await asAdmin(app, "GET", `${ROOT}/${id}/deliveries`)).body.data;
  const [sent] = await deliveries();
  const path = `${ROOT}/${id}/deliveries/${sent.messageId}/redeliver`;

  const { status, body } = await asAdmin(app, "POST", path);
  await app.services.outbox.run();

  deepEqual([sent.status, sent.attempts, sent.lastStatus], ["sent", 1, 200]);
  deepEqual([status, body.status, body.messageId], [202, "pending", sent.messageId]);
  const [first, second] = receiver.received;
  equal(receiver.received.length, 2);
  equal(second!.text, first!.text);
  equal(second!.headers["webhook-id"], first!.headers["webhook-id"]);
  const [again] = await deliveries();
  deepEqual([again.status, again.attempts], ["sent", 2]);
  await asAdmin(app, "PATCH", `${ROOT}/${id}`, { body: { isEnabled: false } });
  equal((await asAdmin(app, "POST", path)).status, 409);
  const unknown = `${ROOT}/${id}/deliveries/${newId(1)}/redeliver`;
  equal((await asAdmin(app, "POST", unknown)).status, 404);
});

Deno.test("GET /api/v2/webhooks/:id/deliveries gives pages", async () => {
  await using app = await startApp();
  await using receiver = startWebhookEndpoint();
  const { id } = await add(app, { url: receiver.url });
  for (let i = 0; i < 5; i++) await happen(app.services);
  await app.services.outbox.run();

  const seen: string[] = [];
  let cursor = "";
  do {
    const { body } = await asAdmin(app, "GET", `${ROOT}/${id}/deliveries?limit=2${cursor}`);
    seen.push(...body.data.map(({ messageId }: { messageId: string }) => messageId));
    cursor = body.nextCursor === null ? "" : `&cursor=${body.nextCursor}`;
  } while (cursor !== "");

  deepEqual(seen, seen.toSorted().reverse());
  deepEqual(
    new Set(seen),
    new Set(receiver.received.map(({ headers }) => headers["webhook-id"])),
  );
});

Deno.test("/api/v2/webhooks is for keys with its own scopes", async () => {
  await using app = await startApp();
  const { id } = await add(app);
  const reader = await app.newKey("webhooks:read");
  const other = await app.newKey("system:read", "system:write", "invoices:write");

  equal((await app.get(ROOT, reader)).status, 200);
  equal((await app.get(`${ROOT}/${id}/deliveries`, reader)).status, 200);
  for (const path of ["/rotate", "/test"]) {
    equal((await app.request("POST", `${ROOT}/${id}${path}`, { key: reader })).status, 403);
  }
  equal((await app.request("POST", ROOT, { key: reader, body: WEBHOOK })).status, 403);
  equal((await app.get(ROOT, other)).status, 403);
  equal((await app.get(ROOT)).status, 401);
});

Deno.test("/api/v2/webhooks knows every event type that the program has", async () => {
  await using app = await startApp();

  const { eventTypes } = await add(app, { eventTypes: WEBHOOK_EVENT_TYPES });

  deepEqual(eventTypes, WEBHOOK_EVENT_TYPES);
  ok(WEBHOOK_EVENT_TYPES.includes("payment.refunded"));
});
