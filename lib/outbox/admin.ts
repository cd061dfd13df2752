/**
 * The admin side of the outbox: lists messages, retries and cancels them, and runs
 * and measures deliveries.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import * as keys from "../kv/keys.ts";
import { type Caller, passGuards } from "../entities/caller.ts";
import type { MessageKind, MessageStatus, OutboxMessage } from "./ports.ts";
import type { OutboxState } from "./gauges.ts";
import type { DeliveryCounts, Outbox } from "./mod.ts";
import { firstDues } from "./lanes.ts";
import { closed } from "./rules.ts";
import { change, deleteExpired, revive } from "./states.ts";
import { listByIndex, listEntities, type Page, type PageRequest } from "../entities/page.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Log } from "../telemetry/mod.ts";
import { MINUTE_MS } from "../time.ts";

export type { OutboxState } from "./gauges.ts";
export type { MessageKind, MessageStatus, OutboxMessage } from "./ports.ts";
export { MESSAGE_KINDS, MESSAGE_STATUSES } from "../kv/outbox_records.ts";

/** What actions on messages need. */
export interface OutboxAdminServices extends StoreServices {
  /** Records the actions. */
  readonly log: Log;
}

/** Which messages are listed: those that match both. */
export interface MessageFilter {
  /** Null for pending and dead. */
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
  const isMatch = (message: OutboxMessage) =>
    (status === null || message.status === status) && (kind === null || message.kind === kind) &&
    !isExpired(message, now);
  if (status === "dead" && kind === null) {
    return listByIndex(services, list, keys.messagesDead, keys.message, page, isMatch);
  }
  const prefix = status === "sent" || status === "cancelled" ? keys.messagesDone : keys.messages;
  return listEntities(services, list, prefix, page, isMatch);
}

/** A message. One read. @throws {AppError} `not_found` */
export async function getMessage(
  { store, clock }: StoreServices,
  id: string,
): Promise<OutboxMessage> {
  const [open, done] = await store.getMany([keys.message(id), keys.messageDone(id)]);
  const message = open ?? done;
  if (!message || isExpired(message, clock())) throw unknownMessage();
  return message;
}

function isExpired({ exp }: OutboxMessage, now: number): boolean {
  return exp !== null && exp <= now;
}

/**
 * Retries a message now: one that waits for its next attempt, is dead or cancelled;
 * a webhook also when it was sent.
 *
 * @throws {AppError} `not_found`; `conflict` while it is being sent, or if it was sent
 */
export async function retryMessage(
  services: OutboxAdminServices,
  id: string,
  by: Caller,
): Promise<OutboxMessage> {
  await passGuards(services, by);
  const known = await getMessage(services, id);
  const message = await revive(services, known, (found) => {
    refuseWhileSending(found, services.clock());
    if (found.status === "sent" && found.kind !== "webhook") {
      throw new AppError(
        "conflict",
        "Cannot retry: already sent, and the recipient would discard a duplicate",
      );
    }
  });
  if (!message) throw unknownMessage();
  services.log.info("message.retried", { messageId: id, by: by.actor });
  return message;
}

/**
 * Cancels a message.
 *
 * @throws {AppError} `not_found`; `conflict` while it is being sent, or if it was sent
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
    refuseWhileSending(found, now);
    return closed(found, "cancelled", now);
  });
  // It was sent before, or since it was read.
  if (!changed) throw new AppError("conflict", "Cannot cancel: already sent");
  services.log.info("message.cancelled", { messageId: id, by: by.actor });
  return changed.message;
}

function refuseWhileSending({ lease }: OutboxMessage, now: number): void {
  if (lease && lease.until > now) {
    throw new AppError("conflict", "The message is being sent; try again in a minute");
  }
}

function unknownMessage(): AppError {
  return new AppError("not_found", "No such message");
}

/** The name of the job that calls {@linkcode deliverOutbox}. */
export const OUTBOX_JOB = "outbox";

/** Messages are counted up to this. */
export const COUNT_MAX = 1_000;
/** Lanes whose oldest message is read. */
const LANES_MAX = 50;
/** Dead-lettered messages checked for expiry in one run, oldest first. */
const EXPIRY_PAGE = 50;

/**
 * Measures how full the outbox is: two listings when it is empty, else two more and
 * one for each lane with pending messages, up to 50.
 *
 * @throws {AppError} `unavailable`
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

/** What a run of {@linkcode deliverOutbox} did, and how full the outbox is after it. */
export type DeliveryReport = DeliveryCounts & OutboxState;

/**
 * Sends all due messages, deletes expired dead letters, and measures the outbox. To
 * be called every minute; three listings when the outbox is empty.
 *
 * @throws {AppError} `unavailable`
 */
export async function deliverOutbox(
  services: StoreServices & { readonly outbox: Outbox },
  signal?: AbortSignal,
): Promise<DeliveryReport> {
  const counts = await services.outbox.run(signal);
  const state = await measureOutbox(services);
  if (state.dead > 0) await deleteExpiredDead(services);
  services.outbox.state = state;
  return { ...counts, ...state };
}

/** The health of the outbox. */
export interface OutboxHealth {
  /** `degraded` when due messages are not sent. */
  status: "healthy" | "degraded";
  /** Why it is degraded; for operators only. */
  reason: string | null;
}

/** A message due for longer than this is stuck. In milliseconds. */
const OVERDUE_MAX_MS = 15 * MINUTE_MS;

/**
 * Checks the outbox by the record of its job's last run. One read.
 *
 * @returns No check before the first run.
 * @throws {AppError} `unavailable`
 */
export async function checkOutbox(
  { store }: Pick<StoreServices, "store">,
): Promise<Record<string, OutboxHealth>> {
  const { outcome } = await store.get(keys.jobRun(OUTBOX_JOB)) ?? {};
  const { waiting, overdueMs } = outcome ?? {};
  if (typeof overdueMs !== "number") return {};
  if (overdueMs <= OVERDUE_MAX_MS) return { outbox: { status: "healthy", reason: null } };
  const minutes = Math.round(overdueMs / MINUTE_MS);
  const reason = `Messages waiting: ${waiting}; the oldest has been due for ${minutes} minutes`;
  return { outbox: { status: "degraded", reason } };
}

/** Deletes messages that have been dead for 90 days, up to 50 in one call. @returns How many */
export async function deleteExpiredDead(services: StoreServices): Promise<number> {
  const now = services.clock();
  const { store } = services;
  const listed = await store.list(keys.messagesDead, { limit: EXPIRY_PAGE });
  const found = await store.getMany(listed.map(({ value }) => keys.message(value)));
  let deleted = 0;
  for (const [i, { value: id }] of listed.entries()) {
    const message = found[i];
    if ((!message || isExpired(message, now)) && await deleteExpired(services, id)) deleted++;
  }
  return deleted;
}
