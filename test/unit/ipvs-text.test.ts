/** The language of ipvsadm: what it prints is understood, and only differences are told back. */
import test from 'ava';
import { commands, flattened, parseSaved } from '../../src/ipvs/ipvsadm-text.js';
import type { VirtualServer } from '../../src/ipvs/virtual.js';

/** As ipvsadm 1.31 prints it. */
const SAVED = `-A -t 10.96.0.10:80 -s rr
-a -t 10.96.0.10:80 -r 10.244.1.10:8080 -m -w 1
-a -t 10.96.0.10:80 -r 10.0.0.2:80 -i -w 3 --tun-type ipip
-A -u [fd00:96::10]:53 -s mh -b mh-fallback,mh-port -p 10800
-a -u [fd00:96::10]:53 -r [fd00:244:1::a]:8081 -m -w 1
-A --sctp-service 192.0.2.80:36412 -s wlc
-A -f 1459617793 -s rr
-a -f 1459617793 -r 10.244.1.10:8080 -g -w 1
-A -f 1459617794 -6 -s sh -b sh-fallback
-a -f 1459617794 -6 -r [fd00:244:1::a]:8080 -m -w 0
`;

test('every form of virtual and real server that ipvsadm prints is read', (t) => {
  t.deepEqual(Object.fromEntries(flattened(parseSaved(SAVED))), {
    '-t 10.96.0.10:80': '-s rr',
    '-t 10.96.0.10:80 -r 10.244.1.10:8080': '-m -w 1',
    '-t 10.96.0.10:80 -r 10.0.0.2:80': '-i -w 3',
    '-u [fd00:96::10]:53': '-s mh -b mh-fallback,mh-port -p 10800',
    '-u [fd00:96::10]:53 -r [fd00:244:1::a]:8081': '-m -w 1',
    '--sctp-service 192.0.2.80:36412': '-s wlc',
    '-f 1459617793': '-s rr',
    '-f 1459617793 -r 10.244.1.10:8080': '-g -w 1',
    '-f 1459617794 -6': '-s sh -b sh-fallback',
    '-f 1459617794 -6 -r [fd00:244:1::a]:8080': '-m -w 0',
  });
});

test('what is as it should be gives no command', (t) => {
  t.deepEqual(commands(parseSaved(SAVED), parseSaved(SAVED)), { puts: [], removals: [] });
});

test('what the commands say is what was wanted', (t) => {
  const { puts, removals } = commands(new Map(), parseSaved(SAVED));
  t.deepEqual(flattened(parseSaved(puts.join('\n'))), flattened(parseSaved(SAVED)));
  t.deepEqual(removals, []);
});

const DIFFERENCES: readonly { name: string; have: string; want: string; puts: string[]; removals: string[] }[] = [
  {
    name: 'a new real server is added before the old one goes',
    have: '-A -t 10.96.0.1:80 -s rr\n-a -t 10.96.0.1:80 -r 10.1.0.1:80 -m -w 1',
    want: '-A -t 10.96.0.1:80 -s rr\n-a -t 10.96.0.1:80 -r 10.1.0.2:80 -m -w 1',
    puts: ['-a -t 10.96.0.1:80 -r 10.1.0.2:80 -m -w 1'],
    removals: ['-d -t 10.96.0.1:80 -r 10.1.0.1:80'],
  },
  {
    name: 'another weight is an edit',
    have: '-A -t 10.96.0.1:80 -s rr\n-a -t 10.96.0.1:80 -r 10.1.0.1:80 -m -w 1',
    want: '-A -t 10.96.0.1:80 -s rr\n-a -t 10.96.0.1:80 -r 10.1.0.1:80 -m -w 0',
    puts: ['-e -t 10.96.0.1:80 -r 10.1.0.1:80 -m -w 0'],
    removals: [],
  },
  {
    name: 'another scheduler is an edit that costs no connection',
    have: '-A -t 10.96.0.1:80 -s rr',
    want: '-A -t 10.96.0.1:80 -s mh -b mh-fallback,mh-port',
    puts: ['-E -t 10.96.0.1:80 -s mh -b mh-fallback,mh-port'],
    removals: [],
  },
  {
    name: 'a virtual server that nothing wants goes as a whole',
    have: '-A -t 10.96.0.1:80 -s rr\n-a -t 10.96.0.1:80 -r 10.1.0.1:80 -m -w 1',
    want: '',
    puts: [],
    removals: ['-D -t 10.96.0.1:80'],
  },
];

for (const { name, have, want, puts, removals } of DIFFERENCES) {
  test(name, (t) => {
    const parsed: [Map<string, VirtualServer>, Map<string, VirtualServer>] = [parseSaved(have), parseSaved(want)];
    t.deepEqual(commands(...parsed), { puts, removals });
  });
}
