/**
 * The sweep finds every fault and nothing else: each kind of damage is done to the
 * stored entries directly, and found under its name.
 */
// Under their short names Deno exports from here what compares with `==`.
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import fc from "fast-check";
import { changeClient, eraseClient } from "../../../lib/leads/clients.ts";
import { AppError } from "../../../lib/errors.ts";
import { FINDINGS_MAX, sweep } from "../../../lib/integrity/mod.ts";
import { createInvoice, issueInvoice, voidInvoice } from "../../../lib/invoices/mod.ts";
import { encode } from "../../../lib/kv/codec.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Entity, Invoice } from "../../../lib/kv/records.ts";
import { acceptLead, moveLead } from "../../../lib/leads/mod.ts";
import { changeProduct } from "../../../lib/products/mod.ts";
import { TESTER } from "../../support/program/app.ts";
import {
  type Books,
  fillBooks,
  invoiceOf,
  leadOf,
  openBooks,
  type Sample,
} from "../../support/program/books.ts";
import { alter, DAMAGE, line, NOBODY } from "../../support/store/damage.ts";

const by = TESTER;

/** The findings of a complete sweep, as `check key`. */
async function found({ services }: Books): Promise<string[]> {
  const { findings, isComplete } = await sweep(services);
  equal(isComplete, true);
  return findings.map(({ check, key }) => `${check} ${key}`).sort();
}

for (const [name, damage] of Object.entries(DAMAGE)) {
  Deno.test(`sweep() finds ${name}, and nothing else`, async () => {
    await using books = await openBooks();
    const sample = await fillBooks(books);
    deepEqual(await found(books), []);

    const expected = await damage(books, sample);

    deepEqual(await found(books), expected.sort());
  });
}

Deno.test("sweep() counts every durable entry once and reports its progress", async () => {
  await using books = await openBooks();
  await fillBooks(books);
  await books.put(["zebra", 1], "striped");
  const prefixes: string[] = [];

  const report = await sweep(books.services, { onProgress: ({ prefix }) => prefixes.push(prefix) });

  const expected = new Map<string, number>();
  for (const [[name]] of await books.entries()) {
    expected.set(String(name), (expected.get(String(name)) ?? 0) + 1);
  }
  const counted = Object.entries(report.counts).filter(([, count]) => count > 0);
  deepEqual(new Map(counted.sort()), new Map([...expected].sort()));
  deepEqual(report.findings, []);
  equal(report.findingsTotal, 0);
  equal(report.resumeFrom, null);
  equal(prefixes[0], "product");
  equal(prefixes.at(-1), "others");
});

Deno.test("sweep() of an empty store finds nothing", async () => {
  await using books = await openBooks();

  deepEqual(await found(books), []);
});

Deno.test("sweep() reports no personal data", async () => {
  await using books = await openBooks();
  const { question, lastOrder } = await fillBooks(books);
  await books.remove(
    keys.clientByEmail(question.client.email!),
    keys.clientByPhone(question.client.phone!),
  );
  await books.put(keys.clientByEmail("gone@example.com"), NOBODY);
  await alter(books, keys.client(lastOrder.client.id), { phone: question.client.phone });

  const { findings } = await sweep(books.services);

  ok(findings.length >= 4);
  ok(!/asha|zawadi|example|@|\+255/.test(JSON.stringify(findings)), JSON.stringify(findings));
});

/** Books with more leads than a page holds. */
async function fillPages(books: Books, leads: number): Promise<Sample> {
  const sample = await fillBooks(books);
  await Promise.all(
    Array.from(
      { length: leads },
      (_, i) =>
        acceptLead(books.services, leadOf(`person${i}`, { productId: sample.product.id }), by),
    ),
  );
  return sample;
}

Deno.test("sweep() in slices finds the same as in one", async () => {
  await using books = await openBooks();
  await fillPages(books, 1_200);
  const numbers = await books.services.store.list(keys.invoiceByNumber("").slice(0, 1), {
    limit: 2_000,
  });
  // An invoice without its index by number, a lost invoice, and one with a lost client.
  await books.remove(numbers[400]!.key);
  await books.remove(keys.invoice(String(numbers[900]!.value)));
  const { clientId } = (await books.get<Invoice>(keys.invoice(String(numbers[1_100]!.value))))!;
  await books.remove(keys.client(clientId));
  await books.remove(numbers[1_000]!.key, keys.invoice(String(numbers[1_000]!.value)));
  const whole = await sweep(books.services);

  const counts: Record<string, number> = {};
  const findings: string[] = [];
  let resumeFrom: string | null = null;
  let slices = 0;
  do {
    const report = await sweep(books.services, { budgetMs: 0, resumeFrom });
    slices++;
    resumeFrom = report.resumeFrom;
    equal(report.isComplete, resumeFrom === null);
    for (const [name, count] of Object.entries(report.counts)) {
      counts[name] = (counts[name] ?? 0) + count;
    }
    findings.push(...report.findings.map((finding) => JSON.stringify(finding)));
  } while (resumeFrom !== null);

  ok(slices > 30, `${slices} slices`);
  ok(whole.findingsTotal > 8, `${whole.findingsTotal} findings`);
  ok(whole.findings.some(({ check }) => check === "invoice.number_gap"));
  deepEqual(findings.sort(), whole.findings.map((finding) => JSON.stringify(finding)).sort());
  deepEqual(counts, whole.counts);
});

Deno.test("sweep() refuses an invalid cursor", async () => {
  await using books = await openBooks();

  for (const resumeFrom of ["", "{", "7", "{}", '{"stage":"moon","after":null,"unindexed":[]}']) {
    await rejects(
      sweep(books.services, { resumeFrom }),
      (error) => error instanceof AppError && error.kind === "malformed",
      resumeFrom,
    );
  }
});

Deno.test("sweep() lists a bounded number of findings and counts them all", async () => {
  await using books = await openBooks();
  for (let i = 0; i < FINDINGS_MAX + 10; i++) await books.put(keys.productBySlug(`p${i}`), NOBODY);

  const { findings, findingsTotal } = await sweep(books.services);

  equal(findings.length, FINDINGS_MAX);
  equal(findingsTotal, FINDINGS_MAX + 10);
});

Deno.test("sweep() follows the numbers beyond the six digits they start with", async () => {
  await using books = await openBooks();
  const { product } = await fillBooks(books);
  const sequence = keys.invoiceSequence("INV", 2026);
  await books.put(sequence, { last: 999_997 });
  const orders = [];
  for (const name of ["a", "b", "c", "d", "e"]) {
    orders.push(await acceptLead(books.services, leadOf(name, { productId: product.id }), by));
  }
  const { lead, invoice } = orders[3]!;
  await books.remove(
    keys.invoice(invoice!.id),
    keys.invoiceByNumber("INV-2026-1000001"),
    keys.invoiceByStatus("open", invoice!.id),
    keys.invoiceByClient(lead.clientId, invoice!.id),
  );
  await alter(books, keys.lead(lead.id), { invoiceId: null });

  deepEqual(await found(books), [
    line("invoice.number_gap", keys.invoiceByNumber("INV-2026-000009")),
    line("invoice.number_gap", keys.invoiceByNumber("INV-2026-1000001")),
  ]);
  await books.put(sequence, { last: 999_999 });
  deepEqual(await found(books), [
    line("invoice.number_gap", keys.invoiceByNumber("INV-2026-000009")),
    line("sequence.wrong", sequence),
  ]);
});

Deno.test("sweep() finds nothing beside writers at full speed", async () => {
  await using books = await openBooks();
  const { product } = await fillPages(books, 600);
  const { services } = books;
  const random = (n: number) => Math.floor(Math.random() * n);
  let isOver = false;
  let writes = 0;
  const refused = (error: unknown) => {
    if (!(error instanceof AppError) || error.kind === "internal") throw error;
  };
  const write = async () => {
    const accepted = await acceptLead(
      services,
      leadOf(`person${random(2_000)}`, random(2) === 0 ? { productId: product.id } : {}),
      by,
    );
    const { lead, client, invoice } = accepted;
    const draft = await createInvoice(services, invoiceOf(client.id, { draft: true }), by).catch(
      refused,
    );
    await Promise.all([
      moveLead(services, lead.id, "contacted", { by }).catch(refused),
      moveLead(services, lead.id, "won", { by }).catch(refused),
      changeClient(services, client.id, { email: `new${random(2_000)}@example.com` }, { by })
        .catch(refused),
      invoice && voidInvoice(services, invoice.id, "A mistake", by).catch(refused),
      draft && issueInvoice(services, draft.id, by).catch(refused),
      random(20) === 0 && eraseClient(services, client.id, by).catch(refused),
      changeProduct(services, product.id, { slug: `slug-${random(100)}` }, { by }).catch(refused),
    ]);
    writes++;
  };
  const writers = Array.from({ length: 12 }, async () => {
    while (!isOver) await write();
  });

  const reports = [];
  const until = performance.now() + 2_000;
  while (performance.now() < until) reports.push(await sweep(services));
  isOver = true;
  await Promise.all(writers);

  ok(writes > 50 && reports.length > 0, `${writes} writes, ${reports.length} sweeps`);
  deepEqual(reports.flatMap(({ findings }) => findings), []);
  deepEqual(await found(books), []);
});

/** Ways to damage any entry. */
const BLOWS = {
  removed: () => null,
  truncated: (bytes: Uint8Array) => bytes.slice(0, -1),
  emptied: () => new Uint8Array(),
  "with a bit flipped in its header": (bytes: Uint8Array) => {
    const flipped = bytes.slice();
    flipped[0]! ^= 0x40;
    return flipped;
  },
  "of another schema": (bytes: Uint8Array) => new Uint8Array([0x39, ...bytes.slice(1)]),
  "an object of V8's": () => ({ id: "x" }),
  "null": () => encode(null),
} satisfies Record<string, (bytes: Uint8Array) => unknown>;

Deno.test("sweep() finds any damage of any entry, except the loss of an unreferenced one", async () => {
  await using books = await openBooks();
  const { apiKeyId } = await fillBooks(books);
  const entries = await books.entries();
  const blows = Object.keys(BLOWS) as (keyof typeof BLOWS)[];

  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...entries),
      fc.constantFrom(...blows),
      async (entry, blow) => {
        const [key, bytes] = entry;
        // Nothing refers to an entity at revision 1, nor to a pending event.
        const isAlone = key[1] === apiKeyId || key[0] === "outbox_event";
        fc.pre(!(blow === "removed" && isAlone));
        const damaged = BLOWS[blow](bytes);
        if (damaged === null) await books.remove(key);
        else await books.putRaw(key, damaged);

        const { findingsTotal } = await sweep(books.services);

        await books.putRaw(key, bytes);
        ok(findingsTotal > 0, `${keys.keyText(key)} ${blow}`);
      },
    ),
    { numRuns: 120 },
  );
  deepEqual(await found(books), []);
});

Deno.test("sweep() finds any entry replaced by another of the same table", async () => {
  await using books = await openBooks();
  await fillBooks(books);
  const byPrefix = Map.groupBy(await books.entries(), ([[name]]) => name);
  const pairs = [...byPrefix.values()].flatMap((entries) =>
    entries.flatMap((one) =>
      entries.filter((other) => other !== one).map((other) => ({ one, other }))
    )
  );

  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...pairs), async ({ one: [key, bytes], other }) => {
      fc.pre(String(bytes) !== String(other[1]));
      await books.putRaw(key, other[1]);

      const { findingsTotal } = await sweep(books.services);

      await books.putRaw(key, bytes);
      ok(findingsTotal > 0, `${keys.keyText(key)} holds what ${keys.keyText(other[0])} holds`);
    }),
    { numRuns: 80 },
  );
});

/** Another value of the same type. */
function another(value: unknown): unknown {
  switch (typeof value) {
    case "string": {
      if (/^\d{4}-\d\d-\d\d/.test(value)) return value.replace(/^\d{4}/, "1999");
      if (/^[0-9a-f-]{36,}$/.test(value)) return value.replace(/.$/, (c) => c === "0" ? "1" : "0");
      return `${value}x`;
    }
    case "number":
      return value + 1;
    case "boolean":
      return !value;
    default:
      return value === null
        ? null
        : Array.isArray(value)
        ? value.map(another)
        : Object.fromEntries(Object.entries(value as object).map(([k, v]) => [k, another(v)]));
  }
}

/** The fields of an entity that can each be altered unnoticed. */
async function unnoticed(books: Books, key: keys.Key<Entity>): Promise<string[]> {
  const entity = await books.get(key);
  const fields: string[] = [];
  for (const [name, value] of Object.entries(entity!)) {
    const altered = another(value);
    if (JSON.stringify(altered) === JSON.stringify(value)) continue;
    await books.put(key, { ...entity!, [name]: altered });
    if ((await sweep(books.services)).findingsTotal === 0) fields.push(name);
  }
  await books.put(key, entity!);
  return fields;
}

Deno.test("sweep() finds any altered field of an entity with a history, and of the history", async () => {
  await using books = await openBooks();
  const sample = await fillBooks(books);
  const { changedProduct, changedClient, movedLead, issuedDraft, voided, revokedApiKeyId } = sample;
  const revised: keys.Key<Entity>[] = [
    keys.product(changedProduct.id),
    keys.client(changedClient.id),
    keys.lead(movedLead.id),
    keys.invoice(issuedDraft.id),
    keys.invoice(voided.id),
    keys.apiKey(revokedApiKeyId),
  ];
  const history = (await books.entries()).map(([key]) => key).filter(([name]) => name === "audit");

  for (const key of [...revised, ...history as keys.Key<Entity>[]]) {
    deepEqual(await unnoticed(books, key), [], keys.keyText(key));
  }
});

Deno.test("sweep() cannot find altered fields at revision 1 that nothing refers to", async () => {
  await using books = await openBooks();
  const { product, question, order, apiKeyId } = await fillBooks(books);
  const bookkeeping = ["createdAt", "createdBy", "createdIn", "updatedAt"];

  deepEqual(await unnoticed(books, keys.product(product.id)), [
    ...bookkeeping,
    "title",
    "description",
    "features",
    "active",
  ]);
  deepEqual(await unnoticed(books, keys.client(question.client.id)), [
    ...bookkeeping,
    "name",
    "notes",
    "marketingConsent",
  ]);
  deepEqual(await unnoticed(books, keys.lead(order.lead.id)), [
    ...bookkeeping,
    "contact",
    "productId",
    "quantity",
    "message",
    "marketingConsent",
  ]);
  deepEqual(await unnoticed(books, keys.invoice(order.invoice!.id)), [
    ...bookkeeping,
    "billTo",
    "issuedAt",
    "dueOn",
    "notes",
  ]);
  deepEqual(await unnoticed(books, keys.apiKey(apiKeyId)), [...bookkeeping, "name", "secretHash"]);
});
