/**
 * A slow request is told of, with where its time went.
 */
import { match, ok, strictEqual as equal } from "node:assert/strict";
import type { KvPort } from "../../lib/kv/store.ts";
import { sleep } from "../../lib/time.ts";
import { LEAD, startApp, type TestApp } from "../support/program/app.ts";

const KV_READ_MS = 25;

/** A KV far away. */
function slowed(kv: KvPort): KvPort {
  return {
    getMany: (async (...args: Parameters<KvPort["getMany"]>) => {
      await sleep(KV_READ_MS);
      return await kv.getMany(...args);
    }) as KvPort["getMany"],
    list: (...args) => kv.list(...args),
    atomic: () => kv.atomic(),
    commitVersionstamp: () => kv.commitVersionstamp(),
    close: () => kv.close(),
  };
}

function slowLines({ logLines }: TestApp): Record<string, unknown>[] {
  return logLines.map((line) => JSON.parse(line)).filter(({ event }) => event === "request.slow");
}

Deno.test("a request slower than slow is a warning, and one five times slower an error", async () => {
  for (const slowMs of [1, 10]) {
    await using app = await startApp({ env: { SLOW_REQUEST_MS: `${slowMs}` }, wrapKv: slowed });
    await app.post("/api/v2/leads", LEAD);

    const [line, ...others] = slowLines(app);

    equal(others.length, 0);
    equal(line!.route, "/api/v2/leads");
    ok(Number(line!.kvRead) >= KV_READ_MS - 1, `${line!.kvRead} ms`);
    equal(line!.level, Number(line!.durationMs) > 5 * slowMs ? "error" : "warn");
    if (slowMs === 1) equal(line!.level, "error");
  }
});

Deno.test("a request that is not slow is no news", async () => {
  await using app = await startApp({ env: { SLOW_REQUEST_MS: "600000" }, wrapKv: slowed });
  await app.post("/api/v2/leads", LEAD);

  equal(slowLines(app).length, 0);
});

Deno.test("Server-Timing shows where the time went, in development only", async () => {
  await using app = await startApp();
  await using inDevelopment = await startApp({
    env: { APP_ENV: "development", STORAGE_URL: "" },
  });

  const { headers } = await inDevelopment.post("/api/v2/leads", LEAD);

  match(
    headers.get("server-timing")!,
    /^kvRead;dur=[\d.]+, kvCommit;dur=[\d.]+, total;dur=[\d.]+$/,
  );
  equal((await app.post("/api/v2/leads", LEAD)).headers.get("server-timing"), null);
});
