/** v1 Pod -> model. */
import { Field, NONE, readChoice, readFlag, readIps, readLabels, readPort, readText } from './objects-field.js';
import { readCreated, type Identity, type Reading } from './objects-meta.js';
import type { ContainerPort } from './model.js';
import { PROTOCOLS, type Ip } from './net.js';
import { shareLabels, shareList, shareText } from './share.js';

const FINISHED = new Set<unknown>(['Succeeded', 'Failed']);

/** Reads a Pod: of its many fields only those that policy asks for. */
export function readPod(root: Field, id: Identity): Reading {
  const metadata = root.at('metadata');
  const spec = root.at('spec').object();
  const status = root.at('status').object();
  return {
    resource: {
      kind: 'Pod',
      namespace: shareText(id.namespace),
      name: id.name,
      created: readCreated(metadata),
      labels: shareLabels(readLabels(metadata.at('labels'))),
      addresses: readAddresses(status),
      ports: readPorts(spec),
      finished: FINISHED.has(status.at('phase').value),
      hostNetwork: readFlag(spec.at('hostNetwork')) ?? false,
      nodeName: shareText(readText(spec.at('nodeName'))),
    },
  };
}

/** podIPs, or the older podIP alone; '' means none yet. */
function readAddresses(status: Field): readonly Ip[] {
  const list = status.at('podIPs').items();
  const fields = list.length > 0 ? list.map((entry) => entry.object().at('ip')) : [status.at('podIP')];
  return readIps(fields.filter((field) => !field.absent && field.value !== ''));
}

/** The named ports of containers and of those init containers that go on running beside them. */
function readPorts(spec: Field): readonly ContainerPort[] {
  const init = spec.at('initContainers').items();
  const sidecars = init.filter((container) => container.object().at('restartPolicy').value === 'Always');
  const ports: ContainerPort[] = [];
  for (const container of [...spec.at('containers').items(), ...sidecars]) {
    for (const field of container.object().at('ports').items()) {
      const name = readText(field.object().at('name'));
      if (name === '') continue;
      const protocol = readChoice(field.at('protocol'), PROTOCOLS, 'TCP');
      ports.push({ name, protocol, port: readPort(field.at('containerPort')) });
    }
  }
  return ports.length > 0 ? shareList(ports) : NONE;
}
