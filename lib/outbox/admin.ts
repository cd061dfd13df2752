/**
 * The outbox as operators see it: what waits, what went out, what is dead, and
 * having a message tried again or not sent.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import * as keys from "../kv/keys.ts";
import { type Caller, passGuards } from "../entities/caller.ts";
import type { MessageKind, MessageStatus, OutboxMessage } from "./ports.ts";
import type { Outbox, OutboxState, Tally } from "./dispatcher.ts";
import { firstDues } from "./lanes.ts";
import { closed } from "./rules.ts";
import { change, forget, revive } from "./states.ts";
import { listByIndex, listEntities, type Page, type PageRequest } from "../entities/page.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Log } from "../telemetry/log.ts";
import { MINUTE_MS } from "../time.ts";

export type { OutboxState } from "./dispatcher.ts";
export type { MessageKind, MessageStatus, OutboxMessage } from "./ports.ts";

/** What operators' actions on messages need. */
export interface OutboxAdminServices extends StoreServices {
  /** Records the actions. */
  readonly log: Log;
}

/** Which messages are listed: those for which all of it holds. */
export interface MessageFilter {
  /** Null for those that are to be sent or are dead. */
  status: MessageStatus | null;
  /** Null for all. */
  kind: MessageKind | null;
}

/** A page of messages, newest event first. */
export function listMessages(
  services: StoreServices,
  { status, kind }: MessageFilter,
  page: PageRequest,
): Promise<Page<OutboxMessage>> {
  const list = `outbox/${status}/${kind}`;
  const now = services.clock();
  const isWanted = (message: OutboxMessage) =>
    (status === null || message.status === status) && (kind === null || message.kind === kind) &&
    !isOver(message, now);
  if (status === "dead" && kind === null) {
    return listByIndex(services, list, keys.messagesDead, keys.message, page, isWanted);
  }
  const prefix = status === "sent" || status === "cancelled" ? keys.messagesDone : keys.messages;
  return listEntities(services, list, prefix, page, isWanted);
}

/** A message. One read. @throws {AppError} `not_found` */
export async function getMessage(
  { store, clock }: StoreServices,
  id: string,
): Promise<OutboxMessage> {
  const [open, done] = await store.getMany([keys.message(id), keys.messageDone(id)]);
  const message = open ?? done;
  if (!message || isOver(message, clock())) throw unknownMessage();
  return message;
}

function isOver({ exp }: OutboxMessage, now: number): boolean {
  return exp !== null && exp <= now;
}

/**
 * Has a message tried now: one that waits for its next attempt, that is dead or
 * was cancelled, and a webhook also when it was sent.
 *
 * @throws {AppError} `not_found`, or `conflict` while it is being sent or when it was
 */
export async function retryMessage(
  services: OutboxAdminServices,
  id: string,
  by: Caller,
): Promise<OutboxMessage> {
  await passGuards(services, by);
  const known = await getMessage(services, id);
  const message = await revive(services, known, (found) => {
    refuseUnderWay(found, services.clock());
    if (found.status === "sent" && found.kind !== "webhook") {
      throw new AppError("conflict", "It was sent, and its receiver would know it for a repeat");
    }
  });
  if (!message) throw unknownMessage();
  services.log.info("message.retried", { messageId: id, by: by.actor });
  return message;
}

/**
 * Has a message not sent.
 *
 * @throws {AppError} `not_found`, or `conflict` while it is being sent or when it was
 */
export async function cancelMessage(
  services: OutboxAdminServices,
  id: string,
  by: Caller,
): Promise<OutboxMessage> {
  await passGuards(services, by);
  const known = await getMessage(services, id);
  if (known.status === "cancelled") return known;
  const now = services.clock();
  const changed = await change(services, known, (found) => {
    refuseUnderWay(found, now);
    return closed(found, "cancelled", now);
  });
  // It was sent in between, or is known as sent.
  if (!changed) throw new AppError("conflict", "It was sent");
  services.log.info("message.cancelled", { messageId: id, by: by.actor });
  return changed.message;
}

function refuseUnderWay({ lease }: OutboxMessage, now: number): void {
  if (lease && lease.until > now) throw new AppError("conflict", "It is being sent at the moment");
}

function unknownMessage(): AppError {
  return new AppError("not_found", "No such message");
}

/** What the job is called that {@linkcode deliverOutbox} is for. */
export const OUTBOX_JOB = "outbox";

/** As far as messages are counted. */
export const COUNT_MAX = 1_000;
/** Lanes whose oldest message is looked at. */
const LANES_MAX = 50;
/** The oldest dead messages, of which those are forgotten at once whose time is over. */
const FORGET_MAX = 50;

/**
 * Looks how full the outbox is: two listings when it is empty, and one more for
 * each lane that something waits in. @throws {AppError} `unavailable`
 */
export async function measureOutbox({ store, clock }: StoreServices): Promise<OutboxState> {
  const [dues, dead] = await Promise.all([
    store.list(keys.outboxDues, {
      limit: COUNT_MAX,
      start: keys.outboxDues,
      end: [...keys.outboxEvents, Number.MAX_SAFE_INTEGER],
    }),
    store.list(keys.messagesDead, { limit: COUNT_MAX }),
  ]);
  const now = clock();
  let oldest = now;
  const [event] = dues.length === 0 ? [] : await store.list(keys.outboxEvents, { limit: 1 });
  if (event) oldest = Math.min(oldest, Date.parse(event.value.at));
  if (dues.length > 0) {
    for await (const { dueAt } of firstDues(store, LANES_MAX)) oldest = Math.min(oldest, dueAt);
  }
  return { waiting: dues.length, overdueMs: now - oldest, dead: dead.length };
}

/** What a run of {@linkcode deliverOutbox} did and left. */
export type Delivered = Tally & OutboxState;

/**
 * Sends all that is due, forgets what was dead for long, and measures what is
 * left. To be called every minute; three listings when the outbox is empty.
 *
 * @throws {AppError} `unavailable`
 */
export async function deliverOutbox(
  services: StoreServices & { readonly outbox: Outbox },
  signal?: AbortSignal,
): Promise<Delivered> {
  const tally = await services.outbox.run(signal);
  const state = await measureOutbox(services);
  if (state.dead > 0) await forgetDead(services);
  services.outbox.state = state;
  return { ...tally, ...state };
}

/** How the outbox is, for the health page. */
export interface OutboxHealth {
  /** `degraded` when what is due does not go out. */
  status: "healthy" | "degraded";
  /** Why it is not healthy; for operators only. */
  reason: string | null;
}

/** What waits for longer than this, although it is due, does not get on. In milliseconds. */
const OVERDUE_MAX_MS = 15 * MINUTE_MS;

/**
 * How the outbox is, by what the last run of its job left. One read.
 *
 * @returns No check before the first run. @throws {AppError} `unavailable`
 */
export async function lookAtOutbox(
  { store }: Pick<StoreServices, "store">,
): Promise<Record<string, OutboxHealth>> {
  const { outcome } = await store.get(keys.jobRun(OUTBOX_JOB)) ?? {};
  const { waiting, overdueMs } = outcome ?? {};
  if (typeof overdueMs !== "number") return {};
  if (overdueMs <= OVERDUE_MAX_MS) return { outbox: { status: "healthy", reason: null } };
  const minutes = Math.round(overdueMs / MINUTE_MS);
  const reason = `The oldest of ${waiting} messages has been due for ${minutes} minutes`;
  return { outbox: { status: "degraded", reason } };
}

/** Forgets messages that have been dead for 90 days, some at a time. @returns How many */
export async function forgetDead(services: StoreServices): Promise<number> {
  const now = services.clock();
  const { store } = services;
  const listed = await store.list(keys.messagesDead, { limit: FORGET_MAX });
  const found = await store.getMany(listed.map(({ value }) => keys.message(value)));
  let forgotten = 0;
  for (const [i, { value: id }] of listed.entries()) {
    const message = found[i];
    if ((!message || isOver(message, now)) && await forget(services, id)) forgotten++;
  }
  return forgotten;
}
