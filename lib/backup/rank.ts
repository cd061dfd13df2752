/**
 * The order of keys in Deno KV: the order of FoundationDB's tuples.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { AppError } from "../errors.ts";

/**
 * The rank of a key in the order of Deno KV: a text whose characters are the bytes
 * of FoundationDB's tuple encoding.
 */
export function rankOf(key: Deno.KvKey): string {
  let rank = "";
  for (const part of key) {
    switch (typeof part) {
      case "string":
        rank += `\x02${escaped(Buffer.from(part, "utf8"))}\0`;
        break;
      case "number":
        rank += `\x21${numberRank(part)}`;
        break;
      case "bigint":
        rank += bigintRank(part);
        break;
      case "boolean":
        rank += part ? "\x27" : "\x26";
        break;
      case "object":
        rank += `\x01${escaped(Buffer.from(part))}\0`;
        break;
      default:
        throw new AppError("internal", "A symbol cannot be part of a key");
    }
  }
  return rank;
}

function escaped(bytes: Buffer): string {
  return bytes.toString("latin1").replaceAll("\0", "\0\xff");
}

function numberRank(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  // The bits of negative numbers are inverted, so that they sort below zero in ascending order.
  if (bytes[0]! & 0x80) { for (let i = 0; i < 8; i++) bytes[i]! ^= 0xff; }
  else bytes[0]! ^= 0x80;
  return bytes.toString("latin1");
}

function bigintRank(value: bigint): string {
  if (value === 0n) return "\x14";
  const hex = (value < 0n ? -value : value).toString(16);
  const bytes = Buffer.from(hex.padStart(hex.length + hex.length % 2, "0"), "hex");
  const size = bytes.length;
  if (value < 0n) { for (let i = 0; i < size; i++) bytes[i]! ^= 0xff; }
  const digits = bytes.toString("latin1");
  if (value > 0n) {
    return size <= 8
      ? String.fromCharCode(0x14 + size) + digits
      : `\x1d${String.fromCharCode(size)}${digits}`;
  }
  return size <= 8
    ? String.fromCharCode(0x14 - size) + digits
    : `\x0b${String.fromCharCode(size ^ 0xff)}${digits}`;
}
