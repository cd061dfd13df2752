/**
 * A demo catalogue for development.
 *
 * @module
 */
import type { Caller } from "../entities/caller.ts";
import { createProduct, listProducts, type NewProduct } from "./mod.ts";
import type { ProductServices } from "./mod.ts";

const shillings = (whole: number): NewProduct["price"] => ({ currency: "TZS", minor: whole * 100 });

const CATALOGUE: readonly NewProduct[] = [
  {
    slug: "duka-pos",
    title: "Duka POS",
    category: "saas",
    price: shillings(450_000),
    oldPrice: shillings(600_000),
    description:
      "<p>Point of sale for a shop: stock, receipts and <strong>daily reports</strong>.</p>",
    features: ["Works offline", "Receipts by SMS", "Several shops"],
    demoUrl: null,
    active: true,
  },
  {
    slug: "company-website",
    title: "Company website",
    category: "web",
    price: shillings(1_200_000),
    oldPrice: null,
    description: "<p>Five pages in English and Swahili, hosting for a year included.</p>",
    features: ["Domain and e-mail", "Contact form", "Search engine basics"],
    demoUrl: null,
    active: true,
  },
  {
    slug: "delivery-app",
    title: "Delivery app",
    category: "mobile",
    price: shillings(3_500_000),
    oldPrice: null,
    description: "<p>Orders, riders and <em>live tracking</em> for Android.</p>",
    features: ["Rider app", "Customer app", "Dispatch console"],
    demoUrl: null,
    active: true,
  },
  {
    slug: "support-day",
    title: "Support, one day",
    category: "service",
    price: shillings(150_000),
    oldPrice: null,
    description: "<p>A day of an engineer, at your office or from ours.</p>",
    features: ["Within three working days"],
    demoUrl: null,
    active: true,
  },
];

/** Adds the demo products to an empty catalogue; leaves any other unchanged. */
export async function seedCatalogue(services: ProductServices): Promise<void> {
  const all = { status: "all", category: null } as const;
  const { data } = await listProducts(services, all, { limit: 1, cursor: null });
  if (data.length > 0) return;
  for (const product of CATALOGUE) {
    // Two processes that start at once use the same keys, so each product is added once.
    const by: Caller = {
      actor: "cli",
      requestId: "demo",
      idempotencyKey: `demo-${product.slug}`,
    };
    await createProduct(services, product, by);
  }
}
