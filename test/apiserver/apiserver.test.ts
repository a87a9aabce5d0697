/** The Kubernetes source against a real API server. Needs KUBEBUILDER_ASSETS: a folder with etcd, kube-apiserver and kubectl. */
import test from 'ava';
import { kubernetesSource } from '../../src/watch/kubernetes.js';
import { KubeApiserver } from '../helpers/kube-apiserver.js';
import { Mirror } from '../helpers/mirror.js';
import { rawService, rawSlice } from '../helpers/samples.js';

const assets = process.env['KUBEBUILDER_ASSETS'];

if (assets === undefined || assets === '') {
  test('against a real API server: left out', (t) => {
    t.log('KUBEBUILDER_ASSETS names no folder with etcd, kube-apiserver and kubectl: nothing was tested here');
    t.pass();
  });
} else {
  const timing = { backoffMs: [100, 1000], pageSize: 5 } as const;

  test.serial('a real API server is followed through changes, its own death and its return', async (t) => {
    t.timeout(300_000);
    const server = await KubeApiserver.start(assets);
    const mirror = new Mirror();
    const source = kubernetesSource({ kubeconfig: await server.kubeconfig(), timing });
    t.teardown(async () => {
      await source.stop();
      await server.close();
    });
    await server.kubectl(['create', 'namespace', 'shop']);
    // More services than a page holds, each with an address that the server chose.
    const anyAddress = { clusterIP: undefined, clusterIPs: undefined };
    await server.apply(
      ...Array.from({ length: 12 }, (_, i) => rawService(`s${i}`, 0, anyAddress)),
      rawSlice('s0', ['10.1.0.1']),
    );
    await source.start(mirror);
    await mirror.until('sync', () => mirror.syncs === 1, 30_000);
    t.is(mirror.keys.filter((key) => key.startsWith('Service/shop/')).length, 12);

    await server.apply(rawSlice('s0', ['10.1.0.1', '10.1.0.2']));
    await mirror.until('change', () => endpoints(mirror) === 2);
    await server.kubectl(['delete', '-n', 'shop', 'service', 's1']);
    await mirror.until('removal', () => !mirror.keys.includes('Service/shop/s1'));

    await server.killServer();
    await mirror.until('problem', () => mirror.problems.length > 0, 30_000);
    t.is(endpoints(mirror), 2, 'everything stays in force');
    await server.startServer();
    await server.apply(rawSlice('s0', ['10.1.0.3']));
    await server.kubectl(['delete', '-n', 'shop', 'service', 's2']);
    await mirror.until(
      'changes after the return',
      () => endpoints(mirror) === 1 && !mirror.keys.includes('Service/shop/s2'),
      60_000,
    );
    t.is(mirror.syncs, 1);
  });

  test.serial('a real API server that refuses the user is reported by what may not be done', async (t) => {
    t.timeout(180_000);
    const server = await KubeApiserver.start(assets);
    const mirror = new Mirror();
    const source = kubernetesSource({ kubeconfig: await server.kubeconfig('nobody-token'), timing });
    t.teardown(async () => {
      await source.stop();
      await server.close();
    });
    await source.start(mirror);
    await mirror.until('problems', () => mirror.problems.length === 3, 30_000);
    t.true(mirror.problems.every((problem) => problem.message.startsWith('403')));
    t.deepEqual(mirror.problems.map((problem) => problem.field).sort(), [
      'list endpointslices.discovery.k8s.io',
      'list nodes',
      'list services',
    ]);
  });
}

function endpoints(mirror: Mirror): number | undefined {
  const slice = mirror.state.get('EndpointSlice/shop/s0-1');
  return slice?.kind === 'EndpointSlice' ? slice.endpoints.length : undefined;
}
