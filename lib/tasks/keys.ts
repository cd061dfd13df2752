/**
 * `deno task keys`: creates, lists and revokes API keys. A running server sees the
 * change with its next request.
 *
 * @module
 */
import { parseArgs } from "node:util";
import {
  type ApiKey,
  createApiKey,
  listApiKeys,
  revokeApiKey,
  type Scope,
  SCOPES,
} from "../access/mod.ts";
import { isId, newId } from "../ids.ts";
import type { Caller } from "../entities/caller.ts";
import { everyPage } from "../entities/page.ts";
import type { Services } from "../app/mod.ts";
import { cleanLine, isLine } from "../text.ts";
import { isoTime } from "../time.ts";
import { refuseMore, runTask, TaskError } from "./_task.ts";

const HELP = `Create, list and revoke API keys.

Usage:
  deno task keys create --name NAME --scope SCOPE... [--expires DATE] [--quiet]
  deno task keys list
  deno task keys revoke ID

Options of create:
  --name NAME      Who uses the key and what for, up to 120 characters
  --scope SCOPE    A permission; repeat the option or separate by commas:
                   ${scopeLines().join(",\n                   ")}
  --expires DATE   The first day on which the key is refused: YYYY-MM-DD, UTC
  --quiet          Print only the key

The key is printed to standard output, and only once:
  KEY=$(deno task keys create ...)

Environment:
  KV_PATH   The store; a server may run on it`;

const NAME_MAX = 120;

if (import.meta.main) await runTask(keys, { help: HELP });

/** The scopes, by area: one line for each, so that the help fits into 80 columns. */
function scopeLines(): string[] {
  const byArea = Map.groupBy(SCOPES, (scope) => scope.split(":")[0]!);
  return [...byArea.values()].map((scopes) => scopes.join(", "));
}

/** Runs the command. @returns The exit code. */
async function keys(services: Services, args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      name: { type: "string" },
      scope: { type: "string", multiple: true },
      expires: { type: "string" },
      quiet: { type: "boolean" },
    },
  });
  const [command, ...rest] = positionals;
  if (command !== "create" && Object.keys(values).length > 0) {
    throw new TaskError("Options are only valid for create (see --help)");
  }
  switch (command) {
    case "create":
      refuseMore(rest);
      await create(services, values);
      return 0;
    case "list":
      refuseMore(rest);
      await list(services);
      return 0;
    case "revoke":
      refuseMore(rest.slice(1));
      await revoke(services, rest[0]);
      return 0;
    default:
      throw new TaskError(
        command === undefined
          ? "Command required: create, list or revoke (see --help)"
          : `Unknown command ${JSON.stringify(command)}: use create, list or revoke (see --help)`,
      );
  }
}

interface CreateOptions {
  name?: string;
  scope?: string[];
  expires?: string;
  quiet?: boolean;
}

async function create(services: Services, options: CreateOptions): Promise<void> {
  const { record, key } = await createApiKey(services, {
    name: nameOf(options.name),
    scopes: scopesOf(options.scope),
    expiresAt: options.expires === undefined ? null : startOfDay(options.expires, services.clock()),
  }, operator(services));
  console.log(key);
  if (options.quiet) return;
  console.error("Save this key now: it is not shown again.");
  console.error(`ID: ${record.id}`);
  console.error(`Scopes: ${record.scopes.join(", ")}`);
}

async function list(services: Services): Promise<void> {
  const now = services.clock();
  const rows = [["ID", "STATE", "CREATED", "EXPIRES", "NAME", "SCOPES"]];
  for await (const key of everyPage((page) => listApiKeys(services, page))) {
    const { id, createdAt, expiresAt, name, scopes } = key;
    const expires = expiresAt === null ? "never" : dayOf(expiresAt);
    rows.push([id, stateOf(key, now), dayOf(createdAt), expires, name, scopes.join(",")]);
  }
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  for (const row of rows) {
    console.log(row.map((cell, i) => cell.padEnd(widths[i]!)).join("  ").trimEnd());
  }
}

async function revoke(services: Services, id: string | undefined): Promise<void> {
  if (id === undefined) {
    throw new TaskError("Key ID required: revoke ID (see: deno task keys list)");
  }
  if (!isId(id)) throw new TaskError("Invalid key ID (see: deno task keys list)");
  const { name, revokedAt } = await revokeApiKey(services, id, operator(services));
  console.error(`Key revoked at ${revokedAt}: ${name}`);
}

/** This command, as the audit log names it. */
function operator({ clock }: Services): Caller {
  return { actor: "cli", requestId: newId(clock()), idempotencyKey: null };
}

function stateOf({ revokedAt, expiresAt }: ApiKey, now: number): string {
  if (revokedAt !== null) return "revoked";
  return expiresAt !== null && Date.parse(expiresAt) <= now ? "expired" : "valid";
}

function dayOf(time: string): string {
  return time.slice(0, "YYYY-MM-DD".length);
}

function nameOf(given: string | undefined): string {
  const name = cleanLine(given ?? "");
  if (name === "") throw new TaskError("--name is required: who uses the key");
  if (name.length > NAME_MAX || !isLine(name)) {
    throw new TaskError(`--name must be one line of at most ${NAME_MAX} characters`);
  }
  return name;
}

function scopesOf(given: string[] = []): Scope[] {
  const names = given.flatMap((list) => list.split(",")).map(cleanLine).filter(Boolean);
  const known = `Scopes: ${SCOPES.join(", ")}`;
  if (names.length === 0) throw new TaskError(`--scope is required. ${known}`);
  const scopes = names.map((name) => {
    const scope = SCOPES.find((scope) => scope === name);
    if (!scope) throw new TaskError(`Unknown scope ${JSON.stringify(name)}. ${known}`);
    return scope;
  });
  return [...new Set(scopes)];
}

/** The moment at which a day starts in UTC. */
function startOfDay(day: string, now: number): string {
  const ms = /^\d{4}-\d{2}-\d{2}$/.test(day) ? Date.parse(day) : NaN;
  // Date.parse() takes 30 February for 2 March.
  if (Number.isNaN(ms) || dayOf(isoTime(ms)) !== day) {
    throw new TaskError(`--expires must be a date such as 2027-01-31, not ${JSON.stringify(day)}`);
  }
  if (ms <= now) throw new TaskError(`--expires must be in the future, not ${day}`);
  return isoTime(ms);
}
