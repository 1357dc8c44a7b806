import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { shippedCaptures } from '../../src/guests/index.ts';
import { AMDVI, AmdviCore } from './amdvi-core.ts';
import { captureCopies, withWord } from './capture-copy.ts';
import { linesOf, viommu } from './console.ts';
import { scratchFiles } from './vtd-core.ts';

const captures = await shippedCaptures();
const shipped = (name: string): string => captures.find((folder) => basename(folder) === name) ?? '';
const e1000 = shipped('amdvi-e1000');
const file = scratchFiles();
const copyOf = captureCopies();

/** The last lines of a translation for people. */
async function ending(argv: readonly string[], lines = 1): Promise<{ code: number; end: string[] }> {
  const { code, out } = await viommu(['translate', ...argv]);
  return { code, end: linesOf(out).slice(-lines) };
}

/** A core whose requester 00:01.0 has a table of one level that maps page 5 to page 9, read-only. */
function oneLevel(): AmdviCore {
  const core = new AmdviCore();
  const root = core.page();
  return core.device(8, { mode: 1, root, domain: 3 }).entry(root, 5, 0, 9, 1);
}

describe('translate', () => {
  test('the device table entry, every table and the leaf, with what they mean', async () => {
    const { code, out, err } = await viommu(['translate', e1000, '--requester', '02:00.0', '0xffe59123']);

    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(linesOf(out)).toEqual([
      'amdvi-e1000: AMD-Vi with dma-remap=on, e1000 behind pcie-pci-bridge',
      '02:00.0 asks for 0xffe59123',
      '  device table entry    0x1244000[0]    0x60000000023d6603  Mode 3 (3 levels), tables at 0x23d6000, R W, domain 6',
      '    bits 64 on: 0x0000000000000006 0x0000000000000000 0x0000000000000000',
      '  host tables, level 3  0x23d6000[3]    0x6000000002bcf401  table at 0x2bcf000, R W',
      '  host tables, level 2  0x2bcf000[511]  0x6000000002bcb201  table at 0x2bcb000, R W',
      '  host tables, level 1  0x2bcb000[89]   0x5000000002e18001  leaf of 4 KiB -> 0x2e18000, W',
      '0xffe59123 -> 0x2e18123, 4 KiB leaf, w',
    ]);
  });

  test('for programs: host tables and their domain', async () => {
    const { out } = await viommu(['translate', e1000, '--requester', '02:00.0', '0xffe59123', '--json']);

    expect(JSON.parse(out)).toMatchObject({
      translation: 'host-tables',
      domain: 6,
      outcome: 'translated',
      gpa: '0x2e18123',
      perm: 'w',
      size: 4096,
    });
  });

  test.each([
    [
      'a leaf that does not permit it',
      ['--access', 'w', '0x5000'],
      1,
      'fault: IO_PAGE_FAULT (0x2050): the device table entry and the tables do not permit the access',
    ],
    [
      'a page that is not present',
      ['--access', 'r', '0x6000'],
      1,
      'fault: IO_PAGE_FAULT (0x2000): the page is not present',
    ],
    [
      'an address beyond the tables',
      ['0x200000'],
      1,
      'fault: IO_PAGE_FAULT (0x2000): the address is beyond what the tables translate',
    ],
    [
      'the interrupt range',
      ['0xfee00000'],
      1,
      'not translated: 0xfee00000-0xfeefffff is the interrupt range, where a write is an interrupt request, ' +
        'whatever the tables say (AMD-Vi 2.1)',
    ],
    ['what is permitted', ['0x5010'], 0, '0x5010 -> 0x9010, 4 KiB leaf, r'],
  ])('%s', async (_what, argv, code, line) => {
    const core = file('one-level.elf', oneLevel().bytes());

    expect(await ending([core, ...AMDVI, '--requester', '00:01.0', ...argv])).toEqual({ code, end: [line] });
  });

  test('a table outside RAM is shown where it is missing', async () => {
    const core = new AmdviCore();
    const root = core.page();
    core.device(8, { mode: 2, root }).entry(root, 0, 1, 0x5000);

    const { end } = await ending(
      [file('outside.elf', core.bytes()), ...AMDVI, '--requester', '00:01.0', '0x0'],
      2,
    );

    expect(end).toEqual([
      '  host tables, level 1  0x5000000                      the table cannot be read: it is not in RAM',
      'fault: PAGE_TAB_HARDWARE_ERROR (0x4200): a page table entry could not be read',
    ]);
  });

  test('an entry of zeros lets addresses pass', async () => {
    const core = file('zeros.elf', oneLevel().bytes());

    expect(await ending([core, ...AMDVI, '--requester', '00:02.0', '0x7010'], 2)).toEqual({
      code: 0,
      end: [
        '    bits 64 on: 0x0000000000000000 0x0000000000000000 0x0000000000000000',
        '0x7010 as it is: the requester passes through',
      ],
    });
  });

  test('a requester that the device table is too short for', async () => {
    const core = file('short.elf', oneLevel().bytes());

    expect(await ending([core, ...AMDVI, '--requester', '01:00.0', '0x0'])).toEqual({
      code: 1,
      end: [
        'fault: ILLEGAL_DEV_TABLE_ENTRY (0x1000): the device table is too short to hold an entry of this device',
      ],
    });
  });

  test('while the IOMMU is off no table is looked at', async () => {
    const core = file('off.elf', oneLevel().bytes());

    const { out } = await viommu([
      'translate',
      core,
      ...AMDVI,
      '--control',
      '0x0',
      '--requester',
      '00:01.0',
      '0x5000',
    ]);

    expect(linesOf(out).slice(1)).toEqual([
      '00:01.0 asks for 0x5000',
      '0x5000 as it is: translation is off (IommuEn of the Control register is 0)',
    ]);
  });

  test('Extended Feature limits the levels that an entry may name', async () => {
    const core = new AmdviCore();
    core.device(8, { mode: 6, root: core.page() });
    const path = file('levels.elf', core.bytes());
    const argv = [path, ...AMDVI, '--requester', '00:01.0', '--access', 'r', '0x0'];

    const free = await ending(argv);
    const limited = await ending([...argv, '--efr', '0x0']);

    expect(free.end).toEqual(['fault: IO_PAGE_FAULT (0x2000): the page is not present']);
    expect(limited.end).toEqual([
      'fault: ILLEGAL_DEV_TABLE_ENTRY (0x1000): the device table entry has a Mode that the IOMMU cannot use',
    ]);
  });

  test('the exclusion range passes, where Allow is set for every device', async () => {
    const capture = copyOf(e1000, (json) => {
      const based = withWord(json.iommu.registers, 0x20, () => 0xffe59003);
      json.iommu.registers = withWord(based, 0x28, () => 0xffe59000);
    });

    const inside = await ending([capture, '--requester', '02:00.0', '0xffe59123']);
    const outside = await ending([capture, '--requester', '02:00.0', '0xffe5a123']);

    expect(inside.end).toEqual([
      '0xffe59123 as it is: 0xffe59000-0xffe59fff is the exclusion range; no RAM is there',
    ]);
    expect(outside.end).toEqual(['0xffe5a123 -> 0x2baf123, 4 KiB leaf, w']);
  });
});

describe('maps', () => {
  test('requesters with tables, those that pass by an entry of their own, and entries that cannot be used', async () => {
    const core = oneLevel()
      .device(16, { domain: 4 })
      .device(24, { access: 0 })
      .device(32, { valid: false })
      .device(40, { mode: 7 });

    const { code, out } = await viommu(['maps', file('kinds.elf', core.bytes()), ...AMDVI]);

    expect(code).toBe(0);
    expect(linesOf(out).slice(1)).toEqual([
      'AMD-Vi, device table at 0x1000 of 128 entries',
      '',
      '00:01.0',
      '  host tables: 1 level at 0x2000, domain 3',
      '  0x5000-0x5fff  -> 0x9000  r  4 KiB',
      '  1 mapping in 1 run, 4 KiB; 4 KiB: 1 r',
      '',
      '00:02.0',
      '  pass-through (Mode 0): every address to itself, R W; domain 4',
      '',
      '00:04.0',
      '  blocked: IO_PAGE_FAULT (0x2000): the device table entry has V set and TV clear',
      '',
      '00:05.0',
      '  blocked: ILLEGAL_DEV_TABLE_ENTRY (0x1000): the device table entry has a Mode that the IOMMU cannot use',
    ]);
  });

  test('a leaf of an encoded size is one mapping', async () => {
    const core = new AmdviCore();
    const root = core.page();
    // 16 KiB at 16 KiB: the lowest zero of the address field says the size, and all four entries are the same.
    const sized = 0x10 + 1;
    core.device(8, { mode: 1, root });
    for (const index of [4, 5, 6, 7]) core.entry(root, index, 7, sized);

    const { out } = await viommu(['maps', file('sized.elf', core.bytes()), ...AMDVI]);

    expect(out).toContain('\n  0x4000-0x7fff  -> 0x10000  rw  16 KiB\n');
  });

  test('a device table that is not in RAM blocks all whose entries are in it', async () => {
    const argv = ['maps', file('table.elf', oneLevel().bytes()), '--model', 'amd', '--devtab', '0x5000001'];

    const { out } = await viommu(argv);

    expect(out).toContain(
      '\n00:00.0-00:0f.7\n  blocked: DEV_TAB_HARDWARE_ERROR (0x3200): the device table entry could not be read\n',
    );
    expect(out).toContain('\n00:10.0-00:1f.7\n');
  });

  test('an IOMMU whose table says nothing of anybody', async () => {
    const { out } = await viommu(['maps', file('nobody.elf', new AmdviCore().bytes()), ...AMDVI]);

    expect(out).toMatch(/\nno requester is translated: no device table entry says how\n$/);
  });

  test('an ELF core with Device Table Base gives what its capture gives', async () => {
    const argv = ['--requester', '02:00.0', '--json'];
    const capture = await viommu(['maps', e1000, ...argv]);
    const image = join(e1000, 'memory.elf.gz');

    const core = await viommu(['maps', image, '--model', 'amdvi', '--devtab', '0x1240007', ...argv]);

    expect({ code: core.code, err: core.err }).toEqual({ code: 0, err: '' });
    expect(core.out).toBe(capture.out);
  });
});

describe('options', () => {
  test.each([
    [
      ['--model', 'amdvi'],
      'add --model amdvi --devtab 0x... (what Device Table Base held), or name the folder of a capture',
    ],
    [[...AMDVI, '--cap', '0x0'], '--cap is no register of AMD-Vi'],
    [[...AMDVI, '--pasid', '1'], 'requests with PASID are not modelled for AMD-Vi'],
    [['--model', 'vtd', '--devtab', '0x0'], 'add --model vtd --rtaddr 0x...'],
  ])('%j', async (argv, said) => {
    const { code, out, err } = await viommu(['maps', file('options.elf', new AmdviCore().bytes()), ...argv]);

    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(said);
  });

  test.each(['amd', 'amdvi'])('a capture may be named %s', async (model) => {
    const { code } = await viommu(['maps', e1000, '--model', model, '--requester', '00:00.0']);

    expect(code).toBe(0);
  });
});
