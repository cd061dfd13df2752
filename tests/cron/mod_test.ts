/**
 * The timetable of the real program, with its clock of jobs turned forward.
 */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { jobsOf } from "../../cron/mod.ts";
import { HealthMonitor } from "../../lib/health.ts";
import { sleep } from "../../lib/time.ts";
import { startApp } from "../support/app.ts";
import { logLines, startServer } from "../support/server_process.ts";

Deno.test("the program runs each of its jobs, and stops with them", async () => {
  await using app = await startApp();
  const names = jobsOf(app.services, new HealthMonitor(app.services)).map(({ name }) => name)
    .sort();
  const folder = await Deno.makeTempDir();
  {
    // The runtime's own way to test cron: every schedule is so many milliseconds from now.
    const env = { DENO_CRON_TEST_SCHEDULE_OFFSET: "200" };
    await using server = await startServer({ kvPath: `${folder}/shop.kv`, env });
    const ran = () => logLines(server.output()).filter(({ event }) => event === "job.ran");
    const ranOk = () =>
      new Set(ran().filter(({ status }) => status === "ok").map(({ jobName }) => jobName));

    for (let i = 0; i < 200 && ranOk().size < names.length; i++) await sleep(50);
    server.kill("SIGTERM");
    const { code } = await server.ended;

    deepEqual([...ranOk()].sort(), names);
    equal(code, 0);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a job's time limit is less than the time to its next run", async () => {
  await using app = await startApp();

  for (
    const { name, schedule, timeLimitMs } of jobsOf(app.services, new HealthMonitor(app.services))
  ) {
    const everyMs = schedule === "* * * * *" ? 60_000 : 24 * 3_600_000;
    equal(timeLimitMs < everyMs, true, name);
    equal(/^[\w-]{1,50}$/.test(name), true, name);
  }
});
