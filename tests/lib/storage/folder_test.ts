/** A folder keeps the contract of storages. */
import { strictEqual as equal } from "node:assert/strict";
import { keysOf, type Opened, openPlace, outcome } from "./_storage.ts";
import { contract } from "./_contract.ts";

async function openFolder(): Promise<Opened> {
  const folder = await Deno.makeTempDir({ prefix: "storage-" });
  const storage = await openPlace({ url: `file:${folder}` });
  return {
    storage,
    other: await openPlace({ url: `file:${folder}` }),
    async spoil(key, at) {
      const bytes = await Deno.readFile(`${folder}/${key}`);
      bytes[at]! ^= 1;
      await Deno.writeFile(`${folder}/${key}`, bytes);
      return storage;
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

contract("a folder", (name, fn) => Deno.test(name, fn), openFolder);

Deno.test("a missing folder never looks like an empty one", async () => {
  const folder = await openPlace({ url: "file:/tmp/no/such/folder" });

  equal(await outcome(keysOf(folder)), "missing_bucket");
  equal(await outcome(folder.head("a")), "missing_bucket");
  equal(await outcome(folder.get("a")), "missing_bucket");
  equal(await outcome(folder.delete("a")), "missing_bucket");
});
