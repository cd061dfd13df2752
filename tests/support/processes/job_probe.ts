/**
 * A process with one job, for tests of several: each run writes a line when it
 * starts and one when it ends.
 *
 * Arguments: the KV file, the file of the lines, the moment when time begins, and
 * `kill` to be killed within the first run; otherwise the job runs for a while by
 * Deno's own timetable, a minute of which takes 300 ms
 * (`DENO_CRON_TEST_SCHEDULE_OFFSET=300`).
 *
 * @module
 */
import { type Job, runJob } from "../../../cron/_job.ts";
import { AlertNotifier } from "../../../lib/alerts/notifier.ts";
import { readConfig } from "../../../lib/config/mod.ts";
import { openLog } from "../../../lib/telemetry/mod.ts";
import { openServices } from "../../../lib/app/open.ts";
import { MINUTE_MS, sleep } from "../../../lib/time.ts";
import { START } from "./instances.ts";

const MINUTE_TAKES_MS = 300;
const RUNS_FOR_MS = 4_000;

const [kvPath = "", linesPath = "", begin, mode] = Deno.args;
const clock = () => START + (Date.now() - Number(begin)) * (MINUTE_MS / MINUTE_TAKES_MS);
const log = openLog({ level: "error", format: "json" });
const config = readConfig({ APP_ENV: "test", KV_PATH: kvPath });
const services = {
  ...await openServices(config, { log, clock, random: Math.random }),
  alerts: new AlertNotifier({ channels: [], log, random: Math.random }),
  errorTracker: {
    start() {},
    report() {},
    timed() {},
    monitored: <T>(_: unknown, run: () => Promise<T>) => run(),
    flush: () => Promise.resolve(),
  },
};

const job: Job = {
  name: "probe",
  schedule: "* * * * *",
  timeLimitMs: 20 * MINUTE_MS,
  async run(_services, signal, caller) {
    const minute = Math.floor((clock() + 1_000) / MINUTE_MS);
    await line(`start ${caller.requestId} ${minute}`);
    if (mode === "kill") Deno.kill(Deno.pid, "SIGKILL");
    await sleep(10, signal);
    await line(`end ${caller.requestId} ${minute}`);
    return {};
  },
};

if (mode === "kill") {
  await runJob(services, job);
} else {
  const stop = new AbortController();
  const { signal } = stop;
  const ended = Deno.cron(
    job.name,
    job.schedule,
    { backoffSchedule: [], signal },
    async () => void await runJob(services, job),
  );
  await sleep(RUNS_FOR_MS);
  stop.abort();
  await ended;
}
await services.store.close();

function line(text: string): Promise<void> {
  return Deno.writeTextFile(linesPath, `${text}\n`, { append: true });
}
