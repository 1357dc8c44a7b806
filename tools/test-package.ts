/**
 * Tests the package as its users get it: packs a tarball, has publint and attw judge it, installs it in an empty
 * folder and there runs the command and imports the library, by JavaScript and by the compiler.
 * Prints each step; the first that fails ends the process with an error.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'viommu-package-'));
const manifest: { name: string; version: string; exports: Record<string, unknown> } = JSON.parse(
  readFileSync(join(root, 'package.json'), 'utf8'),
);

/** Runs a command without a shell and returns what it printed; shows it too when asked or when the command fails. */
function run(command: string, args: readonly string[], cwd: string, show: 'show' | 'quiet' = 'show'): string {
  console.log(`  $ ${[command, ...args].join(' ')}`);
  const { status, error, stdout } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (show === 'show' || status !== 0) process.stdout.write(stdout ?? '');
  if (status !== 0) throw new Error(`${command} failed with exit code ${status}`, { cause: error });
  return stdout;
}

function step(title: string): void {
  console.log(`\n== ${title}`);
}

function ensure(condition: boolean, complaint: string): void {
  if (!condition) throw new Error(complaint);
}

try {
  step('pack');
  const [packed] = JSON.parse(
    run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', scratch], root, 'quiet'),
  ) as [{ filename: string; size: number; files: { path: string; mode: number }[] }];
  const tarball = join(scratch, packed.filename);
  const paths = packed.files.map(({ path }) => path);
  console.log(`  ${packed.filename}: ${paths.length} files, ${packed.size} bytes`);
  const allowed = /^(?:dist|captures|docs)\/|^(?:package\.json|README\.md|CHANGELOG\.md|LICENSE)$/;
  const stray = paths.filter((path) => !allowed.test(path) || path.endsWith('.tsbuildinfo'));
  ensure(stray.length === 0, `files that do not belong in the package: ${stray.join(', ')}`);
  for (const needed of ['README.md', 'CHANGELOG.md', 'LICENSE', 'dist/cli/main.js', 'dist/index.d.ts'])
    ensure(paths.includes(needed), `${needed} is missing from the package`);
  ensure(
    paths.some((path) => /^captures\/[^/]+\/capture\.json$/.test(path)),
    'the package ships no capture',
  );

  step('publint');
  run('npx', ['--no-install', 'publint', 'run', '--strict', tarball], root);

  step('attw');
  run('npx', ['--no-install', 'attw', '--profile', 'esm-only', tarball], root, 'quiet');

  step('install in an empty folder');
  const user = join(scratch, 'user');
  mkdirSync(user);
  writeFileSync(join(user, 'package.json'), '{ "private": true, "type": "module" }\n');
  run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', tarball], user);

  step('the command');
  const version = run('npx', ['--no-install', manifest.name, '--version'], user, 'quiet').trim();
  ensure(version === manifest.version, `viommu --version printed ${version}, not ${manifest.version}`);
  run('npx', ['--no-install', manifest.name, 'replay'], user);

  step('the library');
  const modules = Object.keys(manifest.exports)
    .filter((path) => path !== './package.json')
    .map((path) => manifest.name + path.slice(1));
  const check = modules.map(
    (name) =>
      `const names = Object.keys(await import('${name}'));\n` +
      `if (names.length === 0) throw new Error('${name} exports nothing');\n` +
      `console.log('  ${name}: ' + names.length + ' exports');`,
  );
  writeFileSync(join(user, 'check.js'), check.map((text) => `{\n${text}\n}\n`).join(''));
  run(process.execPath, ['check.js'], user);

  step('its types, for a strict user without Node types and without skipLibCheck');
  const browserModules = modules.filter((name) => name !== `${manifest.name}/guests`);
  writeFileSync(
    join(user, 'types.ts'),
    browserModules.map((name, i) => `import * as m${i} from '${name}';\nexport { m${i} };\n`).join(''),
  );
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const options = ['--noEmit', '--strict', '--target', 'es2023', '--lib', 'es2023', '--module', 'nodenext'];
  run(process.execPath, [compiler, ...options, '--types', '', 'types.ts'], user);

  console.log('\npackage ok');
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
