/**
 * Client libraries that others wrote for a gateway, each in a process of its own with the
 * permissions that it needs.
 *
 * @module
 */
import { strictEqual as equal } from "node:assert/strict";

/** Pins what only tests import. */
const LOCK = `--lock=${new URL("../../deno.lock", import.meta.url).pathname}`;

/** How a client runs. */
interface ClientOptions {
  /** Beside the network of this machine, the environment and files. */
  permissions?: string[];
  /** Variables of its environment. */
  env?: Record<string, string>;
}

/**
 * Runs a client of this folder with `input` as its argument. It is downloaded beforehand, so that
 * Deno itself calls nobody through a proxy that `env` names.
 *
 * @returns What it printed, read as JSON.
 */
export async function runClient(
  file: string,
  input: unknown,
  { permissions = [], env = {} }: ClientOptions = {},
  // deno-lint-ignore no-explicit-any
): Promise<any> {
  const path = new URL(file, import.meta.url).pathname;
  await deno(["cache", "--quiet", LOCK, path], {});
  const allowed = ["--allow-net=127.0.0.1", "--allow-env", "--allow-read", ...permissions];
  const args = ["run", "--quiet", "--no-prompt", "--cached-only", LOCK, ...allowed];
  return JSON.parse(await deno([...args, path, JSON.stringify(input)], env));
}

async function deno(args: string[], env: Record<string, string>): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    env: { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", ...env },
  }).output();
  equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}
