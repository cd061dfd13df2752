/**
 * A bare Deno KV that writes what leads write: the same number of keys, and values of
 * the same number of bytes, recorded from `acceptLead()` with its log entry. It checks
 * nothing, parses nothing and serves nobody, so that it would be wrong as a program.
 *
 * @module
 */
import { openServices } from "../../lib/app/open.ts";
import { readConfig } from "../../lib/config/mod.ts";
import type { KvPort } from "../../lib/kv/store.ts";
import { type AcceptedLead, acceptLead } from "../../lib/leads/mod.ts";
import { createProduct } from "../../lib/products/mod.ts";
import { openLog } from "../../lib/telemetry/mod.ts";
import { percentile, type Rate } from "./_figures.ts";
import { cpuEach, cpuMs, inAnotherProcess } from "./_processes.ts";
import { enquiry, PRODUCT, visitor } from "./_visitors.ts";

/** How a loop works. */
export interface BareLoop {
  /** A file that does not exist. */
  kvPath: string;
  /** Commits under way at any moment. */
  atOnce: number;
  /** Leads in each commit. */
  leads: number;
  ms: number;
  warmUpMs: number;
}

/** Runs a loop in a process of its own. @returns Leads, not commits */
export function runBareLoop(loop: BareLoop): Promise<Rate> {
  return inAnotherProcess("_bare_kv.ts", loop);
}

/** What one lead writes. */
interface Footprint {
  accepted: AcceptedLead;
  writes: { key: Deno.KvKey; value: unknown }[];
  /** Bytes of the log entry that goes with them. */
  logBytes: number;
}

/** Bytes of the log in one value; what is more becomes another one. */
const LOG_PART_BYTES = 60_000;

async function measure({ kvPath, atOnce, leads, ms, warmUpMs }: BareLoop): Promise<Rate> {
  const footprint = await footprintOf();
  using kv = await Deno.openKv(kvPath);
  const latencies: number[] = [];
  const state = { kv, footprint, last: 0 };
  const before = cpuMs(Deno.pid);
  const countFrom = performance.now() + warmUpMs;
  const endAt = countFrom + ms;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (;;) {
      const startedAt = performance.now();
      if (startedAt >= endAt) return;
      await commit(state, leads);
      const endedAt = performance.now();
      if (startedAt >= countFrom && endedAt <= endAt) latencies.push(endedAt - startedAt);
    }
  }));
  return {
    perSecond: latencies.length * leads * 1_000 / ms,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    cpuUs: cpuEach(before, cpuMs(Deno.pid), state.last),
  };
}

/** Commits so many leads as one atomic operation. */
async function commit(
  state: { kv: Deno.Kv; footprint: Footprint; last: number },
  leads: number,
): Promise<void> {
  const { kv, footprint } = state;
  const atomic = kv.atomic();
  for (let i = 0; i < leads; i++) {
    const rename = renamer(footprint, ++state.last);
    for (const { key, value } of footprint.writes) atomic.set(rename(key), value);
  }
  const logBytes = footprint.logBytes * leads;
  for (let at = 0; at < logBytes; at += LOG_PART_BYTES) {
    const part = new Uint8Array(Math.min(LOG_PART_BYTES, logBytes - at));
    atomic.set(["log", at / LOG_PART_BYTES, kv.commitVersionstamp()], part);
  }
  await atomic.commit();
}

/** Names that lead `n` has in place of the recorded one's: as long, and in the same order or disorder. */
function renamer({ accepted: { lead, client, invoice } }: Footprint, n: number) {
  const { email, phone } = visitor(n);
  const names = new Map<Deno.KvKeyPart | null, Deno.KvKeyPart>([
    [lead.id, timeOrdered()],
    [client.id, timeOrdered()],
    [invoice?.id ?? null, timeOrdered()],
    [client.email, email],
    [client.phone, phone],
    [invoice?.number ?? null, `INV-2026-${String(n).padStart(6, "0")}`],
  ]);
  return (key: Deno.KvKey): Deno.KvKey => {
    // The receipt's name is a digest, in no order.
    if (key[0] === "op") return ["op", `${crypto.randomUUID()}0123456`];
    return key.map((part) => names.get(part) ?? part);
  };
}

let ids = Date.now() * 4_096;

function timeOrdered(): string {
  const digits = (ids++).toString(16).padStart(16, "0");
  return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-7${digits.slice(12, 15)}${
    crypto.randomUUID().slice(18)
  }`;
}

/** Lets `acceptLead()` accept one and records its writes. */
async function footprintOf(): Promise<Footprint> {
  const recorded: Footprint["writes"] = [];
  const services = await openServices(readConfig({ APP_ENV: "test", KV_PATH: ":memory:" }), {
    log: openLog({ level: "error", format: "json" }),
    clock: Date.now,
    random: Math.random,
    wrapKv: (kv) => recorder(kv, recorded),
  });
  const caller = { actor: "public", requestId: crypto.randomUUID() } as const;
  const { id } = await createProduct(services, PRODUCT, { ...caller, idempotencyKey: null });
  recorded.length = 0;
  const idempotencyKey = crypto.randomUUID();
  const accepted = await acceptLead(services, enquiry(0, id), { ...caller, idempotencyKey });
  await services.store.close();
  const isLog = ({ key }: { key: Deno.KvKey }) => key[0] === "log";
  const logBytes = recorded.filter(isLog)
    .reduce((sum, { value }) => sum + (value instanceof Uint8Array ? value.length : 0), 0);
  return { accepted, writes: recorded.filter((write) => !isLog(write)), logBytes };
}

function recorder(kv: KvPort, recorded: Footprint["writes"]): KvPort {
  return {
    getMany: kv.getMany.bind(kv),
    list: kv.list.bind(kv),
    close: () => kv.close(),
    commitVersionstamp: () => kv.commitVersionstamp(),
    atomic() {
      const atomic = kv.atomic();
      const { set } = atomic;
      atomic.set = (key, value, options) => {
        recorded.push({ key, value });
        return set.call(atomic, key, value, options);
      };
      return atomic;
    },
  };
}

if (import.meta.main) console.log(JSON.stringify(await measure(JSON.parse(Deno.args[0]!))));
