/**
 * A real S3 server for tests: Ceph's gateway (`radosgw`) over one monitor and one
 * object store daemon that keeps everything in memory, on loopback, in a folder
 * of its own. Faults are signals to the gateway.
 *
 * The daemons are no children of this process, so that a test may kill and start
 * the gateway without owing the test runner an open resource. A watchdog ends
 * them, and removes the folder, when this process has ended, in whatever way.
 *
 * @module
 */
import { AwsV4Signer } from "aws4fetch";
import { sleep } from "../../../lib/time.ts";

/** How to get what {@linkcode startS3Server} needs, on Debian. */
export const S3_SERVER_INSTALL =
  "apt-get install --no-install-recommends ceph-mon ceph-osd radosgw";

/** A running server with an empty bucket and two users, one of whom owns it. */
export interface S3Server extends AsyncDisposable {
  /** Such as `http://127.0.0.1:20123`. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  /** A user who may do nothing with the bucket; same secret. */
  readonly otherAccessKeyId: string;
  readonly secretAccessKey: string;
  /** Halts the gateway: connections are accepted and nothing is answered. */
  pause(): void;
  /** Ends {@linkcode S3Server.pause}. */
  resume(): void;
  /** Ends the gateway at once; its objects stay. */
  kill(): Promise<void>;
  /** Starts the gateway again, on the same port, and waits until it answers. */
  restart(): Promise<void>;
}

const PROGRAMS = ["ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw-admin"];
const REGION = "us-east-1";
const BUCKET = "backups";
const OWNER = "OWNEROFTHEBUCKET0000";
const OTHER = "SOMEBODYELSE00000000";
/** Several times what a start takes on a busy machine. */
const READY_MS = 60_000;

/** Whether the programs are installed. */
export function hasS3Server(): boolean {
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  return [...PROGRAMS, "radosgw"].every((program) =>
    folders.some((folder) => statOf(`${folder}/${program}`)?.isFile)
  );
}

/** Starts a server with nothing in it; takes about two seconds. */
export async function startS3Server(): Promise<S3Server> {
  const daemons = await Daemons.open();
  const [monitor, gateway] = [freePort(), freePort()];
  const endpoint = `http://127.0.0.1:${gateway}`;
  const secretAccessKey = crypto.randomUUID().replaceAll("-", "");
  const answers = () => hasMadeBucket(`${endpoint}/${BUCKET}`, secretAccessKey);
  try {
    await makeCluster(daemons, { monitor, gateway });
    await daemons.start("gateway", "radosgw", "-f", "-n", "client.gateway");
    for (const user of [OWNER, OTHER]) {
      const keys = [`--access-key=${user}`, `--secret=${secretAccessKey}`];
      await daemons.run(
        "radosgw-admin",
        "user",
        "create",
        `--uid=${user}`,
        "--display-name=x",
        ...keys,
      );
    }
    await until(answers, `${endpoint} to answer`);
  } catch (error) {
    await daemons.end();
    throw error;
  }
  return {
    endpoint,
    region: REGION,
    bucket: BUCKET,
    accessKeyId: OWNER,
    otherAccessKeyId: OTHER,
    secretAccessKey,
    pause: () => daemons.signal("gateway", "SIGSTOP"),
    resume: () => daemons.signal("gateway", "SIGCONT"),
    kill: () => daemons.kill("gateway"),
    async restart() {
      await daemons.start("gateway", "radosgw", "-f", "-n", "client.gateway");
      await until(answers, `${endpoint} to answer again`);
    },
    [Symbol.asyncDispose]: () => daemons.end(),
  };
}

/** Detached programs, each identified by a file with its process id. */
class Daemons {
  private constructor(readonly folder: string) {}

  /** In a new folder. */
  static async open(): Promise<Daemons> {
    const daemons = new Daemons(await Deno.makeTempDir({ prefix: "s3-server-" }));
    const watch = `while kill -0 ${Deno.pid} && [ -d "$0" ]; do sleep 1; done
      cat "$0"/*.pid | xargs kill -KILL; rm -rf "$0"`;
    const detached = `setsid sh -c '${watch}' "$0" </dev/null >/dev/null 2>&1 &`;
    await daemons.#shell(detached, daemons.folder);
    return daemons;
  }

  async start(name: string, ...command: string[]): Promise<void> {
    await this.#shell(
      `setsid "$@" </dev/null >>"$0.log" 2>&1 & echo $! >"$0.pid"`,
      `${this.folder}/${name}`,
      ...command,
    );
  }

  signal(name: string, signal: Deno.Signal): void {
    Deno.kill(this.#pid(name), signal);
  }

  async kill(name: string): Promise<void> {
    const pid = this.#pid(name);
    if (!await isRunning(pid)) return;
    Deno.kill(pid, "SIGKILL");
    await until(async () => !await isRunning(pid), `${name} to end`);
  }

  async end(): Promise<void> {
    for await (const { name } of Deno.readDir(this.folder)) {
      if (name.endsWith(".pid")) await this.kill(name.slice(0, -".pid".length));
    }
    await Deno.remove(this.folder, { recursive: true });
  }

  /** Runs a program to its end. @throws what it wrote, if it fails. */
  async run(program: string, ...args: string[]): Promise<void> {
    const { success, stderr } = await new Deno.Command("timeout", {
      args: [String(READY_MS / 1_000), program, ...args],
      env: { CEPH_CONF: `${this.folder}/ceph.conf` },
      stdin: "null",
      stdout: "null",
    }).output();
    if (!success) throw new Error(`${program}: ${new TextDecoder().decode(stderr)}`);
  }

  #pid(name: string): number {
    return Number(Deno.readTextFileSync(`${this.folder}/${name}.pid`));
  }

  async #shell(script: string, ...args: string[]): Promise<void> {
    await this.run("sh", "-c", script, ...args);
  }
}

/** A monitor without authentication, and an object store in memory: nothing outlives the test. */
async function makeCluster(
  daemons: Daemons,
  ports: { monitor: number; gateway: number },
): Promise<void> {
  const { folder } = daemons;
  const [cluster, store] = [crypto.randomUUID(), crypto.randomUUID()];
  await Deno.writeTextFile(`${folder}/ceph.conf`, configuration(folder, cluster, ports));
  await Deno.mkdir(`${folder}/mon`);
  await Deno.mkdir(`${folder}/osd`);
  const keyring = `${folder}/keyring`;
  await daemons.run("ceph-authtool", "--create-keyring", keyring);
  const users: [name: string, ...caps: string[]][] = [
    ["mon.", "mon=allow *"],
    ["client.admin", "mon=allow *", "osd=allow *"],
    ["osd.0", "mon=allow profile osd", "osd=allow *"],
    ["client.gateway", "mon=allow rwx", "osd=allow rwx"],
  ];
  for (const [name, ...caps] of users) {
    const flags = caps.flatMap((cap) => ["--cap", ...cap.split("=")]);
    await daemons.run("ceph-authtool", keyring, "--gen-key", "-n", name, ...flags);
  }
  const map = `${folder}/monmap`;
  const address = `[v2:127.0.0.1:${ports.monitor}]`;
  await daemons.run("monmaptool", "--create", "--fsid", cluster, "--addv", "a", address, map);
  await daemons.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", map, "--keyring", keyring);
  await daemons.start("monitor", "ceph-mon", "-f", "-i", "a");
  await daemons.run("ceph", "osd", "new", store, "0");
  await daemons.run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", store);
  await daemons.start("store", "ceph-osd", "-f", "-i", "0");
}

function configuration(
  folder: string,
  cluster: string,
  { monitor, gateway }: { monitor: number; gateway: number },
): string {
  return `[global]
fsid = ${cluster}
mon host = v2:127.0.0.1:${monitor}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = ${folder}/keyring
run dir = ${folder}
crash dir = ${folder}
admin socket =
log file = ${folder}/$type.log
mon cluster log file = ${folder}/cluster.log
mon data = ${folder}/mon
osd data = ${folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 0
mon data avail crit = 0
# A monitor that waits for others to vote takes ten seconds more to begin.
paxos propose interval = 0.02
paxos min wait = 0.01

[client.gateway]
rgw frontends = beast endpoint=127.0.0.1:${gateway} tcp_nodelay=1
rgw thread pool size = 64
# For the tests of names: bucket.s3.test is the bucket's own host.
rgw dns name = s3.test
`;
}

/** A port below those of outgoing connections, so that it stays free until a server uses it. */
function freePort(): number {
  for (;;) {
    const [random = 0] = crypto.getRandomValues(new Uint16Array(1));
    const port = 20_000 + random % 12_000;
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

/** Creates the bucket. @returns Whether the gateway answers and the bucket exists */
async function hasMadeBucket(url: string, secretAccessKey: string): Promise<boolean> {
  const signer = { accessKeyId: OWNER, secretAccessKey, service: "s3", region: REGION };
  const signed = await new AwsV4Signer({ ...signer, method: "PUT", url }).sign();
  try {
    const response = await fetch(signed.url, { method: "PUT", headers: signed.headers });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false; // it does not listen yet
  }
}

async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + READY_MS;
  while (!await isSo()) {
    if (performance.now() > deadline) throw new Error(`Waited ${READY_MS} ms for ${what}`);
    await sleep(50);
  }
}

/** Whether a process runs. An ended one may stay listed as a zombie. */
async function isRunning(pid: number): Promise<boolean> {
  // Deno itself reads that file only if it may read everything.
  const args = ["-q", "^State:[[:space:]]*[A-WYa-z]", `/proc/${pid}/status`];
  const found = await new Deno.Command("grep", { args, stdout: "null", stderr: "null" }).output();
  return found.success;
}

function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw error;
  }
}
