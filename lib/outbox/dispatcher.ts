/**
 * The outbox: what happened is told afterwards, at least once, however often an
 * instance is killed or a destination is down.
 *
 * An instance that has just committed an event is woken and hands it on at once;
 * what it does not get to, whichever instance has the next minute's turn does.
 * Sending is outside of every transaction: a message is claimed, sent, and noted
 * as sent. Who is killed in between leaves it to be sent again, under the same id.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Listed } from "../kv/store.ts";
import { newMeter, withContext } from "../telemetry/log.ts";
import type { DeliveryPolicy, OutboxEvent, OutboxMessage, Senders, Subscriber } from "./ports.ts";
import { firstDues, kindOf, type Lane, Lanes, placeOf } from "./lanes.ts";
import { deliver, endSpent, type Sending, type Tally, tell } from "./sending.ts";
import { newLease, orderKeyOf } from "./rules.ts";
import { claim, fanOut, giveUp } from "./states.ts";
import type { Services } from "../app/open.ts";
import { SECOND_MS, sleep } from "../time.ts";
import { tracedApart } from "../telemetry/tracing.ts";

export type { Tally } from "./sending.ts";

/** Events read at once, and turned into messages side by side by what they are about. */
const EVENTS_PAGE = 64;
/** Messages that are due, read at once. */
const DUE_PAGE = 50;
/** Lanes looked at in one run; more wait for the next. */
const LANES_MAX = 200;
/** Messages under way at once, in all lanes. */
const ACTIVE_MAX = 40;
/** Messages that die at once because their lane is down. */
const GIVE_UP_PAGE = 200;

/** How full the outbox is. */
export interface OutboxState {
  /** Messages to be sent, events not handed on included; 1,000 means so many or more. */
  waiting: number;
  /** How long the oldest one has been due, in milliseconds; 0 when none is. */
  overdueMs: number;
  /** Messages given up; 1,000 means so many or more. */
  dead: number;
}

/** What an {@linkcode Outbox} is made of. */
export interface OutboxOptions {
  /** Who has to be told of events. */
  subscribers: readonly Subscriber[];
  /** How each kind is sent. */
  senders: Senders;
  /** Numbers in [0, 1), for jitter. */
  random: () => number;
}

/** An instance's part in delivering. */
export class Outbox {
  /** What it has done so far. */
  readonly tally: Tally = { events: 0, sent: 0, failed: 0, dead: 0, cancelled: 0 };
  /** How full it was when this instance last looked; null before. */
  state: OutboxState | null = null;
  readonly #options: OutboxOptions;
  readonly #lanes: Lanes;
  readonly #sending = new Set<Promise<void>>();
  #services: Services | null = null;
  #by = "";
  #active = 0;
  #hasNews = false;
  #isDueRun = false;
  #isStopping = false;
  #turning: Promise<void> | null = null;
  #changed = Promise.withResolvers<void>();

  /** Does nothing by itself until it is started, and owns nothing that has to be closed. */
  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#lanes = new Lanes((kind) => options.senders[kind].policy.atOnce);
  }

  /** From now on {@linkcode wake} has an effect. */
  start(services: Services): void {
    this.#services = services;
    const { metrics } = services;
    const help = "as this instance last looked, up to 1,000";
    metrics.gauge(
      "wetech_outbox_waiting",
      `Messages to be sent, ${help}`,
      () => this.state?.waiting ?? 0,
    );
    metrics.gauge("wetech_outbox_dead", `Messages given up, ${help}`, () => this.state?.dead ?? 0);
    metrics.gauge(
      "wetech_outbox_overdue_seconds",
      "How long the oldest message to be sent has been due",
      () => (this.state?.overdueMs ?? 0) / SECOND_MS,
    );
  }

  /** Has what was just committed handed on soon, beside all else. Nothing to wait for; never throws. */
  wake(): void {
    if (this.#services === null) return;
    this.#hasNews = true;
    this.#turn(this.#services);
  }

  /** The same for a message that became due in a lane. */
  wakeLane(lane: string): void {
    if (this.#services === null) return;
    this.#lanes.get(lane).hasMore = true;
    this.#turn(this.#services);
  }

  /**
   * Hands on and sends all that is due, until nothing is or `signal` is aborted.
   * One listing when there is nothing to do.
   *
   * @throws what the store threw
   */
  async run(services: Services, signal?: AbortSignal): Promise<Tally> {
    const before = { ...this.tally };
    this.#isDueRun = true;
    const turned = this.#turn(services);
    const { promise: aborted, resolve } = Promise.withResolvers<void>();
    if (signal?.aborted) resolve();
    signal?.addEventListener("abort", () => resolve(), { once: true });
    await Promise.race([turned, aborted]);
    const now = this.tally;
    return {
      events: now.events - before.events,
      sent: now.sent - before.sent,
      failed: now.failed - before.failed,
      dead: now.dead - before.dead,
      cancelled: now.cancelled - before.cancelled,
    };
  }

  /** Begins nothing more, and waits for what is under way, up to `ms` milliseconds. */
  async stop(ms: number): Promise<void> {
    this.#isStopping = true;
    this.#notice();
    const timer = new AbortController();
    await Promise.race([this.#idle(), sleep(ms, timer.signal).catch(() => {})]);
    timer.abort();
  }

  async #idle(): Promise<void> {
    while (this.#turning !== null || this.#sending.size > 0) {
      await Promise.allSettled([this.#turning, ...this.#sending]);
    }
  }

  /** One turn goes round at a time; whoever asks meanwhile is served by it. */
  #turn(services: Services): Promise<void> {
    this.#notice();
    if (this.#turning) return this.#turning;
    this.#by ||= newId(services.clock());
    const context = { requestId: newId(services.clock()), job: "outbox", meter: newMeter() };
    // On behalf of nobody: what is told is not a part of the request that had it told.
    const turning = withContext(
      context,
      () => tracedApart("outbox", {}, () => this.#goRound(services)),
    )
      .finally(() => {
        services.metrics.countStore(context.meter);
        this.#turning = null;
      });
    turning.catch((error) => services.log.warn("outbox.stopped", { error }));
    return this.#turning = turning;
  }

  async #goRound(services: Services): Promise<void> {
    await Promise.resolve(); // let those of this very moment join
    while (!this.#isStopping) {
      const changed = this.#changed.promise;
      const [hasNews, isDueRun] = [this.#hasNews, this.#isDueRun];
      this.#hasNews = this.#isDueRun = false;
      const isEmpty = isDueRun && await this.#isEmpty(services);
      if (!isEmpty && (hasNews || isDueRun)) await this.#handOn(services);
      if (!isEmpty && isDueRun) await this.#lookAround(services);
      const now = services.clock();
      const lanes = this.#active < ACTIVE_MAX ? this.#lanes.withMore(now) : [];
      await Promise.all(lanes.map((lane) => this.#refill(services, lane)));
      if (this.#hasNews || this.#isDueRun || lanes.length > 0) continue;
      if (this.#sending.size === 0) break;
      await changed;
    }
    await Promise.all(this.#sending);
    this.#lanes.tidy();
  }

  #notice(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  /** Whether there is neither an event nor a message to be sent. One listing sees both. */
  async #isEmpty({ store }: Services): Promise<boolean> {
    const range = { start: keys.outboxDues, end: [...keys.outboxEvents, END] };
    return (await store.list(keys.outboxDues, { limit: 1, ...range })).length === 0;
  }

  /** Turns all events into messages, and begins to send as many as there is room for. */
  async #handOn(services: Services): Promise<void> {
    let start: keys.Key<unknown> | null = null;
    while (!this.#isStopping) {
      const listed: Listed<OutboxEvent>[] = await services.store.list(keys.outboxEvents, {
        limit: EVENTS_PAGE,
        ...(start ? { start } : {}),
      });
      // Those about the same thing one after another: in their order they become messages.
      const groups = Map.groupBy(listed, ({ value }) => orderKeyOf(value));
      await Promise.all(
        [...groups.values()].map(async (group) => {
          for (const { value } of group) if (!await this.#handOnOne(services, value)) break;
        }),
      );
      if (listed.length < EVENTS_PAGE) return;
      start = [...listed.at(-1)!.key, END];
    }
  }

  /** @returns Whether it was turned into its messages. */
  async #handOnOne(services: Services, event: OutboxEvent): Promise<boolean> {
    const { subscribers, senders } = this.#options;
    const entered = new Map<string, Lane>();
    try {
      const wanted = (await Promise.all(
        subscribers.map((subscriber) => subscriber.messagesOf(services, event)),
      )).flat();
      const { mine, open } = await fanOut(services, event, wanted, ({ id, kind, lane: name }) => {
        const lane = this.#lanes.get(name);
        const now = services.clock();
        if (lane.room(now) <= 0 || this.#active >= ACTIVE_MAX || this.#isStopping) return null;
        this.#enter(lane);
        entered.set(id, lane);
        return newLease(this.#by, senders[kind].policy, now);
      });
      this.tally.events++;
      for (const { lane } of open) this.#lanes.get(lane).hasMore = true;
      for (const message of mine) {
        const lane = entered.get(message.id);
        entered.delete(message.id);
        if (lane) this.#begin(services, lane, message);
      }
      return true;
    } catch (error) {
      if (error instanceof AppError) {
        services.log.warn("outbox.not_handed_on", { eventId: event.id, type: event.type, error });
      } else {
        services.log.error("outbox.defect", { eventId: event.id, type: event.type, error });
        services.errorTracker.report(error);
      }
      return false;
    } finally {
      for (const lane of entered.values()) this.#leave(lane);
    }
  }

  /** Finds the lanes in which something is due: one short listing each. */
  async #lookAround(services: Services): Promise<void> {
    const now = services.clock();
    for await (const { lane, dueAt } of firstDues(services.store, LANES_MAX)) {
      if (dueAt <= now) this.#lanes.get(lane).hasMore = true;
    }
    for (const lane of this.#lanes.down(now)) await this.#letDie(services, lane);
  }

  /** Ends messages that are too old, in a lane that is down: nobody would ever get round to them. */
  async #letDie(services: Services, lane: Lane): Promise<void> {
    const { giveUpMs } = this.#options.senders[kindOf(lane.name)].policy;
    const end = [...keys.outboxDueIn(lane.name), services.clock() - giveUpMs];
    const listed = await services.store.list(keys.outboxDueIn(lane.name), {
      limit: GIVE_UP_PAGE,
      end,
    });
    const reason = lane.downFor(services.clock()) ?? "";
    const ended = await Promise.all(
      listed.map(({ key }) => giveUp(services, placeOf(key), { reason, policyOf: this.#policyOf })),
    );
    for (const one of ended) if (one) await tell(this.#desk(services), one);
  }

  readonly #policyOf = ({ kind }: OutboxMessage): DeliveryPolicy =>
    this.#options.senders[kind].policy;

  #desk(services: Services): Sending {
    const { senders, random } = this.#options;
    return {
      ...{ services, senders, random, tally: this.tally, lanes: this.#lanes },
      isStopping: () => this.#isStopping,
    };
  }

  /** Begins to send what is due in a lane, as far as there is room. */
  async #refill(services: Services, lane: Lane): Promise<void> {
    const now = services.clock();
    const room = Math.min(lane.room(now), ACTIVE_MAX - this.#active);
    if (room <= 0) return;
    for (let i = 0; i < room; i++) this.#enter(lane);
    let unused = room;
    try {
      if (lane.known.length === 0) {
        const listed = await services.store.list(keys.outboxDueIn(lane.name), {
          limit: DUE_PAGE,
          end: [...keys.outboxDueIn(lane.name), now + 1],
        });
        lane.found(listed.map(({ key }) => placeOf(key)), { isAll: listed.length < DUE_PAGE });
      }
      const claims = await Promise.all(
        lane.known.splice(0, room).map((due) =>
          claim(services, due, { by: this.#by, policyOf: this.#policyOf })
        ),
      );
      for (const claimed of claims) {
        if (!claimed) continue;
        if (claimed.isSpent) {
          await endSpent(this.#desk(services), claimed.message);
          continue;
        }
        unused--;
        this.#begin(services, lane, claimed.message);
      }
    } catch (error) {
      lane.found([], { isAll: true }); // the next minute looks again
      throw error;
    } finally {
      for (; unused > 0; unused--) this.#leave(lane);
    }
  }

  #enter(lane: Lane): void {
    lane.enter();
    this.#active++;
  }

  #leave(lane: Lane): void {
    lane.leave();
    this.#active--;
    this.#notice();
  }

  /** Sends a message that this instance has, beside all else. */
  #begin(services: Services, lane: Lane, message: OutboxMessage): void {
    const sending = deliver(this.#desk(services), lane, message)
      .catch((error) => services.log.error("outbox.not_noted", { messageId: message.id, error }))
      .finally(() => {
        this.#sending.delete(sending);
        this.#leave(lane);
      });
    this.#sending.add(sending);
  }
}

/** After the last part of any key that begins so. */
const END = Number.MAX_SAFE_INTEGER;
