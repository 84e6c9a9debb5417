import { readdirSync, readFileSync } from 'node:fs';

/** Processes of this machine, but this one, with a text in their command line. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return pid > 0 && pid !== process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
      } catch {
        return false;
      }
    });
}

/** A text that no other command line has, and that `sleep` takes for a number. */
export const uniqueMarker = () => `31${Math.floor(Math.random() * 1e9)}`;
