/**
 * Jobs in several processes on one store: each minute has one run, also after a kill.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { type Job, runJob } from "../../cron/_job.ts";
import * as keys from "../../lib/kv/keys.ts";
import { SECOND_MS } from "../../lib/time.ts";
import { START, startInstances } from "../support/processes/instances.ts";

const PROBE = new URL("../support/processes/job_probe.ts", import.meta.url).pathname;

const JOB: Job = {
  name: "outbox",
  schedule: "* * * * *",
  timeLimitMs: 30 * SECOND_MS,
  run: () => Promise.resolve({ sent: 2 }),
};

Deno.test("processes with a timetable each run every minute once, and never two at once", async () => {
  const folder = await Deno.makeTempDir();
  const begin = String(Date.now());
  const start = () =>
    new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--allow-env",
        "--allow-read",
        "--allow-write",
        PROBE,
        `${folder}/kv`,
        `${folder}/lines`,
        begin,
      ],
      env: { NO_COLOR: "1", DENO_CRON_TEST_SCHEDULE_OFFSET: "300" },
    }).output();

  const ends = await Promise.all([start(), start(), start()]);

  const decoder = new TextDecoder();
  deepEqual(ends.map(({ code, stderr }) => [code, decoder.decode(stderr)]), [
    [0, ""],
    [0, ""],
    [0, ""],
  ]);
  const lines = (await Deno.readTextFile(`${folder}/lines`)).trim().split("\n");
  const minutes: string[] = [];
  for (let i = 0; i < lines.length; i += 2) {
    const [, run, minute] = lines[i]!.split(" ");
    equal(lines[i], `start ${run} ${minute}`);
    equal(lines[i + 1]?.split(" ").slice(0, 2).join(" "), `end ${run}`);
    minutes.push(minute!);
  }
  equal(new Set(minutes).size, minutes.length);
  ok(minutes.length >= 5, `${minutes.length}`);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a job whose run was killed runs again when the lease has expired", async () => {
  await using instances = await startInstances();
  const { services } = instances;
  const folder = await Deno.makeTempDir();
  const path = `${folder}/kv`;
  const { signal } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-env",
      "--allow-read",
      "--allow-write",
      "--allow-run",
      PROBE,
      path,
      `${folder}/lines`,
      String(Date.now()),
      "kill",
    ],
    stderr: "null",
  }).output();
  equal(signal, "SIGKILL");
  using kv = await Deno.openKv(path);
  const { value } = await kv.get<Uint8Array>(keys.lease("probe"));
  ok(value);
  await instances.at(0).kv.atomic().set(keys.lease("outbox"), value).commit();
  const lease = await services.store.get(keys.lease("outbox"));
  equal(lease!.token, 1);

  instances.advance(lease!.until - START - 1);
  equal(await runJob(services, JOB), "skipped");
  instances.advance(1);
  equal(await runJob(services, JOB), "ok");

  const after = await services.store.get(keys.lease("outbox"));
  equal(after!.token, 2);
  equal(after!.until, 0);
  await Deno.remove(folder, { recursive: true });
});
