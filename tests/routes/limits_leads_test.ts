/** Rate limits of enquiries: what counts, what is refused, until when, and at what cost. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD } from "../support/program/app.ts";
import { leavesStoreAlone, newKvFile, type TestShop } from "../support/program/shop.ts";
import { assertLimited, limitsOf, postFrom, startLimited } from "./_limits.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";

Deno.test("the 11th lead in a minute from one address is refused, until Retry-After has passed", async () => {
  await using app = await startLimited();
  const start = app.services.clock();
  for (let i = 0; i < 10; i++) {
    const answer = await postFrom(app, "192.0.2.1");
    equal(answer.status, 201);
    deepEqual(limitsOf(answer), {
      policy: { lead_post: { q: 10, w: 60 }, lead_email: { q: 20, w: 3_600 } },
      state: {
        lead_post: { r: 9 - i, t: Math.ceil(60 - 1.5 * i) },
        lead_email: { r: 19, t: 3_600 },
      },
    });
    app.advance(1_500);
  }

  app.advance(5_250);
  const refused = await leavesStoreAlone(app, () => postFrom(app, "192.0.2.1"));

  // The first of them leaves 60 s after it came: 39.75 s from here.
  equal(app.services.clock() - start, 20_250);
  assertLimited(refused, 40);
  deepEqual(limitsOf(refused).policy.lead_post, { q: 10, w: 60 });
  deepEqual(limitsOf(refused).state, { lead_post: { r: 0, t: 40 } });
  equal((await postFrom(app, "192.0.2.2")).status, 201);
  app.advance(39_000);
  assertLimited(await postFrom(app, "192.0.2.1"), 1);
  app.advance(1_000);
  equal((await postFrom(app, "192.0.2.1")).status, 201);
  assertLimited(await postFrom(app, "192.0.2.1"), 2);
  equal(await app.count(keys.leads), 12);
});

Deno.test("Retry-After is exact to the second", async () => {
  await using app = await startLimited("lead_post=1/30s");
  await postFrom(app, "192.0.2.1");

  assertLimited(await postFrom(app, "192.0.2.1"), 30);
  app.advance(29_000);
  assertLimited(await postFrom(app, "192.0.2.1"), 1);
  app.advance(999);
  assertLimited(await postFrom(app, "192.0.2.1"), 1);
  app.advance(1);
  equal((await postFrom(app, "192.0.2.1")).status, 201);
});

Deno.test("an accepted lead costs one read round trip and one commit, limits included", async () => {
  await using app = await startLimited();
  const { id } = await app.stockProduct();
  const { reads, commits } = app.kv;

  const fields = { productId: id, phone: "0712345678" };
  const { status } = await postFrom(app, "192.0.2.1", fields, { "idempotency-key": "1" });

  equal(status, 201);
  deepEqual([app.kv.reads - reads, app.kv.commits - commits], [1, 1]);
});

Deno.test("a refused lead costs no commit, and the next one not even a read", async () => {
  await using file = await newKvFile();
  const env = { KV_PATH: file.path };
  await using here = await startLimited("lead_post=2/1m", { env });
  await using there = await startLimited("lead_post=2/1m", { env });
  for (let i = 0; i < 2; i++) await postFrom(here, "192.0.2.1");
  const costOf = async (app: TestShop) => {
    const { reads, commits } = app.kv;
    assertLimited(await postFrom(app, "192.0.2.1"), 60);
    return [app.kv.reads - reads, app.kv.commits - commits];
  };

  deepEqual(await costOf(here), [1, 0]);
  deepEqual(await costOf(here), [0, 0]);
  deepEqual(await costOf(here), [0, 0]);
  // What another instance has not seen, it looks up once.
  deepEqual(await costOf(there), [1, 0]);
  deepEqual(await costOf(there), [0, 0]);
});

Deno.test("ten of a hundred simultaneous leads are accepted", async () => {
  await using app = await startLimited();

  const answers = await Promise.all(
    Array.from({ length: 100 }, () => postFrom(app, "192.0.2.1")),
  );

  const statuses = answers.map(({ status }) => status).sort();
  deepEqual(statuses, [...Array(10).fill(201), ...Array(90).fill(429)]);
  equal(await app.count(keys.leads), 10);
});

Deno.test("requests that are refused for other reasons do not count", async () => {
  await using app = await startLimited("lead_post=2/1m,lead_email=2/1h");
  const email = "asha@example.com";
  const bad: [unknown, Record<string, string>?][] = [
    [{ ...LEAD, email, productId: UNKNOWN_ID }],
    [{ ...LEAD, email, name: "" }],
    [{ name: "Asha" }],
    [{ ...LEAD, email: "no address" }],
    [{ ...LEAD, email }, { "idempotency-key": "a b" }],
    ["{"],
    ["name=Asha", { "content-type": "text/plain" }],
  ];
  for (let i = 0; i < 3; i++) {
    for (const [body, headers] of bad) {
      const address = { "x-forwarded-for": "192.0.2.1" };
      const { status } = await app.post("/api/v2/leads", body, { ...address, ...headers });
      ok([400, 415, 422].includes(status), `${status}`);
    }
  }

  const statuses = [];
  for (let i = 0; i < 3; i++) statuses.push((await postFrom(app, "192.0.2.1", { email })).status);

  deepEqual(statuses, [201, 201, 429]);
});

Deno.test("a lead repeated under its Idempotency-Key counts once", async () => {
  await using app = await startLimited("lead_post=3/1m");
  const again = () =>
    postFrom(app, "192.0.2.1", { email: "asha@example.com" }, { "idempotency-key": "tab-1" });

  const first = await again();
  for (let i = 0; i < 10; i++) {
    const { text, headers } = await again();
    equal(text, first.text);
    equal(headers.get("idempotency-replayed"), "true");
  }

  equal((await postFrom(app, "192.0.2.1")).status, 201);
  equal((await postFrom(app, "192.0.2.1")).status, 201);
  // The window is full by now, and a repetition asks nothing of it.
  equal((await again()).text, first.text);
  assertLimited(await postFrom(app, "192.0.2.1"), 60);
});

Deno.test("one e-mail address is limited across IP addresses and spellings", async () => {
  await using app = await startLimited("lead_email=3/1h");
  const old = (contact: string) =>
    app.post("/save-lead/", { name: "Asha", contact }, { "x-forwarded-for": "192.0.2.9" });

  equal((await postFrom(app, "192.0.2.1", { email: "asha@example.com" })).status, 201);
  equal((await postFrom(app, "192.0.2.2", { email: " ASHA@Example.com" })).status, 201);
  equal((await old("Asha@example.COM")).status, 200);

  assertLimited(await postFrom(app, "192.0.2.3", { email: "asha@example.com" }), 3_600);
  equal((await old("asha@example.com ")).status, 429);
  equal((await postFrom(app, "192.0.2.3", { email: "juma@example.com" })).status, 201);
  const { email: _, ...byPhone } = LEAD;
  const phone = await app.post("/api/v2/leads", { ...byPhone, phone: "0712345678" });
  deepEqual(Object.keys(limitsOf(phone).policy), ["lead_post"]);
});
