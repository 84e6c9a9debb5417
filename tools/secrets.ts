// `npm run secrets -- new-key | check | rotate`: the operator's keys, and what is encrypted with them.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { PilumError } from '@pilum/core/errors/pilum-error.ts';
import { connect } from '@pilum/core/redis/connect.ts';
import { readRedisTls } from '@pilum/core/redis/redis-tls.ts';
import { KeySource } from '@pilum/core/secrets/key-source.ts';
import { SecretKeys } from '@pilum/core/secrets/secret-keys.ts';
import { SecretStore } from '@pilum/core/secrets/secret-store.ts';

const USAGE = `npm run secrets -- new-key     prints a new key
npm run secrets -- check       how many secrets are encrypted with which key, and whether it is there
npm run secrets -- rotate      encrypts all secrets with the first key

  --redis URL                  the Redis of Pilum; that of \`npm run up\` in --data where none is named
  --keys FILE                  the file of keys; PILUM_SECRETS_KEY_FILE, or that of \`npm run up\` in --data
  --data .pilum                the data directory of \`npm run up\``;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { redis: { type: 'string' }, keys: { type: 'string' }, data: { type: 'string', default: '.pilum' } },
});
const [what] = positionals;
const here = process.env.INIT_CWD ?? '.';

function refuse(sentence: string): never {
  console.error(sentence);
  process.exit(1);
}

if (what === 'new-key') console.log(SecretKeys.generate());
else if (what === 'check' || what === 'rotate') await run(what);
else refuse(USAGE);

async function run(command: 'check' | 'rotate'): Promise<void> {
  const data = resolve(here, flags.data);
  const { PILUM_SECRETS_KEY, PILUM_SECRETS_KEY_FILE, PILUM_REDIS_URL } = process.env;
  const ofUp = join(data, 'secrets.key');
  const file = flags.keys === undefined ? PILUM_SECRETS_KEY_FILE : resolve(here, flags.keys);
  const socket = `unix://${join(data, 'redis', 'redis.sock')}`;
  const url = flags.redis ?? PILUM_REDIS_URL ?? socket;
  if (url === socket && !existsSync(socket.slice('unix://'.length))) {
    refuse(`There is no Redis at ${socket}: start Pilum, or name its Redis with --redis or its directory with --data.`);
  }
  try {
    const settings =
      file === undefined && PILUM_SECRETS_KEY !== undefined
        ? { SECRETS_KEY: PILUM_SECRETS_KEY }
        : { SECRETS_KEY_FILE: file ?? ofUp };
    const keys = KeySource.open(settings, () => undefined).require();
    await withStore(url, async (store) => {
      if (command === 'rotate') {
        const rewritten = await store.rotate(keys);
        console.log(`${rewritten} secrets were encrypted anew, with the key ${keys.firstId}.`);
      }
      let missing = 0;
      for (const [keyId, secrets] of await store.countByKey()) {
        if (!keys.has(keyId)) missing += secrets;
        const whether = keyId === keys.firstId ? 'the first key' : keys.has(keyId) ? 'there' : 'MISSING';
        console.log(`${keyId}   ${secrets} secrets   ${whether}`);
      }
      process.exitCode = missing > 0 ? 1 : 0;
    });
  } catch (error) {
    if (!(error instanceof PilumError)) throw error;
    refuse(error.message);
  }
}

async function withStore(url: string, use: (store: SecretStore) => Promise<void>): Promise<void> {
  const { PILUM_REDIS_CA_FILE, PILUM_REDIS_CERT_FILE, PILUM_REDIS_KEY_FILE } = process.env;
  const tls = readRedisTls({
    REDIS_URL: url,
    REDIS_CA_FILE: PILUM_REDIS_CA_FILE,
    REDIS_CERT_FILE: PILUM_REDIS_CERT_FILE,
    REDIS_KEY_FILE: PILUM_REDIS_KEY_FILE,
  });
  const redis = connect({ url, tls, name: 'pilum-secrets' }, (error) =>
    refuse(`Redis at ${url.replace(/^(\w+:\/\/)[^/]*@/, '$1')} does not answer: ${error.message}`),
  );
  try {
    await use(new SecretStore(redis));
  } finally {
    redis.disconnect();
  }
}
