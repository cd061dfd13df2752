/**
 * A store of so many leads: filled through the program's own use case, then measured.
 * Each step is a process of its own.
 *
 * @module
 */
import type { Services } from "../../lib/app/mod.ts";
import { openServices } from "../../lib/app/open.ts";
import { hasBackups } from "../../lib/backup/needs.ts";
import { restore } from "../../lib/backup/restore.ts";
import { takeBackup } from "../../lib/backup/take.ts";
import { readConfig } from "../../lib/config/mod.ts";
import { sweep } from "../../lib/integrity/mod.ts";
import { getInvoice, type InvoiceFilter, listInvoices } from "../../lib/invoices/mod.ts";
import { acceptLead } from "../../lib/leads/mod.ts";
import { createProduct } from "../../lib/products/mod.ts";
import { openLog } from "../../lib/telemetry/mod.ts";
import { DAY_MS } from "../../lib/time.ts";
import { count, percentile } from "./_figures.ts";
import { kvPathOf, memoryBytes, storeBytes } from "./_processes.ts";
import { enquiry, PRODUCT } from "./_visitors.ts";

/** What is filled. */
export interface FillRequest {
  /** Where the store and its backups are. */
  folder: string;
  leads: number;
}

/** A filled store. */
export interface Filled {
  /** Fewer than requested when the time was up. */
  leads: number;
  seconds: number;
  bytes: number;
}

/** Milliseconds. */
export interface Times {
  p50: number;
  p99: number;
}

/** What a store was measured to take. */
export interface Measured {
  lead: Times;
  invoice: Times;
  /** The newest. */
  list: Times;
  /** A page that starts at the middle of the list. */
  middle: Times;
  /** The newest that are overdue, on as many pages as they take. */
  overdue: Times;
  sweepSeconds: number;
  backupSeconds: number;
  /** Into an empty store, and a sweep of it. */
  restoreSeconds: number;
  peakBytes: number | null;
}

/** The leads of a store came in over so many days, so that some invoices are overdue. */
const SPAN_MS = 60 * DAY_MS;
/** Leads under way at once; the store refuses more than a thousand. */
const BATCH = 500;
/** Deliveries are recorded after so many leads, as if nobody listened. */
const DISPATCH_EVERY = 10_000;
/** A fill may take so long for each lead, and as long as a short one takes anyway. */
const FILL_MS = { perLead: 2, least: 60_000 };
const PROGRESS_MS = 5_000;
const PAGE = 50;
/** The pages of the overdue list that are read at most. */
const PAGES_MAX = 2_000;

async function fill({ folder, leads }: FillRequest): Promise<Filled> {
  const startedAt = performance.now();
  const deadline = startedAt + Math.max(FILL_MS.least, leads * FILL_MS.perLead);
  const from = Date.now() - SPAN_MS;
  let done = 0;
  let shownAt = startedAt;
  const services = await open(kvPathOf(folder), folder, () => from + done / leads * SPAN_MS);
  const { id } = await createProduct(services, PRODUCT, caller("fill"));
  while (done < leads && performance.now() < deadline) {
    const size = Math.min(BATCH, leads - done);
    await Promise.all(Array.from({ length: size }, (_, i) => sendLead(services, id, done + i)));
    done += size;
    if (done % DISPATCH_EVERY < BATCH || done === leads) await services.outbox.run();
    if (performance.now() - shownAt < PROGRESS_MS) continue;
    shownAt = performance.now();
    const seconds = (shownAt - startedAt) / 1_000;
    show(`filled ${count(done)} of ${count(leads)} leads, ${count(done / seconds)}/s`);
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  await services.store.close();
  return { leads: done, seconds, bytes: await storeBytes(kvPathOf(folder)) };
}

async function measure({ folder, leads }: FillRequest): Promise<Measured> {
  const services = await open(kvPathOf(folder), folder, Date.now);
  if (!hasBackups(services)) throw new Error("Backups are not configured");
  const { data } = await listInvoices(services, EVERY, { limit: PAGE, cursor: null });
  const [newest] = data;
  const productId = await productOf(services);
  const cursor = await cursorAt(services, leads / 2);
  show(`measuring ${count(leads)} leads`);
  const lead = await timed(200, (i) => sendLead(services, productId, leads + i));
  const invoice = await timed(1_000, (i) => getInvoice(services, data[i % data.length]!.id));
  const list = await timed(100, () => page(services, null));
  const middle = await timed(100, () => page(services, cursor));
  const overdue = await timed(10, () => overduePage(services));
  if (newest === undefined) throw new Error("The store has no invoices");
  show(`sweep of ${count(leads)} leads`);
  const sweepSeconds = await seconds(async () => expectNoFindings(await sweep(services)));
  show(`backup of ${count(leads)} leads`);
  const backupSeconds = await seconds(async () => {
    const { status } = await takeBackup(services);
    if (status !== "taken") throw new Error(`The backup is ${status}`);
  });
  show(`restore of ${count(leads)} leads`);
  const restoreSeconds = await seconds(() => restoreTwin(folder));
  const peakBytes = memoryBytes(Deno.pid, "peak");
  await services.store.close();
  return {
    lead,
    invoice,
    list,
    middle,
    overdue,
    sweepSeconds,
    backupSeconds,
    restoreSeconds,
    peakBytes,
  };
}

async function open(kvPath: string, folder: string, clock: () => number): Promise<Services> {
  const config = readConfig({
    APP_ENV: "test",
    KV_PATH: kvPath,
    STORAGE_URL: `file:${folder}/backups`,
    RATE_LIMITS: "off",
  });
  const log = openLog({ level: "error", format: "json", write: console.error });
  return await openServices(config, { log, clock, random: Math.random });
}

function caller(requestId: string) {
  return { actor: "public", requestId, idempotencyKey: null } as const;
}

async function sendLead(services: Services, productId: string, n: number): Promise<void> {
  await acceptLead(services, enquiry(n, productId), caller(`request ${n}`));
}

async function productOf({ store }: Services): Promise<string> {
  const [product] = await store.list<{ id: string }>(["product"], { limit: 1 });
  if (!product) throw new Error("The store has no product");
  return product.value.id;
}

const EVERY: InvoiceFilter = { status: null, clientId: null, number: null, isOverdue: null };

async function page(services: Services, cursor: string | null): Promise<void> {
  const { data } = await listInvoices(services, EVERY, { limit: PAGE, cursor });
  if (data.length !== PAGE) throw new Error(`A page has ${data.length} invoices`);
}

/** Follows the pages, as a reader does, until as many were found as one page has. */
async function overduePage(services: Services): Promise<void> {
  let cursor: string | null = null;
  let found = 0;
  for (let i = 0; i < PAGES_MAX && found < PAGE; i++) {
    const filter = { ...EVERY, isOverdue: true };
    const { data, nextCursor } = await listInvoices(services, filter, { limit: PAGE, cursor });
    found += data.length;
    cursor = nextCursor;
    if (cursor === null) break;
  }
  if (found < PAGE) throw new Error(`Only ${found} invoices are overdue`);
}

/** A cursor after about so many invoices. */
async function cursorAt(services: Services, skip: number): Promise<string | null> {
  let cursor: string | null = null;
  for (let skipped = 0; skipped < skip - PAGE; skipped += 200) {
    const { nextCursor } = await listInvoices(services, EVERY, { limit: 200, cursor });
    if (nextCursor === null) break;
    cursor = nextCursor;
  }
  return cursor;
}

async function restoreTwin(folder: string): Promise<void> {
  const twin = await open(`${folder}/twin.kv`, folder, Date.now);
  if (!hasBackups(twin)) throw new Error("Backups are not configured");
  const { findings } = await restore(twin, "latest");
  expectNoFindings({ findingsTotal: findings });
  await twin.store.close();
}

function expectNoFindings({ findingsTotal }: { findingsTotal: number }): void {
  if (findingsTotal > 0) throw new Error(`The sweep has ${findingsTotal} findings`);
}

async function timed(times: number, run: (i: number) => Promise<unknown>): Promise<Times> {
  const durations: number[] = [];
  for (let i = 0; i < times; i++) durations.push(await seconds(() => run(i)) * 1_000);
  return { p50: percentile(durations, 0.5), p99: percentile(durations, 0.99) };
}

async function seconds(run: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await run();
  return (performance.now() - startedAt) / 1_000;
}

const encoder = new TextEncoder();

/** Shows what is under way; on a terminal, in one line. */
function show(text: string): void {
  const line = Deno.stderr.isTerminal() ? `\r\x1b[Kgrowth: ${text}` : `growth: ${text}\n`;
  Deno.stderr.writeSync(encoder.encode(line));
}

if (import.meta.main) {
  const { step, ...request } = JSON.parse(Deno.args[0]!);
  console.log(JSON.stringify(await (step === "fill" ? fill(request) : measure(request))));
}
