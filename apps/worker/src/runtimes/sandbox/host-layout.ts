import { access, lstat, readlink } from 'node:fs/promises';
import type { HostLayout } from './bubblewrap.ts';

/** Top directories that programs live in: on a merged /usr they are links into it. */
const PROGRAM_DIRECTORIES = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];

/** The files of /etc that programs need to run and that say nothing about the host. */
const HARMLESS_FILES = [
  '/etc/ld.so.cache',
  '/etc/ld.so.conf',
  '/etc/ld.so.conf.d',
  '/etc/alternatives',
  '/etc/ssl/certs',
  '/etc/ssl/openssl.cnf',
  '/etc/ca-certificates',
  '/etc/pki/tls/certs',
  '/etc/pki/ca-trust/extracted',
  '/etc/crypto-policies',
  '/etc/localtime',
  '/etc/mime.types',
  '/etc/fonts',
  '/etc/protocols',
];

/** Reads how this machine lays out its programs. */
export async function readHostLayout(): Promise<HostLayout> {
  const symlinks: { path: string; target: string }[] = [];
  const visible = ['/usr'];
  for (const path of PROGRAM_DIRECTORIES) {
    const stats = await lstat(path).catch(() => null);
    if (stats?.isSymbolicLink()) symlinks.push({ path, target: await readlink(path) });
    else if (stats?.isDirectory()) visible.push(path);
  }
  for (const path of HARMLESS_FILES) {
    if (await exists(path)) visible.push(path);
  }
  return { symlinks, visible };
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
