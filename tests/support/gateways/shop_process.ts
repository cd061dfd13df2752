/**
 * A process of the shop that dies, or meets faults, at a chosen commit or call of a gateway.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { KvPort } from "../../../lib/kv/store.ts";
import type { Services } from "../../../lib/app/mod.ts";
import { type CommitFault, FaultyKv } from "../store/faulty_kv.ts";

/** What goes wrong with a commit, or ends the process at one. */
export const COMMIT_TROUBLES = [
  "die before",
  "die after",
  "lost-before",
  "lost-after",
  "false-conflict",
  "locked",
  "late",
] as const;

/** What goes wrong with a call to a gateway, or ends the process at one. */
export const CALL_TROUBLES = [
  "die before",
  "die after",
  "no connection",
  "break",
  "drop",
  "slow",
  "500",
  "500 after",
  "page",
  "refusal",
] as const;

/** What happens at the `step`-th commit or call of an action. */
export interface Trouble {
  /** From 1. */
  step: number;
  commit: (typeof COMMIT_TROUBLES)[number];
  call: (typeof CALL_TROUBLES)[number];
  /** Whether later calls of the action go the same way. */
  isLasting: boolean;
}

export const running = new AsyncLocalStorage<ShopProcess>();
export const platformFetch = globalThis.fetch;

/** The outcome of work in a process. */
type Done<T> = { value: T } | { error: unknown } | "died";

/** One process of the shop. */
export class ShopProcess {
  isDead = false;
  trouble: Trouble | null = null;
  steps = 0;
  #lasting: Trouble["call"] | undefined;
  services!: Services;
  readonly kv: FaultyKv;
  readonly #died = Promise.withResolvers<"died">();
  readonly #left: Promise<unknown>[] = [];

  constructor(shared: KvPort) {
    this.kv = new FaultyKv(shared);
    this.kv.commitFault = () => this.#commit();
    this.kv.readFault = () => this.isDead ? "error" : "ok";
  }

  /** Does something until it is done, or the process dies at it. */
  async does<T>(work: (services: Services) => Promise<T>): Promise<Done<T>> {
    const doing: Promise<Done<T>> = running.run(this, () => work(this.services))
      .then((value) => ({ value }), (error) => ({ error }));
    const done = await Promise.race([doing, this.#died.promise]);
    if (done === "died") this.#left.push(doing);
    return this.isDead ? "died" : done;
  }

  /** Waits for unfinished work, which can no longer reach anything. */
  async rests(): Promise<void> {
    await Promise.all(this.#left);
    await this.services.store.close();
  }

  /** A call to a gateway. */
  async calls(input: Request | URL | string, init?: RequestInit): Promise<Response> {
    const really = async () => {
      const response = await platformFetch(input, init);
      const body = await response.arrayBuffer();
      const { status, headers } = response;
      return new Response(body.byteLength > 0 ? body : null, { status, headers });
    };
    if (this.isDead) throw new TypeError("Injected: the process has died");
    const trouble = this.#nextTrouble()?.call ?? this.#lasting;
    if (this.trouble?.isLasting) this.#lasting = trouble;
    switch (trouble) {
      case undefined:
        break;
      case "die before":
        this.#die();
        throw new TypeError("Injected: the process has died");
      case "die after":
        await really();
        this.#die();
        throw new TypeError("Injected: the process has died");
      case "no connection":
        throw new TypeError("Injected: client error (Connect)");
      case "break":
        throw new TypeError("Injected: the connection broke");
      case "drop":
        await really();
        throw new TypeError("Injected: the connection broke");
      case "slow":
        await really();
        throw new DOMException("Injected: it took too long", "AbortError");
      case "500":
        return new Response("<h1>Out of order</h1>", { status: 500 });
      case "500 after":
        await really();
        return new Response("<h1>Out of order</h1>", { status: 502 });
      case "page":
        await really();
        return new Response("<h1>One moment</h1>", { status: 200 });
      case "refusal": {
        const error = { error_type: "api_error", code: "no", message: "Injected: no" };
        const body = { error, status: "500", success: false, message: "Injected: no" };
        return Response.json(body, { status: 200 });
      }
      default:
        return trouble satisfies never;
    }
    const response = await really();
    // An answer to a call from before its death no longer reaches it.
    if (this.isDead) throw new TypeError("Injected: the process has died");
    return response;
  }

  #commit(): CommitFault {
    if (this.isDead) return "lost-before";
    const trouble = this.#nextTrouble()?.commit;
    if (trouble === "die before") {
      this.#die();
      return "lost-before";
    }
    if (trouble === "die after") {
      this.#die();
      return "lost-after";
    }
    return trouble ?? "ok";
  }

  /** Starts another action. */
  plan(trouble: Trouble | null): void {
    this.trouble = trouble;
    this.steps = 0;
    this.#lasting = undefined;
  }

  #nextTrouble(): Trouble | null {
    this.steps++;
    return this.trouble?.step === this.steps ? this.trouble : null;
  }

  #die(): void {
    this.isDead = true;
    this.#died.resolve("died");
  }
}
