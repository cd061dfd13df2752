/**
 * Instances of the program without HTTP that share one KV file and one clock, with
 * health monitors.
 *
 * @module
 */
import type { AlertChannel } from "../../../lib/alerts/channels.ts";
import { readConfig } from "../../../lib/config/mod.ts";
import type { ErrorTracker } from "../../../lib/telemetry/error_tracking.ts";
import { HealthMonitor } from "../../../lib/health/mod.ts";
import { openLog } from "../../../lib/telemetry/mod.ts";
import { openServices } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/mod.ts";
import type { WatchServices } from "../../../lib/health/watch.ts";
import { deadlinesUnder } from "../store/deadlines.ts";
import { FaultyKv } from "../store/faulty_kv.ts";

/** Options for {@linkcode startInstances}. */
export interface InstancesOptions {
  /** How many; one by default. */
  count?: number;
  /** Alert channels of each. */
  channels?: readonly AlertChannel[];
  /** Time limit of one alert delivery; 5 seconds by default. */
  timeoutMs?: number;
  /** The most unexpected errors without an alert; 10 by default. */
  errorsMax?: number;
  errorTracker?: ErrorTracker;
}

/** One instance. */
export interface Instance {
  readonly services: Services & WatchServices;
  readonly monitor: HealthMonitor;
  /** Stands between the store and the file. */
  readonly kv: FaultyKv;
}

/** All of them. */
export interface Instances extends AsyncDisposable {
  readonly all: readonly Instance[];
  /** One of them, from 0. */
  at(index: number): Instance;
  /** The first one. */
  readonly services: Services & WatchServices;
  /** Lines of all their logs, JSON. */
  readonly logLines: string[];
  /** The events in the logs of that name. */
  events(name: string): Record<string, unknown>[];
  /** Moves the clock of all. */
  advance(ms: number): void;
  /** Waits until all alerts are delivered. */
  notified(): Promise<void>;
  /** Runs each instance's outbox, which delivers what a channel did not take. */
  deliver(): Promise<void>;
}

/** The time at which they start. */
export const START = Date.UTC(2026, 5, 15, 9, 0, 0);

/** Of a store with faults. */
const DEADLINES = { readMs: 200, commitMs: 200, transactionMs: 400, fenceMs: 100 };

/** Reports nothing. */
const NO_TRACKER: ErrorTracker = {
  start() {},
  report() {},
  timed() {},
  monitored: (_, run) => run(),
  flush: () => Promise.resolve(),
};

/** Opens instances on a new file. */
export async function startInstances(options: InstancesOptions = {}): Promise<Instances> {
  const { count = 1, channels = [], timeoutMs = 5_000, errorsMax = 10 } = options;
  const { errorTracker = NO_TRACKER } = options;
  const folder = await Deno.makeTempDir();
  const logLines: string[] = [];
  let now = START;
  const clock = () => now;
  const log = openLog({ level: "debug", format: "json", write: (line) => logLines.push(line) });
  const config = readConfig({ APP_ENV: "test", KV_PATH: `${folder}/kv`, PORT: "0" });
  const all: Instance[] = [];
  for (let i = 0; i < count; i++) {
    let kv: FaultyKv | undefined;
    const services = await openServices({ ...config, errorsMax }, {
      log,
      clock,
      random: Math.random,
      wrapKv: (opened) => kv = new FaultyKv(opened),
      deadlines: deadlinesUnder(() => kv?.hasFaults ?? false, DEADLINES),
      channels,
      alertPolicy: { timeoutMs, backoffMs: 1 },
    });
    const whole = { ...services, errorTracker };
    all.push({ services: whole, monitor: new HealthMonitor(whole), kv: kv! });
  }
  const notified = async () => {
    for (const { services } of all) await services.alerts.close();
  };
  return {
    all,
    at: (index) => all[index]!,
    services: all[0]!.services,
    logLines,
    events: (name) =>
      logLines.map((line) => JSON.parse(line)).filter(({ event }) => event === name),
    advance(ms) {
      now += ms;
    },
    notified,
    async deliver() {
      for (const { services } of all) await services.outbox.run();
    },
    async [Symbol.asyncDispose]() {
      await notified();
      for (const { services, kv } of all) {
        kv.heal();
        await services.store.close();
      }
      await Deno.remove(folder, { recursive: true });
    },
  };
}
