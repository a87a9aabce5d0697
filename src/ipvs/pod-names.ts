/** The file of the state directory that names the pods of the cluster by their addresses. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ip } from '../core/net.js';

const FILE = 'pods.json';

/** `{"10.0.0.1": "ns/name"}` */
export function podNamesText(pods: ReadonlyMap<Ip, string>): string {
  return JSON.stringify(Object.fromEntries(pods));
}

/** '' where there is none. */
export function readPodNamesText(directory: string): string {
  try {
    return readFileSync(join(directory, FILE), 'utf8');
  } catch {
    return '';
  }
}

/** Empty where nothing was written, or nothing that can be read. */
export function readPodNames(directory: string): ReadonlyMap<Ip, string> {
  try {
    return new Map(Object.entries(JSON.parse(readPodNamesText(directory)) as Record<string, string>)) as Map<
      Ip,
      string
    >;
  } catch {
    return new Map();
  }
}

export function writePodNames(directory: string, text: string): void {
  const path = join(directory, FILE);
  writeFileSync(`${path}.tmp`, text);
  renameSync(`${path}.tmp`, path);
}
