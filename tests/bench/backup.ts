/**
 * How fast a store is backed up, read back, restored, proven and swept,
 * and in how much memory. Each step is a process of its own, so that its peak is
 * its own.
 *
 *   deno run -A tests/bench/backup.ts [entries...]     10,000 and 100,000 by default
 *
 * @module
 */
import { verifyBackup } from "../../lib/backup/check.ts";
import { drill } from "../../lib/backup/drill.ts";
import { listBackups } from "../../lib/backup/manifest.ts";
import { restore } from "../../lib/backup/restore.ts";
import { shipLog } from "../../lib/backup/ship.ts";
import { takeBackup } from "../../lib/backup/take.ts";
import { sweep } from "../../lib/integrity/mod.ts";
import { isDurable } from "../../lib/kv/keys.ts";
import { scanAll } from "../../lib/kv/bulk.ts";
import { type BackupShop, openBackupShop, sellTo } from "../support/processes/backup_shop.ts";

/** A lead with its client, its invoice and the message about it. */
const ENTRIES_PER_LEAD = 10;
/** Leads sent before what they left behind is let go. */
const CHUNK = 10_000;

/** What a step was about: entries, where that is not all of the store. */
type Told = number | undefined;

const STEPS: Record<string, (shop: BackupShop, leads: number) => Promise<Told>> = {
  async seed(shop, leads) {
    for (let sent = 0; sent < leads; sent += CHUNK) {
      await sellTo(shop, Math.min(CHUNK, leads - sent), sent);
    }
    return undefined;
  },
  async backup({ services }) {
    const result = await takeBackup(services);
    return result.status === "taken" ? result.manifest.entries : 0;
  },
  async ship({ services }) {
    await shipLog(services);
    return undefined;
  },
  async verify({ services }) {
    const [newest] = await listBackups(services);
    return (await verifyBackup(services, newest!.id)).entries;
  },
  async restore({ services }) {
    // As an operator's task does it: from an empty store to one that was swept.
    const { findings, entries } = await restore(services, "latest");
    if (findings > 0) throw new Error(`The sweep has ${findings} findings`);
    return entries;
  },
  async sweep({ services }) {
    const { findingsTotal, counts } = await sweep(services);
    if (findingsTotal > 0) throw new Error(`The sweep has ${findingsTotal} findings`);
    return Object.values(counts).reduce((sum, count) => sum + count, 0);
  },
  async drill({ services }) {
    const proof = await drill(services, { openScratch: () => Deno.openKv(":memory:") });
    if (!proof.isProven) throw new Error(String(proof.problem));
    return proof.entries;
  },
  async drillInPlace({ services }) {
    const proof = await drill(services);
    if (!proof.isProven) throw new Error(String(proof.problem));
    return proof.entries;
  },
};

/** The most that this process has ever held, in MiB. */
function peakMiB(): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return Math.round(Number(/VmHWM:\s+(\d+) kB/.exec(status)![1]) / 1_024);
}

async function step(name: string, leads: number, folder: string): Promise<void> {
  const kvPath = `${folder}/${name === "restore" ? "twin" : "shop"}.kv`;
  await using shop = await openBackupShop({
    kvPath,
    folder: `${folder}/objects`,
    clock: Date.now,
  });
  const before = peakMiB();
  const startedAt = performance.now();
  const told = await STEPS[name]!(shop, leads);
  const seconds = (performance.now() - startedAt) / 1_000;
  const entries = told ?? await countOf(shop);
  const cells = [
    name.padEnd(12),
    `${entries.toLocaleString("en")} entries`.padStart(18),
    `${seconds.toFixed(1)} s`.padStart(9),
    `${Math.round(entries / seconds).toLocaleString("en")}/s`.padStart(10),
    `peak ${peakMiB()} MiB, ${before} before`,
  ];
  console.log(cells.join("  "));
  if (shop.alarms.length > 0) console.log("alarms", shop.alarms);
}

async function countOf({ kv }: BackupShop): Promise<number> {
  let count = 0;
  for await (const page of scanAll(kv, isDurable)) count += page.length;
  return count;
}

async function all(entries: number): Promise<void> {
  const folder = await Deno.makeTempDir();
  await Deno.mkdir(`${folder}/objects`);
  const leads = Math.ceil(entries / ENTRIES_PER_LEAD);
  for (const name of Object.keys(STEPS)) {
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", new URL(import.meta.url).pathname, name, String(leads), folder],
      stdout: "inherit",
      stderr: "inherit",
    }).output();
    if (!success) break;
  }
  await Deno.remove(folder, { recursive: true });
}

const [first = "", leads, folder] = Deno.args;
if (first in STEPS && folder !== undefined) await step(first, Number(leads), folder);
else {for (const size of Deno.args.length > 0 ? Deno.args : ["10000", "100000"]) {
    await all(Number(size));
  }}
