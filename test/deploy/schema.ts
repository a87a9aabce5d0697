/**
 * The API's types as the Kubernetes client has them, generated from the API server's OpenAPI document: names of fields, their
 * types and which must be there. Allowed words and ranges are not in it: those only an API server judges.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHECKOUT } from './manifests.js';

const MODELS = join(CHECKOUT, 'node_modules/@kubernetes/client-node/dist/gen/models');

interface Model {
  readonly types: ReadonlyMap<string, string>;
  readonly required: readonly string[];
}

const models = new Map<string, Model>();

/** What is wrong with a value of that type, each with its path. */
export function problemsOf(type: string, value: unknown, path: string): string[] {
  const [, element] = /^Array<(.+)>$/.exec(type) ?? [];
  if (element !== undefined) {
    if (!Array.isArray(value)) return [`${path} is not a list`];
    return value.flatMap((entry: unknown, index) => problemsOf(element, entry, `${path}[${index}]`));
  }
  const [, member] = /^\{ \[key: string\]: (.+); \}$/.exec(type) ?? [];
  if (member !== undefined) {
    if (!isObject(value)) return [`${path} is not an object`];
    return Object.entries(value).flatMap(([key, entry]) => problemsOf(member, entry, `${path}.${key}`));
  }
  const plain = PLAIN[type];
  if (plain) return plain(value) ? [] : [`${path} is not of type ${type}`];
  return problemsOfModel(type, value, path);
}

const PLAIN: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  IntOrString: (value) => typeof value === 'string' || typeof value === 'number',
  Date: (value) => typeof value === 'string',
  V1MicroTime: (value) => typeof value === 'string',
  any: () => true,
};

function problemsOfModel(type: string, value: unknown, path: string): string[] {
  if (!isObject(value)) return [`${path} is not an object`];
  const { types, required } = modelOf(type);
  const missing = required.filter((name) => !(name in value)).map((name) => `${path}.${name} is missing`);
  const found = Object.entries(value).flatMap(([name, entry]) => {
    const field = types.get(name);
    return field === undefined
      ? [`${path}.${name} is no field of ${type}`]
      : problemsOf(field, entry, `${path}.${name}`);
  });
  return [...missing, ...found];
}

/** From the generated class: its map of attributes has names and types, its declaration tells which may be absent. */
function modelOf(type: string): Model {
  const known = models.get(type);
  if (known) return known;
  const [code, declaration] = ['js', 'd.ts'].map((ending) => join(MODELS, `${type}.${ending}`));
  if (!code || !declaration || !existsSync(code)) throw new Error(`the Kubernetes client knows no type ${type}`);
  const attributes = readFileSync(code, 'utf8').matchAll(/"baseName": "([^"]+)",\s+"type": "([^"]+)"/g);
  const required = readFileSync(declaration, 'utf8').matchAll(/^ {4}'([^']+)': /gm);
  const model = {
    types: new Map([...attributes].map(([, name = '', field = '']) => [name, field])),
    required: [...required].map(([, name = '']) => name),
  };
  models.set(type, model);
  return model;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
