/**
 * Checks answers against the contract: a status, media type or field that the contract does
 * not list is as wrong as a missing one.
 *
 * @module
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import addFormats from "ajv-formats";
import { Ajv2020, type ValidateFunction } from "ajv/2020";
import type { TestAnswer } from "./app.ts";
import type { Contract, DocumentedOperation } from "./openapi.ts";

/** Compares answers with the contract. */
export class Conformance {
  readonly #ajv: Ajv2020;
  readonly #validators = new Map<unknown, ValidateFunction>();

  /** Closes the schemas of the contract: fields that they do not name are errors. */
  constructor({ document }: Contract) {
    this.#ajv = new Ajv2020({ strict: false, allErrors: true });
    addFormats.default(this.#ajv);
    const schemas = Object.entries(document.components.schemas).map(
      ([name, schema]) => [name, closed(schema)],
    );
    this.#ajv.addSchema({
      $id: "contract",
      components: { schemas: Object.fromEntries(schemas) },
    });
  }

  /** Checks one answer to one operation. */
  check({ method, path, responses }: DocumentedOperation, answer: TestAnswer<unknown>): void {
    const { status, headers, text, body } = answer;
    const name = `${status} of ${method} ${path}`;
    const documented = responses[status];
    ok(documented, `The contract has no ${name}: ${text}`);
    if (!documented.content) {
      equal(text, "", name);
      return;
    }
    const type = headers.get("content-type")?.split(";")[0] ?? "";
    const schema = documented.content[type]?.schema;
    ok(schema, `The contract has no ${type} for ${name}`);
    const validate = this.#validatorOf(schema);
    validate(/json/.test(type) ? body : text);
    const wrong = (validate.errors ?? []).map(({ instancePath, message }) =>
      `${instancePath} ${message}`
    );
    deepEqual(wrong, [], name);
  }

  #validatorOf(schema: unknown): ValidateFunction {
    let validate = this.#validators.get(schema);
    if (!validate) {
      validate = this.#ajv.compile(closed(schema) as object);
      this.#validators.set(schema, validate);
    }
    return validate;
  }
}

/** A schema with resolved references, whose objects allow only the named fields. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== "object" || schema === null) return schema;
  const copy = Object.fromEntries(
    Object.entries(schema).map(([name, value]) => [
      name,
      name === "$ref" ? `contract${value}` : closed(value),
    ]),
  );
  return "properties" in copy ? { unevaluatedProperties: false, ...copy } : copy;
}
