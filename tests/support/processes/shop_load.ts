/**
 * Everything that a shop does, by HTTP and as fast as it is answered: enquiries,
 * invoices and their fates, changed clients, erased ones, prices. Remembers what
 * was acknowledged, and when.
 *
 * @module
 */

/** A write that was answered with success. */
export interface Acknowledged {
  /** The kind, such as `client`. */
  kind: "product" | "lead" | "client" | "invoice";
  id: string;
  /** After the write; absent where the answer does not say. */
  revision?: number;
  /** By the system's clock, milliseconds. */
  sentAt: number;
  answeredAt: number;
}

/** Where requests go. */
export interface Door {
  url: string;
  /** An API key that may do everything. */
  key: string;
}

/** More clients than a test has of anything else would be known by now. */
let numbered = 0;

/** Sends requests with several senders at once. */
export class ShopLoad {
  /** All that was acknowledged so far. */
  readonly acknowledged: Acknowledged[] = [];
  /** Personal data of erased clients, which must not appear again. */
  readonly erased: { email: string; answeredAt: number }[] = [];
  #isStopping = false;
  #senders: Promise<void>[] = [];
  readonly #products: string[] = [];

  /** Sends to `door`. */
  constructor(readonly door: Door) {}

  /** Starts so many senders, which continue until they are stopped or nobody answers. */
  async start(senders: number): Promise<void> {
    this.#isStopping = false;
    while (this.#products.length < 3) await this.#addProduct();
    this.#senders = Array.from({ length: senders }, () => this.#send());
  }

  /** Lets every sender finish its request. @throws an answer that no sender should receive */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#senders);
  }

  /** Waits for the acknowledgement of so many writes more. */
  async more(count: number): Promise<void> {
    const until = this.acknowledged.length + count;
    while (this.acknowledged.length < until) {
      await Promise.race([new Promise((done) => setTimeout(done, 5)), this.#failed()]);
    }
  }

  /** Fails as soon as a sender does. */
  async #failed(): Promise<void> {
    await Promise.all(this.#senders);
    throw new Error("No sender is left");
  }

  async #send(): Promise<void> {
    for (let i = 0; !this.#isStopping; i++) {
      try {
        await this.#round(i);
      } catch (error) {
        // The connection broke: the server is gone.
        if (error instanceof TypeError) return;
        throw error;
      }
    }
  }

  /** What happens to one visitor. */
  async #round(i: number): Promise<void> {
    const n = numbered++;
    const email = `asha${n}@example.com`;
    const { lead, client, invoice } = await this.#post("lead", "/leads", {
      name: `Asha Mushi ${n}`,
      email,
      phone: `+2557${String(10_000_000 + n)}`,
      message: `Habari ${n}`,
      productId: this.#products[n % this.#products.length],
      quantity: 1 + n % 3,
    });
    switch (i % 6) {
      case 1:
        await this.#patch("lead", `/leads/${lead.id}`, { status: "contacted" });
        await this.#patch("client", `/clients/${client.id}`, { notes: `Called ${n}` });
        break;
      case 2: {
        const draft = await this.#post("invoice", "/invoices", {
          clientId: client.id,
          lines: [{ description: `Training ${n}`, quantity: 2, unitMinor: 5_000_00 }],
          draft: true,
        });
        await this.#post("invoice", `/invoices/${draft.id}/issue`, {});
        break;
      }
      case 3:
        await this.#post("invoice", `/invoices/${invoice.id}/void`, { reason: "A mistake" });
        break;
      case 4: {
        await this.#write("client", "DELETE", `/clients/${client.id}`, undefined);
        this.erased.push({ email, answeredAt: Date.now() });
        break;
      }
      case 5:
        if (n % 5 === 0) await this.#addProduct();
    }
  }

  async #addProduct(): Promise<void> {
    const n = numbered++;
    const { id } = await this.#post("product", "/products", {
      title: `Duka POS ${n}`,
      category: "saas",
      price: { currency: "TZS", minor: 45_000_000 + n },
    });
    this.#products.push(id);
    await this.#patch("product", `/products/${id}`, { title: `Duka POS ${n}, new` });
  }

  #post(kind: Acknowledged["kind"], path: string, body: unknown) {
    return this.#write(kind, "POST", path, body);
  }

  #patch(kind: Acknowledged["kind"], path: string, body: unknown) {
    return this.#write(kind, "PATCH", path, body);
  }

  async #write(kind: Acknowledged["kind"], method: string, path: string, body: unknown) {
    const sentAt = Date.now();
    const { status, answer } = await ask(this.door, method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    const answeredAt = Date.now();
    const { id, revision } = answer.lead ?? answer;
    this.acknowledged.push({ kind, id, revision, sentAt, answeredAt });
    if (answer.lead) {
      for (const other of ["client", "invoice"] as const) {
        this.acknowledged.push({ kind: other, id: answer[other].id, sentAt, answeredAt });
      }
    }
    return answer;
  }
}

/** Makes an API request with the administrator's key. */
export async function ask(
  { url, key }: Door,
  method: string,
  path: string,
  body?: unknown,
  // deno-lint-ignore no-explicit-any
): Promise<{ status: number; answer: any }> {
  const response = await fetch(`${url}/api/v2${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: body === undefined ? null : JSON.stringify(body),
  });
  return { status: response.status, answer: await response.json() };
}
