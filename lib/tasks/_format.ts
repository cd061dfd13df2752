/**
 * Numbers for people, as tasks print them.
 *
 * @module
 */

/** A count with thousands separators, such as `1,234`. */
export function grouped(count: number): string {
  return count.toLocaleString("en");
}

/** A count and its noun, such as `1 finding` and `2 findings`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

/** A duration such as `1.5 s`. */
export function inSeconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

/** A size such as `3.2 MiB`, below a tenth of that in KiB. */
export function inMebibytes(bytes: number): string {
  const kibibytes = bytes / 1024;
  return kibibytes < 102.4 ? `${kibibytes.toFixed(1)} KiB` : `${(kibibytes / 1024).toFixed(1)} MiB`;
}
