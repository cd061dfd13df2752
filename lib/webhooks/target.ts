/**
 * Allowed targets of webhooks. An operator's key must not give access to what only this
 * machine can reach: in production only public addresses over https.
 *
 * @module
 */
import ipaddr from "ipaddr.js";

/** The rules for targets. */
export interface TargetRules {
  /** Only https and public addresses; otherwise also http and this machine. */
  readonly isPublicOnly: boolean;
}

/** Why a URL is refused. */
export type TargetProblem =
  | "not_a_url"
  | "not_https"
  | "has_credentials"
  | "has_fragment"
  | "forbidden_address";

/** Parses a URL and checks it as far as possible without resolving its host name. */
export function parseTarget(text: string, rules: TargetRules): { url: URL } | TargetProblem {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol) || url.hostname === "") return "not_a_url";
  if (rules.isPublicOnly && url.protocol !== "https:") return "not_https";
  if (url.username !== "" || url.password !== "") return "has_credentials";
  // A fragment is never sent.
  if (url.hash !== "" || text.includes("#")) return "has_fragment";
  const literal = literalOf(url);
  if (literal !== null && !isAllowedAddress(literal, rules)) return "forbidden_address";
  return { url };
}

/** The IP address of a URL, in any notation; null if it has a host name. */
export function literalOf({ hostname }: URL): string | null {
  const bare = hostname.replace(/^\[(.*)\]$/, "$1");
  return ipaddr.isValid(bare) ? bare : null;
}

/** Whether an IP address is an allowed target. */
export function isAllowedAddress(address: string, { isPublicOnly }: TargetRules): boolean {
  if (isPublicAddress(address)) return true;
  return !isPublicOnly && ipaddr.isValid(address) &&
    ipaddr.process(address).range() === "loopback";
}

/** The metadata service of Azure, which looks like a public address. */
const AZURE_METADATA = "168.63.129.16";
/** The global unicast addresses that are assigned (RFC 4291, 2.4). */
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR("2000::/3");

/**
 * Whether an address belongs to the public internet: not private, loopback, link-local,
 * shared, multicast, reserved or for documentation, and not an IPv6 form of an IPv4
 * address. False for a text that is not an address.
 */
function isPublicAddress(text: string): boolean {
  if (!ipaddr.isValid(text) || text.includes("%")) return false;
  const address = ipaddr.parse(text);
  if (address.range() !== "unicast") return false;
  if (address instanceof ipaddr.IPv6) return address.match(GLOBAL_IPV6);
  return address.toString() !== AZURE_METADATA;
}
