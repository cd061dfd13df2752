/** PATCH /api/v2/leads/:id moves a lead to another status, if its revision is the expected one. */
import { deepStrictEqual as deepEqual, match, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD } from "../support/program/app.ts";
import { assertProblem, etagOf } from "../support/program/answers.ts";
import { asAdmin, checkedHistoryOf, leavesStoreAlone, startShop } from "../support/program/shop.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";

const MOVES: [path: string[], refused: string[]][] = [
  [["new"], []],
  [["contacted"], ["new"]],
  [["qualified"], ["new"]],
  [["contacted", "qualified", "contacted"], ["new"]],
  [["won"], ["new", "contacted", "qualified"]],
  [["won", "lost"], ["new", "qualified", "won"]],
  [["lost"], ["new", "qualified", "won"]],
  [["lost", "contacted", "won"], ["new", "contacted", "qualified"]],
];

for (const [path, refused] of MOVES) {
  Deno.test(`PATCH /api/v2/leads/:id moves a new lead to ${path.join(", ")}`, async () => {
    await using app = await startShop();
    const { body: { lead } } = await app.post("/api/v2/leads", LEAD);
    const address = `/api/v2/leads/${lead.id}`;
    const last = path.at(-1)!;

    for (const status of path) {
      const answer = await asAdmin(app, "PATCH", address, { body: { status } });
      equal(answer.status, 200);
      equal(answer.body.status, status);
      equal(etagOf(answer), `"${answer.body.revision}"`);
    }
    for (const status of refused) {
      const answer = await leavesStoreAlone(
        app,
        () => asAdmin(app, "PATCH", address, { body: { status } }),
      );
      assertProblem(answer, 409, "conflict");
    }

    equal((await asAdmin(app, "GET", address)).body.status, last);
    for (const status of ["new", "contacted", "qualified", "won", "lost"] as const) {
      equal(await app.count(keys.leadsByStatus(status)), status === last ? 1 : 0, status);
    }
    const moves = path.filter((status) => status !== "new");
    const history = await checkedHistoryOf(app, "lead", keys.lead(lead.id));
    deepEqual(history.map(({ changes }) => changes.status?.[1]), moves);
  });
}

Deno.test("PATCH /api/v2/leads/:id records who changed the status, from which to which, and when", async () => {
  await using app = await startShop();
  const { body: { lead } } = await app.post("/api/v2/leads", LEAD);
  const key = await app.newKey("leads:write");
  app.advance(60_000);

  const { headers, body } = await app.request("PATCH", `/api/v2/leads/${lead.id}`, {
    body: { status: "contacted" },
    key,
  });

  deepEqual(body, {
    ...lead,
    status: "contacted",
    revision: 2,
    updatedAt: "2026-06-15T09:01:00.000Z",
  });
  const [entry, ...more] = await checkedHistoryOf(app, "lead", keys.lead(lead.id));
  deepEqual(more, []);
  match(entry!.by, /^key:/);
  equal(entry!.requestId, headers.get("x-request-id"));
  equal(entry!.at, "2026-06-15T09:01:00.000Z");
  equal(entry!.action, "lead.move");
  deepEqual(entry!.fields, ["status"]);
  deepEqual(entry!.changes, { status: ["new", "contacted"] });
});

Deno.test("PATCH /api/v2/leads/:id writes nothing when the lead has that status already", async () => {
  await using app = await startShop();
  const { body: { lead } } = await app.post("/api/v2/leads", LEAD);

  const { status, body } = await leavesStoreAlone(
    app,
    () => asAdmin(app, "PATCH", `/api/v2/leads/${lead.id}`, { body: { status: "new" } }),
  );

  equal(status, 200);
  deepEqual(body, lead);
});

Deno.test("PATCH /api/v2/leads/:id refuses when If-Match names another revision", async () => {
  await using app = await startShop();
  const { body: { lead } } = await app.post("/api/v2/leads", LEAD);
  const move = (status: string, tag: string) =>
    asAdmin(app, "PATCH", `/api/v2/leads/${lead.id}`, {
      body: { status },
      headers: { "if-match": tag },
    });

  const first = await move("contacted", '"1"');
  const stale = await leavesStoreAlone(app, () => move("lost", '"1"'));
  const staleAndWeak = await leavesStoreAlone(app, () => move("lost", 'W/"1"'));
  const current = await move("qualified", first.headers.get("etag")!);
  const any = await move("won", "*");

  equal(first.status, 200);
  assertProblem(stale, 412, "stale_revision");
  assertProblem(staleAndWeak, 412, "stale_revision");
  equal(current.body.status, "qualified");
  equal(any.body.status, "won");
  equal((await checkedHistoryOf(app, "lead", keys.lead(lead.id))).length, 3);
});

for (const tag of ["1", '"one"', 'w/"1"', '""', '"-1"', '"1", "2"', '"1e3"', '"9999999999"']) {
  Deno.test(`PATCH /api/v2/leads/:id refuses If-Match: ${tag}`, async () => {
    await using app = await startShop();
    const { body: { lead } } = await app.post("/api/v2/leads", LEAD);

    const answer = await leavesStoreAlone(
      app,
      () =>
        asAdmin(app, "PATCH", `/api/v2/leads/${lead.id}`, {
          body: { status: "won" },
          headers: { "if-match": tag },
        }),
    );

    assertProblem(answer, 400, "malformed");
  });
}

Deno.test("PATCH /api/v2/leads/:id accepts one of two simultaneous changes and refuses the other with 412", async () => {
  await using app = await startShop();
  const { body: { lead } } = await app.post("/api/v2/leads", LEAD);
  const move = (status: string) =>
    asAdmin(app, "PATCH", `/api/v2/leads/${lead.id}`, {
      body: { status },
      headers: { "if-match": '"1"' },
    });

  const answers = await Promise.all([move("won"), move("lost")]);

  deepEqual(answers.map(({ status }) => status).sort(), [200, 412]);
  equal((await checkedHistoryOf(app, "lead", keys.lead(lead.id))).length, 1);
});

Deno.test("PATCH /api/v2/leads/:id changes only the status, and only of existing leads", async () => {
  await using app = await startShop();
  const { body: { lead } } = await app.post("/api/v2/leads", LEAD);
  const patch = (id: string, body: unknown) =>
    leavesStoreAlone(app, () => asAdmin(app, "PATCH", `/api/v2/leads/${id}`, { body }));

  const unknown = await patch(UNKNOWN_ID, { status: "won" });
  const strange = await patch(lead.id, { status: "sold" });
  const more = await patch(lead.id, { status: "won", clientId: UNKNOWN_ID });
  const nothing = await patch(lead.id, {});

  assertProblem(unknown, 404, "not_found");
  assertProblem(strange, 422, "invalid_input", { paths: ["status"], notEchoed: "sold" });
  assertProblem(more, 422, "invalid_input", { paths: ["clientId"] });
  assertProblem(nothing, 422, "invalid_input", { paths: ["status"] });
});
