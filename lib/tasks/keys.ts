/**
 * `deno task keys`: makes, lists and revokes API keys, also beside a running
 * server, which sees the change with its next request.
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
} from "../access/api_keys.ts";
import { isId, newId } from "../ids.ts";
import type { Caller } from "../entities/caller.ts";
import { everyPage } from "../entities/page.ts";
import type { Services } from "../app/services.ts";
import { cleanLine, isLine } from "../text.ts";
import { isoTime } from "../time.ts";
import { runTask, TaskError } from "./_task.ts";

const HELP = `Create, list and revoke API keys.

  deno task keys create --name NAME --scope SCOPE... [--expires DAY] [--quiet]
  deno task keys list
  deno task keys revoke ID

  --name NAME     who uses the key and what for, up to 120 characters
  --scope SCOPE   what it may do; several with commas, or by repeating the option:
                  ${SCOPES.slice(0, 5).join(", ")},
                  ${SCOPES.slice(5).join(", ")}
  --expires DAY   the day, as YYYY-MM-DD in UTC, from which on it is refused
  --quiet         print nothing but the key

The key goes to standard output and is shown only once: KEY=$(deno task keys create ...).
The store is that of KV_PATH; a server may be running on it.`;

const NAME_MAX = 120;

if (import.meta.main) await runTask(keys, { help: HELP });

/** Does what the arguments say. @returns The exit code. */
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
    throw new TaskError("Options are for create only");
  }
  switch (command) {
    case "create":
      expectNoMore(rest);
      await create(services, values);
      return 0;
    case "list":
      expectNoMore(rest);
      await list(services);
      return 0;
    case "revoke":
      expectNoMore(rest.slice(1));
      await revoke(services, rest[0]);
      return 0;
    default:
      throw new TaskError(
        command === undefined
          ? "Say what to do: create, list or revoke (--help says how)"
          : `There is no ${JSON.stringify(command)}: create, list or revoke (--help says how)`,
      );
  }
}

function expectNoMore([more]: string[]): void {
  if (more !== undefined) throw new TaskError(`${JSON.stringify(more)} is one word too many`);
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
  console.error(
    `This is the key, and it is not shown again. Its id is ${record.id}; it may: ${
      record.scopes.join(", ")
    }.`,
  );
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
  if (id === undefined) throw new TaskError("Say which key: revoke ID (list shows the ids)");
  if (!isId(id)) throw new TaskError("Not the id of a key (list shows the ids)");
  const { name, revokedAt } = await revokeApiKey(services, id, operator(services));
  console.error(`Revoked since ${revokedAt}: ${name}`);
}

/** This command as the history will name it. */
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
  if (name === "") throw new TaskError("Say who uses the key: --name NAME");
  if (name.length > NAME_MAX || !isLine(name)) {
    throw new TaskError(`--name is one line of at most ${NAME_MAX} characters`);
  }
  return name;
}

function scopesOf(given: string[] = []): Scope[] {
  const names = given.flatMap((list) => list.split(",")).map(cleanLine).filter(Boolean);
  const known = `Scopes are ${SCOPES.join(", ")}`;
  if (names.length === 0) throw new TaskError(`Say what the key may do: --scope SCOPE. ${known}`);
  const scopes = names.map((name) => {
    const scope = SCOPES.find((scope) => scope === name);
    if (!scope) throw new TaskError(`There is no scope ${JSON.stringify(name)}. ${known}`);
    return scope;
  });
  return [...new Set(scopes)];
}

/** The moment at which a day begins in UTC. */
function startOfDay(day: string, now: number): string {
  const ms = /^\d{4}-\d{2}-\d{2}$/.test(day) ? Date.parse(day) : NaN;
  // 30 February is understood as 2 March.
  if (Number.isNaN(ms) || dayOf(isoTime(ms)) !== day) {
    throw new TaskError(`--expires is a day such as 2027-01-31, not ${JSON.stringify(day)}`);
  }
  if (ms <= now) throw new TaskError(`--expires is a day to come, not ${day}`);
  return isoTime(ms);
}
