import { rejects, strictEqual as equal } from "node:assert/strict";
import { TimeLimit } from "../../routes/_time_limit.ts";

Deno.test("TimeLimit passes on what a call returns or throws before the limit", async () => {
  const limit = new TimeLimit(60_000);
  const late = () => new Error("late");

  equal(await limit.wait(Promise.resolve(3), late), 3);
  await rejects(limit.wait(Promise.reject(new TypeError("own")), late), TypeError);
});

Deno.test("TimeLimit ends each call that is over, and only those, with an error of its own", async () => {
  const limit = new TimeLimit(40);
  const { promise: never } = Promise.withResolvers<void>();
  const { promise: soon, resolve } = Promise.withResolvers<string>();

  const first = limit.wait(never, () => new Error("first"));
  const second = limit.wait(never, () => new Error("second"));
  await rejects(first, { message: "first" });
  await rejects(second, { message: "second" });
  const third = limit.wait(soon, () => new Error("third"));
  resolve("done");

  equal(await third, "done");
});
