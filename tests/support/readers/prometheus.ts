/**
 * The Prometheus text format 0.0.4, read as strictly as its description allows:
 * every metric has its HELP, its TYPE and then its samples, each series once.
 *
 * @module
 */

/** One sample: a number and its labels. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** All samples of one metric. */
export interface MetricFamily {
  help: string;
  type: "counter" | "gauge" | "histogram";
  samples: Sample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^\n]+)\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[+-]Inf|NaN)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(,|$)/y;

/** Reads an exposition. @throws {Error} on anything that a scraper might refuse */
export function parseMetrics(text: string): Map<string, MetricFamily> {
  if (!text.endsWith("\n")) throw new Error("The last line has no end");
  const families = new Map<string, MetricFamily>();
  const series = new Set<string>();
  let help: [name: string, text: string] | null = null;
  let current: [name: string, family: MetricFamily] | null = null;
  for (const line of text.slice(0, -1).split("\n")) {
    const [, word, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (word === "HELP") {
      if (!NAME.test(name) || families.has(name) || help) throw new Error(`Bad ${line}`);
      help = [name, rest];
      continue;
    }
    if (word === "TYPE") {
      const type = (["counter", "gauge", "histogram"] as const).find((known) => known === rest);
      if (help?.[0] !== name || !type) throw new Error(`Bad ${line}`);
      current = [name, { help: help[1], type, samples: [] }];
      families.set(...current);
      help = null;
      continue;
    }
    const sample = parseSample(line);
    if (!current || help || !belongs(sample.name, ...current)) throw new Error(`Stray ${line}`);
    const id = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
    if (series.has(id)) throw new Error(`Twice: ${line}`);
    series.add(id);
    current[1].samples.push(sample);
  }
  if (help) throw new Error("A HELP without a TYPE");
  for (const [name, family] of families) checkFamily(name, family);
  return families;
}

function parseSample(line: string): Sample {
  const [, name, labelText = "", number] = SAMPLE.exec(line) ?? [];
  if (name === undefined || number === undefined) throw new Error(`Not a sample: ${line}`);
  const labels: Record<string, string> = {};
  for (LABEL.lastIndex = 0; LABEL.lastIndex < labelText.length;) {
    const [, label, value] = LABEL.exec(labelText) ?? [];
    if (label === undefined || value === undefined || label in labels) {
      throw new Error(`Bad labels: ${line}`);
    }
    labels[label] = value.replace(/\\(.)/g, (_, char) => char === "n" ? "\n" : char);
  }
  return { name, labels, value: Number(number.replace("Inf", "Infinity")) };
}

function belongs(name: string, family: string, { type }: MetricFamily): boolean {
  if (type !== "histogram") return name === family;
  return ["_bucket", "_sum", "_count"].some((suffix) => name === family + suffix);
}

function checkFamily(name: string, { type, samples }: MetricFamily): void {
  if (type === "counter") {
    if (!name.endsWith("_total")) throw new Error(`The counter ${name} is no _total`);
    if (samples.some(({ value }) => !(value >= 0))) throw new Error(`${name} is negative`);
  }
  if (type !== "histogram") return;
  const bySeries = Map.groupBy(
    samples,
    ({ labels: { le: _, ...labels } }) => JSON.stringify(Object.entries(labels).sort()),
  );
  for (const own of bySeries.values()) {
    const buckets = own.filter((sample) => sample.name === `${name}_bucket`);
    const bounds = buckets.map(({ labels }) => Number(labels.le?.replace("Inf", "Infinity")));
    const counts = buckets.map(({ value }) => value);
    const isRising = (list: number[]) => list.every((n, i) => i === 0 || n >= list[i - 1]!);
    const count = own.find((sample) => sample.name === `${name}_count`)?.value;
    const hasSum = own.some((sample) => sample.name === `${name}_sum`);
    if (bounds.at(-1) !== Infinity || new Set(bounds).size !== bounds.length) {
      throw new Error(`The buckets of ${name} are not whole`);
    }
    if (!isRising(bounds) || !isRising(counts) || counts.at(-1) !== count || !hasSum) {
      throw new Error(`The buckets of ${name} do not add up`);
    }
  }
}
