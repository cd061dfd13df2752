/**
 * The lease of a job keeps two runs apart, whatever their clocks show.
 */
import { deepStrictEqual as deepEqual, rejects, strictEqual as equal } from "node:assert/strict";
import type { Services } from "../../../lib/app/mod.ts";
import { operationOf } from "../../../lib/entities/caller.ts";
import { type Claim, claimJob, finishJob, leaseGuard, listJobRuns } from "../../../lib/jobs/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { transact } from "../../../lib/kv/mod.ts";
import { MINUTE_MS, SECOND_MS } from "../../../lib/time.ts";
import { START, startInstances } from "../../support/processes/instances.ts";

Deno.test("a run suspended beyond its lease can store nothing once another run has taken over", async () => {
  await using instances = await startInstances({ count: 2 });
  const [one, two] = [instances.at(0).services, instances.at(1).services];
  const options = { timeLimitMs: SECOND_MS, isByHand: false };
  const old = await claimJob(one, "outbox", { runId: "old", ...options });
  instances.advance(MINUTE_MS);
  const taken = await claimJob(two, "outbox", { runId: "new", ...options });
  const write = (services: Services, claim: Claim, value: string) => {
    const guards = [leaseGuard(claim)];
    const caller = { actor: "cli" as const, requestId: "r", idempotencyKey: null, guards };
    return transact(
      services,
      {},
      (_, writes) => writes.set(keys.productBySlug("written"), value),
      { operation: operationOf(caller, "x", null, { now: services.clock() }) },
    );
  };

  await write(two, taken!, "by the new run");
  await rejects(write(one, old!, "by the old run"), { kind: "conflict" });
  const ended = await finishJob(one, {
    job: "outbox",
    runId: "old",
    startedAt: START,
    status: "ok",
    outcome: {},
    error: null,
    isStillRunning: false,
  }, old);

  deepEqual([old!.token, taken!.token], [1, 2]);
  equal(ended, null);
  equal(await one.store.get(keys.productBySlug("written")), "by the new run");
  equal((await one.store.get(keys.lease("outbox")))!.by, "new");
  deepEqual(await listJobRuns(one), []);
});
