/**
 * A KV Connect server for tests: the far end of `Deno.openKv("http://…")`.
 *
 * The client that talks to it is the runtime's own, over real HTTP, so a fault
 * injected here looks to the program exactly as it would in production: a call
 * answered with 500 is sent again with the same bytes, for ever, and a call
 * that is not answered stays pending for ever.
 *
 * Speaks protocol version 3, as described in `proto/kv-connect.md` and
 * `proto/schema/datapath.proto` of github.com/denoland/denokv. No queues, no
 * `watch`, no `sum` of anything but `Deno.KvU64`: those calls are refused.
 *
 * @module
 */
import { Store } from "./kv_connect_store.ts";
import { type Bytes, Message } from "./kv_connect_wire.ts";

/**
 * The fate of one call. "Applied" means run: a write has taken effect, a read has been made.
 *
 * | fault         | applied          | what the runtime's client does                   |
 * | ------------- | ---------------- | ------------------------------------------------ |
 * | `ok`          | yes              | answers                                          |
 * | `fail-before` | no               | gets 500, sends the call again after 0.2 to 0.3 s |
 * | `fail-after`  | yes              | the same, though the call has taken effect       |
 * | `reset`       | yes              | throws: the answer breaks off                    |
 * | `garbage`     | yes              | throws: the answer is no protobuf                |
 * | `too-many`    | no               | gets 429, throws                                 |
 * | `hang-before` | when released    | pending until then                               |
 * | `hang-after`  | yes              | pending until released                           |
 * | `late`        | after `lateMs`   | pending until released                           |
 */
export type KvFault =
  | "ok"
  | "fail-before"
  | "fail-after"
  | "reset"
  | "garbage"
  | "hang-before"
  | "hang-after"
  | "late"
  | "too-many";

/** One HTTP call; the client's own retries are calls too. */
export interface KvCall {
  /** `read` is a `get`, a `getMany` or a batch of a `list`. */
  operation: "read" | "write";
  /** Which call of its operation this is, from 1. */
  count: number;
}

/** Options for {@linkcode startKvConnectServer}. */
export interface KvConnectServerOptions {
  /** The access token to expect. Default: the one that `Deno.openKv` sends here. */
  token?: string;
  /** See {@linkcode KvConnectServer.fault}. */
  fault?: (call: KvCall) => KvFault;
  /** See {@linkcode KvConnectServer.delayMs}. */
  delayMs?: number;
  /** See {@linkcode KvConnectServer.lateMs}. */
  lateMs?: number;
}

/**
 * A running server with a store of its own, in memory.
 *
 * Disposing of it releases hanging calls, stays up to a second for outstanding retries of
 * clients, so that none is left retrying for ever, and closes the port. Close the `Deno.Kv`
 * first and start no call after.
 */
export interface KvConnectServer extends AsyncDisposable {
  /** What to pass to `Deno.openKv`, such as `http://127.0.0.1:40123`. */
  readonly url: string;
  /** The bearer token that every call must carry. */
  readonly token: string;
  /**
   * Decides the fate of each call as it arrives, before anything is applied.
   * What it throws is answered with 400, so the client throws it too.
   */
  fault: (call: KvCall) => KvFault;
  /** Calls so far, those that failed and the client's own retries included. */
  readonly calls: { reads: number; writes: number };
  /** Simulated latency of every call, spent before it is applied; 0 at first. */
  delayMs: number;
  /** How long a `late` call takes to be applied; 0 at first. */
  lateMs: number;
  /** What is stored, in key order, both sides as they are on the wire. */
  entries(): { key: Uint8Array; value: Uint8Array }[];
  /**
   * Lets the calls end that hang now: each is applied if it was not yet, in the
   * order of arrival, and answered with its true outcome.
   */
  release(): void;
  /**
   * Removes what has expired by `now`, in milliseconds since the epoch, and
   * returns how many entries that were. Nothing else removes them: until then
   * they are read, and fail a check for absence, as with the real thing.
   */
  sweep(now: number): number;
}

const DATABASE_ID = "8a2f4c1e-5b7d-4e39-9c06-d1f3a5b7c9e2";
const DEFAULT_TOKEN = "kv-connect-test-token";
/** The client pauses for 202 to 303 ms before it repeats a call. */
const RETRY_PAUSE_MIN_MS = 200;
/** The longest pause, and the rest for a busy machine. */
const RETRY_PAUSE_MAX_MS = 1_000;
/** Ends within a varint, which no protobuf decoder accepts. */
const GARBAGE = new Uint8Array([0xff, 0xff, 0xff]);

/**
 * Starts a server on a free port of 127.0.0.1.
 *
 * Sets `DENO_KV_ACCESS_TOKEN` in this process's environment and leaves it set:
 * `Deno.openKv` reads it when it opens a URL. It is always the default token, as test
 * files that run in parallel share the environment: a server with a token of its own
 * refuses everyone here. A child process needs the variable passed on.
 */
export function startKvConnectServer(
  options: KvConnectServerOptions = {},
): Promise<KvConnectServer> {
  Deno.env.set("DENO_KV_ACCESS_TOKEN", DEFAULT_TOKEN);
  return Promise.resolve(new MemoryServer(options));
}

class MemoryServer implements KvConnectServer {
  readonly token: string;
  readonly url: string;
  readonly calls = { reads: 0, writes: 0 };
  fault: (call: KvCall) => KvFault;
  delayMs: number;
  lateMs: number;

  readonly #http: Deno.HttpServer<Deno.NetAddr>;
  readonly #store = new Store();
  readonly #hanging = new Waits();
  readonly #delayed = new Waits();
  readonly #owed = new OwedRetries();
  #isClosing = false;

  constructor(options: KvConnectServerOptions) {
    this.token = options.token ?? DEFAULT_TOKEN;
    this.fault = options.fault ?? (() => "ok");
    this.delayMs = options.delayMs ?? 0;
    this.lateMs = options.lateMs ?? 0;
    this.#http = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      onListen: () => {},
      // The client repeats a 5xx for ever: what goes wrong here must be a 4xx.
      onError: (error) => new Response(String(error), { status: 400 }),
    }, (request) => this.#route(request));
    this.url = `http://127.0.0.1:${this.#http.addr.port}`;
  }

  entries(): { key: Uint8Array; value: Uint8Array }[] {
    return this.#store.entries();
  }

  release(): void {
    this.#hanging.end();
  }

  sweep(now: number): number {
    return this.#store.sweep(now);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    this.#delayed.close();
    this.#hanging.close();
    await this.#owed.settled(RETRY_PAUSE_MAX_MS);
    await this.#http.shutdown();
  }

  async #route(request: Request): Promise<Response> {
    if (request.headers.get("authorization") !== `Bearer ${this.token}`) {
      return new Response("Unknown access token", { status: 401 });
    }
    switch (new URL(request.url).pathname) {
      case "/":
        return metadata(this.token);
      case "/v2/snapshot_read":
        return await this.#answer("read", await request.bytes());
      case "/v2/atomic_write":
        return await this.#answer("write", await request.bytes());
      default:
        return new Response("Not supported by the test server", { status: 404 });
    }
  }

  async #answer(operation: KvCall["operation"], body: Uint8Array): Promise<Response> {
    const message = new Message(body);
    const apply = () =>
      operation === "read" ? this.#store.read(message) : this.#store.write(message);
    const count = operation === "read" ? ++this.calls.reads : ++this.calls.writes;
    this.#owed.settle(body);
    const fate = this.#isClosing ? "ok" : this.fault({ operation, count });
    if (this.delayMs > 0) await this.#delayed.wait(this.delayMs);

    switch (this.#isClosing ? "ok" : fate) {
      case "ok":
        return protobuf(apply());
      case "fail-before":
        this.#owed.add(body);
        return new Response("Injected: not applied", { status: 500 });
      case "fail-after":
        apply();
        this.#owed.add(body);
        return new Response("Injected: applied", { status: 500 });
      case "reset":
        return cutShort(apply());
      case "garbage":
        apply();
        return protobuf(GARBAGE);
      case "too-many":
        return new Response("Injected: too many requests", { status: 429 });
      case "hang-before":
        await this.#hanging.wait();
        return protobuf(apply());
      case "hang-after": {
        const output = apply();
        await this.#hanging.wait();
        return protobuf(output);
      }
      case "late": {
        const ending = await this.#hanging.wait(this.lateMs);
        const output = apply();
        if (ending === "elapsed") await this.#hanging.wait();
        return protobuf(output);
      }
    }
  }
}

function metadata(token: string): Response {
  return Response.json({
    version: 3,
    databaseId: DATABASE_ID,
    endpoints: [{ url: "/v2", consistency: "strong" }],
    token,
    // Late enough that no test sees it renewed.
    expiresAt: "2100-01-01T00:00:00Z",
  });
}

function protobuf(body: Bytes): Response {
  return new Response(body, { headers: { "content-type": "application/x-protobuf" } });
}

/** Announces more than it sends: the client has the status, then an error. */
function cutShort(body: Bytes): Response {
  return new Response(body, {
    headers: {
      "content-type": "application/x-protobuf",
      "content-length": String(body.length + 1),
    },
  });
}

/** Waits that can be ended from outside, all at once. */
class Waits {
  #ends = new Set<() => void>();
  #isClosed = false;

  /** Waits for {@linkcode end}, at most `ms` if given. */
  wait(ms?: number): Promise<"elapsed" | "ended"> {
    if (this.#isClosed) return Promise.resolve("ended");
    return new Promise((resolve) => {
      const settle = (how: "elapsed" | "ended") => {
        clearTimeout(timer);
        this.#ends.delete(end);
        resolve(how);
      };
      const end = () => settle("ended");
      const timer = ms === undefined ? undefined : setTimeout(() => settle("elapsed"), ms);
      this.#ends.add(end);
    });
  }

  /** Ends every present wait, oldest first. */
  end(): void {
    for (const end of [...this.#ends]) end();
  }

  /** Ends every present and future wait. */
  close(): void {
    this.#isClosed = true;
    this.end();
  }
}

/** The calls answered with 500, each of which its client will send again. */
class OwedRetries {
  #debts: { id: string; since: number }[] = [];
  #settled = new Waits();

  add(body: Uint8Array): void {
    this.#debts.push({ id: body.toHex(), since: performance.now() });
  }

  settle(body: Uint8Array): void {
    if (this.#debts.length === 0) return;
    const id = body.toHex();
    // An earlier arrival is another call with the same bytes.
    const before = performance.now() - RETRY_PAUSE_MIN_MS;
    const paid = this.#debts.findIndex((debt) => debt.id === id && debt.since <= before);
    if (paid >= 0) this.#debts.splice(paid, 1);
    if (this.#debts.length === 0) this.#settled.end();
  }

  /** A client that has died never retries: hence the limit. */
  async settled(limitMs: number): Promise<void> {
    if (this.#debts.length > 0) await this.#settled.wait(limitMs);
  }
}
