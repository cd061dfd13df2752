/**
 * A real SMTP server, Debian's aiosmtpd, as a process of its own.
 *
 * @module
 */

/** How the server behaves. */
export interface SmtpServerOptions {
  /** How it speaks TLS; not at all when absent. */
  tls?: "implicit" | "starttls";
  /** Who may send; anyone when absent. */
  user?: string;
  password?: string;
  /** Its answer to each message, such as `550 No`; it accepts all when absent. */
  reply?: string;
}

/** A received message. */
export interface ReceivedMail {
  from: string;
  to: string[];
  /** Headers and body. */
  data: string;
  isTls: boolean;
  isAuthenticated: boolean;
}

/** The server, listening on 127.0.0.1. */
export interface TestSmtpServer extends AsyncDisposable {
  readonly port: number;
  /** The authority that issued its certificate, in PEM; empty without TLS. */
  readonly ca: string;
  /** Stops it. @returns All messages that it accepted */
  stop(): Promise<ReceivedMail[]>;
}

/** Debian's Python, even if another one is first on the PATH. */
const PYTHON = "/usr/bin/python3";
const SCRIPT = new URL("./smtp_server.py", import.meta.url).pathname;

/** Whether the server can be started here. */
export const hasSmtpServer: boolean = canImport();
/** What to add to the name of a test that is ignored without it. */
export const SMTP_HINT: string = hasSmtpServer
  ? ""
  : " (needs: apt-get install -y python3-aiosmtpd openssl)";

function canImport(): boolean {
  try {
    const { success } = new Deno.Command(PYTHON, {
      args: ["-c", "import aiosmtpd"],
      stdout: "null",
      stderr: "null",
    }).outputSync();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Starts a server on a free port. */
export async function startSmtpServer(options: SmtpServerOptions = {}): Promise<TestSmtpServer> {
  const folder = await Deno.makeTempDir();
  const certificate = options.tls ? await newCertificate(folder) : null;
  const child = new Deno.Command(PYTHON, {
    args: [SCRIPT],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const stdin = child.stdin.getWriter();
  const settings = {
    ...options,
    tls: options.tls ?? "none",
    ...(certificate ? { certificate: certificate.chain, key: certificate.key } : {}),
  };
  await stdin.write(new TextEncoder().encode(`${JSON.stringify(settings)}\n`));

  const received: ReceivedMail[] = [];
  const { promise: port, resolve, reject } = Promise.withResolvers<number>();
  const reading = (async () => {
    let text = "";
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const lines = text.split("\n");
      text = lines.pop()!;
      for (const line of lines.map((line) => JSON.parse(line))) {
        if ("port" in line) resolve(line.port);
        else received.push(line);
      }
    }
    reject(new Error("The SMTP server ended before it listened"));
  })();
  let stopping: Promise<ReceivedMail[]> | undefined;
  const stop = async () => {
    await stdin.close();
    await Promise.all([reading, child.status]);
    await Deno.remove(folder, { recursive: true });
    return received;
  };
  return {
    port: await port,
    ca: certificate?.ca ?? "",
    stop: () => stopping ??= stop(),
    async [Symbol.asyncDispose]() {
      await (stopping ??= stop());
    },
  };
}

/** A certificate for `localhost` and its authority: Deno 2.5 accepts no self-signed one. */
async function newCertificate(folder: string) {
  const file = (name: string) => `${folder}/${name}`;
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await Deno.writeTextFile(
    file("names"),
    "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
  );
  await openssl("req", "-x509", ...newKey, "-days", "2", "-subj", "/CN=test authority")(
    ["-keyout", file("ca.key"), "-out", file("ca.pem")],
  );
  await openssl("req", ...newKey, "-subj", "/CN=localhost")(
    ["-keyout", file("key"), "-out", file("request")],
  );
  await openssl("x509", "-req", "-in", file("request"), "-days", "2", "-CAcreateserial")(
    [
      ...["-CA", file("ca.pem"), "-CAkey", file("ca.key")],
      ...["-extfile", file("names"), "-out", file("chain")],
    ],
  );
  return { ca: await Deno.readTextFile(file("ca.pem")), chain: file("chain"), key: file("key") };
}

function openssl(...args: string[]) {
  return async (files: string[]) => {
    const { success, stderr } = await new Deno.Command("openssl", { args: [...args, ...files] })
      .output();
    if (!success) throw new Error(`openssl failed: ${new TextDecoder().decode(stderr)}`);
  };
}
