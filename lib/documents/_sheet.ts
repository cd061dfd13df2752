/**
 * A PDF under construction: text that wraps, shrinks or breaks to the next page,
 * tagged for screen readers. Equal calls give equal bytes: nothing depends on when or
 * where the PDF is drawn.
 *
 * @module
 */
// @ts-types="@types/pdfkit"
import PDFDocument from "pdfkit";
import { FONTS, printable } from "./_fonts.ts";

/** The library's document. */
export type Pdf = InstanceType<typeof PDFDocument>;
type Part = ReturnType<Pdf["struct"]>;
/** Font weight. */
export type Weight = "regular" | "bold";

/** A4 in points, its margins, and the start of the footer. */
export const PAGE = { width: 595.28, height: 841.89, margin: 48, bottom: 772 };

const INK = "#1b2330";
/** Minimum font size of text that is shrunk to fit. */
const SIZE_MIN = 5;
const LINE_GAP = 1.5;

/** Style and tag of a text. */
export interface Look {
  /** Font size in points. */
  size: number;
  /** Regular if absent. */
  weight?: Weight;
  /** `#rrggbb`; ink if absent. */
  color?: string;
  /** Width of the text box in points. */
  width: number;
  /** Alignment in the box; left if absent. */
  align?: "left" | "right" | "center";
  /** PDF tag, such as `H1` or `TD`; null for decoration. */
  tag: string | null;
}

/** Metadata of a PDF. */
export interface Imprint {
  /** Shown by readers instead of the file name. */
  title: string;
  /** The issuer. */
  author: string;
  /** ISO 639. */
  language: string;
  /** Not the time of drawing, so that equal documents are equal. */
  madeAt: Date;
}

/** A PDF under construction. */
export class Sheet {
  /** Position of the next element, from the top of the page. */
  y: number = PAGE.margin;
  /** For shapes; use the methods below for text. */
  readonly pdf: Pdf;
  readonly #bytes: Promise<Uint8Array<ArrayBuffer>>;
  readonly #root: Part;
  #part: Part;

  /** Starts with one empty page. */
  constructor({ title, author, language, madeAt }: Imprint) {
    this.pdf = new PDFDocument({
      size: [PAGE.width, PAGE.height],
      // No bottom margin: the caller breaks pages, not the library.
      margins: { top: PAGE.margin, right: PAGE.margin, bottom: 0, left: PAGE.margin },
      bufferPages: true,
      tagged: true,
      pdfVersion: "1.7",
      lang: language,
      displayTitle: true,
      font: parsed("regular"),
      info: {
        Title: printable(title),
        Author: printable(author),
        CreationDate: madeAt,
        ModDate: madeAt,
      },
    });
    this.pdf.registerFont("regular", parsed("regular"));
    this.pdf.registerFont("bold", parsed("bold"));
    this.#bytes = bytesOf(this.pdf);
    this.#root = this.pdf.struct("Document");
    this.pdf.addStructure(this.#root);
    this.#part = this.#root;
  }

  /** Starts a new page unless `height` fits on this one; true if it did. */
  breakFor(height: number): boolean {
    if (this.y + height <= PAGE.bottom) return false;
    this.pdf.addPage();
    this.y = PAGE.margin;
    return true;
  }

  /** Groups what `draw` writes under a tag, such as `Table`. */
  within(tag: string, draw: () => void): void {
    const outer = this.#part;
    this.#part = this.pdf.struct(tag);
    outer.add(this.#part);
    draw();
    this.#part.end();
    this.#part = outer;
  }

  /** Writes a paragraph, wrapped to its width. @returns Its height */
  paragraph(text: string, x: number, y: number, look: Look): number {
    const shown = printable(text);
    const { width, align = "left" } = look;
    this.#write(look, (structure) => {
      this.pdf.text(shown, x, y, { width, align, lineGap: LINE_GAP, ...structure });
    });
    return this.heightOf(text, look);
  }

  /** Height of {@linkcode paragraph}. */
  heightOf(text: string, look: Look): number {
    this.#take(look);
    return this.pdf.heightOfString(printable(text), { width: look.width, lineGap: LINE_GAP });
  }

  /** Writes one line, shrunk if it exceeds its width. */
  line(text: string, x: number, y: number, look: Look): void {
    const shown = printable(text);
    const { width, align = "left", size } = look;
    this.#write(look, (structure) => {
      const excess = this.pdf.widthOfString(shown) / width;
      if (excess > 1) this.pdf.fontSize(Math.max(SIZE_MIN, size / excess));
      const share = { left: 0, right: 1, center: 0.5 }[align];
      const free = width - this.pdf.widthOfString(shown);
      this.pdf.text(shown, x + free * share, y, { lineBreak: false, ...structure });
    });
  }

  /** Width of a line that is not shrunk. */
  widthOf(text: string, look: Omit<Look, "width">): number {
    this.#take(look);
    return this.pdf.widthOfString(printable(text));
  }

  /** Draws decoration, which screen readers skip. */
  decorate(draw: (pdf: Pdf) => void): void {
    this.pdf.markContent("Artifact");
    draw(this.pdf);
    this.pdf.endMarkedContent();
  }

  /** Draws a picture with an alternative text. */
  figure(alt: string, draw: (pdf: Pdf) => void): void {
    const content = this.pdf.markStructureContent("Figure");
    draw(this.pdf);
    this.pdf.endMarkedContent();
    this.#part.add(this.pdf.struct("Figure", { alt }, [content]));
  }

  /** Visits every page, in order. Call it last. */
  onEveryPage(draw: (page: number, pages: number) => void): void {
    const { count } = this.pdf.bufferedPageRange();
    for (let i = 0; i < count; i++) {
      this.pdf.switchToPage(i);
      draw(i + 1, count);
    }
  }

  /** The finished file. */
  async finish(): Promise<Uint8Array<ArrayBuffer>> {
    this.#root.end();
    this.pdf.end();
    return await this.#bytes;
  }

  #take({ size, weight = "regular", color = INK }: Omit<Look, "width">): void {
    this.pdf.font(weight).fontSize(size).fillColor(color);
  }

  #write(look: Look, write: (structure: { structParent?: Part; structType?: string }) => void) {
    this.#take(look);
    if (look.tag !== null) return write({ structParent: this.#part, structType: look.tag });
    this.decorate(() => write({}));
  }
}

/** A parsed font: the library accepts it, its types only file paths and names. */
function parsed(weight: Weight): string {
  return FONTS[weight] as unknown as string;
}

function bytesOf(pdf: Pdf): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  return new Promise((resolve, reject) => {
    pdf.on("data", (chunk: Uint8Array<ArrayBuffer>) => chunks.push(chunk));
    pdf.on("error", reject);
    pdf.on("end", () => resolve(new Blob(chunks).arrayBuffer().then((all) => new Uint8Array(all))));
  });
}
