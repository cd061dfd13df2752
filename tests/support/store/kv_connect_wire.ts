/**
 * Protobuf messages, as far as KV Connect needs them.
 *
 * @module
 */

export type Bytes = Uint8Array<ArrayBuffer>;

/**
 * A decoded protobuf message: fields by number, with protobuf's defaults for
 * absent ones. Integers are exact up to 2^53, and none here is negative.
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 */
export class Message {
  #ints = new Map<number, number>();
  #bytes = new Map<number, Bytes[]>();

  constructor(encoded: Uint8Array) {
    let at = 0;
    const varint = () => {
      for (let value = 0, unit = 1;; unit *= 128) {
        const byte = encoded[at++];
        if (byte === undefined) throw new Error("Cannot decode: message breaks off");
        value += (byte & 0x7f) * unit;
        if (byte < 0x80) return value;
      }
    };
    while (at < encoded.length) {
      const tag = varint();
      const number = tag >>> 3;
      if ((tag & 7) === 0) this.#ints.set(number, varint());
      else if ((tag & 7) === 2) {
        const end = varint() + at;
        if (end > encoded.length) throw new Error("Cannot decode: message breaks off");
        const values = this.#bytes.get(number) ?? [];
        values.push(encoded.slice(at, end));
        this.#bytes.set(number, values);
        at = end;
      } else throw new Error(`Cannot decode: unknown wire type ${tag & 7}`);
    }
  }

  int(number: number): number {
    return this.#ints.get(number) ?? 0;
  }

  bytes(number: number): Bytes {
    return this.#bytes.get(number)?.at(-1) ?? new Uint8Array();
  }

  message(number: number): Message {
    return new Message(this.bytes(number));
  }

  messages(number: number): Message[] {
    return (this.#bytes.get(number) ?? []).map((encoded) => new Message(encoded));
  }
}

export function intField(number: number, value: number): Bytes {
  return new Uint8Array([...varint(number << 3), ...varint(value)]);
}

export function bytesField(number: number, value: Uint8Array): Bytes {
  return concat([new Uint8Array([...varint(number << 3 | 2), ...varint(value.length)]), value]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 | 0x80);
  return [...bytes, value];
}

export function concat(parts: Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
