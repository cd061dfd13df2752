/** A program that uses S3 in a process of its own: `_s3_child.ts <what> <options>`. */
import type { ObjectStorage, StorageOptions } from "../../../lib/storage/mod.ts";
import { openStorage } from "../../../lib/storage/open.ts";
import { systemClock } from "../../../lib/time.ts";
import { bytesOf, MIB, randomBytes, textOf } from "./_storage.ts";

function child(options: StorageOptions): Promise<ObjectStorage> {
  return openStorage({ ...options, clock: systemClock, random: Math.random });
}

const PROGRAMS: Record<string, (options: StorageOptions) => Promise<unknown>> = {
  /** Stores a stream of 300 MiB and reads it back. */
  async large(options) {
    const storage = await child(options);
    const chunk = randomBytes(MIB);
    const body = ReadableStream.from((function* () {
      for (let i = 0; i < 300; i++) yield chunk;
    })());
    const startedAt = performance.now();
    const { size } = await storage.put("large", body);
    const storedAt = performance.now();
    let found = 0;
    for await (const { length } of await storage.get("large")) found += length;
    await storage.delete("large");
    const status = await Deno.readTextFile("/proc/self/status");
    return {
      size,
      found,
      putMs: Math.round(storedAt - startedAt),
      getMs: Math.round(performance.now() - storedAt),
      peakMib: Math.round(Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]) / 1_024),
    };
  },
  /** Stores a key and reads it back. */
  async small(options) {
    const storage = await child(options);
    await storage.put("a b/+é.txt", bytesOf("habari"));
    return { text: await textOf(storage, "a b/+é.txt") };
  },
};

console.log(JSON.stringify(await PROGRAMS[Deno.args[0]!]!(JSON.parse(Deno.args[1]!))));
