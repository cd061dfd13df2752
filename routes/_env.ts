/**
 * The variables of a handler's context.
 *
 * @module
 */
import type { Principal } from "../lib/access/mod.ts";
import type { RateGuard } from "../lib/access/rate_limit.ts";

/** Hono's type of an app and its context. */
export interface AppEnv {
  /** The connection, from the server; absent for requests made in process. */
  Bindings: { remoteAddr?: { hostname: string } };
  Variables: {
    /** The id of this request; generated, never taken from the request. */
    requestId: string;
    /** The owner of a valid API key; absent for a visitor. */
    principal?: Principal;
    /** The rate limits that count this request. */
    guards?: readonly RateGuard[];
  };
}
