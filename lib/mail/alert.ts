/**
 * The text of alert mails: the shop's custom template if the store can be read in
 * time, else the default, since the alert may be about the store.
 *
 * @module
 */
import { type AlertNotification, type AlertWords, partsOf } from "../alerts/channels.ts";
import type { Config } from "../config/mod.ts";
import { DEFAULT_MAILS, renderTexts } from "./words.ts";
import type { Store } from "../kv/store.ts";
import { getTemplate } from "./templates.ts";
import { SECOND_MS, withDeadline } from "../time.ts";

/** Limit for reading the template from the store. */
const TEMPLATE_READ_MAX_MS = 2 * SECOND_MS;

/** The text of an alert in the shop's default language. Never throws. */
export async function renderAlertMail(
  { config, store }: { config: Config; store: Store },
  notification: AlertNotification,
  system: string,
): Promise<AlertWords> {
  const { defaultLanguage: language, shopName, shopPhone = "", shopEmail = "" } = config;
  const kind = "operator_alert";
  const isResolved = notification.state === "resolved";
  const parts = partsOf(notification);
  const reading = getTemplate({ store }, { kind, language }).catch(() => null);
  const custom = await withDeadline(reading, TEMPLATE_READ_MAX_MS, () => null);
  const texts = custom ?? DEFAULT_MAILS[language][kind];
  return renderTexts(kind, texts, {
    language,
    variables: {
      ...{ shopName, shopPhone, shopEmail },
      ...parts,
      duration: isResolved ? parts.duration : "",
      isResolved,
      isCritical: notification.severity === "critical",
      system,
    },
  });
}
