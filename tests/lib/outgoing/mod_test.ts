/**
 * Outgoing requests end in time, read no more than they must, and follow nobody.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import {
  isLoopbackHost,
  type OutgoingRequest,
  type OutgoingResult,
  parseRetryAfter,
  sendRequest,
} from "../../../lib/outgoing/mod.ts";
import { sleep } from "../../../lib/time.ts";

/** A server, and requests to it. */
function startServer(answer: (request: Request, count: number) => Response | Promise<Response>) {
  let count = 0;
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => answer(request, ++count),
  );
  const url = `http://127.0.0.1:${server.addr.port}/secret`;
  return {
    send: (request: Partial<OutgoingRequest> = {}) =>
      sendRequest({ url, method: "GET", timeoutMs: 5_000, isRepeatable: true, ...request }),
    count: () => count,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** The status and text of an answer. */
function answerOf(result: OutgoingResult): [number, string | null] {
  ok(result.isAnswered);
  return [result.status, result.text];
}

/** A server that answers the first request of a connection, and breaks it at the next. */
function startBreakingServer() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.TcpConn>();
  let posts = 0;
  const serve = async (connection: Deno.TcpConn) => {
    open.add(connection);
    const bytes = new Uint8Array(10_000);
    for (let size = await connection.read(bytes); size; size = await connection.read(bytes)) {
      if (new TextDecoder().decode(bytes.subarray(0, size)).startsWith("POST")) {
        posts++;
        break;
      }
      const answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
      await connection.write(new TextEncoder().encode(answer));
    }
    open.delete(connection);
    connection.close();
  };
  const serving = (async () => {
    for await (const connection of listener) serve(connection).catch(() => {});
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    posts: () => posts,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const connection of open) connection.close();
      await serving;
    },
  };
}

Deno.test("sendRequest() sends method, headers and body, and returns status, headers and text", async () => {
  const received: string[] = [];
  await using server = startServer(async (request) => {
    received.push(request.method, request.headers.get("x-a") ?? "", await request.text());
    return new Response("yes", { status: 201, headers: { "x-b": "2" } });
  });

  const result = await server.send({
    method: "POST",
    headers: { "x-a": "1" },
    body: "hello",
    answerMaxBytes: 3,
  });

  deepEqual(received, ["POST", "1", "hello"]);
  deepEqual(answerOf(result), [201, "yes"]);
  equal(result.isAnswered && result.headers.get("x-b"), "2");
});

Deno.test("sendRequest() reads an answer up to its limit, and nothing without one", async () => {
  await using server = startServer(() => new Response("12345"));

  deepEqual(answerOf(await server.send({ answerMaxBytes: 5 })), [200, "12345"]);
  deepEqual(answerOf(await server.send({ answerMaxBytes: 4 })), [200, null]);
  deepEqual(answerOf(await server.send()), [200, ""]);
});

Deno.test("sendRequest() returns a redirect and does not follow it", async () => {
  await using server = startServer(() => Response.redirect("http://127.0.0.1:1/elsewhere", 307));

  deepEqual(answerOf(await server.send({ answerMaxBytes: 100 })), [307, ""]);
  equal(server.count(), 1);
});

Deno.test("sendRequest() ends at its time limit, whether the head or the body is late", async () => {
  const over = new AbortController();
  await using server = startServer(async (_, count) => {
    if (count === 1) await sleep(60_000, over.signal).catch(() => {});
    return new Response(new ReadableStream({ pull: (body) => body.enqueue(new Uint8Array(1)) }, {
      highWaterMark: 0,
    }).pipeThrough(
      new TransformStream({
        transform: (chunk, to) =>
          sleep(20, over.signal).catch(() => {}).then(() => to.enqueue(chunk)),
      }),
    ));
  });

  for (const part of ["head", "body"]) {
    const result = await server.send({ timeoutMs: 100, answerMaxBytes: 1e6 });

    deepEqual(
      result,
      { isAnswered: false, failure: "timeout", reason: "no answer in 100 ms" },
      part,
    );
  }
  over.abort();
});

Deno.test("sendRequest() ends when its signal is aborted", async () => {
  const stop = new AbortController();
  const over = new AbortController();
  await using server = startServer(async () => {
    stop.abort();
    await sleep(60_000, over.signal).catch(() => {});
    return new Response();
  });

  const result = await server.send({ signal: stop.signal });
  over.abort();

  deepEqual(result, { isAnswered: false, failure: "aborted", reason: "no connection" });
});

Deno.test("sendRequest() reports an address where nobody listens", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const request = { method: "GET", timeoutMs: 5_000, isRepeatable: true } as const;

  const result = await sendRequest({ ...request, url: `http://127.0.0.1:${port}/secret` });

  deepEqual(result, { isAnswered: false, failure: "no_connection", reason: "no connection" });
});

Deno.test("sendRequest() sends what is not repeatable once, on a connection of its own", async () => {
  await using server = startBreakingServer();
  const { url } = server;
  const request = { url, timeoutMs: 5_000, answerMaxBytes: 10 };
  deepEqual(answerOf(await sendRequest({ ...request, method: "GET", isRepeatable: true })), [
    200,
    "ok",
  ]);

  const result = await sendRequest({ ...request, method: "POST", isRepeatable: false, body: "x" });

  deepEqual(result, { isAnswered: false, failure: "disconnected", reason: "no connection" });
  equal(server.posts(), 1);
});

Deno.test("parseRetryAfter() reads seconds, and dates if it has the time", () => {
  const now = Date.UTC(2026, 5, 15);

  equal(parseRetryAfter("7"), 7_000);
  equal(parseRetryAfter("0.5"), 500);
  equal(parseRetryAfter("Mon, 15 Jun 2026 00:01:00 GMT", now), 60_000);
  for (const header of [null, "", "0", "-1", "soon", "Mon, 15 Jun 2026 00:01:00 GMT"]) {
    equal(parseRetryAfter(header), null, String(header));
  }
  equal(parseRetryAfter("Sun, 14 Jun 2026 00:00:00 GMT", now), null);
});

Deno.test("isLoopbackHost() accepts this machine only", () => {
  const ours = ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"];
  const others = [
    "",
    "localhost.example.com",
    "127.0.0.1.example.com",
    "128.0.0.1",
    "[::1",
    "10.0.0.1",
  ];

  deepEqual([...ours, ...others].filter(isLoopbackHost), ours);
});
