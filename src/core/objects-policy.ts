/** networking.k8s.io/v1 NetworkPolicy -> model. Refuses what the API server refuses, where there is none to do it. */
import { asRecord, NONE, readChoice, readPort, type Fault, type Field } from './objects-field.js';
import type { Identity, Reading } from './objects-meta.js';
import { annotation, readDenyAction } from './objects-namespace.js';
import { readSelector } from './objects-selector.js';
import type { BlockPeer, PolicyPeer, PolicyPort, PolicyRule } from './model.js';
import { type Ip, mappedBits, parsePrefix, type Prefix, prefixContains, PROTOCOLS } from './net.js';

const MODE = 'weir.io/mode';

/**
 * Reads a NetworkPolicy. A field that the kind does not have is noted, because a misspelt `ingress` would deny all; so is an
 * annotation that is not understood, and the policy counts without it.
 */
export function readNetworkPolicy(root: Field, id: Identity): Reading {
  const notes: Fault[] = [];
  const metadata = root.at('metadata');
  const spec = root.at('spec');
  if (spec.absent) spec.expected('an object');
  only(spec.object(), ['podSelector', 'ingress', 'egress', 'policyTypes'], notes);
  const ingress = readRules(spec.object().at('ingress'), 'from', notes);
  const egress = readRules(spec.at('egress'), 'to', notes);
  const types = readTypes(spec.at('policyTypes'), egress);
  return {
    notes,
    resource: {
      kind: 'NetworkPolicy',
      ...id,
      podSelector: readSelector(spec.at('podSelector')),
      ...(types.has('Ingress') ? { ingress } : {}),
      ...(types.has('Egress') ? { egress } : {}),
      mode: readChoice(annotation(metadata, MODE, notes), ['enforce', 'audit'], 'enforce'),
      ...readDenyAction(metadata, notes),
    },
  };
}

/** Without policyTypes a policy isolates ingress always, egress only if it has a rule for it. */
function readTypes(field: Field, egress: readonly PolicyRule[]): ReadonlySet<'Ingress' | 'Egress'> {
  const items = field.items();
  if (items.length === 0) return new Set(egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress']);
  return new Set(
    items.map((item) => {
      if (item.absent) item.expected('Ingress or Egress');
      return readChoice(item, ['Ingress', 'Egress'], 'Ingress');
    }),
  );
}

function readRules(list: Field, peers: 'from' | 'to', notes: Fault[]): readonly PolicyRule[] {
  return list.items().map((field) => {
    const rule = field.object();
    only(rule, [peers, 'ports'], notes);
    return {
      peers: orNone(
        rule
          .at(peers)
          .items()
          .map((peer) => readPeer(peer.object(), notes)),
      ),
      ports: orNone(
        rule
          .at('ports')
          .items()
          .map((port) => readPolicyPort(port.object(), notes)),
      ),
    };
  });
}

function readPeer(field: Field, notes: Fault[]): PolicyPeer {
  only(field, ['podSelector', 'namespaceSelector', 'ipBlock'], notes);
  const [pods, namespaces, block] = ['podSelector', 'namespaceSelector', 'ipBlock'].map((key) => field.at(key));
  if (!block || block.absent) {
    if (pods?.absent && namespaces?.absent)
      field.expected('a peer with podSelector, namespaceSelector or ipBlock (leave out the list to match everything)');
    return {
      kind: 'pods',
      ...(namespaces?.absent === false ? { namespaces: readSelector(namespaces) } : {}),
      ...(pods?.absent === false ? { pods: readSelector(pods) } : {}),
    };
  }
  if (pods?.absent === false || namespaces?.absent === false)
    block.fault('stands beside a selector: make two peers of them');
  return readBlock(block.object(), notes);
}

function readBlock(block: Field, notes: Fault[]): BlockPeer {
  only(block, ['cidr', 'except'], notes);
  const cidr = readCidr(block.at('cidr'));
  const except = block
    .at('except')
    .items()
    .map((field) => {
      const prefix = readCidr(field);
      const inside = mappedBits(prefix) > mappedBits(cidr) && prefixContains(cidr, prefix.address);
      if (!inside && field.faults.length === 0)
        field.expected(`a smaller range inside cidr ${cidr.address}/${cidr.bits}`);
      return prefix;
    });
  return { kind: 'block', cidr, except: orNone(except) };
}

/** In place of a range that could not be read; the policy is refused. */
const UNREAD: Prefix = { address: '0.0.0.0' as Ip, bits: 0 };

function readCidr(field: Field): Prefix {
  const { value } = field;
  const prefix = typeof value === 'string' && value.includes('/') ? parsePrefix(value) : undefined;
  if (prefix) return prefix;
  field.expected('an address range such as 10.0.0.0/8 or fd00::/8');
  return UNREAD;
}

const PORT_NAME = /^(?=.*[a-z])(?!.*--)[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/;

function readPolicyPort(field: Field, notes: Fault[]): PolicyPort {
  only(field, ['protocol', 'port', 'endPort'], notes);
  const protocol = readChoice(field.at('protocol'), PROTOCOLS, 'TCP');
  const port = field.at('port');
  const end = field.at('endPort');
  if (port.absent || typeof port.value === 'string') {
    if (!end.absent) end.fault('needs a port that is a number, as the beginning of its range');
    if (port.absent) return { protocol };
    if (!PORT_NAME.test(String(port.value)))
      port.expected(
        'a number (without quotes) or the name of a container port: lower-case letters, digits, single dashes',
      );
    return { protocol, name: String(port.value) };
  }
  const first = readPort(port);
  const last = end.absent ? first : readPort(end);
  if (last < first && end.faults.length === 0) end.expected(`at least port, which is ${first}`);
  return { protocol, range: [first, last] };
}

/** Notes every field that is not among these. */
function only(field: Field, known: readonly string[], notes: Fault[]): void {
  for (const key of Object.keys(asRecord(field.value) ?? {})) {
    if (known.includes(key)) continue;
    const path = field.path === '' ? key : `${field.path}.${key}`;
    notes.push({ field: path, message: `is not known here and does nothing: known are ${known.join(', ')}` });
  }
}

function orNone<T>(list: readonly T[]): readonly T[] {
  return list.length > 0 ? list : NONE;
}
