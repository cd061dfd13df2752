/**
 * Lists are walked by cursors, newest first: each entry is met once, whatever is
 * added on the way, and a cursor opens no list but its own.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { toBase64Url } from "../../lib/digest.ts";
import { LEAD, PRODUCT, TESTER } from "../support/program/app.ts";
import { createProduct } from "../../lib/products/mod.ts";
import { assertProblem } from "../support/program/answers.ts";
import { asAdmin, newClient, startShop, type TestShop } from "../support/program/shop.ts";

/** A list, and how to put one more entry at its head. */
interface List {
  path: string;
  /** @returns The id of the new entry. */
  add: () => Promise<string>;
}

const ADDRESS = "asha@example.com";

/** Each with one client, so that lists by client have everything. */
async function listsOf(app: TestShop): Promise<List[]> {
  let [products, clients] = [0, 0];
  const clientId = await newClient(app, { email: ADDRESS });
  const { body: { data: [first] } } = await asAdmin(app, "GET", "/api/v2/leads");
  await asAdmin(app, "PATCH", `/api/v2/leads/${first.id}`, { body: { status: "lost" } });

  const lead = async () => (await app.post("/api/v2/leads", LEAD)).body.lead.id;
  const invoice = async () => {
    const lines = [{ description: "Work", quantity: 1, unitMinor: 100 }];
    const { body } = await asAdmin(app, "POST", "/api/v2/invoices", { body: { clientId, lines } });
    return body.id;
  };
  const client = () => newClient(app, { email: `c${++clients}@example.com` });
  const product = async () => {
    const slug = `p-${++products}`;
    return (await createProduct(app.services, { ...PRODUCT, slug }, TESTER)).id;
  };
  return [
    { path: "/api/v2/leads?status=new", add: lead },
    { path: `/api/v2/leads?clientId=${clientId}&status=new`, add: lead },
    { path: "/api/v2/leads", add: lead },
    { path: `/api/v2/leads?clientId=${clientId}`, add: lead },
    { path: "/api/v2/invoices?status=open", add: invoice },
    { path: `/api/v2/invoices?clientId=${clientId}`, add: invoice },
    { path: `/api/v2/invoices?clientId=${clientId}&status=open`, add: invoice },
    { path: "/api/v2/invoices", add: invoice },
    { path: "/api/v2/clients", add: client },
    { path: "/api/v2/products?status=all", add: product },
    { path: "/api/v2/products?status=all&category=saas", add: product },
  ];
}

async function getPage(app: TestShop, path: string, parameters: Record<string, unknown> = {}) {
  const url = new URL(path, app.url);
  for (const [name, value] of Object.entries(parameters)) {
    url.searchParams.set(name, String(value));
  }
  return await app.get(url.pathname + url.search, app.adminKey);
}

/** Walks a list to its end, doing something after each page. */
async function walk(
  app: TestShop,
  path: string,
  { limit, between = () => Promise.resolve() }: {
    limit: number;
    between?: (page: number) => Promise<unknown>;
  },
): Promise<string[]> {
  const met: string[] = [];
  let cursor: string | null = null;
  for (let page = 1; page < 100; page++) {
    const { status, body, text } = await getPage(app, path, { limit, ...(cursor && { cursor }) });
    equal(status, 200, text);
    deepEqual(Object.keys(body).sort(), ["data", "nextCursor"]);
    ok(body.data.length <= limit);
    met.push(...body.data.map(({ id }: { id: string }) => id));
    cursor = body.nextCursor;
    if (cursor === null) return met;
    await between(page);
  }
  throw new Error(`Cannot reach the end of ${path}`);
}

Deno.test("a walk by cursors meets every entry once, newest first, while new ones come", async () => {
  await using app = await startShop();

  for (const { path, add } of await listsOf(app)) {
    for (let i = 0; i < 7; i++) await add();
    const before = (await getPage(app, path, { limit: 200 })).body.data.map((
      { id }: { id: string },
    ) => id);
    ok(before.length >= 7, path);

    const met = await walk(app, path, { limit: 2, between: add });
    const all = await walk(app, path, { limit: 3 });

    deepEqual(met, before, path);
    deepEqual(all, [...new Set(all)].toSorted().toReversed(), path);
    ok(all.length > before.length, path);
  }
});

Deno.test("a walk goes on where it was when the entry of its cursor has left the list", async () => {
  await using app = await startShop();
  for (let i = 0; i < 5; i++) await app.post("/api/v2/leads", LEAD);
  const [e, d, c, b, a] = await walk(app, "/api/v2/leads", { limit: 200 });

  const met = await walk(app, "/api/v2/leads?status=new", {
    limit: 2,
    between: async (page) => {
      if (page !== 1) return;
      // One that was met, the cursor's own, and one that was not yet.
      for (const id of [e, d, b]) {
        await asAdmin(app, "PATCH", `/api/v2/leads/${id}`, { body: { status: "won" } });
      }
    },
  });

  deepEqual(met, [e, d, c, a]);
});

Deno.test("a page that takes exactly what there is says that there is no more", async () => {
  await using app = await startShop();
  for (const { path, add } of await listsOf(app)) {
    // What a client's index names is looked at before the status, so more may seem to come.
    if (path.includes("&status=")) continue;
    await add();
    const { body: { data } } = await getPage(app, path, { limit: 200 });

    const { body } = await getPage(app, path, { limit: data.length });

    equal(body.nextCursor, null, path);
    deepEqual(body.data, data, path);
  }
});

Deno.test("a list of nothing is an empty page", async () => {
  await using app = await startShop();

  for (const path of ["leads", "clients", "invoices", "products", "leads?status=won"]) {
    const { status, body } = await getPage(app, `/api/v2/${path}`);

    equal(status, 200, path);
    deepEqual(body, { data: [], nextCursor: null });
  }
});

Deno.test("lists by status, client, category and contact have what they are asked for", async () => {
  await using app = await startShop();
  const asha = await newClient(app, { name: "Asha", email: "asha@example.com" });
  const juma = await newClient(app, { name: "Juma", email: "juma@example.com" });
  const [theLeadOfJuma] = await walk(app, `/api/v2/leads?clientId=${juma}`, { limit: 10 });
  await asAdmin(app, "PATCH", `/api/v2/leads/${theLeadOfJuma}`, { body: { status: "won" } });
  const web = await app.stockProduct({ slug: "web", category: "web" });
  const saas = await app.stockProduct({ slug: "saas", category: "saas", active: false });
  const idsAt = async (path: string) =>
    (await getPage(app, path)).body.data.map(({ id }: { id: string }) => id);

  deepEqual(await idsAt("/api/v2/leads?status=won"), [theLeadOfJuma]);
  deepEqual(await idsAt(`/api/v2/leads?status=won&clientId=${asha}`), []);
  deepEqual(await idsAt(`/api/v2/leads?status=won&clientId=${juma}`), [theLeadOfJuma]);
  deepEqual(await idsAt("/api/v2/clients?email=JUMA@example.com"), [juma]);
  deepEqual(await idsAt("/api/v2/clients?email=nobody@example.com"), []);
  deepEqual(await idsAt("/api/v2/clients?phone=0712345678"), []);
  deepEqual(await idsAt("/api/v2/products?category=web"), [web.id]);
  deepEqual(await idsAt("/api/v2/products?category=saas"), []);
  deepEqual(await idsAt("/api/v2/products?category=saas&status=inactive"), [saas.id]);
  deepEqual(await idsAt("/api/v2/products?status=all"), [saas.id, web.id]);
});

Deno.test("a client is found by number and address together only when both are its own", async () => {
  await using app = await startShop();
  const asha = await newClient(app, { email: "asha@example.com", phone: "0712345678" });
  await newClient(app, { email: "juma@example.com", phone: "0754000111" });
  const found = async (query: string) =>
    (await getPage(app, `/api/v2/clients?${query}`)).body.data.map(({ id }: { id: string }) => id);

  deepEqual(await found("email=asha@example.com&phone=0712345678"), [asha]);
  deepEqual(await found("email=asha@example.com&phone=0754000111"), []);
  deepEqual(await found("email=asha@example.com&phone=0754999999"), []);
});

Deno.test("every list refuses a cursor that it did not give out", async () => {
  await using app = await startShop();
  const lists = await listsOf(app);
  for (const { add } of lists) {
    for (let i = 0; i < 2; i++) await add();
  }
  const cursors = new Map<string, string>();
  for (const { path } of lists) {
    cursors.set(path, (await getPage(app, path, { limit: 1 })).body.nextCursor);
  }

  for (const { path } of lists) {
    const own = cursors.get(path)!;
    const name = atob(own.replaceAll("-", "+").replaceAll("_", "/")).split(":")[0]!;
    const encoded = (text: string) => toBase64Url(new TextEncoder().encode(text));
    const bad = [
      "garbage",
      "%%%",
      "AA==",
      own + "A",
      own.slice(0, -1),
      own.slice(4),
      encoded(name),
      encoded(`${name}:`),
      encoded(`${name}:not-an-id`),
      encoded(`${name}:01938d6e-3c00-7000-8000-00000000000G`),
      encoded(`x${name}:01938d6e-3c00-7000-8000-000000000001`),
      ...[...cursors].filter(([other]) => !isSameList(other, path)).map(([, cursor]) => cursor),
    ];
    for (const cursor of bad) {
      const answer = await getPage(app, path, { cursor });

      assertProblem(answer, 400, "malformed", { paths: ["cursor"] });
    }
  }
});

/** A client's lists are one, whatever they leave out. */
function isSameList(a: string, b: string): boolean {
  const bare = (path: string) => path.includes("clientId") ? path.replace(/&status=\w+/, "") : path;
  return bare(a) === bare(b);
}

const LIMITS: [limit: string, path: string][] = [
  ["0", "limit"],
  ["201", "limit"],
  ["-1", "limit"],
  ["1.5", "limit"],
  ["abc", "limit"],
  ["", "limit"],
  ["1e9", "limit"],
  ["9".repeat(400), "limit"],
];

Deno.test("every list refuses limits other than 1 to 200", async () => {
  await using app = await startShop();

  for (const { path } of await listsOf(app)) {
    for (const [limit, at] of LIMITS) {
      const answer = await getPage(app, path, { limit });

      assertProblem(answer, 422, "invalid_input", { paths: [at] });
    }
    equal((await getPage(app, path, { limit: 1 })).status, 200);
    equal((await getPage(app, path, { limit: 200 })).status, 200);
  }
});

const FILTERS: [path: string, at: string][] = [
  ["/api/v2/leads?status=sold", "status"],
  ["/api/v2/leads?clientId=1", "clientId"],
  ["/api/v2/invoices?status=OPEN", "status"],
  ["/api/v2/invoices?clientId=%00", "clientId"],
  ["/api/v2/clients?email=nobody", "email"],
  ["/api/v2/clients?phone=12", "phone"],
  ["/api/v2/clients?email=", "email"],
  ["/api/v2/products?category=food", "category"],
  ["/api/v2/products?status=__proto__", "status"],
  [`/api/v2/leads?cursor=${"A".repeat(513)}`, "cursor"],
  ["/api/v2/leads?cursor=", "cursor"],
];

for (const [path, at] of FILTERS) {
  Deno.test(`GET ${path.slice(0, 60)} is refused`, async () => {
    await using app = await startShop();

    const answer = await app.get(path, app.adminKey);

    assertProblem(answer, 422, "invalid_input", { paths: [at] });
  });
}

Deno.test("a page has 50 entries unless it says otherwise", async () => {
  await using app = await startShop();
  const emails = Array.from({ length: 51 }, (_, i) => `c${i}@example.com`);
  await Promise.all(emails.map((email) => newClient(app, { email })));

  const { body } = await getPage(app, "/api/v2/clients");
  const rest = await getPage(app, "/api/v2/clients", { cursor: body.nextCursor });

  equal(body.data.length, 50);
  equal(rest.body.data.length, 1);
  equal(rest.body.nextCursor, null);
});
