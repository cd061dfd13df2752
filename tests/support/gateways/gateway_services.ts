/**
 * Services with short timeouts of gateways, for tests of the gateways alone.
 *
 * @module
 */
import { readConfig } from "../../../lib/config/mod.ts";
import type { Gateway, GatewayName, GatewayOptions } from "../../../lib/gateways/mod.ts";
import type { Deadlines } from "../../../lib/kv/deadlines.ts";
import type { KvPort } from "../../../lib/kv/store.ts";
import { openLog } from "../../../lib/telemetry/mod.ts";
import { openServices } from "../../../lib/app/open.ts";
import type { Services } from "../../../lib/app/mod.ts";
import { TEST_START } from "../program/app.ts";
import { PATIENT } from "../store/deadlines.ts";

/** Options of {@linkcode openGatewayServices}. */
export interface GatewayServicesOptions {
  /** Variables of the environment, over those of a test. */
  env: Record<string, string>;
  /** Policy of the calls; {@linkcode IMPATIENT} if absent. */
  policy?: GatewayOptions["policy"];
  /** Stands between the store and the opened KV. */
  wrapKv?: (kv: KvPort) => KvPort;
  /** How long the store may take; {@linkcode PATIENT} when absent. */
  deadlines?: Deadlines;
}

/** Open services. */
export interface GatewayServices extends Disposable {
  readonly services: Services;
  /** Lines of the log so far, JSON. */
  readonly logLines: string[];
  gateway(name: GatewayName): Gateway;
  /** Moves the clock. */
  advance(ms: number): void;
}

/** Waits for no payer: a second for an answer, next to nothing between attempts. */
export const IMPATIENT: NonNullable<GatewayOptions["policy"]> = { timeoutMs: 1_000, backoffMs: 1 };

/** Opens them on a private store, unless `env` says otherwise. */
export async function openGatewayServices(
  { env, policy = IMPATIENT, wrapKv, deadlines = PATIENT }: GatewayServicesOptions,
): Promise<GatewayServices> {
  const config = readConfig({ APP_ENV: "test", KV_PATH: ":memory:", ...env });
  const logLines: string[] = [];
  let offset = 0;
  const services = await openServices(config, {
    log: openLog({ level: "debug", format: "json", write: (line) => logLines.push(line) }),
    clock: () => TEST_START + offset,
    random: Math.random,
    gatewayPolicy: policy,
    ...(wrapKv ? { wrapKv } : {}),
    deadlines,
  });
  return {
    services,
    logLines,
    gateway(name) {
      const gateway = services.gateways.get(name);
      if (!gateway) throw new Error(`There is no ${name}`);
      return gateway;
    },
    advance(ms) {
      offset += ms;
    },
    [Symbol.dispose]() {
      services.store[Symbol.dispose]();
    },
  };
}
