/** Settings below /proc/sys without which IPVS does not do what a service promises; docs/operations.md repeats the reasons. */

export interface Setting {
  readonly path: string;
  readonly value: string;
  readonly why: string;
}

/** Between pods on one bridge. */
export const BRIDGE_SETTINGS: readonly Setting[] = ['call-iptables', 'call-ip6tables', 'filter-vlan-tagged'].map(
  (name) => ({
    path: `net/bridge/bridge-nf-${name}`,
    value: '1',
    why: 'policy judges what pods on one bridge say to each other',
  }),
);

/** `release` as uname -r says it. */
export function neededSettings(release: string): Setting[] {
  return [
    { path: 'net/ipv4/vs/conntrack', value: '1', why: 'masquerading is told by the original destination' },
    { path: 'net/ipv4/vs/expire_nodest_conn', value: '1', why: 'flows of a removed backend end at once' },
    { path: 'net/ipv4/vs/expire_quiescent_template', value: '1', why: 'affinity ends with its backend' },
    {
      path: 'net/ipv4/vs/sloppy_tcp',
      value: '1',
      why: 'a flow that another node began goes on when its route moves here',
    },
    { path: 'net/ipv4/vs/conn_reuse_mode', value: reuseMode(release), why: 'a client port that is used again' },
    { path: 'net/ipv4/conf/all/arp_ignore', value: '1', why: 'no answers for the addresses of services' },
    { path: 'net/ipv4/conf/all/arp_announce', value: '2', why: 'no questions from the addresses of services' },
  ];
}

/**
 * Before Linux 5.9, a reused port cost a second's delay in mode 1 with conntrack, and went to a removed backend in mode 0: the
 * lesser evil. Since then ("ipvs: allow connection reuse for unconfirmed conntrack") mode 1 is right.
 */
export function reuseMode(release: string): '0' | '1' {
  const [major = 0, minor = 0] = release.split('.').map((part) => parseInt(part, 10));
  return major > 5 || (major === 5 && minor >= 9) ? '1' : '0';
}
