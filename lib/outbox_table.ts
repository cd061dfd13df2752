/**
 * Who is told of what happens, and by which ways.
 *
 * @module
 */
import { alertSender } from "./outbox_alerts.ts";
import type { Senders, Subscriber } from "./outbox_delivery.ts";
import { mailSubscriber, newMailSender } from "./outbox_mail.ts";
import { webhookOutboxSender, webhookSubscriber } from "./webhooks/delivery.ts";

/** Everybody who has to be told of events. */
export const SUBSCRIBERS: readonly Subscriber[] = [mailSubscriber, webhookSubscriber];

/** How each kind of message is sent. */
export const SENDERS: Senders = {
  email: newMailSender(),
  webhook: webhookOutboxSender,
  alert: alertSender,
};
