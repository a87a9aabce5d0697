/** Flags that several commands share. */
import { resolve } from 'node:path';
import { flag } from './flags.js';
import { oneOf, path } from './parse.js';

export const BPF_ROOT = flag(
  '--bpf-root <DIR>',
  'directory of the pins, on a mounted bpf file system',
  (text, refuse) => resolve(path(text, refuse)),
  '/sys/fs/bpf/weir',
);

const FORMATS = ['json', 'table'] as const;
export type Format = (typeof FORMATS)[number];

export const OUTPUT = flag<Format>('-o, --output <FORMAT>', 'json or table', oneOf(FORMATS), 'table');
