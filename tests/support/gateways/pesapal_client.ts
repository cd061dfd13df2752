/**
 * A payment by someone else's client for Pesapal, npm's `pesapaljs-v3`, in a process of
 * its own: it speaks as Pesapal's users do, which keeps the simulator honest.
 *
 * Its hosts are fixed, so what it would send there is led to the simulator. It must be
 * let to nothing but 127.0.0.1.
 *
 * Takes one JSON object as its argument, prints one.
 */
import http from "node:http";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";

const { port, account, order } = JSON.parse(Deno.args[0]!);

https.request =
  ((options: https.RequestOptions, done?: (answer: http.IncomingMessage) => void) =>
    http.request({
      ...options,
      protocol: "http:",
      hostname: "127.0.0.1",
      host: "127.0.0.1",
      port,
      agent: undefined,
    }, done)) as typeof https.request;

const { default: pesapal } = await import("pesapaljs-v3");
const client = pesapal.init(account);
// It does not say when it has signed in.
client.authenticate();
let list = await client.get_ipn_list({ url: "-", ipn_notification_type: "-" });
for (let tries = 0; !Array.isArray(list) && tries < 200; tries++) {
  await sleep(25);
  list = await client.get_ipn_list({ url: "-", ipn_notification_type: "-" });
}
// It registers the method in place of the address.
const registered = await client.register_ipn_url({
  url: "https://a",
  ipn_notification_type: "GET",
});
const submitted = await client.submit_order(order);
const status = await client.get_transaction_status({
  OrderTrackingId: submitted.order_tracking_id,
});

console.log(JSON.stringify({ list, registered, submitted, status }));
