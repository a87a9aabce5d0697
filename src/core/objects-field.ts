/** Reading unknown JSON field by field: every reader returns a usable value and notes what was wrong under its exact path. */
import { parseIp, type Ip } from './net.js';

export interface Fault {
  readonly field: string;
  readonly message: string;
}

type Json = Readonly<Record<string, unknown>>;

/** A value inside an object, with its path and the list that collects the faults of the whole object. */
export class Field {
  readonly value: unknown;
  readonly faults: Fault[];
  /** What leads here from the parent; the path is put together only where it is asked for, which is seldom. */
  readonly #step: string | number;
  readonly #parent: Field | undefined;

  constructor(value: unknown, step: string | number, faults: Fault[], parent?: Field) {
    this.value = value;
    this.faults = faults;
    this.#step = step;
    this.#parent = parent;
  }

  get path(): string {
    const before = this.#parent?.path ?? '';
    if (typeof this.#step === 'number') return `${before}[${this.#step}]`;
    return before === '' || this.#step === '' ? before + this.#step : `${before}.${this.#step}`;
  }

  /** A member. Kubernetes writes null where it means absent, so both read as undefined. */
  at(key: string): Field {
    const record = asRecord(this.value);
    const value = record && Object.hasOwn(record, key) ? record[key] : undefined;
    return new Field(value ?? undefined, key, this.faults, this);
  }

  get absent(): boolean {
    return this.value === undefined;
  }

  /** Notes a fault here; the message continues "<path> ". */
  fault(message: string): void {
    this.faults.push({ field: this.path, message });
  }

  /** Notes a fault that says what was expected and what came instead. */
  expected(what: string): void {
    this.fault(`must be ${what}, got ${describeValue(this.value)}`);
  }

  /** The elements of a list; an absent list is empty. */
  items(): Field[] {
    if (this.absent) return [];
    if (!Array.isArray(this.value)) {
      this.expected('a list');
      return [];
    }
    return this.value.map((item: unknown, i) => new Field(item ?? undefined, i, this.faults, this));
  }

  /** This field if it holds an object (or nothing); otherwise a fault and an empty one. */
  object(): Field {
    if (this.absent || asRecord(this.value)) return this;
    this.expected('an object');
    return new Field(undefined, '', this.faults, this);
  }
}

/** The value as a plain object, or undefined for lists, null and scalars. */
export function asRecord(value: unknown): Json | undefined {
  return isRecord(value) ? value : undefined;
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A received value in an error message: short, and safe for anything that a file may hold. */
export function describeValue(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'number' || typeof value === 'boolean' ? `${value}` : 'an object';
}

/** A string; the fallback where the field is absent (or wrong, with a fault). */
export function readText(field: Field, fallback = ''): string {
  if (field.absent) return fallback;
  if (typeof field.value === 'string') return field.value;
  field.expected('a string');
  return fallback;
}

/** A boolean, or undefined where the field is absent (or wrong, with a fault): the default is the caller's. */
export function readFlag(field: Field): boolean | undefined {
  if (typeof field.value === 'boolean') return field.value;
  if (!field.absent) field.expected('true or false');
  return undefined;
}

/** A port number from 1 to 65535; 0 with a fault where it is none. */
export function readPort(field: Field): number {
  const { value } = field;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65535) return value;
  field.expected('a number from 1 to 65535');
  return 0;
}

/** The value if it is a whole number within the limits. */
export function wholeNumber(value: unknown, least: number, most: number): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most ? value : undefined;
}

/** One of a fixed list of words; the fallback where the field is absent (or wrong, with a fault). */
export function readChoice<T extends string>(field: Field, choices: readonly T[], fallback: T): T {
  if (field.absent) return fallback;
  const found = choices.find((choice) => choice === field.value);
  if (found !== undefined) return found;
  field.expected(`${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`);
  return fallback;
}

/** A canonical address, or undefined with a fault. */
export function readIp(field: Field): Ip | undefined {
  const ip = typeof field.value === 'string' ? parseIp(field.value) : undefined;
  if (ip === undefined) field.expected('an IP address without leading zeros or prefix length');
  return ip;
}

/** A list of addresses in its order, each once. */
export function readIps(fields: readonly Field[], check?: (ip: Ip) => string | undefined): readonly Ip[] {
  const ips: Ip[] = [];
  for (const field of fields) {
    const ip = readIp(field);
    const refusal = ip && check?.(ip);
    if (refusal) field.expected(refusal);
    else if (ip && !ips.includes(ip)) ips.push(ip);
  }
  return ips.length > 0 ? ips : NONE;
}

/** Shared by all that have none: a hundred thousand empty lists would cost megabytes. */
export const NONE: readonly never[] = Object.freeze([]);

/** Kubernetes refuses these as external IPs and as endpoints; so does Weir where there is no API server to do it. */
export function routable(ip: Ip): string | undefined {
  const special = /^(0\.0\.0\.0$|127\.|169\.254\.|224\.0\.0\.|::1?$|fe[89ab][0-9a-f]:|ff02:)/.test(ip);
  return special ? 'an address that is not unspecified, loopback or link-local' : undefined;
}

/** Those entries whose key begins with one of the prefixes: what nobody reads is not kept. */
export function keepEntries(field: Field, prefixes: readonly string[]): Readonly<Record<string, string>> {
  const source = asRecord(field.object().value);
  let kept: Record<string, string> | undefined;
  for (const key in source) {
    if (!prefixes.some((prefix) => key.startsWith(prefix)) || !Object.hasOwn(source, key)) continue;
    const value = source[key];
    if (typeof value === 'string') (kept ??= {})[key] = value;
    else new Field(value, `${field.path}["${key}"]`, field.faults).expected('a string (put it in quotes)');
  }
  return kept ?? NO_ENTRIES;
}

/** Labels: all of them, and all text. */
export function readLabels(field: Field): Readonly<Record<string, string>> {
  return keepEntries(field, ALL);
}

const ALL = [''];
const NO_ENTRIES: Readonly<Record<string, string>> = Object.freeze({});
