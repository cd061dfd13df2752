/**
 * Processes of the shop are killed while people pay: what the gateways took is what
 * the books say, once an instance lives on. Real processes on one store, real calls
 * to the simulated gateways and from them, and SIGKILL. `PAYMENT_KILLS` is the
 * number of rounds.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { readConfig } from "../../lib/config/mod.ts";
import { sweep } from "../../lib/integrity/mod.ts";
import * as keys from "../../lib/kv/keys.ts";
import { openLog } from "../../lib/telemetry/mod.ts";
import { resolvePayment } from "../../lib/payments/operators.ts";
import type { Payment } from "../../lib/payments/mod.ts";
import { reconcile } from "../../lib/payments/reconcile.ts";
import { openServices } from "../../lib/app/open.ts";
import type { Services } from "../../lib/app/mod.ts";
import { DAY_MS } from "../../lib/time.ts";
import { TESTER } from "../support/program/app.ts";
import { campaignSize } from "../support/program/campaign.ts";
import { PATIENT } from "../support/store/deadlines.ts";
import { newSeed, seededRandom } from "../support/store/faulty_kv.ts";
import { azampayVariables } from "../support/gateways/azampay_shop.ts";
import { AzamPaySimulator } from "../support/gateways/azampay_simulator.ts";
import { PesapalSimulator } from "../support/gateways/pesapal_simulator.ts";
import { bookedMinor, trueMinor } from "../support/gateways/money_truth.ts";
import { type ServerProcess, startServer } from "../support/processes/server_process.ts";
import { newKvFile } from "../support/program/shop.ts";
import { Relay } from "../support/program/till.ts";
import { until } from "../support/program/until.ts";

const ROUNDS = campaignSize("PAYMENT_KILLS", { everyday: 2, soak: 100 });
const KEY = "kills-operator-key-0123456789";

/** Everything that lives on when a process is killed. */
interface Street {
  pesapal: PesapalSimulator;
  azampay: AzamPaySimulator;
  relay: Relay;
}

/** Bills and pays at one server until it is gone; `onPaid` is called after each payment. */
async function trade(
  { url }: ServerProcess,
  { pesapal, azampay }: Street,
  { name, random, onPaid }: { name: string; random: () => number; onPaid: () => void },
): Promise<void> {
  const post = async (path: string, body: unknown) => {
    for (;;) {
      const answer = await fetch(url + path, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${KEY}` },
        body: JSON.stringify(body),
      });
      const answered = await answer.json();
      // A busy machine may be slower than the store's deadlines.
      if (answer.status !== 503) return answered;
    }
  };
  try {
    const email = `${name}@example.com`;
    const { client } = await post("/api/v2/leads", {
      name,
      email,
      phone: "0712345678",
      message: "x",
    });
    for (;;) {
      const lines = [{ description: "Work", quantity: 1, unitMinor: 5_000_00 }];
      const invoice = await post("/api/v2/invoices", { clientId: client.id, lines });
      const isPhone = random() < 0.4;
      const how = isPhone ? { gateway: "azampay", provider: "Mpesa" } : { gateway: "pesapal" };
      const payment: Payment = await post(`/api/v2/invoices/${invoice.id}/checkout`, how);
      const ipnTimes = Math.floor(random() * 3);
      // Their calls find nobody where the process is killed meanwhile, which is nothing to payers.
      if (isPhone) {
        azampay.push(payment.id).approve({ times: ipnTimes }).catch(() => {});
      } else if (payment.redirectUrl !== null) {
        pesapal.order(payment.id)[random() < 0.8 ? "complete" : "fail"]({ ipnTimes })
          .catch(() => {});
      }
      onPaid();
      if (random() < 0.3) {
        const refund = { paymentId: payment.id, amountMinor: 5_000_00, reason: "x" };
        await post(`/api/v2/invoices/${invoice.id}/refunds`, refund);
      }
    }
  } catch {
    // It has been killed.
  }
}

/** Runs two processes on one store until both are killed. */
async function round(
  kvPath: string,
  env: Record<string, string>,
  street: Street,
  { name, random }: { name: string; random: () => number },
): Promise<void> {
  const servers = await Promise.all([0, 1].map(() => startServer({ kvPath, env })));
  street.relay.target = servers[1]!.url;
  const paid = servers.map(() => 0);
  const trading = servers.map((server, i) =>
    trade(server, street, { name: `${name}-${i}`, random, onPaid: () => paid[i]!++ })
  );
  for (const [i, server] of servers.entries()) {
    await until(() => paid[i]! > 2);
    await new Promise((done) => setTimeout(done, 150 + random() * 500));
    server.kill("SIGKILL");
  }
  await Promise.all([...trading, ...servers.map(({ ended }) => ended)]);
}

/** All payments there are. */
async function paymentsOf({ store }: Services): Promise<Payment[]> {
  return (await store.list(keys.payments, { limit: 100_000 })).map(({ value }) => value);
}

Deno.test(`what gateways took is what the books say, through ${ROUNDS} rounds of kill -9 of two processes`, async () => {
  await using file = await newKvFile();
  let later = 0;
  const clock = () => Date.now() + later;
  await using pesapal = await PesapalSimulator.start({ clock });
  await using azampay = await AzamPaySimulator.start({ clock });
  await using relay = new Relay();
  azampay.callbackUrl = `${relay.url}/payments/azampay/callback`;
  const street = { pesapal, azampay, relay };
  const env = {
    ...{ PUBLIC_URL: relay.url, BOOTSTRAP_API_KEY: KEY, STORAGE_URL: "" },
    ...pesapal.environment,
    ...azampayVariables(azampay),
  };
  const seed = newSeed("payment kills");
  const random = seededRandom(seed);

  for (let i = 0; i < ROUNDS; i++) {
    await round(file.path, env, street, { name: `round-${i}`, random });
  }

  // One instance that lives, for months.
  const config = readConfig({ APP_ENV: "test", KV_PATH: file.path, PORT: "0", ...env });
  const services = await openServices(config, {
    log: openLog({ level: "error", format: "json", write: () => {} }),
    clock,
    random: Math.random,
    deadlines: PATIENT,
  });
  // A person at Pesapal grants the refunds that it was asked for.
  for (const order of pesapal.orders) {
    if (order.refundAsked !== null && order.code === 1) await order.reverse({ ipnTimes: 0 });
  }
  const run = async () => {
    for (let day = 0; day < 140; day += day < 9 ? 1 : 10) {
      later += (day < 9 ? 1 : 10) * DAY_MS;
      await reconcile(services, { budgetMs: 60_000, limit: 100_000 }, TESTER);
    }
  };
  await run();
  for (const { id, status, channel, amountMinor } of await paymentsOf(services)) {
    if (status !== "needs_review") continue;
    equal(channel, "azampay");
    const outcome = trueMinor(street, id) > 0 ? "completed" : "failed";
    const decision = { outcome, amountMinor, reference: id, reason: "Seen" } as const;
    await resolvePayment(services, id, decision, TESTER);
  }

  const payments = await paymentsOf(services);
  const context = `seed ${seed}, ${payments.length} payments`;
  const wrong = payments.filter((payment) => bookedMinor(payment) !== trueMinor(street, payment.id))
    // Asked for just before the kill, and never heard of at Pesapal: for an operator to find out.
    .map(({ id, channel, status, problem }) => [id, channel, status, problem]);
  const open = payments.filter(({ status }) => status === "created" || status === "pending");
  const events = (await services.store.list(keys.outboxEvents, { limit: 100_000 }))
    .filter(({ value }) => value.type === "payment.completed")
    .map(({ value }) => value.subject.paymentId);
  const { findings } = await sweep(services);
  const known = new Set(payments.map(({ id }) => id));
  const unknown = [
    ...pesapal.money.map(({ reference }) => reference),
    ...azampay.paid.map(({ externalId }) => externalId),
  ]
    .filter((reference) => !known.has(reference));
  await services.store.close();
  deepEqual([wrong, open, unknown, findings], [[], [], [], []], context);
  equal(new Set(events).size, events.length, context);
  ok(payments.filter(({ status }) => status === "completed").length > ROUNDS, context);
  console.log(context, pesapal.money.length, azampay.paid.length);
});
