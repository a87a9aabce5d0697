/** Ranges of ports as prefixes of their 16 bits. */
import type { ContainerPort } from '../model.js';
import type { Protocol } from '../net.js';

export interface PortPrefix {
  readonly port: number;
  /** 0 to 16 leading bits that must be equal. */
  readonly bits: number;
}

/** The fewest prefixes that cover first to last and nothing else; at most 30. */
export function portPrefixes(first: number, last: number): PortPrefix[] {
  const prefixes: PortPrefix[] = [];
  for (let port = first; port <= last;) {
    let size = port === 0 ? 65536 : port & -port;
    while (port + size - 1 > last) size /= 2;
    prefixes.push({ port, bits: 16 - Math.log2(size) });
    port += size;
  }
  return prefixes;
}

/** The number behind a port's name on one pod, or undefined: the protocol must be the same. */
export function namedPort(ports: readonly ContainerPort[], name: string, protocol: Protocol): number | undefined {
  return ports.find((port) => port.name === name && port.protocol === protocol)?.port;
}
