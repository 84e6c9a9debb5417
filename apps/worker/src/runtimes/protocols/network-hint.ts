import type { ErrorData } from '@pilum/core/errors/pilum-error.ts';

/** The messages of resolvers, sockets and the programs that use them where there is no network. */
const NO_NETWORK =
  /\b(?:EAI_AGAIN|EAI_NODATA|EAI_NONAME|ENOTFOUND|ENETUNREACH|EHOSTUNREACH|ENETDOWN|EADDRNOTAVAIL)\b|\bquery\w+ ECONNREFUSED\b|network is (?:unreachable|down)|name resolution|name or service not known|could not resolve host|no route to host|no address associated with hostname|nodename nor servname|failed to lookup address|\bno such host\b|cannot assign requested address/i;

const HINT =
  'This function runs without a network. Set limits.network to host in the artifact spec, where the operator allows it (PILUM_ALLOW_HOST_NETWORK).';

/** A failure with a hint to `limits.network`, where it is one of the network in a sandbox that has none. */
export function withNetworkHint(error: ErrorData, network: 'none' | 'host'): ErrorData {
  if (network !== 'none' || (error.code !== 'FUNCTION_FAILED' && error.code !== 'INSTANCE_START_FAILED')) return error;
  const { errorCode, causes, stderr } = error.details ?? {};
  const said = [error.message, errorCode, causes === undefined ? '' : JSON.stringify(causes), stderr].join('\n');
  return NO_NETWORK.test(said) ? { ...error, hint: HINT } : error;
}
