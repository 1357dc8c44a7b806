/** What the processes are made with: the project's TypeScript compiler, the system's C compiler. @module */
import { execFileSync } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileTypeScript } from '../toolchain.ts';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));

/** Compiles our processes into `folder`, and gives the folder where they are. */
export function compileProcesses(folder: string): string {
  const out = compileTypeScript(
    folder,
    ['viommu-vmm.ts', 'viommu-sink.ts'].map((file) => join(here, file)),
  );
  // koffi is looked for next to what is run.
  symlinkSync(join(root, 'node_modules'), join(out, 'node_modules'));
  return join(out, 'bench/vfio-user');
}

/** The programs in C, or why there are none. */
export type CPrograms =
  | { readonly server: string; readonly client: string; readonly compiler: string }
  | { readonly missing: string };

/** Compiles server.c and client.c into `folder` with the system's `cc -O2`. */
export function compileC(folder: string): CPrograms {
  const compile = (name: string): string => {
    const program = join(folder, name);
    const args = ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program, join(here, `${name}.c`)];
    execFileSync('cc', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    return program;
  };
  try {
    const [compiler = 'cc'] = execFileSync('cc', ['--version'], { encoding: 'utf8' }).split('\n');
    return { server: compile('server'), client: compile('client'), compiler };
  } catch (error) {
    const absent = (error as NodeJS.ErrnoException).code === 'ENOENT';
    return { missing: absent ? 'no server in C: there is no cc on this system' : String(error) };
  }
}
