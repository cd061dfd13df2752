/**
 * Mail in response to events: recipients, delivery policy and sending. The content
 * is rendered at the moment of sending, from what is stored then.
 *
 * @module
 */
import { HOUR_MS, MINUTE_MS, SECOND_MS } from "../time.ts";
import * as keys from "../kv/keys.ts";
import type { RefusalScope, SendResult } from "../mailer/mod.ts";
import type {
  AttemptResult,
  DeliveryPolicy,
  NewMessage,
  OutboxEvent,
  Sender,
  Subscriber,
} from "../outbox/ports.ts";
import { renderMail } from "./content.ts";
import type { MailServices } from "./needs.ts";

/** Retries for about a day: between 12 and 23 hours, depending on jitter. */
export const MAIL_POLICY: DeliveryPolicy = {
  timeoutMs: 20 * SECOND_MS,
  // Mail servers limit concurrent connections.
  atOnce: 5,
  backoffMs: [
    ...[MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, 40 * MINUTE_MS],
    ...[2 * HOUR_MS, 4 * HOUR_MS, 8 * HOUR_MS, 8 * HOUR_MS],
  ],
  deadLetterAfterMs: 24 * HOUR_MS,
};

/** Requests the mails that follow from an event; none when no mail server is configured. */
export function newMailSubscriber(services: MailServices): Subscriber {
  const { mailer, config: { mailFrom, shopEmail } } = services;
  return { name: "mail", messagesOf };

  async function messagesOf(event: OutboxEvent): Promise<NewMessage[]> {
    if (mailer === null || mailFrom === undefined) return [];
    const toShop = shopEmail === undefined ? [] : [mailTo("shop", event)];
    switch (event.type) {
      case "lead.created":
        return [...event.data.hasEmail ? [mailTo("client", event)] : [], ...toShop];
      case "invoice.sent":
        return [mailTo("client", event)];
      case "invoice.reminder":
      case "payment.refunded":
        return await hasBuyerAddress(services, event) ? [mailTo("client", event)] : [];
      case "payment.completed":
        return [
          ...await hasBuyerAddress(services, event) ? [mailTo("client", event)] : [],
          ...toShop,
        ];
      default:
        return [];
    }
  }
}

function mailTo(to: "client" | "shop", { type }: OutboxEvent): NewMessage {
  return { kind: "email", type, to, lane: "" };
}

async function hasBuyerAddress(
  { store }: MailServices,
  { subject }: OutboxEvent,
): Promise<boolean> {
  const { invoiceId } = subject;
  const invoice = invoiceId === undefined ? null : await store.get(keys.invoice(invoiceId));
  return invoice?.billTo.email !== null && invoice !== null;
}

/** Sends mail through the configured server. */
export function newMailSender(
  services: MailServices,
  policy: DeliveryPolicy = MAIL_POLICY,
): Sender {
  // The connection must end before the attempt times out.
  const timeoutMs = policy.timeoutMs * 0.9;
  return {
    policy,
    async send(message) {
      const { mailer, config: { mailFrom } } = services;
      if (mailer === null || mailFrom === undefined) {
        return { state: "failed", reason: "mail is not configured", isLaneDown: true };
      }
      const result = await renderMail(services, message);
      if ("skipped" in result) return { state: "skipped", reason: result.skipped };
      const mail = { id: message.id, from: mailFrom, ...result.mail };
      return sentOf(await mailer.send(mail, timeoutMs));
    },
  };
}

/** What was refused, as a prefix of the reason that operators see. */
const REFUSED: Readonly<Record<RefusalScope, string>> = {
  recipient: "recipient refused: ",
  mail: "mail refused: ",
  all: "",
};

function sentOf(result: SendResult): AttemptResult {
  if (result.isSent) return { state: "sent" };
  const { isFinal, scope, retryAfterMs } = result;
  const reason = REFUSED[scope] + result.reason;
  if (isFinal) return { state: "refused", reason };
  return {
    ...{ state: "failed", reason, isLaneDown: scope === "all" },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}
