/**
 * The entries of the KV Connect server for tests, and what reads and writes do to them.
 *
 * @module
 */
import { type Bytes, bytesField, concat, intField, Message } from "./kv_connect_wire.ts";

/** Numbers of `datapath.proto`'s enumerations. */
const STATUS = { success: 1, checkFailure: 2 };
const MUTATION = { set: 1, delete: 2, sum: 3, max: 4, min: 5, setVersionstamped: 9 };
const ENCODING_LE64 = 2;

interface Entry {
  key: Bytes;
  value: Bytes;
  encoding: number;
  versionstamp: Bytes;
  /** Milliseconds since the epoch, 0 for never. */
  expireAtMs: number;
}

/**
 * Sorted entries under strictly increasing versionstamps. Each method runs to
 * its end before another begins: that is all the isolation there is to it.
 */
export class Store {
  /** By key in hexadecimal, which sorts as the bytes do. */
  #entries = new Map<string, Entry>();
  #ids: string[] = [];
  #version = 0n;

  /** SnapshotRead → SnapshotReadOutput. */
  read(message: Message): Bytes {
    const ranges = message.messages(1).map((range) =>
      bytesField(1, concat(this.#range(range).map((entry) => bytesField(1, entryMessage(entry)))))
    );
    const isStrong = intField(4, 1);
    return concat([...ranges, isStrong, intField(8, STATUS.success)]);
  }

  /** AtomicWrite → AtomicWriteOutput: all of its mutations, or none. */
  write(message: Message): Bytes {
    if (message.messages(3).length > 0) throw new Error("Cannot enqueue: no queues here");
    const failed = message.messages(1).flatMap((check, i) => {
      const versionstamp = this.#entries.get(check.bytes(1).toHex())?.versionstamp;
      return (versionstamp?.toHex() ?? "") === check.bytes(2).toHex() ? [] : [intField(4, i)];
    });
    if (failed.length > 0) return concat([intField(1, STATUS.checkFailure), ...failed]);

    const versionstamp = versionstampOf(this.#version + 1n);
    const staged = new Map<string, Entry | null>();
    for (const mutation of message.messages(2)) {
      const key = keyOf(mutation, versionstamp);
      const id = key.toHex();
      const present = staged.has(id) ? staged.get(id) : this.#entries.get(id);
      staged.set(id, mutated(present ?? null, mutation, key, versionstamp));
    }
    this.#version += 1n;
    for (const [id, entry] of staged) this.#put(id, entry);
    return concat([intField(1, STATUS.success), bytesField(2, versionstamp)]);
  }

  entries(): { key: Uint8Array; value: Uint8Array }[] {
    return this.#ids.map((id) => this.#at(id)).map(({ key, value }) => ({ key, value }));
  }

  sweep(now: number): number {
    const expired = this.#ids.filter((id) => {
      const { expireAtMs } = this.#at(id);
      return expireAtMs > 0 && expireAtMs <= now;
    });
    for (const id of expired) this.#put(id, null);
    return expired.length;
  }

  #range(range: Message): Entry[] {
    const from = this.#indexOf(range.bytes(1).toHex());
    const to = Math.max(from, this.#indexOf(range.bytes(2).toHex()));
    const limit = range.int(3);
    const ids = range.int(4) === 0
      ? this.#ids.slice(from, Math.min(to, from + limit))
      : this.#ids.slice(Math.max(from, to - limit), to).reverse();
    return ids.map((id) => this.#at(id));
  }

  #put(id: string, entry: Entry | null): void {
    const at = this.#indexOf(id);
    const isPresent = this.#ids[at] === id;
    if (entry === null) {
      if (isPresent) this.#ids.splice(at, 1);
      this.#entries.delete(id);
    } else {
      if (!isPresent) this.#ids.splice(at, 0, id);
      this.#entries.set(id, entry);
    }
  }

  #at(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new Error(`Store is broken: no entry for ${id}`);
    return entry;
  }

  /** Where `id` is in the sorted ids, or belongs. */
  #indexOf(id: string): number {
    let [low, high] = [0, this.#ids.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ids[middle] ?? "") < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Eight bytes of version and two of order within it, which stay 0 here. */
function versionstampOf(version: bigint): Bytes {
  const bytes = new Uint8Array(10);
  new DataView(bytes.buffer).setBigUint64(0, version);
  return bytes;
}

/** A `commitVersionstamp()` becomes a string part of the key: `02`, hex, `00`. */
function keyOf(mutation: Message, versionstamp: Bytes): Bytes {
  const key = mutation.bytes(1);
  if (mutation.int(3) !== MUTATION.setVersionstamped) return key;
  const digits = new TextEncoder().encode(versionstamp.toHex());
  return concat([key, new Uint8Array([0x02]), digits, new Uint8Array([0x00])]);
}

/** What `mutation` leaves at `key`, where `present` was. */
function mutated(
  present: Entry | null,
  mutation: Message,
  key: Bytes,
  versionstamp: Bytes,
): Entry | null {
  const value = mutation.message(2);
  const entry = {
    key,
    value: value.bytes(1),
    encoding: value.int(2),
    versionstamp,
    expireAtMs: mutation.int(4),
  };
  const type = mutation.int(3);
  switch (type) {
    case MUTATION.set:
    case MUTATION.setVersionstamped:
      return entry;
    case MUTATION.delete:
      return null;
    case MUTATION.sum:
    case MUTATION.max:
    case MUTATION.min: {
      const operand = uint64Of(entry);
      const result = present === null ? operand : combined(type, uint64Of(present), operand);
      // As the real thing does, also drops the expiry that `present` had.
      return { ...entry, value: uint64Bytes(result), expireAtMs: 0 };
    }
    default:
      throw new Error(`Cannot mutate: unknown type ${type}`);
  }
}

function combined(type: number, a: bigint, b: bigint): bigint {
  if (type === MUTATION.sum) return a + b;
  return (type === MUTATION.max) === (a > b) ? a : b;
}

/** Little-endian; a sum beyond 64 bits wraps around. */
function uint64Bytes(value: bigint): Bytes {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}

function uint64Of({ value, encoding }: Entry): bigint {
  if (encoding !== ENCODING_LE64) {
    throw new Error("Cannot sum, max or min: not a Deno.KvU64");
  }
  return new DataView(value.buffer, value.byteOffset).getBigUint64(0, true);
}

function entryMessage({ key, value, encoding, versionstamp }: Entry): Bytes {
  return concat([
    bytesField(1, key),
    bytesField(2, value),
    intField(3, encoding),
    bytesField(4, versionstamp),
  ]);
}
