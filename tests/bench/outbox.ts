/**
 * How fast queued messages go out, in how much memory, and what each asks of the
 * store: handed on from events, and from a queue that stood while a destination
 * was down.
 *
 *   deno run -A tests/bench/outbox.ts [messages]     10,000 by default
 *
 * @module
 */
import { readConfig } from "../../lib/config/mod.ts";
import { openLog } from "../../lib/telemetry/log.ts";
import { MAIL_POLICY } from "../../lib/mail/delivery.ts";
import { openServices } from "../../lib/app/open.ts";
import type { Services } from "../../lib/app/services.ts";
import { DAY_MS, HOUR_MS } from "../../lib/time.ts";
import { happen, newOutbox, newPost, REFUSED, TAKEN } from "../support/program/outbox.ts";

const count = Number(Deno.args[0] ?? 10_000);
const calls = { reads: 0, lists: 0, commits: 0 };

/** A destination that answers after so many milliseconds. */
const ANSWER_MS = 2;

const folder = await Deno.makeTempDir();
let later = 0;
const services: Services = await openServices(
  readConfig({ APP_ENV: "test", KV_PATH: `${folder}/kv`, PORT: "0" }),
  {
    log: openLog({ level: "error", format: "json", write: () => {} }),
    clock: () => Date.now() + later,
    random: Math.random,
    wrapKv: (kv) => ({
      getMany(keys, options) {
        calls.reads++;
        return kv.getMany(keys, options);
      },
      list(selector, options) {
        calls.lists++;
        return kv.list(selector, options);
      },
      atomic() {
        calls.commits++;
        return kv.atomic();
      },
      commitVersionstamp: () => kv.commitVersionstamp(),
      close: () => kv.close(),
    }),
  },
);
const post = newPost();
const policy = { ...MAIL_POLICY, timeoutMs: 5_000 };
const newInstance = () =>
  newOutbox(
    services,
    post,
    ({ type }) => [{ kind: "email", type, to: "client", lane: "" }],
    policy,
  );

console.log(`${count} messages, ${Deno.version.deno}, a destination that takes ${ANSWER_MS} ms`);
await queueEvents();
post.answer = slowly(() => TAKEN);
await measured("handed on and sent", () => newInstance().run());

await queueEvents();
post.answer = slowly(() => REFUSED);
post.got.length = 0;
await measured("handed on and refused", () => newInstance().run());

await queueEvents();
post.answer = () => ({ state: "failed", reason: "no connection", isLaneDown: true });
await measured("handed on to a server that is down", () => newInstance().run());
post.answer = slowly(() => TAKEN);
later += HOUR_MS;
await measured("sent when it is up again", () => newInstance().run());

later += DAY_MS;
await measured("nothing to do", () => newInstance().run(), 1);
await services.store.close();
await Deno.remove(folder, { recursive: true });

async function queueEvents(): Promise<void> {
  for (let sent = 0; sent < count; sent += 500) {
    const size = Math.min(500, count - sent);
    await Promise.all(Array.from({ length: size }, () => happen(services)));
  }
}

function slowly<T>(answer: () => T): () => Promise<T> {
  return () => new Promise((done) => setTimeout(() => done(answer()), ANSWER_MS));
}

async function measured(
  name: string,
  run: () => Promise<{ sent: number; dead: number; events: number }>,
  per = count,
): Promise<void> {
  Object.assign(calls, { reads: 0, lists: 0, commits: 0 });
  let peak = 0;
  const timer = setInterval(() => peak = Math.max(peak, Deno.memoryUsage().rss), 20);
  const startedAt = performance.now();
  const { sent, dead, events } = await run();
  const seconds = (performance.now() - startedAt) / 1_000;
  clearInterval(timer);
  peak = Math.max(peak, Deno.memoryUsage().rss);
  const each = (n: number) => (n / per).toFixed(3);
  console.log(
    `${name}: ${seconds.toFixed(2)} s, ${Math.round(per / seconds)}/s, ` +
      `events ${events}, sent ${sent}, dead ${dead}; per message ${each(calls.reads)} reads, ` +
      `${each(calls.lists)} lists, ${each(calls.commits)} commits; RSS ${peak >> 20} MiB`,
  );
}
