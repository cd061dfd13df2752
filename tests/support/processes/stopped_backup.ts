/**
 * A program that kills itself before its n-th durable write, a commit or a change of the
 * storage:
 *
 *   stopped_backup.ts take|retain|restore|overwrite <store> <folder> <time> <n>
 *
 * It exits with 0 if its work took fewer writes.
 *
 * @module
 */
import { restore } from "../../../lib/backup/restore.ts";
import { retain } from "../../../lib/backup/retain.ts";
import { shipLog } from "../../../lib/backup/ship.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import type { KvPort } from "../../../lib/kv/store.ts";
import { type BackupShop, openBackupShop, sellTo } from "./backup_shop.ts";

/** The work that is stopped. */
export type Stopped = "take" | "retain" | "restore" | "overwrite";

/** The retention while this runs. */
export const STOPPED_RETENTION = { dailies: 2, weeklies: 0, monthlies: 0 };

/** Does the work to its end. */
export async function doAll(what: Stopped, shop: BackupShop): Promise<void> {
  const { services } = shop;
  switch (what) {
    case "take": {
      // In slices, so that there are several parts, and something to log.
      const first = await takeBackup(services, { budgetMs: 0 });
      if (first.status === "unfinished" && first.phase === "scan") await sellTo(shop, 2, 10_000);
      while ((await takeBackup(services, { budgetMs: 0 })).status !== "taken");
      await shipLog(services);
      break;
    }
    case "retain":
      await retain(services);
      break;
    case "restore":
      await restore(services, "latest");
      break;
    case "overwrite":
      await restore(services, "latest", { overwrite: true });
      break;
    default:
      what satisfies never;
  }
}

if (import.meta.main) {
  const [what, kvPath, folder, now, n] = Deno.args as [Stopped, string, string, string, string];
  let left = Infinity;
  const next = () => {
    if (--left === 0) Deno.kill(Deno.pid, "SIGKILL");
  };
  await using shop = await openBackupShop({
    kvPath,
    folder,
    clock: () => Number(now),
    retention: STOPPED_RETENTION,
    wrapKv: (kv) => counting(kv, next),
  });
  shop.faults.fault = ({ does }) => {
    if (does === "put" || does === "delete") next();
    return "ok";
  };
  left = Number(n);
  await doAll(what, shop);
}

/** A KV that reports each commit before it is sent. */
function counting(kv: KvPort, onCommit: () => void): KvPort {
  const port: Pick<KvPort, keyof KvPort> = {
    getMany: (keys, options) => kv.getMany(keys, options),
    list: (selector, options) => kv.list(selector, options),
    commitVersionstamp: () => kv.commitVersionstamp(),
    close: () => kv.close(),
    atomic() {
      const atomic = kv.atomic();
      const commit = atomic.commit.bind(atomic);
      atomic.commit = () => {
        onCommit();
        return commit();
      };
      return atomic;
    },
  };
  return port;
}
