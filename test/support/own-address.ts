import { networkInterfaces } from 'node:os';

/** An address of this machine that is not one of loopback: functions reach it where it is named. */
export function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const found = all.find(({ family, internal }) => family === 'IPv4' && !internal);
  if (found === undefined) throw new Error('This machine has no address but that of loopback.');
  return found.address;
}
