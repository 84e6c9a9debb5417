import { expect, test } from 'vitest';
import { withNetworkHint } from '../../../apps/worker/src/runtimes/protocols/network-hint.ts';

const failed = (message: string, details = {}) => ({ code: 'FUNCTION_FAILED', message, details }) as const;
const hint = expect.stringContaining('limits.network');

test.for([
  failed('Error: getaddrinfo EAI_AGAIN example.com'),
  failed('TypeError: fetch failed', {
    causes: [{ type: 'Error', message: 'getaddrinfo ENOTFOUND a.b', code: 'ENOTFOUND' }],
  }),
  failed('Error: queryA ECONNREFUSED example.com'),
  failed('gaierror: [Errno -3] Temporary failure in name resolution'),
  failed('OSError: [Errno 101] Network is unreachable'),
  failed('The command ended with exit code 6.', { stderr: 'curl: (6) Could not resolve host: example.com' }),
])('a failure of the network where there is none says what to do: %o', (error) => {
  expect(withNetworkHint(error, 'none')).toMatchObject({ hint });
  expect(withNetworkHint(error, 'host')).not.toHaveProperty('hint');
});

test.for([
  failed('Error: connect ECONNREFUSED 127.0.0.1:5432', { errorCode: 'ECONNREFUSED' }),
  failed('Error: no such host in the inventory of this shop'.replace('no such host', 'unknown host')),
  failed('TypeError: a is not a function'),
])('any other does not: %o', (error) => {
  expect(withNetworkHint(error, 'none')).not.toHaveProperty('hint');
});
