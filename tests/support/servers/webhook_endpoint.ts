/**
 * A program that receives our webhooks: a real HTTP server, over TLS if a test
 * asks for it. Keeps the deliveries as they were received.
 *
 * @module
 */

/** A delivery that was received. */
export interface ReceivedHook {
  /** Path and query. */
  path: string;
  headers: Record<string, string>;
  /** As it was sent. */
  text: string;
  // As varied as the events.
  // deno-lint-ignore no-explicit-any
  body: any;
}

/** A status, or another behaviour of a server. */
export type HookAnswer = number | Response | Promise<number | Response>;

/** The receiver, listening. */
export interface WebhookEndpointServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** All deliveries received, in order, whatever the answer. */
  readonly received: ReceivedHook[];
  /** How it answers; with 200 until a test changes it. */
  answer: (hook: ReceivedHook) => HookAnswer;
  /** Resolves when so many deliveries have been received. */
  got(count: number): Promise<void>;
  /** Answers the hanging requests. */
  release(): void;
  /** An answer that waits for {@linkcode release}. */
  readonly released: Promise<void>;
}

/** Secret, as addresses of webhooks often are. */
export const SECRET_PATH = "/hooks/T0p5ecret?key=8d1f";

/** Starts a receiver on a free port of this machine. */
export function startWebhookEndpoint(
  tls?: { cert: string; key: string },
): WebhookEndpointServer {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  let waiting: { count: number; resolve: () => void }[] = [];
  const closing = new AbortController();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {}, signal: closing.signal, ...tls },
    async (request) => {
      const url = new URL(request.url);
      const text = await request.text();
      const hook: ReceivedHook = {
        path: url.pathname + url.search,
        headers: Object.fromEntries(request.headers),
        text,
        body: text === "" ? null : JSON.parse(text),
      };
      endpoint.received.push(hook);
      waiting = waiting.filter(({ count, resolve }) => {
        if (endpoint.received.length >= count) resolve();
        return endpoint.received.length < count;
      });
      const answer = await endpoint.answer(hook);
      return typeof answer === "number" ? new Response(null, { status: answer }) : answer;
    },
  );
  const { port } = server.addr;
  const endpoint: WebhookEndpointServer = {
    url: `${tls ? "https" : "http"}://127.0.0.1:${port}${SECRET_PATH}`,
    port,
    received: [],
    answer: () => 200,
    got(count) {
      if (endpoint.received.length >= count) return Promise.resolve();
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.push({ count, resolve });
      return promise;
    },
    release,
    released,
    async [Symbol.asyncDispose]() {
      release();
      closing.abort();
      await server.finished;
    },
  };
  return endpoint;
}

/** Whether certificates can be made here. */
export const hasOpenssl: boolean = canRun("openssl");
/** What to add to the name of a test that is ignored without it. */
export const OPENSSL_HINT: string = hasOpenssl ? "" : " (needs: apt-get install -y openssl)";

function canRun(program: string): boolean {
  try {
    return new Deno.Command(program, { args: ["version"], stdout: "null", stderr: "null" })
      .outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A certificate for a name, in PEM, and its authority. */
export async function newCertificate(
  name: string,
): Promise<{ ca: string; cert: string; key: string }> {
  const folder = await Deno.makeTempDir();
  const file = (name: string) => `${folder}/${name}`;
  const openssl = async (...args: string[]) => {
    const { success, stderr } = await new Deno.Command("openssl", { args }).output();
    if (!success) throw new Error(`openssl failed: ${new TextDecoder().decode(stderr)}`);
  };
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  try {
    const names = `subjectAltName=DNS:${name}\nbasicConstraints=CA:FALSE\n`;
    await Deno.writeTextFile(file("names"), names);
    await openssl(
      ...["req", "-x509", ...newKey, "-days", "2", "-subj", "/CN=test authority"],
      ...["-keyout", file("ca.key"), "-out", file("ca.pem")],
    );
    await openssl(
      ...["req", ...newKey, "-subj", `/CN=${name}`],
      ...["-keyout", file("key"), "-out", file("request")],
    );
    await openssl(
      ...["x509", "-req", "-in", file("request"), "-days", "2", "-CAcreateserial"],
      ...["-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-extfile", file("names")],
      ...["-out", file("cert")],
    );
    const [ca = "", cert = "", key = ""] = await Promise.all(
      ["ca.pem", "cert", "key"].map((name) => Deno.readTextFile(file(name))),
    );
    return { ca, cert, key };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
