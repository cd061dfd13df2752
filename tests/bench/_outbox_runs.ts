/**
 * Runs of the outbox over queued events, counted and timed.
 *
 * @module
 */
import type { Services } from "../../lib/app/mod.ts";
import { openServices } from "../../lib/app/open.ts";
import { readConfig } from "../../lib/config/mod.ts";
import type { KvPort } from "../../lib/kv/store.ts";
import { MAIL_POLICY } from "../../lib/mail/mod.ts";
import { openLog } from "../../lib/telemetry/mod.ts";
import { HOUR_MS } from "../../lib/time.ts";
import { happen, newOutbox, newPost, REFUSED, TAKEN } from "../support/program/outbox.ts";

/** A run, and what it asked of the store. */
export interface OutboxRun {
  name: string;
  seconds: number;
  reads: number;
  lists: number;
  commits: number;
  peakBytes: number;
}

type Calls = Pick<OutboxRun, "reads" | "lists" | "commits">;

/** A destination answers after so many milliseconds. */
const ANSWER_MS = 2;
const EVENTS_AT_ONCE = 500;
const SAMPLE_MS = 20;

async function runAll(
  { kvPath, messages }: { kvPath: string; messages: number },
): Promise<OutboxRun[]> {
  const calls: Calls = { reads: 0, lists: 0, commits: 0 };
  let later = 0;
  const services = await openServices(readConfig({ APP_ENV: "test", KV_PATH: kvPath }), {
    log: openLog({ level: "error", format: "json", write: () => {} }),
    clock: () => Date.now() + later,
    random: Math.random,
    wrapKv: (kv) => counted(kv, calls),
  });
  const post = newPost();
  const policy = { ...MAIL_POLICY, timeoutMs: 5_000 };
  const messagesOf = ({ type }: { type: string }) => [
    { kind: "email", type, to: "client", lane: "" } as const,
  ];
  const run = async (name: string, expected: { sent?: number; dead?: number }) => {
    post.got.length = 0;
    const outbox = newOutbox(services, post, messagesOf, policy);
    const measured = await measure(calls, () => outbox.run());
    const { sent, dead, ...costs } = measured;
    if (sent !== (expected.sent ?? 0) || dead !== (expected.dead ?? 0)) {
      throw new Error(`${name}: ${sent} sent, ${dead} dead`);
    }
    return { name, ...costs };
  };

  const runs: OutboxRun[] = [];
  await queue(services, messages);
  post.answer = slowly(() => TAKEN);
  runs.push(await run("sent", { sent: messages }));

  await queue(services, messages);
  post.answer = slowly(() => REFUSED);
  runs.push(await run("refused", { dead: messages }));

  await queue(services, messages);
  post.answer = () => ({ state: "failed", reason: "no connection", isLaneDown: true });
  runs.push(await run("queued while down", {}));
  post.answer = slowly(() => TAKEN);
  later += HOUR_MS;
  runs.push(await run("sent when up", { sent: messages }));
  await services.store.close();
  return runs;
}

async function measure(
  calls: Calls,
  run: () => Promise<{ sent: number; dead: number }>,
): Promise<Omit<OutboxRun, "name"> & { sent: number; dead: number }> {
  Object.assign(calls, { reads: 0, lists: 0, commits: 0 });
  let peakBytes = 0;
  const sample = () => peakBytes = Math.max(peakBytes, Deno.memoryUsage().rss);
  const timer = setInterval(sample, SAMPLE_MS);
  const startedAt = performance.now();
  const { sent, dead } = await run();
  const seconds = (performance.now() - startedAt) / 1_000;
  clearInterval(timer);
  sample();
  return { seconds, ...calls, peakBytes, sent, dead };
}

async function queue(services: Services, messages: number): Promise<void> {
  for (let queued = 0; queued < messages; queued += EVENTS_AT_ONCE) {
    const size = Math.min(EVENTS_AT_ONCE, messages - queued);
    await Promise.all(Array.from({ length: size }, () => happen(services)));
  }
}

function slowly<T>(answer: () => T): () => Promise<T> {
  return () => new Promise((done) => setTimeout(() => done(answer()), ANSWER_MS));
}

function counted(kv: KvPort, calls: Calls): KvPort {
  return {
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
  };
}

if (import.meta.main) console.log(JSON.stringify(await runAll(JSON.parse(Deno.args[0]!))));
