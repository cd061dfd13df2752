/**
 * How fast a store is backed up, read back, restored and proven, and in how much
 * memory. Each step is a process of its own, so that its peak is its own.
 *
 *   deno run -A tests/bench/backup.ts [entries [step...]]     100,000 entries by default
 *
 * @module
 */
import { drill, restore, shipLog, takeBackup, verifyBackup } from "../../lib/backup/mod.ts";
import { listBackups } from "../../lib/backup/mod.ts";
import { type BackupShop, openBackupShop, sellTo } from "../support/backup_shop.ts";

/** A lead with its client and invoice. */
const ENTRIES_PER_LEAD = 9;

const STEPS: Record<string, (shop: BackupShop, leads: number) => Promise<unknown>> = {
  async seed(shop, leads) {
    for (let sent = 0; sent < leads; sent += 10_000) {
      await sellTo(shop, Math.min(10_000, leads - sent), sent);
    }
  },
  backup: ({ services }) => takeBackup(services),
  ship: ({ services }) => shipLog(services),
  async verify({ services }) {
    const [newest] = await listBackups(services);
    await verifyBackup(services, newest!.id);
  },
  async restore({ services }) {
    const startedAt = performance.now();
    let sweepAt = 0;
    const { findings, entries } = await restore(services, "latest", {
      onProgress: ({ phase }) => {
        if (phase === "sweep") sweepAt = performance.now();
      },
    });
    if (findings > 0) throw new Error(`The sweep has ${findings} findings`);
    return { entries, restoreS: (sweepAt - startedAt) / 1_000 };
  },
  async drill({ services }) {
    return (await drill(services, { openScratch: () => Deno.openKv(":memory:") })).isProven;
  },
  async drillInPlace({ services }) {
    return (await drill(services)).isProven;
  },
};

async function step(name: string, leads: number, folder: string): Promise<void> {
  const kvPath = `${folder}/${name === "restore" ? "twin" : "shop"}.kv`;
  await using shop = await openBackupShop({
    kvPath,
    folder: `${folder}/objects`,
    clock: Date.now,
  });
  const before = Deno.memoryUsage().rss;
  let peak = before;
  const timer = setInterval(() => peak = Math.max(peak, Deno.memoryUsage().rss), 20);
  const startedAt = performance.now();
  const told = await STEPS[name]!(shop, leads);
  const seconds = (performance.now() - startedAt) / 1_000;
  clearInterval(timer);
  const mib = (bytes: number) => Math.round(bytes / 2 ** 20);
  const rate = Math.round(leads * ENTRIES_PER_LEAD / seconds);
  const memory = `${mib(peak)} MiB at most (${mib(before)} before)`;
  const detail = told !== null && typeof told === "object" && "restoreS" in told ? told : "";
  console.log(`${name}: ${seconds.toFixed(1)} s, ${rate} entries/s, ${memory}`, detail);
  if (shop.alarms.length > 0) console.log("alarms", shop.alarms);
}

async function all(entries: number, names: string[]): Promise<void> {
  const folder = await Deno.makeTempDir();
  await Deno.mkdir(`${folder}/objects`);
  const leads = Math.ceil(entries / ENTRIES_PER_LEAD);
  for (const name of names) {
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", new URL(import.meta.url).pathname, name, String(leads), folder],
    }).output().then((output) => {
      Deno.stdout.writeSync(output.stdout);
      Deno.stderr.writeSync(output.stderr);
      return output;
    });
    if (!success) break;
  }
  await Deno.remove(folder, { recursive: true });
}

const [first = "100000", ...rest] = Deno.args;
const [leads, folder] = rest;
if (first in STEPS && folder !== undefined) await step(first, Number(leads), folder);
else await all(Number(first), rest.length > 0 ? rest : Object.keys(STEPS));
