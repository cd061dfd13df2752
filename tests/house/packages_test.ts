/**
 * `deno task` downloads everything that deno.lock pins before it starts anything. So deno.lock has
 * what the program imports, and tests/deno.lock what its tests import as well: a bare `deno test`
 * or `deno check` adds the difference to deno.lock, `deno task test` and `deno task check` do not.
 */
import { deepStrictEqual as deepEqual, ok } from "node:assert/strict";

/** As far as these tests look into it. */
interface Lock {
  specifiers: Record<string, string>;
  npm: Record<string, { integrity: string; scripts?: boolean }>;
}

async function read<T>(path: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(new URL(`../../${path}`, import.meta.url)));
}

/** What an alias stands for, without the path into the package: `npm:hono@4.13.19`. */
function packageOf(specifier: string): string {
  return /^npm:\/?((?:@[^/]+\/)?[^/]+)/.exec(specifier)![1]!;
}

async function pinned(path: string): Promise<string[]> {
  const { specifiers } = await read<Lock>(path);
  return Object.keys(specifiers).map(packageOf);
}

Deno.test("deno.lock pins what the program imports, and nothing that only tests import", async () => {
  const { imports, scopes } = await read<
    { imports: Record<string, string>; scopes: Record<string, Record<string, string>> }
  >("deno.json");
  const product = new Set(Object.values(imports).map(packageOf));
  const tests = Object.values(scopes["./tests/"]!).map(packageOf);

  const [own, all] = [await pinned("deno.lock"), await pinned("tests/deno.lock")];

  deepEqual(Object.keys(scopes), ["./tests/"]);
  deepEqual([...product].filter((name) => !own.includes(name)), []);
  deepEqual([...product, ...tests].filter((name) => !all.includes(name)), []);
  deepEqual(own.filter((name) => !product.has(name) && name !== "@types/node@*"), []);
});

Deno.test("deno.lock has no package with an install script", async () => {
  const { npm } = await read<Lock>("deno.lock");

  const withScripts = Object.keys(npm).filter((name) => npm[name]!.scripts);

  // swagger-ui-dist depends on @scarf/scarf, which reports each installation: it was taken out of
  // both lock files by hand, and comes back when swagger-ui-dist is updated.
  deepEqual(withScripts, []);
});

Deno.test("both lock files pin the same versions, by the same digests", async () => {
  const [own, all] = await Promise.all([read<Lock>("deno.lock"), read<Lock>("tests/deno.lock")]);

  for (const [name, { integrity }] of Object.entries(own.npm)) {
    ok(all.npm[name]?.integrity === integrity, `${name} differs in tests/deno.lock`);
  }
});
