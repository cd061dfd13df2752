/**
 * What cannot be accepted is refused in one form, names each field at fault,
 * stores nothing, and repeats nothing of what was sent.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import type { ErrorKind } from "../../lib/errors.ts";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD } from "../support/program/app.ts";
import { accessLog, assertProblem } from "../support/program/answers.ts";
import { asAdmin, leavesStoreAlone, newClient, startShop } from "../support/program/shop.ts";

/** What no answer repeats. */
const MARK = "Zanzibar-47";
const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
const encoder = new TextEncoder();

/** JSON as it would be typed, for what JSON.stringify does not write. */
function leadText(...members: string[]): string {
  return `{"name":"Asha","email":"asha@example.com"${members.map((one) => `,${one}`).join("")}}`;
}

const TOO_DEEP = "[".repeat(30_000) + "]".repeat(30_000);

interface Case {
  what: string;
  body: unknown;
  headers?: Record<string, string>;
  status: number;
  kind: ErrorKind;
  paths?: string[];
}

function malformed(what: string, body: unknown, headers: Record<string, string> = {}): Case {
  return { what, body, headers, status: 400, kind: "malformed" };
}

function unsupported(what: string, body: unknown, type: string): Case {
  const headers = { "content-type": type };
  return { what, body, headers, status: 415, kind: "unsupported_media_type" };
}

function invalid(what: string, body: unknown, ...paths: string[]): Case {
  return { what, body, status: 422, kind: "invalid_input", paths };
}

function badField(what: string, field: string, value: unknown, ...paths: string[]): Case {
  return invalid(what, { ...LEAD, [field]: value }, ...paths.length > 0 ? paths : [field]);
}

const CASES: Case[] = [
  malformed("JSON that stops", `{"name":"${MARK}"`),
  malformed("JSON with a comma too many", leadText() + ","),
  malformed("JSON with comments", `/* ${MARK} */ ${leadText()}`),
  malformed("JavaScript for JSON", `{name: '${MARK}'}`),
  malformed("a number that JSON has not", leadText('"quantity":NaN')),
  malformed("two bodies in one", leadText() + leadText()),
  malformed("an empty body that says it is JSON", ""),
  malformed("white space for a body", " \n"),
  malformed("a raw line end within a string", `{"name":"Asha\n","email":"asha@example.com"}`),
  malformed("bytes that are not UTF-8", encoder.encode(leadText()).with(10, 0xff)),
  malformed(
    "half a character at the end",
    Uint8Array.of(...encoder.encode(leadText()), 0xe2, 0x82),
  ),
  malformed(
    "an overlong slash",
    Uint8Array.of(...encoder.encode('{"name":"'), 0xc0, 0xaf, 0x22, 0x7d),
  ),
  malformed(
    "UTF-16",
    new Uint8Array(new Uint16Array([...leadText()].map((c) => c.charCodeAt(0))).buffer),
  ),
  malformed(
    "a surrogate in UTF-8",
    Uint8Array.of(...encoder.encode('{"name":"'), 0xed, 0xa0, 0x80, 0x22, 0x7d),
  ),
  malformed("an Idempotency-Key with a space", LEAD, { "idempotency-key": `${MARK} a` }),
  malformed("an empty Idempotency-Key", LEAD, { "idempotency-key": "" }),
  malformed("an Idempotency-Key that is too long", LEAD, { "idempotency-key": "x".repeat(256) }),
  malformed("an Idempotency-Key that is not ASCII", LEAD, { "idempotency-key": "caf\u00e9" }),

  unsupported("JSON without a content type", leadText(), ""),
  unsupported("JSON as text", leadText(), "text/plain"),
  unsupported("a form", `name=${MARK}`, "application/x-www-form-urlencoded"),
  unsupported("a form in parts", leadText(), "multipart/form-data; boundary=x"),
  unsupported("JSON in UTF-16", leadText(), "application/json; charset=utf-16"),
  unsupported("a patch", leadText(), "application/merge-patch+json"),
  unsupported("a type that begins like JSON", leadText(), "application/jsonp"),
  unsupported("two types", leadText(), "text/plain, application/json"),

  invalid("null", "null", ""),
  invalid("a list", [LEAD], ""),
  invalid("an empty list", [], ""),
  invalid("a number", "47", ""),
  invalid("a string", JSON.stringify(MARK), ""),
  invalid("true", "true", ""),
  invalid("30,000 lists within each other", TOO_DEEP, ""),
  invalid("30,000 lists in a field", leadText(`"message":${TOO_DEEP}`), "message"),
  invalid("30,000 lists in an unknown field", leadText(`"x":${TOO_DEEP}`), "x"),
  invalid("an empty object", {}, "name"),

  badField("an unknown field", "isAdmin", MARK),
  badField("a field that is ours to set", "status", "won"),
  badField("an id of its own", "id", UNKNOWN_ID),
  invalid("__proto__", leadText(`"__proto__":{"isAdmin":"${MARK}"}`), "__proto__"),
  invalid("constructor", leadText('"constructor":{"prototype":{"isAdmin":true}}'), "constructor"),
  invalid("prototype", leadText('"prototype":{}'), "prototype"),
  invalid("toString", leadText('"toString":"x"'), "toString"),

  badField("a number for a name", "name", 47),
  badField("null for a name", "name", null),
  badField("a list for a name", "name", [MARK]),
  badField("an object for an address", "email", { address: MARK }),
  badField("a number for a phone", "phone", 255712345678),
  badField("null for a message", "message", null),
  badField("true for a product", "productId", true),
  badField("consent in words", "marketingConsent", "yes"),

  badField("an empty name", "name", ""),
  badField("a name of spaces", "name", " \u00a0\u3000\n"),
  badField("a name of 121 characters", "name", "x".repeat(121)),
  badField("a name with a line end", "name", `${MARK}\nBcc: all`),
  badField("a name with NUL", "name", `${MARK}\u0000`),
  badField("a name with an escape", "name", "\u001b[31mred"),
  badField("a name with DEL", "name", "a\u007fb"),
  badField("a name with a C1 control", "name", "a\u0085b"),
  badField("a name that turns the writing", "name", `a\u202e${MARK}`),
  badField("a name that isolates the writing", "name", "a\u2066b"),
  badField("a name with a line separator", "name", "a\u2028b"),
  badField("a name with a noncharacter", "name", "a\uffffb"),
  invalid("a name that is half a character", '{"name":"a\\ud83d","email":"a@example.com"}', "name"),
  invalid(
    "a name with halves in the wrong order",
    '{"name":"\\ude00\\ud83d","email":"a@example.com"}',
    "name",
  ),

  badField("an address without a point", "email", `${MARK}@localhost`),
  badField("an address without an at", "email", MARK),
  badField("two addresses", "email", "a@example.com,b@example.com"),
  badField("an address with a header", "email", "a@example.com\nBcc: b@example.com"),
  badField("an address of 255 characters", "email", `${"x".repeat(243)}@example.com`),
  badField("an address with a zero-width space", "email", "as\u200bha@example.com"),
  badField("an address that looks like ASCII", "email", "\u0430sha@example.com"),
  badField("a phone of letters", "phone", MARK),
  badField("a phone that is too short", "phone", "0712"),
  badField("a phone that is too long", "phone", "0".repeat(41)),
  badField("a phone of no country", "phone", "+999712345678"),
  badField("a phone with an extension", "phone", "0712345678 ext 1"),
  invalid("no way to be reached", { name: "Asha" }, "email", "phone"),
  invalid("empty ways to be reached", { name: "Asha", email: "", phone: "" }, "email", "phone"),
  invalid("two bad ways to be reached", { name: "Asha", email: "x", phone: "y" }, "email", "phone"),

  badField("a message of 4,001 characters", "message", "x".repeat(4_001)),
  badField("a message with a bell", "message", `${MARK}\u0007`),
  badField("a message that turns the writing", "message", `\u202d${MARK}`),
  badField("a message with a bare return", "message", "a\rb"),

  ...[0, -1, 0.5, 10_001].map((quantity) =>
    badField(`a quantity of ${quantity}`, "quantity", quantity)
  ),
  ...[2 ** 53, 1e300].map((quantity) =>
    badField(`a quantity of ${quantity}`, "quantity", quantity, "quantity", "quantity")
  ),
  badField("a quantity in words", "quantity", "2"),
  badField("a quantity of null", "quantity", null),
  invalid("a quantity beyond numbers", leadText('"quantity":1e999'), "quantity"),
  badField("a currency that is none", "currency", MARK),
  badField("a currency in small letters", "currency", "tzs"),
  badField("a currency called constructor", "currency", "constructor"),
  badField("a product that is no id", "productId", "duka-pos"),
  badField("a product that is another kind of id", "productId", crypto.randomUUID()),
  badField("an id in capitals", "productId", UNKNOWN_ID.toUpperCase().replace("C00", "CAB")),
  badField("a source that is none", "source", MARK),
  badField("a source called __proto__", "source", "__proto__"),
  invalid(
    "several bad fields at once",
    { name: "", email: 1, quantity: 0, source: MARK },
    "name",
    "email",
    "quantity",
    "source",
  ),
];

for (const { what, body, headers = {}, status, kind, paths = [] } of CASES) {
  Deno.test(`POST /api/v2/leads refuses ${what}`, async () => {
    await using app = await startShop();

    const answer = await leavesStoreAlone(app, () => app.post("/api/v2/leads", body, headers));

    assertProblem(answer, status, kind, { paths, notEchoed: MARK });
    equal(answer.body.instance, "/api/v2/leads");
    ok(!answer.headers.has("location"));
  });
}

Deno.test("POST /api/v2/leads without a body names what it needs", async () => {
  await using app = await startShop();

  const answer = await leavesStoreAlone(app, () => app.request("POST", "/api/v2/leads"));

  assertProblem(answer, 422, "invalid_input", { paths: ["name"] });
});

Deno.test("POST /api/v2/leads lists at most 20 of many faults", async () => {
  await using app = await startShop();
  const unknown = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`x${i}`, MARK]));

  const answer = await leavesStoreAlone(
    app,
    () => app.post("/api/v2/leads", { ...LEAD, ...unknown }),
  );

  assertProblem(answer, 422, "invalid_input", {
    paths: Array.from({ length: 20 }, (_, i) => `x${i}`),
    notEchoed: MARK,
  });
});

Deno.test("POST /api/v2/leads cuts the name of an unknown field that is too long", async () => {
  await using app = await startShop();

  const answer = await app.post("/api/v2/leads", { ...LEAD, ["x".repeat(10_000)]: 1 });

  assertProblem(answer, 422, "invalid_input", { paths: ["x".repeat(64)] });
});

Deno.test("POST /api/v2/leads takes the last of a field that is there twice, for all purposes", async () => {
  await using app = await startShop();

  const { status, body } = await app.post("/api/v2/leads", leadText('"name":"Second"'));

  equal(status, 201);
  equal(body.lead.contact.name, "Second");
  equal((await app.services.store.get(keys.client(body.client.id)))?.name, "Second");
});

Deno.test("POST /api/v2/leads keeps what is strange but honest", async () => {
  await using app = await startShop();
  const name = '  Ḿàríà \'O"Neil" <b>😀</b> & Söhne العربية  ';
  const message = " {{7*7}} ${x} '; DROP TABLE leads;--\r\n\tSecond line \u200f ";

  const { status, body } = await app.post("/api/v2/leads", {
    name,
    email: "o'neil+tag@sub.example.co.tz",
    message,
  }, { "content-type": 'Application/JSON; charset="UTF-8"' });

  equal(status, 201);
  equal(body.lead.contact.name, name.trim());
  equal(body.lead.message, message.trim().replace("\r\n", "\n"));
  deepEqual((await asAdmin(app, "GET", `/api/v2/leads/${body.lead.id}`)).body, body.lead);
});

Deno.test("POST /api/v2/leads takes the longest of everything", async () => {
  await using app = await startShop();

  const { status, body } = await app.post("/api/v2/leads", {
    name: "é".repeat(120),
    email: `${"x".repeat(64)}@${`${"d".repeat(61)}.`.repeat(3)}io`,
    message: "😀".repeat(2_000),
    quantity: 10_000,
  }, { "idempotency-key": "~".repeat(255) });

  equal(status, 201);
  equal(body.lead.message.length, 4_000);
});

Deno.test("POST /api/v2/leads does not let a body change how objects behave", async () => {
  await using app = await startShop();

  await app.post("/api/v2/leads", leadText('"__proto__":{"polluted":true}'));
  await app.post("/api/v2/leads", leadText('"constructor":{"prototype":{"polluted":true}}'));

  equal(Reflect.get({}, "polluted"), undefined);
});

const LIMIT = 65_536;

/** A lead of so many bytes, which is too long for its fields or too large for all. */
function leadOf(bytes: number): string {
  const empty = leadText('"message":""');
  return leadText(`"message":"${"x".repeat(bytes - empty.length)}"`);
}

Deno.test("POST /api/v2/leads refuses a body over 64 KiB, whether or not it says its length", async () => {
  await using app = await startShop();
  const url = `${app.url}/api/v2/leads`;
  const chunked = (text: string) =>
    fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: new Blob([text]).stream().pipeThrough(new TransformStream()),
    });

  const fits = await leavesStoreAlone(app, () => app.post("/api/v2/leads", leadOf(LIMIT)));
  const over = await leavesStoreAlone(app, () => app.post("/api/v2/leads", leadOf(LIMIT + 1)));
  const [streamed, streamedOver] = await leavesStoreAlone(
    app,
    () =>
      Promise.all([LIMIT, LIMIT + 1].map(async (bytes) => {
        const response = await chunked(leadOf(bytes));
        const text = await response.text();
        return { status: response.status, headers: response.headers, text, body: JSON.parse(text) };
      })),
  );

  assertProblem(fits, 422, "invalid_input", { paths: ["message"] });
  assertProblem(over, 413, "payload_too_large");
  assertProblem(streamed!, 422, "invalid_input", { paths: ["message"] });
  assertProblem(streamedOver!, 413, "payload_too_large");
});

Deno.test("a body that is far too large is not read to its end, and the program goes on", async () => {
  await using app = await startShop();

  // The connection may end before the sender is done, and looks for an answer.
  const answer = await leavesStoreAlone(
    app,
    () => app.post("/api/v2/leads", leadOf(5_000_000)).catch(() => null),
  );

  if (answer) assertProblem(answer, 413, "payload_too_large");
  equal(accessLog(app).at(-1)?.status, 413);
  equal((await app.post("/api/v2/leads", LEAD)).status, 201);
});

Deno.test("every write refuses what is no JSON, too large or no object", async () => {
  await using app = await startShop();
  const { id } = await app.stockProduct();
  const clientId = await newClient(app);
  const { body: { data: [lead] } } = await asAdmin(app, "GET", "/api/v2/leads");
  const line = { description: "Work", quantity: 1, unitMinor: 1 };
  const { body: invoice } = await asAdmin(app, "POST", "/api/v2/invoices", {
    body: { clientId, lines: [line] },
  });
  const writes = [
    ["POST", "/api/v2/invoices"],
    ["POST", "/api/v2/products"],
    ["POST", `/api/v2/invoices/${invoice.id}/void`],
    ["PATCH", `/api/v2/leads/${lead.id}`],
    ["PATCH", `/api/v2/clients/${clientId}`],
    ["PATCH", `/api/v2/invoices/${invoice.id}`],
    ["PATCH", `/api/v2/products/${id}`],
  ] as const;

  for (const [method, path] of writes) {
    const send = (body: unknown, headers: Record<string, string> = {}) =>
      leavesStoreAlone(app, () => asAdmin(app, method, path, { body, headers }));

    assertProblem(await send(`{"${MARK}`), 400, "malformed", { notEchoed: MARK });
    assertProblem(await send(new Uint8Array([0x22, 0xff, 0x22])), 400, "malformed");
    assertProblem(
      await send("{}", { "content-type": "text/plain" }),
      415,
      "unsupported_media_type",
    );
    assertProblem(await send("x".repeat(LIMIT + 1)), 413, "payload_too_large");
    for (const body of ["null", "[]", '"x"', "1", TOO_DEEP]) {
      assertProblem(await send(body), 422, "invalid_input", { paths: [""] });
    }
    const unknown = await send(`{"${MARK}":1,"__proto__":{"x":1}}`);
    equal(unknown.status, 422);
    const paths = unknown.body.errors.map(({ path }: { path: string }) => path);
    ok(paths.includes("__proto__"), paths.join());
  }
});
