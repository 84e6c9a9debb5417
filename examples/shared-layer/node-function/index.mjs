import { readFileSync } from 'node:fs';

// Read once, when the instance starts, and kept for all of its calls.
const names = JSON.parse(readFileSync('/opt/countries/countries.json', 'utf8'));

export default ({ code }) => names[code] ?? 'unknown';
