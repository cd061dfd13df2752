/**
 * How many requests the program answers that only read, beside a bare Hono program, and
 * how long a read waits while others write.
 *
 * @module
 */
import { figure, heading, median, medianRate, type Rate, rateTable } from "./_figures.ts";
import { type Amount, load } from "./_load.ts";
import type { Setting } from "./_options.ts";
import { API_KEY, HOST, type Program, startBareApp, startProgram } from "./_processes.ts";
import { ask, sellProduct } from "./_shop.ts";
import { PRODUCT, visitor, VISITORS_MAX } from "./_visitors.ts";

const CONNECTIONS = 16;
const WRITERS = 16;
/** Before each measurement: the connections have to be made, the code to get warm. */
const SETTLE_MS = 500;
/** Writes before the first read, so that lists are full. */
const FILL: Amount = { connections: 16, ms: 500, warmUpMs: 1_000 };

/** A read that is measured. */
interface Read {
  name: string;
  path: string;
  key: string | null;
}

/** What a round saw. */
interface Round {
  reads: { name: string; rate: Rate }[];
  bare: Rate;
  /** Reads of an invoice over one connection. */
  alone: Rate;
  besideWriters: Rate;
  /** Leads meanwhile. */
  written: Rate;
}

/** Measures it. @returns The report */
export async function benchReads(setting: Setting): Promise<string> {
  const rounds: Round[] = [];
  for (let i = 1; i <= setting.rounds; i++) {
    const folder = `${setting.folder}/reads${i}`;
    await Deno.mkdir(folder);
    rounds.push(
      await benchRound({
        ...setting,
        folder,
        progress: (text) => setting.progress(`reads, round ${i} of ${setting.rounds}: ${text}`),
      }),
    );
    await Deno.remove(folder, { recursive: true });
  }
  return report(rounds);
}

async function benchRound({ folder, seconds, progress }: Setting): Promise<Round> {
  const amount = { connections: CONNECTIONS, ms: seconds * 1_000, warmUpMs: SETTLE_MS };
  progress("bare Hono");
  const bare = await benchBareApp(amount);
  await using program = await startProgram(folder);
  const productId = await sellProduct(program);
  progress("filling");
  const { accepted } = await load(program, { kind: "leads", productId, first: 0 }, FILL);
  const targets = await readsOf(program, productId);
  const reads: Round["reads"] = [];
  for (const { name, ...read } of targets) {
    progress(name);
    const { rate } = await load(program, { kind: "reads", ...read }, amount);
    reads.push({ name, rate });
  }
  const { name: _, ...invoice } = targets.find(({ name }) => name === INVOICE)!;
  const one = { ...amount, connections: 1 };
  progress("an invoice over one connection");
  const alone = await load(program, { kind: "reads", ...invoice }, one);
  progress(`an invoice beside ${WRITERS} writers`);
  // The writers start before the reader, and end after it.
  const writing = { connections: WRITERS, ms: amount.ms + 2_000, warmUpMs: SETTLE_MS };
  const [written, besideWriters] = await Promise.all([
    load(program, { kind: "leads", productId, first: accepted }, writing),
    load(program, { kind: "reads", ...invoice }, { ...one, warmUpMs: 1_500 }),
  ]);
  await program.stop();
  return {
    reads,
    bare,
    alone: alone.rate,
    besideWriters: besideWriters.rate,
    written: written.rate,
  };
}

async function benchBareApp(amount: Amount): Promise<Rate> {
  await using program = await startBareApp();
  const { rate } = await load(program, { kind: "reads", path: "/", key: null }, amount);
  await program.stop();
  return rate;
}

const INVOICE = "an invoice";

/** The reads, with the ids of what is stored. */
async function readsOf(program: Program, productId: string): Promise<Read[]> {
  // The last visitor: nobody else will be called so.
  const { name, email } = visitor(VISITORS_MAX - 1);
  const lead = { name, email, productId };
  type Accepted = { invoice: { id: string }; links: { invoice: string } };
  const { invoice, links } = await ask<Accepted>(program, "POST", "/api/v2/leads", lead);
  const page = links.invoice.replace(`https://${HOST}`, "");
  return [
    { name: "live", path: "/health/live", key: null },
    { name: "products", path: "/api/v2/products", key: null },
    { name: "a product", path: `/api/v2/products/${PRODUCT.slug}`, key: null },
    { name: INVOICE, path: `/api/v2/invoices/${invoice.id}`, key: API_KEY },
    { name: "list of 50 invoices", path: "/api/v2/invoices?limit=50", key: API_KEY },
    { name: "invoice page", path: page, key: null },
  ];
}

function report(rounds: Round[]): string {
  const bare = medianRate(rounds.map((round) => round.bare));
  const rateOf = (i: number) => medianRate(rounds.map(({ reads }) => reads[i]!.rate));
  const alone = medianRate(rounds.map((round) => round.alone));
  const beside = medianRate(rounds.map((round) => round.besideWriters));
  const written = median(rounds.map((round) => round.written.perSecond));
  return [
    heading("READS", `GET over ${CONNECTIONS} connections, beside a bare Hono program`),
    rateTable([
      ...rounds[0]!.reads.map(({ name }, i) => ({ name, rate: rateOf(i), bare })),
      { name: "bare Hono", rate: bare, bare: null },
    ]),
    "",
    `  An invoice over 1 connection:  p50 ${figure(alone.p50)} ms, p99 ${figure(alone.p99)} ms`,
    `  beside ${WRITERS} writers:             p50 ${figure(beside.p50)} ms, ` +
    `p99 ${figure(beside.p99)} ms (${figure(written)} leads/s meanwhile)`,
    "",
  ].join("\n");
}
