/**
 * PDFs of invoices, drawn on demand and cached. The drawing code and its fonts are
 * loaded with the first (about 150 ms).
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import { sha256Base64Url } from "../digest.ts";
import type { InvoiceDocument } from "./mod.ts";

/** Cache size of an instance; a one-page PDF has about 25 KB. */
const KEPT_BYTES_MAX = 8 * 1024 * 1024;

/** An instance's cache of PDFs: any change of an invoice gives a new one. */
export class InvoicePdfs {
  readonly #kept: LRUCache<string, Uint8Array<ArrayBuffer>>;
  /** PDFs being drawn, shared by concurrent requests. */
  readonly #underWay = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();

  /** Starts empty. */
  constructor({ keptBytesMax = KEPT_BYTES_MAX }: { keptBytesMax?: number } = {}) {
    this.#kept = new LRUCache({ maxSize: keptBytesMax, sizeCalculation: ({ length }) => length });
  }

  /** Number of cached PDFs. */
  get size(): number {
    return this.#kept.size;
  }

  /** The PDF of a document, cached under {@linkcode digestOf}. */
  async get(document: InvoiceDocument): Promise<Uint8Array<ArrayBuffer>> {
    const digest = digestOf(document);
    const kept = this.#kept.get(digest);
    if (kept) return kept;
    const underWay = this.#underWay.get(digest);
    if (underWay) return await underWay;
    const drawing = draw(document);
    this.#underWay.set(digest, drawing);
    try {
      const bytes = await drawing;
      this.#kept.set(digest, bytes);
      return bytes;
    } finally {
      this.#underWay.delete(digest);
    }
  }
}

/** Digest of everything that a document shows, 43 characters. */
export function digestOf(document: InvoiceDocument): string {
  return sha256Base64Url(JSON.stringify(document));
}

async function draw(document: InvoiceDocument): Promise<Uint8Array<ArrayBuffer>> {
  const { drawInvoice } = await import("./_invoice_pdf.ts");
  return await drawInvoice(document);
}
