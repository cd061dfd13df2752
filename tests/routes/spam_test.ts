/** Enquiries that look like spam are dropped, and the answer does not show it. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD, type TestAnswer } from "../support/program/app.ts";
import { accessLog, assertProblem } from "../support/program/answers.ts";
import { Conformance } from "../support/program/conformance.ts";
import { contractOf } from "../support/program/openapi.ts";
import { leavesStoreAlone, startShop } from "../support/program/shop.ts";

const SPAM: [reason: string, fields: Record<string, unknown>][] = [
  ["honeypot", { website: "https://spam.example" }],
  ["honeypot", { website: " " }],
  ["honeypot", { website: "x", elapsedMs: 60_000 }],
  ["haste", { elapsedMs: 0 }],
  ["haste", { elapsedMs: 1_499 }],
  ["haste", { website: "", elapsedMs: 300 }],
];

for (const [reason, fields] of SPAM) {
  Deno.test(`an enquiry with ${JSON.stringify(fields)} is dropped, and looks accepted`, async () => {
    await using app = await startShop({ env: { RATE_LIMITS: "" } });
    const product = await app.stockProduct();
    const enquiry = { ...LEAD, phone: "0712 345 678", productId: product.id, quantity: 2 };
    const contract = await contractOf(app);
    const lines = app.logLines.length;
    const { reads, commits } = app.kv;

    const answer = await leavesStoreAlone(
      app,
      () => app.post("/api/v2/leads", { ...enquiry, ...fields }),
    );

    equal(answer.status, 201);
    deepEqual([app.kv.reads - reads, app.kv.commits - commits], [0, 0]);
    const operation = contract.operations.find(({ method, path }) =>
      method === "POST" && path === "/api/v2/leads"
    )!;
    new Conformance(contract).check(operation, answer);
    const { lead, client, invoice, links } = answer.body;
    equal(invoice, null);
    deepEqual(links, {});
    equal(answer.headers.get("location"), `/api/v2/leads/${lead.id}`);
    equal(lead.clientId, client.id);
    deepEqual(app.services.metrics.spam.lines(), [`wetech_spam_total{reason="${reason}"} 1`]);
    const log = app.logLines.slice(lines);
    const dropped = log.map((line) => JSON.parse(line)).find(({ event }) =>
      event === "lead.dropped"
    );
    equal(dropped.reason, reason);
    ok(!/asha|mushi|habari|712 ?345|spam\.example/i.test(log.join()), log.join());
    assertSame(answer, await app.post("/api/v2/leads", { ...enquiry, productId: undefined }));
  });
}

/** Checks that two answers have the same headers and fields, of the same kinds. */
function assertSame(dropped: TestAnswer<unknown>, stored: TestAnswer<unknown>): void {
  const shape = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return typeof value;
    return Object.fromEntries(
      Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([name, field]) => [
        name,
        // Of these one of the two has none.
        name === "productId" ? "any" : shape(field),
      ]),
    );
  };
  equal(stored.status, dropped.status);
  deepEqual(shape(stored.body), shape(dropped.body));
  const named = (answer: TestAnswer<unknown>) => [...answer.headers.keys()].sort();
  deepEqual(named(stored), named(dropped));
  equal(
    stored.headers.get("ratelimit-policy"),
    dropped.headers.get("ratelimit-policy"),
  );
}

Deno.test("enquiries from people and programs are not treated as spam", async () => {
  await using app = await startShop();
  const key = await app.newKey("leads:write");

  const enquiries: [object, string?][] = [
    [{}],
    [{ website: "" }],
    [{ elapsedMs: 1_500 }],
    [{ website: "", elapsedMs: 3_600_000 }],
    [{ website: "https://customer.example", elapsedMs: 0 }, key],
  ];
  for (const [i, [fields, key]] of enquiries.entries()) {
    const { status, body } = await app.request("POST", "/api/v2/leads", {
      body: { ...LEAD, ...fields },
      ...(key === undefined ? {} : { key }),
    });
    equal(status, 201);
    ok(await app.services.store.get(keys.lead(body.lead.id)));
    equal(await app.count(keys.leads), i + 1);
  }
  deepEqual(app.services.metrics.spam.lines(), []);
  ok(!(await app.kv.text(["lead"])).includes("elapsedMs"));
});

Deno.test("a form sent again later with the same Idempotency-Key is the same enquiry", async () => {
  await using app = await startShop();
  const post = (elapsedMs: number) =>
    app.post("/api/v2/leads", { ...LEAD, elapsedMs }, { "idempotency-key": "tab-1" });

  const first = await post(5_000);
  const again = await post(9_000);

  equal(first.status, 201);
  equal(again.text, first.text);
  equal(await app.count(keys.leads), 1);
});

Deno.test("invalid spam is refused with the same errors as any invalid enquiry", async () => {
  await using app = await startShop();
  const post = (fields: object) => app.post("/api/v2/leads", { website: "x", ...fields });

  assertProblem(await post({ name: "Asha", email: "none" }), 422, "invalid_input", {
    paths: ["email"],
  });
  assertProblem(await post({ email: LEAD.email }), 422, "invalid_input", {
    paths: ["name"],
  });
  for (const elapsedMs of [-1, 1.5, "1", null]) {
    const { status } = await app.post("/api/v2/leads", { ...LEAD, elapsedMs });
    equal(status, 422);
  }
  deepEqual(app.services.metrics.spam.lines(), []);
});

Deno.test("spam counts towards the sender's rate limit", async () => {
  await using app = await startShop({ env: { RATE_LIMITS: "lead_post=3/1m" } });
  const spam = () => app.post("/api/v2/leads", { ...LEAD, website: "x" });

  const states = [];
  for (let i = 0; i < 3; i++) states.push((await spam()).headers.get("ratelimit")?.split(",")[0]);

  deepEqual(states, [
    '"lead_post";r=2;t=60',
    '"lead_post";r=1;t=60',
    '"lead_post";r=0;t=60',
  ]);
  assertProblem(await spam(), 429, "rate_limited");
  equal(accessLog(app).at(-1)?.kvReads, 0);
});
