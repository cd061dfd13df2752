/** openStorage() refuses addresses that name no storage. */
import { rejects } from "node:assert/strict";
import type { S3Options } from "../../../lib/storage/mod.ts";
import { openStorage } from "../../../lib/storage/open.ts";
import { systemClock } from "../../../lib/time.ts";

Deno.test("openStorage() refuses addresses that name no storage", async () => {
  const s3 = {
    endpoint: "https://s3.example.com",
    region: "x",
    accessKeyId: "x",
    secretAccessKey: "x",
  };
  const refused: [url: string, s3?: S3Options][] = [
    [""],
    ["file:"],
    ["file:///"],
    ["backups"],
    ["https://example.com/x", s3],
    ["s3://", s3],
    ["s3://b/", s3],
    ["s3://bucket/a//b", s3],
    ["s3://bucket/../a", s3],
    ["s3://bucket"],
    ["s3://bucket", { ...s3, endpoint: "s3.example.com" }],
    ["s3://bucket", { ...s3, endpoint: "ftp://s3.example.com" }],
    ["s3://bucket", { ...s3, endpoint: "https://me:secret@s3.example.com" }],
  ];

  for (const [url, options] of refused) {
    const opening = openStorage({ url, s3: options, clock: systemClock, random: Math.random });
    await rejects(
      opening,
      (error) => error instanceof TypeError && !error.message.includes("secret"),
    );
  }
});
