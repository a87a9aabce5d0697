/** The image's files on this machine's Debian; or, where WEIR_IMAGE_ROOT names one, a whole image that scripts/image-check made. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHECKOUT } from './manifests.js';
import { run } from './place.js';

export interface Image extends Disposable {
  readonly root: string;
  /** With a Debian of its own, made by the packages of scripts/image-packages. */
  readonly whole: boolean;
}

export function makeImage(): Image {
  const given = process.env['WEIR_IMAGE_ROOT'];
  if (given) return { root: given, whole: true, [Symbol.dispose]: () => undefined };
  const root = mkdtempSync(join(tmpdir(), 'weir-image-'));
  run(process.execPath, join(CHECKOUT, 'dist/scripts/image-root.js'), root);
  return { root, whole: false, [Symbol.dispose]: () => rmSync(root, { recursive: true }) };
}
