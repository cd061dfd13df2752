/** GET /metrics counts requests, in the format that Prometheus reads. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { LEAD } from "../support/program/app.ts";
import { parseMetrics } from "../support/readers/prometheus.ts";
import { asAdmin, startShop } from "../support/program/shop.ts";

Deno.test("GET /metrics answers in the format of Prometheus, and counts requests", async () => {
  await using app = await startShop();
  await app.post("/api/v2/leads", LEAD);
  await app.post("/api/v2/leads", {});
  await app.request("PROPFIND", "/tea");
  await app.request("BREW", "/coffee?x=%0a1");
  await app.get("/nowhere/of/old");

  const { headers, text } = await asAdmin(app, "GET", "/metrics");
  const families = parseMetrics(text);
  const again = parseMetrics((await asAdmin(app, "GET", "/metrics")).text);

  equal(headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const counts = (of: typeof families) =>
    of.get("wetech_requests_total")!.samples.map(({ labels, value }) =>
      [labels.method, labels.route, labels.status, value].join(" ")
    );
  deepEqual(counts(families).sort(), [
    "GET /* 404 1",
    "POST /api/v2/leads 201 1",
    "POST /api/v2/leads 422 1",
    // Unknown methods and paths create no series.
    "other /* 404 2",
  ]);
  ok(counts(again).includes("GET /metrics 200 1"));
  const commits = families.get("wetech_kv_operations_total")!.samples.find(({ labels }) =>
    labels.operation === "commit"
  );
  equal(commits?.value, 1);
  ok(!/asha|mushi|habari|coffee|nowhere/i.test(text));
});
