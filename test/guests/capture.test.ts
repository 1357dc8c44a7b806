import { rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Capture, readCapture } from '../../src/guests/capture.ts';
import { GuestFileError } from '../../src/guests/guest-file-error.ts';
import { shippedCaptures } from '../../src/guests/shipped-captures.ts';
import { captureWith, folderOf, goodJson, temporaryFolder } from './build-capture.ts';
import { buildElf, patternPages } from './build-elf.ts';
import { refusal } from './refusal.ts';

const root = await temporaryFolder();

const shipped = async (name: string): Promise<Capture> => {
  const folder = (await shippedCaptures()).find((path) => basename(path) === name);
  return readCapture(folder ?? name);
};

const pagesOf = (core: { pages(): Iterable<unknown> } | undefined): number | undefined =>
  core === undefined ? undefined : [...core.pages()].length;

describe('the shipped captures', () => {
  it('are those of every model', async () => {
    expect((await shippedCaptures()).map((path) => basename(path))).toEqual([
      'amdvi-e1000',
      'amdvi-vfio-mix',
      'virtio-iommu-e1000',
      'vtd-legacy-e1000',
      'vtd-legacy-e1000-aw39',
      'vtd-sm-first-stage',
      'vtd-sm-second-stage',
      'vtd-vfio-mix',
    ]);
  });

  it.each([
    ['amdvi-e1000', 13, 14, 303, 303, 23641, 257],
    ['amdvi-vfio-mix', 1452, undefined, 13981, 13981, undefined, undefined],
    ['vtd-legacy-e1000', 14, 15, 348, 348, 25797, 257],
    ['vtd-legacy-e1000-aw39', 12, 13, 348, 348, 25751, 257],
    ['vtd-sm-first-stage', 27, undefined, undefined, undefined, undefined, undefined],
    ['vtd-sm-second-stage', 1468, undefined, 17799, undefined, 17955, undefined],
    ['vtd-vfio-mix', 1452, undefined, 17809, 17809, undefined, undefined],
  ])('%s has as many pages, leaves and messages as it should', async (name, ...counts) => {
    const capture = await shipped(name);
    expect([
      pagesOf(await capture.memory()),
      pagesOf(await capture.finalMemory()),
      (await capture.mappings())?.length,
      (await capture.replay())?.length,
      (await capture.events())?.length,
      (await capture.finalMappings())?.length,
    ]).toEqual(counts);
  });

  it('vtd-vfio-mix tells its machine', async () => {
    const capture = await shipped('vtd-vfio-mix');
    expect(capture.model).toBe('vtd');
    expect(capture.registers?.start.base).toBe(0xfed9_0000n);
    expect(capture.registers?.start.bytes.length).toBe(0x230);
    expect(capture.registers?.final).toEqual(capture.registers?.start);
    expect(capture.ram).toEqual([
      { start: 0, end: 0x8_0000 },
      { start: 0x10_0000, end: 0x18_0000 },
    ]);
    expect(capture.plugRequester).toBe('02:00.0');
    expect(capture.qemuTiming?.maps).toBe(17809);
    expect(capture.pci.at(-1)).toEqual({
      bdf: '02:01.0',
      vendor: 0x8086,
      device: 0x100e,
      class: 0x02_0000,
      group: '4',
      driver: 'vfio-pci',
    });
  });

  it('vtd-sm-second-stage has no plug, and its events are about the function of vfio-pci', async () => {
    const capture = await shipped('vtd-sm-second-stage');
    expect(capture.plugRequester).toBeNull();
    expect(capture.eventsRequester).toBe('01:00.0');
    expect(capture.requesters).toEqual(['00:04.0', '00:1f.0', '00:1f.2', '00:1f.3', '01:00.0']);
    expect(await capture.mappings('00:1F.2')).toHaveLength(8);
  });

  it.each(['vtd-legacy-e1000', 'vtd-legacy-e1000-aw39'])(
    '%s: replay followed by the events gives the final mappings',
    async (name) => {
      const capture = await shipped(name);
      const targets = new Map<number, number | undefined>();
      for (const { iova, target } of (await capture.replay()) ?? []) {
        targets.set(iova, target);
      }
      for (const { op, iova, pages, target } of (await capture.events()) ?? []) {
        expect(pages).toBe(1);
        if (op === 'map') {
          targets.set(iova, target);
        } else {
          targets.delete(iova);
        }
      }
      const final = (await capture.finalMappings()) ?? [];
      expect(final.length).toBe(257);
      expect([...targets].sort(([a], [b]) => a - b)).toEqual(final.map(({ iova, target }) => [iova, target]));
    },
  );
});

describe('capture.json', () => {
  it('is read with RAM ascending, requester IDs in lower case, and unknown fields ignored', async () => {
    const capture = await captureWith(root, {});
    expect(capture.ram.map(({ start }) => start)).toEqual([0, 0x10_0000]);
    expect(capture.pci.map(({ bdf }) => bdf)).toEqual(['02:0a.0', '00:02.0']);
    expect(capture.requesters).toEqual(['02:00.0']);
  });

  it('gives a dump of its own for the end of the events', async () => {
    const registers = { base: '0x1000', hex: '0102' };
    const capture = await captureWith(root, {
      iommu: { model: 'vtd', registers, finalRegisters: { ...registers, hex: '0103' } },
    });
    expect(capture.registers?.final.bytes).toEqual(Uint8Array.of(1, 3));
  });

  it('may be of a model without registers or tables', async () => {
    const capture = await captureWith(root, { iommu: { model: 'virtio' }, files: {} });
    expect(capture.model).toBe('virtio');
    expect(capture.registers).toBeUndefined();
    expect(await capture.memory()).toBeUndefined();
    expect(await capture.mappings()).toBeUndefined();
    expect(await capture.events()).toBeUndefined();
  });

  it('says when a model asks for more registers than the dump has', async () => {
    const capture = await captureWith(root, {});
    expect(capture.requireRegisters(40).start.bytes.length).toBe(40);
    const error = await refusal(async () => capture.requireRegisters(0x230));
    expect([error.code, error.place]).toEqual(['capture', '$.iommu.registers.hex']);
    expect(error.message).toContain('has 40 bytes, but 560 are needed');
  });

  it('says when a model needs registers and there are none', async () => {
    const capture = await captureWith(root, { iommu: { model: 'virtio' } });
    const error = await refusal(async () => capture.requireRegisters(8));
    expect(error.message).toContain('has no register dump, which "virtio" needs');
  });

  const registers = { base: '0x0', hex: '00' };
  it.each<[string, Record<string, unknown>, string, string]>([
    ['another format', { format: 'viommu-capture/2' }, '$.format', '"viommu-capture/2"'],
    ['no name', { name: undefined }, '$.name', 'found nothing'],
    ['a model of the wrong type', { iommu: { model: 7 } }, '$.iommu.model', 'found 7'],
    [
      'an odd number of digits',
      { iommu: { model: 'vtd', registers: { ...registers, hex: '123' } } },
      '$.iommu.registers.hex',
      'odd number of digits',
    ],
    [
      'an empty dump',
      { iommu: { model: 'vtd', registers: { ...registers, hex: '' } } },
      '$.iommu.registers.hex',
      'got none',
    ],
    [
      'a dump that is not hexadecimal',
      { iommu: { model: 'vtd', registers: { ...registers, hex: 'zz' } } },
      '$.iommu.registers.hex',
      'hexadecimal digits only',
    ],
    [
      'a base beyond 64 bits',
      { iommu: { model: 'vtd', registers: { ...registers, base: '0x10000000000000000' } } },
      '$.iommu.registers.base',
      'up to 64 bits',
    ],
    ['no RAM', { ram: [] }, '$.ram', 'found an array'],
    ['RAM of half a page', { ram: [{ gpa: '0x0', size: '0x800' }] }, '$.ram[0]', 'whole 4 KiB pages'],
    ['empty RAM', { ram: [{ gpa: '0x0', size: '0x0' }] }, '$.ram[0]', 'whole 4 KiB pages'],
    [
      'RAM past 2^64',
      { ram: [{ gpa: '0xfffffffffffff000', size: '0x2000' }] },
      '$.ram[0]',
      'whole 4 KiB pages below 2^64',
    ],
    [
      'overlapping RAM',
      {
        ram: [
          { gpa: '0x0', size: '0x2000' },
          { gpa: '0x1000', size: '0x2000' },
        ],
      },
      '$.ram[1]',
      'overlaps another one',
    ],
    [
      'a PCI function without bus',
      { pci: [{ bdf: '1f.0', vendor: '0x1', device: '0x1', class: '0x1', group: null, driver: null }] },
      '$.pci[0].bdf',
      '"1f.0"',
    ],
    ['a plug without requester', { plug: {} }, '$.plug.requester', 'found nothing'],
    ['files that are a list', { files: [] }, '$.files', 'found an array'],
    [
      'a requester that is none',
      { files: { mappingsByRequester: { 'x"': 'a' } } },
      '$.files.mappingsByRequester["x\\""]',
      '',
    ],
  ])('is refused with %s', async (_what, fields, place, message) => {
    const error = await refusal(() => captureWith(root, fields));
    expect([error.code, error.place]).toEqual(['capture', place]);
    expect(basename(error.file)).toBe('capture.json');
    expect(error.message).toContain(message);
    expect(error.remedy).not.toBe('');
  });

  it.each(['../../etc/passwd', '/etc/passwd', '..', '.', '', 'a/b', 'a\\b', 'C:x', 'a\0b'])(
    'is refused when it names the file %j outside its folder',
    async (name) => {
      const error = await refusal(() => captureWith(root, { files: { memory: name } }));
      expect([error.code, error.place]).toEqual(['capture', '$.files.memory']);
      expect(error.message).toContain('without a path');
    },
  );

  it('is refused when it is not JSON', async () => {
    const error = await refusal(async () => readCapture(await folderOf(root, '{"format": \u001b[2J')));
    expect(error.code).toBe('json');
    expect(error.message).not.toMatch(/\p{Cc}/u);
  });

  it('is refused when it is nested a million deep', async () => {
    const deep = `{"format": ${'['.repeat(1e6)}${']'.repeat(1e6)}}`;
    expect((await refusal(async () => readCapture(await folderOf(root, deep)))).code).toBe('capture');
  });

  it('is refused when it is missing, and so is its folder, and so is a file in the place of the folder', async () => {
    const folder = await folderOf(root, goodJson());
    const noFolder = await refusal(() => readCapture(join(root, 'nowhere')));
    const aFile = await refusal(() => readCapture(join(folder, 'capture.json')));
    await rm(join(folder, 'capture.json'));
    const noJson = await refusal(() => readCapture(folder));
    expect([noFolder.code, aFile.code, noJson.code]).toEqual(['not-found', 'not-found', 'not-found']);
    expect(noJson.file).toBe(join(folder, 'capture.json'));
    expect(aFile.message).toContain('name the folder that holds capture.json');
  });

  it('is refused or read, and never anything else, when any value in it changes', async () => {
    const good = goodJson();
    const paths: PropertyKey[][] = [];
    const collect = (value: unknown, path: PropertyKey[]): void => {
      if (typeof value === 'object' && value !== null) {
        for (const key of Object.keys(value)) {
          paths.push([...path, key]);
          collect((value as Record<string, unknown>)[key], [...path, key]);
        }
      }
    };
    collect(good, []);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), fc.jsonValue(), async (path, value) => {
        const json = structuredClone(good);
        const parent = path
          .slice(0, -1)
          .reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)[key], json);
        (parent as Record<PropertyKey, unknown>)[path.at(-1)!] = value;
        await writeFile(join(root, 'capture.json'), JSON.stringify(json));
        const outcome = await readCapture(root).catch((error: unknown) => error);
        expect(outcome instanceof GuestFileError || (outcome as Capture).folder === root).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe('memory', () => {
  it('is the ELF core that the capture names', async () => {
    const elf = gzipSync(buildElf([{ paddr: 0x3000n, content: patternPages(1, 4) }]));
    const capture = await captureWith(root, { files: { memory: 'm', finalMemory: 'm' } }, { m: elf });
    const [start, final] = [await capture.memory(), await capture.finalMemory()];
    expect([...(start?.pages() ?? [])].map(({ page }) => page)).toEqual([3]);
    expect([...(final?.pages() ?? [])].map(({ words }) => words[0])).toEqual([4]);
  });

  it('is refused when it is no ELF core, naming its file', async () => {
    const capture = await captureWith(root, { files: { memory: 'm' } }, { m: 'no ELF at all' });
    const error = await refusal(() => capture.memory());
    expect([error.code, error.file]).toEqual(['elf', join(capture.folder, 'm')]);
  });
});
