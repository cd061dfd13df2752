/**
 * The server: reads the configuration, opens the services, registers the jobs, serves
 * HTTP, and shuts down on SIGINT or SIGTERM.
 *
 * @module
 */
import { registerJobs } from "./cron/mod.ts";
import { isRestoring } from "./lib/backup/restore.ts";
import { type Config, ConfigError, environment, readConfig } from "./lib/config/mod.ts";
import { loadPhones } from "./lib/contact.ts";
import { seedCatalogue } from "./lib/products/demo.ts";
import { HealthMonitor } from "./lib/health/mod.ts";
import { openLog } from "./lib/telemetry/mod.ts";
import { openServices } from "./lib/app/open.ts";
import { sleep, systemClock } from "./lib/time.ts";
import { startTracing } from "./lib/telemetry/tracing.ts";
import { startApp } from "./routes/start.ts";

/** Upper bound of a shutdown: platforms kill five seconds after the signal. In milliseconds. */
const STOP_MS = 4_000;
/** Time for requests, jobs and deliveries in progress to finish. In milliseconds. */
const DRAIN_MS = 2_500;
/** Time to deliver pending error reports and alerts. In milliseconds. */
const FLUSH_MS = 500;

const config = configOrExit();
const log = openLog({
  level: config.logLevel,
  format: config.logFormat,
  color: !Deno.noColor && Deno.stdout.isTerminal(),
});
const services = await openServices(config, { log, clock: systemClock, random: Math.random });
if (await isRestoring(services)) {
  console.error(
    "A restore of this store has not finished. Run the same deno task restore command again",
  );
  Deno.exit(1);
}
const monitor = new HealthMonitor(services);
const stopping = new AbortController();
const jobsEnded = registerJobs(services, monitor, stopping.signal);
await startTracing();
if (config.appEnv === "development") await prepareLaptop(config);

const app = startApp(services, monitor);
const server = serveOrExit(config);
globalThis.addEventListener("unhandledrejection", crash);
for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, stop);
services.errorTracker.start();
services.outbox.start();
// Now, so that the first visitor does not wait.
await app.loaded;
await loadPhones();

function configOrExit(): Config {
  try {
    return readConfig(environment());
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}

/** For development: creates demo products and the backup folder. Elsewhere a missing folder may be an unmounted one. */
async function prepareLaptop({ storageUrl = "" }: Config): Promise<void> {
  const folder = /^file:(?!\/\/)(.+)/.exec(storageUrl)?.[1];
  if (folder) await Deno.mkdir(folder, { recursive: true });
  await seedCatalogue(services);
}

function serveOrExit(config: Config): Deno.HttpServer {
  const { host: hostname, port } = config;
  const onListen = ({ port }: { port: number }) => announce(config, port);
  try {
    return Deno.serve({ hostname, port, onListen }, (request, info) => app.fetch(request, info));
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
  WeTech Edge runs at ${publicUrl}
    catalogue     ${publicUrl}/api/v2/products
    API reader    ${publicUrl}/docs
    health        ${publicUrl}/health
    mailbox       ${services.mailbox ? `${publicUrl}/dev/mailbox` : "none: MAIL_URL sends mail"}
    API key       ${bootstrapApiKey} (development only)
`);
}

/** Reports an uncaught error as any other, then exits: the supervisor restarts the process. */
async function crash(event: PromiseRejectionEvent): Promise<void> {
  event.preventDefault();
  log.error("server.crashed", { error: event.reason });
  services.errorTracker.report(event.reason);
  await services.errorTracker.flush(FLUSH_MS);
  Deno.exit(1);
}

/** Finishes what is in progress, then exits. */
async function stop(): Promise<void> {
  if (monitor.isStopping) return;
  monitor.stop();
  stopping.abort();
  log.info("server.stopping");
  setTimeout(() => Deno.exit(1), STOP_MS);
  // An idle connection would otherwise delay the shutdown without bound.
  const ended = [server.shutdown(), jobsEnded, services.outbox.stop(DRAIN_MS)];
  await Promise.race([Promise.all(ended), sleep(DRAIN_MS)]);
  await Promise.all([services.errorTracker.flush(FLUSH_MS), services.alerts.flush(FLUSH_MS)]);
  await services.store.close();
  log.info("server.stopped");
  Deno.exit(0);
}
