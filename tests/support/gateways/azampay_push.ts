/**
 * A payment request on a telephone at the simulated AzamPay, and the callbacks about it.
 *
 * @module
 */
import type { CallbackBody, MnoCheckout, SignedCallback } from "./azampay_contract.ts";
import type { AzamPaySimulator } from "./azampay_simulator.ts";

/** What AzamPay has registered. */
export const AZAMPAY_ACCOUNT = Object.freeze({
  appName: "WeTech test shop",
  clientId: "9f2c7a51-3d0e-4a7b-8f16-5b0c2d9e4a37",
  clientSecret: "simulated-client-secret-AZ-7f31c0",
  apiKey: "simulated-callback-token-5d2a90",
});

/** Secrets in its callbacks that must not appear anywhere. */
export const CALLBACK_SECRETS = Object.freeze({
  user: "simulated callback user",
  password: "simulated callback password",
});

/** How a callback is signed. */
export type Signing =
  | "signed"
  | "unsigned"
  /** By a key that was never AzamPay's. */
  | "forged"
  /** By the key before the last rotation. */
  | "old_key"
  /** Only the two fields that the short note in the schema names. */
  | "two_fields";

/** How a callback is made and sent. */
export interface CallbackOptions {
  /** Signed if absent. */
  signing?: Signing;
  /** What differs, before it is signed. */
  body?: Partial<CallbackBody>;
  /** What is altered after it was signed. */
  altered?: Partial<SignedCallback>;
  /** How often it is sent; once if absent, 0 for never. */
  times?: number;
}

/** What was answered to a callback. */
export interface CallbackAnswer {
  status: number;
  text: string;
}

/** Which fields of a callback are the transaction's id; the others are names of their own. */
export type IdField = "reference" | "transid" | "externalreference";

/** A request on a payer's telephone. */
export interface Push extends MnoCheckout {
  readonly transactionId: string;
  /** What the payer did. */
  readonly state: "waiting" | "approved" | "declined";
  /** Takes the money, unless it was taken, and calls back. */
  approve(options?: CallbackOptions): Promise<CallbackAnswer[]>;
  /** Takes nothing, and calls back. */
  decline(options?: CallbackOptions): Promise<CallbackAnswer[]>;
  /** A callback as it would be sent. */
  callback(status: string, options?: CallbackOptions): Promise<SignedCallback>;
}

/** Money that really moved, in whole shillings. */
export interface Paid {
  externalId: string;
  transactionId: string;
  amount: number;
}

const HASTE = { approve: "success", decline: "failure" } as const;

export class SimulatedPush implements Push {
  readonly transactionId = crypto.randomUUID().replaceAll("-", "");
  readonly accountNumber: string;
  readonly amount: number;
  readonly currency: string;
  readonly externalId: string;
  readonly provider: string;
  readonly additionalProperties: unknown;
  state: Push["state"] = "waiting";
  readonly #simulator: AzamPaySimulator;
  /** For the fields that are not the transaction's id: made up, but always the same. */
  readonly #names: Record<IdField, string> = {
    reference: `AZM${crypto.randomUUID().replaceAll("-", "").slice(0, 16)}`,
    transid: String(crypto.getRandomValues(new Uint32Array(1))[0]! + 10_000_000_000),
    externalreference: crypto.randomUUID().replaceAll("-", "").slice(0, 20),
  };

  constructor(simulator: AzamPaySimulator, checkout: MnoCheckout) {
    this.#simulator = simulator;
    this.accountNumber = checkout.accountNumber;
    this.amount = checkout.amount;
    this.currency = checkout.currency;
    this.externalId = checkout.externalId;
    this.provider = checkout.provider;
    this.additionalProperties = checkout.additionalProperties;
  }

  async approve(options?: CallbackOptions): Promise<CallbackAnswer[]> {
    if (this.state !== "approved") {
      const { externalId, transactionId, amount } = this;
      this.#simulator.paid.push({ externalId, transactionId, amount });
      this.state = "approved";
    }
    return await this.#callBack(HASTE.approve, options);
  }

  async decline(options?: CallbackOptions): Promise<CallbackAnswer[]> {
    if (this.state === "waiting") this.state = "declined";
    return await this.#callBack(HASTE.decline, options);
  }

  async callback(
    status: string,
    { signing, body: changes = {}, altered = {} }: CallbackOptions = {},
  ): Promise<SignedCallback> {
    const { idFields } = this.#simulator.behaviour;
    const id = (field: IdField) =>
      idFields.includes(field) ? this.transactionId : this.#names[field];
    const body: CallbackBody = {
      message: status === "success" ? "Transaction completed" : "Transaction failed",
      ...CALLBACK_SECRETS,
      clientId: AZAMPAY_ACCOUNT.clientId,
      transactionstatus: status,
      operator: this.provider,
      reference: id("reference"),
      externalreference: id("externalreference"),
      utilityref: this.externalId,
      amount: String(this.amount),
      transid: id("transid"),
      msisdn: this.accountNumber,
      mnoreference: `MNO${this.transactionId.slice(0, 9).toUpperCase()}`,
      submerchantAcc: null,
      additionalProperties: this.additionalProperties,
      ...changes,
    };
    const signature = await this.#simulator.sign(body, signing);
    return { ...body, signature, ...altered };
  }

  async #callBack(status: string, options: CallbackOptions = {}): Promise<CallbackAnswer[]> {
    const body = await this.callback(status, options);
    const answers: CallbackAnswer[] = [];
    for (let i = 0; i < (options.times ?? 1); i++) {
      answers.push(...await this.#simulator.send(body));
    }
    return answers;
  }
}
