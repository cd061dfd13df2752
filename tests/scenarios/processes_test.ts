/**
 * What only real processes on one file show: several writers, kill -9, signals and bad starts. The
 * store is read when all writers are dead.
 */
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { encode } from "../../lib/kv/codec.ts";
import * as keys from "../../lib/kv/keys.ts";
import { sleep } from "../../lib/time.ts";
import { campaignSize } from "../support/program/campaign.ts";
import { logLines, runServer, startServer } from "../support/processes/server_process.ts";
import {
  anyProduct,
  begin,
  catalogue,
  killedAtEnd,
  missing,
  newSent,
  newStore,
  readBooks,
  send,
  sendPatiently,
  type Sent,
  stopped,
  STOPPED_WITHIN_MS,
  torn,
  within,
} from "./_processes.ts";

const KILLS = campaignSize("SERVER_KILLS", { everyday: 10, soak: 1_000 });
/** Kills come at a random moment of this many milliseconds of load. */
const KILL_WITHIN_MS = 250;

Deno.test("three processes on one file lose no lead and use no number twice", async () => {
  await using store = await newStore();
  await using first = await startServer(store);
  const servers = [first, ...await Promise.all([startServer(store), startServer(store)])];
  await using _rest = killedAtEnd(servers);
  const productId = await anyProduct(first);
  const fresh = Array.from({ length: 240 }, (_, i) => ({
    server: servers[i % 3]!,
    sent: newSent(productId),
  }));
  const sameClient = Array.from({ length: 120 }, (_, i) => ({
    server: servers[i % 3]!,
    sent: newSent(productId, { email: `client${i % 10}@example.com`, phone: undefined }),
  }));
  const sameKey = Array.from({ length: 40 }, () => newSent(productId))
    .flatMap((sent) => servers.map((server) => ({ server, sent: { ...sent } })));

  await Promise.all(
    [...fresh, ...sameClient, ...sameKey].map(({ server, sent }) => sendPatiently(server, sent)),
  );
  for (const server of servers) await stopped(server, "SIGTERM");

  const all = [...fresh, ...sameClient, ...sameKey].map(({ sent }) => sent);
  deepEqual(all.map(({ answer }) => answer?.status), all.map(() => 201));
  for (let i = 0; i < sameKey.length; i += 3) {
    const [one, two, three] = sameKey.slice(i, i + 3).map(({ sent }) => sent.answer!);
    deepEqual([two!.body, three!.body], [one!.body, one!.body]);
  }
  const books = await readBooks(store.kvPath);
  deepEqual(books.problems, []);
  deepEqual(missing(books, all), []);
  equal(books.leads.size, 240 + 120 + 40);
  equal(books.clients.size, 240 + 10 + 40);
  equal(books.invoices.size, 240 + 120 + 40);
});

Deno.test(`a kill -9 under load loses nothing that was acknowledged, ${KILLS} times`, async () => {
  await using store = await newStore();
  const all: Sent[] = [];
  let unanswered: Sent[] = [];
  let unansweredTotal = 0;
  let applied = 0;
  let productId = "";

  for (let cycle = 0; cycle < KILLS; cycle++) {
    await using server = await startServer(store);
    productId ||= await anyProduct(server);
    const retries = unanswered;
    const load = Array.from({ length: 16 }, async () => {
      for (;;) {
        let sent = retries.pop();
        if (!sent) all.push(sent = newSent(productId));
        // Once it is killed, nothing answers.
        if (!await send(server, sent).then(() => true, () => false)) return sent;
        if (sent.tries > 1 && sent.answer!.isReplay) applied++;
      }
    });
    await sleep(Math.random() * KILL_WITHIN_MS);
    server.kill("SIGKILL");
    await server.ended;
    unanswered = [...await Promise.all(load), ...retries];
    unansweredTotal += unanswered.length;
    // Every other time, so that it is also the program that finds the file as the kill left it.
    if (cycle % 2 === 0) deepEqual(await torn(store.kvPath, unanswered), []);
  }

  const acknowledged = all.filter(({ answer }) => answer);
  const before = await readBooks(store.kvPath);
  const lost = missing(before, acknowledged);
  await using server = await startServer(store);
  await Promise.all(unanswered.map((sent) => send(server, sent)));
  const replayed = acknowledged.slice(-50).map((sent) => ({ ...sent, answer: null }));
  await Promise.all(replayed.map((sent) => send(server, sent)));
  await stopped(server, "SIGTERM");
  const after = await readBooks(store.kvPath);
  console.log(
    `  ${KILLS} kills: ${acknowledged.length} acknowledged, ${lost.length} lost, ` +
      `${before.problems.length} torn; ${unansweredTotal} unanswered, of which ${applied} were applied`,
  );

  deepEqual(lost, []);
  deepEqual(before.problems, []);
  deepEqual(all.map(({ answer }) => answer?.status), all.map(() => 201));
  deepEqual(
    replayed.map(({ answer }) => answer),
    acknowledged.slice(-50).map(({ answer }) => ({ ...answer, isReplay: true })),
  );
  deepEqual(after.problems, []);
  deepEqual(missing(after, all), []);
  equal(after.leads.size, all.length);
  equal(after.clients.size, all.length);
  equal(after.invoices.size, all.length);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`${signal} under load answers requests in flight, then exits with 0`, async () => {
    await using store = await newStore();
    await using server = await startServer(store);
    const productId = await anyProduct(server);
    const inFlight = await Promise.all(Array.from({ length: 16 }, () => begin(server, productId)));
    const load = Array.from({ length: 16 }, async () => {
      const done: Sent[] = [];
      for (;;) {
        const sent = newSent(productId);
        done.push(sent);
        if (!await send(server, sent).then(() => true, () => false)) return done;
      }
    });
    await sleep(300);

    const stopping = stopped(server, signal);
    await sleep(50);
    const begun = await Promise.all(inFlight.map(({ finish }) => finish()));
    const { code, stdout } = await stopping;

    const all = [...(await Promise.all(load)).flat(), ...begun];
    const accepted = all.filter(({ answer }) => answer?.status === 201);
    const refused = all.filter(({ answer }) => answer && answer.status !== 201);
    const broken = all.length - accepted.length - refused.length;
    equal(code, 0);
    // Deno 2.9 cuts off what has not come whole when the stop begins; 2.5 waits for it.
    ok(
      begun.every(({ answer }) => answer && [201, 503].includes(answer.status)),
      Deno.inspect(begun[0]),
    );
    deepEqual(refused.map(({ answer }) => answer!.status), refused.map(() => 503));
    ok(refused.every((sent) => begun.includes(sent)));
    deepEqual(
      // Of requests and of the mails that follow from them there are as many as there was time for.
      logLines(stdout).map(({ event }) => event)
        .filter((event) => !/^(?:request|mail|message)\./.test(event)),
      ["server.started", "server.stopping", "server.stopped"],
    );
    const books = await readBooks(store.kvPath);
    deepEqual(books.problems, []);
    deepEqual(missing(books, accepted), []);
    // Sent over a connection that was being closed: one of each sender at most.
    ok(broken <= 16);
    ok(books.leads.size >= accepted.length && books.leads.size <= accepted.length + broken);
  });
}

Deno.test("an idle process stops immediately, and a second signal changes nothing", async () => {
  await using store = await newStore();
  await using server = await startServer(store);
  await anyProduct(server); // leaves an idle connection

  server.kill("SIGINT");
  server.kill("SIGINT");
  const { code, stderr } = await within(STOPPED_WITHIN_MS, server.ended);

  equal(code, 0);
  equal(stderr, "");
  await rejects(fetch(server.url));
});

Deno.test("a request that never ends does not delay the stop", async () => {
  await using store = await newStore();
  await using server = await startServer(store);
  const connect = () => Deno.connect({ hostname: "127.0.0.1", port: server.port });
  using _silent = await connect();
  using unfinished = await connect();
  const head = "POST /api/v2/leads HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{";
  await unfinished.write(new TextEncoder().encode(head));
  await sleep(100);

  const { code } = await stopped(server, "SIGTERM");

  equal(code, 0);
});

Deno.test("an invalid environment ends the start with one readable list", async () => {
  await using store = await newStore();

  const { code, stdout, stderr } = await runServer({
    ...store,
    env: { APP_ENV: "production", PORT: "http", LOG_LEVEL: "loud" },
  });

  equal(code, 1);
  equal(stdout, "");
  const [head, ...list] = stderr.trim().split("\n");
  match(head!, /^The configuration has \d problems:$/);
  equal(list.length, Number(head!.match(/\d/)![0]));
  for (const line of list) match(line, /^ {2}- [A-Z_]+ .*$/);
  for (const name of ["PORT", "LOG_LEVEL", "PUBLIC_URL", "SECRET_KEY"]) {
    ok(list.some((line) => line.startsWith(`  - ${name} `)), `${name} is not in: ${stderr}`);
  }
  await rejects(Deno.stat(store.kvPath), Deno.errors.NotFound);
});

Deno.test("the program does not start on a store whose restore is unfinished", async () => {
  await using store = await newStore();
  {
    using kv = await Deno.openKv(store.kvPath);
    await kv.set(keys.restoring, encode({ phase: "base" }));
  }

  const { code, stderr } = await runServer({ ...store });

  equal(code, 1);
  match(stderr, /A restore of this store has not finished/);
});

Deno.test("a port in use ends the start with one line that names it", async () => {
  await using store = await newStore();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;

  const { code, stderr } = await runServer({ ...store, env: { PORT: String(port) } });

  equal(code, 1);
  equal(stderr, `Cannot listen on 127.0.0.1:${port}: the port is in use; set PORT to another\n`);
});

Deno.test("the first start creates the demo catalogue, and the second keeps it", async () => {
  await using store = await newStore();
  const startedAt = performance.now();
  await using server = await startServer(store);
  const products = await catalogue(server);
  const firstMs = performance.now() - startedAt;
  console.log(
    `  listening after ${Math.round(server.startMs)} ms, answered after ${Math.round(firstMs)} ms`,
  );
  await stopped(server, "SIGTERM");
  await using again = await startServer(store);

  const productsAgain = await catalogue(again);

  equal(products.length, 4);
  deepEqual(productsAgain, products);
});

Deno.test("processes that start at once on an empty store create the demo catalogue once", async () => {
  for (let round = 0; round < 5; round++) {
    await using store = await newStore();
    const servers = await Promise.all([startServer(store), startServer(store)]);
    await using _all = killedAtEnd(servers);

    const [one, two] = await Promise.all(servers.map(catalogue));

    equal(one!.length, 4);
    deepEqual(two, one);
  }
});
