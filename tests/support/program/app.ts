/**
 * The whole program on a private store behind a real socket, with a clock that
 * the test moves.
 *
 * @module
 */
import { createApiKey, type Scope } from "../../../lib/access/mod.ts";
import { type Config, readConfig } from "../../../lib/config/mod.ts";
import { HealthMonitor } from "../../../lib/health/mod.ts";
import type { Prefix } from "../../../lib/kv/keys.ts";
import type { Deadlines } from "../../../lib/kv/deadlines.ts";
import type { KvPort } from "../../../lib/kv/store.ts";
import { openLog } from "../../../lib/telemetry/mod.ts";
import { createProduct, type NewProduct, type Product } from "../../../lib/products/mod.ts";
import { openServices, type ServiceOptions } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/mod.ts";
import { createApp } from "../../../routes/mod.ts";
import { PATIENT } from "../store/deadlines.ts";

/** When tests begin: a moment in the middle of a year. */
export const TEST_START = Date.UTC(2026, 5, 15, 9, 0, 0);

/** Options of {@linkcode startApp}. */
export interface TestAppOptions {
  /** Variables of the environment, over those of a test. */
  env?: Record<string, string>;
  /** Wraps the opened KV, for example to inject faults. */
  wrapKv?: (kv: KvPort) => KvPort;
  /** {@linkcode PATIENT} when absent. */
  deadlines?: Deadlines;
  /** Policy of calls to gateways, where it differs from the default. */
  gatewayPolicy?: ServiceOptions["gatewayPolicy"];
  /** The time limit of a request, in milliseconds; that of the program when absent. */
  requestMs?: number;
  /** Reads the system's clock instead of the test's. */
  useRealClock?: boolean;
}

/** An answer, read to its end. */
export interface TestAnswer<T> {
  status: number;
  headers: Headers;
  text: string;
  body: T;
}

// Bodies differ per test, which names the fields that it expects.
// deno-lint-ignore no-explicit-any
type Body = any;

/** Options of a request. */
export interface TestRequest {
  headers?: Record<string, string>;
  /** Sent as JSON; a string or bytes are sent as they are. */
  body?: unknown;
  /** An API key. */
  key?: string;
}

/** The running program. */
export interface TestApp extends AsyncDisposable {
  readonly url: string;
  readonly config: Config;
  readonly services: Services;
  readonly monitor: HealthMonitor;
  /** Lines of the log so far, JSON. */
  readonly logLines: string[];
  /** The administrator's API key. */
  readonly adminKey: string;
  request<T = Body>(method: string, path: string, options?: TestRequest): Promise<TestAnswer<T>>;
  get<T = Body>(path: string, key?: string): Promise<TestAnswer<T>>;
  /** Posts JSON as a visitor. */
  post<T = Body>(
    path: string,
    body: unknown,
    headers?: Record<string, string>,
  ): Promise<TestAnswer<T>>;
  /** Makes a key with these scopes. */
  newKey(...scopes: Scope[]): Promise<string>;
  /** Puts a product on sale. */
  stockProduct(fields?: Partial<NewProduct>): Promise<Product>;
  /** Entries under a prefix. */
  count(prefix: Prefix<unknown>): Promise<number>;
  /** Moves the clock. */
  advance(ms: number): void;
}

/** The caller in direct calls of use cases by tests. */
export const TESTER = { actor: "cli", requestId: "test", idempotencyKey: null } as const;

/** An ordinary product. */
export const PRODUCT: NewProduct = {
  slug: "duka-pos",
  title: "Duka POS",
  category: "saas",
  price: { currency: "TZS", minor: 45_000_000 },
  oldPrice: null,
  description: "<p>Point of sale</p>",
  features: ["Works offline"],
  demoUrl: null,
  active: true,
};

/** An ordinary enquiry. */
export const LEAD = { name: "Asha Mushi", email: "asha@example.com", message: "Habari" };

/** Starts the program. */
export async function startApp(options: TestAppOptions = {}): Promise<TestApp> {
  const { env = {}, wrapKv, deadlines = PATIENT, gatewayPolicy, requestMs, useRealClock = false } =
    options;
  const config = readConfig({
    APP_ENV: "test",
    KV_PATH: ":memory:",
    PORT: "0",
    RATE_LIMITS: "off",
    ...env,
  });
  const logLines: string[] = [];
  let offset = 0;
  const clock = useRealClock ? () => Date.now() : () => TEST_START + offset;
  const log = openLog({ level: "debug", format: "json", write: (line) => logLines.push(line) });
  const services = await openServices(config, {
    log,
    clock,
    random: Math.random,
    ...(wrapKv ? { wrapKv } : {}),
    deadlines,
    ...(gatewayPolicy ? { gatewayPolicy } : {}),
  });
  const monitor = new HealthMonitor(services);
  const app = createApp(services, monitor, requestMs === undefined ? {} : { requestMs });
  const closing = new AbortController();
  const { signal } = closing;
  const serving = { hostname: "127.0.0.1", port: 0, onListen: () => {}, signal };
  const server = Deno.serve(serving, app.fetch);
  const url = `http://127.0.0.1:${server.addr.port}`;

  async function request(method: string, path: string, options: TestRequest = {}) {
    const { headers = {}, body, key } = options;
    const isRaw = body === undefined || typeof body === "string" || body instanceof Uint8Array;
    const response = await fetch(url + path, {
      method,
      redirect: "manual",
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(key ? { authorization: `Bearer ${key}` } : {}),
        ...headers,
      },
      body: isRaw ? (body as BodyInit) ?? null : JSON.stringify(body),
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get("content-type") ?? "") && text !== "";
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson ? JSON.parse(text) : undefined,
    };
  }

  return {
    url,
    config,
    services,
    monitor,
    logLines,
    adminKey: config.bootstrapApiKey!,
    request,
    get: (path, key) => request("GET", path, key ? { key } : {}),
    post: (path, body, headers = {}) => request("POST", path, { body, headers }),
    async newKey(...scopes) {
      const { key } = await createApiKey(
        services,
        { name: "test", scopes, expiresAt: null },
        TESTER,
      );
      return key;
    },
    stockProduct: (fields = {}) => createProduct(services, { ...PRODUCT, ...fields }, TESTER),
    async count(prefix) {
      return (await services.store.list(prefix, { limit: 100_000 })).length;
    },
    advance(ms) {
      offset += ms;
    },
    async [Symbol.asyncDispose]() {
      // Not shutdown(): in Deno 2.5 it waits minutes for a connection that was opened and not used.
      closing.abort();
      await server.finished;
      await services.store.close();
    },
  };
}
