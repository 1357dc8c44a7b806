import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readCapture, shippedCaptures } from '../../src/guests/index.ts';
import { captureCopies, withoutTranslation } from './capture-copy.ts';
import { linesOf, viommu } from './console.ts';
import { FIRST_STAGE_BITS, LEGACY, scratchFiles, SCALABLE, VtdCore } from './vtd-core.ts';

const captures = await shippedCaptures();
const shipped = (name: string): string => captures.find((folder) => basename(folder) === name) ?? '';
const legacy = shipped('vtd-legacy-e1000');
const file = scratchFiles();
const copyOf = captureCopies();

/** The last line, or the last lines, of the report for people. */
async function ending(argv: readonly string[], lines = 1): Promise<{ code: number; end: string[] }> {
  const { code, out } = await viommu(['translate', ...argv]);
  return { code, end: linesOf(out).slice(-lines) };
}

/** The object of the report for programs. */
async function answer(argv: readonly string[]): Promise<Record<string, unknown> & { code: number }> {
  const { code, out } = await viommu(['translate', ...argv, '--json']);
  expect(linesOf(out)).toHaveLength(1);
  return { ...(JSON.parse(out) as Record<string, unknown>), code };
}

/** A legacy core whose requester 00:00.0 has tables at `top`. */
function legacyCore(levels = 4): { core: VtdCore; top: number } {
  const core = new VtdCore(64);
  const top = core.page();
  core.context(core.bus(0), 0, top, { aw: levels - 2 });
  return { core, top };
}

const ZERO = ['--requester', '00:00.0'];

describe('the way through a real guest', () => {
  test('legacy mode: every structure and table with its entry and meaning', async () => {
    const { code, out, err } = await viommu(['translate', legacy, '--requester', '02:00.0', '0xfff00123']);

    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(linesOf(out)).toEqual([
      'vtd-legacy-e1000: VT-d legacy mode, 4-level, e1000 behind pcie-pci-bridge, DMA API mappings, default policy',
      '02:00.0 asks for 0xfff00123',
      '  root entry             0x247d000[2]    0x00000000025c1001  context table at 0x25c1000',
      '    bits 64 on: 0x0000000000000000',
      '  context entry          0x25c1000[0]    0x000000000258e001  TT 0 (untranslated requests only), AW 2 (48 bits, 4 levels), second-stage tables at 0x258e000, domain 6',
      '    bits 64 on: 0x0000000000000602',
      '  second stage, level 4  0x258e000[0]    0x0000000002dde403  table at 0x2dde000, R W',
      '  second stage, level 3  0x2dde000[3]    0x0000000002ddf403  table at 0x2ddf000, R W',
      '  second stage, level 2  0x2ddf000[511]  0x0000000002d98403  table at 0x2d98000, R W',
      '  second stage, level 1  0x2d98000[256]  0x0000000002d68002  leaf of 4 KiB -> 0x2d68000, W',
      '0xfff00123 -> 0x2d68123, 4 KiB leaf, w',
    ]);
  });

  test('scalable mode: root half, context entry, PASID directory and table', async () => {
    const found = await answer([shipped('vtd-sm-first-stage'), '--requester', '00:04.0', '0xfffff123']);

    expect(found).toMatchObject({
      code: 0,
      requester: '00:04.0',
      iova: '0xfffff123',
      access: 'none',
      translation: 'first-stage',
      domain: 5,
      outcome: 'translated',
      gpa: '0x1496ab123',
      perm: 'rw',
      size: 4096,
      ram: true,
    });
    const steps = found['steps'] as {
      what: string;
      table: string;
      index: number;
      entry: string[];
      meaning: string;
    }[];
    expect(steps.map(({ what, table, index }) => `${what} ${table}[${index}]`)).toEqual([
      'lower root entry 0x149151000[0]',
      'scalable-mode context entry 0x149155000[32]',
      'PASID-directory entry 0x14915c000[0]',
      'PASID-table entry 0x149182000[0]',
      'first stage, level 4 0x149181000[0]',
      'first stage, level 3 0x1497ea000[3]',
      'first stage, level 2 0x1497e6000[511]',
      'first stage, level 1 0x1497e7000[511]',
    ]);
    expect(steps[1]?.meaning).toBe(
      'PASID directory at 0x14915c000 of 512 entries, RID_PASID 0, requests with PASID blocked',
    );
    expect(steps[3]).toMatchObject({
      entry: [
        '0x0000000000000049',
        '0x0000000000000005',
        '0x0000000149181000',
        ...Array(5).fill('0x0000000000000000'),
      ],
      meaning: 'PGTT 1 (first stage), first-stage tables at 0x149181000, 4 levels, domain 5',
    });
  });

  test('every size of leaf ends where the recorded listing says, offset included', async () => {
    const capture = shipped('vtd-vfio-mix');
    const listing = (await (await readCapture(capture)).mappings()) ?? [];
    const sizes = [1, 512, 262_144].map((pages) => listing.findLast((mapping) => mapping.pages === pages)!);

    const found = await Promise.all(
      sizes.map(({ iova, pages }) => {
        const last = BigInt(iova + pages) * 4096n - 1n;
        return answer([capture, '--requester', '02:00.0', `0x${last.toString(16)}`]);
      }),
    );

    expect(found.map(({ gpa, size }) => ({ gpa, size }))).toEqual(
      sizes.map(({ target, pages }) => ({
        gpa: `0x${(BigInt(target + pages) * 4096n - 1n).toString(16)}`,
        size: pages * 4096,
      })),
    );
  });

  test('--final looks at the tables after the events', async () => {
    const listing = (await (await readCapture(legacy)).finalMappings()) ?? [];
    const { iova, target } = listing[0]!;
    const address = `0x${(iova * 4096).toString(16)}`;

    const found = await answer([legacy, '--requester', '02:00.0', address, '--final']);

    expect(found).toMatchObject({ code: 0, outcome: 'translated', gpa: `0x${(target * 4096).toString(16)}` });
  });
});

describe('accesses', () => {
  const { core, top } = legacyCore();
  core.map(top, 4, 1, 0x11, 1).map(top, 4, 2, 0x12, 2).map(top, 4, 3, 0x7ffff);
  const path = file('accesses.elf', core.bytes());
  const on = (iova: string, access: string): string[] => [path, ...LEGACY, ...ZERO, '--access', access, iova];

  test.each([
    ['0x1004', 'r', 'translated', undefined],
    ['0x1004', 'w', 'fault', 'LGN.2'],
    ['0x2004', 'r', 'fault', 'LGN.3'],
    ['0x2004', 'w', 'translated', undefined],
    ['0x9000', 'r', 'fault', 'LGN.3'],
    ['0x9000', 'w', 'fault', 'LGN.2'],
  ])('%s %s: %s', async (iova, access, outcome, condition) => {
    const found = await answer(on(iova, access));

    expect(found).toMatchObject({ outcome, access, code: outcome === 'fault' ? 1 : 0 });
    expect((found['fault'] as { condition: string } | undefined)?.condition).toBe(condition);
  });

  test('asking where nothing is mapped tells what a read and what a write would meet', async () => {
    expect(await ending(on('0x9000', 'none'), 2)).toEqual({
      code: 1,
      end: [
        'fault for a read: LGN.3 (0x06): The tables do not permit reading.',
        'fault for a write: LGN.2 (0x05): The tables do not permit writing.',
      ],
    });
  });

  test('asking where something is mapped tells what is permitted', async () => {
    expect(await ending(on('0x1fff', 'none'))).toEqual({
      code: 0,
      end: ['0x1fff -> 0x11fff, 4 KiB leaf, r'],
    });
  });

  test('a target that is not RAM is said to be none', async () => {
    expect(await ending(on('0x3000', 'r'))).toEqual({
      code: 0,
      end: ['0x3000 -> 0x7ffff000, 4 KiB leaf, rw permitted; no RAM is there'],
    });
  });
});

describe('outcomes that no table decides', () => {
  test.each(['0xfee00000', '0xfee12340', '0xfeefffff'])('%s is in the interrupt range', async (iova) => {
    const { core, top } = legacyCore();
    core.map(top, 4, 0xc0000, 0xc0000, 3, 3);
    const path = file('interrupt.elf', core.bytes());

    expect(await answer([path, ...LEGACY, ...ZERO, iova])).toMatchObject({ code: 1, outcome: 'interrupt' });
    expect((await ending([path, ...LEGACY, ...ZERO, iova])).end[0]).toContain('interrupt range');
  });

  test.each(['0xfedfffff', '0xfef00000'])('%s beside the interrupt range is translated', async (iova) => {
    const { core, top } = legacyCore();
    core.map(top, 4, 0xc0000, 0xc0000, 3, 3);

    const found = await answer([file('beside.elf', core.bytes()), ...LEGACY, ...ZERO, iova]);

    expect(found).toMatchObject({ code: 0, outcome: 'translated', gpa: iova, size: 1_073_741_824 });
  });

  test('requests with PASID are translated in the interrupt range too', async () => {
    const core = new VtdCore();
    const top = core.page();
    core.scalable(0x20, { pgtt: 2, second: top }, 5).map(top, 4, 0xfee00, 7);
    const path = file('pasid-interrupt.elf', core.bytes());

    const found = await answer([path, ...SCALABLE, '--requester', '00:04.0', '--pasid', '5', '0xfee00010']);

    expect(found).toMatchObject({ code: 0, pasid: 5, outcome: 'translated', gpa: '0x7010' });
  });

  test.each([
    [3, '0x7fffffffff', 'LGN.3'],
    [3, '0x8000000000', 'LGN.1'],
    [4, '0xffffffffffff', 'LGN.3'],
    [4, '0x1000000000000', 'LGN.1'],
    [5, '0x1ffffffffffffff', 'LGN.3'],
    [5, '0x200000000000000', 'LGN.1'],
  ])('%i levels: %s is %s', async (levels, iova, condition) => {
    const path = file('width.elf', legacyCore(levels).core.bytes());

    const found = await answer([path, ...LEGACY, ...ZERO, '--access', 'r', iova]);

    expect(found).toMatchObject({ code: 1, outcome: 'fault', fault: { condition } });
  });

  test('an address beyond the tables is shown as that', async () => {
    const path = file('beyond.elf', legacyCore(3).core.bytes());

    const { out } = await viommu(['translate', path, ...LEGACY, ...ZERO, '0x8000000000']);

    expect(out).toContain('0x8000000000 is beyond what these tables translate\n');
    expect(out).toContain(
      'fault: LGN.1 (0x04): The address is beyond what the tables or the platform translate.\n',
    );
  });

  test('a first-stage address that is not canonical', async () => {
    const core = new VtdCore();
    const top = core.page();
    core.scalable(0x20, { pgtt: 1, first: top });
    const path = file('canonical.elf', core.bytes());

    const found = await answer([path, ...SCALABLE, '--requester', '00:04.0', '0x800000000000']);

    expect(found).toMatchObject({ code: 1, outcome: 'fault', fault: { code: 0x80, condition: 'SGN.1' } });
  });

  test('pass-through', async () => {
    const core = new VtdCore();
    core.context(core.bus(0), 0, 0, { tt: 2, aw: 3, did: 9 });
    const path = file('through.elf', core.bytes());

    expect(await answer([path, ...LEGACY, ...ZERO, '0x1234'])).toMatchObject({
      code: 0,
      translation: 'pass-through',
      outcome: 'pass-through',
      gpa: '0x1234',
      perm: 'rw',
      ram: true,
    });
    expect(await ending([path, ...LEGACY, ...ZERO, '0x1234'])).toEqual({
      code: 0,
      end: ['0x1234 as it is: the requester passes through'],
    });
  });

  test('pass-through with a width that is not the largest: the entry says what it should be', async () => {
    const core = new VtdCore();
    core.context(core.bus(0), 0, 0, { tt: 2, aw: 2 });
    const path = file('through-aw.elf', core.bytes());

    const { code, out } = await viommu(['translate', path, ...LEGACY, ...ZERO, '0x1234']);

    expect(code).toBe(1);
    expect(out).toContain('AW 2 (48 bits, 4 levels), pass-through needs AW 3 (57 bits, 5 levels), domain 1');
    expect(out).toContain('fault: LCT.4');
  });

  test('translation off', async () => {
    const folder = copyOf(
      legacy,
      (json) => (json.iommu.registers = withoutTranslation(json.iommu.registers)),
    );

    const found = await answer([folder, '--requester', '02:00.0', '0xfff00123']);

    expect(found).toMatchObject({
      code: 0,
      outcome: 'untranslated',
      gpa: '0xfff00123',
      ram: false,
      steps: [],
    });
    expect(await ending([folder, '--requester', '02:00.0', '0x1000'])).toEqual({
      code: 0,
      end: ['0x1000 as it is: translation is off (GSTS_REG.TES is 0)'],
    });
  });
});

describe('faults on the way', () => {
  test.each([
    ['no root entry', '01:00.0', 'LRT.2', 'not present'],
    ['no context entry', '00:00.1', 'LCT.2', 'not present'],
    ['reserved TT', '00:00.2', 'LCT.4', 'TT 3 (reserved)'],
    ['AW that is not offered', '00:00.3', 'LCT.4', 'AW 5 (not offered by SAGAW)'],
    ['top table outside RAM', '00:00.4', 'LCT.4', 'the table cannot be read: it is not in RAM'],
    [
      'reserved bit in a table',
      '00:00.5',
      'LSS.2',
      'A present second-stage paging entry has a reserved bit set.',
    ],
    ['lower table outside RAM', '00:00.6', 'LSS.1', 'the table cannot be read: it is not in RAM'],
  ])('%s', async (_name, requester, condition, meaning) => {
    const core = new VtdCore();
    const context = core.bus(0);
    const [reserved, far] = [core.page(), core.page()];
    core.context(context, 2, 1, { tt: 3 }).context(context, 3, 1, { aw: 5 }).context(context, 4, 0x7ffff);
    core.context(context, 5, reserved).set(reserved, 0, 0x3083);
    core.context(context, 6, far).set(far, 0, 0x3003, 0x100);
    const path = file('faults.elf', core.bytes());

    const { code, out } = await viommu(['translate', path, ...LEGACY, '--requester', requester, '0x5000']);

    expect(code).toBe(1);
    const lines = linesOf(out);
    expect(lines.at(-1)).toContain(`fault: ${condition} (`);
    expect(lines.filter((line) => line.includes(meaning)).length).toBeGreaterThan(0);
  });

  test('a table that is its own child ends at its leaf', async () => {
    const { core, top } = legacyCore();
    core.fill(top, top * 4096 + 3);
    const found = await answer([file('self.elf', core.bytes()), ...LEGACY, ...ZERO, '0xfffffffff123']);

    expect(found).toMatchObject({ code: 0, outcome: 'translated', gpa: `0x${top.toString(16)}123` });
    expect(found['steps']).toHaveLength(6);
  });
});

describe('nested translation', () => {
  const core = new VtdCore(64);
  const second = core.page();
  const first = core.page();
  core.scalable(0x20, { pgtt: 3, first, second });
  core.map(first, 4, 0x10, 0x5000, 3, 1, FIRST_STAGE_BITS);
  core.map(first, 4, 0x11, 0x6000, 3, 1, FIRST_STAGE_BITS);
  // The next first-stage table is where the second stage leads nowhere.
  core.set(first, 1, 0x9000_0000 + 7);
  for (let page = 0; page < 24; page++) core.map(second, 4, page, page);
  core.map(second, 4, 0x5000, 0x21, 1);
  const path = file('nested.elf', core.bytes());
  const args = [path, ...SCALABLE, '--requester', '00:04.0'];

  test('the second-stage walk of each first-stage table and of the page is shown', async () => {
    const found = await answer([...args, '0x10abc']);

    const steps = found['steps'] as { depth: number; what: string }[];
    expect(steps.slice(4).map(({ depth, what }) => `${depth} ${what}`)).toEqual(
      [4, 3, 2, 1]
        .flatMap((level) => [
          ...[4, 3, 2, 1].map((inner) => `1 second stage of the level ${level} table, level ${inner}`),
          `0 first stage, level ${level}`,
        ])
        .concat([4, 3, 2, 1].map((inner) => `1 second stage of the page, level ${inner}`)),
    );
    expect(found).toMatchObject({
      code: 0,
      translation: 'nested',
      outcome: 'translated',
      gpa: '0x21abc',
      perm: 'r',
    });
  });

  test('indented for people', async () => {
    const { out } = await viommu(['translate', ...args, '0x10abc']);

    expect(out).toMatch(/^ {4}second stage of the level 4 table, level 4 {2}0x/m);
    expect(out).toMatch(/^ {2}first stage, level 4 {2,}0x/m);
  });

  test('a page that the second stage does not map', async () => {
    const found = await answer([...args, '0x11000']);

    const steps = found['steps'] as { meaning: string }[];
    expect(steps.at(-1)?.meaning).toBe('not present');
    expect(found).toMatchObject({ code: 1, outcome: 'fault', fault: { condition: 'SSS.2' } });
  });

  test('a first-stage table that the second stage does not map', async () => {
    const found = await answer([...args, '0x8000000000']);

    const steps = found['steps'] as { what: string; meaning: string; index?: number }[];
    expect(steps.at(-1)).toMatchObject({
      what: 'first stage, level 3',
      table: '0x90000000',
      meaning: 'the table cannot be read: the second stage leads to no RAM that may be read',
    });
    expect(steps.at(-1)).not.toHaveProperty('index');
    expect(found).toMatchObject({ code: 1, outcome: 'fault' });
  });
});

test('every mapping of a capture translates as it is listed', async () => {
  const capture = await readCapture(shipped('vtd-sm-first-stage'));
  const listing = (await capture.mappings('00:04.0')) ?? [];
  const some = listing.filter((_, i) => i % 12 === 0);

  const found = await Promise.all(
    some.map(({ iova }) =>
      answer([shipped('vtd-sm-first-stage'), '--requester', '00:04.0', `0x${(iova * 4096).toString(16)}`]),
    ),
  );

  expect(some.length).toBeGreaterThan(20);
  expect(found.map(({ gpa }) => gpa)).toEqual(some.map(({ target }) => `0x${(target * 4096).toString(16)}`));
});
