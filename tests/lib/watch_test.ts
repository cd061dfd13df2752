/**
 * What is watched is raised, and resolved when it is well.
 */
import { deepStrictEqual as deepEqual, match, strictEqual as equal } from "node:assert/strict";
import type { AlertChannel, Notice } from "../../lib/alert_channels.ts";
import type { ErrorContext, ErrorTracker } from "../../lib/error_tracking.ts";
import { MINUTE_MS, SECOND_MS } from "../../lib/time.ts";
import { ErrorRate, noteUnexpected, watch } from "../../lib/watch.ts";
import { type Instances, START, startInstances } from "../support/instances.ts";

/** Keeps what it is told. */
function listener(): { notices: Notice[]; channels: AlertChannel[] } {
  const notices: Notice[] = [];
  const tell = (notice: Notice) => {
    notices.push(notice);
    return Promise.resolve({ isTold: true as const });
  };
  return { notices, channels: [{ name: "listener", tell }] };
}

function said(notices: Notice[]): string[] {
  return notices.map(({ state, name }) => `${name} ${state}`);
}

/** A minute of all instances, as the timetable has it. */
async function minute(instances: Instances): Promise<void> {
  for (const { services, monitor } of instances.all) await watch(services, monitor);
  await instances.told();
  instances.advance(MINUTE_MS);
}

Deno.test("a store that does not answer is raised by each instance, and well after three quiet minutes", async () => {
  const { notices, channels } = listener();
  await using instances = await startInstances({ count: 2, channels });
  await minute(instances);
  equal(notices.length, 0);

  for (const { kv } of instances.all) kv.readFault = () => "hang";
  for (let i = 0; i < 3; i++) await minute(instances);
  deepEqual(said(notices), ["store_unhealthy raised", "store_unhealthy raised"]);
  match(notices[0]!.detail, /does not answer/);
  for (const { kv } of instances.all) kv.heal();
  for (let i = 0; i < 5; i++) await minute(instances);

  deepEqual(said(notices).slice(2), ["store_unhealthy resolved", "store_unhealthy resolved"]);
  equal(notices[0]!.severity, "critical");
});

Deno.test("a store that only one instance cannot reach does not come and go", async () => {
  const { notices, channels } = listener();
  await using instances = await startInstances({ count: 2, channels });
  const one = instances.at(0);
  // It reads, and its probe's write fails: the incident itself is stored.
  one.kv.commitFault = ({ keys: [key] }) => key?.[0] === "probe" ? "lost-before" : "ok";

  for (let i = 0; i < 10; i++) await minute(instances);
  deepEqual(said(notices), ["store_unhealthy raised"]);
  one.kv.heal();
  for (let i = 0; i < 5; i++) await minute(instances);

  deepEqual(said(notices), ["store_unhealthy raised", "store_unhealthy resolved"]);
});

Deno.test("more unexpected errors than usual are raised at once, and well after ten quiet minutes", async () => {
  const reported: ErrorContext[] = [];
  const errorTracker: ErrorTracker = {
    start() {},
    report: (_, context = {}) => void reported.push(context),
    timed() {},
    monitored: (_, run) => run(),
    flush: () => Promise.resolve(),
  };
  const { notices, channels } = listener();
  await using instances = await startInstances({ count: 2, channels, errorTracker, errorsMax: 3 });
  const { services } = instances;
  const fail = () => noteUnexpected(services, new Error("x"), { requestId: "req-1" });

  for (let i = 0; i < 3; i++) fail();
  await instances.told();
  equal(notices.length, 0);
  for (let i = 0; i < 20; i++) fail();
  await instances.told();
  deepEqual(said(notices), ["errors raised"]);
  for (let i = 0; i < 9; i++) await minute(instances);
  deepEqual(said(notices), ["errors raised"]);
  for (let i = 0; i < 8; i++) await minute(instances);

  deepEqual(said(notices), ["errors raised", "errors resolved"]);
  equal(reported.length, 23);
  deepEqual(reported[0], { requestId: "req-1" });
});

Deno.test("ErrorRate counts five minutes, to ten seconds", () => {
  let now = START;
  const rate = new ErrorRate(() => now);

  for (let i = 0; i < 100; i++) {
    rate.add();
    now += 10 * SECOND_MS;
  }

  equal(rate.count(), 29);
  now += 10 * MINUTE_MS;
  equal(rate.count(), 0);
  rate.add();
  now -= MINUTE_MS;
  equal(rate.count(), 0);
  rate.add();
  equal(rate.count(), 1);
});
