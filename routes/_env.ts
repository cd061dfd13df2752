/**
 * What every handler finds on its context.
 *
 * @module
 */
import type { Principal } from "../lib/access/mod.ts";
import type { RateGuard } from "../lib/access/rate_limit.ts";

/** Hono's type of an app and its context. */
export interface AppEnv {
  /** What the server tells about the connection; absent when there is none. */
  Bindings: { remoteAddr?: { hostname: string } };
  Variables: {
    /** Names this exchange; made here, never taken from the request. */
    requestId: string;
    /** Who presented a valid API key; absent for a visitor. */
    principal?: Principal;
    /** The limits that count this request. */
    guards?: readonly RateGuard[];
  };
}
