/** From the text of a flag to its value. Each refuses what it does not understand, saying what it would have taken. */
import { familyOf, parsePrefix, type Prefix } from '../core/net.js';
import type { Listen } from '../options.js';
import type { Parser } from './flags.js';

/** One of these words; those that the contract knows and this version does not are told apart from mistakes. */
export function oneOf<T extends string>(words: readonly T[], later: readonly string[] = []): Parser<T> {
  return (text, refuse) => {
    const word = words.find((each) => each === text);
    if (word !== undefined) return word;
    return refuse(later.includes(text) ? 'is not available yet' : `is not one of ${words.join(', ')}`);
  };
}

export const bool: Parser<boolean> = (text, refuse) => {
  if (/^(true|1|yes|on)$/i.test(text)) return true;
  if (/^(false|0|no|off)$/i.test(text)) return false;
  return refuse('is neither true nor false');
};

/** A path or a name: anything but nothing. */
export const word: Parser<string> = (text, refuse) => {
  if (text.trim() === '') return refuse('is empty');
  return /\s/.test(text) ? refuse('contains white space') : text;
};

export const path: Parser<string> = (text, refuse) => (text.trim() === '' ? refuse('is empty') : text);

/** A comma-separated list whose entries are judged one by one; the empty text is the empty list. */
export function list<T>(entry: Parser<T>): Parser<T[]> {
  return (text, refuse) => {
    if (text.trim() === '') return [];
    return text.split(',').map((each) => {
      const one = each.trim();
      if (one === '') return refuse('has an empty entry');
      return entry(one, (reason) =>
        refuse(one === text ? reason : `has an entry ${JSON.stringify(one)} that ${reason}`),
      );
    });
  };
}

/** IFNAMSIZ less the end. */
const DEVICE_NAME_LENGTH = 15;

export const deviceName: Parser<string> = (text, refuse) => {
  if (text.length > DEVICE_NAME_LENGTH)
    return refuse(`is longer than the ${DEVICE_NAME_LENGTH} characters of a device name`);
  return /[\s/]/.test(text) ? refuse('is not a device name') : text;
};

export const glob: Parser<string> = (text, refuse) =>
  /[\s/]/.test(text) ? refuse('is not a pattern of device names') : text;

export const prefix: Parser<Prefix> = (text, refuse) => parsePrefix(text) ?? refuse('is not ADDRESS or ADDRESS/BITS');

export const prefixes = list(prefix);

/** At most one prefix of each family. */
export const oneOfEachFamily: Parser<Prefix[]> = (text, refuse) => {
  const found = prefixes(text, refuse);
  const families = new Set(found.map(({ address }) => familyOf(address)));
  return families.size === found.length ? found : refuse('has two prefixes of one family');
};

/** The value of a label; the empty text: none. */
export const proxyName: Parser<string> = (text, refuse) => (text === '' ? '' : word(text, refuse));

export const nodePortRule: Parser<'all' | 'primary' | Prefix[]> = (text, refuse) => {
  if (text === 'all' || text === 'primary') return text;
  const found = list<Prefix>((entry, no) => parsePrefix(entry) ?? no('is not all, primary or ADDRESS/BITS'))(
    text,
    refuse,
  );
  return found.length > 0 ? found : refuse('is not all, primary or a list of ADDRESS/BITS');
};

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** ms, from 500ms, 30s, 5m or 1h; a bare number counts seconds. */
export const duration: Parser<number> = (text, refuse) => {
  const [, amount, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  return amount === undefined
    ? refuse('is not a duration such as 30s, 500ms or 5m')
    : Number(amount) * (UNITS[unit] ?? 0);
};

function port(text: string): number | undefined {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return number >= 1 && number <= 65535 ? number : undefined;
}

export const portRange: Parser<{ first: number; last: number }> = (text, refuse) => {
  const [, from = '', to = ''] = /^(\d+)-(\d+)$/.exec(text) ?? [];
  const [first, last] = [port(from), port(to)];
  if (first === undefined || last === undefined) return refuse('is not A-B with ports from 1 to 65535');
  return first > last ? refuse('ends before it begins') : { first, last };
};

/** ADDRESS:PORT to listen on; the empty text: nowhere (commander would replace undefined). */
export const listen: Parser<Listen | 'nowhere'> = (text, refuse) => {
  if (text === '') return 'nowhere';
  const [, bracketed, bare = '', digits = ''] = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(text) ?? [];
  const address = parsePrefix(bracketed ?? bare)?.address;
  const number = port(digits);
  const fits = address !== undefined && address.includes(':') === (bracketed !== undefined);
  return fits && number !== undefined ? { address, port: number } : refuse('is not ADDRESS:PORT');
};

export const apiServer: Parser<string> = (text, refuse) => {
  const host = text.replace(/^https?:\/\//, '');
  const [, digits = ''] = /^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):(\d+)$/.exec(host) ?? [];
  return port(digits) === undefined ? refuse('is not HOST:PORT') : text;
};

/** Entries of one flow table: from 1 to what 4 GB of memory holds. */
const MOST_FLOWS = 1 << 26;

/** V4 or V4,V6; without V6 half as many. */
export const flowEntries: Parser<{ v4: number; v6: number }> = (text, refuse) => {
  const [, v4Text = '', v6Text] = /^(\d{1,9})(?:,(\d{1,9}))?$/.exec(text) ?? [];
  const v4 = Number(v4Text);
  const v6 = v6Text === undefined ? Math.ceil(v4 / 2) : Number(v6Text);
  const fits = [v4, v6].every((count) => count >= 1 && count <= MOST_FLOWS);
  return fits ? { v4, v6 } : refuse(`is not V4 or V4,V6 with counts from 1 to ${MOST_FLOWS}`);
};

/** Flags of the contract that change what happens to packets, and that this version cannot obey. */
export const notYet: Parser<never> = (_text, refuse) => refuse('cannot be obeyed: this flag is not available yet');
