/**
 * Another's eyes: Wapiti, a scanner of web applications from Debian, against the
 * real program as it runs in production, behind a proxy that speaks HTTPS.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { LEAD, PRODUCT } from "../support/program/app.ts";
import { newKvFile } from "../support/program/shop.ts";
import { logLines, type ServerProcess, startServer } from "../support/processes/server_process.ts";

/** A scan takes about 15 s. */
const SCAN_MS = 180_000;
const KEY = "a-key-for-this-scan-only";
const ENV = {
  APP_ENV: "production",
  PUBLIC_URL: "https://shop.example.com",
  ALLOWED_HOSTS: "127.0.0.1",
  TRUSTED_PROXY_HOPS: "1",
  SECRET_KEY: btoa(Array.from({ length: 32 }, (_, i) => String.fromCharCode(7 * i)).join("")),
  BOOTSTRAP_API_KEY: KEY,
  // The scanner is to find what the limits would hide.
  RATE_LIMITS: [
    "lead_post",
    "lead_email",
    "key_write",
    "key_read",
    "catalogue_read",
    "invoice_link",
  ]
    .map((rule) => `${rule}=999999/1s`).join(","),
};
/** What the proxy adds, and a key for what needs one. */
const HEADERS = {
  "authorization": `Bearer ${KEY}`,
  "x-forwarded-for": "192.0.2.1",
  "x-forwarded-proto": "https",
};

/**
 * All modules but those that need a server of the scanner's authors (ssrf, xxe),
 * fetch a list from the internet (nikto, wapp), or guess at a thousand names of
 * files and passwords that are not there (buster, brute_login_form).
 */
const MODULES = "all,-ssrf,-xxe,-nikto,-wapp,-buster,-brute_login_form";

/** The header turns on a filter that browsers have removed, since it could be turned against pages. */
const NO_FINDINGS = new Set(["X-XSS-Protection is not set"]);

interface Finding {
  method: string;
  path: string;
  info: string;
}

/** What the scanner writes; findings by their kind. */
interface Report {
  vulnerabilities: Record<string, Finding[]>;
  anomalies: Record<string, Finding[]>;
}

const isInstalled = (() => {
  try {
    new Deno.Command("wapiti", { args: ["--version"], stdout: "null", stderr: "null" })
      .outputSync();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
})();

Deno.test({
  name: `a scanner finds nothing${isInstalled ? "" : " (apt-get install wapiti)"}`,
  ignore: !isInstalled,
  async fn() {
    await using file = await newKvFile();
    await using server = await startServer({ kvPath: file.path, env: ENV });
    const folder = file.path.slice(0, file.path.lastIndexOf("/"));

    const report = await scan(server, await targets(server), folder);

    const findings = [report.vulnerabilities, report.anomalies].flatMap((kinds) =>
      Object.entries(kinds).flatMap(([kind, found]) =>
        found.filter(({ info }) => !NO_FINDINGS.has(info))
          .map(({ method, path, info }) => `${kind}: ${method} ${path}: ${info}`)
      )
    );
    deepEqual(findings, []);
    ok("SQL Injection" in report.vulnerabilities);
    const lines = logLines(server.output());
    const answers = lines.filter(({ event }) => event === "request.answered");
    // It was at work, everywhere, and upset nothing.
    ok(answers.length > 1_000, `${answers.length} requests`);
    const routes = new Set(answers.map(({ route }) => route));
    for (const path of ["leads", "clients", "invoices", "products"]) {
      ok(routes.has(`/api/v2/${path}`), path);
    }
    ok(routes.has("/i/:token"));
    deepEqual(answers.filter(({ status }) => Number(status) >= 500), []);
    deepEqual(lines.filter(({ level }) => level === "error"), []);
  },
});

/** Pages and queries to begin with, of things that are there. */
async function targets({ url }: ServerProcess): Promise<string[]> {
  const post = async (path: string, body: unknown) => {
    const headers = { ...HEADERS, "content-type": "application/json" };
    const response = await fetch(url + path, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    equal(response.status, 201);
    return await response.json();
  };
  const product = await post("/api/v2/products", PRODUCT);
  const { lead, client, invoice, links } = await post("/api/v2/leads", {
    ...LEAD,
    productId: product.id,
  });
  return [
    "/api/v2/products?limit=2&status=active&category=saas&cursor=x",
    `/api/v2/products/${product.slug}`,
    `/api/v2/leads?limit=2&status=new&clientId=${client.id}`,
    `/api/v2/leads/${lead.id}`,
    "/api/v2/clients?limit=1&email=asha@example.com",
    `/api/v2/clients/${client.id}/export`,
    `/api/v2/invoices?number=${invoice.number}&status=open&limit=1`,
    `/api/v2/system/audit?entity=lead&id=${lead.id}`,
    new URL(links.invoice).pathname,
    "/docs",
    "/openapi.json",
    "/metrics",
    "/health?x=1",
  ];
}

/** Runs the scanner to its end. @throws if it takes too long or fails. */
async function scan(
  { url }: ServerProcess,
  paths: readonly string[],
  folder: string,
): Promise<Report> {
  const output = `${folder}/report.json`;
  const child = new Deno.Command("wapiti", {
    args: [
      ...["--url", `${url}/`, "--scope", "domain", "--depth", "2", "--module", MODULES],
      ...paths.flatMap((path) => ["--start", url + path]),
      ...Object.entries(HEADERS).flatMap(([name, value]) => ["--header", `${name}: ${value}`]),
      ...["--max-scan-time", "20", "--max-attack-time", "20", "--no-bugreport"],
      ...["--store-session", folder, "--store-config", folder],
      ...["--format", "json", "--output", output],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), SCAN_MS);
  const { code, stderr } = await child.output();
  clearTimeout(timer);
  equal(code, 0, new TextDecoder().decode(stderr));
  return JSON.parse(await Deno.readTextFile(output));
}
