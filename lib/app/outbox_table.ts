/**
 * Who is told of what happens, and by which ways.
 *
 * @module
 */
import { alertSender } from "../alerts/delivery.ts";
import type { Senders, Subscriber } from "../outbox/ports.ts";
import { mailSubscriber, newMailSender } from "../mail/delivery.ts";
import { webhookOutboxSender, webhookSubscriber } from "../webhooks/delivery.ts";

/** Everybody who has to be told of events. */
export const SUBSCRIBERS: readonly Subscriber[] = [mailSubscriber, webhookSubscriber];

/** How each kind of message is sent. */
export const SENDERS: Senders = {
  email: newMailSender(),
  webhook: webhookOutboxSender,
  alert: alertSender,
};
