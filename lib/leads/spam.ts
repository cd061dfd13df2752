/**
 * Enquiries that no person sent: a field that people do not see is filled in, or
 * the form was open for no time. They are dropped, and answered as if they were
 * not, so that their sender learns nothing.
 *
 * @module
 */
import { newEntity } from "../entities/audit.ts";
import { parseContactFields } from "./clients.ts";
import { newId } from "../ids.ts";
import type { AcceptedLead, NewLead } from "./mod.ts";
import type { Caller } from "../entities/caller.ts";
import type { Config } from "../config/mod.ts";
import type { Log } from "../telemetry/log.ts";
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

/** What a form tells about how it was filled in; programs tell nothing. */
export interface FormSigns {
  /** The field that people do not see. */
  website?: string | undefined;
  /** Milliseconds from showing the form to sending it. */
  elapsedMs?: number | undefined;
}

/** What gave an enquiry away. */
export type SpamReason = "honeypot" | "haste";

/** Nobody types a name and an address in less. */
const FORM_MS_MIN = 1_500;

/** Why an enquiry is taken for spam; null if it is not. */
export function spamReason({ website = "", elapsedMs }: FormSigns): SpamReason | null {
  if (website !== "") return "honeypot";
  return elapsedMs !== undefined && elapsedMs < FORM_MS_MIN ? "haste" : null;
}

/**
 * Makes what `acceptLead()` would, and stores nothing: counted, and logged
 * without a word of it. Asks nothing of the store.
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
