/**
 * A place on the web that takes webhooks, and keeps them.
 *
 * @module
 */

/** How it answers. */
export type WebhookMood =
  | { status: number; headers?: Record<string, string> }
  /** Not until it is closed. */
  | "hang";

/** The receiver, listening. */
export interface WebhookReceiver extends AsyncDisposable {
  readonly url: string;
  /** Bodies of all that came, in order, whatever it answered. */
  // As varied as the formats.
  // deno-lint-ignore no-explicit-any
  readonly received: any[];
  /** How it answers from now on; the first ones of a list are used up. */
  moods: WebhookMood[];
}

/** Starts a receiver on a free port. It accepts everything until a test changes it. */
export function startWebhookReceiver(): WebhookReceiver {
  const { promise: closing, resolve: close } = Promise.withResolvers<void>();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      receiver.received.push(await request.json());
      const { moods } = receiver;
      const mood = moods.length > 1 ? moods.shift()! : moods[0] ?? { status: 200 };
      if (mood === "hang") await closing;
      return mood === "hang" ? new Response() : new Response("ok", mood);
    },
  );
  const receiver: WebhookReceiver = {
    url: `http://127.0.0.1:${server.addr.port}/services/T0/B0/secret`,
    received: [],
    moods: [],
    async [Symbol.asyncDispose]() {
      close();
      await server.shutdown();
    },
  };
  return receiver;
}
