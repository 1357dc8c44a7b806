import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { root } from './rooms.ts';

interface LockedPackage {
  readonly resolved?: string;
  readonly link?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

type Lock = Readonly<Record<string, LockedPackage>>;

/** Keys are install paths such as `node_modules/a/node_modules/b`. */
const lock: Lock = JSON.parse(readFileSync(`${root}/package-lock.json`, 'utf8')).packages;

/**
 * A lock written over an existing node_modules may leave out the builds for other platforms; `npm ci` then fails
 * there. Remedy for a failure here: delete every node_modules and the lock, then run `npm install`.
 */
describe('the lock serves every machine', () => {
  test('every optional dependency named in the lock is in the lock', () => {
    expect(missingOptional(lock)).toEqual([]);
  });

  test('an optional dependency that is not in the lock is found', () => {
    const incomplete: Lock = {
      'node_modules/a': { optionalDependencies: { beside: '1', inside: '1', absent: '1' } },
      'node_modules/a/node_modules/inside': {},
      'node_modules/beside': {},
      'node_modules/b/node_modules/absent': {},
    };

    expect(missingOptional(incomplete)).toEqual(['node_modules/a needs absent']);
  });

  test('no package is tied to the host it was once fetched from', () => {
    const tied = Object.values(lock).filter(({ link, resolved }) => link !== true && resolved !== undefined);

    expect(tied).toEqual([]);
  });
});

function missingOptional(packages: Lock): string[] {
  return Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !visibleFrom(path, name, packages))
      .map((name) => `${path} needs ${name}`),
  );
}

/** Whether Node's upward search from an install path meets a package of this name. */
function visibleFrom(path: string, name: string, packages: Lock): boolean {
  let directory = path;
  for (;;) {
    if (`${directory === '' ? '' : `${directory}/`}node_modules/${name}` in packages) return true;
    if (directory === '') return false;
    directory = directory.slice(0, Math.max(0, directory.lastIndexOf('/node_modules/')));
  }
}
