/**
 * The contract as the program serves it, for tests that walk through it.
 *
 * @module
 */
import type { Scope } from "../../../lib/access/mod.ts";
import { SCOPES } from "../../../lib/access/mod.ts";
import type { TestApp } from "./app.ts";

/** One answer in the contract. */
export interface DocumentedAnswer {
  description: string;
  /** By media type; absent for an answer without a body. */
  content?: Record<string, { schema: Record<string, unknown> }>;
}

/** One operation in the contract: a method and a path. */
export interface DocumentedOperation {
  method: string;
  /** With parameters in braces. */
  path: string;
  /** The scope that a caller needs, or that a key must have if one is sent. */
  scope: Scope | null;
  /** Whether visitors may call it without a key. */
  isPublic: boolean;
  responses: Record<string, DocumentedAnswer>;
}

/** The document of `/openapi.json`. */
export interface Contract {
  // deno-lint-ignore no-explicit-any
  document: any;
  operations: DocumentedOperation[];
}

/** The scope that a key needs where visitors need none, as the descriptions word it. */
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
