/** Requests as a proxy, a bot or a page of another site sends them: every header is the test's. */
import type { TestAnswer, TestApp } from "../support/program/app.ts";

const BROWSER = { accept: "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8" };

/** A test that waits for an answer in vain fails. */
const ANSWER_MS = 5_000;

/** Sends HTTP/1.1 as text, and reads until the answer is complete. */
export async function speak(app: TestApp, text: string): Promise<TestAnswer<unknown>> {
  const { hostname, port } = new URL(app.url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const timer = setTimeout(() => connection.close(), ANSWER_MS);
  await connection.write(new TextEncoder().encode(text));
  const buffer = new Uint8Array(65_536);
  let received = "";
  let answer: TestAnswer<unknown> | null = null;
  while (!answer) {
    const size = await connection.read(buffer);
    if (size === null) throw new Error(`The connection ended in the middle of an answer`);
    // One character per byte, because lengths count bytes.
    received += new TextDecoder("latin1").decode(buffer.subarray(0, size));
    answer = parseAnswer(received);
  }
  clearTimeout(timer);
  return answer;
}

/** Reads an answer in ASCII; null while it is incomplete. */
function parseAnswer(received: string): TestAnswer<unknown> | null {
  const [head = "", rest] = received.split(/\r\n\r\n(.*)/s);
  const [statusLine = "", ...lines] = head.split("\r\n");
  const headers = new Headers(lines.map((line) => [
    line.slice(0, line.indexOf(":")),
    line.slice(line.indexOf(":") + 1).trim(),
  ]));
  const text = rest === undefined
    ? null
    : headers.has("transfer-encoding")
    ? unchunked(rest)
    : rest.length < Number(headers.get("content-length"))
    ? null
    : rest;
  if (text === null) return null;
  const isJson = /json/.test(headers.get("content-type") ?? "");
  return {
    status: Number(statusLine.split(" ")[1]),
    headers,
    text,
    body: isJson ? JSON.parse(text) : undefined,
  };
}

/** The content of chunks; null until the last one has arrived. */
function unchunked(chunks: string): string | null {
  let text = "";
  for (let rest = chunks;;) {
    const [, digits] = /^([0-9a-f]+)\r\n/i.exec(rest) ?? [];
    if (digits === undefined) return null;
    const size = parseInt(digits, 16);
    const start = digits.length + 2;
    if (rest.length < start + size + 2) return null;
    if (size === 0) return text;
    text += rest.slice(start, start + size);
    rest = rest.slice(start + size + 2);
  }
}

/** A GET of which every header is the test's. */
export function get(app: TestApp, target: string, headers: Record<string, string>) {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return speak(app, `GET ${target} HTTP/1.1\r\n${lines}\r\n`);
}

/** Sends a form as a browser does for a page of another site. */
export function forge(app: TestApp, path: string, headers: Record<string, string> = {}) {
  return app.request("POST", path, {
    body: "name=Asha",
    headers: {
      ...BROWSER,
      "content-type": "application/x-www-form-urlencoded",
      "cookie": "session=1",
      "origin": "https://evil.example",
      "sec-fetch-site": "cross-site",
      ...headers,
    },
  });
}
