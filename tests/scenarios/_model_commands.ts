/** Commands that the model test runs, and arbitraries of them. */
import fc from "fast-check";
import type { LeadStatus } from "../../lib/kv/records.ts";

/** A command of a user. Numbers select one of the existing entities, null selects none. */
export type Command =
  | {
    does: "accept";
    person: number;
    way: "email" | "phone" | "both";
    product: number | null;
    quantity: number;
    key: number | null;
  }
  | { does: "move"; lead: number; status: LeadStatus; key: number | null }
  | {
    does: "write";
    client: number;
    product: number | null;
    isDraft: boolean;
    key: number | null;
  }
  | { does: "edit"; invoice: number; taxMinor: number }
  | { does: "issue"; invoice: number; key: number | null }
  | { does: "void"; invoice: number; key: number | null }
  | { does: "update"; client: number; person: number; way: "email" | "phone" }
  | { does: "erase"; client: number }
  | { does: "stock"; slug: number }
  | { does: "reprice"; product: number; minor: number }
  | { does: "rename"; product: number; slug: number }
  | { does: "toggle"; product: number; active: boolean };

/** Commands in flight together, after some days have passed. */
export interface Moment {
  days: number;
  commands: Command[];
}

const pick = fc.nat({ max: 40 });
/** Few people, so that they meet; few keys, so that they come again. */
export const person = fc.nat({ max: 4 });
const key = fc.option(fc.nat({ max: 3 }), { freq: 2 });
export const product = fc.option(fc.nat({ max: 5 }), { freq: 2 });
export const slug = fc.nat({ max: 4 });

export const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      does: fc.constant("accept" as const),
      person,
      way: fc.constantFrom("email" as const, "phone" as const, "both" as const),
      product,
      quantity: fc.integer({ min: 1, max: 2 }),
      key,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant("move" as const),
      lead: pick,
      status: fc.constantFrom<LeadStatus>("new", "contacted", "qualified", "won", "lost"),
      key,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant("write" as const),
      client: pick,
      product,
      isDraft: fc.boolean(),
      key,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("edit" as const),
      invoice: pick,
      taxMinor: fc.nat({ max: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ does: fc.constant("issue" as const), invoice: pick, key }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ does: fc.constant("void" as const), invoice: pick, key }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("update" as const),
      client: pick,
      person,
      way: fc.constantFrom("email" as const, "phone" as const),
    }),
  },
  fc.record({ does: fc.constant("erase" as const), client: pick }),
  fc.record({ does: fc.constant("stock" as const), slug }),
  fc.record({
    does: fc.constant("reprice" as const),
    product: pick,
    minor: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ does: fc.constant("rename" as const), product: pick, slug }),
  fc.record({ does: fc.constant("toggle" as const), product: pick, active: fc.boolean() }),
);

export function moments({ least, most }: { least: number; most: number }): fc.Arbitrary<Moment[]> {
  return fc.array(
    fc.record({
      days: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 90 })),
      commands: fc.array(command, { minLength: 2, maxLength: 10, size: "max" }),
    }),
    { minLength: least, maxLength: most, size: "max" },
  );
}
