/**
 * A shop with backups: its services over a store and a storage of its own, and
 * what tests of backups look at.
 *
 * @module
 */
import type { BackupServices } from "../../../lib/backup/needs.ts";
import { BACKUP_RETENTION, readConfig, type Retention } from "../../../lib/config/mod.ts";
import { isDurable } from "../../../lib/kv/keys.ts";
import type { KvPort } from "../../../lib/kv/store.ts";
import { openLog } from "../../../lib/telemetry/mod.ts";
import { acceptLead } from "../../../lib/leads/mod.ts";
import { createProduct } from "../../../lib/products/mod.ts";
import { openServices } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/mod.ts";
import { openStorage } from "../../../lib/storage/open.ts";
import { PRODUCT, TEST_START, TESTER } from "../program/app.ts";
import { PATIENT } from "../store/deadlines.ts";
import { FaultyStorage, PlainStorage } from "../store/plain_storage.ts";

/** How a test wants its shop. */
export interface BackupShopOptions {
  /** Where the store is; in memory when absent. */
  kvPath?: string;
  /** Where objects go; a temporary folder, removed at the end, when absent. */
  folder?: string;
  /** The storage checks nothing, so that it is up to the backups to find damage. */
  isPlain?: boolean;
  /** Encrypts what is stored. */
  key?: Uint8Array<ArrayBuffer>;
  retention?: Retention;
  /** The time; stands still at `TEST_START` but for `advance()` when absent. */
  clock?: () => number;
  /** Stands between the program and the opened KV. */
  wrapKv?: (kv: KvPort) => KvPort;
}

/** A shop with backups. */
export interface BackupShop extends AsyncDisposable {
  services: Services & BackupServices;
  kv: KvPort;
  storage: PlainStorage;
  /** In front of `storage`. */
  faults: FaultyStorage;
  /** Events of the log at level error. */
  alarms: string[];
  advance(ms: number): void;
}

/** Opens one. */
export async function openBackupShop(options: BackupShopOptions = {}): Promise<BackupShop> {
  const { kvPath = ":memory:", key, retention = BACKUP_RETENTION } = options;
  const folder = options.folder ?? await Deno.makeTempDir();
  let offset = 0;
  const clock = options.clock ?? (() => TEST_START + offset);
  const alarms: string[] = [];
  const log = openLog({
    level: "error",
    format: "json",
    write: (line) => {
      const { event } = JSON.parse(line);
      // Alerts are in the log first.
      if (event !== "alert.raised") alarms.push(event);
    },
  });
  const config = {
    ...readConfig({
      APP_ENV: "test",
      KV_PATH: kvPath,
      DENO_KV_ACCESS_TOKEN: "of the server that was started last",
      RATE_LIMITS: "off",
    }),
    backupEncryptionKey: key,
    backupRetention: retention,
  };
  let opened: KvPort | undefined;
  const wrapKv = (kv: KvPort) => opened = options.wrapKv?.(kv) ?? kv;
  const own = await openServices(config, {
    log,
    clock,
    random: Math.random,
    wrapKv,
    deadlines: PATIENT,
  });
  // Both keep objects in the same files.
  const storage = new PlainStorage(folder);
  const faults = new FaultyStorage(
    options.isPlain
      ? storage
      : await openStorage({ url: `file:${folder}`, s3: undefined, clock, random: Math.random }),
  );
  const services = { ...own, config, kv: opened!, storage: faults };
  return {
    services,
    kv: opened!,
    storage,
    faults,
    alarms,
    advance(ms) {
      offset += ms;
    },
    async [Symbol.asyncDispose]() {
      await services.alerts.close();
      await services.store.close();
      if (options.folder === undefined) await Deno.remove(folder, { recursive: true });
    },
  };
}

/** A second, empty shop over the same storage. */
export function openTwin(
  { storage }: BackupShop,
  options: BackupShopOptions = {},
): Promise<BackupShop> {
  return openBackupShop({ folder: storage.folder, ...options });
}

/** More at once are refused. */
const WAITING_MAX = 1_000;

/** Puts a product on sale and sends `count` leads for it, numbered from `first`. */
export async function sellTo(
  { services }: Pick<BackupShop, "services">,
  count: number,
  first = 0,
): Promise<void> {
  const productId = await stock({ services });
  for (let sent = 0; sent < count; sent += WAITING_MAX) {
    const some = Math.min(WAITING_MAX, count - sent);
    await Promise.all(
      Array.from({ length: some }, (_, i) => sendLead({ services }, productId, first + sent + i)),
    );
  }
}

/** The product on sale, put there if need be. */
export async function stock({ services }: Pick<BackupShop, "services">): Promise<string> {
  for (const { value } of await services.store.list<{ id: string }>(["product"], { limit: 1 })) {
    return value.id;
  }
  return (await createProduct(services, PRODUCT, TESTER)).id;
}

/** Sends one lead; resolves with its id when it is acknowledged. */
export async function sendLead(
  { services }: Pick<BackupShop, "services">,
  productId: string,
  i: number,
): Promise<{ leadId: string; clientId: string; invoiceId: string }> {
  const { lead } = await acceptLead(services, {
    name: "Asha Mushi",
    email: `asha${i}@example.com`,
    message: `Habari ${i}`,
    productId,
    quantity: 1,
    source: "website",
    marketingConsent: false,
  }, { actor: "public", requestId: `request ${i}`, idempotencyKey: null });
  return { leadId: lead.id, clientId: lead.clientId, invoiceId: lead.invoiceId! };
}

/** Every durable entry of the store, by its key's JSON, as text of its bytes. */
export async function booksOf(kv: KvPort): Promise<Map<string, string>> {
  const decoder = new TextDecoder();
  const books = new Map<string, string>();
  for await (const { key, value } of kv.list<Uint8Array>({ prefix: [] })) {
    if (isDurable(key)) books.set(JSON.stringify(key), decoder.decode(value));
  }
  return books;
}

/** The stored entries without those that backups and restores add. */
export async function shopBooksOf(kv: KvPort): Promise<Map<string, string>> {
  const books = await booksOf(kv);
  for (const key of books.keys()) {
    if (/^\["(?:backup|restore_proof)"/.test(key)) books.delete(key);
  }
  return books;
}
