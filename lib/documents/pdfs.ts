/**
 * PDFs of invoices, made when somebody wants one and kept for a while. What draws
 * them, and its fonts, is loaded with the first (about 150 ms).
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import { sha256, toBase64Url } from "../digest.ts";
import type { InvoiceDocument } from "./invoice_document.ts";

/** What an instance keeps, in bytes; a PDF of one page has about 25 KB. */
const KEPT_BYTES_MAX = 8 * 1024 * 1024;

/** The PDFs that one instance keeps: a new one for whatever has changed in the invoice. */
export class InvoicePdfs {
  readonly #kept: LRUCache<string, Uint8Array<ArrayBuffer>>;
  /** Those that are being drawn: many may ask for one at once. */
  readonly #underWay = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();

  /** Keeps none yet. */
  constructor({ keptBytesMax = KEPT_BYTES_MAX }: { keptBytesMax?: number } = {}) {
    this.#kept = new LRUCache({ maxSize: keptBytesMax, sizeCalculation: ({ length }) => length });
  }

  /** How many are kept. */
  get size(): number {
    return this.#kept.size;
  }

  /** The PDF of a document, which {@linkcode digestOf} names. */
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

/** Names a document by what it shows, in 43 characters: another one as soon as anything differs. */
export function digestOf(document: InvoiceDocument): string {
  return toBase64Url(sha256(JSON.stringify(document)));
}

async function draw(document: InvoiceDocument): Promise<Uint8Array<ArrayBuffer>> {
  const { drawInvoice } = await import("./_invoice_pdf.ts");
  return await drawInvoice(document);
}
