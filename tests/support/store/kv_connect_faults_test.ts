/** Faults that the KV Connect server for tests injects, as the runtime's client shows them. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { type KvCall, type KvFault, startKvConnectServer } from "./kv_connect_server.ts";
import { until } from "../program/until.ts";

Deno.test("delayMs holds back every answer", async () => {
  await using server = await startKvConnectServer({ delayMs: 20 });
  using kv = await Deno.openKv(server.url);
  const start = performance.now();

  await kv.set(["a"], 1);
  await kv.get(["a"]);

  // A millisecond each for how timers round.
  ok(performance.now() - start >= 38);
});

Deno.test("fault sees each call, the client's own retries included", async () => {
  const calls: KvCall[] = [];
  await using server = await startKvConnectServer({
    fault(call) {
      calls.push(call);
      return call.count === 1 ? "fail-before" : "ok";
    },
  });
  using kv = await Deno.openKv(server.url);

  await kv.set(["a"], 1);
  await kv.get(["a"]);

  deepEqual(calls, [
    { operation: "write", count: 1 },
    { operation: "write", count: 2 },
    { operation: "read", count: 1 },
    { operation: "read", count: 2 },
  ]);
  deepEqual(server.calls, { reads: 2, writes: 2 });
});

Deno.test("a fault that throws fails the call, without retries", async () => {
  await using server = await startKvConnectServer({
    fault: () => {
      throw new Error("No such scene");
    },
  });
  using kv = await Deno.openKv(server.url);

  await rejects(kv.set(["a"], 1), /status=400.*No such scene/);
  equal(server.calls.writes, 1);
});

Deno.test("fail-before three times is one commit, only later", async () => {
  await using server = await startKvConnectServer({ fault: firstWrites(3, "fail-before") });
  using kv = await Deno.openKv(server.url);

  const result = await create(kv);

  ok(result.ok);
  equal(server.calls.writes, 4);
  equal((await kv.get(["a"])).versionstamp, result.versionstamp);
});

Deno.test("fail-after makes a commit that was applied look like a conflict", async () => {
  await using server = await startKvConnectServer({ fault: firstWrites(1, "fail-after") });
  using kv = await Deno.openKv(server.url);

  const result = await create(kv);

  deepEqual(result, { ok: false });
  equal((await kv.get(["a"])).value, 1);
});

Deno.test("fail-after makes a sum count twice", async () => {
  await using server = await startKvConnectServer({ fault: firstWrites(1, "fail-after") });
  using kv = await Deno.openKv(server.url);

  const result = await kv.atomic().sum(["n"], 1n).commit();

  ok(result.ok);
  deepEqual((await kv.get(["n"])).value, new Deno.KvU64(2n));
});

Deno.test("fail-after makes a commitVersionstamp() key appear twice", async () => {
  await using server = await startKvConnectServer({ fault: firstWrites(1, "fail-after") });
  using kv = await Deno.openKv(server.url);

  const result = await kv.atomic().set(["log", kv.commitVersionstamp()], 1).commit();

  ok(result.ok);
  equal(server.entries().length, 2);
});

Deno.test("reset and garbage make a commit throw that was applied", async () => {
  for (
    const [fault, message] of [
      ["reset", /failed to read response body/],
      ["garbage", /failed to decode response/],
    ] as const
  ) {
    await using server = await startKvConnectServer({ fault: firstWrites(1, fault) });
    using kv = await Deno.openKv(server.url);

    await rejects(create(kv), message);

    equal(server.calls.writes, 1);
    equal((await kv.get(["a"])).value, 1);
  }
});

Deno.test("reset never looks like a lost call, which the client would repeat", async () => {
  await using server = await startKvConnectServer({ fault: () => "reset" });
  using kv = await Deno.openKv(server.url);

  const results = await Promise.allSettled(Array.from({ length: 200 }, (_, i) => kv.set([i], i)));

  ok(results.every(({ status }) => status === "rejected"));
  equal(server.calls.writes, 200);
});

Deno.test("too-many makes a commit throw that was not applied", async () => {
  await using server = await startKvConnectServer({ fault: firstWrites(1, "too-many") });
  using kv = await Deno.openKv(server.url);

  await rejects(create(kv), /status=429/);

  deepEqual(server.entries(), []);
  equal(server.calls.writes, 1);
});

Deno.test("reads fail as writes do", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  await kv.set(["a"], 1);
  const faults: KvFault[] = ["fail-before", "fail-after", "reset", "garbage", "too-many"];
  server.fault = ({ count }) => faults[count - 1] ?? "ok";

  await rejects(kv.get(["a"]), /failed to read response body/);
  equal(server.calls.reads, 3);
  await rejects(kv.get(["a"]), /failed to decode response/);
  await rejects(kv.get(["a"]), /status=429/);
  equal((await kv.get(["a"])).value, 1);
});

Deno.test("hang-before leaves a commit pending and undone until released", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  const arrived = firstWriteHangs(server, "hang-before");

  const commit = watched(create(kv));
  await arrived;
  equal((await kv.get(["a"])).value, null);
  equal(commit.isPending(), true);
  server.release();

  ok((await commit.promise).ok);
  equal((await kv.get(["a"])).value, 1);
});

Deno.test("hang-after leaves a commit pending though done, until released", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  const arrived = firstWriteHangs(server, "hang-after");

  const commit = watched(create(kv));
  await arrived;
  equal((await kv.get(["a"])).value, 1);
  equal(commit.isPending(), true);
  server.release();

  ok((await commit.promise).ok);
});

Deno.test("late applies a commit after lateMs and does not answer until released", async () => {
  await using server = await startKvConnectServer({ lateMs: 10 });
  using kv = await Deno.openKv(server.url);
  const arrived = firstWriteHangs(server, "late");

  const commit = watched(create(kv));
  await arrived;
  deepEqual(server.entries(), []);
  await until(() => server.entries().length === 1);
  equal((await kv.get(["a"])).value, 1);
  equal(commit.isPending(), true);
  server.release();

  ok((await commit.promise).ok);
});

Deno.test("late loses to a fence that was committed in the meantime", async () => {
  await using server = await startKvConnectServer({ lateMs: 3_600_000 });
  using kv = await Deno.openKv(server.url);
  const arrived = firstWriteHangs(server, "late");

  const commit = create(kv);
  await arrived;
  const fence = await kv.atomic().check({ key: ["a"], versionstamp: null })
    .set(["a"], "aborted").commit();
  server.release();

  ok(fence.ok);
  deepEqual(await commit, { ok: false });
  equal((await kv.get(["a"])).value, "aborted");
});

Deno.test("release() ends the hanging calls in the order they came", async () => {
  await using server = await startKvConnectServer({ fault: () => "hang-before" });
  using kv = await Deno.openKv(server.url);
  const commits = [];
  for (let i = 1; i <= 5; i++) {
    commits.push(kv.set(["n", i], i));
    await until(() => server.calls.writes === i);
  }

  server.release();

  const stamps = (await Promise.all(commits)).map((commit) => commit.versionstamp);
  deepEqual(stamps, stamps.toSorted());
});

Deno.test("disposing ends hanging, late and delayed calls at once", async () => {
  const faults: KvFault[] = ["hang-before", "hang-after", "late", "ok"];
  const server = await startKvConnectServer({ lateMs: 3_600_000 });
  using kv = await Deno.openKv(server.url);
  server.fault = ({ count }) => {
    if (count === 4) server.delayMs = 3_600_000;
    return faults[count - 1] ?? "ok";
  };
  const commits = faults.map((_, i) => kv.set([i], i));
  await until(() => server.calls.writes === 4);

  await server[Symbol.asyncDispose]();

  ok((await Promise.all(commits)).every((commit) => commit.ok));
});

Deno.test("disposing waits for the retries that the client owes", async () => {
  const server = await startKvConnectServer({ fault: () => "fail-before" });
  using kv = await Deno.openKv(server.url);
  const commits = [kv.set(["a"], 1), kv.set(["a"], 1), kv.set(["b"], 2)];
  await until(() => server.calls.writes >= 3);

  await server[Symbol.asyncDispose]();

  ok((await Promise.all(commits)).every((commit) => commit.ok));
});

/** Gives the first `n` writes, retries included, `fault`. */
function firstWrites(n: number, fault: KvFault): (call: KvCall) => KvFault {
  return ({ operation, count }) => operation === "write" && count <= n ? fault : "ok";
}

/** Gives the first write `fault`, and resolves once it has come and hangs. */
function firstWriteHangs(
  server: { fault: (call: KvCall) => KvFault },
  fault: KvFault,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const decide = firstWrites(1, fault);
  server.fault = (call) => {
    if (call.operation === "write") resolve();
    return decide(call);
  };
  return promise;
}

function create(kv: Deno.Kv): Promise<Deno.KvCommitResult | Deno.KvCommitError> {
  return kv.atomic().check({ key: ["a"], versionstamp: null }).set(["a"], 1).commit();
}

function watched<T>(promise: Promise<T>): { promise: Promise<T>; isPending: () => boolean } {
  let isPending = true;
  const settle = () => isPending = false;
  promise.then(settle, settle);
  return { promise, isPending: () => isPending };
}
