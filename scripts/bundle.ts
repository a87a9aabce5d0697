/**
 * The command line in one file, dist/bundle/cli/weir: where files are slow to open (a virtual machine without hardware support)
 * it starts several times sooner than the hundreds of modules it is made of. Native packages stay where they are.
 *
 * It lies as deep below the checkout as dist/src/cli/main.js, which finds the BPF object and package.json from there.
 */
import { chmodSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const path = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url));
const outfile = path('bundle/cli/weir');

await build({
  stdin: {
    contents: `import { runProcess } from './main.js'; await runProcess(process.argv.slice(2));`,
    resolveDir: path('src/cli'),
  },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  /* the Kubernetes client is large and loaded only by who asks an API server */
  external: ['ffi-napi', 'ref-napi', '@kubernetes/client-node'],
  /* packages that were written for require find it */
  banner: {
    js: `#!/usr/bin/env node\nimport { createRequire as requireOf } from 'node:module';\nconst require = requireOf(import.meta.url);`,
  },
  outfile,
});
chmodSync(outfile, 0o755);
