/**
 * The timetable: everything that happens by itself, and when (UTC).
 *
 * @module
 */
import type { Services } from "../lib/services.ts";

/** Registers the jobs; to be called at module top level, before serving. */
export function registerJobs(_services: Services): void {
}
