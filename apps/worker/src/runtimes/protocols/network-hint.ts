import type { ErrorData } from '@pilum/core/errors/pilum-error.ts';
import type { Network } from '@pilum/core/spec/networks.ts';

/** The messages of resolvers, sockets and the programs that use them where there is no network. */
const NO_NETWORK =
  /\b(?:EAI_AGAIN|EAI_NODATA|EAI_NONAME|ENOTFOUND|ENETUNREACH|EHOSTUNREACH|ENETDOWN|EADDRNOTAVAIL)\b|\bquery\w+ ECONNREFUSED\b|network is (?:unreachable|down)|name resolution|name or service not known|could not resolve host|no route to host|no address associated with hostname|nodename nor servname|failed to lookup address|\bno such host\b|cannot assign requested address/i;

const HINT =
  'This function runs without a network. Set limits.network in the artifact spec to a list of what it is to reach, {"allow": ["api.example.com:443"]}, or to egress for all that is public.';

/** A failure with a hint to `limits.network`, where it is one of the network in a sandbox that has none. */
export function withNetworkHint(error: ErrorData, network: Network): ErrorData {
  if (network !== 'none' || (error.code !== 'FUNCTION_FAILED' && error.code !== 'INSTANCE_START_FAILED')) return error;
  const { errorCode, causes, stderr } = error.details ?? {};
  const said = [error.message, errorCode, causes === undefined ? '' : JSON.stringify(causes), stderr].join('\n');
  return NO_NETWORK.test(said) ? { ...error, hint: HINT } : error;
}
