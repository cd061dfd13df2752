/**
 * Where webhooks may go. An operator's key must not become a way to what only
 * this machine can reach: in production nothing but public addresses over https.
 *
 * @module
 */
import ipaddr from "ipaddr.js";

/** How strict to be. */
export interface TargetRules {
  /** Only https, and only public addresses; otherwise also http, and this machine. */
  readonly isPublicOnly: boolean;
}

/** Why a URL is no place for webhooks. */
export type TargetProblem =
  | "not_a_url"
  | "not_https"
  | "has_credentials"
  | "has_fragment"
  | "forbidden_address";

/** A URL that webhooks may go to, as far as it tells by itself; what its name resolves to is another question. */
export function parseTarget(text: string, rules: TargetRules): { url: URL } | TargetProblem {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol) || url.hostname === "") return "not_a_url";
  if (rules.isPublicOnly && url.protocol !== "https:") return "not_https";
  if (url.username !== "" || url.password !== "") return "has_credentials";
  // It would never be sent.
  if (url.hash !== "" || text.includes("#")) return "has_fragment";
  const literal = literalOf(url);
  if (literal !== null && !isAllowedAddress(literal, rules)) return "forbidden_address";
  return { url };
}

/** The address that a URL names without a name, in whichever notation; null if it has a name. */
export function literalOf({ hostname }: URL): string | null {
  const bare = hostname.replace(/^\[(.*)\]$/, "$1");
  return ipaddr.isValid(bare) ? bare : null;
}

/** Whether something may be sent to an address. */
export function isAllowedAddress(address: string, { isPublicOnly }: TargetRules): boolean {
  if (isPublicAddress(address)) return true;
  return !isPublicOnly && ipaddr.isValid(address) &&
    ipaddr.process(address).range() === "loopback";
}

/** Where Azure answers its own machines; an address like any other by its looks. */
const AZURE_METADATA = "168.63.129.16";
/** All that is given out for use between machines of the world (RFC 4291, 2.4). */
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR("2000::/3");

/**
 * Whether an address is one of the public internet: no private, loopback,
 * link-local, shared, multicast, reserved or documentation address, and no IPv6
 * address that stands for an IPv4 one. False for what is no address.
 */
export function isPublicAddress(text: string): boolean {
  if (!ipaddr.isValid(text) || text.includes("%")) return false;
  const address = ipaddr.parse(text);
  if (address.range() !== "unicast") return false;
  if (address instanceof ipaddr.IPv6) return address.match(GLOBAL_IPV6);
  return address.toString() !== AZURE_METADATA;
}
