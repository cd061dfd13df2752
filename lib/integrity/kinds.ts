/**
 * Kinds of values, of which the shapes of records are put together.
 *
 * @module
 */
import { isId } from "../ids.ts";
import type { Entity } from "../kv/records.ts";

/** Whether a value is of some kind. */
export type Is = (value: unknown) => boolean;

/** The kind of each field of a `T`. */
export type Shape<T> = { readonly [F in keyof T]-?: Is };

/** Any text. */
export function text(value: unknown): boolean {
  return typeof value === "string";
}
/** True or false. */
export function flag(value: unknown): boolean {
  return typeof value === "boolean";
}
/** Any number: which are amounts is a check of its own. */
export function number(value: unknown): boolean {
  return typeof value === "number";
}
/** A whole number from 1 up. */
export function count(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 1;
}
/** A UUIDv7. */
export function id(value: unknown): boolean {
  return typeof value === "string" && isId(value);
}
/** A time as `isoTime()` writes it. */
export const moment: Is = matching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
/** `YYYY-MM-DD`. */
export const date: Is = matching(/^\d{4}-\d\d-\d\d$/);
/** SHA-256, hexadecimal. */
export const digest: Is = matching(/^[0-9a-f]{64}$/);
/** Whatever is there at all. */
export function anything(value: unknown): boolean {
  return value !== undefined;
}
/** What may be left out. */
export function absentOr(is: Is): Is {
  return (value) => value === undefined || is(value);
}

/** Text of this form. */
export function matching(pattern: RegExp): Is {
  return (value) => typeof value === "string" && pattern.test(value);
}

/** Null, or of this kind. */
export function maybe(is: Is): Is {
  return (value) => value === null || is(value);
}

/** A list of what is of this kind. */
export function listOf(is: Is): Is {
  return (value) => Array.isArray(value) && value.every(is);
}

/** An object that has every field of a `T`, of its kind. */
export function record<T>(shape: Shape<T>): Is {
  const fields = Object.entries<Is>(shape);
  return (value) =>
    typeof value === "object" && value !== null &&
    fields.every(([name, is]) => is(Reflect.get(value, name)));
}

/** One of the words of `T`; a table, so that none is forgotten. */
export function oneOf<T extends string>(words: Record<T, true>): Is {
  return (value) => typeof value === "string" && Object.hasOwn(words, value);
}

/** What every entity carries. */
export const entity: Shape<Entity> = {
  id,
  revision: count,
  createdAt: moment,
  createdBy: text,
  createdIn: text,
  updatedAt: moment,
  chain: maybe(digest),
};
