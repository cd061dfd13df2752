/**
 * A store and its backup, made by an earlier program: the revision before the
 * folders of lib/, when that was one flat folder. Today's program must open,
 * sweep and restore them.
 *
 * That program made them by its API and tasks, in development, at {@linkcode MADE_AT}:
 * enquiries, invoices and payments, then `deno task backup`, then two more enquiries
 * and a shipment of the log.
 *
 * To make new ones, run the program of the revision in question with `KV_PATH` and
 * `STORAGE_URL` in an empty folder, and stop it. Then, with `node:sqlite`:
 * `UPDATE kv SET expiration_ms = -1`, because Deno KV would delete expired entries by the
 * system's clock; `PRAGMA wal_checkpoint(TRUNCATE)`; `PRAGMA journal_mode = DELETE`; `VACUUM`.
 * Compress the file, and the objects of the storage as JSON of names and base64, with gzip.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** When both were complete, milliseconds UTC. */
export const MADE_AT: number = Date.UTC(2026, 10, 30, 8, 12, 8);

/** A link and a key that the earlier program issued, under the secret key of development. */
export const ISSUED_BEFORE = {
  /** The token in the link to the page of invoice INV-2026-000001. */
  invoiceToken: "AaIrgszjdGyqW3TFUasf50JKhWC4JWx85PlFO-k144o",
  /** The API key named Accounting, with the scope `invoices:read`. */
  apiKey: "wtk_01a22b82d9937668929b484d42b7f9cd_kczwQRe5oz3M4FXVhqZfdNuFszEu6HuvQ-9vyV5VUGM",
};

/** Copies of both in a temporary folder, which disposal removes. */
export interface StoreBefore extends AsyncDisposable {
  /** The file of the store. */
  readonly kvPath: string;
  /** A path for a second store, where no file is yet. */
  readonly emptyKvPath: string;
  /** The folder of the storage with the backup and the log. */
  readonly backups: string;
}

/** Unpacks both. */
export async function unpackStoreBefore(): Promise<StoreBefore> {
  const folder = await Deno.makeTempDir();
  const kvPath = `${folder}/shop.kv`;
  const backups = `${folder}/backups`;
  await Deno.writeFile(kvPath, await unzipped("store_before.kv.gz"));
  const text = new TextDecoder().decode(await unzipped("backup_before.json.gz"));
  const objects: Record<string, string> = JSON.parse(text);
  for (const [name, base64] of Object.entries(objects)) {
    const path = `${backups}/${name}`;
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await Deno.writeFile(path, Buffer.from(base64, "base64"));
  }
  return {
    kvPath,
    emptyKvPath: `${folder}/empty.kv`,
    backups,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

async function unzipped(name: string): Promise<Uint8Array> {
  const bytes = await Deno.readFile(new URL(`previous/${name}`, import.meta.url));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
