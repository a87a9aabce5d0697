/** Maps that are full: what fits is served, what does not is named, and it is served once there is room. */
import test from 'ava';
import { Applier } from '../../src/agent/applier.js';
import { compileService, type DesiredService } from '../../src/core/desired.js';
import type { Problem } from '../../src/core/model.js';
import { openDataplane } from '../../src/loader/dataplane.js';
import { KernelTables } from '../../src/maps/kernel-tables.js';
import { localBackendCodec, localKeyCodec, MAPS } from '../../src/maps/layout.js';
import { openTable } from '../../src/maps/table.js';
import { endpoint, ip, ips, service, settings, slice } from '../helpers/model.js';
import { bpffs } from './loader-world.js';

const OBJECT = 'bpf/build/weir.bpf.o';

/** weir_local takes the endpoints of this node only: a service whose endpoint is here needs room in it. */
function desired(name: string, address: string, nodeName: string): DesiredService {
  const of = service(name, { clusterIps: ips(address) });
  const pods = slice(name, [endpoint(address.replace('10.96', '10.244'), { nodeName })]);
  return compileService(of, [pods], settings({ nodeName: 'node-1' }));
}

test('where a map is full, the services that fit are served, and the one that does not is named', (t) => {
  const bpfRoot = bpffs(t);
  const dataplane = openDataplane({ objectPath: OBJECT, bpfRoot, flowEntries: { v4: 64, v6: 64 } });
  const tables = new KernelTables(bpfRoot);
  const local = openTable(bpfRoot, MAPS.weir_local);
  const frontends = openTable(bpfRoot, MAPS.weir_frontends);
  t.teardown(() => {
    for (const open of [frontends, local, tables, dataplane]) open[Symbol.dispose]();
  });
  const problems: Problem[] = [];
  const nothing = { uplinks: [], pods: [], bridges: [], xdp: new Set<number>(), bindings: new Map() };
  const known = { sources: [], cluster: [] };
  const applier = new Applier(
    tables,
    (endpoints) => ({ ...nothing, ...known, endpoints }),
    (problem) => problems.push(problem),
    0,
  );
  const filler = Array.from({ length: MAPS.weir_local.maxEntries }, (_, index) => {
    const key = Buffer.alloc(localKeyCodec.size);
    localKeyCodec.encode({ address: ip('192.0.2.1'), service: 1_000_000 + index }, key, 0);
    return { key, value: Buffer.alloc(localBackendCodec.size) };
  });
  local.putEncoded(filler);
  const services = [
    desired('far', '10.96.0.1', 'node-2'),
    desired('near', '10.96.0.2', 'node-1'),
    desired('other', '10.96.0.3', 'node-2'),
  ];
  const served = (): string[] => [...frontends.entries()].map(([key]) => key.address as string).sort();

  applier.apply(services, []);
  applier.apply(services, []);
  t.deepEqual(served(), ['10.96.0.1', '10.96.0.3']);
  t.deepEqual([...applier.unserved()], ['shop/near']);
  t.is(problems.length, 1, 'it is named once, however often it is tried');
  t.is(problems[0]?.object, 'Service shop/near');
  t.regex(problems[0]?.message ?? '', /weir_local/);

  local.deleteEncoded(filler.map(({ key }) => key));
  applier.apply(services, []);
  t.deepEqual(served(), ['10.96.0.1', '10.96.0.2', '10.96.0.3']);
  t.is(problems.length, 1);
  t.is(applier.apply(services, []).writes, 0);
  t.deepEqual([...applier.unserved()], []);
});
