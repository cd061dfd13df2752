/**
 * An order at the simulated Pesapal: what is paid on it, and how the shop is notified.
 *
 * @module
 */
import { type Order, recordOf } from "./pesapal_contract.ts";
import type { PesapalSimulator } from "./pesapal_simulator.ts";

/** What was answered to a notification. */
export interface IpnAnswer {
  status: number;
  text: string;
  /** Whether it is the answer that Pesapal waits for. */
  isAcknowledged: boolean;
}

/** How a payment comes out. */
export interface Outcome {
  /** The amount paid; the amount requested if absent. */
  amount?: number;
  /** The currency paid. */
  currency?: string;
  /** Such as `Visa`; `MPESA` if absent. */
  method?: string;
  /** How often it is notified. */
  ipnTimes?: number;
}

/** Money that really moved; refunds are negative. */
export interface Moved {
  reference: string;
  trackingId: string;
  amount: number;
  currency: string;
}

export interface Registration {
  ipnId: string;
  url: string;
  type: "GET" | "POST";
  createdAt: number;
}

export const IFRAME = "/pesapaliframe/PesapalIframe3/";

/** An order and its state. */
export class SimulatedOrder {
  /** Pesapal's name for it. */
  readonly trackingId: string = crypto.randomUUID();
  /** When it was submitted, milliseconds UTC. */
  readonly createdAt: number;
  /** The status code of the order. */
  code: 0 | 1 | 2 | 3 = 0;
  /** What was paid. */
  paid: { amount: number; currency: string; method: string } | null = null;
  /** The confirmation code of the payment. */
  confirmationCode = "";
  /** Why it failed. */
  reason: string | null = null;
  /** Whether it can no longer be paid. */
  isCancelled = false;
  /** The amount of the requested refund. */
  refundAsked: number | null = null;

  readonly #simulator: PesapalSimulator;
  readonly #registration: Registration;

  constructor(
    simulator: PesapalSimulator,
    /** As it was submitted. */
    readonly request: Order,
    registration: Registration,
  ) {
    this.#simulator = simulator;
    this.#registration = registration;
    this.createdAt = simulator.now;
  }

  /** Where the payer pays. */
  get pageUrl(): string {
    return `${this.#simulator.origin}${IFRAME}Index?OrderTrackingId=${this.trackingId}`;
  }

  /** Where the payer's browser goes when it is done. */
  get returnUrl(): string {
    return this.#named(this.request.callback_url, "CALLBACKURL");
  }

  /** Where the browser goes when the payer cancels. */
  get cancelUrl(): string {
    const { cancellation_url, callback_url } = this.request;
    return this.#named(cancellation_url ?? callback_url, "CALLBACKURL");
  }

  /** Takes the money, and notifies the shop. A second payment is taken as well. */
  async complete(outcome: Outcome = {}): Promise<IpnAnswer[]> {
    if (this.isCancelled) throw new Error("A cancelled order cannot be paid");
    const { amount = this.request.amount, currency = this.request.currency } = outcome;
    this.paid = { amount, currency, method: outcome.method ?? "MPESA" };
    this.confirmationCode = `SIM${this.trackingId.slice(0, 8).toUpperCase()}`;
    this.code = 1;
    this.reason = null;
    this.#move(amount);
    return await this.notify({ times: outcome.ipnTimes });
  }

  /** Takes nothing, and notifies the shop; the payer may try again. */
  async fail(outcome: Pick<Outcome, "ipnTimes"> = {}): Promise<IpnAnswer[]> {
    this.code = 2;
    this.reason = "Request cancelled by user";
    return await this.notify({ times: outcome.ipnTimes });
  }

  /** Returns the money, as after a refund that was granted, and notifies the shop. */
  async reverse(outcome: Pick<Outcome, "ipnTimes"> = {}): Promise<IpnAnswer[]> {
    if (!this.paid || this.code !== 1) throw new Error("Only what is paid can be reversed");
    this.code = 3;
    this.#move(-this.paid.amount);
    return await this.notify({ times: outcome.ipnTimes });
  }

  /** Notifies the shop as often as is usual, or `times` times, one after the other. */
  async notify(
    { times = this.#simulator.behaviour.ipnTimes, kind = "IPNCHANGE" }: {
      times?: number | undefined;
      kind?: "IPNCHANGE" | "RECURRING";
    } = {},
  ): Promise<IpnAnswer[]> {
    const answers: IpnAnswer[] = [];
    for (let i = 0; i < times; i++) answers.push(await this.#notifyOnce(kind));
    return answers;
  }

  async #notifyOnce(kind: string): Promise<IpnAnswer> {
    const { url, type } = this.#registration;
    const values = this.#values(kind);
    const response = type === "GET"
      ? await fetch(this.#named(url, kind), { redirect: "manual" })
      : await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(values),
        redirect: "manual",
      });
    const text = await response.text();
    return { status: response.status, text, isAcknowledged: isAcknowledged(text, values) };
  }

  #values(kind: string) {
    return {
      OrderNotificationType: kind,
      OrderTrackingId: this.trackingId,
      OrderMerchantReference: this.request.id,
    };
  }

  #named(address: string, kind: string): string {
    const url = new URL(address);
    for (const [name, value] of Object.entries(this.#values(kind))) {
      url.searchParams.append(name, value);
    }
    return url.href;
  }

  #move(amount: number): void {
    this.#simulator.money.push({
      reference: this.request.id,
      trackingId: this.trackingId,
      amount,
      currency: this.paid?.currency ?? this.request.currency,
    });
  }
}

/** The answer has what was sent, and 200 as a number. */
function isAcknowledged(text: string, sent: Record<string, string>): boolean {
  let answer: Record<string, unknown>;
  try {
    answer = recordOf(JSON.parse(text));
  } catch {
    return false;
  }
  return answer.orderNotificationType === sent.OrderNotificationType &&
    answer.orderTrackingId === sent.OrderTrackingId &&
    answer.orderMerchantReference === sent.OrderMerchantReference && answer.status === 200;
}
