/**
 * The only composition root: configuration → services → jobs → app → serve → stop.
 *
 * @module
 */
import { registerJobs } from "./cron/mod.ts";
import { isRestoring } from "./lib/backup/mod.ts";
import { type Config, ConfigError, environment, readConfig } from "./lib/config/mod.ts";
import { loadPhones } from "./lib/contact.ts";
import { seedCatalogue } from "./lib/products/demo.ts";
import { HealthMonitor } from "./lib/health/mod.ts";
import { openLog } from "./lib/telemetry/log.ts";
import { openServices } from "./lib/app/open.ts";
import { sleep, systemClock } from "./lib/time.ts";
import { startTracing } from "./lib/telemetry/tracing.ts";
import { createApp } from "./routes/mod.ts";

/** The platform kills five seconds after asking; be gone before. In milliseconds. */
const STOP_MS = 4_000;
/** How long senders have to finish what they began. In milliseconds. */
const DRAIN_MS = 2_500;
/** How long what is being told has to arrive. In milliseconds. */
const FLUSH_MS = 500;

const config = configOrExit();
const log = openLog({
  level: config.logLevel,
  format: config.logFormat,
  color: !Deno.noColor && Deno.stdout.isTerminal(),
});
const services = await openServices(config, { log, clock: systemClock, random: Math.random });
if (await isRestoring(services)) {
  console.error("A restore of this store was not finished: give deno task restore once more");
  Deno.exit(1);
}
const monitor = new HealthMonitor(services);
const stopping = new AbortController();
const jobsEnded = registerJobs(services, monitor, stopping.signal);
await startTracing();
if (config.appEnv === "development") await prepareLaptop(config);

const app = createApp(services, monitor);
const server = serveOrExit(config);
globalThis.addEventListener("unhandledrejection", crash);
for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, stop);
services.errorTracker.start();
services.outbox.start();
await loadPhones(); // now, and not while the first visitor waits

function configOrExit(): Config {
  try {
    return readConfig(environment());
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}

/** What a laptop has not yet: products, and a folder for backups. Elsewhere none is made: it may not be mounted. */
async function prepareLaptop({ storageUrl = "" }: Config): Promise<void> {
  const folder = /^file:(?!\/\/)(.+)/.exec(storageUrl)?.[1];
  if (folder) await Deno.mkdir(folder, { recursive: true });
  await seedCatalogue(services);
}

function serveOrExit(config: Config): Deno.HttpServer {
  const { host: hostname, port } = config;
  const onListen = ({ port }: { port: number }) => announce(config, port);
  try {
    return Deno.serve({ hostname, port, onListen }, app.fetch);
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    console.error(`Cannot listen on ${hostname}:${port}: the port is in use; set PORT to another`);
    Deno.exit(1);
  }
}

function announce({ appEnv, appVersion, publicUrl, bootstrapApiKey }: Config, port: number): void {
  log.info("server.started", { port, appEnv, version: appVersion });
  if (appEnv !== "development") return;
  console.log(`
  WeTech Edge is at ${publicUrl}
    catalogue     ${publicUrl}/api/v2/products
    API reader    ${publicUrl}/docs
    health        ${publicUrl}/health
    mailbox       ${services.mailbox ? `${publicUrl}/dev/mailbox` : "none: MAIL_URL sends"}
    API key       ${bootstrapApiKey} (development only)
`);
}

/** A defect that nothing caught: told like any other, and then the supervisor starts anew. */
async function crash(event: PromiseRejectionEvent): Promise<void> {
  event.preventDefault();
  log.error("server.crashed", { error: event.reason });
  services.errorTracker.report(event.reason);
  await services.errorTracker.flush(FLUSH_MS);
  Deno.exit(1);
}

/** Finishes what is under way, then ends. */
async function stop(): Promise<void> {
  if (monitor.isStopping) return;
  monitor.stop();
  stopping.abort();
  log.info("server.stopping");
  setTimeout(() => Deno.exit(1), STOP_MS);
  // A connection whose sender is silent would be waited for without end.
  const ended = [server.shutdown(), jobsEnded, services.outbox.stop(DRAIN_MS)];
  await Promise.race([Promise.all(ended), sleep(DRAIN_MS)]);
  await Promise.all([services.errorTracker.flush(FLUSH_MS), services.alerts.flush(FLUSH_MS)]);
  await services.store.close();
  log.info("server.stopped");
  Deno.exit(0);
}
