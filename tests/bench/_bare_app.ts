/**
 * A bare program to compare with: Hono with one route and one zod schema, nothing else.
 *
 * @module
 */
import { Hono } from "hono";
import { z } from "zod";

const Status = z.object({ status: z.enum(["ok", "down"]), version: z.string().max(40) });
const app = new Hono();
app.get("/", (c) => c.json(Status.parse({ status: "ok", version: "bare" })));
Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(JSON.stringify({ port })),
}, app.fetch);
