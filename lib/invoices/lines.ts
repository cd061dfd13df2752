/**
 * Lines of an invoice, their prices and totals.
 *
 * @module
 */
import { invalidField } from "../errors.ts";
import * as keys from "../kv/keys.ts";
import type { Invoice, InvoiceLine, Product } from "../kv/records.ts";
import { add, type Currency, type Money, multiply } from "../money.ts";
import type { StoreServices } from "../kv/store.ts";

/** Lines of an invoice; keeps it well under the size limit of a stored value. */
export const LINES_MAX = 50;

/** A line as an operator enters it: a product, or a text with a price. */
export interface NewLine {
  /** An existing product, on sale or not; absent for a text with a price. */
  productId?: string | undefined;
  /** The product's title when absent. */
  description?: string | undefined;
  /** A whole number from 1 up. */
  quantity: number;
  /** The product's price when absent. */
  unitMinor?: number | undefined;
}

/** A line for a product at its price. @throws {AppError} `invalid_input` beyond the amount limit */
export function productLine(product: Product, quantity: number): InvoiceLine {
  return {
    productId: product.id,
    description: product.title,
    quantity,
    unitMinor: product.price.minor,
    totalMinor: multiply(product.price, quantity, { path: "quantity" }).minor,
  };
}

/** The totals of lines and tax. @throws {AppError} `invalid_input` for zero, or beyond the amount limit */
export function totalled(
  { currency, lines, taxMinor }: Pick<Invoice, "currency" | "lines" | "taxMinor">,
): Pick<
  Invoice,
  "currency" | "lines" | "subtotalMinor" | "taxMinor" | "totalMinor"
> {
  const subtotal = lines.reduce(
    (sum: Money, { totalMinor }) => add(sum, { currency, minor: totalMinor }, { path: "lines" }),
    { currency, minor: 0 },
  );
  const total = add(subtotal, { currency, minor: taxMinor }, { path: "taxMinor" });
  if (total.minor <= 0) {
    throw invalidField("lines", "The total must be more than zero", "not_positive");
  }
  return {
    currency,
    lines,
    subtotalMinor: subtotal.minor,
    taxMinor,
    totalMinor: total.minor,
  };
}

/** The products of lines, read outside of the commit: the price an operator sees is the price written. */
export async function productsOf(
  { store }: Pick<StoreServices, "store">,
  lines: NewLine[],
): Promise<Map<string, Product>> {
  const ids = [...new Set(lines.flatMap(({ productId }) => productId ?? []))];
  const found = await store.getMany(ids.map(keys.product));
  return new Map(
    found.flatMap((product) => product ? [[product.id, product]] : []),
  );
}

/** Lines with their prices. @throws {AppError} `invalid_input` naming the line */
export function linesOf(
  lines: NewLine[],
  products: Map<string, Product>,
  currency: Currency,
): InvoiceLine[] {
  return lines.map(({ productId, description, quantity, unitMinor }, i) => {
    const product = productId === undefined ? null : products.get(productId);
    if (product === undefined) {
      throw invalidField(`lines.${i}.productId`, "No such product", "unknown");
    }
    if (product && product.price.currency !== currency) {
      throw invalidField(
        `lines.${i}.productId`,
        `The product is sold in ${product.price.currency}`,
        "currency_mismatch",
      );
    }
    const text = description ?? product?.title;
    const unit = unitMinor ?? product?.price.minor;
    if (text === undefined || unit === undefined) {
      const path = text === undefined ? "description" : "unitMinor";
      throw invalidField(`lines.${i}.${path}`, "Required on a line without a product", "required");
    }
    return {
      productId: product?.id ?? null,
      description: text,
      quantity,
      unitMinor: unit,
      totalMinor: multiply({ currency, minor: unit }, quantity, {
        path: `lines.${i}.quantity`,
      }).minor,
    };
  });
}
