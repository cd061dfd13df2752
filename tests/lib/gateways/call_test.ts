/**
 * A call to a gateway ends in time, is repeated only where that does no harm, and
 * is not made at all while the gateway is down.
 */
import {
  deepStrictEqual as deepEqual,
  doesNotMatch,
  match,
  ok,
  strictEqual as equal,
} from "node:assert/strict";
import fc from "fast-check";
import { type GatewayCall, GatewayCaller, quotable } from "../../../lib/gateways/_call.ts";
import { type CallPolicy, GatewayError } from "../../../lib/gateways/mod.ts";
import { openLog } from "../../../lib/telemetry/mod.ts";
import { sleep } from "../../../lib/time.ts";

type Answer = (request: Request, count: number) => Response | Promise<Response>;

/** A server that answers as a test says, and a caller of it. */
function startGateway(answer: Answer, policy: Partial<CallPolicy> = {}) {
  const logLines: string[] = [];
  const requests: { headers: Headers; body: string }[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      requests.push({ headers: new Headers(request.headers), body: await request.text() });
      return await answer(request, requests.length);
    },
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  const caller = new GatewayCaller({
    gateway: "pesapal",
    random: () => 0.5,
    log: openLog({ level: "debug", format: "json", write: (line) => logLines.push(line) }),
    policy: { timeoutMs: 1_000, backoffMs: 2, ...policy },
    secrets: ["hunter2!"],
  });
  return {
    url,
    caller,
    requests,
    logLines,
    json: (call: Partial<GatewayCall> = {}) =>
      caller.json({ does: "test", method: "POST", url, body: {}, isRepeatable: false, ...call }),
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** The error of a call that must fail. */
async function failureOf(call: Promise<unknown>): Promise<GatewayError> {
  try {
    await call;
  } catch (error) {
    ok(error instanceof GatewayError, String(error));
    return error;
  }
  throw new Error("The call did not fail");
}

/** An address at which nobody listens. */
function deadUrl(): string {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return `http://127.0.0.1:${port}/secret-path?token=secret`;
}

/** One that answers the first request of each connection, keeps it, and breaks it at the next. */
function startBreaker() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const targets: string[] = [];
  const answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
  const open = new Set<Deno.TcpConn>();
  const exchange = async (connection: Deno.TcpConn) => {
    open.add(connection);
    const bytes = new Uint8Array(10_000);
    for (let size = await connection.read(bytes); size; size = await connection.read(bytes)) {
      const [, target = ""] = new TextDecoder().decode(bytes.subarray(0, size)).split(" ");
      targets.push(target);
      if (target === "/break") break;
      await connection.write(new TextEncoder().encode(answer));
    }
    open.delete(connection);
    connection.close();
  };
  const serving = (async () => {
    for await (const connection of listener) exchange(connection).catch(() => {});
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    countOf: (target: string) => targets.filter((one) => one === target).length,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const connection of open) connection.close();
      await serving;
    },
  };
}

Deno.test("json() sends JSON and returns status, body and the gateway's time", async () => {
  await using gateway = startGateway(() =>
    Response.json({ a: 1 }, { headers: { date: "Mon, 15 Jun 2026 09:00:00 GMT" } })
  );

  const reply = await gateway.json({ headers: { authorization: "Bearer x" }, body: { b: 2 } });

  deepEqual(reply, { status: 200, body: { a: 1 }, date: Date.UTC(2026, 5, 15, 9) });
  const [request] = gateway.requests;
  equal(request!.body, '{"b":2}');
  equal(request!.headers.get("content-type"), "application/json");
  equal(request!.headers.get("accept"), "application/json");
  equal(request!.headers.get("authorization"), "Bearer x");
});

Deno.test("json() returns a refusal with its body, and keeps the breaker closed", async () => {
  await using gateway = startGateway(
    () => Response.json({ error: { message: "no" } }, { status: 400 }),
    { failuresMax: 2 },
  );

  for (let i = 0; i < 5; i++) equal((await gateway.json()).status, 400);

  equal(gateway.caller.breaker, "closed");
});

Deno.test("json() returns a 401 that has no body", async () => {
  await using gateway = startGateway(() => new Response(null, { status: 401 }));

  const { status, body } = await gateway.json();

  deepEqual([status, body], [401, null]);
});

Deno.test("json() returns a refusal without a body of a repeatable call, and does not repeat it", async () => {
  let status = 404;
  await using gateway = startGateway(() => new Response(null, { status }), { failuresMax: 2 });

  for (status of [400, 403, 404, 410]) {
    gateway.requests.length = 0;
    const reply = await gateway.json({ method: "GET", body: undefined, isRepeatable: true });

    deepEqual([reply.status, reply.body, gateway.requests.length], [status, null, 1]);
  }

  equal(gateway.caller.breaker, "closed");
});

Deno.test("json() repeats a call when a page is in the place of a refusal", async () => {
  await using gateway = startGateway((_, count) =>
    count < 3 ? new Response("<h1>Sorry</h1>", { status: 404 }) : Response.json({ count })
  );

  const { body } = await gateway.json({ isRepeatable: true });

  deepEqual(body, { count: 3 });
});

Deno.test("json() reports an unknown outcome for an unrepeatable call that is refused without a body", async () => {
  await using gateway = startGateway(() => new Response(null, { status: 404 }));

  const { outcome, code } = await failureOf(gateway.json());

  deepEqual([outcome, code], ["unknown", "not_json"]);
  equal(gateway.requests.length, 1);
});

const BAD_ANSWERS: Record<string, () => Response> = {
  http_500: () => Response.json({ message: "Ouch" }, { status: 500 }),
  http_503: () => new Response("<h1>Sorry</h1>", { status: 503 }),
  not_json: () => new Response("<h1>One moment, please</h1>"),
  redirected: () =>
    new Response(null, { status: 302, headers: { location: "http://127.0.0.1:1/" } }),
  too_large: () => new Response(`"${"x".repeat(2 ** 20)}"`),
};

for (const [code, answer] of Object.entries(BAD_ANSWERS)) {
  Deno.test(`json() reports an unknown outcome for a call answered with ${code}, and does not repeat it`, async () => {
    await using gateway = startGateway(answer);

    const { outcome, code: found } = await failureOf(gateway.json());

    deepEqual([outcome, found], ["unknown", code]);
    equal(gateway.requests.length, 1);
  });
}

Deno.test("json() follows no redirects", async () => {
  await using other = startGateway(() => Response.json({}));
  await using gateway = startGateway(() => Response.redirect(other.url, 307));

  await failureOf(gateway.json({ isRepeatable: true }));

  equal(gateway.requests.length, 1);
  equal(other.requests.length, 0);
});

Deno.test("json() repeats a repeatable call until it succeeds", async () => {
  await using gateway = startGateway((_, count) =>
    count < 3 ? new Response("busy", { status: 503 }) : Response.json({ count })
  );

  const { body } = await gateway.json({ isRepeatable: true });

  deepEqual(body, { count: 3 });
});

Deno.test("json() fails after the last attempt", async () => {
  await using gateway = startGateway(() => new Response("busy", { status: 503 }), {
    attemptsMax: 4,
  });

  await failureOf(gateway.json({ isRepeatable: true }));

  equal(gateway.requests.length, 4);
});

Deno.test("json() waits longer after each attempt, up to the maximum", async () => {
  const at: number[] = [];
  await using gateway = startGateway(() => {
    at.push(performance.now());
    return new Response("busy", { status: 503 });
  }, { attemptsMax: 4, backoffMs: 80, backoffMaxMs: 160 });

  await failureOf(gateway.json({ isRepeatable: true }));

  // Half of 80, 160 and 160 again.
  const waits = at.slice(1).map((time, i) => time - at[i]!);
  ok(waits[0]! >= 38 && waits[1]! >= 78 && waits[2]! >= 78, String(waits));
});

Deno.test("json() treats 429 as a refusal, and waits before it repeats the call", async () => {
  await using gateway = startGateway((_, count) =>
    count === 1 ? Response.json({}, { status: 429 }) : Response.json({ count })
  );

  const { body } = await gateway.json({ isRepeatable: true });
  gateway.requests.length = 0;
  const { outcome, code } = await failureOf(gateway.json());

  deepEqual(body, { count: 2 });
  deepEqual([outcome, code], ["refused", "rate_limited"]);
  equal(gateway.requests.length, 1);
});

Deno.test("json() times out on an answer that does not come, or does not end", async () => {
  for (const isBegun of [false, true]) {
    const { promise: end, resolve } = Promise.withResolvers<void>();
    await using gateway = startGateway(async () => {
      if (!isBegun) await end;
      return new Response(
        new ReadableStream({
          async start(controller) {
            controller.enqueue(new TextEncoder().encode("{"));
            await end;
            try {
              controller.close();
            } catch {
              // The caller no longer reads it.
            }
          },
        }),
      );
    });

    const { outcome, code } = await failureOf(gateway.json({ timeoutMs: 150 }));
    resolve();

    deepEqual([outcome, code], ["unknown", "timeout"], `begun: ${isBegun}`);
    equal(gateway.requests.length, 1);
  }
});

Deno.test("json() ends when it is aborted, and reports an unknown outcome", async () => {
  const { promise: end, resolve } = Promise.withResolvers<void>();
  const stop = new AbortController();
  await using gateway = startGateway(async () => {
    stop.abort();
    await end;
    return Response.json({});
  });

  const { outcome, code } = await failureOf(
    gateway.json({ isRepeatable: true, signal: stop.signal }),
  );
  const late = await failureOf(gateway.json({ signal: stop.signal }));
  resolve();

  deepEqual([outcome, code], ["unknown", "aborted"]);
  deepEqual([late.outcome, late.code], ["not_sent", "aborted"]);
  equal(gateway.requests.length, 1);
  equal(gateway.caller.breaker, "closed");
});

Deno.test("json() repeats any call that cannot have arrived", async () => {
  await using gateway = startGateway(() => Response.json({}));

  const { outcome, code, message } = await failureOf(gateway.json({ url: deadUrl() }));

  deepEqual([outcome, code], ["not_sent", "no_connection"]);
  equal(gateway.logLines.filter((line) => line.includes("gateway.call_failed")).length, 3);
  doesNotMatch(message + gateway.logLines.join(), /secret|127\.0\.0\.1/);
});

Deno.test("json() sends an unrepeatable call once, although a reused connection breaks", async () => {
  await using breaker = startBreaker();
  await using gateway = startGateway(() => Response.json({}));
  const url = `${breaker.url}/break`;
  // Leaves a connection behind, to be used by the next call.
  const warm = () => gateway.json({ url: `${breaker.url}/ok`, isRepeatable: true });

  await warm();
  const once = await failureOf(gateway.json({ url }));
  const countOnce = breaker.countOf("/break");
  const often = await failureOf(gateway.json({ url, isRepeatable: true }));

  deepEqual([once.outcome, once.code], ["unknown", "disconnected"]);
  equal(countOnce, 1);
  equal(often.outcome, "unknown");
  ok(breaker.countOf("/break") >= 1 + 3);
});

Deno.test("json() reports an unknown outcome when only the last attempt was not sent", async () => {
  await using gateway = startGateway(() => new Response("busy", { status: 503 }), {
    failuresMax: 1,
  });

  const { outcome, code } = await failureOf(gateway.json({ isRepeatable: true }));

  deepEqual([outcome, code], ["unknown", "down"]);
  equal(gateway.requests.length, 1);
});

Deno.test("json() calls nothing while the breaker is open, and closes it when the gateway recovers", async () => {
  let isWell = false;
  await using gateway = startGateway(
    () => isWell ? Response.json({}) : new Response("busy", { status: 503 }),
    { failuresMax: 3, pauseMs: 100 },
  );

  for (let i = 0; i < 3; i++) equal((await failureOf(gateway.json())).code, "http_503");
  const states = [gateway.caller.breaker];
  const { outcome, code } = await failureOf(gateway.json());
  const requestsWhileOpen = gateway.requests.length;
  await sleep(120);
  // Still down: one call probes it for all.
  equal((await failureOf(gateway.json())).code, "http_503");
  states.push(gateway.caller.breaker);
  isWell = true;
  await sleep(120);
  equal((await gateway.json()).status, 200);
  states.push(gateway.caller.breaker);

  deepEqual(states, ["open", "open", "closed"]);
  deepEqual([outcome, code], ["not_sent", "down"]);
  equal(requestsWhileOpen, 3);
  equal(gateway.logLines.filter((line) => line.includes("gateway.breaker")).length, 5);
});

Deno.test("json() quotes the gateway's message without secrets, ids and telephone numbers", async () => {
  const id = crypto.randomUUID();
  const said =
    `Order ${id} of asha@example.com, +255 712 345 678 or 0712345678, is late: hunter2! at https://x.example.com/?OrderTrackingId=${id}`;
  await using gateway = startGateway(() =>
    Response.json({ error: { code: "late", message: said }, status: "500" }, { status: 500 })
  );

  const { message } = await failureOf(gateway.json({ headers: { authorization: `Bearer ${id}` } }));
  const disclosed = message + gateway.logLines.join();

  match(message, /^Cannot test: pesapal answered with status 500: Order \[id\] of /);
  for (const secret of [id, "asha", "712", "678", "hunter2", "x.example.com"]) {
    ok(!disclosed.includes(secret), secret);
  }
});

Deno.test("json() refuses a gateway without a valid certificate, and sends it nothing", {
  ignore: !hasOpenssl(),
}, async () => {
  const { cert, key } = await selfSigned();
  let count = 0;
  await using server = Deno.serve(
    {
      hostname: "127.0.0.1",
      port: 0,
      onListen: () => {},
      cert,
      key,
      onError: () => new Response(),
    },
    () => {
      count++;
      return Response.json({});
    },
  );
  await using gateway = startGateway(() => Response.json({}));

  const url = `https://localhost:${server.addr.port}/`;
  const { outcome, code } = await failureOf(gateway.json({ url, isRepeatable: true }));

  deepEqual([outcome, code], ["not_sent", "bad_certificate"]);
  equal(count, 0);
  equal(gateway.logLines.length, 1);
});

function hasOpenssl(): boolean {
  try {
    return new Deno.Command("openssl", { args: ["version"] }).outputSync().success;
  } catch {
    return false;
  }
}

async function selfSigned(): Promise<{ cert: string; key: string }> {
  const folder = await Deno.makeTempDir();
  const [certFile, keyFile] = [`${folder}/cert.pem`, `${folder}/key.pem`];
  const options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split(" ");
  const extension = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const files = ["-keyout", keyFile, "-out", certFile];
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [...options, ...extension, ...files],
  }).output();
  ok(success, new TextDecoder().decode(stderr));
  const [cert, key] = await Promise.all([certFile, keyFile].map((file) => Deno.readTextFile(file)));
  await Deno.remove(folder, { recursive: true });
  return { cert: cert!, key: key! };
}

Deno.test("quotable() returns one line of at most 200 characters for any text", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 600 }), (said) => {
    const quoted = quotable(said);

    ok(quoted.length <= 200);
    ok(quoted.isWellFormed());
    doesNotMatch(quoted, /[\p{Cc}\u2028\u2029]/u);
  }));
});

Deno.test("quotable() keeps words, codes and amounts, and removes personal data", () => {
  equal(
    quotable("invalid_consumer_key_or_secret_provided"),
    "invalid_consumer_key_or_secret_provided",
  );
  equal(quotable("Limit of 1500000.50 TZS exceeded"), "Limit of 1500000.50 TZS exceeded");
  equal(quotable("card 4761 7300 0000 0010\nrefused"), "card [number] refused");
  equal(quotable("say friend", ["friend"]), "say [redacted]");
});
