/**
 * Whatever happens to a stored object, by accident and behind the storage's back,
 * is found by whoever reads it, and the object is named; nothing is restored in
 * part. `DAMAGE_RUNS` is how often.
 */
import { ok, rejects, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { verifyBackup } from "../../../lib/backup/check.ts";
import { drill } from "../../../lib/backup/drill.ts";
import { listBackups } from "../../../lib/backup/manifest.ts";
import { isRestoring, restore } from "../../../lib/backup/restore.ts";
import { shipLog } from "../../../lib/backup/ship.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import { isEmpty } from "../../../lib/kv/bulk.ts";
import { AppError } from "../../../lib/errors.ts";
import {
  type BackupShop,
  openBackupShop,
  openTwin,
  sellTo,
  shopBooksOf,
} from "../../support/processes/backup_shop.ts";
import { campaignSize } from "../../support/program/campaign.ts";
import { newSeed } from "../../support/store/faulty_kv.ts";
import { expectSameBooks } from "../../support/store/same_books.ts";

const RUNS = campaignSize("DAMAGE_RUNS", { everyday: 15, soak: 2_000 });
const KEY = new Uint8Array(32).map((_, i) => i);
const OTHER_KEY = KEY.map((byte) => byte ^ 0xff);

/** What happens to an object; numbers are shares of its length. */
type Damage =
  | { kind: "flip"; bits: number[] }
  | { kind: "overwrite"; at: number; length: number; byte: number }
  | { kind: "cut"; at: number }
  | { kind: "lengthen"; bytes: Uint8Array }
  | { kind: "drop" | "double"; at: number; length: number }
  /** Two objects change places. */
  | { kind: "swap"; other: number }
  /** The object is that of another backup, or another stretch of the log. */
  | { kind: "replace"; other: number }
  | { kind: "delete" };

const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.record({
    kind: fc.constant("flip" as const),
    bits: fc.array(share, { minLength: 1, maxLength: 4 }),
  }),
  fc.record({
    kind: fc.constant("overwrite" as const),
    at: share,
    length: share,
    byte: fc.integer({ min: 0, max: 255 }),
  }),
  fc.record({ kind: fc.constant("cut" as const), at: share }),
  fc.record({
    kind: fc.constant("lengthen" as const),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 50 }),
  }),
  fc.record({
    kind: fc.constantFrom("drop" as const, "double" as const),
    at: share,
    length: share,
  }),
  fc.record({ kind: fc.constantFrom("swap" as const, "replace" as const), other: share }),
  fc.constant({ kind: "delete" as const }),
);

/** Something is done to one of the objects. */
interface Accident {
  /** A share of the objects. */
  which: number;
  damage: Damage;
}
const accident: fc.Arbitrary<Accident> = fc.record({ which: share, damage });

/** The bytes after it; null where there is nothing any more. */
function damaged(bytes: Uint8Array, what: Damage): Uint8Array | null {
  const at = (share: number) => Math.floor(share * bytes.length);
  const joined = (...pieces: Uint8Array[]) => new Uint8Array(pieces.flatMap((piece) => [...piece]));
  switch (what.kind) {
    case "flip": {
      const bent = bytes.slice();
      for (const bit of what.bits) {
        const place = Math.floor(bit * bytes.length * 8);
        bent[place >> 3]! ^= 1 << (place & 7);
      }
      return bent;
    }
    case "overwrite":
      return bytes.slice().fill(what.byte, at(what.at), at(what.at) + 1 + at(what.length));
    case "cut":
      return bytes.slice(0, at(what.at));
    case "lengthen":
      return joined(bytes, what.bytes);
    case "drop":
      return joined(bytes.slice(0, at(what.at)), bytes.slice(at(what.at) + 1 + at(what.length)));
    case "double": {
      const piece = bytes.slice(at(what.at), at(what.at) + 1 + at(what.length));
      return joined(bytes.slice(0, at(what.at)), piece, bytes.slice(at(what.at)));
    }
    case "delete":
      return null;
    default:
      throw new Error("Two objects are needed for it");
  }
}

function isSame(a: Uint8Array | null, b: Uint8Array): boolean {
  return a !== null && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function pick<T>(items: readonly T[], share: number): T {
  return items[Math.floor(share * items.length)]!;
}

/** Lets it happen. @returns The names of the objects that are not what they were, and what takes it back. */
async function happen(
  { storage }: BackupShop,
  names: string[],
  others: string[],
  { which, damage }: Accident,
): Promise<{ hurt: string[]; heal: () => Promise<void> }> {
  const name = pick(names, which);
  const before = new Map<string, Uint8Array>();
  const read = async (name: string) => await Deno.readFile(storage.path(name));
  const write = async (name: string, bytes: Uint8Array | null) => {
    if (!before.has(name)) before.set(name, await read(name));
    if (bytes === null) await Deno.remove(storage.path(name));
    else await Deno.writeFile(storage.path(name), bytes);
  };
  const own = await read(name);
  if (damage.kind === "swap") {
    const other = pick(names, damage.other);
    const theirs = await read(other);
    await write(name, theirs);
    await write(other, own);
  } else if (damage.kind === "replace") {
    await write(name, await read(pick(others, damage.other)));
  } else {
    await write(name, damaged(own, damage));
  }
  const hurt: string[] = [];
  for (const [name, bytes] of before) {
    const now = await read(name).catch(() => null);
    if (!isSame(now, bytes)) hurt.push(name);
  }
  return {
    hurt,
    async heal() {
      for (const [name, bytes] of before) await Deno.writeFile(storage.path(name), bytes);
    },
  };
}

/** Whether an error says which of the objects cannot be used, and nothing that only a defect would say. */
function names(hurt: string[], backupId: string): (error: unknown) => boolean {
  return (error) => {
    ok(error instanceof AppError, String(error));
    // Without its manifest it is no backup.
    const isGone = error.kind === "not_found" && error.message === `Backup ${backupId} not found`;
    ok(isGone || error.kind === "conflict", error.message);
    ok(isGone || hurt.some((name) => error.message.includes(name)), `${error.message} (${hurt})`);
    return true;
  };
}

async function takeOne({ services }: BackupShop): Promise<string> {
  const result = await takeBackup(services);
  ok(result.status === "taken");
  return result.manifest.id;
}

/** Two backups of several parts, with log in and between and after them. */
async function fill(shop: BackupShop): Promise<{ old: string; id: string }> {
  await sellTo(shop, 130);
  const old = await takeOne(shop);
  shop.advance(60_000);
  await takeBackup(shop.services, { budgetMs: 0 });
  await sellTo(shop, 10, 1_000);
  const id = await takeOne(shop);
  for (let i = 2; i < 6; i++) {
    await sellTo(shop, 5, i * 1_000);
    await shipLog(shop.services);
  }
  return { old, id };
}

const WAYS = [
  ["as they are", {}],
  ["encrypted", { key: KEY }],
] as const;

for (const [how, options] of WAYS) {
  Deno.test(`verifyBackup(), restore() and drill() find and name any damage to a backup's objects (${how})`, async () => {
    await using shop = await openBackupShop({ ...options, isPlain: true });
    const { old, id } = await fill(shop);
    const names_ = await shop.storage.names(`backup/${id}/`);
    const others = await shop.storage.names(`backup/${old}/`);
    ok(names_.length >= 4);
    await using whole = await openTwin(shop, { ...options, isPlain: true });
    await restore(whole.services, id);
    const books = await shopBooksOf(whole.kv);
    let found = 0;

    await fc.assert(
      fc.asyncProperty(accident, async (accident) => {
        const { hurt, heal } = await happen(shop, names_, others, accident);
        if (hurt.length === 0) return; // as it was
        found++;
        const isNamed = names(hurt, id);
        await rejects(verifyBackup(shop.services, id), isNamed);
        await using twin = await openTwin(shop, { ...options, isPlain: true });
        await rejects(restore(twin.services, id), isNamed);
        // Either nothing has come into it, or it says that it must not be served.
        ok(await isRestoring(twin.services) || await isEmpty(twin.kv));
        const proof = await drill(shop.services, { backupId: id }).catch((error) => error);
        ok(proof instanceof AppError ? isNamed(proof) : !proof.isProven, "it was proven");
        ok(proof instanceof AppError || hurt.some((name) => proof.problem.includes(name)));
        const listed = (await listBackups(shop.services)).map(({ id }) => id);
        ok(listed.includes(id) !== hurt.some((name) => name.endsWith("/manifest.json")));

        await heal();
        await restore(twin.services, id);

        expectSameBooks(await shopBooksOf(twin.kv), books);
      }),
      { seed: newSeed(`damage to backups, ${how}`) | 0, numRuns: RUNS },
    );
    ok(found > RUNS / 2);
    await verifyBackup(shop.services, id);
  });

  Deno.test(`restore() finds and names any damage to the log, and a part of it that is gone (${how})`, async () => {
    await using shop = await openBackupShop({ ...options, isPlain: true });
    const { id } = await fill(shop);
    const books = await shopBooksOf(shop.kv);
    const manifest = (await listBackups(shop.services)).find((backup) => backup.id === id)!;
    const all = await shop.storage.names("log/");
    // Those before are not read.
    const needed = all.filter((name) => name.split("-").at(-2)! > manifest.v1);
    ok(needed.length >= 4);
    const last = needed.at(-1)!;

    await fc.assert(
      fc.asyncProperty(accident, async (accident) => {
        const { hurt, heal } = await happen(shop, needed, all, accident);
        if (hurt.length === 0) return;
        await using twin = await openTwin(shop, { ...options, isPlain: true });
        const isEndGone = accident.damage.kind === "delete" && hurt[0] === last;
        if (isEndGone) {
          // Nobody but the store can know of it, and it ships it again.
          await restore(twin.services, "latest");
          equal((await shopBooksOf(twin.kv)).size < books.size, true);
          return await heal();
        }
        const next = accident.damage.kind === "delete"
          ? [needed[needed.indexOf(hurt[0]!) + 1]!]
          : hurt;
        await rejects(restore(twin.services, "latest"), names(next, id));
        equal(await isRestoring(twin.services), true);

        await heal();
        await restore(twin.services, "latest");

        expectSameBooks(await shopBooksOf(twin.kv), books);
      }),
      { seed: newSeed(`damage to the log, ${how}`) | 0, numRuns: RUNS },
    );
  });
}

Deno.test("a wrong key, or none, is told by the name of the right one, for backups and for the log", async () => {
  await using shop = await openBackupShop({ key: KEY });
  await sellTo(shop, 5);
  const id = await takeOne(shop);
  await using changed = await openTwin(shop, { key: OTHER_KEY });
  await sellTo(shop, 5, 1_000);
  await shipLog(shop.services);
  const { keyId } = (await listBackups(shop.services))[0]!;

  for (const key of [OTHER_KEY, undefined]) {
    await using twin = await openTwin(shop, key ? { key } : {});
    for (
      const attempt of [
        () => verifyBackup(twin.services, id),
        () => restore(twin.services, id),
        () => restore(twin.services, "latest"),
      ]
    ) {
      await rejects(attempt(), (error: Error) => {
        ok(error.message.includes(`encrypted with key ${keyId}`), error.message);
        ok(error.message.includes("BACKUP_ENCRYPTION_KEY"));
        return true;
      });
    }
    ok(await isEmpty(twin.kv));
    equal(await isRestoring(twin.services), false);
  }
  // A backup under the new key beside log under the old one: the segment is named.
  const newer = { ...shop.services, config: changed.services.config };
  shop.advance(60_000);
  await takeBackup(newer);
  await sellTo(shop, 5, 2_000);
  await shipLog(shop.services);
  const [segment] = (await shop.storage.names("log/")).slice(-1);
  await using twin = await openTwin(shop, { key: OTHER_KEY });
  await rejects(restore(twin.services, "latest"), (error: Error) => {
    ok(error.message.includes(segment!) && error.message.includes(keyId!), error.message);
    return true;
  });
});
