/**
 * Counts and durations of this instance, in the Prometheus text format 0.0.4.
 *
 * Not a library, since it is on the path of every request and cold start: `prom-client`
 * takes 56 ms to import, this file less than 1 ms.
 *
 * @module
 */
import type { Meter } from "./mod.ts";

/** Labels of a sample; values must come from a small, fixed set. */
export type Labels = Readonly<Record<string, string>>;

/** Upper bounds in seconds, from a read of memory to a gateway that hangs. */
const BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** A metric of this instance. */
export interface Metric {
  /** Its name in Prometheus. */
  readonly name: string;
  /** A description for people. */
  readonly help: string;
  /** Its type in Prometheus. */
  readonly type: "counter" | "gauge" | "histogram";
  /** The lines of its samples. */
  lines(): string[];
}

/** Counts up, by labels. */
export class Counter implements Metric {
  /** Its type in Prometheus. */
  readonly type = "counter";
  readonly #values = new Map<string, number>();

  /** The name ends in `_total`. */
  constructor(readonly name: string, readonly help: string) {}

  /** Adds to the count of these labels. */
  add(labels: Labels = {}, by = 1): void {
    const key = labelText(labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + by);
  }

  /** The lines of its samples. */
  lines(): string[] {
    return [...this.#values].map(([labels, value]) => `${this.name}${braced(labels)} ${value}`);
  }
}

/** A value read at the moment of the scrape. */
export class Gauge implements Metric {
  /** Its type in Prometheus. */
  readonly type = "gauge";
  readonly #read: () => number;

  /** Reads its value by `read`. */
  constructor(readonly name: string, readonly help: string, read: () => number) {
    this.#read = read;
  }

  /** The line of its sample. */
  lines(): string[] {
    return [`${this.name} ${this.#read()}`];
  }
}

/** Durations, by labels. */
export class Histogram implements Metric {
  /** Its type in Prometheus. */
  readonly type = "histogram";
  readonly #series = new Map<string, { counts: number[]; sum: number; count: number }>();

  /** The name ends in `_seconds`. */
  constructor(readonly name: string, readonly help: string) {}

  /** Adds one duration, in seconds. */
  observe(seconds: number, labels: Labels = {}): void {
    const key = labelText(labels);
    let series = this.#series.get(key);
    if (!series) {
      series = { counts: BUCKETS_S.map(() => 0), sum: 0, count: 0 };
      this.#series.set(key, series);
    }
    const bucket = BUCKETS_S.findIndex((bound) => seconds <= bound);
    if (bucket >= 0) series.counts[bucket]!++;
    series.sum += seconds;
    series.count++;
  }

  /** The lines of its samples: buckets are cumulative. */
  lines(): string[] {
    return [...this.#series].flatMap(([labels, { counts, sum, count }]) => {
      let below = 0;
      const buckets = BUCKETS_S.map((bound, i) => {
        below += counts[i]!;
        return `${this.name}_bucket${braced(joined(labels, `le="${bound}"`))} ${below}`;
      });
      return [
        ...buckets,
        `${this.name}_bucket${braced(joined(labels, 'le="+Inf"'))} ${count}`,
        `${this.name}_sum${braced(labels)} ${sum}`,
        `${this.name}_count${braced(labels)} ${count}`,
      ];
    });
  }
}

/** All metrics of this instance. */
export class Metrics {
  /** Requests answered, by method, route pattern and status. */
  readonly requests = new Counter("wetech_requests_total", "Requests answered");
  /** How long requests took, by method and route pattern. */
  readonly durations = new Histogram("wetech_request_duration_seconds", "Time to answer");
  /** Store operations of requests and jobs: `read`, `commit`, `conflict`, `replay`. */
  readonly kv = new Counter("wetech_kv_operations_total", "Round trips to the store");
  /** Requests refused by a rate limit, by rule. */
  readonly refusals = new Counter("wetech_rate_limited_total", "Requests refused by a rate limit");
  /** Unexpected exceptions, which are defects. */
  readonly errors = new Counter("wetech_errors_total", "Unexpected errors");
  /** Enquiries dropped as spam, by the sign that gave them away. */
  readonly spam = new Counter("wetech_spam_total", "Enquiries dropped as spam");
  /** Runs of jobs, by name and outcome. */
  readonly jobs = new Counter("wetech_job_runs_total", "Runs of jobs");
  /** Attempts to send messages, by kind and outcome. */
  readonly messages = new Counter("wetech_messages_total", "Attempts to send messages");
  /** Changes of payments, by channel and new status. */
  readonly payments = new Counter("wetech_payments_total", "Payments that changed their status");
  /** Callbacks of gateways, by outcome. */
  readonly callbacks = new Counter("wetech_gateway_calls_total", "Callbacks of gateways");
  readonly #gauges: Gauge[] = [];

  /** Adds the store operations of a request or job. */
  countStore({ kvReads, kvCommits, kvConflicts, replays }: Meter): void {
    this.kv.add({ operation: "read" }, kvReads);
    this.kv.add({ operation: "commit" }, kvCommits);
    this.kv.add({ operation: "conflict" }, kvConflicts);
    this.kv.add({ operation: "replay" }, replays);
  }

  /** Adds a gauge. */
  gauge(name: string, help: string, read: () => number): void {
    this.#gauges.push(new Gauge(name, help, read));
  }

  /** All samples in the text format. */
  render(): string {
    const all: Metric[] = [
      this.requests,
      this.durations,
      this.kv,
      this.refusals,
      this.errors,
      this.spam,
      this.jobs,
      this.payments,
      this.callbacks,
      this.messages,
      ...this.#gauges,
    ];
    return all.map((metric) =>
      [
        `# HELP ${metric.name} ${metric.help}`,
        `# TYPE ${metric.name} ${metric.type}`,
        ...metric.lines(),
        "",
      ].join("\n")
    ).join("");
  }
}

function labelText(labels: Labels): string {
  return Object.entries(labels).map(([name, value]) =>
    `${name}="${value.replace(/[\\"\n]/g, (char) => char === "\n" ? "\\n" : `\\${char}`)}"`
  ).join(",");
}

function joined(labels: string, more: string): string {
  return labels === "" ? more : `${labels},${more}`;
}

function braced(labels: string): string {
  return labels === "" ? "" : `{${labels}}`;
}
