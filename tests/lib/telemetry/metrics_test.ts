/** What an instance counts, as a scraper reads it. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";
import fc from "fast-check";
import { newMeter } from "../../../lib/telemetry/mod.ts";
import { Counter, Gauge, Histogram, Metrics } from "../../../lib/telemetry/metrics.ts";
import { parseMetrics } from "../../support/readers/prometheus.ts";

/** The samples of one metric of an exposition. */
function samplesOf(metrics: Metrics, name: string) {
  return parseMetrics(metrics.render()).get(name)?.samples ?? [];
}

Deno.test("metrics without samples are listed by name", () => {
  const families = parseMetrics(new Metrics().render());

  ok(families.size >= 7);
  for (const [name, { help, samples }] of families) {
    ok(name.startsWith("wetech_"));
    ok(help.length > 5);
    deepEqual(samples, []);
  }
});

Deno.test("a counter counts each set of labels separately", () => {
  const counter = new Counter("x_total", "X");

  counter.add({ a: "1", b: "2" });
  counter.add({ a: "1", b: "2" }, 4);
  counter.add({ a: "1", b: "3" });
  counter.add();

  deepEqual(counter.lines(), ['x_total{a="1",b="2"} 5', 'x_total{a="1",b="3"} 1', "x_total 1"]);
});

Deno.test("a gauge is read at each scrape", () => {
  let value = 1;
  const gauge = new Gauge("depth", "Depth", () => value);

  equal(gauge.lines()[0], "depth 1");
  value = -2.5;
  equal(gauge.lines()[0], "depth -2.5");
});

Deno.test("a histogram counts a duration in every bucket that is not below it", () => {
  const metrics = new Metrics();
  for (const seconds of [0, 0.005, 0.0051, 10, 10.01, 3_600]) {
    metrics.durations.observe(seconds, { route: "/x" });
  }
  metrics.durations.observe(1, { route: "/y" });

  const samples = samplesOf(metrics, "wetech_request_duration_seconds");
  const ofX = samples.filter(({ labels }) => labels.route === "/x");
  const below = Object.fromEntries(ofX.map(({ labels, value }) => [labels.le ?? "", value]));

  deepEqual([below["0.005"], below["0.01"], below["5"], below["10"], below["+Inf"]], [
    2,
    3,
    3,
    4,
    6,
  ]);
  equal(ofX.find(({ name }) => name.endsWith("_count"))?.value, 6);
  equal(ofX.find(({ name }) => name.endsWith("_sum"))?.value, 0.005 + 0.0051 + 10 + 10.01 + 3_600);
  equal(samples.filter(({ labels }) => labels.route === "/y").length, ofX.length);
});

Deno.test("any text is a valid label value, and is read back unchanged", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const metrics = new Metrics();
    metrics.errors.add({ kind: text });

    deepEqual(samplesOf(metrics, metrics.errors.name).map(({ labels }) => labels.kind), [text]);
  }));
});

Deno.test("the counts and sums of any durations are exact", () => {
  const seconds = fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 1 });
  fc.assert(fc.property(seconds, (all) => {
    const histogram = new Histogram("x_seconds", "X");
    for (const one of all) histogram.observe(one, { a: "b" });
    const text = ["# HELP x_seconds X", "# TYPE x_seconds histogram", ...histogram.lines(), ""];

    const { samples } = parseMetrics(text.join("\n")).get("x_seconds")!;

    equal(samples.find(({ name }) => name === "x_seconds_count")?.value, all.length);
    for (const { name, labels, value } of samples) {
      if (name !== "x_seconds_bucket") continue;
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      equal(value, all.filter((one) => one <= bound).length);
    }
  }));
});

Deno.test("store operations are counted by kind", () => {
  const metrics = new Metrics();
  metrics.countStore({ ...newMeter(), kvReads: 3, kvCommits: 2, kvConflicts: 1, replays: 4 });
  metrics.countStore({ ...newMeter(), kvReads: 1 });

  const counts = samplesOf(metrics, "wetech_kv_operations_total").map(({ labels, value }) => [
    labels.operation,
    value,
  ]);

  deepEqual(Object.fromEntries(counts), { read: 4, commit: 2, conflict: 1, replay: 4 });
});

Deno.test("an added gauge is rendered with the others", () => {
  const metrics = new Metrics();
  metrics.gauge("wetech_queue_depth", "Messages that wait", () => 7);

  const { type, help, samples } = parseMetrics(metrics.render()).get("wetech_queue_depth")!;

  deepEqual([type, help, samples.map(({ value }) => value)], ["gauge", "Messages that wait", [7]]);
});

for (
  const text of [
    "x 1",
    "# HELP x X\n# TYPE x gauge\nx 1",
    "# TYPE x gauge\nx 1\n",
    "# HELP x X\nx 1\n",
    "# HELP x X\n# TYPE x counter\nx 1\n",
    "# HELP x X\n# TYPE x gauge\ny 1\n",
    "# HELP x X\n# TYPE x gauge\nx one\n",
    "# HELP x X\n# TYPE x gauge\nx 1\nx 1\n",
    '# HELP x X\n# TYPE x gauge\nx{a="1} 1\n',
    '# HELP x X\n# TYPE x gauge\nx{a="\\x"} 1\n',
    '# HELP x X\n# TYPE x gauge\nx{a="1" b="2"} 1\n',
    '# HELP x X\n# TYPE x gauge\nx{a="1",a="2"} 1\n',
    "# HELP x X\n# TYPE x gauge\n\nx 1\n",
    '# HELP x X\n# TYPE x histogram\nx_bucket{le="1"} 1\nx_sum 1\nx_count 1\n',
    '# HELP x X\n# TYPE x histogram\nx_bucket{le="+Inf"} 2\nx_sum 1\nx_count 1\n',
  ]
) {
  Deno.test(`the reader of these tests refuses ${JSON.stringify(text)}`, () => {
    throws(() => parseMetrics(text));
  });
}
