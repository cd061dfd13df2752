import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { restore } from "../../../lib/backup/restore.ts";
import { shipLog } from "../../../lib/backup/ship.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import {
  openBackupShop,
  openTwin,
  sellTo,
  shopBooksOf,
} from "../../support/processes/backup_shop.ts";
import { bySchedule, newSeed, seededRandom } from "../../support/store/faulty_kv.ts";
import { startKvConnectServer } from "../../support/store/kv_connect_server.ts";

Deno.test("a remote store that fails now and then is backed up whole, and restored", async () => {
  const random = seededRandom(newSeed("remote backup"));
  await using server = await startKvConnectServer();
  await using shop = await openBackupShop({ kvPath: server.url, clock: Date.now });
  await sellTo(shop, 60);
  await using other = await startKvConnectServer();
  const faults = ["fail-before", "fail-after", "reset"] as const;
  server.fault = bySchedule(faults, { share: 0.1, random });
  // More than the sweep's every slice would fail.
  other.fault = bySchedule(faults, { share: 0.01, random });
  const again = async <T>(call: () => Promise<T>): Promise<T> => {
    for (let attempt = 1;; attempt++) {
      try {
        return await call();
      } catch (error) {
        if (attempt === 20) throw error;
      }
    }
  };

  await again(() => takeBackup(shop.services, { budgetMs: 0 }));
  server.fault = () => "ok";
  await sellTo(shop, 20, 1_000);
  server.fault = bySchedule(faults, { share: 0.1, random });
  const result = await again(() => takeBackup(shop.services));
  await again(() => shipLog(shop.services));
  ok(result.status === "taken");
  await using twin = await openTwin(shop, { kvPath: other.url, clock: Date.now });
  const report = await again(() => restore(twin.services, result.manifest.id));
  server.fault = () => "ok";
  other.fault = () => "ok";

  equal(report.isExact, true);
  equal(report.findings, 0);
  equal(result.manifest.unexplained, 0);
  deepEqual(await shopBooksOf(twin.kv), await shopBooksOf(shop.kv));
});
