/**
 * A repair rewrites exactly the derived data that is damaged, whoever writes
 * meanwhile and however often it is interrupted.
 */
// Under their short names Deno exports from here what compares with `==`.
import {
  deepStrictEqual as deepEqual,
  notStrictEqual as notEqual,
  ok,
  strictEqual as equal,
} from "node:assert/strict";
import fc from "fast-check";
import { isChainIntact, listHistory } from "../../../lib/entities/mod.ts";
import { eraseClient } from "../../../lib/leads/clients.ts";
import { AppError } from "../../../lib/errors.ts";
import { newId } from "../../../lib/ids.ts";
import { sweep, type SweepOptions, type SweepReport } from "../../../lib/integrity/mod.ts";
import {
  changeInvoice,
  createInvoice,
  issueInvoice,
  voidInvoice,
} from "../../../lib/invoices/mod.ts";
import { encode } from "../../../lib/kv/codec.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Invoice } from "../../../lib/kv/records.ts";
import { acceptLead, moveLead } from "../../../lib/leads/mod.ts";
import { type Defect, repair } from "../../../lib/integrity/repair.ts";
import { TESTER } from "../../support/program/app.ts";
import {
  type Books,
  fillBooks,
  invoiceOf,
  leadOf,
  openBooks,
} from "../../support/program/books.ts";
import { alter, BEYOND_REPAIR, DAMAGE, line, NOBODY } from "../../support/store/damage.ts";

const by = TESTER;
const SWEEP_ID = newId(0);

/** Repairs a `Defect` under the id of one sweep. */
function repairWith({ services }: Books): NonNullable<SweepOptions["repair"]> {
  return (defect) => repair(services, defect, { sweepId: SWEEP_ID, by });
}

/** Runs a repairing sweep. */
function repairAll(books: Books): Promise<SweepReport> {
  return sweep(books.services, { repair: repairWith(books) });
}

/** Findings and repairs, as `check key`. */
function found({ findings, repairs }: SweepReport): string[] {
  return [...findings, ...repairs].map(({ check, key }) => `${check} ${key}`).sort();
}

/** All durable entries as text, except the records of repairs. */
async function textOf(books: Books): Promise<Map<string, string>> {
  const entries = (await books.entries()).filter(([[name]]) => name !== "repair");
  return new Map(entries.map(([key, bytes]) => [keys.keyText(key), textOfValue(bytes)]));
}

/** Bytes as text; a value of another type as JSON. */
function textOfValue(value: unknown): string {
  return value instanceof Uint8Array ? new TextDecoder().decode(value) : JSON.stringify(value);
}

/** The keys whose values differ. */
function differing(a: Map<string, string>, b: Map<string, string>): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].filter((key) => a.get(key) !== b.get(key)).sort();
}

/** Whether a repair changed an invoice itself. */
function isOfEntity(report: SweepReport): boolean {
  return report.repairs.some(({ check }) => check.startsWith("invoice."));
}

for (const [name, damage] of Object.entries(DAMAGE)) {
  if (BEYOND_REPAIR.has(name)) {
    Deno.test(`repair() leaves ${name} unchanged`, async () => {
      await using books = await openBooks();
      const expected = await damage(books, await fillBooks(books));
      const before = await textOf(books);

      const report = await repairAll(books);

      deepEqual(found(report), expected.sort());
      deepEqual(new Set(report.findings.map(({ repair }) => repair)), new Set(["not_repairable"]));
      deepEqual(report.repairs, []);
      deepEqual(differing(before, await textOf(books)), []);
      equal(await countRepairs(books), 0);
    });
    continue;
  }

  Deno.test(`repair() fixes ${name}, and changes nothing else`, async () => {
    await using books = await openBooks();
    const sample = await fillBooks(books);
    const before = await textOf(books);
    const expected = await damage(books, sample);

    const report = await repairAll(books);

    deepEqual(found(report), expected.sort());
    deepEqual(report.findings, []);
    equal(report.repairsTotal, report.repairs.length);
    equal((await sweep(books.services)).findingsTotal, 0);
    const changed = differing(before, await textOf(books));
    deepEqual(changed, isOfEntity(report) ? traceOf(sample.order.invoice!) : []);
    equal(await countRepairs(books), report.repairs.length);
    const [record] = report.repairs;
    deepEqual(await books.get(keys.repair(SWEEP_ID, record!.id)), record);
    deepEqual([record!.by, record!.requestId, record!.sweepId], ["cli", "test", SWEEP_ID]);
    ok(!/example|\+255|asha/.test(JSON.stringify(report)));
  });

  Deno.test(`repair() writes nothing when ${name} is undone in between`, async () => {
    await using books = await openBooks();
    const sample = await fillBooks(books);
    const whole = await books.entries();
    const before = await textOf(books);
    await damage(books, sample);
    const restored = async (defect: Defect) => {
      await restore(books, whole);
      return await repairWith(books)(defect);
    };

    const report = await sweep(books.services, { repair: restored });

    deepEqual([report.findings, report.repairs], [[], []]);
    deepEqual(differing(before, await textOf(books)), []);
    equal(await countRepairs(books), 0);
  });

  Deno.test(`simultaneous repairs of ${name} repair it once`, async () => {
    await using books = await openBooks();
    const sample = await fillBooks(books);
    const before = await textOf(books);
    await damage(books, sample);

    const reports = await Promise.all([repairAll(books), repairAll(books), repairAll(books)]);

    deepEqual(reports.flatMap(({ findings }) => findings), []);
    equal((await sweep(books.services)).findingsTotal, 0);
    const isEntity = reports.some(isOfEntity);
    deepEqual(
      differing(before, await textOf(books)),
      isEntity ? traceOf(sample.order.invoice!) : [],
    );
    equal(await countRepairs(books), 1);
  });
}

/** The keys that the repair of an invoice at revision 1 changes: the invoice and its audit entry. */
function traceOf({ id }: Invoice): string[] {
  return [keys.audit("invoice", id, 2), keys.invoice(id)].map(keys.keyText);
}

async function countRepairs(books: Books): Promise<number> {
  return (await books.entries()).filter(([[name]]) => name === "repair").length;
}

/** Restores the entries. */
async function restore(books: Books, whole: [keys.Key<unknown>, Uint8Array][]): Promise<void> {
  const texts = new Set(whole.map(([key]) => keys.keyText(key)));
  for (const [key] of await books.entries()) {
    if (!texts.has(keys.keyText(key))) await books.remove(key);
  }
  for (const [key, bytes] of whole) await books.putRaw(key, bytes);
}

Deno.test("repair() of an undamaged store writes nothing", async () => {
  await using books = await openBooks();
  await fillBooks(books);
  const versionsOf = async () => {
    const versions: string[] = [];
    for await (const { key, versionstamp } of books.kv.list({ prefix: [] })) {
      versions.push(`${JSON.stringify(key)} ${versionstamp}`);
    }
    return versions;
  };
  const before = await versionsOf();

  const report = await repairAll(books);

  deepEqual(found(report), []);
  deepEqual(await versionsOf(), before);
});

/** Ways to damage an entry of derived data. */
const BLOWS = {
  removed: () => null,
  truncated: (bytes: Uint8Array) => bytes.slice(0, -1),
  emptied: () => new Uint8Array(),
  "of another schema": (bytes: Uint8Array) => new Uint8Array([0x39, ...bytes.slice(1)]),
  "an object of V8's": () => ({ id: "x" }),
  "null": () => encode(null),
  "of nobody": () => encode(NOBODY),
  "no id": () => encode("asha@example.com"),
  "another's": (_: Uint8Array, other: Uint8Array) => other,
} satisfies Record<string, (bytes: Uint8Array, other: Uint8Array) => unknown>;

/** The tables of derived entries. */
const DERIVED = /_by_|^invoice_sequence$/;

Deno.test("repair() restores derived data to the byte after any damage", async () => {
  await using books = await openBooks();
  await fillBooks(books);
  const whole = await books.entries();
  const before = await textOf(books);
  const derived = whole.filter(([[name]]) => DERIVED.test(String(name)));
  const strays = [
    keys.clientByEmail("gone@example.com"),
    keys.clientByPhone("+255700000000"),
    keys.productBySlug("gone"),
    keys.leadByStatus("won", NOBODY),
    keys.invoiceByClient(NOBODY, NOBODY),
  ];
  const values = [encode(NOBODY), encode(7), new Uint8Array([0xff]), derived[0]![1]];
  const blows = Object.keys(BLOWS) as (keyof typeof BLOWS)[];

  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(
        fc.record({ at: fc.nat(derived.length - 1), blow: fc.constantFrom(...blows) }),
        { selector: ({ at }) => at, minLength: 1, maxLength: derived.length },
      ),
      fc.nat(derived.length - 1),
      fc.array(fc.tuple(fc.constantFrom(...strays), fc.constantFrom(...values))),
      async (struck, other, strayed) => {
        for (const { at, blow } of struck) {
          const [key, bytes] = derived[at]!;
          const damaged = BLOWS[blow](bytes, derived[other]![1]);
          if (damaged === null) await books.remove(key);
          else await books.putRaw(key, damaged);
        }
        for (const [key, value] of strayed) await books.putRaw(key, value);

        const report = await repairAll(books);

        deepEqual(report.findings, []);
        deepEqual(differing(before, await textOf(books)), []);
        ok(!/@example/.test(JSON.stringify(report)));
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("repair() of totals makes an audited revision of the invoice", async () => {
  await using books = await openBooks();
  const { order } = await fillBooks(books);
  const { id } = order.invoice!;
  const key = keys.invoice(id);
  const lines = order.invoice!.lines.map((line) => ({ ...line, totalMinor: 1 }));
  await alter(books, key, { lines, totalMinor: order.invoice!.totalMinor + 7 });
  books.advance(60_000);

  const { repairs } = await repairAll(books);

  const repaired = (await books.get(key))!;
  deepEqual(repaired, {
    ...order.invoice!,
    revision: 2,
    updatedAt: "2026-06-15T09:01:00.000Z",
    chain: repaired.chain,
  });
  const { data } = await listHistory(books.services, { entity: "invoice", id }, {
    limit: 10,
    after: 1,
  });
  equal(isChainIntact(repaired, data), true);
  const { action, changes, fields } = data[0]!;
  deepEqual([data.length, data[0]!.by, action], [1, "cli", "repair.totals"]);
  deepEqual(fields, ["lines", "totalMinor"]);
  const { totalMinor } = order.invoice!;
  deepEqual(changes.totalMinor, [totalMinor + 7, totalMinor]);
  deepEqual(repairs.map(({ done }) => done), [`Total set to ${totalMinor}`]);
});

Deno.test("repair() of totals restores what the history proves", async () => {
  await using books = await openBooks();
  const { issuedDraft } = await fillBooks(books);
  const key = keys.invoice(issuedDraft.id);
  await alter(books, key, { totalMinor: issuedDraft.totalMinor + 7 });

  const report = await repairAll(books);

  // The repair also resolves the broken chain.
  deepEqual(found(report), [line("invoice.total_wrong", key)]);
  equal((await books.get(key))!.totalMinor, issuedDraft.totalMinor);
  equal((await sweep(books.services)).findingsTotal, 0);
});

Deno.test("repair() does not add changes outside the program to the history", async () => {
  await using books = await openBooks();
  const { issuedDraft } = await fillBooks(books);
  const key = keys.invoice(issuedDraft.id);
  const { totalMinor } = issuedDraft;
  await alter(books, key, { totalMinor: totalMinor + 7, notes: "Paid in cash" });
  const before = await textOf(books);

  const report = await repairAll(books);

  deepEqual(found(report), [line("audit.chain_broken", key), line("invoice.total_wrong", key)]);
  deepEqual(differing(before, await textOf(books)), []);
});

Deno.test("repair() leaves totals unchanged while the history is unreadable", async () => {
  await using books = await openBooks();
  const { issuedDraft } = await fillBooks(books);
  const key = keys.invoice(issuedDraft.id);
  await alter(books, key, { totalMinor: issuedDraft.totalMinor + 7 });
  await books.putRaw(keys.audit("invoice", issuedDraft.id, 3), new Uint8Array([0xff]));
  const before = await textOf(books);

  const { findings, repairs } = await repairAll(books);

  deepEqual(findings.map(({ check, repair }) => [check, repair]), [
    ["invoice.total_wrong", "not_repairable"],
    ["value.undecodable", "not_repairable"],
  ]);
  deepEqual(repairs, []);
  deepEqual(differing(before, await textOf(books)), []);
});

Deno.test("repair() never lowers the sequence, nor raises it above the highest number", async () => {
  await using books = await openBooks();
  await fillBooks(books);
  const sequence = keys.invoiceSequence("INV", 2026);
  await books.put(sequence, { last: 3 });
  const raised = async (defect: Defect) => {
    await books.put(sequence, { last: 20 });
    return await repairWith(books)(defect);
  };

  const beside = await sweep(books.services, { repair: raised });
  const kept = await books.get(sequence);
  await books.put(sequence, { last: 3 });
  await repairAll(books);

  equal(beside.repairsTotal, 0);
  deepEqual(kept, { last: 20 });
  deepEqual(await books.get(sequence), { last: 8 });
});

Deno.test("repair() prevents reuse of the number of a lost invoice", async () => {
  await using books = await openBooks();
  await fillBooks(books);
  const sequence = keys.invoiceSequence("INV", 2026);
  await books.put(keys.invoiceByNumber("INV-2026-1000002"), NOBODY);
  await books.remove(sequence);

  await repairAll(books);

  deepEqual(await books.get(sequence), { last: 1_000_002 });
  equal(await books.get(keys.invoiceByNumber("INV-2026-1000002")), NOBODY);
});

Deno.test("an undecodable entry is overwritten once per version", async () => {
  await using books = await openBooks();
  await fillBooks(books);
  const key = keys.clientByEmail("new@example.com");
  await books.putRaw(key, new Uint8Array([0xff]));
  const late: Defect[] = [];
  await sweep(books.services, {
    repair: async (defect) => {
      late.push(defect);
      return await repairWith(books)(defect);
    },
  });
  const { client } = await acceptLead(books.services, leadOf("new"), by);

  const outcomes = [];
  for (const defect of late) outcomes.push(await repairWith(books)(defect));

  deepEqual(outcomes, [{ status: "gone" }]);
  equal(await books.get(key), client.id);
});

/** Damages index entries that no uniqueness depends on. */
async function sabotage(books: Books, random: (n: number) => number): Promise<void> {
  const tables = ["lead_by_status", "lead_by_client", "invoice_by_status", "invoice_by_client"];
  for (const name of [...tables, "invoice_by_number"]) {
    const entries = [];
    for await (const entry of books.kv.list<Uint8Array>({ prefix: [name] })) entries.push(entry);
    const entry = entries[random(entries.length)];
    if (!entry) continue;
    // Only an unchanged entry: a writer that changed it since must not see the damage.
    const atomic = books.kv.atomic().check(entry);
    const isRemoval = random(2) === 0;
    await (isRemoval ? atomic.delete(entry.key) : atomic.set(entry.key, encode(NOBODY))).commit();
  }
  const stray = `stray${random(1_000)}`;
  await books.put(keys.clientByEmail(`${stray}@example.org`), NOBODY);
  await books.put(keys.productBySlug(stray), NOBODY);
  await books.put(keys.leadByStatus("lost", newId(random(1_000))), NOBODY);
}

Deno.test("repair() beside writers at full speed damages and loses nothing", async () => {
  await using books = await openBooks();
  const { product } = await fillBooks(books);
  const { services } = books;
  const random = (n: number) => Math.floor(Math.random() * n);
  const accepted: { lead: string; invoice: string | null; number: string | null }[] = [];
  let isOver = false;
  const refused = (error: unknown) => {
    if (!(error instanceof AppError) || error.kind === "internal") throw error;
  };
  const write = async () => {
    const fields = random(2) === 0 ? { productId: product.id } : {};
    const { lead, client, invoice } = await acceptLead(
      services,
      leadOf(`person${random(500)}`, fields),
      by,
    );
    const number = invoice?.number ?? null;
    accepted.push({ lead: lead.id, invoice: invoice?.id ?? null, number });
    const draft = await createInvoice(services, invoiceOf(client.id, { draft: true }), by)
      .catch(refused);
    await Promise.all([
      moveLead(services, lead.id, "contacted", { by }).catch(refused),
      moveLead(services, lead.id, "won", { by }).catch(refused),
      invoice && voidInvoice(services, invoice.id, "A mistake", by).catch(refused),
      draft && issueInvoice(services, draft.id, by).catch(refused),
      draft && changeInvoice(services, draft.id, { taxMinor: 5 }, { by }).catch(refused),
      random(20) === 0 && eraseClient(services, client.id, by).catch(refused),
    ]);
  };
  const loops = [
    ...Array.from({ length: 6 }, () => write),
    () => sabotage(books, random),
  ].map(async (act) => {
    while (!isOver) await act();
  });
  let repairs = 0;
  const until = performance.now() + 1_500;
  const repairers = Array.from({ length: 2 }, async () => {
    while (performance.now() < until) repairs += (await repairAll(books)).repairsTotal;
  });

  await Promise.all(repairers);
  isOver = true;
  await Promise.all(loops);
  const last = await repairAll(books);

  ok(accepted.length > 10 && repairs > 0, `${accepted.length} leads, ${repairs} repairs`);
  deepEqual(last.findings, []);
  deepEqual(found(await sweep(services)), []);
  for (const { lead, invoice, number } of accepted) {
    notEqual(await books.get(keys.lead(lead)), null);
    if (number !== null) equal(await books.get(keys.invoiceByNumber(number)), invoice);
  }
});
