/**
 * Spam: a hidden field of the form is filled in, or the form was sent too fast. Such enquiries are
 * dropped and answered like accepted ones, so that their sender learns nothing.
 *
 * @module
 */
import { newEntity } from "../entities/mod.ts";
import { parseContactFields } from "./clients.ts";
import { newId } from "../ids.ts";
import type { AcceptedLead, NewLead } from "./mod.ts";
import type { Caller } from "../entities/caller.ts";
import type { Config } from "../config/mod.ts";
import type { Log } from "../telemetry/mod.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Clock } from "../time.ts";

/** What dropping an enquiry needs. */
export interface SpamServices {
  /** The time. */
  readonly clock: Clock;
  /** The country of telephone numbers without a country code. */
  readonly config: Pick<Config, "defaultRegion">;
  /** Records that an enquiry was dropped. */
  readonly log: Log;
  /** Counts dropped enquiries. */
  readonly metrics: Metrics;
}

/** How a form was filled in; absent for programs. */
export interface FormSigns {
  /** The hidden field. */
  website?: string | undefined;
  /** Milliseconds from showing the form to sending it. */
  elapsedMs?: number | undefined;
}

/** Why an enquiry is spam. */
export type SpamReason = "honeypot" | "haste";

/** Nobody types a name and an address faster. */
const FORM_MS_MIN = 1_500;

/** Why an enquiry is spam; null if it is not. */
export function spamReason({ website = "", elapsedMs }: FormSigns): SpamReason | null {
  if (website !== "") return "honeypot";
  return elapsedMs !== undefined && elapsedMs < FORM_MS_MIN ? "haste" : null;
}

/**
 * Returns what `acceptLead()` would, and stores nothing. Counts and logs the reason alone. No round
 * trip.
 *
 * @throws {AppError} `invalid_input`, as `acceptLead()` does
 */
export async function dropLead(
  { clock, config, log, metrics }: SpamServices,
  input: NewLead,
  { reason, by }: { reason: SpamReason; by: Caller },
): Promise<AcceptedLead> {
  const { name, email = null, phone = null, productId = null, ...more } = input;
  const { currency: _, language, ...said } = more;
  const contact = await parseContactFields({ name, email, phone }, config.defaultRegion);
  const now = clock();
  const clientId = newId(now);
  metrics.spam.add({ reason });
  log.info("lead.dropped", { reason });
  return {
    lead: {
      ...newEntity(newId(now), by, now),
      clientId,
      contact,
      productId,
      ...said,
      status: "new",
      invoiceId: null,
      ...(language === undefined ? {} : { language }),
    },
    client: { id: clientId, ...contact },
    invoice: null,
  };
}
