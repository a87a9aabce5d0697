import test from 'ava';
import fc from 'fast-check';
import { type Claimant, Claims } from '../../src/core/claims.js';

const VIP = '192.0.2.1:80/TCP';
const OTHER = '192.0.2.2:80/TCP';

const old: Claimant = { service: 'shop/old', created: 1_000, uid: 'b' };
const young: Claimant = { service: 'shop/young', created: 2_000, uid: 'a' };

const SENIORITY = [
  { name: 'the older', senior: old, junior: young },
  {
    name: 'of the same age the lower uid',
    senior: { ...young, service: 'z/z' },
    junior: { ...young, service: 'a/a', uid: 'b' },
  },
  {
    name: 'of the same age and uid the first by name',
    senior: { ...young, service: 'a/a' },
    junior: { ...young, service: 'z/z' },
  },
  {
    name: 'one with a creation time before one without',
    senior: young,
    junior: { service: 'a/a', created: 0, uid: '' },
  },
  {
    name: 'of two without creation time the first by name',
    senior: { service: 'a/a', created: 0, uid: '' },
    junior: { service: 'b/b', created: 0, uid: '' },
  },
];

for (const { name, senior, junior } of SENIORITY) {
  test(`an address that two services claim belongs to ${name}, whoever came first`, (t) => {
    for (const order of [
      [senior, junior],
      [junior, senior],
    ]) {
      const claims = new Claims();
      for (const claimant of order) claims.set(claimant, [VIP]);
      t.is(claims.owner(VIP), senior.service);
    }
  });
}

test('a younger claimant touches nobody, an older one touches the former owner', (t) => {
  const claims = new Claims();
  t.deepEqual(claims.set(young, [VIP]), new Set());
  t.deepEqual(claims.set({ ...young, service: 'shop/youngest', created: 3_000 }, [VIP]), new Set());
  t.deepEqual(claims.set(old, [VIP]), new Set(['shop/young']));
});

test('when the owner goes, the next in age inherits and is told', (t) => {
  const claims = new Claims();
  claims.set(old, [VIP, OTHER]);
  claims.set(young, [VIP]);
  t.deepEqual(claims.set(old, [OTHER]), new Set(['shop/young']));
  t.is(claims.owner(VIP), 'shop/young');
  t.is(claims.owner(OTHER), 'shop/old');
  claims.set(young, []);
  t.is(claims.owner(VIP), undefined);
});

test('an owner that claims the same again touches nobody', (t) => {
  const claims = new Claims();
  claims.set(old, [VIP]);
  claims.set(young, [VIP]);
  t.deepEqual(claims.set(old, [VIP]), new Set());
  t.deepEqual(claims.set(young, [VIP]), new Set());
});

test('an owner that is made anew, younger than the next, loses the address', (t) => {
  const claims = new Claims();
  claims.set(old, [VIP]);
  claims.set(young, [VIP]);
  t.deepEqual(claims.set({ ...old, created: 3_000 }, [VIP]), new Set(['shop/young']));
  t.is(claims.owner(VIP), 'shop/young');
});

test('claiming an address twice is claiming it once', (t) => {
  const claims = new Claims();
  claims.set(old, [VIP, VIP]);
  claims.set(old, []);
  t.is(claims.owner(VIP), undefined);
});

const ADDRESSES = ['a', 'b', 'c'];
const claim = fc.record({
  service: fc.constantFrom('s/1', 's/2', 's/3', 's/4'),
  created: fc.constantFrom(0, 1, 2),
  uid: fc.constantFrom('', 'x', 'y'),
  addresses: fc.subarray(ADDRESSES),
});

test('whatever the order of events, the same claims end in the same owners', (t) => {
  fc.assert(
    fc.property(fc.array(claim, { maxLength: 20 }), (events) => {
      const claims = new Claims();
      for (const { addresses, ...claimant } of events) claims.set(claimant, addresses);
      const last = new Map(events.map((event) => [event.service, event]));
      for (const order of [[...last.values()], [...last.values()].reverse()]) {
        const fresh = new Claims();
        for (const { addresses, ...claimant } of order) fresh.set(claimant, addresses);
        for (const address of ADDRESSES) t.is(claims.owner(address), fresh.owner(address));
      }
    }),
  );
});

test('whoever gains or loses an address without having asked is told, and nobody else', (t) => {
  fc.assert(
    fc.property(fc.array(claim, { maxLength: 20 }), (events) => {
      const claims = new Claims();
      for (const { addresses, ...claimant } of events) {
        const before = ADDRESSES.map((address) => claims.owner(address));
        const told = claims.set(claimant, addresses);
        const concerned = ADDRESSES.flatMap((address, i) =>
          claims.owner(address) === before[i] ? [] : [before[i], claims.owner(address)],
        );
        const others = concerned.filter((name) => name !== undefined && name !== claimant.service);
        t.deepEqual([...told].sort(), [...new Set(others)].sort() as string[]);
      }
    }),
  );
});
