/** Which lines, amounts and other fields an invoice accepts and refuses. */
import { ok, strictEqual as equal } from "node:assert/strict";
import { MINOR_MAX } from "../../lib/money.ts";
import { assertProblem } from "../support/program/answers.ts";
import { asAdmin, leavesStoreAlone } from "../support/program/shop.ts";
import { startOffice, WORK } from "./_office.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";

const PRICE = 45_000_000;
const BAD: [what: string, fields: Record<string, unknown>, paths: string[]][] = [
  ["no lines", { lines: [] }, ["lines"]],
  ["lines that are none", { lines: "Work" }, ["lines"]],
  ["51 lines", { lines: Array(51).fill(WORK) }, ["lines"]],
  ["a line that is null", { lines: [WORK, null] }, ["lines.1"]],
  ["a quantity of 0", { lines: [{ ...WORK, quantity: 0 }] }, ["lines.0.quantity"]],
  ["a negative quantity", { lines: [{ ...WORK, quantity: -1 }] }, ["lines.0.quantity"]],
  ["half of something", { lines: [{ ...WORK, quantity: 0.5 }] }, ["lines.0.quantity"]],
  ["10,001 of something", { lines: [{ ...WORK, quantity: 10_001 }] }, ["lines.0.quantity"]],
  ["a quantity in words", { lines: [{ ...WORK, quantity: "2" }] }, ["lines.0.quantity"]],
  ["a price of 0", { lines: [WORK, { ...WORK, unitMinor: 0 }] }, ["lines.1.unitMinor"]],
  ["a negative price", { lines: [{ ...WORK, unitMinor: -1 }] }, ["lines.0.unitMinor"]],
  ["half a cent", { lines: [{ ...WORK, unitMinor: 0.5 }] }, ["lines.0.unitMinor"]],
  ["too high a price", { lines: [{ ...WORK, unitMinor: MINOR_MAX + 1 }] }, ["lines.0.unitMinor"]],
  ["a price beyond exact", { lines: [{ ...WORK, unitMinor: 2 ** 53 }] }, [
    "lines.0.unitMinor",
    "lines.0.unitMinor",
  ]],
  [
    "a line beyond all amounts",
    { lines: [{ ...WORK, quantity: 2, unitMinor: MINOR_MAX }] },
    ["lines.0.quantity"],
  ],
  [
    "a sum beyond all amounts",
    { lines: [{ ...WORK, unitMinor: MINOR_MAX }, WORK] },
    ["lines"],
  ],
  [
    "tax beyond all amounts",
    { lines: [{ ...WORK, unitMinor: MINOR_MAX }], taxMinor: 1 },
    ["taxMinor"],
  ],
  ["negative tax", { taxMinor: -1 }, ["taxMinor"]],
  ["tax of half a cent", { taxMinor: 0.5 }, ["taxMinor"]],
  ["a currency that is none", { currency: "BTC" }, ["currency"]],
  ["a text without a price", { lines: [{ description: "Work", quantity: 1 }] }, [
    "lines.0.unitMinor",
  ]],
  ["a price without a text", { lines: [{ quantity: 1, unitMinor: 1 }] }, ["lines.0.description"]],
  ["an empty text", { lines: [{ ...WORK, description: "" }] }, ["lines.0.description"]],
  ["a text of two lines", { lines: [{ ...WORK, description: "a\nb" }] }, ["lines.0.description"]],
  ["a product that is not there", { lines: [WORK, { productId: UNKNOWN_ID, quantity: 1 }] }, [
    "lines.1.productId",
  ]],
  ["a product's slug for its id", { lines: [{ productId: "duka-pos", quantity: 1 }] }, [
    "lines.0.productId",
  ]],
  ["a total of its own", { totalMinor: 1 }, ["totalMinor"]],
  ["a number of its own", { number: "INV-2026-000009" }, ["number"]],
  ["a status of its own", { status: "paid" }, ["status"]],
  ["a line's own total", { lines: [{ ...WORK, totalMinor: 1 }] }, ["lines.0.totalMinor"]],
  ["a day that is none", { dueOn: "2026-02-30" }, ["dueOn"]],
  ["a moment for a day", { dueOn: "2026-07-01T00:00:00Z" }, ["dueOn"]],
  ["notes that are too long", { notes: "x".repeat(2_001) }, ["notes"]],
  ["a draft in words", { draft: "yes" }, ["draft"]],
  ["a client that is none", { clientId: "asha" }, ["clientId"]],
];

for (const [what, fields, paths] of BAD) {
  Deno.test(`POST /api/v2/invoices refuses ${what}`, async () => {
    await using app = await startOffice();

    const answer = await leavesStoreAlone(app, () => app.write(fields));

    assertProblem(answer, 422, "invalid_input", { paths });
  });
}

Deno.test("PATCH /api/v2/invoices/:id refuses the same fields of a draft as POST", async () => {
  await using app = await startOffice();
  const { body: { id } } = await app.write({ draft: true });
  const fixed = new Set(["currency", "clientId", "draft"]);

  for (const [what, fields, paths] of BAD) {
    const answer = await leavesStoreAlone(
      app,
      () => asAdmin(app, "PATCH", `/api/v2/invoices/${id}`, { body: fields }),
    );

    ok(answer.status === 422, what);
    assertProblem(answer, 422, "invalid_input", { paths });
    if (fixed.has(paths[0]!)) equal(answer.body.errors[0].code, "unknown_field");
  }
});

Deno.test("the highest amount can be invoiced", async () => {
  await using app = await startOffice();

  const { status, body } = await app.write({
    lines: [{ ...WORK, quantity: 10_000, unitMinor: MINOR_MAX / 10_000 }],
  });

  equal(status, 201);
  equal(body.totalMinor, MINOR_MAX);
});

Deno.test("an invoice accepts 50 lines of the longest text", async () => {
  await using app = await startOffice();

  const { status, body } = await app.write({
    lines: Array(50).fill({ ...WORK, description: "é".repeat(300) }),
    notes: "é".repeat(2_000),
  });

  equal(status, 201);
  equal(body.lines.length, 50);
});

Deno.test("a product is invoiced in its own currency only", async () => {
  await using app = await startOffice();
  const product = await app.stockProduct({ price: { currency: "KES", minor: PRICE } });
  const lines = [WORK, { productId: product.id, quantity: 1 }];

  const other = await leavesStoreAlone(app, () => app.write({ lines }));
  const priced = await leavesStoreAlone(
    app,
    () => app.write({ lines: [{ productId: product.id, quantity: 1, unitMinor: 5 }] }),
  );
  const own = await app.write({ lines, currency: "KES" });

  assertProblem(other, 422, "invalid_input", { paths: ["lines.1.productId"] });
  equal(other.body.errors[0].code, "currency_mismatch");
  assertProblem(priced, 422, "invalid_input", { paths: ["lines.0.productId"] });
  equal(own.status, 201);
});
