/** The file that names the pods of the cluster: written late, whole, and only when it says something new. */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { PodNamesFile } from '../../src/agent/pod-names-file.js';
import { readPodNames } from '../../src/ipvs/pod-names.js';
import type { Ip } from '../../src/core/net.js';
import { ips } from '../helpers/model.js';

const [first, second] = ips('10.1.0.1', '10.1.0.2') as [Ip, Ip];

test('what has changed before the agent ends is in the file, and what has not is left alone', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'weir-names-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const pods = new Map([[first, 'x/a']]);
  const begin = (): PodNamesFile => new PodNamesFile(directory, (error) => t.fail(String(error)));
  {
    using file = begin();
    file.follow(pods);
    pods.set(second, 'x/b');
    t.deepEqual(readdirSync(directory), [], 'no write for each change');
  }
  t.deepEqual(readPodNames(directory), pods);
  const { ino } = statSync(join(directory, 'pods.json'));
  {
    using file = begin();
    file.follow(pods);
  }
  t.is(statSync(join(directory, 'pods.json')).ino, ino, 'the same again is not written');
  t.deepEqual(readdirSync(directory), ['pods.json']);
});
