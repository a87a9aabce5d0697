/** The functions of libbpf 1.1 and libc that are used, with the types of their arguments. */
import { type Kind, NativeFunction } from './libbpf.js';

const bpf = (name: string, kinds: readonly Kind[], result: 'int' | 'pointer' = 'int'): NativeFunction =>
  new NativeFunction('libbpf', name, result, kinds);
const libc = (name: string, kinds: readonly Kind[], result: 'int' | 'pointer' = 'int'): NativeFunction =>
  new NativeFunction('libc', name, result, kinds);

/** What is used of libbpf 1.1, by its C names. Options structs are laid out by the callers. */
export const libbpf = {
  objectOpenFile: bpf('bpf_object__open_file', ['pointer', 'pointer'], 'pointer'),
  objectLoad: bpf('bpf_object__load', ['pointer']),
  objectClose: bpf('bpf_object__close', ['pointer']),
  objectNextMap: bpf('bpf_object__next_map', ['pointer', 'pointer'], 'pointer'),
  objectNextProgram: bpf('bpf_object__next_program', ['pointer', 'pointer'], 'pointer'),
  mapName: bpf('bpf_map__name', ['pointer'], 'pointer'),
  mapFd: bpf('bpf_map__fd', ['pointer']),
  mapType: bpf('bpf_map__type', ['pointer']),
  mapKeySize: bpf('bpf_map__key_size', ['pointer']),
  mapValueSize: bpf('bpf_map__value_size', ['pointer']),
  mapMaxEntries: bpf('bpf_map__max_entries', ['pointer']),
  mapFlags: bpf('bpf_map__map_flags', ['pointer']),
  mapSetMaxEntries: bpf('bpf_map__set_max_entries', ['pointer', 'uint32']),
  mapSetPinPath: bpf('bpf_map__set_pin_path', ['pointer', 'pointer']),
  mapReuseFd: bpf('bpf_map__reuse_fd', ['pointer', 'int']),
  mapSetInitialValue: bpf('bpf_map__set_initial_value', ['pointer', 'pointer', 'uint64']),
  programName: bpf('bpf_program__name', ['pointer'], 'pointer'),
  programFd: bpf('bpf_program__fd', ['pointer']),
  programFlags: bpf('bpf_program__flags', ['pointer']),
  programSetFlags: bpf('bpf_program__set_flags', ['pointer', 'uint32']),
  programSetAutoload: bpf('bpf_program__set_autoload', ['pointer', 'int']),
  programSetLogBuffer: bpf('bpf_program__set_log_buf', ['pointer', 'pointer', 'uint64']),
  mapCreate: bpf('bpf_map_create', ['int', 'pointer', 'uint32', 'uint32', 'uint32', 'pointer']),
  mapUpdate: bpf('bpf_map_update_elem', ['int', 'pointer', 'pointer', 'uint64']),
  mapLookup: bpf('bpf_map_lookup_elem', ['int', 'pointer', 'pointer']),
  mapDelete: bpf('bpf_map_delete_elem', ['int', 'pointer']),
  mapNextKey: bpf('bpf_map_get_next_key', ['int', 'pointer', 'pointer']),
  mapUpdateBatch: bpf('bpf_map_update_batch', ['int', 'pointer', 'pointer', 'pointer', 'pointer']),
  mapLookupBatch: bpf('bpf_map_lookup_batch', [
    'int',
    'pointer',
    'pointer',
    'pointer',
    'pointer',
    'pointer',
    'pointer',
  ]),
  mapDeleteBatch: bpf('bpf_map_delete_batch', ['int', 'pointer', 'pointer', 'pointer']),
  objPin: bpf('bpf_obj_pin', ['int', 'pointer']),
  objGet: bpf('bpf_obj_get', ['pointer']),
  objInfo: bpf('bpf_obj_get_info_by_fd', ['int', 'pointer', 'pointer']),
  btfLoad: bpf('bpf_btf_load', ['pointer', 'uint64', 'pointer']),
  testRun: bpf('bpf_prog_test_run_opts', ['int', 'pointer']),
  linkCreate: bpf('bpf_link_create', ['int', 'int', 'int', 'pointer']),
  linkUpdate: bpf('bpf_link_update', ['int', 'int', 'pointer']),
  linkDetach: bpf('bpf_link_detach', ['int']),
  xdpQuery: bpf('bpf_xdp_query', ['int', 'int', 'pointer']),
  tcHookCreate: bpf('bpf_tc_hook_create', ['pointer']),
  tcHookDestroy: bpf('bpf_tc_hook_destroy', ['pointer']),
  tcAttach: bpf('bpf_tc_attach', ['pointer', 'pointer']),
  tcDetach: bpf('bpf_tc_detach', ['pointer', 'pointer']),
} as const;

/** What Node does not offer of libc. */
export const sys = {
  flock: libc('flock', ['int', 'int']),
  setns: libc('setns', ['int', 'int']),
  ifNameToIndex: libc('if_nametoindex', ['pointer']),
  mmap: libc('mmap', ['pointer', 'uint64', 'int', 'int', 'int', 'uint64'], 'pointer'),
  munmap: libc('munmap', ['pointer', 'uint64']),
  socket: libc('socket', ['int', 'int', 'int']),
  getSocketOption: libc('getsockopt', ['int', 'int', 'int', 'pointer', 'pointer']),
  clockGetRes: libc('clock_getres', ['int', 'pointer']),
  send: libc('send', ['int', 'pointer', 'uint64', 'int']),
  recv: libc('recv', ['int', 'pointer', 'uint64', 'int']),
} as const;
