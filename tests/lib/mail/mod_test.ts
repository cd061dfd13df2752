/**
 * Delivery of mail to SMTP servers that accept it, and to one that fails as servers do.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { eraseClient } from "../../../lib/leads/clients.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { Outbox } from "../../../lib/outbox/mod.ts";
import { listMessages, type OutboxMessage } from "../../../lib/outbox/admin.ts";
import { MAIL_POLICY, newMailSender, newMailSubscriber } from "../../../lib/mail/mod.ts";
import { newAlertSender } from "../../../lib/alerts/delivery.ts";
import { raiseDeadLetter } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/mod.ts";
import { newWebhookMessageSender } from "../../../lib/webhooks/delivery.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../../lib/time.ts";
import { LEAD, startApp, type TestApp, TESTER } from "../../support/program/app.ts";
import { type MoodySmtp, startMoodySmtp } from "../../support/servers/moody_smtp.ts";
import { hasSmtpServer, SMTP_HINT, startSmtpServer } from "../../support/servers/smtp_server.ts";

function mailEnv(port: number): Record<string, string> {
  return {
    MAIL_URL: `smtp://127.0.0.1:${port}`,
    MAIL_FROM: "shop@example.com",
    SHOP_EMAIL: "owner@example.com",
  };
}

/** An outbox with a short timeout for mail. */
function newMailOutbox(services: Services, timeoutMs = 5_000): Outbox {
  const { store, clock, log, metrics, errorTracker } = services;
  return new Outbox({
    store,
    clock,
    log,
    metrics,
    errorTracker,
    subscribers: [newMailSubscriber(services)],
    senders: {
      email: newMailSender(services, { ...MAIL_POLICY, timeoutMs }),
      webhook: newWebhookMessageSender(services),
      alert: newAlertSender(services),
    },
    random: () => 0.5,
    onDead: (message) => raiseDeadLetter(services, message),
  });
}

/** The program without mail to the shop, so that each lead gives one mail. */
async function startMailing(smtp: MoodySmtp): Promise<TestApp> {
  const { SHOP_EMAIL: _, ...env } = mailEnv(smtp.port);
  return await startApp({ env });
}

/** All messages, in every state. */
async function allMessages({ services: { store } }: TestApp): Promise<OutboxMessage[]> {
  const listed = await Promise.all(
    [keys.messages, keys.messagesDone].map((prefix) => store.list(prefix, { limit: 1_000 })),
  );
  return listed.flat().map(({ value }) => value);
}

Deno.test({
  name: `a lead's mails are accepted by a real server${SMTP_HINT}`,
  ignore: !hasSmtpServer,
  async fn() {
    await using server = await startSmtpServer();
    await using app = await startApp({ env: mailEnv(server.port) });
    const product = await app.stockProduct();
    await app.post("/api/v2/leads", { ...LEAD, productId: product.id });

    const tally = await app.services.outbox.run();

    equal(tally.sent, 2);
    const mails = await server.stop();
    deepEqual(mails.map(({ to }) => to[0]).sort(), ["asha@example.com", "owner@example.com"]);
    const toClient = mails.find(({ to }) => to[0] === "asha@example.com")!;
    match(toClient.data, /^Subject: We have received your enquiry\r$/m);
    match(toClient.data, /INV-2026-000001/);
    const messages = await listMessages(
      app.services,
      { status: "sent", kind: "email" },
      { limit: 10, cursor: null },
    );
    const { id } = messages.data.find(({ to }) => to === "client")!;
    ok(toClient.data.includes(`Message-ID: <${id}@example.com>`));
  },
});

for (
  const { mood, state, taken } of [
    { mood: "450", state: "pending", taken: 0 },
    { mood: "data 451", state: "pending", taken: 0 },
    { mood: "421", state: "pending", taken: 0 },
    { mood: "hang", state: "pending", taken: 0 },
    { mood: "550", state: "dead", taken: 0 },
    { mood: "drop after data", state: "pending", taken: 1 },
  ] as const
) {
  Deno.test(`a mail to a server that answers "${mood}" is ${state}, and none is lost once the server recovers`, async () => {
    await using smtp = startMoodySmtp();
    await using app = await startMailing(smtp);
    smtp.mood = mood;
    await app.post("/api/v2/leads", LEAD);
    const outbox = newMailOutbox(app.services, mood === "hang" ? 300 : 5_000);

    await outbox.run();

    const [message] = await allMessages(app);
    equal(message!.status, state);
    equal(smtp.taken.length, taken);
    ok(!message!.lastError!.includes("@"));

    smtp.mood = "take";
    app.advance(10 * MINUTE_MS);
    await outbox.run();

    const isSent = state === "pending";
    equal((await allMessages(app))[0]!.status, isSent ? "sent" : "dead");
    equal(smtp.taken.length, taken + (isSent ? 1 : 0));
    // Duplicates have the same id.
    ok(new Set(smtp.taken).size <= 1);
    await app.services.alerts.close();
  });
}

Deno.test("mail to a server that is down for an hour is sent afterwards, exactly once", async () => {
  await using smtp = startMoodySmtp();
  await using app = await startMailing(smtp);
  const outbox = newMailOutbox(app.services);
  await smtp.down();
  for (let i = 0; i < 30; i++) {
    await app.post("/api/v2/leads", { ...LEAD, email: `visitor${i}@example.com` });
  }

  for (let minutes = 0; minutes < 60; minutes++) {
    await outbox.run();
    app.advance(MINUTE_MS);
  }
  equal(smtp.taken.length, 0);
  smtp.up();
  for (let minutes = 0; minutes < 6 * 60; minutes += 5) {
    await outbox.run();
    app.advance(5 * MINUTE_MS);
  }

  const messages = await allMessages(app);
  equal(messages.length, 30);
  ok(messages.every(({ status }) => status === "sent"));
  equal(smtp.taken.length, 30);
  equal(new Set(smtp.taken).size, 30);
});

Deno.test("mail to a server that stays down is dead-lettered after a day, and can be retried", async () => {
  await using smtp = startMoodySmtp();
  await using app = await startMailing(smtp);
  const outbox = newMailOutbox(app.services);
  await smtp.down();
  for (let i = 0; i < 10; i++) {
    await app.post("/api/v2/leads", { ...LEAD, email: `visitor${i}@example.com` });
  }

  for (let minutes = 0; minutes < 25 * 60; minutes += 5) {
    await outbox.run();
    app.advance(5 * MINUTE_MS);
  }

  const dead = await allMessages(app);
  deepEqual(dead.map(({ status }) => status), Array(10).fill("dead"));
  smtp.up();
  for (const { id } of dead) {
    const { status } = await app.request("POST", `/api/v2/outbox/${id}/retry`, {
      key: app.adminKey,
    });
    equal(status, 200);
  }
  app.advance(HOUR_MS);
  await outbox.run();
  equal(smtp.taken.length, 10);
  await app.services.alerts.close();
});

Deno.test("nothing is sent to a client whose data was erased before the mail was sent", async () => {
  await using smtp = startMoodySmtp();
  await using app = await startMailing(smtp);
  await smtp.down();
  const { body } = await app.post("/api/v2/leads", LEAD);
  const outbox = newMailOutbox(app.services);
  await outbox.run();
  equal((await allMessages(app))[0]!.status, "pending");
  smtp.up();

  await eraseClient(app.services, body.client.id, TESTER);
  app.advance(DAY_MS);
  await outbox.run();

  const [message] = await allMessages(app);
  deepEqual([message!.status, message!.lastError], ["cancelled", "no email address"]);
  deepEqual(smtp.taken, []);
  const stored = JSON.stringify([await allMessages(app), app.logLines]);
  ok(!stored.includes("asha@example.com"));
});

Deno.test("without a mail server or an address there is no mail, and no message is queued", async () => {
  await using app = await startApp();
  await app.post("/api/v2/leads", LEAD);
  await using smtp = startMoodySmtp();
  await using mailing = await startMailing(smtp);
  await mailing.post("/api/v2/leads", { name: "Juma", phone: "0754000111" });

  for (const { services } of [app, mailing]) {
    const tally = await services.outbox.run();
    deepEqual(tally, { events: 1, sent: 0, failed: 0, dead: 0, cancelled: 0 });
  }

  deepEqual([...await allMessages(app), ...await allMessages(mailing)], []);
});
