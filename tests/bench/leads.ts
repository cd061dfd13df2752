/**
 * How many leads the program accepts over HTTP, in how much memory and disk space,
 * beside a bare Deno KV that writes as many bytes.
 *
 * Every lead comes from another visitor: address, e-mail address and telephone number.
 * Each round has a new store, and compares what is stored with what was acknowledged.
 *
 * How to read it: a commit waits for the disk, so that a bare loop with one lead in
 * each commit hardly gains from concurrency. The program commits leads together that
 * arrive together, and passes that loop as the connections grow; the loop with
 * {@linkcode GROUP} leads in each commit shows what remains.
 *
 * @module
 */
import { runBareLoop } from "./_bare_kv.ts";
import { count, figure, heading, mebibytes, median, medianRate, rateTable } from "./_figures.ts";
import type { Rate } from "./_figures.ts";
import { load } from "./_load.ts";
import type { Setting } from "./_options.ts";
import { kvPathOf, memoryBytes, startProgram, storeBytes } from "./_processes.ts";
import { countBooks, expectStored, sellProduct } from "./_shop.ts";

const CONNECTIONS = [1, 16, 64];
const WARM_UP = { connections: 16, ms: 500, warmUpMs: 1_500 };
/** Before each measurement: the connections have to be made. */
const SETTLE_MS = 300;
/** Leads in a commit of the last bare loop. */
const GROUP = 32;

/** What a round saw. */
interface Round {
  rates: Rate[];
  stored: number;
  commits: number;
  idleBytes: number | null;
  loadedBytes: number | null;
  bytesPerLead: number;
}

/** Measures it. @returns The report */
export async function benchLeads(setting: Setting): Promise<string> {
  const rounds: Round[] = [];
  const bare: Rate[][] = [];
  for (let i = 1; i <= setting.rounds; i++) {
    const folder = `${setting.folder}/leads${i}`;
    await Deno.mkdir(folder);
    const named = {
      ...setting,
      folder,
      progress: (text: string) =>
        setting.progress(`leads, round ${i} of ${setting.rounds}: ${text}`),
    };
    rounds.push(await benchProgram(named));
    bare.push(await benchBare(named));
    await Deno.remove(folder, { recursive: true });
  }
  return report(rounds, bare);
}

async function benchProgram({ folder, seconds, progress }: Setting): Promise<Round> {
  await using program = await startProgram(folder);
  const idleBytes = memoryBytes(program.pid);
  const productId = await sellProduct(program);
  let sent = 0;
  const send = async (amount: typeof WARM_UP) => {
    const loaded = await load(program, { kind: "leads", productId, first: sent }, amount);
    sent += loaded.accepted;
    return loaded.rate;
  };
  progress("warm-up");
  await send(WARM_UP);
  const rates: Rate[] = [];
  for (const connections of CONNECTIONS) {
    progress(`${connections} connections`);
    rates.push(await send({ connections, ms: seconds * 1_000, warmUpMs: SETTLE_MS }));
  }
  const loadedBytes = memoryBytes(program.pid);
  await program.stop();
  const kvPath = kvPathOf(folder);
  const books = await countBooks(kvPath);
  expectStored(books, sent);
  const bytesPerLead = await storeBytes(kvPath) / sent;
  return { rates, stored: sent, commits: books.commits, idleBytes, loadedBytes, bytesPerLead };
}

/** The loop at each concurrency, and at last the one that groups. */
async function benchBare({ folder, seconds, progress }: Setting): Promise<Rate[]> {
  const loops = [
    ...CONNECTIONS.map((atOnce) => ({ atOnce, leads: 1 })),
    { atOnce: 2, leads: GROUP },
  ];
  const rates: Rate[] = [];
  for (const [i, loop] of loops.entries()) {
    progress(`bare KV, ${loop.atOnce} at once`);
    const kvPath = `${folder}/bare${i}.kv`;
    rates.push(await runBareLoop({ ...loop, kvPath, ms: seconds * 1_000, warmUpMs: SETTLE_MS }));
  }
  return rates;
}

function report(rounds: Round[], bareRounds: Rate[][]): string {
  const ours = CONNECTIONS.map((_, i) => medianRate(rounds.map(({ rates }) => rates[i]!)));
  const bare = bareRounds[0]!.map((_, i) => medianRate(bareRounds.map((rates) => rates[i]!)));
  const of = (figureOf: (round: Round) => number | null) =>
    median(rounds.map((round) => figureOf(round) ?? NaN));
  const stored = rounds.reduce((sum, round) => sum + round.stored, 0);
  const commits = rounds.reduce((sum, round) => sum + round.commits, 0);
  return [
    heading("LEADS", "POST /api/v2/leads, beside a bare KV writing as many bytes"),
    rateTable([
      ...CONNECTIONS.map((connections, i) => ({
        name: connections === 1 ? "1 connection" : `${connections} connections`,
        rate: ours[i]!,
        bare: bare[i]!,
      })),
      ...CONNECTIONS.map((atOnce, i) => ({
        name: `bare KV, ${atOnce} at once`,
        rate: bare[i]!,
        bare: null,
      })),
      { name: `bare KV, ${GROUP} a commit`, rate: bare.at(-1)!, bare: null },
    ]),
    "",
    `  Memory ${figure(mebibytes(of(({ idleBytes }) => idleBytes)))} MiB idle, ` +
    `${figure(mebibytes(of(({ loadedBytes }) => loadedBytes)))} MiB after the load.`,
    `  Disk ${count(of(({ bytesPerLead }) => bytesPerLead))} bytes per lead, ` +
    "with the log that backups are made of.",
    `  Checked: all ${count(stored)} acknowledged leads are stored, with distinct numbers,`,
    `  in ${count(commits)} commits.`,
    "",
  ].join("\n");
}
