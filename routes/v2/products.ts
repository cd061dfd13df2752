/**
 * Products under `/api/v2/products`: the public catalogue, and its management by operators.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import type { Services } from "../../lib/app/mod.ts";
import { sha256Base64Url } from "../../lib/digest.ts";
import type { Page } from "../../lib/entities/page.ts";
import { AppError } from "../../lib/errors.ts";
import { isId } from "../../lib/ids.ts";
import {
  archiveProduct,
  CATALOGUE_MAX_AGE_S,
  changeProduct,
  createProduct,
  getProduct,
  getProductOnSale,
  listProducts,
  type Product,
  PRODUCT_CATEGORIES,
  PRODUCT_LISTS,
} from "../../lib/products/mod.ts";
import type { AppEnv } from "../_env.ts";
import { allowScope } from "../_guards.ts";
import { callerOf, revisionTag } from "../_http.ts";
import { limitReads } from "../_limits.ts";
import {
  Currency,
  Id,
  IdParam,
  jsonResponse,
  line,
  Minor,
  multiline,
  pageOf,
  PageQuery,
  problems,
  RevisionHeader,
  secured,
  Time,
} from "../_openapi.ts";
import {
  changeOptions,
  changeRoute,
  createResourceRoute,
  pageBody,
  publicFields,
  routesOf,
  tagged,
} from "../_resource.ts";

const Category = z.enum(PRODUCT_CATEGORIES);
// Not a component of the document: a nullable reference would lose its null.
const Price = z.strictObject({ currency: Currency, minor: Minor });
const Slug = z.string().max(80).regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, "Must be like my-product").refine(
  (slug) => !isId(slug),
  { message: "Must not look like an id" },
);
const DemoUrl = z.url({ protocol: /^https?$/ }).max(500);

/** A product to create. */
export const NewProduct = z.strictObject({
  slug: Slug.optional().openapi({ description: "Default: made from the title" }),
  title: line(160),
  category: Category,
  price: Price,
  oldPrice: Price.nullable().default(null),
  description: multiline(8_000).default("").openapi({
    description: "HTML: b, i, em, strong, p and br without attributes; other tags become text",
  }),
  features: z.array(line(200)).max(50).default([]),
  demoUrl: DemoUrl.nullable().default(null),
  active: z.boolean().default(true),
}).openapi("NewProduct");
const ProductChange = z.strictObject({
  slug: Slug.optional(),
  title: line(160).optional(),
  category: Category.optional(),
  price: Price.optional(),
  oldPrice: Price.nullable().optional(),
  description: multiline(8_000).optional(),
  features: z.array(line(200)).max(50).optional(),
  demoUrl: DemoUrl.nullable().optional(),
  active: z.boolean().optional(),
}).openapi("ProductChange");
const ProductBody = z.object({
  id: Id,
  slug: z.string(),
  title: z.string(),
  category: Category,
  price: Price,
  oldPrice: Price.nullable(),
  description: z.string(),
  features: z.array(z.string()),
  demoUrl: z.string().nullable(),
  active: z.boolean(),
  revision: z.int(),
  createdAt: Time,
  updatedAt: Time,
}).openapi("Product");

const ProductParam = z.object({
  idOrSlug: z.string().max(80).openapi({ param: { name: "idOrSlug", in: "path" } }),
});
const NOT_MODIFIED = { description: "The caller's copy, named by its ETag, is current" };

/** The routes under `/api/v2/products`. */
export function productRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(services, addList, addRead, addCreate, addChange, addArchive);
}

/** Counts visitors by address, and checks the key of anyone who sends one. */
function publicReads(services: Services): MiddlewareHandler<AppEnv>[] {
  return [limitReads(services, "catalogue_read"), allowScope(services, "products:read")];
}

function addList(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "get",
    path: "/",
    tags: ["products"],
    summary: "List products on sale, newest first",
    description:
      "Public. Changes appear on all instances within five minutes. With a key that has `products:read`, `status` also lists products that are not on sale.",
    middleware: publicReads(services),
    request: {
      query: PageQuery.extend({
        category: Category.optional(),
        status: z.enum(PRODUCT_LISTS).default("active"),
      }),
    },
    responses: {
      200: jsonResponse("A page", pageOf(ProductBody)),
      304: NOT_MODIFIED,
      ...problems(400, 401, 403, 422),
    },
  });
  routes.openapi(route, async (c) => {
    const { category = null, status, limit, cursor = null } = c.req.valid("query");
    if (status !== "active" && !c.var.principal) {
      throw new AppError("unauthenticated", "An API key is required to list products not on sale");
    }
    const page = await listProducts(services, { category, status }, { limit, cursor });
    const { body, tag } = shownPage(page);
    if (isCopyCurrent(c, tag)) return c.body(null, 304);
    return c.json(body, 200);
  });
}

/** Pages of the catalogue's cache, as they are shown: made once for all visitors. */
const shownPages = new WeakMap<Page<Product>, ShownPage>();

interface ShownPage {
  body: Page<z.infer<typeof ProductBody>>;
  tag: string;
}

function shownPage(page: Page<Product>): ShownPage {
  let shown = shownPages.get(page);
  if (!shown) {
    const body = pageBody(page, productBody);
    shown = { body, tag: contentTag(body) };
    shownPages.set(page, shown);
  }
  return shown;
}

function addRead(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "get",
    path: "/{idOrSlug}",
    tags: ["products"],
    summary: "Get a product by id or slug",
    description: "Public. A key with `products:read` also gets products that are not on sale.",
    middleware: publicReads(services),
    request: { params: ProductParam },
    responses: {
      200: jsonResponse("The product", ProductBody),
      304: NOT_MODIFIED,
      ...problems(401, 403, 404, 422),
    },
  });
  routes.openapi(route, async (c) => {
    const { idOrSlug } = c.req.valid("param");
    const find = c.var.principal ? getProduct : getProductOnSale;
    const product = await find(services, idOrSlug);
    const body = productBody(product);
    // A slug may pass to another product with the same revision: visitors' copies go by content.
    const tag = c.var.principal ? revisionTag(product) : contentTag(body);
    if (isCopyCurrent(c, tag)) return c.body(null, 304);
    return c.json(body, 200);
  });
}

function addCreate(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createResourceRoute(services, {
    path: "/",
    tag: "products",
    summary: "Create a product",
    scope: "products:write",
    input: NewProduct,
    body: ProductBody,
    description: "The product",
    failures: [409],
  });
  routes.openapi(route, async (c) => {
    const product = await createProduct(services, c.req.valid("json"), callerOf(c));
    c.header("location", `/api/v2/products/${product.id}`);
    return c.json(productBody(tagged(c, product)), 201);
  });
}

function addChange(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = changeRoute(services, {
    path: "/{id}",
    tag: "products",
    summary: "Change a product; existing invoices keep their lines",
    scope: "products:write",
    change: ProductChange,
    body: ProductBody,
    description: "The updated product",
    failures: [409],
  });
  routes.openapi(route, async (c) => {
    const { id } = c.req.valid("param");
    const product = await changeProduct(services, id, c.req.valid("json"), changeOptions(c));
    return c.json(productBody(tagged(c, product)), 200);
  });
}

function addArchive(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "delete",
    path: "/{id}",
    tags: ["products"],
    summary: "Take a product off sale; it is kept for the invoices that refer to it",
    ...secured(services, "products:write"),
    request: { params: IdParam, headers: RevisionHeader },
    responses: {
      200: jsonResponse("The product, no longer on sale", ProductBody),
      ...problems(400, 401, 403, 404, 412, 422),
    },
  });
  routes.openapi(route, async (c) => {
    const product = await archiveProduct(services, c.req.valid("param").id, changeOptions(c));
    return c.json(productBody(product), 200);
  });
}

/** An ETag made from the content. */
function contentTag(body: unknown): string {
  return `"${sha256Base64Url(JSON.stringify(body)).slice(0, 22)}"`;
}

/** Sets ETag and caching headers. Returns whether the caller's copy is current. */
function isCopyCurrent(c: Context<AppEnv>, etag: string): boolean {
  c.header("etag", etag);
  c.header("vary", "Authorization");
  c.header(
    "cache-control",
    c.var.principal ? "private, no-store" : `public, max-age=${CATALOGUE_MAX_AGE_S}`,
  );
  const known = c.req.header("if-none-match") ?? "";
  return known.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag);
}

function productBody(product: Product): z.infer<typeof ProductBody> {
  return publicFields(product);
}
