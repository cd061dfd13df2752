/**
 * The words of mails, changed by operators.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { isChainIntact } from "../../lib/entities/mod.ts";
import { sweep } from "../../lib/integrity/mod.ts";
import * as keys from "../../lib/kv/keys.ts";
import { startApp, type TestApp } from "../support/program/app.ts";

const PATH = "/api/v2/mail-templates/invoice_sent/sw";
const OWN = {
  subject: "Ankara {{invoiceNumber}}",
  text: "Habari {{clientName}}, lipa {{owed}}: {{invoiceUrl}}",
  html: "<p>Habari {{clientName}}</p>",
};

function put(app: TestApp, body: unknown, headers: Record<string, string> = {}) {
  return app.request("PUT", PATH, { key: app.adminKey, body, headers });
}

/** As it was before the runtime compressed the answer, which weakens it. */
function etagOf({ headers }: { headers: Headers }): string | undefined {
  return headers.get("etag")?.replace(/^W\//, "");
}

Deno.test("GET /api/v2/mail-templates lists the words of all mails", async () => {
  await using app = await startApp();
  await put(app, OWN);

  const { status, body } = await app.get("/api/v2/mail-templates", app.adminKey);

  equal(status, 200);
  equal(body.data.length, 18);
  const own = body.data.filter(({ isOwn }: { isOwn: boolean }) => isOwn);
  deepEqual(
    own.map(({ kind, language, subject }: Record<string, string>) => [kind, language, subject]),
    [
      ["invoice_sent", "sw", OWN.subject],
    ],
  );
});

Deno.test("PUT of a mail template has the shop's own words used, and its history keeps all", async () => {
  await using app = await startApp();

  const before = await app.get(PATH, app.adminKey);
  const first = await put(app, OWN);
  const second = await put(app, { ...OWN, html: "" });
  const reset = await app.request("DELETE", PATH, { key: app.adminKey });
  const after = await app.get(PATH, app.adminKey);

  deepEqual([before.status, before.body.isOwn, before.body.revision], [200, false, 0]);
  deepEqual([first.status, etagOf(first), first.body.isOwn], [200, '"1"', true]);
  equal(first.body.text, OWN.text);
  deepEqual([second.status, etagOf(second), second.body.html], [200, '"2"', ""]);
  deepEqual([reset.status, etagOf(reset), reset.body.isOwn], [200, '"3"', false]);
  equal(after.body.subject, before.body.subject);
  const { store } = app.services;
  const [stored] = await store.list(keys.mailTemplates, { limit: 9 });
  const template = stored!.value;
  const history = await store.list(keys.auditOf("mail_template", template.id), { limit: 9 });
  ok(isChainIntact(template, history.map(({ value }) => value)));
  deepEqual(history.map(({ value: { action, by } }) => [action, by]), [
    ["mail_template.put", "bootstrap"],
    ["mail_template.reset", "bootstrap"],
  ]);
  deepEqual((await sweep(app.services)).findings, []);
});

Deno.test("the largest template can be changed again and again", async () => {
  await using app = await startApp();
  const large = (letter: string) => ({
    subject: "é".repeat(200),
    // Two bytes a character, since one of them needs it.
    text: `${letter}🙂${"ء".repeat(4_990)}`,
    html: `${letter}🙂${"ء".repeat(9_990)}`,
  });

  for (const letter of ["a", "b", "c"]) equal((await put(app, large(letter))).status, 200);

  equal((await app.get(PATH, app.adminKey)).body.text, large("c").text);
});

Deno.test("PUT of a mail template refuses a revision that is not the last", async () => {
  await using app = await startApp();

  const early = await put(app, OWN, { "if-match": '"1"' });
  const made = await put(app, OWN, { "if-match": '"0"' });
  const stale = await put(app, { ...OWN, html: "" }, { "if-match": '"0"' });
  const right = await put(app, { ...OWN, html: "" }, { "if-match": '"1"' });

  deepEqual([early, made, stale, right].map(({ status }) => status), [412, 200, 412, 200]);
});

Deno.test("PUT of a mail template names each part that is no template of its mail", async () => {
  await using app = await startApp();

  const { status, body } = await put(app, {
    subject: "{{nobody}}",
    text: "{{#owed}}",
    html: "<p>{{{clientName}}}</p>",
  });
  const unknown = await put(app, { ...OWN, footer: "x" });
  const large = await put(app, { ...OWN, text: "x".repeat(5_001) });

  equal(status, 422);
  deepEqual(body.errors.map(({ path, code }: Record<string, string>) => [path, code]), [
    ["subject", "unknown_variable"],
    ["text", "not_a_template"],
    ["html", "not_allowed"],
  ]);
  match(
    body.errors[0].message,
    /Unknown variable \{\{nobody\}\}; known variables: .*invoiceNumber/,
  );
  deepEqual([unknown.status, large.status], [422, 422]);
  equal(await app.count(keys.mailTemplates), 0);
});

Deno.test("mail templates are of known mails in known languages only", async () => {
  await using app = await startApp();

  for (const path of ["invoice_sent/fr", "nothing/en", "toString/en"]) {
    const url = `/api/v2/mail-templates/${path}`;
    equal((await app.get(url, app.adminKey)).status, 422, path);
    equal((await app.request("PUT", url, { key: app.adminKey, body: OWN })).status, 422, path);
  }
});

Deno.test("POST …/preview shows a mail with an example, in words that are not stored", async () => {
  await using app = await startApp();
  const preview = (body: unknown) =>
    app.request("POST", `${PATH}/preview`, { key: app.adminKey, body });

  const usual = await preview({});
  const draft = await preview({ subject: "Ya {{clientName}}", html: "" });
  const bad = await preview({ text: "{{nobody}}" });

  deepEqual([usual.status, draft.status, bad.status], [200, 200, 422]);
  equal(usual.body.subject, "Ankara INV-2026-000123 kutoka WeTech");
  match(usual.body.html, /^<!DOCTYPE html>/);
  match(usual.body.text, /TSh 300,000/);
  equal(draft.body.subject, "Ya Asha Mushi");
  ok(!("html" in draft.body));
  deepEqual(bad.body.errors.map(({ path }: { path: string }) => path), ["text"]);
  equal(await app.count(keys.mailTemplates), 0);
});

Deno.test("mail templates are read and written with their scopes only", async () => {
  await using app = await startApp();
  const reader = await app.newKey("system:read");
  const writer = await app.newKey("system:write");
  const other = await app.newKey("invoices:write");
  const status = async (method: string, path: string, key?: string, body?: unknown) =>
    (await app.request(method, path, { ...(key ? { key } : {}), ...(body ? { body } : {}) }))
      .status;

  equal(await status("GET", PATH), 401);
  equal(await status("GET", PATH, other), 403);
  equal(await status("GET", PATH, reader), 200);
  equal(await status("PUT", PATH, undefined, OWN), 401);
  equal(await status("PUT", PATH, reader, OWN), 403);
  equal(await status("PUT", PATH, writer, OWN), 200);
  equal(await status("DELETE", PATH, reader), 403);
  equal(await status("POST", `${PATH}/preview`, reader, {}), 403);
  equal(await status("POST", `${PATH}/preview`, writer, {}), 200);
});

Deno.test("PUT of a mail template takes JSON in UTF-8 and nothing else", async () => {
  await using app = await startApp();
  const send = async (headers: Record<string, string>, body: Uint8Array | string) =>
    (await app.request("PUT", PATH, { key: app.adminKey, headers, body })).status;

  equal(await send({ "content-type": "text/plain" }, JSON.stringify(OWN)), 415);
  equal(
    await send({ "content-type": "application/json" }, new Uint8Array([0x22, 0xff, 0x22])),
    400,
  );
  equal(await send({ "content-type": "application/json" }, "{"), 400);
});
