/**
 * A payment by someone else's client for AzamPay, npm's `azampay`, in a process of
 * its own: it speaks as AzamPay's users do, which keeps the simulator honest.
 *
 * Its hosts are fixed, so HTTPS_PROXY has to lead it to the simulator. It turns off
 * the checks of certificates, so it must be let to nothing but 127.0.0.1.
 *
 * Takes one JSON object as its argument, prints one.
 */
import client from "azampay";

const { account, externalId, amount, accountNumber, provider } = JSON.parse(Deno.args[0]!);

const { getToken, instance: Client } = client.default;
const signedIn = await getToken({ ...account, env: "SANDBOX" });
const options = { accessToken: signedIn.data?.accessToken ?? "", apiKey: account.apiKey };
const shop = new Client({ ...options, env: "SANDBOX" });
const checkout = await shop.mnoCheckout({
  externalId,
  amount,
  accountNumber,
  provider,
  currency: "TZS",
});
const partners = await shop.partners();

console.log(JSON.stringify({ signedIn, checkout, partners }));
