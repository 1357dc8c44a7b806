/** What the contenders are made with: the project's TypeScript compiler, the system's C compiler. @module */
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Compiles `files` and all that they import into `folder`, as the package is compiled: a loader that rewrites code while
 * it runs would be measured too. The folder that stands for the repository's root.
 */
export function compileTypeScript(folder: string, files: readonly string[]): string {
  const project = join(folder, 'tsconfig.json');
  const out = join(folder, 'js');
  const options = {
    extends: join(root, 'tsconfig.base.json'),
    compilerOptions: {
      rootDir: root,
      outDir: out,
      typeRoots: [join(root, 'node_modules/@types')],
      types: ['node'],
      // What npm run check refuses is not this program's business.
      noCheck: true,
      declaration: false,
      isolatedDeclarations: false,
    },
    files,
  };
  writeFileSync(project, JSON.stringify(options));
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', project], {
    stdio: 'inherit',
  });
  writeFileSync(join(out, 'package.json'), '{ "type": "module" }');
  return out;
}

/** Compiles the sources and the benchmarks into `folder`. The path of the worker. */
export function compileWorker(folder: string): string {
  return join(compileTypeScript(folder, [join(root, 'bench/worker.ts')]), 'bench/worker.js');
}

/** The C floor, compiled into `folder`; `missing` says why there is none. */
export type Floor = { readonly program: string; readonly compiler: string } | { readonly missing: string };

/** Compiles the C floor with the system's `cc -O2`. */
export function compileFloor(folder: string): Floor {
  const program = join(folder, 'floor');
  const source = join(root, 'bench/floor.c');
  try {
    const [compiler = 'cc'] = execFileSync('cc', ['--version'], { encoding: 'utf8' }).split('\n');
    execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program, source], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return { program, compiler };
  } catch (error) {
    const found = existsSync(source) && (error as NodeJS.ErrnoException).code === 'ENOENT';
    const why = found
      ? 'there is no cc on this system'
      : error instanceof Error
        ? error.message
        : String(error);
    return { missing: `no C floor: ${why}` };
  }
}
