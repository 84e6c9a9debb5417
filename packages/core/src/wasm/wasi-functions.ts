/** The name of WASI preview 1 among a module's imports. */
export const WASI_MODULE = 'wasi_snapshot_preview1';

const of = (prefix: string, names: string) => names.split(' ').map((name) => `${prefix}_${name}`);

/** Its functions, all of them (github.com/WebAssembly/WASI, legacy/preview1/docs.md). */
export const WASI_FUNCTIONS: readonly string[] = [
  ...of('args', 'get sizes_get'),
  ...of('environ', 'get sizes_get'),
  ...of('clock', 'res_get time_get'),
  ...of('fd', 'advise allocate close datasync fdstat_get fdstat_set_flags fdstat_set_rights filestat_get'),
  ...of('fd', 'filestat_set_size filestat_set_times pread prestat_get prestat_dir_name pwrite read readdir'),
  ...of('fd', 'renumber seek sync tell write'),
  ...of('path', 'create_directory filestat_get filestat_set_times link open readlink remove_directory rename'),
  ...of('path', 'symlink unlink_file'),
  ...of('poll', 'oneoff'),
  ...of('proc', 'exit raise'),
  ...of('random', 'get'),
  ...of('sched', 'yield'),
  ...of('sock', 'accept recv send shutdown'),
];
