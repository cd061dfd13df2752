/**
 * The house rules that `deno lint` holds: what touches the world outside has one
 * room, and nothing else does it. `deno.json` loads this plugin.
 *
 * Product code is held to all of them. The composition roots, which are
 * `main.ts` and the tasks for the command line, may touch anything but the store;
 * tests may touch that too.
 */

type Rules = Record<string, Deno.lint.Rule>;

const ROOT = new URL("../../", import.meta.url).pathname;

/** Where everything is allowed. */
const FREE = /^(?:main\.ts$|lib\/tasks\/|tests\/)/;

/** The writing half of `Deno.Kv`, wherever it is called; `set` and `delete` only on a `kv`. */
const KV_WRITES = new Set(["atomic", "enqueue"]);
const KV_WRITES_BY_NAME = new Set(["set", "delete"]);

const rules: Rules = {
  "kv-write": {
    create(context) {
      if (isIn(context, /^(?:lib\/kv\/|tests\/)/)) return {};
      return {
        CallExpression(node) {
          const callee = unwrapped(node.callee);
          if (callee.type !== "MemberExpression") return;
          const name = memberName(callee);
          if (name === undefined) return;
          const onKv = lastName(callee.object) === "kv";
          if (KV_WRITES.has(name) || (onKv && KV_WRITES_BY_NAME.has(name))) {
            context.report({
              node: callee,
              message: `Write to the store through transact() of lib/kv/mod.ts, not ${name}()`,
            });
          }
        },
      };
    },
  },
  clock: rule(
    /^lib\/time\.ts$/,
    "Ask the clock of Services for the time, or lib/time.ts",
    (report) => ({
      MemberExpression(node) {
        if (isMemberOf(node, "Date", "now")) report(node);
      },
      NewExpression(node) {
        if (isGlobal(node.callee, "Date") && node.arguments.length === 0) report(node);
      },
      CallExpression(node) {
        // Date(), whatever it is given, tells the time.
        if (isGlobal(node.callee, "Date")) report(node);
      },
    }),
  ),
  randomness: rule(
    /^lib\/ids\.ts$/,
    "Draw from lib/ids.ts, or take a random function as an argument",
    (report) => ({
      MemberExpression(node) {
        if (isMemberOf(node, "Math", "random")) report(node);
      },
    }),
  ),
  printing: rule(
    /^lib\/telemetry\/mod\.ts$/,
    "Tell the log of Services; only lib/telemetry/mod.ts prints",
    (report) => ({
      Identifier(node) {
        if (node.name === "console" && isReference(node)) report(node);
      },
      MemberExpression(node) {
        if (isMemberOf(node, "globalThis", "console")) report(node);
      },
    }),
  ),
  environment: rule(
    /^lib\/config\/mod\.ts$/,
    "Take it from Config; only lib/config/mod.ts reads the environment",
    (report) => ({
      MemberExpression(node) {
        if (isMemberOf(node, "Deno", "env") || isMemberOf(node, "process", "env")) report(node);
      },
    }),
  ),
  "open-kv": rule(
    /^lib\/app\/open\.ts$/,
    "Take the store from Services; only lib/app/open.ts opens it",
    (report) => ({
      MemberExpression(node) {
        if (isMemberOf(node, "Deno", "openKv")) report(node);
      },
    }),
  ),
};

const plugin: Deno.lint.Plugin = { name: "house", rules };
export default plugin;

/** A rule that holds in product code outside of `room`. */
function rule(
  room: RegExp,
  message: string,
  visit: (report: (node: Deno.lint.Node) => void) => Deno.lint.LintVisitor,
): Deno.lint.Rule {
  return {
    create(context) {
      if (isIn(context, FREE) || isIn(context, room)) return {};
      return visit((node) => context.report({ node, message }));
    },
  };
}

function isIn({ filename }: Deno.lint.RuleContext, room: RegExp): boolean {
  const path = filename.replace(/^file:\/\//, "").replaceAll("\\", "/");
  return room.test(path.startsWith(ROOT) ? path.slice(ROOT.length) : path);
}

/** Whether `node` is `object.name` or `object["name"]`, also on `globalThis`. */
function isMemberOf(node: Deno.lint.MemberExpression, object: string, name: string): boolean {
  return memberName(node) === name && isGlobal(node.object, object);
}

function isGlobal(node: Deno.lint.Node, name: string): boolean {
  if (node.type === "Identifier") return node.name === name;
  return node.type === "MemberExpression" && isMemberOf(node, "globalThis", name);
}

function memberName({ property, computed }: Deno.lint.MemberExpression): string | undefined {
  if (!computed) return "name" in property ? property.name : undefined;
  return property.type === "Literal" ? String(property.value) : undefined;
}

/** `kv` of `kv`, `this.kv` and `services.kv`. */
function lastName(node: Deno.lint.Node): string | undefined {
  const bare = unwrapped(node);
  if (bare.type === "Identifier") return bare.name;
  return bare.type === "MemberExpression" ? memberName(bare) : undefined;
}

/** Without `?.`, `!` and `as` around it. */
function unwrapped(node: Deno.lint.Node): Deno.lint.Node {
  switch (node.type) {
    case "ChainExpression":
    case "TSNonNullExpression":
    case "TSAsExpression":
    case "TSSatisfiesExpression":
      return unwrapped(node.expression);
    default:
      return node;
  }
}

/** Whether the name stands for the value, and is not that of a property or an import. */
function isReference(node: Deno.lint.Identifier): boolean {
  const { parent } = node;
  switch (parent.type) {
    case "MemberExpression":
      return parent.object === node || parent.computed;
    case "Property":
    case "PropertyDefinition":
    case "MethodDefinition":
      return parent.value === node;
    case "ImportSpecifier":
    case "ExportSpecifier":
    case "TSPropertySignature":
    case "TSMethodSignature":
      return false;
    default:
      return true;
  }
}
