/**
 * The audit trail, the job runs and the incidents that operators see.
 */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { type Job, runJob } from "../../cron/_job.ts";
import type { Services } from "../../lib/app/mod.ts";
import { ENTITY_KINDS } from "../../lib/entities/mod.ts";
import { LEAD } from "../support/program/app.ts";
import { startShop } from "../support/program/shop.ts";

Deno.test("GET /api/v2/system/audit shows who changed what, page by page, without personal data", async () => {
  await using app = await startShop();
  const { body: { lead, client } } = await app.post("/api/v2/leads", LEAD);
  const key = await app.newKey("leads:write", "clients:write", "system:read");
  const by = { key };
  const history = (query: string) => app.get(`/api/v2/system/audit?${query}`, key);
  for (const status of ["contacted", "qualified", "won"]) {
    await app.request("PATCH", `/api/v2/leads/${lead.id}`, { ...by, body: { status } });
  }
  await app.request("PATCH", `/api/v2/clients/${client.id}`, { ...by, body: { name: "Zawadi" } });

  const first = await history(`entity=lead&id=${lead.id}&limit=2`);
  const rest = await history(`entity=lead&id=${lead.id}&cursor=${first.body.nextCursor}`);
  const ofClient = await history(`entity=client&id=${client.id}`);

  equal(first.status, 200);
  const changes = [...first.body.data, ...rest.body.data].map((entry) => entry.changes.status);
  deepEqual(changes, [["new", "contacted"], ["contacted", "qualified"], ["qualified", "won"]]);
  equal(rest.body.nextCursor, null);
  equal(first.body.data[0].by.startsWith("key:"), true);
  deepEqual(ofClient.body.data[0].fields, ["name"]);
  deepEqual(ofClient.body.data[0].changes, {});
  equal(ofClient.text.includes("Zawadi"), false);
});

Deno.test("GET /api/v2/system/audit answers for every kind of entity that has a history", async () => {
  await using app = await startShop();
  const { body: { lead } } = await app.post("/api/v2/leads", LEAD);

  for (const entity of ENTITY_KINDS) {
    const { status, body } = await app.get(
      `/api/v2/system/audit?entity=${entity}&id=${lead.id}`,
      app.adminKey,
    );
    equal(status, 200, entity);
    deepEqual(body, { data: [], nextCursor: null }, entity);
  }
});

Deno.test("GET /api/v2/system/audit shows the history of a mail template", async () => {
  await using app = await startShop();
  const path = "/api/v2/mail-templates/invoice_sent/sw";
  const body = { subject: "Ankara", text: "Habari", html: "" };
  await app.request("PUT", path, { key: app.adminKey, body });
  await app.request("PUT", path, { key: app.adminKey, body: { ...body, text: "Habari tena" } });
  const template = await app.get(path, app.adminKey);

  const history = await app.get(
    `/api/v2/system/audit?entity=mail_template&id=${template.body.id}`,
    app.adminKey,
  );

  equal(history.status, 200);
  equal(history.body.data.length, 1);
  const [{ action, fields, revision }] = history.body.data;
  deepEqual([action, fields, revision], ["mail_template.put", ["text"], 2]);
});

Deno.test("GET /api/v2/system/audit refuses an invalid cursor and an unknown kind of entity", async () => {
  await using app = await startShop();
  const { body: { lead } } = await app.post("/api/v2/leads", LEAD);

  for (const query of ["entity=lead&cursor=x", "entity=lead&cursor=0", "entity=op", "limit=1"]) {
    const { status } = await app.get(`/api/v2/system/audit?id=${lead.id}&${query}`, app.adminKey);
    equal(status, 422, query);
  }
});

Deno.test("GET /api/v2/system/jobs and incidents show a job that failed and recovered", async () => {
  await using app = await startShop();
  let isBroken = true;
  const job: Job<Services> = {
    name: "reminders",
    schedule: "0 6 * * *",
    timeLimitMs: 1_000,
    run: () => isBroken ? Promise.reject(new Error("no paper")) : Promise.resolve({ sent: 1 }),
  };

  await runJob(app.services, job);
  const failed = await app.get("/api/v2/system/jobs", app.adminKey);
  const open = await app.get("/api/v2/system/incidents", app.adminKey);
  isBroken = false;
  app.advance(60_000);
  await runJob(app.services, job);
  const ran = await app.get("/api/v2/system/jobs", app.adminKey);
  const closed = await app.get("/api/v2/system/incidents", app.adminKey);

  deepEqual([failed.body.data[0].job, failed.body.data[0].status], ["reminders", "failed"]);
  deepEqual([open.body.data[0].name, open.body.data[0].resolvedAt], [
    "job_failed:reminders",
    null,
  ]);
  deepEqual([ran.body.data[0].status, ran.body.data[0].outcome], ["ok", { sent: 1 }]);
  equal(typeof closed.body.data[0].resolvedAt, "string");
});
