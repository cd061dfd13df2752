/**
 * The disaster that backups are for: a server under load, a backup to a real S3
 * server beside it, the process killed and its store destroyed, and everything
 * brought back by the task, entry by entry.
 *
 * What should be there is known without the backup: the lost store's own log,
 * read here without any of the program's code, gives the state after each commit.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { listSegments } from "../../lib/backup/journal.ts";
import { readManifest } from "../../lib/backup/manifest.ts";
import { type BackupServices, hasBackups } from "../../lib/backup/needs.ts";
import { shipLog } from "../../lib/backup/ship.ts";
import { logState } from "../../lib/backup/state.ts";
import { readConfig } from "../../lib/config/mod.ts";
import { openLog } from "../../lib/telemetry/mod.ts";
import { openServices } from "../../lib/app/open.ts";
import { systemClock } from "../../lib/time.ts";
import { shopBooksOf } from "../support/processes/backup_shop.ts";
import { hasS3Server, S3_SERVER_INSTALL, startS3Server } from "../support/servers/s3_server.ts";
import { startServer } from "../support/processes/server_process.ts";
import { type Acknowledged, ask, ShopLoad } from "../support/processes/shop_load.ts";
import { expectSameBooks } from "../support/store/same_books.ts";
import { runTask, type TaskEnd } from "../support/processes/task_process.ts";
import { PATIENT } from "../support/store/deadlines.ts";

const SENDERS = 16;
const KEY = "a key of this test that may do everything";

/** A commit of the lost store. */
interface Commit {
  stamp: string;
  at: number;
  /** Keys as JSON; null where an entry was taken away. */
  changes: [key: string, value: string | null][];
}

/** Everything that was ever committed to a store, from its log. */
async function commitsOf(kv: Deno.Kv): Promise<Commit[]> {
  const texts = new Map<string, string>();
  const decoder = new TextDecoder();
  // In the order of parts, and within them of commits.
  for await (const { key, value } of kv.list<Uint8Array>({ prefix: ["log"] })) {
    const stamp = String(key[2]);
    texts.set(stamp, (texts.get(stamp) ?? "") + decoder.decode(value));
  }
  return [...texts].map(([stamp, text]) => {
    const [head, ...lines] = text.split("\n").slice(0, -1);
    const changes = lines.map((line): [string, string | null] => {
      const [key, value] = line.split("\t");
      return [key!, value === "" ? null : value!];
    });
    return { stamp, at: JSON.parse(head!).at, changes };
  }).sort((a, b) => a.stamp < b.stamp ? -1 : 1);
}

/** The shop's books after those commits. */
function booksAfter(commits: Commit[]): Map<string, string> {
  const books = new Map<string, string>();
  for (const { changes } of commits) {
    for (const [key, value] of changes) {
      if (/^\["(?:backup|restore_proof)"/.test(key)) continue;
      if (value === null) books.delete(key);
      else books.set(key, value);
    }
  }
  return books;
}

/** Those of the writes that are not in the books. */
function missing(books: Map<string, string>, acknowledged: Acknowledged[]): string[] {
  return acknowledged.flatMap(({ kind, id, revision = 1 }) => {
    const text = books.get(JSON.stringify([kind, id]));
    const found = text === undefined ? 0 : JSON.parse(text.slice(text.indexOf(" "))).revision;
    return found >= revision ? [] : [`${kind} ${id} at ${revision}`];
  });
}

async function booksAt(kvPath: string): Promise<Map<string, string>> {
  using kv = await Deno.openKv(kvPath);
  return await shopBooksOf(kv);
}

function expectGood({ code, stdout, stderr }: TaskEnd): string {
  equal(code, 0, stdout + stderr);
  return stdout.trim();
}

Deno.test({
  name: hasS3Server()
    ? "a lost store comes back from S3 as it was, at any moment that was asked for"
    : `a lost store comes back from S3 as it was (needs ${S3_SERVER_INSTALL})`,
  ignore: !hasS3Server(),
  async fn() {
    await using s3 = await startS3Server();
    const folder = await Deno.makeTempDir();
    const place = (name: string) => ({ kvPath: `${folder}/${name}/shop.kv`, env });
    const env = {
      STORAGE_URL: `s3://${s3.bucket}/shop`,
      S3_ENDPOINT: s3.endpoint,
      S3_REGION: s3.region,
      S3_ACCESS_KEY_ID: s3.accessKeyId,
      S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
      BACKUP_ENCRYPTION_KEY: btoa("0123456789abcdef0123456789abcdef"),
      BOOTSTRAP_API_KEY: KEY.replaceAll(" ", "-"),
    };
    const lost = place("lost");
    await Deno.mkdir(`${folder}/lost`);
    await using server = await startServer(lost);
    const door = { url: server.url, key: env.BOOTSTRAP_API_KEY };
    const load = new ShopLoad(door);
    /** What the operators' machine would see of the store and the storage. */
    const beside = async <T>(look: (services: BackupServices) => Promise<T>): Promise<T> => {
      const config = readConfig({ ...env, KV_PATH: lost.kvPath });
      const log = openLog({ level: "error", format: "json" });
      const services = await openServices(config, {
        log,
        clock: systemClock,
        random: Math.random,
        deadlines: PATIENT,
      });
      using _store = services.store;
      ok(hasBackups(services));
      return await look(services);
    };

    // The shop is busy, and is backed up meanwhile.
    await load.start(SENDERS);
    await load.more(2_000);
    const startedAt = Date.now();
    const writtenBefore = load.acknowledged.length;
    const backupId = expectGood(await runTask("backup", [], lost));
    const written = load.acknowledged.length - writtenBefore;
    const rate = Math.round(written / (Date.now() - startedAt) * 1_000);
    ok(written > 0, "nothing was written beside the backup");
    await load.more(300);
    const moment = Date.now();
    await load.more(300);
    await load.stop();
    const { shipped, manifest } = await beside(async (services) => ({
      shipped: await shipLog(services),
      manifest: await readManifest(services, backupId),
    }));
    // What follows is in the store alone, and is lost with it.
    await load.start(SENDERS);
    await load.more(200);
    server.kill("SIGKILL");
    await server.ended;
    await load.stop();

    // It is looked at for the last time, and destroyed.
    let commits: Commit[];
    {
      using kv = await Deno.openKv(lost.kvPath);
      commits = await commitsOf(kv);
      expectSameBooks(await shopBooksOf(kv), booksAfter(commits));
    }
    const upTo = (stamp: string) => commits.filter((commit) => commit.stamp <= stamp);
    deepEqual(missing(booksAfter(commits), load.acknowledged), []);
    // At the full minute the server ships by itself.
    const lastShipped = await beside(async (services) => {
      const { epoch } = await logState(services);
      return (await listSegments(services.storage, epoch)).at(-1)!.to;
    });
    ok(lastShipped >= shipped.stamp && shipped.stamp > manifest.v1);
    await Deno.remove(`${folder}/lost`, { recursive: true });

    const [latest, exact, timely] = [place("latest"), place("exact"), place("timely")];
    for (const name of ["latest", "exact", "timely"]) await Deno.mkdir(`${folder}/${name}`);
    const ends = await Promise.all([
      runTask("restore", ["latest"], latest),
      runTask("restore", [backupId], exact),
      runTask("restore", [new Date(moment).toISOString()], timely),
    ]);

    for (const end of ends) ok(expectGood(end).endsWith("Sweep:      no findings"), end.stdout);
    const point = Date.parse(manifest.pointInTime);
    const firstLater = commits.findIndex(({ at, stamp }) => stamp > manifest.v1 && at > moment);
    const atMoment = commits.slice(0, firstLater);
    for (
      const [{ kvPath }, expected, until] of [
        [latest, upTo(lastShipped), null],
        [exact, upTo(manifest.v1), point],
        [timely, atMoment, moment],
      ] as const
    ) {
      const found = await booksAt(kvPath);
      expectSameBooks(found, booksAfter(expected));
      const before = until ?? commits.findLast(({ stamp }) => stamp <= shipped.stamp)!.at;
      const due = load.acknowledged.filter(({ answeredAt }) => answeredAt < before);
      ok(due.length > 1_000);
      deepEqual(missing(found, due), []);
      if (until === null) continue;
      const tooLate = load.acknowledged.filter(({ sentAt }) => sentAt > until + 1_000);
      equal(missing(found, tooLate).length, tooLate.length);
    }

    // The shop goes on where it was, and what was erased stays so.
    const after = await booksAt(latest.kvPath);
    const text = [...after.values()].join("\n");
    const erased = load.erased.filter(({ answeredAt }) => answeredAt < moment);
    ok(erased.length > 20);
    deepEqual(erased.filter(({ email }) => text.includes(`"${email}"`)), []);
    await using restored = await startServer(latest);
    const again = new ShopLoad({ ...door, url: restored.url });
    const { id } = load.acknowledged.find(({ kind }) => kind === "lead")!;
    equal((await ask(again.door, "GET", `/leads/${id}`)).status, 200);
    await again.start(SENDERS);
    await again.more(100);
    await again.stop();
    restored.kill("SIGKILL"); // what it has yet to mail it would note after the backup
    await restored.ended;
    expectGood(await runTask("sweep", [], latest));
    expectGood(await runTask("backup", [], latest));
    const second = await booksAt(latest.kvPath);
    await Deno.remove(`${folder}/latest`, { recursive: true });
    await Deno.mkdir(`${folder}/latest`);
    expectGood(await runTask("restore", ["latest"], latest));
    expectSameBooks(await booksAt(latest.kvPath), second);
    deepEqual(missing(second, again.acknowledged), []);

    console.log(
      `  ${load.acknowledged.length} writes acknowledged, ${rate}/s beside the backup; restored ` +
        `${commits.length - upTo(lastShipped).length} commits less than were made, none unshipped`,
    );
    await Deno.remove(folder, { recursive: true });
  },
});
