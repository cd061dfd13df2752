/**
 * The address of a request's client.
 *
 * @module
 */
import ipaddr from "ipaddr.js";

/** Bits of an IPv6 address that identify a subscriber. */
const SUBSCRIBER_BITS = 64;
const UNKNOWN = "unknown";

/**
 * The client's address: the socket's peer or, behind trusted proxies, the address that the outermost
 * of them saw. Each proxy appends its peer to X-Forwarded-For; entries further left come from the
 * client and prove nothing.
 *
 * @param remote The socket's peer.
 * @param forwardedFor X-Forwarded-For, if present.
 * @param hops Trusted proxies in front of this process.
 */
export function clientAddress(
  remote: string | undefined,
  forwardedFor: string | undefined,
  hops: number,
): string {
  if (hops === 0) return remote ?? UNKNOWN;
  const chain = (forwardedFor ?? "").split(",").map((part) => part.trim()).filter((part) => part);
  // With fewer entries than proxies the request did not pass all of them.
  return chain.at(-hops) ?? remote ?? UNKNOWN;
}

/**
 * The subject that an address is counted under: an IPv4 address in one spelling, and an IPv6 /64 as
 * a whole, since a subscriber has all of it.
 */
export function addressGroup(address: string): string {
  const bare = withoutPort(address);
  if (!ipaddr.isValid(bare)) return UNKNOWN;
  const parsed = ipaddr.process(bare);
  if (parsed.kind() === "ipv4") return parsed.toString();
  const bytes = parsed.toByteArray().slice(0, SUBSCRIBER_BITS / 8);
  return `${bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("")}/64`;
}

/** Some proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711`. */
function withoutPort(address: string): string {
  const [, v6, v4] = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/.exec(address) ?? [];
  return v6 ?? v4 ?? address;
}
