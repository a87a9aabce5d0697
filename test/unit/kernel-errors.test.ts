import test from 'ava';
import { missingCapabilities } from '../../src/loader/capabilities.js';
import { checkKernel } from '../../src/loader/dataplane.js';
import { errnoName, KernelError, VerifierError } from '../../src/loader/errors.js';
import { possibleCpus } from '../../src/loader/kernel-map.js';

test('a refused call is reported with its name, what it was for and the errno by name', (t) => {
  const error = new KernelError('bpf_map_create', 7, 'create map weir_flows4');
  t.is(error.message, 'create map weir_flows4: bpf_map_create answered E2BIG');
  t.is(error.code, 'WEIR_KERNEL');
  t.is(errnoName(524), 'ENOTSUPP');
  t.is(errnoName(11), 'EAGAIN');
  t.is(errnoName(9999), 'errno 9999');
});

test('missing capabilities are named, CAP_SYS_ADMIN counts for those that were split from it', (t) => {
  t.deepEqual(missingCapabilities('CapEff:\t0000000000000000\n'), ['CAP_NET_ADMIN', 'CAP_PERFMON', 'CAP_BPF']);
  t.deepEqual(missingCapabilities('CapEff:\t0000000000200000\n'), ['CAP_NET_ADMIN']);
  t.deepEqual(missingCapabilities('CapEff:\t0000008000001000\n'), ['CAP_PERFMON']);
  t.deepEqual(missingCapabilities('CapEff:\t000001ffffffffff\n'), []);
});

test('a rejected program shows the last lines that say why, without the statistics, and counts the rest', (t) => {
  const trace = Array.from({ length: 20 }, (_, i) => `${i}: (b7) r${i} = 0`).join('\n');
  const log = `${trace}\nR1 invalid mem access 'scalar'\nprocessed 21 insns (limit 1000000) max_states_per_insn 0\n`;
  const error = new VerifierError('weir_xdp', log);
  t.is(error.code, 'WEIR_VERIFIER');
  t.true(error.message.startsWith('load program weir_xdp: the verifier rejected it (lines omitted: 14)\n13: (b7)'));
  t.true(error.message.endsWith("R1 invalid mem access 'scalar'"));
  t.is(error.log, log);
});

test('a kernel older than 6.1 is refused by version', (t) => {
  for (const version of ['6.1.0-21-amd64', '6.18.44', '10.0']) t.notThrows(() => checkKernel(version));
  for (const version of ['5.15.0', '6.0.12']) {
    t.like(
      t.throws(() => checkKernel(version)),
      { code: 'WEIR_KERNEL_TOO_OLD' },
    );
  }
});

test('possible CPUs are counted over all ranges', (t) => {
  t.is(possibleCpus('0\n'), 1);
  t.is(possibleCpus('0-3\n'), 4);
  t.is(possibleCpus('0-1,4,8-11\n'), 7);
});
