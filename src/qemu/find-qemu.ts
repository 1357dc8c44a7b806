/** Finds out what a QEMU can do before a machine is started with it. @module */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A QEMU that can be run. */
export interface QemuBuild {
  readonly path: string;
  /** Its release, such as `11.1.3`. */
  readonly version: string;
  /** Names of its devices, such as `vfio-user-pci`. */
  readonly devices: ReadonlySet<string>;
}

/** Runs the executable at `path` twice and tells what it is; a sentence when it is no QEMU that runs. */
export function probeQemu(path: string): QemuBuild | string {
  const text = ask(path, '--version');
  if (typeof text !== 'string') return `${path} does not run (${whyNot(text)})`;
  const version = /QEMU.* version (\d+(?:\.\d+)*)/.exec(text)?.[1];
  if (version === undefined) return `${path} does not say which release of QEMU it is`;
  const help = ask(path, '-device', 'help');
  if (typeof help !== 'string') return `${path} does not list its devices (${help.message})`;
  const devices = new Set([...help.matchAll(/^name "([^"]+)"/gm)].map(([, name]) => name ?? ''));
  return { path, version, devices };
}

/** Path of `name` in the folders of `path`, a PATH variable; undefined when it is in none. */
export function executableInPath(name: string, path: string): string | undefined {
  return path
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((candidate) => {
      try {
        accessSync(candidate, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

function whyNot(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ENOENT':
      return 'there is no such file';
    case 'EACCES':
      return 'it is no file that may be executed';
    default:
      return error.message;
  }
}

/** What QEMU prints, or why it does not. */
function ask(path: string, ...args: readonly string[]): string | Error {
  const { error, stdout } = spawnSync(path, args, { encoding: 'utf8', timeout: 20_000 });
  return error ?? stdout;
}
