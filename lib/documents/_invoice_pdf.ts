/**
 * Draws an invoice on A4: equal documents give equal bytes.
 *
 * @module
 */
import { encode } from "uqr";
import { type Look, PAGE, Sheet } from "./_sheet.ts";
import type { DocumentLine, InvoiceDocument } from "./mod.ts";
import { fill, INVOICE_TEXTS, type InvoiceState, type InvoiceTexts } from "./texts.ts";

const LEFT = PAGE.margin;
const RIGHT = PAGE.width - PAGE.margin;
const WIDTH = RIGHT - LEFT;
const HALF = LEFT + 290;

const MUTED = "#5b6676";
const RULE = "#d5dbe3";
const FILL = "#eef3f1";
const ACCENT = "#0b5d47";
const ALARM = "#b3261e";
const TONES: Readonly<Record<InvoiceState, string>> = {
  draft: MUTED,
  due: ACCENT,
  overdue: ALARM,
  partly_paid: "#8a5a00",
  partly_overdue: ALARM,
  paid: "#0b7a4b",
  void: MUTED,
  refunded: MUTED,
};

/** Columns of the lines; numbers are right-aligned. */
const COLUMNS = {
  description: { x: LEFT + 8, width: 228, align: "left" },
  quantity: { x: LEFT + 240, width: 44, align: "right" },
  unitPrice: { x: LEFT + 290, width: 98, align: "right" },
  amount: { x: LEFT + 394, width: WIDTH - 402, align: "right" },
} as const;
const COLUMN_NAMES = ["description", "quantity", "unitPrice", "amount"] as const;

const LABEL = { size: 8, color: MUTED, tag: "P" } as const;
const BODY = { size: 9, tag: "P" } as const;
const ROW_PADDING = 5;
const TOTALS_X = LEFT + 240;
const QR_SIZE = 96;

/** The PDF of a document. */
export async function drawInvoice(document: InvoiceDocument): Promise<Uint8Array<ArrayBuffer>> {
  const { language, number, issuedAt, seller } = document;
  const texts = INVOICE_TEXTS[language];
  const sheet = new Sheet({
    title: `${texts.invoice} ${number ?? texts.draft}`,
    author: seller.name,
    language,
    madeAt: new Date(issuedAt),
  });
  drawHead(sheet, document, texts);
  drawParties(sheet, document, texts);
  drawLines(sheet, document, texts);
  drawSums(sheet, document, texts);
  drawNotes(sheet, document, texts);
  sheet.onEveryPage((page, pages) => {
    if (document.state === "draft") drawWatermark(sheet, texts.draft);
    drawFoot(sheet, document, fill(texts.page, { page, pages }));
  });
  return await sheet.finish();
}

/** Seller on the left, title and number on the right. */
function drawHead(sheet: Sheet, { seller, number }: InvoiceDocument, texts: InvoiceTexts): void {
  const top = sheet.y;
  const width = HALF - LEFT - 24;
  let y = top;
  y += sheet.paragraph(seller.name, LEFT, y, { size: 15, weight: "bold", width, tag: "P" }) + 2;
  const phone = seller.phone === null ? [] : [`${texts.phone}: ${seller.phone}`];
  for (const line of [...seller.lines, ...phone]) {
    y += sheet.paragraph(line, LEFT, y, { ...LABEL, width });
  }
  const right = { width: RIGHT - HALF, align: "right" } as const;
  const title = texts.invoice.toUpperCase();
  sheet.line(title, HALF, top - 4, {
    size: 24,
    weight: "bold",
    color: ACCENT,
    tag: "H1",
    ...right,
  });
  const name = number ?? texts.draft;
  sheet.line(name, HALF, top + 28, { size: 11, weight: "bold", tag: "P", ...right });
  sheet.y = Math.max(y, top + 46) + 14;
  rule(sheet, sheet.y, ACCENT, 1.5);
  sheet.y += 16;
}

/** Buyer on the left, dates and state on the right. */
function drawParties(sheet: Sheet, document: InvoiceDocument, texts: InvoiceTexts): void {
  const { buyer, facts, state, stateLabel, stateNote } = document;
  const top = sheet.y;
  const width = HALF - LEFT - 24;
  const label = (text: string, x: number, y: number, width: number) =>
    sheet.line(text, x, y, { ...LABEL, width });
  label(texts.billTo, LEFT, top, width);
  const name: Look = { size: 11, weight: "bold", width, tag: "P" };
  const left = top + 13 + sheet.paragraph(buyer, LEFT, top + 13, name);

  const column = (RIGHT - HALF) / 2;
  facts.forEach(([text, value], i) => {
    label(text, HALF + i * column, top, column - 8);
    sheet.line(value, HALF + i * column, top + 13, { ...BODY, size: 10, width: column - 8 });
  });
  const y = top + 36;
  const look = { size: 9, weight: "bold", color: "#ffffff", tag: "P" } as const;
  const words = Math.min(sheet.widthOf(stateLabel, look), RIGHT - HALF - 16);
  sheet.decorate((pdf) => {
    pdf.roundedRect(HALF, y, words + 16, 18, 3).fill(TONES[state]);
  });
  sheet.line(stateLabel, HALF + 8, y + 4, { ...look, width: words });
  const note: Look = { ...LABEL, width: RIGHT - HALF };
  sheet.y = Math.max(left, y + 23 + sheet.paragraph(stateNote, HALF, y + 23, note)) + 18;
}

function drawLines(sheet: Sheet, { lines }: InvoiceDocument, texts: InvoiceTexts): void {
  sheet.within("Table", () => {
    drawColumnHeads(sheet, texts, "TH");
    for (const line of lines) {
      const { width } = COLUMNS.description;
      const height = sheet.heightOf(line.description, { ...BODY, width }) + 2 * ROW_PADDING;
      // Repeated headings are decoration: screen readers have read them.
      if (sheet.breakFor(height)) drawColumnHeads(sheet, texts, null);
      sheet.within("TR", () => drawLine(sheet, line, sheet.y + ROW_PADDING));
      sheet.y += height;
      rule(sheet, sheet.y, RULE, 0.5);
    }
  });
  sheet.y += 14;
}

function drawColumnHeads(sheet: Sheet, texts: InvoiceTexts, tag: "TH" | null): void {
  const top = sheet.y;
  const draw = () => {
    for (const name of COLUMN_NAMES) {
      const { x, ...look } = COLUMNS[name];
      sheet.line(texts[name], x, top + 6, { size: 8, weight: "bold", color: ACCENT, tag, ...look });
    }
  };
  sheet.decorate((pdf) => pdf.rect(LEFT, top, WIDTH, 22).fill(FILL));
  if (tag === null) draw();
  else sheet.within("TR", draw);
  sheet.y = top + 22;
}

function drawLine(sheet: Sheet, line: DocumentLine, y: number): void {
  const { x, width } = COLUMNS.description;
  sheet.paragraph(line.description, x, y, { ...BODY, width, tag: "TD" });
  for (const name of ["quantity", "unitPrice", "amount"] as const) {
    const { x, ...look } = COLUMNS[name];
    sheet.line(line[name], x, y, { ...BODY, ...look, tag: "TD" });
  }
}

/** Totals on the right, QR code on the left, together on one page. */
function drawSums(sheet: Sheet, { totals, url, owed }: InvoiceDocument, texts: InvoiceTexts): void {
  const strong = 24;
  const plain = 18;
  const height = totals.reduce((sum, { isStrong }) => sum + (isStrong ? strong : plain), 0);
  sheet.breakFor(Math.max(height, url === null ? 0 : QR_SIZE + 4));
  const top = sheet.y;
  let y = top;
  sheet.within("Table", () => {
    for (const { label, amount, isStrong } of totals) {
      const size = isStrong ? 11 : 9;
      const look = { size, weight: isStrong ? "bold" : "regular", tag: "TD" } as const;
      if (isStrong) {
        sheet.decorate((pdf) => pdf.rect(TOTALS_X, y, RIGHT - TOTALS_X, strong - 2).fill(FILL));
      }
      const inset = y + (isStrong ? 5 : 3);
      sheet.within("TR", () => {
        sheet.line(label, TOTALS_X + 8, inset, { ...look, width: 124 });
        const width = RIGHT - TOTALS_X - 148;
        sheet.line(amount, TOTALS_X + 140, inset, { ...look, width, align: "right" });
      });
      y += isStrong ? strong : plain;
    }
  });
  if (url !== null) {
    const words = owed === null ? texts.scanToSee : texts.scanToPay;
    sheet.figure(words, (pdf) => {
      drawQr(pdf, url, LEFT, top);
      pdf.link(LEFT, top, QR_SIZE, QR_SIZE, url);
    });
    const look = { ...LABEL, width: TOTALS_X - LEFT - QR_SIZE - 24 };
    sheet.paragraph(words, LEFT + QR_SIZE + 10, top + 4, look);
    y = Math.max(y, top + QR_SIZE);
  }
  sheet.y = y + 18;
}

/** Draws a QR code, a rectangle per run of squares; the white around it is its margin. */
function drawQr(pdf: Sheet["pdf"], text: string, x: number, y: number): void {
  const { size, data } = encode(text, { ecc: "M", border: 0 });
  const module = QR_SIZE / size;
  data.forEach((row, j) => {
    for (let i = 0; i < size; i++) {
      if (!row[i]) continue;
      const start = i;
      while (row[i + 1]) i++;
      pdf.rect(x + start * module, y + j * module, (i - start + 1) * module, module);
    }
  });
  pdf.fill("#000000");
}

function drawNotes(sheet: Sheet, { notes }: InvoiceDocument, texts: InvoiceTexts): void {
  if (notes === "") return;
  const look = { ...BODY, width: WIDTH };
  sheet.breakFor(30);
  sheet.line(texts.notes, LEFT, sheet.y, { ...LABEL, width: WIDTH });
  sheet.y += 13;
  for (const line of notes.split("\n")) {
    const height = line.trim() === "" ? 8 : sheet.heightOf(line, look);
    sheet.breakFor(height);
    if (line.trim() !== "") sheet.paragraph(line, LEFT, sheet.y, look);
    sheet.y += height;
  }
}

function drawFoot(sheet: Sheet, { seller, number }: InvoiceDocument, pageWords: string): void {
  const y = PAGE.bottom + 16;
  rule(sheet, y - 7, RULE, 0.5);
  const look = { size: 7.5, color: MUTED, tag: null } as const;
  const name = number === null ? seller.name : `${seller.name} · ${number}`;
  sheet.line(name, LEFT, y, { ...look, width: WIDTH - 120 });
  sheet.line(pageWords, RIGHT - 110, y, { ...look, width: 110, align: "right" });
}

function drawWatermark(sheet: Sheet, word: string): void {
  const { pdf } = sheet;
  const center = { x: PAGE.width / 2, y: PAGE.height / 2 };
  pdf.save();
  pdf.rotate(-50, { origin: [center.x, center.y] }).fillOpacity(0.12);
  const look: Look = { size: 120, weight: "bold", width: 700, align: "center", tag: null };
  sheet.line(word.toUpperCase(), center.x - 350, center.y - 80, look);
  pdf.restore();
}

function rule(sheet: Sheet, y: number, color: string, width: number): void {
  sheet.decorate((pdf) => {
    pdf.moveTo(LEFT, y).lineTo(RIGHT, y).lineWidth(width).strokeColor(color).stroke();
  });
}
