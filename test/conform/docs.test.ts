/** Holds docs/conformance.md against the scenario table; `npx vitest run test/conform/docs.test.ts -u` rewrites it. @module */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { markdownOf, type Row, scenarioRows } from './findings-table.ts';

const PAGE = fileURLToPath(new URL('../../docs/conformance.md', import.meta.url));
const page = readFileSync(PAGE, 'utf8');
const BLOCK = /(<!-- findings: written from the scenario table -->\n)[\s\S]*(\n<!-- end of findings -->)/;

/** What no scenario can say. */
const ELSEWHERE: readonly Row[] = [
  {
    number: 'R16',
    iommu: 'RISC-V',
    situation: 'a VFIO device is present',
    qemu: 'the replay translates every page of 2^64 and does not end.',
    asked: 'a plug that ends.',
    shown: 'nothing yet: viommu has no model of it',
  },
  {
    number: 'R20',
    iommu: 'any',
    situation: 'the connection to a vfio-user server ends while a device is being plugged',
    qemu: 'aborts (`error_setv`).',
    asked: 'a device that is gone is an error of that device, not of the machine.',
    shown: '`test/qemu/lost-connection.test.ts`',
  },
  {
    number: 'R22',
    iommu: 'any',
    situation: 'a vfio-user function with MSI-X is unplugged',
    qemu: 'aborts (`memory_region_del_subregion`).',
    asked: 'the function goes and the machine runs on.',
    shown: '`test/qemu/unplug.test.ts`',
  },
];

describe('docs/conformance.md', () => {
  test('has every finding of the scenario table, and no other', async () => {
    const table = markdownOf([...scenarioRows(), ...ELSEWHERE]);

    const wanted = page.replace(BLOCK, (_, start: string, end: string) => `${start}\n${table}\n${end}`);

    await expect(wanted).toMatchFileSnapshot(PAGE);
    expect(page).toMatch(BLOCK);
  });

  test('numbers them without a gap', () => {
    const numbers = new Set([...page.matchAll(/^\| R(\d+) \|/gm)].map(([, number]) => Number(number)));

    expect([...numbers]).toEqual(Array.from({ length: numbers.size }, (_, i) => i + 1));
  });

  test('names tests that exist', () => {
    const paths = [...page.matchAll(/`(test\/[\w/.-]+\.ts)`/g)].map(([, path]) => path ?? '');

    expect(paths.length).toBeGreaterThan(3);
    expect(paths.filter((path) => !existsSync(path))).toEqual([]);
  });
});
