/**
 * What operators see of the outbox, and can do to it.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { newId } from "../../lib/ids.ts";
import * as keys from "../../lib/kv/keys.ts";
import { MINUTE_MS } from "../../lib/time.ts";
import { LEAD, startApp, type TestApp } from "../support/program/app.ts";
import {
  BUSY,
  happen,
  hook,
  newOutbox,
  newPost,
  type Post,
  REFUSED,
} from "../support/program/outbox.ts";
import { asAdmin, newClient, startShop } from "../support/program/shop.ts";
import { until } from "../support/program/until.ts";

const MAIL = { MAIL_URL: "log:", MAIL_FROM: "shop@example.com" };

/** One message in each state that is not pending by itself. */
async function someMessages(app: TestApp): Promise<{ post: Post; ids: Record<string, string> }> {
  const post = newPost();
  const answers = {
    waiting: BUSY,
    dead: REFUSED,
    gone: { state: "skipped", reason: "none" } as const,
  };
  post.answer = ({ to }) => Reflect.get(answers, to) ?? { state: "sent" };
  const outbox = newOutbox(app.services, post, (event) => [
    ...["waiting", "dead", "gone"].map((to) => ({ ...hook(to)(event), isOrdered: false })),
    { kind: "email", type: "lead.created", to: "sent", lane: "" },
  ]);
  await happen(app.services, { subject: { invoiceId: newId(1) } });
  await outbox.run();
  await app.services.alerts.close();
  return { post, ids: Object.fromEntries(post.got.map(({ to, id }) => [to, id])) };
}

Deno.test("GET /api/v2/outbox lists messages by status and kind, without an address in them", async () => {
  await using app = await startApp();
  const { ids } = await someMessages(app);
  const listed = async (query: string) => {
    const { status, body } = await asAdmin(app, "GET", `/api/v2/outbox${query}`);
    equal(status, 200);
    return body.data.map(({ to }: { to: string }) => to).sort();
  };

  deepEqual(await listed(""), ["dead", "waiting"]);
  deepEqual(await listed("?status=pending"), ["waiting"]);
  deepEqual(await listed("?status=dead"), ["dead"]);
  deepEqual(await listed("?status=dead&kind=webhook"), ["dead"]);
  deepEqual(await listed("?status=dead&kind=email"), []);
  deepEqual(await listed("?status=sent"), ["sent"]);
  deepEqual(await listed("?status=cancelled&kind=webhook"), ["gone"]);

  const { body } = await asAdmin(app, "GET", `/api/v2/outbox/${ids.waiting}`);
  deepEqual(Object.keys(body).sort(), [
    ...["at", "attempts", "createdAt", "endedAt", "eventId", "id", "isBeingSent", "kind"],
    ...["lastError", "nextAttemptAt", "status", "subject", "to", "type"],
  ]);
  deepEqual(
    [body.status, body.attempts, body.lastError, body.nextAttemptAt],
    ["pending", 1, "450", "2026-06-15T09:00:59.970Z"],
  );
});

Deno.test("GET /api/v2/outbox returns pages, and 404 for an unknown message", async () => {
  await using app = await startApp();
  const post = newPost();
  post.answer = () => BUSY;
  await Promise.all(Array.from({ length: 5 }, () => happen(app.services)));
  await newOutbox(app.services, post).run();

  const seen: string[] = [];
  let cursor = "";
  do {
    const { body } = await asAdmin(app, "GET", `/api/v2/outbox?limit=2${cursor}`);
    seen.push(...body.data.map(({ id }: { id: string }) => id));
    cursor = body.nextCursor === null ? "" : `&cursor=${body.nextCursor}`;
  } while (cursor !== "");

  equal(new Set(seen).size, 5);
  deepEqual(seen, [...seen].sort().reverse());
  equal((await asAdmin(app, "GET", `/api/v2/outbox/${newId(1)}`)).status, 404);
  equal((await asAdmin(app, "GET", "/api/v2/outbox?status=lost")).status, 422);
});

Deno.test("POST /api/v2/outbox/:id/retry has a message sent that waits, is dead or was cancelled", async () => {
  await using app = await startApp();
  const { post, ids } = await someMessages(app);
  post.answer = () => ({ state: "sent" });

  for (const to of ["waiting", "dead", "gone"]) {
    const { status, body } = await asAdmin(app, "POST", `/api/v2/outbox/${ids[to]}/retry`);
    deepEqual([status, body.status, body.endedAt], [200, "pending", null]);
  }
  const tally = await newOutbox(app.services, post).run();

  equal(tally.sent, 3);
  // Under the ids that they had, so that a repeat is known for one.
  deepEqual(post.got.slice(4).map(({ id }) => id).sort(), [ids.waiting, ids.dead, ids.gone].sort());
  for (const prefix of [keys.messages, keys.messagesDead, keys.outboxDues]) {
    equal(await app.count(prefix), 0);
  }
});

Deno.test("POST /api/v2/outbox/:id/retry gives a dead message all its attempts again", async () => {
  await using app = await startApp();
  const { post, ids } = await someMessages(app);
  post.answer = () => BUSY;
  await asAdmin(app, "POST", `/api/v2/outbox/${ids.dead}/retry`);
  const outbox = newOutbox(app.services, post);
  const before = post.got.length;

  await outbox.run();
  app.advance(2 * MINUTE_MS);
  await outbox.run();

  ok(post.got.slice(before).filter(({ to }) => to === "dead").length === 2);
  const { body } = await asAdmin(app, "GET", `/api/v2/outbox/${ids.dead}`);
  deepEqual([body.status, body.attempts], ["pending", 3]);
});

Deno.test("POST /api/v2/outbox/:id/retry does not send a mail that was sent", async () => {
  await using app = await startApp();
  const { ids } = await someMessages(app);

  const { status } = await asAdmin(app, "POST", `/api/v2/outbox/${ids.sent}/retry`);

  equal(status, 409);
  equal((await asAdmin(app, "POST", `/api/v2/outbox/${newId(1)}/retry`)).status, 404);
});

Deno.test("POST /api/v2/outbox/:id/retry keeps a message behind those of its order", async () => {
  await using app = await startApp();
  const post = newPost();
  const subject = { invoiceId: newId(1) };
  post.answer = ({ type }) => type === "invoice.issued" ? REFUSED : BUSY;
  await happen(app.services, { type: "invoice.issued", subject });
  await happen(app.services, { type: "invoice.paid", subject });
  const outbox = newOutbox(app.services, post);
  await outbox.run();
  const dead = post.got.find(({ type }) => type === "invoice.issued")!;

  await asAdmin(app, "POST", `/api/v2/outbox/${dead.id}/retry`);
  post.answer = () => ({ state: "sent" });
  app.advance(2 * MINUTE_MS);
  await outbox.run();

  deepEqual(post.got.slice(2).map(({ type }) => type), ["invoice.paid", "invoice.issued"]);
  equal(await app.count(["message_order"]), 0);
  await app.services.alerts.close();
});

Deno.test("POST /api/v2/outbox/:id/cancel has a message not sent, and lets those behind it go", async () => {
  await using app = await startApp();
  const post = newPost();
  const subject = { invoiceId: newId(1) };
  post.answer = ({ type }) => type === "invoice.issued" ? BUSY : { state: "sent" };
  await happen(app.services, { type: "invoice.issued", subject });
  await happen(app.services, { type: "invoice.paid", subject });
  const outbox = newOutbox(app.services, post);
  await outbox.run();
  const { id } = post.got[0]!;

  const first = await asAdmin(app, "POST", `/api/v2/outbox/${id}/cancel`);
  const second = await asAdmin(app, "POST", `/api/v2/outbox/${id}/cancel`);
  await outbox.run();

  deepEqual([first.status, second.status, first.body.status], [200, 200, "cancelled"]);
  deepEqual(post.got.map(({ type }) => type), ["invoice.issued", "invoice.paid"]);
  const sent = post.got[1]!.id;
  equal((await asAdmin(app, "POST", `/api/v2/outbox/${sent}/cancel`)).status, 409);
});

Deno.test("POST /api/v2/outbox/:id/{retry,cancel} leave alone what is being sent", async () => {
  await using app = await startApp();
  const post = newPost();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  post.answer = () => released.then(() => ({ state: "sent" }));
  await happen(app.services);
  const running = newOutbox(app.services, post).run();
  await until(() => post.got.length > 0);

  for (const action of ["retry", "cancel"]) {
    const { status } = await asAdmin(app, "POST", `/api/v2/outbox/${post.got[0]!.id}/${action}`);
    equal(status, 409);
  }

  release();
  equal((await running).sent, 1);
});

Deno.test("the outbox is for keys with system:read and system:write", async () => {
  await using app = await startApp();
  const { ids } = await someMessages(app);
  const [reader, stranger] = [await app.newKey("system:read"), await app.newKey("leads:read")];
  const path = `/api/v2/outbox/${ids.waiting}`;

  equal((await app.get("/api/v2/outbox")).status, 401);
  equal((await app.get("/api/v2/outbox", stranger)).status, 403);
  equal((await app.get(path, reader)).status, 200);
  equal((await app.request("POST", `${path}/cancel`, { key: reader })).status, 403);
  equal((await app.request("POST", `${path}/retry`, { key: reader })).status, 403);
});

Deno.test("POST /api/v2/invoices/:id/send has the invoice sent to its buyer, once for each key", async () => {
  await using app = await startApp({ env: MAIL });
  const clientId = await newClient(app);
  await app.services.outbox.run();
  const { body: invoice } = await asAdmin(app, "POST", "/api/v2/invoices", {
    body: { clientId, lines: [{ description: "Work", quantity: 1, unitMinor: 5_000 }] },
  });
  const send = (key: string) =>
    asAdmin(app, "POST", `/api/v2/invoices/${invoice.id}/send`, {
      headers: { "idempotency-key": key },
    });

  const answers = [await send("one"), await send("one"), await send("two")];
  const tally = await app.services.outbox.run();

  deepEqual(answers.map(({ status }) => status), [202, 202, 202]);
  equal(answers[0]!.body.revision, invoice.revision);
  // One was issued, and two were sent.
  deepEqual([tally.events, tally.sent], [3, 2]);
});

Deno.test("POST /api/v2/invoices/:id/send refuses drafts, void ones, and buyers without an address", async () => {
  await using app = await startApp({ env: MAIL });
  const lines = [{ description: "Work", quantity: 1, unitMinor: 5_000 }];
  const write = async (clientId: string, draft: boolean) =>
    (await asAdmin(app, "POST", "/api/v2/invoices", { body: { clientId, lines, draft } })).body.id;
  const [asha, juma] = [
    await newClient(app),
    (await app.post("/api/v2/leads", { name: "Juma", phone: "0754000111" })).body.client.id,
  ];
  const [draft, voided, silent] = [
    ...[await write(asha, true), await write(asha, false)],
    await write(juma, false),
  ];
  await asAdmin(app, "POST", `/api/v2/invoices/${voided}/void`, { body: { reason: "no" } });
  const before = await app.count(keys.outboxEvents);

  for (const [id, status] of [[draft, 409], [voided, 409], [silent, 409], [newId(1), 404]]) {
    equal((await asAdmin(app, "POST", `/api/v2/invoices/${id}/send`)).status, status);
  }

  equal(await app.count(keys.outboxEvents), before);
});

Deno.test("a request that publishes an event costs one read and one commit, even while it is being sent", async () => {
  await using app = await startShop({ env: { ...MAIL, SHOP_EMAIL: "owner@example.com" } });
  app.services.outbox.start();
  const product = await app.stockProduct();

  for (let i = 0; i < 5; i++) {
    const lead = { ...LEAD, email: `visitor${i}@example.com`, productId: product.id };
    equal((await app.post("/api/v2/leads", lead)).status, 201);
  }
  await until(async () => await app.count(keys.messagesDone) >= 10);
  await app.services.outbox.stop(5_000);

  const requests = app.logLines.map((line) => JSON.parse(line))
    .filter(({ route, status }) => route === "/api/v2/leads" && status === 201);
  deepEqual(requests.map(({ kvReads, kvCommits }) => [kvReads, kvCommits]), Array(5).fill([1, 1]));
});

Deno.test("every event of a lead and an invoice is written with it, and names what it is about", async () => {
  await using app = await startApp();
  const product = await app.stockProduct();
  const { body } = await app.post("/api/v2/leads", { ...LEAD, productId: product.id });
  const lines = [{ description: "Work", quantity: 1, unitMinor: 5_000 }];
  const write = async (draft: boolean) =>
    (await asAdmin(app, "POST", "/api/v2/invoices", {
      body: { clientId: body.client.id, lines, draft },
    })).body.id;
  const [draft, other] = [await write(true), await write(false)];
  await asAdmin(app, "POST", `/api/v2/invoices/${draft}/issue`);
  await asAdmin(app, "POST", `/api/v2/invoices/${other}/void`, { body: { reason: "no" } });

  const events = (await app.services.store.list(keys.outboxEvents, { limit: 10 })).map((
    { value },
  ) => value);

  deepEqual(events.map(({ type, subject }) => [type, subject.invoiceId]), [
    ["lead.created", body.invoice.id],
    ["invoice.issued", other],
    ["invoice.issued", draft],
    ["invoice.voided", other],
  ]);
  const text = JSON.stringify(events);
  for (const personal of ["Asha", "asha@example.com"]) ok(!text.includes(personal));
  equal(events[0]!.data.number, "INV-2026-000001");
  equal(events[3]!.data.status, "void");
});
