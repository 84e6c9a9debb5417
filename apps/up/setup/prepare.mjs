/**
 * The beginning of `npm run up`, `npm test` and the checks: `node apps/up/setup/prepare.mjs <recipe> …arguments`.
 *
 * It runs on the machine's Node with nothing installed. This file only looks at the Node version, in words that
 * very old Nodes understand; everything else is imported after that.
 */
import { readFileSync } from 'node:fs';

const { engines } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
const needed = Number(/\d+/.exec(engines.node)[0]);

if (Number(process.versions.node.split('.')[0]) < needed) {
  console.error(
    `Pilum needs Node ${needed} or newer to set itself up, and this is Node ${process.versions.node}: install a newer one from https://nodejs.org and start again.`,
  );
  process.exit(1);
}

import('./set-up.mjs').then(({ setUp }) => setUp(process.argv.slice(2)));
