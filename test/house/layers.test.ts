import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { directoriesOfSrc, mayImport, nodeRooms, root, rooms } from './rooms.ts';

/** One line of Node each; in a core room every one must be refused by the compiler. */
const nodeProbes: Readonly<Record<string, string>> = {
  process: 'export const probe: unknown = process.argv;',
  buffer: 'export const probe: unknown = Buffer.alloc(1);',
  timer: 'setTimeout(() => {}, 1);',
  console: "console.log('probe');",
  module: "export { readFileSync } from 'node:fs';",
};

/**
 * Compiles a copy of the repository's own tsconfig files over rooms that hold nothing but probes: a file per pair of
 * rooms that imports one from the other, and in every room a file per Node facility.
 */
describe('the compiler keeps the layers', () => {
  let copy: string;
  let output: string;

  beforeAll(async () => {
    copy = mkdtempSync(join(tmpdir(), 'viommu-layers-'));
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'), 'junction');
    for (const file of ['tsconfig.base.json', 'tsconfig.json', 'src/tsconfig.json'])
      cpSync(join(root, file), join(copy, file));
    writeFileSync(join(copy, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(copy, 'src/index.ts'), "export { face } from './guests/index.ts';\n");
    for (const room of rooms) {
      const directory = join(copy, 'src', room);
      mkdirSync(directory);
      cpSync(join(root, 'src', room, 'tsconfig.json'), join(directory, 'tsconfig.json'));
      writeFileSync(join(directory, 'index.ts'), `export const face: string = '${room}';\n`);
      for (const other of rooms.filter((name) => name !== room))
        writeFileSync(join(directory, `from-${other}.ts`), `export { face } from '../${other}/index.ts';\n`);
      for (const [name, text] of Object.entries(nodeProbes))
        writeFileSync(join(directory, `node-${name}.ts`), `${text}\nexport {};\n`);
    }
    output = await compile(copy);
  }, 120_000);

  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  test('every directory of src is a room with a place in the order', () => {
    expect(directoriesOfSrc().toSorted()).toEqual(rooms.toSorted());
  });

  test.each(rooms)('%s imports exactly the rooms below it', (room) => {
    const others = rooms.filter((name) => name !== room);

    const accepted = others.filter((other) => !refused(output, `src/${room}/from-${other}.ts`, 'TS6307'));

    expect(accepted.toSorted()).toEqual(mayImport[room]?.toSorted());
  });

  test.each(rooms.filter((room) => !nodeRooms.includes(room)))('%s knows no Node', (room) => {
    const accepted = Object.keys(nodeProbes).filter(
      (name) => !refused(output, `src/${room}/node-${name}.ts`, 'TS(2304|2307|2503|2552|2580|2584|2591)'),
    );

    expect(accepted).toEqual([]);
  });

  test.each(nodeRooms)('%s may use Node', (room) => {
    const probes = Object.keys(nodeProbes);

    const accepted = probes.filter((name) => !refused(output, `src/${room}/node-${name}.ts`, 'TS\\d+'));

    expect(accepted).toEqual(probes);
  });

  test('the package entry does not pull in a room that needs Node', () => {
    expect(refused(output, 'src/index.ts', 'TS6307')).toBe(true);
  });
});

/** Whether tsc's output holds an error of this kind at this file. */
function refused(output: string, file: string, code: string): boolean {
  const path = file.replaceAll('.', '\\.');
  return new RegExp(`^${path}\\(\\d+,\\d+\\): error ${code}:`, 'm').test(output);
}

/** Runs tsc over the copy; it must fail, for the probes are wrong on purpose. */
function compile(directory: string): Promise<string> {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [tsc, '-b', '--pretty', 'false'],
      { cwd: directory, maxBuffer: 1 << 26 },
      (error, stdout) => {
        if (error === null) reject(new Error('tsc accepted imports that the layers forbid'));
        else resolve(stdout);
      },
    );
  });
}
