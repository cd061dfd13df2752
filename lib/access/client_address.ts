/**
 * Whose request it is, as far as an address can tell.
 *
 * @module
 */
import ipaddr from "ipaddr.js";

/** Bits of an IPv6 address that one subscriber is given. */
const SUBSCRIBER_BITS = 64;
const UNKNOWN = "unknown";

/**
 * The address that a request came from: the socket's, or, behind proxies of
 * ours, the one that the outermost of them saw. Each proxy appends the address
 * it was called from to X-Forwarded-For; whatever is further left was sent by
 * the caller and proves nothing.
 *
 * @param remote The socket's peer.
 * @param forwardedFor X-Forwarded-For, if it came.
 * @param hops How many proxies in front are ours.
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
 * What an address is counted as: an IPv4 address itself, however it is written,
 * and all of an IPv6 /64 as one, since one subscriber has that many.
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
