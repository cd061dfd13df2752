import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { drill } from "../../../lib/backup/drill.ts";
import type { Manifest } from "../../../lib/backup/manifest.ts";
import { restore } from "../../../lib/backup/restore.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import { BackupMirror } from "../../../lib/backup/mirror.ts";
import { scanAll } from "../../../lib/kv/bulk.ts";
import * as keys from "../../../lib/kv/keys.ts";
import {
  type BackupShop,
  openBackupShop,
  openTwin,
  sellTo,
} from "../../support/processes/backup_shop.ts";
import { campaignSize } from "../../support/program/campaign.ts";
import { newSeed, seededRandom } from "../../support/store/faulty_kv.ts";

/** Ten entries each. */
const LEADS = campaignSize("DRILL_LEADS", { everyday: 1_120, soak: 11_200 });

const openScratch = () => Deno.openKv(":memory:");

/** A backup of several parts and some log. */
async function backedUp(shop: BackupShop): Promise<Manifest> {
  await sellTo(shop, 200);
  await takeBackup(shop.services, { budgetMs: 0 });
  await sellTo(shop, 50, 1_000);
  await takeBackup(shop.services, { budgetMs: 0 });
  await sellTo(shop, 50, 2_000);
  const result = await takeBackup(shop.services);
  if (result.status !== "taken") throw new Error("The backup was not finished");
  ok(result.manifest.parts.length > 3);
  return result.manifest;
}

for (const [how, options] of [["a scratch store", { openScratch }], ["place", {}]] as const) {
  Deno.test(`a drill in ${how} proves a good backup, and says how long it took`, async () => {
    await using shop = await openBackupShop({ clock: Date.now });
    const { id, entries, pointInTime } = await backedUp(shop);

    const proof = await drill(shop.services, options);

    const { at, durationMs, ...rest } = proof;
    deepEqual(rest, {
      kind: "drill",
      backupId: id,
      pointInTime,
      isProven: true,
      problem: null,
      entries,
      findings: 0,
    });
    ok(durationMs > 0);
    deepEqual(await shop.services.store.get(keys.restoreProof(at)), proof);
    deepEqual(shop.alarms, []);
  });

  Deno.test(`a drill in ${how} finds what is wrong with a backup, and records it`, async () => {
    await using shop = await openBackupShop();
    const { parts } = await backedUp(shop);
    const name = parts[1]!.name;
    const bytes = await Deno.readFile(shop.storage.path(name));
    bytes[bytes.length - 100]! ^= 1;
    await Deno.writeFile(shop.storage.path(name), bytes);

    const proof = await drill(shop.services, options);

    equal(proof.isProven, false);
    ok(proof.problem?.includes(name), String(proof.problem));
    deepEqual(shop.alarms, ["backup.not_restorable"]);
    deepEqual(await shop.services.store.get(keys.restoreProof(proof.at)), proof);
  });

  Deno.test(`a drill in ${how} sweeps: a backup of a broken store is not proven`, async () => {
    await using shop = await openBackupShop();
    await sellTo(shop, 5);
    for await (const { key } of shop.kv.list({ prefix: ["client"] })) {
      await shop.kv.atomic().delete(key).commit();
      break;
    }
    await takeBackup(shop.services);

    const proof = await drill(shop.services, options);

    equal(proof.isProven, false);
    ok(proof.findings > 0);
  });
}

Deno.test("a backup read in place answers as the store that is restored from it", async () => {
  const random = seededRandom(newSeed("mirror"));
  await using shop = await openBackupShop();
  const manifest = await backedUp(shop);
  await using twin = await openTwin(shop);
  await restore(twin.services, manifest.id);
  const { mirror } = await BackupMirror.open(shop.services, manifest);
  const all = (await Array.fromAsync(scanAll(twin.kv))).flat()
    .filter(({ key }) => key[0] !== "restore_proof");
  const bare = ({ key, value }: { key: Deno.KvKey; value: unknown }) => ({ key, value });

  const listed = await Array.fromAsync(mirror.list({ prefix: [] }));
  deepEqual(listed.map(bare), all.map(bare));
  for (let i = 0; i < 200; i++) {
    const at = () => all[Math.floor(random() * all.length)]!.key;
    const [a, b] = [at(), at()];
    const limit = 1 + Math.floor(random() * 700);
    for (
      const selector of [
        { prefix: a.slice(0, 1) },
        { prefix: a.slice(0, 1), start: a },
        { prefix: a.slice(0, 1), end: a },
        { start: a, end: b },
        { prefix: [], start: [...a, ""] },
      ]
    ) {
      const [here, there] = await Promise.all([
        Array.fromAsync(mirror.list(selector, { limit })),
        Array.fromAsync(twin.kv.list(selector, { limit })).catch(() => null),
      ]);
      if (there === null) continue; // an end before the start
      const wanted = there.filter(({ key }) => key[0] !== "restore_proof" && keys.isDurable(key));
      if (wanted.length < there.length) continue;
      deepEqual(here.map(bare), wanted.map(bare));
    }
    const asked = [a, b, [...a, "x"], ["nothing"]];
    deepEqual(
      (await mirror.getMany(asked)).map(bare),
      (await twin.kv.getMany(asked)).map(bare),
    );
  }
});

Deno.test(`a drill of the entries of ${LEADS} leads`, async () => {
  await using shop = await openBackupShop({ clock: Date.now });
  await sellTo(shop, LEADS);
  const startedAt = performance.now();
  const result = await takeBackup(shop.services);
  if (result.status !== "taken") throw new Error("The backup was not finished");
  const takenMs = Math.round(performance.now() - startedAt);

  const scratch = await drill(shop.services, { openScratch });
  const place = await drill(shop.services);

  ok(scratch.isProven && place.isProven);
  ok(scratch.entries >= 10 * LEADS, `${scratch.entries} entries`);
  console.log(
    `${scratch.entries} entries: backup ${takenMs} ms, drill ${scratch.durationMs} ms, in place ${place.durationMs} ms`,
  );
});
