import { isIP } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import {
  familyOf,
  formatPrefix,
  formatSocket,
  ipBytes,
  ipFromBytes,
  mappedBits,
  parseIp,
  parsePrefix,
  prefixContains,
  protocolName,
} from '../../src/core/net.js';
import { ip } from '../helpers/model.js';

const CANONICAL = [
  { name: 'a dotted quad stays as it is', text: '192.0.2.1', canonical: '192.0.2.1' },
  { name: 'the lowest IPv4 address', text: '0.0.0.0', canonical: '0.0.0.0' },
  { name: 'the highest IPv4 address', text: '255.255.255.255', canonical: '255.255.255.255' },
  { name: 'upper case becomes lower case', text: '2001:DB8::A', canonical: '2001:db8::a' },
  {
    name: 'leading zeros of a group go',
    text: '2001:0db8:0000:0001:0002:0003:0004:0005',
    canonical: '2001:db8:0:1:2:3:4:5',
  },
  { name: 'the longest run of zeros is shortened', text: '2001:0:0:1:0:0:0:1', canonical: '2001:0:0:1::1' },
  { name: 'of two equal runs the first is shortened', text: '2001:db8:0:0:1:0:0:1', canonical: '2001:db8::1:0:0:1' },
  { name: 'a single zero group is not shortened', text: '2001:db8:0:1:1:1:1:1', canonical: '2001:db8:0:1:1:1:1:1' },
  {
    name: 'a single zero group that was shortened is written out',
    text: '1:2:3:4:5:6:7::',
    canonical: '1:2:3:4:5:6:7:0',
  },
  { name: 'a run at the end', text: '2001:db8:0:0:0:0:0:0', canonical: '2001:db8::' },
  { name: 'a run at the beginning', text: '0:0:0:0:0:0:0:1', canonical: '::1' },
  { name: 'nothing but zeros', text: '0:0:0:0:0:0:0:0', canonical: '::' },
  { name: 'a dotted quad at the end of an IPv6 address', text: '64:ff9b::192.0.2.33', canonical: '64:ff9b::c000:221' },
  {
    name: 'an IPv4-translated address is no IPv4-mapped one',
    text: '::ffff:0:192.0.2.1',
    canonical: '::ffff:0:c000:201',
  },
];

for (const { name, text, canonical } of CANONICAL) {
  test(`an address has one spelling: ${name}`, (t) => t.is(parseIp(text), canonical as never));
}

const MALFORMED = [
  { name: 'nothing', text: '' },
  { name: 'a space in front', text: ' 192.0.2.1' },
  { name: 'a line end behind', text: '192.0.2.1\n' },
  { name: 'a leading zero, which some read as octal', text: '192.0.2.010' },
  { name: 'two zeros', text: '192.0.2.00' },
  { name: 'a number over 255', text: '192.0.2.256' },
  { name: 'three numbers', text: '192.0.2' },
  { name: 'five numbers', text: '192.0.2.1.1' },
  { name: 'an empty number', text: '192..2.1' },
  { name: 'a hexadecimal number', text: '0xc0.0.2.1' },
  { name: 'a sign', text: '192.0.2.-1' },
  { name: 'a single number', text: '3221225985' },
  { name: 'a port', text: '192.0.2.1:80' },
  { name: 'a prefix length', text: '192.0.2.1/24' },
  { name: 'a host name', text: 'lb.example.org' },
  { name: 'digits of another script', text: '١٩٢.0.2.1' },
  { name: 'an IPv4-mapped address', text: '::ffff:192.0.2.1' },
  { name: 'an IPv4-mapped address in hexadecimal', text: '0:0:0:0:0:ffff:c000:201' },
  { name: 'seven groups', text: '1:2:3:4:5:6:7' },
  { name: 'nine groups', text: '1:2:3:4:5:6:7:8:9' },
  { name: ':: that stands for nothing', text: '1:2:3:4::5:6:7:8' },
  { name: ':: twice', text: '1::2::3' },
  { name: 'three colons', text: ':::' },
  { name: 'a lone colon', text: ':' },
  { name: 'a colon in front', text: ':1::2' },
  { name: 'a colon behind', text: '1::2:' },
  { name: 'five digits in a group', text: '2001:00db8::1' },
  { name: 'a letter beyond f', text: '2001:dbg::1' },
  { name: 'a zone', text: 'fe80::1%eth0' },
  { name: 'brackets', text: '[2001:db8::1]' },
  { name: 'an IPv6 prefix length', text: '2001:db8::/32' },
  { name: 'a dotted quad before ::', text: '192.0.2.1::' },
  { name: 'a dotted quad in the middle', text: '64:ff9b::192.0.2.33:1' },
  { name: 'a dotted quad with a leading zero', text: '64:ff9b::192.0.2.033' },
];

for (const { name, text } of MALFORMED) {
  test(`what is no address is refused: ${name}`, (t) => t.is(parseIp(text), undefined));
}

const group = fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16));
const quad = fc.tuple(fc.nat(299), fc.nat(299), fc.nat(299), fc.nat(299)).map((parts) => parts.join('.'));
const almostAddress = fc.oneof(
  quad,
  fc.ipV4(),
  fc.ipV6(),
  fc
    .array(
      fc.oneof(
        { weight: 8, arbitrary: group },
        { weight: 3, arbitrary: fc.constant('') },
        { weight: 1, arbitrary: quad },
      ),
      {
        minLength: 1,
        maxLength: 9,
      },
    )
    .map((parts) => parts.join(':')),
);

test('an address is taken exactly where Node takes it, but for IPv4-mapped ones', (t) => {
  fc.assert(
    fc.property(almostAddress, (text) => {
      const parsed = parseIp(text);
      if (parsed === undefined && /^(0*:){1,5}:?ffff:/i.test(text)) return;
      t.is(parsed ? (familyOf(parsed) === 'v4' ? 4 : 6) : 0, isIP(text), text);
    }),
    { numRuns: 3000 },
  );
});

test('an address in its one spelling is the one that the URL parser writes', (t) => {
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      const parsed = parseIp(text);
      if (parsed) t.is(`[${parsed}]`, new URL(`http://[${text}]/`).hostname);
    }),
    { numRuns: 1000 },
  );
});

test('an address survives its way through 16 bytes', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      const address = ipFromBytes(bytes);
      t.deepEqual(ipBytes(address), bytes);
      t.is(parseIp(address), address);
    }),
  );
});

test('an IPv4 address is held as ::ffff:a.b.c.d, in network order', (t) => {
  t.is(Buffer.from(ipBytes(ip('192.0.2.1'))).toString('hex'), '00000000000000000000ffffc0000201');
  t.is(Buffer.from(ipBytes(ip('2001:db8::1'))).toString('hex'), '20010db8000000000000000000000001');
});

const PREFIXES = [
  { name: 'host bits are cleared, IPv4', text: '10.244.1.77/24', prefix: '10.244.1.0/24', mapped: 120 },
  { name: 'host bits are cleared, IPv6', text: '2001:db8::77/64', prefix: '2001:db8::/64', mapped: 64 },
  { name: 'a length within a byte', text: '10.255.255.255/11', prefix: '10.224.0.0/11', mapped: 107 },
  { name: 'a bare IPv4 address', text: '10.0.0.1', prefix: '10.0.0.1/32', mapped: 128 },
  { name: 'a bare IPv6 address', text: '2001:db8::1', prefix: '2001:db8::1/128', mapped: 128 },
  { name: 'all of IPv4', text: '10.0.0.1/0', prefix: '0.0.0.0/0', mapped: 96 },
  { name: 'all of IPv6', text: '2001:db8::1/0', prefix: '::/0', mapped: 0 },
  {
    name: 'spaces around it, as loadBalancerSourceRanges may have them',
    text: ' 10.0.0.0/8 ',
    prefix: '10.0.0.0/8',
    mapped: 104,
  },
];

for (const { name, text, prefix, mapped } of PREFIXES) {
  test(`an address range is read: ${name}`, (t) => {
    const parsed = parsePrefix(text);
    t.is(parsed && formatPrefix(parsed), prefix);
    t.is(parsed && mappedBits(parsed), mapped);
  });
}

for (const text of [
  '',
  '/',
  '/8',
  '10.0.0.0/',
  '10.0.0.0/33',
  '::/129',
  '10.0.0.0/08',
  '10.0.0.0/+8',
  '10.0.0.0/8/8',
  '10.0.0.0/-1',
  '10.0.0.0/ 8',
]) {
  test(`what is no address range is refused: '${text}'`, (t) => t.is(parsePrefix(text), undefined));
}

const CONTAINS = [
  { range: '10.244.0.0/16', address: '10.244.255.255', within: true },
  { range: '10.244.0.0/16', address: '10.245.0.0', within: false },
  { range: '10.0.0.1/32', address: '10.0.0.1', within: true },
  { range: '10.0.0.1/32', address: '10.0.0.2', within: false },
  { range: '0.0.0.0/0', address: '255.255.255.255', within: true },
  { range: '0.0.0.0/0', address: '2001:db8::1', within: false },
  { range: '::/0', address: '2001:db8::1', within: true },
  { range: '::/0', address: '10.0.0.1', within: false },
  { range: '2001:db8::/33', address: '2001:db8:7fff::1', within: true },
  { range: '2001:db8::/33', address: '2001:db8:8000::1', within: false },
];

for (const { range, address, within } of CONTAINS) {
  test(`${address} is ${within ? '' : 'not '}in ${range}`, (t) => {
    const prefix = parsePrefix(range);
    t.is(prefix && prefixContains(prefix, ip(address)), within);
  });
}

test('a range contains exactly the addresses that give the same range at its length', (t) => {
  const any = fc.oneof(fc.ipV4(), fc.uint8Array({ minLength: 16, maxLength: 16 }).map(ipFromBytes));
  fc.assert(
    fc.property(any, any, fc.nat(128), (one, other, length) => {
      const [a, b] = [parseIp(one), parseIp(other)];
      if (!a || !b) return;
      const bits = Math.min(length, familyOf(a) === 'v4' ? 32 : 128);
      const prefix = parsePrefix(`${a}/${bits}`);
      if (!prefix) return t.fail(`${a}/${bits}`);
      t.true(prefixContains(prefix, a));
      const sameRange = familyOf(a) === familyOf(b) && parsePrefix(`${b}/${bits}`)?.address === prefix.address;
      t.is(prefixContains(prefix, b), sameRange);
    }),
    { numRuns: 500 },
  );
});

test('a port follows an IPv6 address in brackets', (t) => {
  t.is(formatSocket('192.0.2.1', 80), '192.0.2.1:80');
  t.is(formatSocket('2001:db8::1', 80), '[2001:db8::1]:80');
});

test('a protocol is called by its name', (t) => {
  t.deepEqual([6, 17, 132, 1, 58, 47].map(protocolName), ['TCP', 'UDP', 'SCTP', 'ICMP', 'ICMP', '47']);
});
