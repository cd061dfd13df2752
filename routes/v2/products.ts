/**
 * | method | path                         | who              | answers                 |
 * | ------ | ---------------------------- | ---------------- | ----------------------- |
 * | GET    | `/api/v2/products`           | anyone           | 200, 304, 400, 422      |
 * | GET    | `/api/v2/products/:idOrSlug` | anyone           | 200, 304, 404           |
 * | POST   | `/api/v2/products`           | `products:write` | 201, 409, 422           |
 * | PATCH  | `/api/v2/products/:id`       | `products:write` | 200, 404, 409, 412, 422 |
 * | DELETE | `/api/v2/products/:id`       | `products:write` | 200, 404, 412           |
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { sha256, toBase64Url } from "../../lib/digest.ts";
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
} from "../../lib/products/mod.ts";
import type { Services } from "../../lib/app/services.ts";
import type { AppEnv } from "../_env.ts";
import { allowScope } from "../_guards.ts";
import { callerOf, revisionOf, revisionTag } from "../_http.ts";
import { limitReads } from "../_limits.ts";
import {
  Currency,
  Id,
  IdempotencyHeader,
  IdParam,
  jsonAnswer,
  jsonBody,
  line,
  Minor,
  multiline,
  newRoutes,
  pageOf,
  PageQuery,
  problems,
  RevisionHeader,
  secured,
  Time,
} from "../_openapi.ts";

const Category = z.enum(["saas", "mobile", "web", "service"]);
// Not a component of the contract: what is nullable there loses its null.
const Price = z.strictObject({ currency: Currency, minor: Minor });
const Slug = z.string().max(80).regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, "Must be like my-product").refine(
  (slug) => !isId(slug),
  { message: "Must not be like an id, by which products are found as well" },
);
const DemoUrl = z.url({ protocol: /^https?$/ }).max(500);

/** What a new product is made of. */
export const NewProduct = z.strictObject({
  slug: Slug.optional().openapi({ description: "Made from the title when absent" }),
  title: line(160),
  category: Category,
  price: Price,
  oldPrice: Price.nullable().default(null),
  description: multiline(8_000).default("").openapi({
    description: "HTML: b, i, em, strong, p and br without attributes; the rest becomes text",
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

const NOT_MODIFIED = { description: "The copy with this ETag still holds" };

/** The routes under `/api/v2/products`. */
export function productRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "get",
      path: "/",
      tags: ["products"],
      summary: "List products on sale, newest first",
      description:
        "Public. A change shows within five minutes everywhere. With a key that has `products:read`, `status` lists the others too.",
      middleware: [
        limitReads(services, "catalogue_read"),
        allowScope(services, "products:read"),
      ] as const,
      request: {
        query: PageQuery.extend({
          category: Category.optional(),
          status: z.enum(["active", "inactive", "all"]).default("active"),
        }),
      },
      responses: {
        200: jsonAnswer("A page", pageOf(ProductBody)),
        304: NOT_MODIFIED,
        ...problems(400, 401, 403, 422),
      },
    }),
    async (c) => {
      const { category = null, status, limit, cursor = null } = c.req.valid("query");
      if (status !== "active" && !c.var.principal) {
        throw new AppError("unauthenticated", "Products that are not on sale need an API key");
      }
      const page = await listProducts(services, { category, status }, { limit, cursor });
      const body = { ...page, data: page.data.map(productBody) };
      if (isStillFresh(c, contentTag(body))) return c.body(null, 304);
      return c.json(body, 200);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/{idOrSlug}",
      tags: ["products"],
      summary: "Read a product",
      description: "Public. A key with `products:read` sees products that are not on sale, too.",
      middleware: [
        limitReads(services, "catalogue_read"),
        allowScope(services, "products:read"),
      ] as const,
      request: {
        params: z.object({
          idOrSlug: z.string().max(80).openapi({ param: { name: "idOrSlug", in: "path" } }),
        }),
      },
      responses: {
        200: jsonAnswer("The product", ProductBody),
        304: NOT_MODIFIED,
        ...problems(401, 403, 404, 422),
      },
    }),
    async (c) => {
      const { idOrSlug } = c.req.valid("param");
      const find = c.var.principal ? getProduct : getProductOnSale;
      const product = await find(services, idOrSlug);
      const body = productBody(product);
      // A slug may pass to another product, so visitors' copies go by what they say.
      const tag = c.var.principal ? revisionTag(product) : contentTag(body);
      if (isStillFresh(c, tag)) return c.body(null, 304);
      return c.json(body, 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/",
      tags: ["products"],
      summary: "Add a product",
      ...secured(services, "products:write"),
      request: { headers: IdempotencyHeader, ...jsonBody(NewProduct) },
      responses: {
        201: jsonAnswer("The product", ProductBody),
        ...problems(400, 401, 403, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const product = await createProduct(services, c.req.valid("json"), callerOf(c));
      c.header("location", `/api/v2/products/${product.id}`);
      c.header("etag", revisionTag(product));
      return c.json(productBody(product), 201);
    },
  ).openapi(
    createRoute({
      method: "patch",
      path: "/{id}",
      tags: ["products"],
      summary: "Change a product; invoices keep what they say",
      ...secured(services, "products:write"),
      request: { params: IdParam, headers: RevisionHeader, ...jsonBody(ProductChange) },
      responses: {
        200: jsonAnswer("The product as it is now", ProductBody),
        ...problems(400, 401, 403, 404, 409, 412, 413, 415, 422),
      },
    }),
    async (c) => {
      const options = { by: callerOf(c), revision: revisionOf(c) };
      const change = c.req.valid("json");
      const product = await changeProduct(services, c.req.valid("param").id, change, options);
      c.header("etag", revisionTag(product));
      return c.json(productBody(product), 200);
    },
  ).openapi(
    createRoute({
      method: "delete",
      path: "/{id}",
      tags: ["products"],
      summary: "Take a product off sale; it is kept for the invoices that name it",
      ...secured(services, "products:write"),
      request: { params: IdParam, headers: RevisionHeader },
      responses: {
        200: jsonAnswer("The product as it is now", ProductBody),
        ...problems(400, 401, 403, 404, 412, 422),
      },
    }),
    async (c) => {
      const options = { by: callerOf(c), revision: revisionOf(c) };
      const product = await archiveProduct(services, c.req.valid("param").id, options);
      return c.json(productBody(product), 200);
    },
  );
}

/** The ETag of what is shown. */
function contentTag(body: unknown): string {
  return `"${toBase64Url(sha256(JSON.stringify(body))).slice(0, 22)}"`;
}

/** Sets the ETag and how long to believe it; whether the caller's copy has it already. */
function isStillFresh(c: Context<AppEnv>, etag: string): boolean {
  c.header("etag", etag);
  c.header("vary", "Authorization");
  c.header(
    "cache-control",
    c.var.principal ? "private, no-store" : `public, max-age=${CATALOGUE_MAX_AGE_S}`,
  );
  const known = c.req.header("if-none-match") ?? "";
  return known.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag);
}

function productBody(
  { createdBy: _by, createdIn: _in, chain: _chain, ...shown }: Product,
): z.infer<typeof ProductBody> {
  return shown;
}
