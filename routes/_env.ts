/**
 * What every handler finds on its context.
 *
 * @module
 */
import type { Principal } from "../lib/api_keys.ts";

/** Hono's type of an app and its context. */
export interface AppEnv {
  Variables: {
    /** Names this exchange; made here, never taken from the request. */
    requestId: string;
    /** Who presented a valid API key; absent for a visitor. */
    principal?: Principal;
  };
}
