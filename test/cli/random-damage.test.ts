/** Captures and cores of AMD-Vi and virtio-iommu in which anything may be changed: whatever comes of it was meant. @module */
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { shippedCaptures } from '../../src/guests/index.ts';
import { AMDVI, AmdviCore } from './amdvi-core.ts';
import { type CaptureFile, captureCopies, withWord } from './capture-copy.ts';
import { type Outcome, viommu } from './console.ts';
import { scratchFiles } from './vtd-core.ts';

const captures = await shippedCaptures();
const shipped = (name: string): string => captures.find((folder) => basename(folder) === name) ?? '';
const amdvi = shipped('amdvi-e1000');
const virtio = shipped('virtio-iommu-e1000');
const copyOf = captureCopies();
const file = scratchFiles();
const budget = ['--budget', '2000'];
const word = fc.integer({ min: 0, max: 0xffffffff });

/** Whatever a command does, it does not fail in a way that was not meant. */
function expectOrderly({ code, err }: Outcome): void {
  expect([0, 1, 2]).toContain(code);
  expect(err).not.toContain('internal error');
  expect(err).toMatch(code === 2 ? /^viommu: / : /^/);
}

test('AMD-Vi: any register values', async () => {
  const { registers } = (JSON.parse(readFileSync(join(amdvi, 'capture.json'), 'utf8')) as CaptureFile).iommu;
  const known = Math.min(registers.hex.length / 8, 16);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat({ max: known - 1 }), word), { maxLength: 6 }),
      fc.constantFrom('0x0', '0xffe59000', '0xfee00000', '0xffffffffffffffff'),
      async (words, iova) => {
        const copy = copyOf(amdvi, (json) => {
          for (const [index, value] of words) {
            json.iommu.registers = withWord(json.iommu.registers, index * 4, () => value);
          }
        });

        expectOrderly(await viommu(['maps', copy, '--json', ...budget]));
        expectOrderly(await viommu(['translate', copy, '--requester', '02:00.0', '--access', 'w', iova]));
      },
    ),
    { numRuns: 40 },
  );
});

test('AMD-Vi: random entries in a few pages', async () => {
  const entry = fc.tuple(
    fc.nat({ max: 6 }),
    fc.nat({ max: 511 }),
    fc.nat({ max: 7 }),
    fc.nat({ max: 15 }),
    fc.nat({ max: 3 }),
  );
  const mode = fc.nat({ max: 7 });
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 40 }), mode, word, async (entries, levels, iova) => {
      const core = new AmdviCore(16).device(8, { mode: levels, root: 2 });
      for (const [page, index, nextLevel, target, access] of entries) {
        core.entry(page + 2, index % 8, nextLevel, target, access);
      }
      const args = [file('random.elf', core.bytes()), ...AMDVI];
      const at = `0x${(iova % 0x8000).toString(16)}`;

      expectOrderly(await viommu(['maps', ...args, ...budget]));
      expectOrderly(await viommu(['translate', ...args, '--requester', '00:01.0', '--access', 'w', at]));
    }),
    { numRuns: 60 },
  );
});

test('virtio: any requests', async () => {
  const lines = gunzipSync(readFileSync(join(virtio, 'requests.ndjson.gz')))
    .toString()
    .split('\n')
    .slice(0, 40)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const address = fc.constantFrom('0x0', '0xfff', '0x1000', '0xfee00000', '0xffffe000', '0xffffffffffffffff');
  const change = fc.record(
    {
      op: fc.constantFrom('attach', 'detach', 'map', 'unmap', 'plug'),
      domain: fc.constantFrom(0, 5, 2 ** 32 - 1),
      endpoint: fc.constantFrom(0, 512, 0x512, 65_536, 2 ** 32 - 1),
      virt_start: address,
      virt_end: address,
      phys_start: address,
      flags: fc.constantFrom(0, 1, 2, 3, 4, 7, 2 ** 32 - 1),
    },
    { requiredKeys: [] },
  );
  const whole = { domain: 1, endpoint: 1, virt_start: '0x0', virt_end: '0x0', phys_start: '0x0', flags: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat({ max: lines.length - 1 }), change), { maxLength: 20 }),
      async (changes) => {
        const changed = lines.map((line) => ({ ...line }));
        for (const [at, to] of changes) changed[at] = { ...whole, ...changed[at], ...to };
        const copy = copyOf(virtio, (json) => (json.files = { requests: 'requests.ndjson' }));
        writeFileSync(
          join(copy, 'requests.ndjson'),
          changed.map((line) => `${JSON.stringify(line)}\n`).join(''),
        );

        expectOrderly(await viommu(['maps', copy, '--json', ...budget]));
        expectOrderly(await viommu(['translate', copy, '--requester', '02:00.0', '0xfffff000']));
        expectOrderly(await viommu(['replay', copy]));
      },
    ),
    { numRuns: 40 },
  );
});
