/**
 * Operators ask for sweeps and see what they found and mended.
 */
// Under their short names Deno exports from here what compares with `==`.
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { transact } from "../../lib/kv/mod.ts";
import { operationOf } from "../../lib/entities/caller.ts";
import { runSweep } from "../../lib/integrity/job.ts";
import { LEAD, TESTER } from "../support/program/app.ts";
import { assertProblem } from "../support/program/answers.ts";
import { asAdmin, startShop, type TestShop } from "../support/program/shop.ts";

const PATH = "/api/v2/system/sweeps";
const signal = new AbortController().signal;

/** The job, which no test's program runs by itself. */
function runJob({ services }: TestShop, fields: { budgetMs?: number; sliceMs?: number } = {}) {
  return runSweep(services, { signal, by: TESTER, ...fields });
}

/** Deletes an index entry and a client behind the program's back. */
async function damage(app: TestShop): Promise<void> {
  const { body: { client } } = await app.post("/api/v2/leads", LEAD);
  const { body: other } = await app.post("/api/v2/leads", { ...LEAD, email: "juma@example.com" });
  await transact(app.services, {}, (_, writes) => {
    writes.delete(keys.clientByEmail(client.email));
    writes.delete(keys.client(other.client.id));
    writes.delete(keys.clientByEmail("juma@example.com"));
  }, { operation: operationOf(TESTER, "test", null, { now: app.services.clock() }) });
}

Deno.test("POST /api/v2/system/sweeps requests a sweep that repairs, and GET shows its result", async () => {
  await using app = await startShop();
  await damage(app);

  const asked = await asAdmin(app, "POST", PATH, { body: { repair: true } });
  const location = asked.headers.get("location")!;
  await runJob(app);
  const { status, body, text } = await asAdmin(app, "GET", location);

  equal(asked.status, 202);
  equal(location, `${PATH}/${asked.body.id}`);
  deepEqual(
    [asked.body.status, asked.body.repair, asked.body.startedAt, asked.body.by],
    ["pending", true, null, "bootstrap"],
  );
  equal(status, 200);
  deepEqual([body.id, body.status, body.findingsTotal, body.repairsTotal], [
    asked.body.id,
    "done",
    1,
    1,
  ]);
  ok(body.entries > 5);
  equal(body.counts.lead, 2);
  const [finding] = body.findings;
  deepEqual([finding.check, finding.severity, finding.repair], [
    "lead.client_missing",
    "critical",
    "not_repairable",
  ]);
  const [repair] = body.repairs;
  deepEqual([repair.check, repair.key, repair.by], [
    "index.missing",
    '["client_by_email","[redacted]"]',
    "cli", // whoever ran the job
  ]);
  ok(!/example\.com|resumeFrom/.test(text + asked.text));
});

Deno.test("GET /api/v2/system/sweeps lists them newest first, page by page, also the one under way", async () => {
  await using app = await startShop();
  const ids: string[] = [];
  for (let i = 0; i < 2; i++) {
    ids.unshift((await asAdmin(app, "POST", PATH, { body: {} })).body.id);
    await runJob(app);
  }
  await runJob(app); // the night's
  ids.unshift((await asAdmin(app, "POST", PATH, { body: {} })).body.id);
  await runJob(app, { budgetMs: 0, sliceMs: 0 });

  const first = await asAdmin(app, "GET", `${PATH}?limit=1`);
  const rest = await asAdmin(app, "GET", `${PATH}?cursor=${first.body.nextCursor}`);

  equal(first.status, 200);
  deepEqual(first.body.data.map(({ id, status }: Record<string, string>) => [id, status]), [
    [ids[0], "running"],
  ]);
  equal("findings" in first.body.data[0], false);
  equal(rest.body.nextCursor, null);
  const listed = rest.body.data.map(({ id }: { id: string }) => id);
  deepEqual(listed.filter((id: string) => ids.includes(id)), ids.slice(1));
  ok(rest.body.data.every(({ status }: { status: string }) => status === "done"));
});

Deno.test("POST /api/v2/system/sweeps is answered with the one that waits", async () => {
  await using app = await startShop();

  const first = await asAdmin(app, "POST", PATH, { body: { repair: true } });
  const second = await asAdmin(app, "POST", PATH, { body: {} });

  deepEqual(second.body, first.body);
  equal(second.status, 202);
});

Deno.test("POST /api/v2/system/sweeps refuses what it does not understand", async () => {
  await using app = await startShop();

  for (const [body, path] of [[{ repair: "yes" }, "repair"], [{ mend: true }, "mend"], [[], ""]]) {
    const answer = await asAdmin(app, "POST", PATH, { body });
    assertProblem(answer, 422, "invalid_input", { paths: [String(path)] });
  }
  assertProblem(
    await asAdmin(app, "POST", PATH, { body: {}, headers: { "idempotency-key": "a b" } }),
    400,
    "malformed",
  );
  deepEqual((await asAdmin(app, "GET", PATH)).body.data, []);
});

Deno.test("sweeps need system:read to be seen and system:write to be asked for", async () => {
  await using app = await startShop();
  const reader = await app.newKey("system:read");
  const writer = await app.newKey("system:write");
  const post = (key: string) => app.request("POST", PATH, { key, body: { repair: true } });

  assertProblem(await post(reader), 403, "forbidden");
  assertProblem(await app.get(PATH, writer), 403, "forbidden");
  const { status, body } = await post(writer);
  equal(status, 202);
  equal((await app.get(`${PATH}/${body.id}`, reader)).status, 200);
  assertProblem(await app.get(`${PATH}/${body.id}`, writer), 403, "forbidden");
});

Deno.test("GET /api/v2/system/sweeps/:id knows no sweep that is not there", async () => {
  await using app = await startShop();

  const unknown = await asAdmin(app, "GET", `${PATH}/01938d6e-3c00-7000-8000-000000000001`);

  assertProblem(unknown, 404, "not_found");
  assertProblem(await asAdmin(app, "GET", `${PATH}/x`), 422, "invalid_input", { paths: ["id"] });
});
