/**
 * The outbox: delivers what follows from events after their commit, at least once,
 * however often an instance is killed or a destination is down.
 *
 * The instance that commits an event dispatches it at once; what it cannot deliver,
 * any instance does in its next run, once a minute. Sending happens outside of
 * transactions: a message is claimed, sent, and recorded as sent. If the instance is
 * killed in between, the message is sent again under the same id.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Listed } from "../kv/store.ts";
import { addOutboxGauges, type OutboxState } from "./gauges.ts";
import { newMeter, withContext } from "../telemetry/mod.ts";
import type {
  DeliveryPolicy,
  MessagesOf,
  OutboxEvent,
  OutboxMessage,
  Subscriber,
} from "./ports.ts";
import { firstDues, kindOf, type Lane, Lanes, parseDueKey } from "./lanes.ts";
import {
  deadLetterExhausted,
  deliver,
  type DeliveryCounts,
  type OutboxServices,
  reportChange,
  type Sending,
} from "./sending.ts";
import { newLease, orderKeyOf } from "./rules.ts";
import { claim, deadLetterExpired, dropEvents, fanOut } from "./states.ts";
import { withDeadline } from "../time.ts";
import { tracedApart } from "../telemetry/tracing.ts";

export type { DeliveryCounts } from "./sending.ts";

/** Events read at once; those about different subjects are dispatched in parallel. */
const EVENTS_PAGE = 64;
/** Due messages read at once. */
const DUE_PAGE = 50;
/** Lanes searched in one run; more wait for the next. */
const LANES_MAX = 200;
/** Messages being sent at once, in all lanes. */
const ACTIVE_MAX = 40;
/** Messages dead-lettered at once in a lane that is down. */
const EXPIRED_PAGE = 200;

/** What an {@linkcode Outbox} consists of. */
export interface OutboxOptions extends OutboxServices {
  /** Receive the events and name the messages that follow from them. */
  readonly subscribers: readonly Subscriber[];
}

/** The outbox of one instance. */
export class Outbox {
  /** What it has done so far. */
  readonly counts: DeliveryCounts = { events: 0, sent: 0, failed: 0, dead: 0, cancelled: 0 };
  /** How full it was when this instance last measured it; null before. */
  state: OutboxState | null = null;
  readonly #options: OutboxOptions;
  readonly #lanes: Lanes;
  readonly #sending = new Set<Promise<void>>();
  #isStarted = false;
  /** The id of this instance in leases. */
  #by = "";
  #active = 0;
  #hasNewEvents = false;
  #isFullRunDue = false;
  #isStopping = false;
  #running: Promise<void> | null = null;
  #changed = Promise.withResolvers<void>();

  /** Does nothing until it is started or run. Owns nothing that must be closed. */
  constructor(options: OutboxOptions) {
    this.#options = options;
    options.store.onWrite(keys.outboxEvents, () => this.#wake());
    options.store.onWrite(keys.outboxDues, (key) => this.#wakeLane(key));
    this.#lanes = new Lanes((kind) => options.senders[kind].policy.atOnce);
  }

  /**
   * From now on, commits of this process are dispatched at once. Earlier ones and
   * those of other processes are dispatched by {@linkcode run}.
   */
  start(): void {
    this.#isStarted = true;
    addOutboxGauges(this.#options.metrics, () => this.state);
  }

  /** Dispatches events that were just committed, in the background. */
  #wake(): void {
    if (!this.#isStarted) return;
    this.#hasNewEvents = true;
    this.#runRounds();
  }

  /** Sends a message that has just become due; with null, everything that is due. */
  #wakeLane(key: keys.Key<unknown> | null): void {
    if (!this.#isStarted) return;
    if (key === null) {
      this.#isFullRunDue = true;
    } else {
      const { lane, dueAt } = parseDueKey(key);
      if (dueAt > this.#options.clock()) return;
      this.#lanes.get(lane).hasMore = true;
    }
    this.#runRounds();
  }

  /**
   * Dispatches events and sends messages until nothing is due or `signal` is
   * aborted. One listing when nothing is.
   *
   * @throws What the store threw.
   */
  async run(signal?: AbortSignal): Promise<DeliveryCounts> {
    const before = { ...this.counts };
    this.#isFullRunDue = true;
    const finished = this.#runRounds();
    const { promise: aborted, resolve } = Promise.withResolvers<void>();
    if (signal?.aborted) resolve();
    signal?.addEventListener("abort", () => resolve(), { once: true });
    await Promise.race([finished, aborted]);
    const now = this.counts;
    return {
      events: now.events - before.events,
      sent: now.sent - before.sent,
      failed: now.failed - before.failed,
      dead: now.dead - before.dead,
      cancelled: now.cancelled - before.cancelled,
    };
  }

  /** Starts nothing more, and waits up to `ms` milliseconds for what is in progress. */
  async stop(ms: number): Promise<void> {
    this.#isStopping = true;
    this.#signalChange();
    await withDeadline(this.#idle(), ms, () => {});
  }

  async #idle(): Promise<void> {
    while (this.#running !== null || this.#sending.size > 0) {
      await Promise.allSettled([this.#running, ...this.#sending]);
    }
  }

  /** Runs rounds until nothing is due. One run at a time; later callers join it. */
  #runRounds(): Promise<void> {
    this.#signalChange();
    if (this.#running) return this.#running;
    const { clock, log, metrics } = this.#options;
    this.#by ||= newId(clock());
    const context = { requestId: newId(clock()), job: "outbox", meter: newMeter() };
    // Has a trace of its own: deliveries are not part of the request that caused them.
    const running = withContext(context, () => tracedApart("outbox", {}, () => this.#rounds()))
      .finally(() => {
        metrics.countStore(context.meter);
        this.#running = null;
      });
    running.catch((error) => log.warn("outbox.stopped", { error }));
    return this.#running = running;
  }

  async #rounds(): Promise<void> {
    await Promise.resolve(); // callers of the same tick join this run
    while (!this.#isStopping) {
      const changed = this.#changed.promise;
      const [hasNewEvents, isFullRun] = [this.#hasNewEvents, this.#isFullRunDue];
      this.#hasNewEvents = this.#isFullRunDue = false;
      const isEmpty = isFullRun && await this.#isEmpty();
      if (!isEmpty && (hasNewEvents || isFullRun)) await this.#dispatchEvents();
      if (!isEmpty && isFullRun) await this.#findDueLanes();
      const now = this.#options.clock();
      const lanes = this.#active < ACTIVE_MAX ? this.#lanes.withMore(now) : [];
      await Promise.all(lanes.map((lane) => this.#refill(lane)));
      if (this.#hasNewEvents || this.#isFullRunDue || lanes.length > 0) continue;
      if (this.#sending.size === 0) break;
      await changed;
    }
    await Promise.all(this.#sending);
    this.#lanes.tidy();
  }

  #signalChange(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  /** Whether there is neither an event nor a message to send. One listing covers both. */
  async #isEmpty(): Promise<boolean> {
    const range = { start: keys.outboxDues, end: [...keys.outboxEvents, END] };
    return (await this.#options.store.list(keys.outboxDues, { limit: 1, ...range })).length === 0;
  }

  /** Turns all events into messages, and starts to send those for which there is capacity. */
  async #dispatchEvents(): Promise<void> {
    let start: keys.Key<unknown> | null = null;
    while (!this.#isStopping) {
      const listed: Listed<OutboxEvent>[] = await this.#options.store.list(keys.outboxEvents, {
        limit: EVENTS_PAGE,
        ...(start ? { start } : {}),
      });
      if (listed.length > 0) await this.#dispatchPage(listed.map(({ value }) => value));
      if (listed.length < EVENTS_PAGE) return;
      start = [...listed.at(-1)!.key, END];
    }
  }

  /** Dispatches events side by side, those of one subject one after another, to keep their order. */
  async #dispatchPage(events: readonly OutboxEvent[]): Promise<void> {
    const subscribers = await Promise.all(
      this.#options.subscribers.map(async (one) => await one.prepare?.() ?? one.messagesOf),
    );
    const groups = Map.groupBy(events, orderKeyOf);
    const silent: OutboxEvent[] = [];
    await Promise.all([...groups.values()].map(async (group) => {
      for (const event of group) if (!await this.#dispatchEvent(event, subscribers, silent)) break;
    }));
    if (silent.length === 0) return;
    await dropEvents(this.#options, silent);
    this.counts.events += silent.length;
  }

  /**
   * Turns an event into its messages, or adds it to `silent` if there are none.
   *
   * @returns Whether the next event of its subject may follow.
   */
  async #dispatchEvent(
    event: OutboxEvent,
    subscribers: readonly MessagesOf[],
    silent: OutboxEvent[],
  ): Promise<boolean> {
    const acquired = new Map<string, Lane>();
    try {
      const wanted = await Promise.all(subscribers.map((messagesOf) => messagesOf(event)));
      const messages = wanted.flat();
      if (messages.length === 0) {
        silent.push(event);
        return true;
      }
      const { mine, open } = await fanOut(
        this.#options,
        event,
        messages,
        (message) => this.#leaseIfCapacity(message, acquired),
      );
      this.counts.events++;
      for (const { lane } of open) this.#lanes.get(lane).hasMore = true;
      for (const message of mine) {
        const lane = acquired.get(message.id);
        acquired.delete(message.id);
        if (lane) this.#startSending(lane, message);
      }
      return true;
    } catch (error) {
      this.#logUndispatched(event, error);
      return false;
    } finally {
      for (const lane of acquired.values()) this.#release(lane);
    }
  }

  /** A lease for a message that this instance can send now, with its lane put into `acquired`. */
  #leaseIfCapacity({ id, kind, lane: name }: OutboxMessage, acquired: Map<string, Lane>) {
    const { clock, senders } = this.#options;
    const lane = this.#lanes.get(name);
    const now = clock();
    if (lane.capacity(now) <= 0 || this.#active >= ACTIVE_MAX || this.#isStopping) return null;
    this.#acquire(lane);
    acquired.set(id, lane);
    return newLease(this.#by, senders[kind].policy, now);
  }

  #logUndispatched({ id: eventId, type }: OutboxEvent, error: unknown): void {
    const { log, errorTracker } = this.#options;
    if (error instanceof AppError) {
      log.warn("outbox.not_dispatched", { eventId, type, error });
    } else {
      log.error("outbox.defect", { eventId, type, error });
      errorTracker.report(error);
    }
  }

  /** Finds the lanes in which something is due: one short listing each. */
  async #findDueLanes(): Promise<void> {
    const now = this.#options.clock();
    for await (const { lane, dueAt } of firstDues(this.#options.store, LANES_MAX)) {
      if (dueAt <= now) this.#lanes.get(lane).hasMore = true;
    }
    for (const lane of this.#lanes.down(now)) await this.#deadLetterExpired(lane);
  }

  /** Dead-letters messages that are too old in a lane that is down: none would be attempted. */
  async #deadLetterExpired(lane: Lane): Promise<void> {
    const { store, clock, senders } = this.#options;
    const { deadLetterAfterMs } = senders[kindOf(lane.name)].policy;
    const prefix = keys.outboxDueIn(lane.name);
    const end = [...prefix, clock() - deadLetterAfterMs];
    const listed = await store.list(prefix, { limit: EXPIRED_PAGE, end });
    const reason = lane.downReason(clock()) ?? "";
    const changes = await Promise.all(
      listed.map(({ key }) =>
        deadLetterExpired(this.#options, parseDueKey(key), { reason, policyOf: this.#policyOf })
      ),
    );
    for (const change of changes) if (change) await reportChange(this.#sendingNow(), change);
  }

  readonly #policyOf = ({ kind }: OutboxMessage): DeliveryPolicy =>
    this.#options.senders[kind].policy;

  #sendingNow(): Sending {
    return {
      services: this.#options,
      counts: this.counts,
      lanes: this.#lanes,
      isStopping: () => this.#isStopping,
    };
  }

  /** Starts to send what is due in a lane, up to its capacity. */
  async #refill(lane: Lane): Promise<void> {
    const now = this.#options.clock();
    const capacity = Math.min(lane.capacity(now), ACTIVE_MAX - this.#active);
    if (capacity <= 0) return;
    for (let i = 0; i < capacity; i++) this.#acquire(lane);
    let unused = capacity;
    try {
      if (lane.due.length === 0) await this.#listDue(lane, now);
      const claims = await Promise.all(
        lane.due.splice(0, capacity).map((due) =>
          claim(this.#options, due, { by: this.#by, policyOf: this.#policyOf })
        ),
      );
      for (const claimed of claims) {
        if (!claimed) continue;
        if (claimed.isExhausted) {
          await deadLetterExhausted(this.#sendingNow(), claimed.message);
          continue;
        }
        unused--;
        this.#startSending(lane, claimed.message);
      }
    } catch (error) {
      lane.setDue([], { isAll: true }); // the next run, in a minute, lists it again
      throw error;
    } finally {
      for (; unused > 0; unused--) this.#release(lane);
    }
  }

  async #listDue(lane: Lane, now: number): Promise<void> {
    const prefix = keys.outboxDueIn(lane.name);
    const end = [...prefix, now + 1];
    const listed = await this.#options.store.list(prefix, { limit: DUE_PAGE, end });
    lane.setDue(listed.map(({ key }) => parseDueKey(key)), { isAll: listed.length < DUE_PAGE });
  }

  #acquire(lane: Lane): void {
    lane.acquire();
    this.#active++;
  }

  #release(lane: Lane): void {
    lane.release();
    this.#active--;
    this.#signalChange();
  }

  /** Sends a message that this instance has claimed, in the background. */
  #startSending(lane: Lane, message: OutboxMessage): void {
    const sending = deliver(this.#sendingNow(), lane, message)
      .catch((error) =>
        this.#options.log.error("outbox.not_recorded", { messageId: message.id, error })
      )
      .finally(() => {
        this.#sending.delete(sending);
        this.#release(lane);
      });
    this.#sending.add(sending);
  }
}

/** Sorts after the last part of any key with the same prefix. */
const END = Number.MAX_SAFE_INTEGER;
