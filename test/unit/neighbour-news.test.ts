import test from 'ava';
import { NeighbourNews } from '../../src/host/neighbour-news.js';

const MAC = '02:00:00:00:00:01';
const reachable = `[NEIGH]10.5.0.2 dev eth0 lladdr ${MAC} REACHABLE `;

function heard(news: NeighbourNews, ...lines: string[]): boolean[] {
  return lines.map((line) => news.heard(line));
}

test('a neighbour is news when it comes, not while it is asked again and again', (t) => {
  const states = ['STALE', 'DELAY', 'PROBE', 'REACHABLE', 'PERMANENT'];
  const lines = states.map((state) => `[NEIGH]10.5.0.2 dev eth0 lladdr ${MAC} router ${state} `);
  t.deepEqual(heard(new NeighbourNews(), reachable, ...lines), [true, false, false, false, false, false]);
});

test('its address, its loss, its end and its return are news, and so is the same one on another device', (t) => {
  const moved = '[NEIGH]10.5.0.2 dev eth0 lladdr 02:00:00:00:00:02 REACHABLE ';
  const failed = '[NEIGH]10.5.0.2 dev eth0 FAILED ';
  const other = `[NEIGH]10.5.0.2 dev eth1 lladdr ${MAC} REACHABLE `;
  const lines = [reachable, moved, failed, failed, moved, `[NEIGH]Deleted ${moved.slice(7)}`, moved, other];
  t.deepEqual(heard(new NeighbourNews(), ...lines), [true, true, true, false, true, true, true, true]);
});

test('groups are no neighbours', (t) => {
  const group = '[NEIGH]ff02::16 dev v1 lladdr 33:33:00:00:00:16 NOARP';
  t.deepEqual(heard(new NeighbourNews(), group, `[NEIGH]Deleted ${group.slice(7)}`), [false, false]);
});

test('whatever else happens is news', (t) => {
  const lines = [
    '[LINK]2: v1@if2: <BROADCAST,MULTICAST> mtu 1500 qdisc noqueue state DOWN group default ',
    '[ADDR]2: v1    inet 10.5.0.33/24 scope global secondary v1',
    '[ROUTE]10.6.0.0/24 via 10.5.0.2 dev v1 ',
    '[ROUTE]Deleted fe80::/64 dev v1 proto kernel metric 256 pref medium',
    `[NEIGH]dev v1 lladdr ${MAC} REACHABLE `, // a bridge has learnt it
    `[NEIGH]Deleted dev v1 lladdr ${MAC} REACHABLE `,
  ];
  const news = new NeighbourNews();
  t.true([...lines, ...lines].every((line) => news.heard(line)));
});
