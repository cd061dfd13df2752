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
import {
  deliver,
  endSpent,
  type OutboxServices,
  type Sending,
  type Tally,
  tell,
} from "./sending.ts";
import { newLease, orderKeyOf } from "./rules.ts";
import { claim, fanOut, giveUp } from "./states.ts";
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
export interface OutboxOptions extends OutboxServices {
  /** Who gets messages of events. */
  readonly subscribers: readonly Subscriber[];
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
  #isStarted = false;
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
    options.store.onWrite(keys.outboxEvents, () => this.#wake());
    options.store.onWrite(keys.outboxDues, (key) => this.#wakeLane(key));
    this.#lanes = new Lanes((kind) => options.senders[kind].policy.atOnce);
  }

  /**
   * From now on what this process commits is dispatched at once; before, and
   * what other processes commit, when {@linkcode run} is called.
   */
  start(): void {
    this.#isStarted = true;
    const { metrics } = this.#options;
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

  /** Dispatches events that were just committed, beside all else. */
  #wake(): void {
    if (!this.#isStarted) return;
    this.#hasNews = true;
    this.#turn();
  }

  /** Sends a message that has just become due. */
  #wakeLane(key: keys.Key<unknown> | null): void {
    if (!this.#isStarted) return;
    if (key === null) {
      this.#isDueRun = true;
    } else {
      const { lane, dueAt } = placeOf(key);
      if (dueAt > this.#options.clock()) return;
      this.#lanes.get(lane).hasMore = true;
    }
    this.#turn();
  }

  /**
   * Hands on and sends all that is due, until nothing is or `signal` is aborted.
   * One listing when there is nothing to do.
   *
   * @throws what the store threw
   */
  async run(signal?: AbortSignal): Promise<Tally> {
    const before = { ...this.tally };
    this.#isDueRun = true;
    const turned = this.#turn();
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
  #turn(): Promise<void> {
    this.#notice();
    if (this.#turning) return this.#turning;
    this.#by ||= newId(this.#options.clock());
    const context = { requestId: newId(this.#options.clock()), job: "outbox", meter: newMeter() };
    // On behalf of nobody: what is told is not a part of the request that had it told.
    const turning = withContext(
      context,
      () => tracedApart("outbox", {}, () => this.#goRound()),
    )
      .finally(() => {
        this.#options.metrics.countStore(context.meter);
        this.#turning = null;
      });
    turning.catch((error) => this.#options.log.warn("outbox.stopped", { error }));
    return this.#turning = turning;
  }

  async #goRound(): Promise<void> {
    await Promise.resolve(); // let those of this very moment join
    while (!this.#isStopping) {
      const changed = this.#changed.promise;
      const [hasNews, isDueRun] = [this.#hasNews, this.#isDueRun];
      this.#hasNews = this.#isDueRun = false;
      const isEmpty = isDueRun && await this.#isEmpty();
      if (!isEmpty && (hasNews || isDueRun)) await this.#handOn();
      if (!isEmpty && isDueRun) await this.#lookAround();
      const now = this.#options.clock();
      const lanes = this.#active < ACTIVE_MAX ? this.#lanes.withMore(now) : [];
      await Promise.all(lanes.map((lane) => this.#refill(lane)));
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
  async #isEmpty(): Promise<boolean> {
    const range = { start: keys.outboxDues, end: [...keys.outboxEvents, END] };
    return (await this.#options.store.list(keys.outboxDues, { limit: 1, ...range })).length === 0;
  }

  /** Turns all events into messages, and begins to send as many as there is room for. */
  async #handOn(): Promise<void> {
    let start: keys.Key<unknown> | null = null;
    while (!this.#isStopping) {
      const listed: Listed<OutboxEvent>[] = await this.#options.store.list(keys.outboxEvents, {
        limit: EVENTS_PAGE,
        ...(start ? { start } : {}),
      });
      // Those about the same thing one after another: in their order they become messages.
      const groups = Map.groupBy(listed, ({ value }) => orderKeyOf(value));
      await Promise.all(
        [...groups.values()].map(async (group) => {
          for (const { value } of group) if (!await this.#handOnOne(value)) break;
        }),
      );
      if (listed.length < EVENTS_PAGE) return;
      start = [...listed.at(-1)!.key, END];
    }
  }

  /** @returns Whether it was turned into its messages. */
  async #handOnOne(event: OutboxEvent): Promise<boolean> {
    const { subscribers, senders } = this.#options;
    const entered = new Map<string, Lane>();
    try {
      const wanted = (await Promise.all(
        subscribers.map((subscriber) => subscriber.messagesOf(event)),
      )).flat();
      const { mine, open } = await fanOut(
        this.#options,
        event,
        wanted,
        ({ id, kind, lane: name }) => {
          const lane = this.#lanes.get(name);
          const now = this.#options.clock();
          if (lane.room(now) <= 0 || this.#active >= ACTIVE_MAX || this.#isStopping) return null;
          this.#enter(lane);
          entered.set(id, lane);
          return newLease(this.#by, senders[kind].policy, now);
        },
      );
      this.tally.events++;
      for (const { lane } of open) this.#lanes.get(lane).hasMore = true;
      for (const message of mine) {
        const lane = entered.get(message.id);
        entered.delete(message.id);
        if (lane) this.#begin(lane, message);
      }
      return true;
    } catch (error) {
      if (error instanceof AppError) {
        this.#options.log.warn("outbox.not_handed_on", {
          eventId: event.id,
          type: event.type,
          error,
        });
      } else {
        this.#options.log.error("outbox.defect", { eventId: event.id, type: event.type, error });
        this.#options.errorTracker.report(error);
      }
      return false;
    } finally {
      for (const lane of entered.values()) this.#leave(lane);
    }
  }

  /** Finds the lanes in which something is due: one short listing each. */
  async #lookAround(): Promise<void> {
    const now = this.#options.clock();
    for await (const { lane, dueAt } of firstDues(this.#options.store, LANES_MAX)) {
      if (dueAt <= now) this.#lanes.get(lane).hasMore = true;
    }
    for (const lane of this.#lanes.down(now)) await this.#letDie(lane);
  }

  /** Ends messages that are too old, in a lane that is down: nobody would ever get round to them. */
  async #letDie(lane: Lane): Promise<void> {
    const { giveUpMs } = this.#options.senders[kindOf(lane.name)].policy;
    const end = [...keys.outboxDueIn(lane.name), this.#options.clock() - giveUpMs];
    const listed = await this.#options.store.list(keys.outboxDueIn(lane.name), {
      limit: GIVE_UP_PAGE,
      end,
    });
    const reason = lane.downFor(this.#options.clock()) ?? "";
    const ended = await Promise.all(
      listed.map(({ key }) =>
        giveUp(this.#options, placeOf(key), { reason, policyOf: this.#policyOf })
      ),
    );
    for (const one of ended) if (one) await tell(this.#sendingNow(), one);
  }

  readonly #policyOf = ({ kind }: OutboxMessage): DeliveryPolicy =>
    this.#options.senders[kind].policy;

  #sendingNow(): Sending {
    return {
      services: this.#options,
      tally: this.tally,
      lanes: this.#lanes,
      isStopping: () => this.#isStopping,
    };
  }

  /** Begins to send what is due in a lane, as far as there is room. */
  async #refill(lane: Lane): Promise<void> {
    const now = this.#options.clock();
    const room = Math.min(lane.room(now), ACTIVE_MAX - this.#active);
    if (room <= 0) return;
    for (let i = 0; i < room; i++) this.#enter(lane);
    let unused = room;
    try {
      if (lane.known.length === 0) {
        const listed = await this.#options.store.list(keys.outboxDueIn(lane.name), {
          limit: DUE_PAGE,
          end: [...keys.outboxDueIn(lane.name), now + 1],
        });
        lane.found(listed.map(({ key }) => placeOf(key)), { isAll: listed.length < DUE_PAGE });
      }
      const claims = await Promise.all(
        lane.known.splice(0, room).map((due) =>
          claim(this.#options, due, { by: this.#by, policyOf: this.#policyOf })
        ),
      );
      for (const claimed of claims) {
        if (!claimed) continue;
        if (claimed.isSpent) {
          await endSpent(this.#sendingNow(), claimed.message);
          continue;
        }
        unused--;
        this.#begin(lane, claimed.message);
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
  #begin(lane: Lane, message: OutboxMessage): void {
    const sending = deliver(this.#sendingNow(), lane, message)
      .catch((error) =>
        this.#options.log.error("outbox.not_noted", { messageId: message.id, error })
      )
      .finally(() => {
        this.#sending.delete(sending);
        this.#leave(lane);
      });
    this.#sending.add(sending);
  }
}

/** After the last part of any key that begins so. */
const END = Number.MAX_SAFE_INTEGER;
