/**
 * The sweep finds damage of the outbox and repairs its indexes, and then all messages
 * are sent.
 */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { newId } from "../../../lib/ids.ts";
import { sweep } from "../../../lib/integrity/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { OutboxMessage } from "../../../lib/kv/outbox_records.ts";
import { repair } from "../../../lib/integrity/repair.ts";
import { DAY_MS } from "../../../lib/time.ts";
import { TESTER } from "../../support/program/app.ts";
import { type Books, openBooks } from "../../support/program/books.ts";
import { alter, line, NOBODY } from "../../support/store/damage.ts";
import { BUSY, happen, newOutbox, newPost, REFUSED, TAKEN } from "../../support/program/outbox.ts";

const INVOICE = newId(1);

/** A message with a retry later, one behind it in the same order, and a dead one. */
interface Messages {
  first: OutboxMessage;
  second: OutboxMessage;
  dead: OutboxMessage;
}

async function fillOutbox({ services, get }: Books): Promise<Messages> {
  const post = newPost();
  post.answer = ({ type }) => type === "invoice.voided" ? REFUSED : BUSY;
  const subject = { invoiceId: INVOICE };
  const ids: string[] = [];
  ids.push(await happen(services, { type: "invoice.issued", subject }));
  ids.push(await happen(services, { type: "invoice.paid", subject }));
  ids.push(await happen(services, { type: "invoice.voided" }));
  await newOutbox(services, post).run();
  await services.alerts.close();
  const all = await services.store.list(keys.messages, { limit: 10 });
  const [first, second, dead] = await Promise.all(
    ids.map((id) => get(keys.message(all.find(({ value }) => value.eventId === id)!.value.id))),
  );
  return { first: first!, second: second!, dead: dead! };
}

function dueOf({ lane, dueAt, id }: OutboxMessage): keys.Key<string> {
  return keys.outboxDue(lane, dueAt, id);
}

/** Each kind of damage with its findings and whether it is repaired. */
const DAMAGE: Record<string, (books: Books, messages: Messages) => Promise<string[]>> = {
  "a message that is not among what is due": async (books, { first }) => {
    await books.remove(dueOf(first));
    return [line("message.due_missing", dueOf(first))];
  },
  "a place among what is due without a message": async (books, { first }) => {
    const key = keys.outboxDue(first.lane, first.dueAt, NOBODY);
    await books.put(key, NOBODY);
    return [line("message.due_wrong", key)];
  },
  "a message that is due twice": async (books, { first }) => {
    const key = keys.outboxDue(first.lane, first.dueAt + 1, first.id);
    await books.put(key, first.id);
    return [line("message.due_wrong", key)];
  },
  "a dead message that is not among the dead": async (books, { dead }) => {
    await books.remove(keys.messageDead(dead.id));
    return [line("message.dead_missing", keys.messageDead(dead.id))];
  },
  "an entry among the dead without a message": async (books) => {
    await books.put(keys.messageDead(NOBODY), NOBODY);
    return [line("message.dead_wrong", keys.messageDead(NOBODY))];
  },
  "an order with a message that is not there": async (books, { first, second }) => {
    const key = keys.messageOrder(INVOICE);
    const queue = [first, second].map(({ id, dueAt }) => ({ id, dueAt }));
    await books.put(key, { [first.lane]: [...queue, { id: NOBODY, dueAt: 0 }] });
    return [line("message.order_wrong", key)];
  },
  "an order that has lost its messages": async (books, { second }) => {
    await books.remove(keys.messageOrder(INVOICE));
    return [line("message.due_missing", dueOf(second))];
  },
};

for (const [name, damage] of Object.entries(DAMAGE)) {
  Deno.test(`a sweep finds and repairs ${name}, and all is sent`, async () => {
    await using books = await openBooks();
    const { services } = books;
    const expected = await damage(books, await fillOutbox(books));

    const { findings } = await sweep(services);
    const repaired = await sweep(services, {
      repair: (defect) => repair(services, defect, { sweepId: newId(1), by: TESTER }),
    });
    const after = await sweep(services);

    deepEqual(findings.map(({ check, key }) => `${check} ${key}`), expected);
    deepEqual(repaired.findings, []);
    deepEqual(after.findings, []);
    const post = newPost();
    post.answer = () => TAKEN;
    books.advance(DAY_MS);
    equal((await newOutbox(services, post).run()).sent, 2);
    deepEqual((await sweep(services)).findings, []);
  });
}

Deno.test("a sweep finds a message that is retried for ever, and a malformed one", async () => {
  await using books = await openBooks();
  const { first, dead } = await fillOutbox(books);
  await alter(books, keys.message(first.id), { since: first.dueAt - 30 * DAY_MS });
  await books.put<unknown>(keys.message(dead.id), { id: dead.id });

  const { findings } = await sweep(books.services);

  deepEqual(findings.map(({ check, key }) => `${check} ${key}`).sort(), [
    line("message.tried_too_long", keys.message(first.id)),
    line("value.malformed", keys.message(dead.id)),
  ]);
});
