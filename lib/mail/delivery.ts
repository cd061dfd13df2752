/**
 * Mail about what happened: who gets which, and how it is sent. What it says is
 * made at that moment, from what is stored then.
 *
 * @module
 */
import { HOUR_MS, MINUTE_MS, SECOND_MS } from "../time.ts";
import * as keys from "../kv/keys.ts";
import type { RefusalScope, SendResult } from "../mailer/mod.ts";
import type {
  DeliveryPolicy,
  NewMessage,
  OutboxEvent,
  Sender,
  Sent,
  Subscriber,
} from "../outbox/ports.ts";
import { makeMail } from "./content.ts";
import type { Services } from "../app/open.ts";

/** Tried for about a day: 23 hours at the most, 12 at the least. */
export const MAIL_POLICY: DeliveryPolicy = {
  timeoutMs: 20 * SECOND_MS,
  // A server that takes mail wants few connections.
  atOnce: 5,
  backoffMs: [
    ...[MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, 40 * MINUTE_MS],
    ...[2 * HOUR_MS, 4 * HOUR_MS, 8 * HOUR_MS, 8 * HOUR_MS],
  ],
  giveUpMs: 24 * HOUR_MS,
};

/** Asks for the mails that follow from an event; without a mail server, for none. */
export const mailSubscriber: Subscriber = {
  name: "mail",
  async messagesOf(services, event) {
    const { mailer, config: { mailFrom, shopEmail } } = services;
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
  },
};

function mailTo(to: "client" | "shop", { type }: OutboxEvent): NewMessage {
  return { kind: "email", type, to, lane: "" };
}

async function hasBuyerAddress({ store }: Services, { subject }: OutboxEvent): Promise<boolean> {
  const { invoiceId } = subject;
  const invoice = invoiceId === undefined ? null : await store.get(keys.invoice(invoiceId));
  return invoice?.billTo.email !== null && invoice !== null;
}

/** Sends mail through the server that is configured. */
export function newMailSender(policy: DeliveryPolicy = MAIL_POLICY): Sender {
  // The connection has to end before the attempt's time does.
  const timeoutMs = policy.timeoutMs * 0.9;
  return {
    policy,
    async send(services, message) {
      const { mailer, config: { mailFrom } } = services;
      if (mailer === null || mailFrom === undefined) {
        return { state: "failed", reason: "mail is not configured", isLaneDown: true };
      }
      const made = await makeMail(services, message);
      if ("moot" in made) return { state: "moot", reason: made.moot };
      const mail = { id: message.id, from: mailFrom, ...made.mail };
      return sentOf(await mailer.send(mail, timeoutMs));
    },
  };
}

/** Whose the refusal is, for who reads of it. */
const REFUSED: Readonly<Record<RefusalScope, string>> = {
  recipient: "recipient refused: ",
  mail: "mail refused: ",
  all: "",
};

function sentOf(result: SendResult): Sent {
  if (result.isSent) return { state: "sent" };
  const { isFinal, scope, retryAfterMs } = result;
  const reason = REFUSED[scope] + result.reason;
  if (isFinal) return { state: "refused", reason };
  return {
    ...{ state: "failed", reason, isLaneDown: scope === "all" },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}
