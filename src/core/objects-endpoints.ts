/** discovery.k8s.io/v1 EndpointSlice -> model. */
import {
  asRecord,
  describeValue,
  type Fault,
  Field,
  NONE,
  readChoice,
  readFlag,
  readIps,
  readPort,
  readText,
  routable,
} from './objects-field.js';
import { DEFAULT_WEIGHT, parseWeight, WEIGHT_RANGE } from './weights.js';
import type { Identity, Reading } from './objects-meta.js';
import { familyOf, PROTOCOLS, type Family, type Ip } from './net.js';
import type { Endpoint, EndpointPort } from './model.js';
import { HEADLESS_LABEL } from './objects-service.js';
import { shareText } from './share.js';

const TRIGGER_ANNOTATION = 'endpoints.kubernetes.io/last-change-trigger-time';
const WEIGHT_ANNOTATION = 'weir.io/weight';
const SERVICE_LABEL = 'kubernetes.io/service-name';
const FAMILIES = { IPv4: 'v4', IPv6: 'v6' } as const;

/** Reads an EndpointSlice; those of host names, of headless services or of no service are not for a proxy. */
export function readEndpointSlice(root: Field, id: Identity): Reading {
  const metadata = root.at('metadata');
  if (!metadata.at('labels').at(HEADLESS_LABEL).absent) return { ignored: `label ${HEADLESS_LABEL}` };
  const type = root.at('addressType');
  if (type.absent) type.expected('IPv4, IPv6 or FQDN');
  const addressType = readChoice(type, ['IPv4', 'IPv6', 'FQDN'], 'IPv4');
  if (addressType === 'FQDN') return { ignored: 'addressType FQDN' };
  const service = readServiceName(metadata);
  if (service === '' && root.faults.length === 0)
    return { ignored: `belongs to no Service: no label ${SERVICE_LABEL}` };
  const notes: Fault[] = [];
  const weight = readWeight(metadata.at('annotations').object(), notes);
  const check = addressCheck(FAMILIES[addressType], addressType);
  return {
    notes,
    resource: {
      kind: 'EndpointSlice',
      ...id,
      service,
      ...(weight === DEFAULT_WEIGHT ? {} : { weight }),
      ports: readPorts(root.at('ports')),
      endpoints: root
        .at('endpoints')
        .items()
        .map((endpoint) => readEndpoint(endpoint.object(), check)),
      triggered: readTriggered(metadata),
    },
  };
}

/** The label, or else the owner: slices made by other controllers may carry only one of the two. */
function readServiceName(metadata: Field): string {
  const label = readText(metadata.at('labels').object().at(SERVICE_LABEL));
  if (label !== '') return label;
  const owners = metadata.at('ownerReferences').items();
  const owner = owners.find((reference) => asRecord(reference.value)?.['kind'] === 'Service');
  return owner ? readText(owner.at('name')) : '';
}

/** For measurement alone, so that what cannot be read is no fault of the slice. */
function readTriggered(metadata: Field): number {
  const text = asRecord(metadata.at('annotations').value)?.[TRIGGER_ANNOTATION];
  const time = typeof text === 'string' ? Date.parse(text) : NaN;
  return Number.isNaN(time) ? 0 : time;
}

/** A weight that is none is noted, and the slice counts as if it had not been annotated. */
function readWeight(annotations: Field, notes: Fault[]): number {
  const { value } = annotations.at(WEIGHT_ANNOTATION);
  if (value === undefined) return DEFAULT_WEIGHT;
  const weight = typeof value === 'string' ? parseWeight(value) : undefined;
  if (weight !== undefined) return weight;
  const field = `${annotations.path}[${WEIGHT_ANNOTATION}]`;
  notes.push({ field, message: `must be ${WEIGHT_RANGE}, got ${describeValue(value)}: using ${DEFAULT_WEIGHT}` });
  return DEFAULT_WEIGHT;
}

function addressCheck(family: Family, addressType: string): (ip: Ip) => string | undefined {
  return (ip) => (familyOf(ip) === family ? routable(ip) : `an ${addressType} address, as addressType says`);
}

/** A port without a number means "every port", which no proxy can serve. */
function readPorts(list: Field): readonly EndpointPort[] {
  const ports: EndpointPort[] = [];
  const names = new Set<string>();
  for (const field of list.items()) {
    if (field.object().at('port').absent) continue;
    const name = readText(field.at('name'));
    if (names.has(name)) field.at('name').expected('unique in its slice');
    names.add(name);
    ports.push({
      name,
      protocol: readChoice(field.at('protocol'), PROTOCOLS, 'TCP'),
      port: readPort(field.at('port')),
    });
  }
  return ports;
}

function readEndpoint(field: Field, check: (ip: Ip) => string | undefined): Endpoint {
  const addresses = field.at('addresses');
  const list = addresses.items();
  if (list.length === 0) addresses.expected('a list of at least one address');
  const conditions = field.at('conditions').object();
  const hints = field.at('hints').object();
  const ready = readFlag(conditions.at('ready')) ?? true;
  const pod = readText(field.at('targetRef').object().at('name'));
  return {
    ...(pod === '' ? {} : { pod }),
    addresses: readIps(list, check),
    ready,
    serving: readFlag(conditions.at('serving')) ?? ready,
    terminating: readFlag(conditions.at('terminating')) ?? false,
    nodeName: shareText(readText(field.at('nodeName'))),
    zoneHints: readHints(hints, 'forZones'),
    nodeHints: readHints(hints, 'forNodes'),
  };
}

function readHints(hints: Field, key: string): readonly string[] {
  if (hints.absent) return NONE;
  const names = hints
    .at(key)
    .items()
    .map((hint) => readText(hint.object().at('name')));
  return names.length > 0 ? names : NONE;
}
