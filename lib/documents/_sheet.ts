/**
 * Paper to write on: text that wraps, shrinks or breaks to the next page, tagged
 * so that a screen reader finds its way. Equal writing gives equal bytes: nothing
 * in a PDF of ours depends on when or where it is made.
 *
 * @module
 */
// @ts-types="@types/pdfkit"
import PDFDocument from "pdfkit";
import { FONTS, printable } from "./_fonts.ts";

/** A PDF in the making, as the library has it. */
export type Pdf = InstanceType<typeof PDFDocument>;
type Part = ReturnType<Pdf["struct"]>;
/** How thick letters are. */
export type Weight = "regular" | "bold";

/** A4 in points, its margins, and where the foot of a page begins. */
export const PAGE = { width: 595.28, height: 841.89, margin: 48, bottom: 772 };

const INK = "#1b2330";
/** Letters are made smaller for what would not fit, but not smaller than this. */
const SIZE_MIN = 5;
const LINE_GAP = 1.5;

/** How a piece of text looks, and what it is. */
export interface Look {
  /** Of the letters, in points. */
  size: number;
  /** Regular when absent. */
  weight?: Weight;
  /** `#rrggbb`; that of ink when absent. */
  color?: string;
  /** Of the box that it is in, in points. */
  width: number;
  /** Where in its box it is; left when absent. */
  align?: "left" | "right" | "center";
  /** Its tag, such as `H1` or `TD`; null for what only decorates. */
  tag: string | null;
}

/** What a PDF says about itself. */
export interface Imprint {
  /** Shown by readers in place of the file's name. */
  title: string;
  /** Who has it made. */
  author: string;
  /** ISO 639. */
  language: string;
  /** Not when it is drawn: an equal one says the same. */
  madeAt: Date;
}

/** A PDF in the making. */
export class Sheet {
  /** Where the next thing goes, from the top of the page. */
  y: number = PAGE.margin;
  /** For shapes; text has methods of its own. */
  readonly pdf: Pdf;
  readonly #bytes: Promise<Uint8Array<ArrayBuffer>>;
  readonly #root: Part;
  #part: Part;

  /** One page, empty. */
  constructor({ title, author, language, madeAt }: Imprint) {
    this.pdf = new PDFDocument({
      size: [PAGE.width, PAGE.height],
      // It would break pages by itself at the margin; here that is for the caller to do.
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

  /** Begins another page unless `height` fits on this one; true if it began one. */
  breakFor(height: number): boolean {
    if (this.y + height <= PAGE.bottom) return false;
    this.pdf.addPage();
    this.y = PAGE.margin;
    return true;
  }

  /** Puts what `draw` writes into a part of the document, such as a `Table`. */
  within(tag: string, draw: () => void): void {
    const outer = this.#part;
    this.#part = this.pdf.struct(tag);
    outer.add(this.#part);
    draw();
    this.#part.end();
    this.#part = outer;
  }

  /** Writes a paragraph, wrapped within its width. @returns Its height */
  paragraph(text: string, x: number, y: number, look: Look): number {
    const shown = printable(text);
    const { width, align = "left" } = look;
    this.#write(look, (structure) => {
      this.pdf.text(shown, x, y, { width, align, lineGap: LINE_GAP, ...structure });
    });
    return this.heightOf(text, look);
  }

  /** How high {@linkcode paragraph} is. */
  heightOf(text: string, look: Look): number {
    this.#take(look);
    return this.pdf.heightOfString(printable(text), { width: look.width, lineGap: LINE_GAP });
  }

  /** Writes one line, in smaller letters if it would be too long for its width. */
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

  /** How wide a line is in letters that are not made smaller. */
  widthOf(text: string, look: Omit<Look, "width">): number {
    this.#take(look);
    return this.pdf.widthOfString(printable(text));
  }

  /** Draws shapes that say nothing by themselves. */
  decorate(draw: (pdf: Pdf) => void): void {
    this.pdf.markContent("Artifact");
    draw(this.pdf);
    this.pdf.endMarkedContent();
  }

  /** Draws a picture that is described in words. */
  figure(alt: string, draw: (pdf: Pdf) => void): void {
    const content = this.pdf.markStructureContent("Figure");
    draw(this.pdf);
    this.pdf.endMarkedContent();
    this.#part.add(this.pdf.struct("Figure", { alt }, [content]));
  }

  /** Goes over every page in the end, from the first. */
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

/** A font as it is parsed already, which is taken, though the types know only of files and names. */
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
