/**
 * Products on sale, read far more often than changed.
 *
 * Visitors' reads are cached for up to four minutes here and for one more in browsers, so a change is
 * visible everywhere within five; the instance that makes a change empties its cache at once. A sale
 * never relies on the cache: a lead reads the product in its own transaction.
 *
 * @module
 */
import { expectRevision, newEntity, putChange } from "../entities/mod.ts";
import { AppError, invalidField } from "../errors.ts";
import { isId, newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Product, ProductCategory } from "../kv/records.ts";
import { transact } from "../kv/mod.ts";
import type { Money } from "../money.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { listEntities, type Page, type PageRequest } from "../entities/page.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Catalogue } from "./catalogue.ts";
import { sanitizeHtml } from "../text.ts";

/** What the catalogue needs. */
export interface ProductServices extends StoreServices {
  /** Products that this instance has read recently. */
  readonly catalogue: Catalogue;
}

export type { Product, ProductCategory } from "../kv/records.ts";
export { PRODUCT_CATEGORIES } from "../kv/records.ts";

/** How long browsers cache, in seconds. */
export const CATALOGUE_MAX_AGE_S = 60;

/** The fields of a new product. */
export interface NewProduct {
  /** Made from the title when absent. */
  slug?: string | undefined;
  /** One line, 1 to 160 characters. */
  title: string;
  /** For the catalogue's filter. */
  category: ProductCategory;
  /** Per unit, tax included. */
  price: Money;
  /** Higher than the price and in its currency; null for none. */
  oldPrice: Money | null;
  /** HTML; all but b, i, em, strong, p and br becomes text. */
  description: string;
  /** Up to 50 lines of up to 200 characters. */
  features: string[];
  /** An http or https address of a demo; null for none. */
  demoUrl: string | null;
  /** Whether it is shown and sold. */
  active: boolean;
}

/** A change of a product; absent fields stay. */
export type ProductChange = { [F in keyof NewProduct]?: NewProduct[F] | undefined };

/** Lists of products, by whether they are on sale. */
export const PRODUCT_LISTS = ["active", "inactive", "all"] as const;

/** Which products are listed. */
export interface ProductFilter {
  /** Only products of this kind; null for all. */
  category: ProductCategory | null;
  /** Visitors see `active` ones. */
  status: (typeof PRODUCT_LISTS)[number];
}

/** A page of products, newest first; visitors' pages come from the cache. */
export function listProducts(
  services: ProductServices,
  filter: ProductFilter,
  page: PageRequest,
): Promise<Page<Product>> {
  const { category, status } = filter;
  const name = `products/${status}/${category ?? "any"}`;
  const read = () =>
    listEntities(
      services,
      name,
      keys.products,
      page,
      (product) =>
        (status === "all" || product.active === (status === "active")) &&
        (category === null || product.category === category),
    );
  if (status !== "active") return read();
  return services.catalogue.recall(`${name}/${page.limit}/${page.cursor ?? ""}`, read);
}

/**
 * An active product by id or slug, from the cache if possible.
 *
 * @throws {AppError} `not_found`, for an inactive one too.
 */
export async function getProductOnSale(
  services: ProductServices,
  idOrSlug: string,
): Promise<Product> {
  const product = await services.catalogue.recall(
    `product/${idOrSlug}`,
    () => getProduct(services, idOrSlug),
  );
  if (!product.active) throw unknownProduct();
  return product;
}

/** A product by id or slug, read from the store. @throws {AppError} `not_found` */
export async function getProduct({ store }: ProductServices, idOrSlug: string): Promise<Product> {
  const id = isId(idOrSlug) ? idOrSlug : await store.get(keys.productBySlug(idOrSlug));
  const product = id === null ? null : await store.get(keys.product(id));
  if (!product) throw unknownProduct();
  return product;
}

/** Adds a product. @throws {AppError} `conflict` if the slug is taken */
export async function createProduct(
  services: ProductServices,
  input: NewProduct,
  by: Caller,
): Promise<Product> {
  const now = services.clock();
  const id = newId(now);
  const slug = input.slug ?? slugOf(input.title);
  const reads = { slugOwner: keys.productBySlug(slug) };
  const created = await transact(services, reads, ({ slugOwner }, writes) => {
    if (slugOwner) throw slugTaken();
    const product: Product = {
      ...newEntity(id, by, now),
      ...checked(input),
      slug,
    };
    writes.set(keys.product(id), product);
    writes.set(reads.slugOwner, id);
    return product;
  }, { operation: operationOf(by, "product.create", input, { now }) });
  services.catalogue.forget();
  return created;
}

/**
 * Changes a product.
 *
 * @param revision The revision that the caller saw, or null for any.
 * @throws {AppError} `not_found`, `stale_revision`, or `conflict` if the slug is taken
 */
export async function changeProduct(
  services: ProductServices,
  id: string,
  change: ProductChange,
  { by, revision = null, action = "product.change" }: {
    by: Caller;
    revision?: number | null;
    action?: string;
  },
): Promise<Product> {
  const now = services.clock();
  const key = keys.product(id);
  const reads = {
    product: key,
    ...(change.slug === undefined ? {} : { slugOwner: keys.productBySlug(change.slug) }),
  };
  const changed = await transact(services, reads, (found, writes) => {
    const before = found.product;
    if (!before) throw unknownProduct();
    expectRevision(before, revision);
    const { slug, ...given } = { ...before, ...definedOf(change) };
    if (found.slugOwner && found.slugOwner !== id) throw slugTaken();
    const fields = { ...checked(given), slug };
    if (slug !== before.slug) {
      writes.delete(keys.productBySlug(before.slug));
      writes.set(keys.productBySlug(slug), id);
    }
    return putChange(writes, { entity: "product", action, key, before, fields, by, now });
  }, { operation: operationOf(by, action, [id, change], { now }) });
  services.catalogue.forget();
  return changed;
}

/** Takes a product off sale; invoices keep their lines. @throws as {@linkcode changeProduct} */
export function archiveProduct(
  services: ProductServices,
  id: string,
  options: { by: Caller; revision?: number | null },
): Promise<Product> {
  return changeProduct(services, id, { active: false }, { ...options, action: "product.archive" });
}

/** Validates fields together and sanitizes the description. */
function checked(
  { title, category, price, oldPrice, description, features, demoUrl, active }: NewProduct,
): Omit<NewProduct, "slug"> {
  if (oldPrice && oldPrice.currency !== price.currency) {
    throw invalidField(
      "oldPrice.currency",
      "The old price must be in the price's currency",
      "currency_mismatch",
    );
  }
  if (oldPrice && oldPrice.minor <= price.minor) {
    throw invalidField(
      "oldPrice.minor",
      "The old price must be higher than the price",
      "not_higher",
    );
  }
  return {
    title,
    category,
    price,
    oldPrice,
    description: sanitizeHtml(description),
    features,
    demoUrl,
    active,
  };
}

function definedOf(change: ProductChange): Partial<Product> {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}

/** A slug made from the title. @throws {AppError} `invalid_input` if no character is left */
function slugOf(title: string): string {
  const slug = title.normalize("NFKD").toLowerCase().replace(/\p{M}/gu, "")
    .replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 80).replace(/-+$/, "");
  if (slug === "") {
    throw invalidField("slug", "A slug is required: none can be made from this title", "required");
  }
  return slug;
}

function unknownProduct(): AppError {
  return new AppError("not_found", "No such product");
}

function slugTaken(): AppError {
  return new AppError("conflict", "Another product has this slug", {
    fields: [{ path: "slug", message: "Another product has this slug", code: "taken" }],
  });
}
