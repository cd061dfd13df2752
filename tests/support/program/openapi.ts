/**
 * The contract as the program gives it out, for tests that go through it.
 *
 * @module
 */
import type { Scope } from "../../../lib/access/mod.ts";
import { SCOPES } from "../../../lib/access/mod.ts";
import type { TestApp } from "./app.ts";

/** What the contract says of one answer. */
export interface DocumentedAnswer {
  description: string;
  /** By media type; absent for an answer without a body. */
  content?: Record<string, { schema: Record<string, unknown> }>;
}

/** What the contract says of one method at one path. */
export interface DocumentedOperation {
  method: string;
  /** With parameters in braces. */
  path: string;
  /** The scope that a caller needs, or that a key must have if one is sent. */
  scope: Scope | null;
  /** Whether a visitor may, too. */
  isPublic: boolean;
  responses: Record<string, DocumentedAnswer>;
}

/** The document of `/openapi.json`. */
export interface Contract {
  // deno-lint-ignore no-explicit-any
  document: any;
  operations: DocumentedOperation[];
}

/** What a key must have where visitors may, which the descriptions tell in other words. */
const PUBLIC_SCOPES: Readonly<Record<string, Scope>> = {
  "POST /api/v2/leads": "leads:write",
  "GET /api/v2/products": "products:read",
  "GET /api/v2/products/{idOrSlug}": "products:read",
};

/** Reads the contract. */
export async function contractOf(app: TestApp): Promise<Contract> {
  const { body: document } = await app.get("/openapi.json");
  const operations = Object.entries<Record<string, Record<string, unknown>>>(document.paths)
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]): DocumentedOperation => {
        const name = `${method.toUpperCase()} ${path}`;
        const isPublic = operation.security === undefined;
        const said = /^Needs a key with `(.+)`\.$/.exec(String(operation.description))?.[1];
        const scope = isPublic
          ? PUBLIC_SCOPES[name] ?? null
          : SCOPES.find((scope) => scope === said);
        if (scope === undefined) throw new Error(`Cannot find the scope of ${name}`);
        return {
          method: method.toUpperCase(),
          path,
          scope,
          isPublic,
          responses: operation.responses as Record<string, DocumentedAnswer>, // by OpenAPI
        };
      })
    );
  return { document, operations };
}
