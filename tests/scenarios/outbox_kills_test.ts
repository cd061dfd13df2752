/**
 * Whatever is killed, and whenever: of every enquiry that was acknowledged the
 * mail goes out. Real processes on one store, a real socket to a mail server, and
 * SIGKILL. `OUTBOX_KILLS` is the number of cycles.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { readConfig } from "../../lib/config/mod.ts";
import { sweep } from "../../lib/integrity/mod.ts";
import * as keys from "../../lib/kv/keys.ts";
import { openLog } from "../../lib/telemetry/mod.ts";
import { openServices } from "../../lib/app/open.ts";
import { DAY_MS, HOUR_MS } from "../../lib/time.ts";
import { campaignSize } from "../support/program/campaign.ts";
import { PATIENT } from "../support/store/deadlines.ts";
import { newSeed, seededRandom } from "../support/store/faulty_kv.ts";
import { type MoodySmtp, startMoodySmtp } from "../support/servers/moody_smtp.ts";
import { type ServerProcess, startServer } from "../support/processes/server_process.ts";
import { newKvFile } from "../support/program/shop.ts";
import { until } from "../support/program/until.ts";

/** The third cycle is the first in which the server takes mail without a reply. */
const CYCLES = campaignSize("OUTBOX_KILLS", { everyday: 3, soak: 300 });

/** Sends enquiries until the server is gone, and adds the ids of those that it acknowledged. */
async function enquire(
  { url }: ServerProcess,
  name: string,
  acknowledged: string[],
): Promise<void> {
  for (let i = 0;; i++) {
    try {
      const answer = await fetch(`${url}/api/v2/leads`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ name, email: `${name}-${i}@example.com`, message: "Habari" }),
      });
      const { lead } = await answer.json();
      if (answer.status === 201) acknowledged.push(lead.id);
    } catch {
      return;
    }
  }
}

/** Runs two processes on one store until both are killed. @returns The leads that were acknowledged */
async function cycle(
  kvPath: string,
  smtp: MoodySmtp,
  { name, random }: { name: string; random: () => number },
): Promise<string[]> {
  const env = {
    MAIL_URL: `smtp://127.0.0.1:${smtp.port}`,
    MAIL_FROM: "shop@example.com",
    STORAGE_URL: "",
  };
  const servers = await Promise.all([0, 1].map(() => startServer({ kvPath, env })));
  const acknowledged = servers.map((): string[] => []);
  const enquiries = servers.map((server, i) => enquire(server, `${name}-${i}`, acknowledged[i]!));
  for (const [i, server] of servers.entries()) {
    await until(() => acknowledged[i]!.length > 0);
    await new Promise((done) => setTimeout(done, 50 + random() * 350));
    server.kill("SIGKILL");
  }
  await Promise.all(servers.map(({ ended }) => ended));
  await Promise.all(enquiries);
  return acknowledged.flat();
}

Deno.test(`of every acknowledged enquiry the mail is sent, through ${CYCLES} rounds of kill -9 of two processes`, async () => {
  await using file = await newKvFile();
  await using smtp = startMoodySmtp();
  const seed = newSeed("outbox kills");
  const random = seededRandom(seed);
  const acknowledged: string[] = [];

  for (let i = 0; i < CYCLES; i++) {
    // In some rounds the server takes mail, and is gone before it says so.
    smtp.mood = i % 3 === 2 ? "drop after data" : "take";
    acknowledged.push(...await cycle(file.path, smtp, { name: `round-${i}`, random }));
  }

  // One instance that lives, long after all leases.
  smtp.mood = "take";
  let later = HOUR_MS;
  const config = readConfig({
    ...{ APP_ENV: "test", KV_PATH: file.path, PORT: "0", MAIL_FROM: "shop@example.com" },
    MAIL_URL: `smtp://127.0.0.1:${smtp.port}`,
  });
  const services = await openServices(config, {
    log: openLog({ level: "error", format: "json", write: () => {} }),
    clock: () => Date.now() + later,
    random: Math.random,
    deadlines: PATIENT,
  });
  for (; later < 2 * DAY_MS; later += 3 * HOUR_MS) await services.outbox.run();

  const { store } = services;
  const done = (await store.list(keys.messagesDone, { limit: 100_000 })).map(({ value }) => value);
  const undone = await store.list(keys.messages, { limit: 10 });
  const { findings } = await sweep(services);
  await services.store.close();
  const told = new Set(done.map(({ subject }) => subject.leadId));
  const lost = acknowledged.filter((id) => !told.has(id));
  const taken = new Set(smtp.taken);
  const untaken = done.filter(({ id }) => !taken.has(`<${id}@example.com>`));
  const context = `seed ${seed}, ${acknowledged.length} leads, ${smtp.taken.length} mails`;
  deepEqual([lost, untaken, undone, findings], [[], [], [], []], context);
  ok(done.every(({ status }) => status === "sent"), context);
  ok(acknowledged.length > CYCLES, context);
  // Every mail that came is of a message: whatever came twice is known for a repeat.
  equal(taken.size, done.length, context);
  console.log(context, `${taken.size} of them different`);
});
