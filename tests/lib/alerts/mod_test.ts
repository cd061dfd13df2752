/**
 * One alert and one recovery per incident, however many instances see it, at real receivers.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { openAlertChannels } from "../../../lib/alerts/channels.ts";
import { FLAP_MS } from "../../../lib/alerts/incidents.ts";
import {
  type Alert,
  listIncidents,
  raiseAlert,
  resolveAlert,
  settleAlerts,
} from "../../../lib/alerts/mod.ts";
import { encode } from "../../../lib/kv/codec.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Log } from "../../../lib/telemetry/mod.ts";
import { DAY_MS, MINUTE_MS, SECOND_MS } from "../../../lib/time.ts";
import {
  type Instances,
  type InstancesOptions,
  START,
  startInstances,
} from "../../support/processes/instances.ts";
import {
  startWebhookReceiver,
  type WebhookReceiver,
} from "../../support/servers/webhook_receiver.ts";

const ALERT: Alert = {
  name: "job_failed:backup",
  severity: "warning",
  title: "The job backup failed",
  detail: "Error: no space left for asha@example.com",
  quietMs: null,
};

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Instances that notify these receivers, in the format of Slack. */
function startNotifying(
  receivers: WebhookReceiver[],
  options: InstancesOptions = {},
): Promise<Instances> {
  const channels = openAlertChannels({
    webhooks: receivers.map(({ url }) => ({ format: "slack", url })),
    mailServer: undefined,
    mailFrom: undefined,
    shopEmail: undefined,
    system: "test",
    log: SILENT,
  });
  return startInstances({ channels, ...options });
}

/** The first lines of what a receiver got. */
function headlines({ received }: WebhookReceiver): string[] {
  return received.map(({ text }) => text.split("\n")[0]);
}

const RAISED = "[WARNING] The job backup failed";
const RECOVERED = "[RECOVERED] The job backup failed";

Deno.test("50 raises at once on 3 instances are one alert, and one recovery", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver], { count: 3 });
  const services = Array.from({ length: 50 }, (_, i) => instances.all[i % 3]!.services);

  await Promise.all(services.map((each) => raiseAlert(each, ALERT)));
  await instances.notified();
  deepEqual(headlines(receiver), [RAISED]);
  instances.advance(12 * MINUTE_MS);
  await Promise.all(services.map((each) => resolveAlert(each, ALERT.name)));
  await instances.notified();

  deepEqual(headlines(receiver), [RAISED, RECOVERED]);
  match(receiver.received[1].text, /Lasted 12 min, from 2026-06-15 09:00:00 UTC/);
  const [incident, ...others] = await listIncidents(instances.services);
  deepEqual(others, []);
  equal(incident!.openedAt, new Date(START).toISOString());
  equal(incident!.resolvedAt, new Date(START + 12 * MINUTE_MS).toISOString());
  ok(incident!.notifiedAt !== null);
  equal(instances.events("alert.raised").length, 1);
  equal(instances.events("alert.resolved").length, 1);
  ok(!instances.logLines.join().includes("asha@example.com"));
  ok(!JSON.stringify(receiver.received).includes("asha"));
});

Deno.test("an alert raised again is counted, with one commit a minute", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver]);
  const { services } = instances;
  const { kv } = instances.at(0);
  await raiseAlert(services, ALERT);
  await instances.notified();
  const before = kv.commits.length;

  for (let minute = 0; minute < 3; minute++) {
    instances.advance(MINUTE_MS);
    for (let i = 0; i < 100; i++) await raiseAlert(services, ALERT);
  }

  equal(kv.commits.length - before, 3);
  await resolveAlert(services, ALERT.name);
  await instances.notified();
  const [incident] = await listIncidents(services);
  equal(incident!.count, 301);
  equal(incident!.lastSeenAt, new Date(START + 3 * MINUTE_MS).toISOString());
  deepEqual(headlines(receiver), [RAISED, RECOVERED]);
});

Deno.test("resolveAlert() of a name that was never raised costs one read and notifies nobody", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver]);
  const { kv } = instances.at(0);

  await resolveAlert(instances.services, ALERT.name);
  await instances.notified();

  equal(kv.reads, 1);
  equal(kv.commits.length, 0);
  deepEqual(receiver.received, []);
});

Deno.test("a receiver that fails twice is notified by the third attempt", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver], { timeoutMs: 200 });
  receiver.moods = [{ status: 500 }, "hang", { status: 200 }];

  await raiseAlert(instances.services, ALERT);
  await instances.notified();

  deepEqual(headlines(receiver), [RAISED, RAISED, RAISED]);
  const [incident] = await listIncidents(instances.services);
  ok(incident!.notifiedAt !== null);
  deepEqual(instances.events("alert.undelivered"), []);
});

Deno.test("a receiver that is down, slow or broken does not delay raiseAlert()", async () => {
  for (const mood of ["hang", { status: 500 }, { status: 404 }] as const) {
    await using receiver = startWebhookReceiver();
    receiver.moods = [mood];
    await using instances = await startNotifying([receiver], { timeoutMs: 300 });

    await raiseAlert(instances.services, ALERT);

    // The delivery is still in progress.
    deepEqual(instances.events("alert.undelivered"), []);
    await instances.notified();
    equal(receiver.received.length, mood !== "hang" && mood.status === 404 ? 1 : 3);
    const [undelivered] = instances.events("alert.undelivered");
    match(String(undelivered!.channel), /^slack 127\.0\.0\.1:\d+$/);
    ok(!instances.logLines.join().includes("secret"));
  }
});

Deno.test("a notification that no channel accepted is delivered later, by any instance, once", async () => {
  await using receiver = startWebhookReceiver();
  receiver.moods = [{ status: 404 }];
  await using instances = await startNotifying([receiver], { count: 3 });
  await raiseAlert(instances.services, ALERT);
  await instances.notified();
  receiver.received.length = 0;

  await instances.deliver();
  deepEqual(headlines(receiver), [RAISED]);
  receiver.moods = [];
  for (let minute = 0; minute < 6; minute++) {
    instances.advance(MINUTE_MS);
    await Promise.all(instances.all.map(({ services }) => settleAlerts(services)));
    await instances.deliver();
    await instances.notified();
  }

  deepEqual(headlines(receiver), [RAISED, RAISED]);
});

Deno.test("a notification that no channel accepts for a day is dead-lettered after a few attempts", async () => {
  await using receiver = startWebhookReceiver();
  receiver.moods = [{ status: 404 }];
  await using instances = await startNotifying([receiver]);
  const { services } = instances;
  await raiseAlert(services, ALERT);
  await instances.notified();

  for (let quarter = 0; quarter < 50 * 4; quarter++) {
    instances.advance(15 * MINUTE_MS);
    await settleAlerts(services);
    await instances.deliver();
    await instances.notified();
  }

  const tried = headlines(receiver).filter((headline) => headline === RAISED).length;
  ok(tried >= 8 && tried <= 20, `${tried}`);
  const dead = await services.store.list(keys.messagesDead, { limit: 10 });
  ok(dead.length >= 1);
});

Deno.test("a notification that one of two channels accepted is delivered to the other when it recovers", async () => {
  await using receiver = startWebhookReceiver();
  await using broken = startWebhookReceiver();
  broken.moods = [{ status: 404 }];
  await using instances = await startNotifying([receiver, broken]);

  await raiseAlert(instances.services, ALERT);
  await instances.notified();
  instances.advance(2 * MINUTE_MS);
  deepEqual(await settleAlerts(instances.services), { resolved: 0, notified: 0 });
  broken.moods = [];
  broken.received.length = 0;
  await instances.deliver();

  deepEqual(headlines(receiver), [RAISED]);
  deepEqual(headlines(broken), [RAISED]);
});

Deno.test("a superseded notification is not delivered by the outbox", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver]);
  const { services } = instances;
  receiver.moods = [{ status: 404 }, { status: 200 }];
  await raiseAlert(services, ALERT);
  await instances.notified();
  instances.advance(20 * MINUTE_MS);
  await resolveAlert(services, ALERT.name);
  await instances.notified();
  deepEqual(headlines(receiver), [RAISED, RECOVERED]);

  await instances.deliver();

  equal(receiver.received.length, 2);
  deepEqual(await services.store.list(keys.messages, { limit: 10 }), []);
});

Deno.test("a notification that a killed instance did not send is sent by another", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver], { count: 2 });
  const [killed, other] = [instances.at(0), instances.at(1)];
  // Killed after the commit that opens the incident.
  killed.services.alerts.inBackground = () => {};

  await raiseAlert(killed.services, ALERT);
  instances.advance(2 * MINUTE_MS);
  const settled = await settleAlerts(other.services);
  await instances.notified();

  deepEqual(settled, { resolved: 0, notified: 1 });
  deepEqual(headlines(receiver), [RAISED]);
});

Deno.test("a flapping incident is notified twice, and then only after ten quiet minutes", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver], { count: 2 });
  const { services } = instances;
  const { services: other } = instances.at(1);
  for (let i = 0; i < 20; i++) {
    await raiseAlert(services, ALERT);
    await instances.notified();
    instances.advance(MINUTE_MS);
    await resolveAlert(other, ALERT.name);
    await instances.notified();
    instances.advance(MINUTE_MS);
  }
  deepEqual(headlines(receiver), [RAISED, RECOVERED, RAISED]);

  instances.advance(FLAP_MS - 2 * MINUTE_MS - 1);
  await settleAlerts(other);
  await instances.notified();
  equal(receiver.received.length, 3);
  instances.advance(1);
  await Promise.all([settleAlerts(services), settleAlerts(other)]);
  await instances.notified();

  deepEqual(headlines(receiver), [RAISED, RECOVERED, RAISED, RECOVERED]);
});

Deno.test("an alert with a quiet period is resolved after it, over all instances", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver], { count: 2 });
  const { services } = instances;
  const { services: other } = instances.at(1);
  const alert = { ...ALERT, quietMs: 10 * MINUTE_MS };
  await raiseAlert(services, alert);
  await instances.notified();
  for (let minute = 0; minute < 15; minute++) {
    instances.advance(MINUTE_MS);
    await raiseAlert(other, alert);
    await settleAlerts(services);
    await instances.notified();
  }
  deepEqual(headlines(receiver), [RAISED]);

  for (let minute = 0; minute < 11; minute++) {
    instances.advance(MINUTE_MS);
    await Promise.all([settleAlerts(services), settleAlerts(other)]);
    await instances.notified();
  }

  deepEqual(headlines(receiver), [RAISED, RECOVERED]);
  match(receiver.received[1].text, /Lasted 25 min/);
});

Deno.test("while the store is down each instance notifies once, and once of the recovery", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver], { count: 2 });
  const alert = { ...ALERT, quietMs: 3 * MINUTE_MS };
  for (const { kv } of instances.all) {
    kv.readFault = () => "error";
    kv.commitFault = () => "lost-before";
  }

  for (let minute = 0; minute < 4; minute++) {
    await Promise.all(
      instances.all.flatMap(({ services }) =>
        Array.from({ length: 10 }, () => raiseAlert(services, alert))
      ),
    );
    instances.advance(MINUTE_MS);
  }
  await instances.notified();
  deepEqual(headlines(receiver), [RAISED, RAISED]);

  for (const { kv } of instances.all) kv.heal();
  for (let minute = 0; minute < 4; minute++) {
    for (const { services } of instances.all) await settleAlerts(services);
    await instances.notified();
    instances.advance(MINUTE_MS);
  }

  deepEqual(headlines(receiver), [RAISED, RAISED, RECOVERED, RECOVERED]);
  match(receiver.received[2].text, /; seen (?:3\d|40) times/);
  deepEqual(await listIncidents(instances.services), []);
});

Deno.test("an alert notified while the store was down is not notified again when it is stored", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver]);
  const { services } = instances;
  const { kv } = instances.at(0);
  kv.readFault = () => "error";
  await raiseAlert(services, ALERT);
  kv.heal();

  instances.advance(MINUTE_MS);
  await raiseAlert(services, ALERT);
  instances.advance(2 * MINUTE_MS);
  await settleAlerts(services);
  await instances.notified();
  deepEqual(headlines(receiver), [RAISED]);
  const [incident] = await listIncidents(services);
  equal(incident!.openedAt, new Date(START).toISOString());
  equal(incident!.count, 2);
  await resolveAlert(services, ALERT.name);
  await instances.notified();

  deepEqual(headlines(receiver), [RAISED, RECOVERED]);
});

Deno.test("a commit whose reply is lost opens one incident, notified once", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver]);
  const { kv } = instances.at(0);
  kv.commitFault = ({ count }) => count === 1 ? "lost-after" : "ok";

  await raiseAlert(instances.services, ALERT);
  await instances.notified();

  deepEqual(headlines(receiver), [RAISED]);
  equal((await listIncidents(instances.services))[0]!.count, 1);
});

/** Replaces the stored incident by what an earlier version stored: two fields had other names. */
async function storeInOldForm(instances: Instances): Promise<void> {
  const { services } = instances;
  const key = keys.incident(ALERT.name);
  const { notifiedAt, notifyingUntil, ...fields } = (await services.store.get(key))!;
  const old = { ...fields, toldAt: notifiedAt, tellingUntil: notifyingUntil };
  await instances.at(0).kv.atomic().set(key, encode(old)).commit();
}

Deno.test("an incident stored by an earlier version is recovered, and not notified a second time", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver]);
  const { services } = instances;
  await raiseAlert(services, ALERT);
  await instances.notified();
  await storeInOldForm(instances);

  instances.advance(2 * MINUTE_MS);
  const settled = await settleAlerts(services);
  await raiseAlert(services, ALERT);
  await instances.notified();
  deepEqual(settled, { resolved: 0, notified: 0 });
  deepEqual(headlines(receiver), [RAISED]);
  await storeInOldForm(instances);
  await resolveAlert(services, ALERT.name);
  await instances.notified();

  deepEqual(headlines(receiver), [RAISED, RECOVERED]);
  const stored = await services.store.get(keys.incident(ALERT.name));
  ok(stored!.notifiedAt !== null);
  deepEqual(Object.keys(stored!).filter((name) => /told|telling/.test(name)), []);
});

Deno.test("an incident stored by an earlier version before it was notified is notified once", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver]);
  const { services } = instances;
  services.alerts.inBackground = () => {};
  await raiseAlert(services, ALERT);
  Reflect.deleteProperty(services.alerts, "inBackground");
  await storeInOldForm(instances);

  const early = await settleAlerts(services);
  instances.advance(2 * MINUTE_MS);
  const due = await settleAlerts(services);
  await instances.notified();
  await settleAlerts(services);
  await instances.notified();

  deepEqual([early.notified, due.notified], [0, 1]);
  deepEqual(headlines(receiver), [RAISED]);
});

Deno.test("an incident that was not raised or resolved for 30 days opens again", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver]);
  await raiseAlert(instances.services, ALERT);

  instances.advance(30 * DAY_MS);
  await raiseAlert(instances.services, ALERT);
  await instances.notified();

  deepEqual(headlines(receiver), [RAISED, RAISED]);
});

Deno.test("incidents are volatile: they are neither logged nor backed up", async () => {
  await using instances = await startInstances();

  await raiseAlert(instances.services, ALERT);
  await instances.notified();

  const { kv } = instances.at(0);
  const prefixes = new Set(kv.commits.flatMap(({ keys }) => keys.map(([first]) => first)));
  deepEqual([...prefixes].sort(), ["head", "incident", "op"]);
});

Deno.test("close() waits for deliveries in progress, and flush() at most for its time", async () => {
  await using receiver = startWebhookReceiver();
  await using instances = await startNotifying([receiver], { timeoutMs: SECOND_MS });
  receiver.moods = ["hang", { status: 200 }];
  await raiseAlert(instances.services, ALERT);
  const startedAt = performance.now();

  await instances.services.alerts.flush(50);
  const flushedMs = performance.now() - startedAt;
  await instances.services.alerts.close();

  ok(flushedMs < 500, `${flushedMs}`);
  ok((await listIncidents(instances.services))[0]!.notifiedAt !== null);
});
