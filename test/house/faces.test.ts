import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { describe, expect, test } from 'vitest';
import { nodeRooms, root } from './rooms.ts';

interface Import {
  /** Importing file, relative to src/, with '/' separators. */
  readonly from: string;
  /** What the import names, as written. */
  readonly specifier: string;
}

/** A room is entered at its index.ts; the models also at the index.ts of one model. */
const face = /^(?:[a-z-]+|models\/[a-z0-9-]+)\/index\.ts$/;

describe('rooms are entered through their faces', () => {
  test.each([
    ['iommu/ledger.ts', '../memory/pages.ts', true],
    ['iommu/ledger.ts', '../memory/index.ts', false],
    ['models/vtd/tables.ts', '../../iommu/index.ts', false],
    ['models/vtd/tables.ts', '../../iommu/radix/index.ts', true],
    ['machine/machine.ts', '../models/vtd/index.ts', false],
    ['machine/machine.ts', '../models/vtd/spec.ts', true],
    ['models/vtd/tables.ts', './spec.ts', false],
  ])('%s importing %s is a side entrance: %s', (from, specifier, expected) => {
    expect(isSideEntrance({ from, specifier })).toBe(expected);
  });

  test('imports of every form are seen, comments are not', () => {
    const text = `/** import { a } from 'doc'; */
 * import { b } from 'docstring';
// import 'comment';
import { c } from './c.ts';
import type {
  D,
} from './d.ts';
export * from "./e.ts";
import './f.ts';
const g = await import('./g.ts');
let h: import('./h.ts').H;`;

    expect(importsOf('x.ts', text).map(({ specifier }) => specifier)).toEqual([
      './c.ts',
      './d.ts',
      './e.ts',
      './f.ts',
      './g.ts',
      './h.ts',
    ]);
  });

  test('no source file uses a side entrance', () => {
    expect(importsOfSrc().filter(isSideEntrance)).toEqual([]);
  });

  test('no room that must run in a browser imports a package', () => {
    const core = importsOfSrc().filter(({ from }) => !nodeRooms.includes(roomOf(from)));

    expect(core.filter(({ specifier }) => !specifier.startsWith('.'))).toEqual([]);
  });
});

function isSideEntrance({ from, specifier }: Import): boolean {
  if (!specifier.startsWith('.')) return false;
  const target = posix.join(posix.dirname(from), specifier);
  return roomOf(target) !== roomOf(from) && !face.test(target);
}

/** The first directory of a path relative to src/; empty for src/index.ts. */
function roomOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : '';
}

function importsOfSrc(): Import[] {
  const files = readdirSync(`${root}/src`, { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.ts'));
  return files.flatMap((from) => importsOf(from, readFileSync(`${root}/src/${from}`, 'utf8')));
}

/** Every import, re-export and import() of a source text; what stands in a comment line is none. */
function importsOf(from: string, text: string): Import[] {
  const pattern = /^(?!\s*(?:\*|\/\*|\/\/)).*?\b(?:from|import)\s*\(?\s*['"]([^'"\n]+)['"]/gm;
  return [...text.matchAll(pattern)].map((match) => ({ from, specifier: match[1] ?? '' }));
}
