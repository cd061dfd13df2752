/**
 * PDFs as other programs read them: Poppler's tools, and a reader of QR codes.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import jsQR from "jsqr";
// @ts-types="@types/pngjs"
import { PNG } from "pngjs";

/** Whether Poppler's tools are installed. */
export const hasPoppler: boolean = canRun();
/** What to add to the name of a test that is ignored without them. */
export const POPPLER_HINT: string = hasPoppler ? "" : " (needs: apt-get install -y poppler-utils)";

function canRun(): boolean {
  try {
    const args = ["-v"];
    return new Deno.Command("pdftotext", { args, stdout: "null", stderr: "null" }).outputSync()
      .success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Where a word stands, in points from the left and the top of its page. */
export interface PdfWord {
  page: number;
  text: string;
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** The text of each page, as it is laid out. */
export async function textOfPages(pdf: Uint8Array): Promise<string[]> {
  const text = await run("pdftotext", ["-layout", "-", "-"], pdf);
  return text.split("\f").slice(0, -1);
}

/** All the text in one line, to search for sentences. */
export async function textOf(pdf: Uint8Array): Promise<string> {
  return (await run("pdftotext", ["-raw", "-", "-"], pdf)).replaceAll(/\s+/g, " ");
}

/** Properties of the file, such as `Pages`. */
export async function infoOf(pdf: Uint8Array): Promise<Map<string, string>> {
  const lines = (await run("pdfinfo", ["-"], pdf)).split("\n");
  return new Map(lines.map((line) => {
    const [name = "", ...value] = line.split(":");
    return [name, value.join(":").trim()];
  }));
}

/** The tags of the file and their content. */
export function tagsOf(pdf: Uint8Array): Promise<string> {
  return run("pdfinfo", ["-struct-text", "-"], pdf);
}

/** Its fonts: name, and whether the font is embedded. */
export async function fontsOf(pdf: Uint8Array): Promise<{ name: string; isEmbedded: boolean }[]> {
  const lines = (await run("pdffonts", ["-"], pdf)).trim().split("\n").slice(2);
  return lines.map((line) => {
    const [name = "", ...rest] = line.split(/\s+/);
    return { name: name.replace(/^[A-Z]{6}\+/, ""), isEmbedded: rest.at(-5) === "yes" };
  });
}

/** Every word and its place. */
export async function wordsOf(pdf: Uint8Array): Promise<PdfWord[]> {
  const xml = await run("pdftotext", ["-bbox", "-", "-"], pdf);
  const words: PdfWord[] = [];
  for (const [page, body] of xml.split("<page ").slice(1).entries()) {
    const found = body.matchAll(
      /<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)">(.*?)<\/word>/gs,
    );
    for (const [, left, top, right, bottom, text = ""] of found) {
      words.push({
        page: page + 1,
        text,
        left: Number(left),
        top: Number(top),
        right: Number(right),
        bottom: Number(bottom),
      });
    }
  }
  return words;
}

/** The text of the QR code on a page, as a camera reads it; null if there is none. */
export async function qrOf(pdf: Uint8Array, page: number): Promise<string | null> {
  const args = ["-r", "100", "-png", "-f", `${page}`, "-l", `${page}`, "-singlefile", "-"];
  const { width, height, data } = PNG.sync.read(
    Buffer.from(await runForBytes("pdftoppm", args, pdf)),
  );
  return jsQR.default(new Uint8ClampedArray(data), width, height)?.data ?? null;
}

async function run(program: string, args: string[], input: Uint8Array): Promise<string> {
  return new TextDecoder().decode(await runForBytes(program, args, input));
}

/** @throws {Error} on any complaint about the file */
async function runForBytes(
  program: string,
  args: string[],
  input: Uint8Array,
): Promise<Uint8Array<ArrayBuffer>> {
  const options = { args, stdin: "piped", stdout: "piped", stderr: "piped" } as const;
  const child = new Deno.Command(program, options).spawn();
  const writing = (async () => {
    const writer = child.stdin.getWriter();
    await writer.write(input);
    await writer.close();
  })();
  const [{ code, stdout, stderr }] = await Promise.all([child.output(), writing]);
  const said = new TextDecoder().decode(stderr);
  if (code !== 0 || said !== "") throw new Error(`${program}: ${said || `exit code ${code}`}`);
  return stdout;
}
