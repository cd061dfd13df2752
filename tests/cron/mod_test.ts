/**
 * The timetable of the real program, with accelerated schedules.
 */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { dueOf } from "../../cron/_job.ts";
import { jobsOf } from "../../cron/mod.ts";
import { HealthMonitor } from "../../lib/health/mod.ts";
import { sleep } from "../../lib/time.ts";
import { nextDue } from "../../lib/jobs/timetable.ts";
import { startApp, TEST_START } from "../support/program/app.ts";
import { logLines, startServer } from "../support/processes/server_process.ts";

Deno.test("the program runs each of its jobs, and stops them when it stops", async () => {
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

Deno.test("a job's time limit is less than its interval, and a job on time is never missed", async () => {
  await using app = await startApp();

  for (const job of jobsOf(app.services, new HealthMonitor(app.services))) {
    const { name, timeLimitMs } = job;
    const { schedule, withinMs } = dueOf(job);
    const dueAt = nextDue(schedule, TEST_START);
    const everyMs = nextDue(schedule, dueAt) - dueAt;
    equal(timeLimitMs < everyMs, true, name);
    // One run may start late by another and take its whole time limit.
    equal(withinMs > timeLimitMs, true, name);
    equal(/^[\w-]{1,50}$/.test(name), true, name);
    // Weekday numbers are ambiguous: 1 is Sunday for Deno, and Monday elsewhere.
    equal(/[0-9]/.test(job.schedule.split(" ")[4] + schedule.split(" ")[4]!), false, name);
  }
});

Deno.test("the number of jobs is within the limit of Deno Deploy's smallest plan", async () => {
  await using app = await startApp();

  equal(jobsOf(app.services, new HealthMonitor(app.services)).length <= 10, true);
});
