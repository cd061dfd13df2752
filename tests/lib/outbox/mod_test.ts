/**
 * Messages are delivered at least once and in order, whatever destinations do.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { isId, newId } from "../../../lib/ids.ts";
import { sweep } from "../../../lib/integrity/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { backoffOf, type OutboxMessage } from "../../../lib/outbox/ports.ts";
import {
  deliverOutbox,
  getMessage,
  listMessages,
  measureOutbox,
} from "../../../lib/outbox/admin.ts";
import { MAIL_POLICY } from "../../../lib/mail/mod.ts";
import { afterAttempt, messageIdOf, newMessage } from "../../../lib/outbox/rules.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../../lib/time.ts";
import { startApp, type TestApp } from "../../support/program/app.ts";
import {
  BUSY,
  DOWN,
  happen,
  hook,
  newOutbox,
  newPost,
  POLICY,
  REFUSED,
  TAKEN,
} from "../../support/program/outbox.ts";
import { until } from "../../support/program/until.ts";

/** Entries of the outbox that are still to be processed, by prefix. */
async function left(app: TestApp): Promise<Record<string, number>> {
  const prefixes = { events: keys.outboxEvents, messages: keys.messages, dues: keys.outboxDues };
  const counts: Record<string, number> = {};
  for (const [name, prefix] of Object.entries(prefixes)) counts[name] = await app.count(prefix);
  counts.orders = await app.count(["message_order"]);
  return counts;
}

const NOTHING = { events: 0, messages: 0, dues: 0, orders: 0 };

async function isSound(app: TestApp): Promise<void> {
  deepEqual((await sweep(app.services)).findings, []);
}

function theMessage(app: TestApp): Promise<OutboxMessage> {
  return listMessages(app.services, { status: null, kind: null }, { limit: 10, cursor: null })
    .then(({ data }) => data[0]!);
}

Deno.test("run() delivers to every destination of an event once, and leaves nothing to do", async () => {
  await using app = await startApp();
  const post = newPost();
  const outbox = newOutbox(app.services, post, (event) => [hook("a")(event), hook("b")(event)]);
  const id = await happen(app.services, { subject: { invoiceId: newId(1) } });

  const tally = await outbox.run();

  deepEqual(tally, { events: 1, sent: 2, failed: 0, dead: 0, cancelled: 0 });
  deepEqual(post.got.map(({ to }) => to).sort(), ["a", "b"]);
  deepEqual(await left(app), NOTHING);
  for (const { id: messageId, eventId } of post.got) {
    equal(eventId, id);
    equal((await getMessage(app.services, messageId)).status, "sent");
  }
  await isSound(app);
});

Deno.test("run() does nothing a second time", async () => {
  await using app = await startApp();
  const post = newPost();
  await happen(app.services);
  await newOutbox(app.services, post).run();

  const tally = await newOutbox(app.services, post).run();

  deepEqual(tally, { events: 0, sent: 0, failed: 0, dead: 0, cancelled: 0 });
  equal(post.got.length, 1);
});

Deno.test("run() deletes an event without messages", async () => {
  await using app = await startApp();
  await happen(app.services);

  const tally = await newOutbox(app.services, newPost(), () => []).run();

  equal(tally.events, 1);
  deepEqual(await left(app), NOTHING);
});

Deno.test("run() by many instances at once sends each message once", async () => {
  await using app = await startApp();
  const post = newPost();
  post.answer = async () => {
    await new Promise((done) => setTimeout(done, Math.random() * 5));
    return TAKEN;
  };
  const outboxes = Array.from({ length: 4 }, () => newOutbox(app.services, post));
  await Promise.all(Array.from({ length: 60 }, () => happen(app.services)));

  await Promise.all(outboxes.map((outbox) => outbox.run()));

  equal(post.got.length, 60);
  equal(new Set(post.got.map(({ id }) => id)).size, 60);
  deepEqual(await left(app), NOTHING);
});

Deno.test("run() retries a failed message when its wait is over, and not before", async () => {
  await using app = await startApp();
  const post = newPost();
  post.answer = () => BUSY;
  const outbox = newOutbox(app.services, post);
  await happen(app.services);
  const attemptsAfter = async (ms: number) => {
    app.advance(ms);
    await outbox.run();
    return post.got.length;
  };

  equal(await attemptsAfter(0), 1);
  equal(await attemptsAfter(59_000), 1);
  equal(await attemptsAfter(2_000), 2);
  equal((await theMessage(app)).lastError, "450");
  await isSound(app);
  equal(await attemptsAfter(9 * MINUTE_MS), 2);
  post.answer = () => TAKEN;
  equal(await attemptsAfter(2 * MINUTE_MS), 3);

  deepEqual(await left(app), NOTHING);
  equal(new Set(post.got.map(({ id }) => id)).size, 1);
});

Deno.test("run() dead-letters a message when its attempts are exhausted, and raises an alert", async () => {
  await using app = await startApp();
  const post = newPost();
  post.answer = () => BUSY;
  const outbox = newOutbox(app.services, post);
  await happen(app.services);

  for (let i = 0; i < 6; i++) {
    await outbox.run();
    app.advance(61 * MINUTE_MS);
  }

  equal(post.got.length, POLICY.backoffMs.length + 1);
  const { status, lastError, attempts } = await theMessage(app);
  deepEqual({ status, lastError, attempts }, { status: "dead", lastError: "450", attempts: 4 });
  deepEqual(await left(app), { ...NOTHING, messages: 1 });
  ok(await app.services.store.get(keys.incident("outbox_dead")));
  await isSound(app);
  await app.services.alerts.close();
});

Deno.test("run() dead-letters a refused message at once, and cancels a skipped one", async () => {
  await using app = await startApp();
  const post = newPost();
  post.answer = ({ to }) => to === "a" ? REFUSED : { state: "skipped", reason: "erased" };
  const outbox = newOutbox(app.services, post, (event) => [hook("a")(event), hook("b")(event)]);
  await happen(app.services);

  const tally = await outbox.run();

  deepEqual(tally, { events: 1, sent: 0, failed: 0, dead: 1, cancelled: 1 });
  await isSound(app);
  await app.services.alerts.close();
});

Deno.test("run() keeps the order of each invoice's messages to one endpoint, and holds up no other", async () => {
  await using app = await startApp();
  const [one, two] = [newId(1), newId(1)];
  const post = newPost();
  let isUp = false;
  post.answer = ({ subject, type }) =>
    !isUp && subject.invoiceId === one && type === "invoice.issued" ? BUSY : TAKEN;
  const outbox = newOutbox(app.services, post);
  for (const type of ["invoice.issued", "invoice.sent", "invoice.paid"] as const) {
    for (const invoiceId of [one, two]) {
      await happen(app.services, { type, subject: { invoiceId } });
    }
  }

  await outbox.run();

  const typesOf = (id: string) =>
    post.got.filter(({ subject }) => subject.invoiceId === id).map(({ type }) => type);
  deepEqual(typesOf(one), ["invoice.issued"]);
  deepEqual(typesOf(two), ["invoice.issued", "invoice.sent", "invoice.paid"]);
  await isSound(app);

  isUp = true;
  app.advance(2 * MINUTE_MS);
  await outbox.run();

  deepEqual(typesOf(one), ["invoice.issued", "invoice.issued", "invoice.sent", "invoice.paid"]);
  deepEqual(await left(app), NOTHING);
});

Deno.test("run() continues an order after its first message is dead-lettered", async () => {
  await using app = await startApp();
  const subject = { invoiceId: newId(1) };
  const post = newPost();
  post.answer = ({ type }) => type === "invoice.issued" ? REFUSED : TAKEN;
  await happen(app.services, { type: "invoice.issued", subject });
  await happen(app.services, { type: "invoice.paid", subject });

  await newOutbox(app.services, post).run();

  deepEqual(post.got.map(({ type }) => type), ["invoice.issued", "invoice.paid"]);
  deepEqual(await left(app), { ...NOTHING, messages: 1 });
  await app.services.alerts.close();
});

Deno.test("run() does not let a slow lane delay another, or exceed its parallel attempts", async () => {
  await using app = await startApp();
  const post = newPost();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  let fast = 0;
  const { promise: fastDone, resolve: onFastDone } = Promise.withResolvers<void>();
  post.answer = async ({ lane }) => {
    if (lane === "webhook:slow") await released;
    else if (++fast === 50) onFastDone();
    return TAKEN;
  };
  const outbox = newOutbox(
    app.services,
    post,
    (event) => [hook("slow")(event), hook("fast")(event)],
  );
  await Promise.all(Array.from({ length: 50 }, () => happen(app.services)));

  const running = outbox.run();
  await fastDone;

  equal(post.got.filter(({ lane }) => lane === "webhook:slow").length, POLICY.atOnce);
  release();
  equal((await running).sent, 100);
  equal(post.most.get("webhook:slow"), POLICY.atOnce);
  deepEqual(await left(app), NOTHING);
});

Deno.test("run() pauses a lane that is down, probes it with one message, and resumes when it is up", async () => {
  await using app = await startApp();
  const post = newPost();
  post.answer = ({ lane }) => lane === "webhook:down" ? DOWN : TAKEN;
  const outbox = newOutbox(app.services, post, (event) => [hook("down")(event), hook("up")(event)]);
  await Promise.all(Array.from({ length: 40 }, () => happen(app.services)));
  const tried = () => post.got.filter(({ lane }) => lane === "webhook:down").length;

  await outbox.run();
  const first = tried();
  ok(first <= 5, `${first} were tried`);
  await outbox.run();
  equal(tried(), first);
  app.advance(MINUTE_MS);
  await outbox.run();
  equal(tried(), first + 1);

  post.answer = () => TAKEN;
  app.advance(10 * MINUTE_MS);
  await outbox.run();
  deepEqual(await left(app), NOTHING);
  const taken = await listMessages(
    app.services,
    { status: "sent", kind: "webhook" },
    { limit: 200, cursor: null },
  );
  equal(taken.data.length, 80);
});

Deno.test("run() dead-letters messages that expire while their lane is down", async () => {
  await using app = await startApp();
  const post = newPost();
  post.answer = () => DOWN;
  const outbox = newOutbox(app.services, post);
  await Promise.all(Array.from({ length: 300 }, () => happen(app.services)));

  for (let minutes = 0; minutes < 270; minutes += 5) {
    await outbox.run();
    app.advance(5 * MINUTE_MS);
  }

  equal(await app.count(keys.messagesDead), 300);
  equal(await app.count(keys.outboxDues), 0);
  ok(post.got.length < 60, `${post.got.length} attempts`);
  await isSound(app);
  await app.services.alerts.close();
});

Deno.test("run() sends a killed instance's message again after its lease, under the same id", async () => {
  await using app = await startApp();
  const [gone, post] = [newPost(), newPost()];
  const { promise: late, resolve: answerLate } = Promise.withResolvers<void>();
  gone.answer = async () => {
    await late;
    return BUSY;
  };
  await happen(app.services);
  const goneRun = newOutbox(app.services, gone).run();
  await until(() => gone.got.length > 0);

  await newOutbox(app.services, post).run();
  equal(post.got.length, 0);
  app.advance(POLICY.timeoutMs + 31_000);
  await newOutbox(app.services, post).run();

  deepEqual(post.got.map(({ id, attempts }) => [id, attempts]), [[gone.got[0]!.id, 2]]);
  answerLate();
  await goneRun;
  // The late result changes nothing.
  equal((await getMessage(app.services, gone.got[0]!.id)).status, "sent");
  ok(app.logLines.some((line) => line.includes("message.superseded")));
  deepEqual(await left(app), NOTHING);
});

Deno.test("run() dead-letters a message that kills every instance", async () => {
  await using app = await startApp();
  const post = newPost();
  // No result is recorded: each of these is an instance that was killed while sending.
  const { promise: never, resolve: end } = Promise.withResolvers<void>();
  post.answer = () => never.then(() => TAKEN);
  await happen(app.services);
  const runs = [];
  for (let i = 0; i <= POLICY.backoffMs.length; i++) {
    runs.push(newOutbox(app.services, post).run());
    await until(() => post.got.length > i);
    app.advance(HOUR_MS);
  }

  await newOutbox(app.services, post).run();

  equal(post.got.length, POLICY.backoffMs.length + 1);
  equal((await theMessage(app)).status, "dead");
  end();
  await Promise.all(runs);
  await app.services.alerts.close();
});

Deno.test("run() ends an attempt at its time limit", async () => {
  await using app = await startApp();
  const post = newPost();
  const { promise: never, resolve: end } = Promise.withResolvers<void>();
  post.answer = () => never.then(() => TAKEN);
  await happen(app.services);

  const tally = await newOutbox(app.services, post, undefined, { ...POLICY, timeoutMs: 50 }).run();

  deepEqual(tally, { events: 1, sent: 0, failed: 1, dead: 0, cancelled: 0 });
  equal((await theMessage(app)).lastError, "no answer in 50 ms");
  end();
});

Deno.test("run() keeps an event whose subscriber fails, and later ones of the same invoice", async () => {
  await using app = await startApp();
  const post = newPost();
  const [one, two] = [newId(1), newId(1)];
  let isBroken = true;
  const outbox = newOutbox(app.services, post, (event) => {
    if (isBroken && event.subject.invoiceId === one) throw new Error("broken");
    return [hook("a")(event)];
  });
  for (const invoiceId of [one, one, two]) await happen(app.services, { subject: { invoiceId } });

  await outbox.run();
  deepEqual(post.got.map(({ subject }) => subject.invoiceId), [two]);
  equal(await app.count(keys.outboxEvents), 2);
  isBroken = false;
  await outbox.run();

  equal(post.got.length, 3);
  deepEqual(await left(app), NOTHING);
});

Deno.test("stop() returns messages that were not attempted, and waits for attempts in progress", async () => {
  await using app = await startApp();
  const post = newPost();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  post.answer = () => released.then(() => TAKEN);
  const outbox = newOutbox(app.services, post);
  outbox.start();
  await Promise.all(Array.from({ length: 10 }, () => happen(app.services)));
  await until(() => post.got.length >= POLICY.atOnce);

  const stopping = outbox.stop(5_000);
  release();
  await stopping;

  equal(await app.count(keys.messagesDone), POLICY.atOnce);
  equal(await app.count(keys.outboxDues), 10 - POLICY.atOnce);
  await newOutbox(app.services, newPost()).run();
  deepEqual(await left(app), NOTHING);
});

Deno.test("a commit that writes an event wakes a started outbox of its process, and no other", async () => {
  await using app = await startApp();
  const post = newPost();
  const outbox = newOutbox(app.services, post);
  await happen(app.services);
  equal(await app.count(keys.outboxEvents), 1);
  outbox.start();
  equal(post.got.length, 0);

  await happen(app.services);

  await until(async () => await app.count(keys.messagesDone) === 2);
  await outbox.stop(5_000);
  deepEqual(await left(app), NOTHING);
});

Deno.test("messageIdOf() is an id of the event's time, the same for the same destination only", () => {
  const id = newId(Date.UTC(2026, 1, 1));
  const message = { kind: "email", type: "lead.created", to: "client", lane: "" } as const;

  const first = messageIdOf(id, message);

  ok(isId(first));
  equal(first.slice(0, 13), id.slice(0, 13));
  equal(messageIdOf(id, { ...message, lane: "other" }), first);
  for (const other of [{ to: "shop" }, { type: "lead.received" }, { kind: "alert" as const }]) {
    ok(messageIdOf(id, { ...message, ...other }) !== first);
  }
});

Deno.test("afterAttempt() ends every message within its policy's time", () => {
  const message = newMessage(
    { id: newId(1), at: "", subject: {}, data: {} },
    { kind: "email", type: "t", to: "client", lane: "" },
    0,
  );
  fc.assert(
    fc.property(fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })), (chance) => {
      let [now, attempts] = [0, 0];
      let current = message;
      while (current.status === "pending") {
        now = current.dueAt;
        attempts++;
        current = afterAttempt({ ...current, attempts }, BUSY, {
          policy: MAIL_POLICY,
          now,
          random: () => chance.next().value,
        });
        ok(current.status !== "pending" || current.dueAt > now);
      }
      equal(current.status, "dead");
      ok(now >= 11 * HOUR_MS && now <= DAY_MS, `${now}`);
    }),
  );
});

Deno.test("backoffOf() is between half and all of the wait, and ends", () => {
  for (const chance of [0, 0.5, 0.999]) {
    for (const [i, most] of POLICY.backoffMs.entries()) {
      const wait = backoffOf(POLICY, i + 1, () => chance)!;
      ok(wait >= most / 2 && wait <= most);
    }
    equal(backoffOf(POLICY, POLICY.backoffMs.length + 1, () => chance), null);
  }
});

Deno.test("deliverOutbox() measures what is left, and deletes messages that were dead for 90 days", async () => {
  await using app = await startApp();
  const post = newPost();
  post.answer = ({ to }) => to === "a" ? REFUSED : BUSY;
  await happen(app.services);
  const outbox = newOutbox(app.services, post, (event) => [hook("a")(event), hook("b")(event)]);
  const services = { ...app.services, outbox };
  await outbox.run();
  app.advance(5 * MINUTE_MS);

  deepEqual(await measureOutbox(app.services), { waiting: 1, overdueMs: 240_030, dead: 1 });
  await app.services.alerts.close();
  app.advance(90 * DAY_MS);
  post.answer = () => TAKEN;
  await deliverOutbox(services);

  equal((await measureOutbox(app.services)).dead, 0);
});
