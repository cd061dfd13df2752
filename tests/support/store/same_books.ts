/**
 * Compares two states of a store entry by entry, and shows some of the differences.
 *
 * @module
 */
import { deepStrictEqual as deepEqual } from "node:assert/strict";

const SHOWN_MAX = 5;

/** Asserts that both have the same keys with the same values. */
export function expectSameBooks(
  found: ReadonlyMap<string, string>,
  expected: ReadonlyMap<string, string>,
): void {
  const differences = [...new Set([...found.keys(), ...expected.keys()])]
    .filter((key) => found.get(key) !== expected.get(key))
    .map((key) => `${key}: ${found.get(key) ?? "missing"}, not ${expected.get(key) ?? "there"}`);
  const more = Math.max(differences.length - SHOWN_MAX, 0);
  const sizes = `${found.size} of ${expected.size}`;
  deepEqual({ differences: differences.slice(0, SHOWN_MAX), more, sizes }, {
    differences: [],
    more: 0,
    sizes: `${expected.size} of ${expected.size}`,
  });
}
