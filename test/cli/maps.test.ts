import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { shippedCaptures } from '../../src/guests/index.ts';
import { jsonLines, linesOf, viommu } from './console.ts';
import { captureCopies, withoutTranslation } from './capture-copy.ts';
import { FIRST_STAGE_BITS, LEGACY, scratchFiles, SCALABLE, VtdCore } from './vtd-core.ts';

const captures = await shippedCaptures();
const legacy = captures.find((folder) => basename(folder) === 'vtd-legacy-e1000') ?? '';
const mix = captures.find((folder) => basename(folder) === 'vtd-vfio-mix') ?? '';
const file = scratchFiles();
const copyOf = captureCopies();

interface Listing {
  readonly capture: string;
  readonly requester: string;
  readonly listing: string;
  readonly options: readonly string[];
}

/** Every listing that an independent walker made of a shipped capture. */
const listings: Listing[] = captures.flatMap((capture) => {
  const json = JSON.parse(readFileSync(join(capture, 'capture.json'), 'utf8')) as {
    plug: { requester: string } | null;
    files: { mappings?: string; finalMappings?: string; mappingsByRequester?: Record<string, string> };
  };
  const { mappings, finalMappings, mappingsByRequester = {} } = json.files;
  const found: Listing[] = Object.entries(mappingsByRequester).map(([requester, name]) => ({
    capture,
    requester,
    listing: join(capture, name),
    options: [],
  }));
  const requester = json.plug?.requester;
  if (requester !== undefined && mappings !== undefined)
    found.push({ capture, requester, listing: join(capture, mappings), options: [] });
  if (requester !== undefined && finalMappings !== undefined)
    found.push({ capture, requester, listing: join(capture, finalMappings), options: ['--final'] });
  return found;
});

describe('what real guests map', () => {
  test('the shipped captures hold the listings that are compared', () => {
    expect(captures).toHaveLength(8);
    expect(listings).toHaveLength(18);
  });

  test.each(
    listings.map(
      (listing) => [`${basename(listing.capture)} ${basename(listing.listing)}`, listing] as const,
    ),
  )('%s: equal, line by line', async (_name, { capture, requester, listing, options }) => {
    const recorded = gunzipSync(readFileSync(listing)).toString();

    const { code, out, err } = await viommu([
      'maps',
      capture,
      '--requester',
      requester,
      '--json',
      ...options,
    ]);

    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(linesOf(out)).toEqual(linesOf(recorded));
  });

  test('without --requester the same leaves come with their requesters', async () => {
    const one = await viommu(['maps', mix, '--requester', '02:00.0', '--json']);
    const all = await viommu(['maps', mix, '--json']);

    const of = linesOf(all.out).filter((line) => line.endsWith(',"requester":"02:00.0"}'));
    expect(of.map((line) => line.replace(',"requester":"02:00.0"', ''))).toEqual(linesOf(one.out));
    const names = new Set(jsonLines(all.out).map((line) => (line as { requester: string }).requester));
    // Requesters in ascending order; 02:01.0 and the bridge 01:00.0 share the tables of 02:00.0.
    expect([...names]).toEqual(['00:1f.0', '00:1f.2', '00:1f.3', '01:00.0', '02:00.0', '02:01.0']);
  });

  test('an ELF core with RTADDR_REG gives what its capture gives', async () => {
    const capture = await viommu(['maps', mix, '--json']);
    const image = join(mix, 'memory.elf.gz');
    const core = await viommu(['maps', image, '--model', 'vtd', '--rtaddr', '0x149571000', '--json']);

    expect(core.code).toBe(0);
    expect(core.out).toBe(capture.out);
    expect(core.out).not.toBe('');
  });
});

describe('the listing for people', () => {
  test('requesters with their functions, runs cut after twenty, counts by size and permission', async () => {
    const { code, out, err } = await viommu(['maps', legacy]);

    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain('VT-d, legacy mode, root table at 0x247d000\n');
    expect(out).toContain(`
00:1f.0  (8086:2918, no driver)
  second stage: 4 levels at 0x2494000, domain 5
  0x0-0xffffff  -> 0x0  rw  16 MiB in 8 leaves
  8 mappings in 1 run, 16 MiB; 2 MiB: 8 rw

00:1f.2  (8086:2922, no driver)
  the same tables as 00:1f.0
`);
    expect(out).toContain('  ... and 238 runs more: --all shows them\n');
    expect(out).toContain('  348 mappings in 258 runs, 1.3 MiB; 4 KiB: 346 w, 2 rw\n');
    expect(out).toContain('02:00.0  (where the device was plugged in)\n');
  });

  test('--all shows every run', async () => {
    const { out } = await viommu(['maps', legacy, '--requester', '02:00.0', '--all']);

    expect(linesOf(out).filter((line) => line.includes(' -> '))).toHaveLength(258);
    expect(out).not.toContain('more');
  });

  test('neighbours with one permission are one run; a change of permission, target or IOVA ends it', async () => {
    const core = new VtdCore();
    const top = core.page();
    core.context(core.bus(0), 0, top);
    core.map(top, 4, 0x100, 0x500).map(top, 4, 0x101, 0x501);
    core.map(top, 4, 0x102, 0x502, 1).map(top, 4, 0x103, 0x900, 1).map(top, 4, 0x105, 0x902, 1);
    const { out } = await viommu(['maps', file('runs.elf', core.bytes()), ...LEGACY]);

    expect(linesOf(out).slice(-5)).toEqual([
      '  0x100000-0x101fff  -> 0x500000  rw  8 KiB in 2 leaves',
      '  0x102000-0x102fff  -> 0x502000  r   4 KiB',
      '  0x103000-0x103fff  -> 0x900000  r   4 KiB',
      '  0x105000-0x105fff  -> 0x902000  r   4 KiB',
      '  5 mappings in 4 runs, 20 KiB; 4 KiB: 3 r, 2 rw',
    ]);
  });

  test('nobody is translated', async () => {
    const { code, out } = await viommu(['maps', file('nobody.elf', new VtdCore().bytes()), ...LEGACY]);

    expect(code).toBe(0);
    expect(out).toContain('no requester is translated: no context entry is present\n');
  });

  test('what stands in a capture cannot steer the terminal', async () => {
    const folder = copyOf(legacy, (json) => (json['description'] = 'a\x1b[2Jb\nc'));

    const { out } = await viommu(['maps', folder]);

    expect(linesOf(out)[0]).toBe('vtd-legacy-e1000: a\\u001b[2Jb\\u000ac');
  });

  test('escape sequences only on a terminal that wants them', async () => {
    const args = ['maps', legacy, '--requester', '00:1f.0'];

    const terminal = await viommu(args, { terminal: true });
    const noColour = await viommu(args, { terminal: true, colours: false });
    const pipe = await viommu(args);

    expect(terminal.out).toContain('\x1b[1m00:1f.0\x1b[0m');
    expect(noColour.out).not.toContain('\x1b');
    expect(pipe.out).toBe(noColour.out);
  });
});

describe('ways to be translated', () => {
  test('leaves of 4 KiB, 2 MiB and 1 GiB in tables of 3, 4 and 5 levels', async () => {
    const core = new VtdCore(64);
    const context = core.bus(0);
    for (const levels of [3, 4, 5]) {
      const top = core.page();
      core.context(context, levels, top, { aw: levels - 2 });
      core.map(top, levels, 0x1000 - 1, 0x123456789, 2);
      core.map(top, levels, 0x1000, 0x1000, 3, 2);
      core.map(top, levels, 0x40000, 0x80000, 1, 3);
    }
    const path = file('levels.elf', core.bytes());

    const listings = await Promise.all(
      ['00:00.3', '00:00.4', '00:00.5'].map((requester) =>
        viommu(['maps', path, ...LEGACY, '--requester', requester, '--json']),
      ),
    );

    for (const { code, out } of listings) {
      expect(code).toBe(0);
      expect(linesOf(out)).toEqual([
        '{"iova":"0xfff000","size":4096,"gpa":"0x123456789000","perm":"w"}',
        '{"iova":"0x1000000","size":2097152,"gpa":"0x1000000","perm":"rw"}',
        '{"iova":"0x40000000","size":1073741824,"gpa":"0x80000000","perm":"r"}',
      ]);
    }
  });

  test('first stage: both halves of the canonical addresses', async () => {
    const core = new VtdCore();
    const top = core.page();
    core.scalable(0x20, { pgtt: 1, first: top });
    core.map(top, 4, 5, 6, 3, 1, FIRST_STAGE_BITS);
    core.map(top, 4, 2 ** 36 - 1, 7, 1, 1, FIRST_STAGE_BITS);
    const { out } = await viommu(['maps', file('first.elf', core.bytes()), ...SCALABLE, '--json']);

    expect(linesOf(out)).toEqual([
      '{"iova":"0x5000","size":4096,"gpa":"0x6000","perm":"rw","requester":"00:04.0"}',
      '{"iova":"0xfffffffffffff000","size":4096,"gpa":"0x7000","perm":"r","requester":"00:04.0"}',
    ]);
  });

  test('nested: leaves come out as the second stage cuts them, tables read through it', async () => {
    const core = new VtdCore(40);
    const second = core.page();
    const first = core.page();
    core.scalable(0x20, { pgtt: 3, first, second });
    // 2 MiB for the first stage, of which the second stage has two pages in two places.
    core.map(first, 4, 0x200, 0x200, 3, 2, FIRST_STAGE_BITS);
    for (let page = 0; page < 40; page++) core.map(second, 4, page, page);
    core.map(second, 4, 0x201, 0x999, 1).map(second, 4, 0x3ff, 0x888, 3);
    const { out } = await viommu(['maps', file('nested.elf', core.bytes()), ...SCALABLE, '--json']);

    expect(linesOf(out)).toEqual([
      '{"iova":"0x201000","size":4096,"gpa":"0x999000","perm":"r","requester":"00:04.0"}',
      '{"iova":"0x3ff000","size":4096,"gpa":"0x888000","perm":"rw","requester":"00:04.0"}',
    ]);
  });

  test('--pasid lists the requesters that translate this PASID', async () => {
    const core = new VtdCore();
    const top = core.page();
    core.scalable(0x20, { pgtt: 2, second: top }, 77).scalable(0x100, { pgtt: 2, second: top }, 76);
    core.map(top, 4, 1, 2);
    const path = file('pasid.elf', core.bytes());

    const listed = await viommu(['maps', path, ...SCALABLE, '--pasid', '77', '--json']);
    const without = await viommu(['maps', path, ...SCALABLE, '--json']);

    expect(listed).toMatchObject({ code: 0, err: '' });
    expect(listed.out).toBe(
      '{"iova":"0x1000","size":4096,"gpa":"0x2000","perm":"rw","requester":"00:04.0"}\n',
    );
    expect(without.out).toBe('');
    expect(without.err).toContain('viommu: 00:04.0: SPD.2 (0x51)');
  });

  test('pass-through has no leaves, and both forms say so', async () => {
    const core = new VtdCore();
    core.context(core.bus(3), 8, 0, { tt: 2, aw: 3, did: 4 });
    const path = file('pass-through.elf', core.bytes());

    const json = await viommu(['maps', path, ...LEGACY, '--json']);
    const text = await viommu(['maps', path, ...LEGACY]);

    expect(json).toMatchObject({
      code: 0,
      out: '',
      err: 'viommu: 03:01.0: passes through, without tables\n',
    });
    expect(text.out).toContain(
      '03:01.0\n  pass-through: every address to itself, without tables; domain 4\n',
    );
  });

  test('a capability that lacks what the tables use faults them', async () => {
    const core = new VtdCore();
    const top = core.page();
    core.context(core.bus(0), 0, top).map(top, 4, 0x200, 0x200, 3, 2);
    const path = file('no-large-pages.elf', core.bytes());
    // SAGAW 48 bits, MGAW 48, no large pages.
    const cap = `0x${((47n << 16n) | (4n << 8n) | (0x22n << 24n)).toString(16)}`;
    const ecap = `0x${(0xfn << 8n).toString(16)}`;

    const { code, out, err } = await viommu([
      'maps',
      path,
      ...LEGACY,
      '--cap',
      cap,
      '--ecap',
      ecap,
      '--json',
    ]);

    expect({ code, out }).toEqual({ code: 0, out: '' });
    expect(linesOf(err)).toEqual([
      'viommu: 00:00.0: 1 table fault; what they hide is not mapped:',
      '  0x200000-0x3fffff: LSS.2 (0x0c): A present second-stage paging entry has a reserved bit set.',
    ]);
  });
});

describe('broken structures', () => {
  test('context entries with faults are listed as blocked, absent ones are not', async () => {
    const core = new VtdCore();
    const context = core.bus(1);
    // TT 11 is reserved; and a second entry that is sound.
    const top = core.page();
    core.context(context, 0, top, { tt: 3 }).context(context, 9, top).map(top, 4, 1, 2);
    const path = file('tt.elf', core.bytes());

    const text = await viommu(['maps', path, ...LEGACY]);
    const json = await viommu(['maps', path, ...LEGACY, '--json']);

    expect(text.out).toContain(
      '\n01:00.0\n  blocked: LCT.4 (0x03): The context entry has an unusable AW, TT or SSPTPTR.\n',
    );
    expect(json.err).toBe(
      'viommu: 01:00.0: LCT.4 (0x03): The context entry has an unusable AW, TT or SSPTPTR.\n',
    );
    expect(jsonLines(json.out)).toEqual([
      { iova: '0x1000', size: 4096, gpa: '0x2000', perm: 'rw', requester: '01:01.1' },
    ]);
  });

  test('a context table outside RAM blocks its bus', async () => {
    const core = new VtdCore();
    core.bus(5, 0x7ffff);
    const { out } = await viommu(['maps', file('no-context.elf', core.bytes()), ...LEGACY]);

    expect(out).toContain(
      '\n05:00.0-05:1f.7\n  blocked: LCT.1 (0x09): The context entry could not be read.\n',
    );
  });

  test('in scalable mode each half of a bus has its own', async () => {
    const core = new VtdCore();
    core.set(core.root, 5 * 2 + 1, 0x7ffff001);
    const { out } = await viommu(['maps', file('no-context-sm.elf', core.bytes()), ...SCALABLE]);

    expect(out).toContain('\n05:10.0-05:1f.7\n  blocked: SCT.1 (0x40)');
    expect(linesOf(out).filter((line) => line.includes('blocked'))).toHaveLength(1);
  });

  test('a root table outside RAM blocks everything, said once', async () => {
    const path = file('no-root.elf', new VtdCore().bytes());
    const { code, out } = await viommu(['maps', path, '--model', 'vtd', '--rtaddr', '0xfffffffffffff000']);

    expect(code).toBe(0);
    expect(out).toContain('\n00:00.0-ff:1f.7\n  blocked: LRT.1 (0x08): The root entry could not be read.\n');
  });

  test('table faults are shown with what they hide, the first sixteen of them', async () => {
    const core = new VtdCore();
    const top = core.page();
    core.context(core.bus(0), 0, top).fill(top, 0x3003, 0x80000);
    const { code, out } = await viommu(['maps', file('far.elf', core.bytes()), ...LEGACY]);

    expect(code).toBe(0);
    expect(out).toContain('  nothing is mapped\n  512 table faults; what they hide is not mapped:\n');
    expect(out).toContain('    0x0-0x7fffffffff: LSS.1 (0x07)');
    expect(out).toContain('  ... and 496 more\n');
  });
});

describe('translation is off', () => {
  test('both forms say so and list nothing', async () => {
    const folder = copyOf(
      legacy,
      (json) => (json.iommu.registers = withoutTranslation(json.iommu.registers)),
    );

    const json = await viommu(['maps', folder, '--json']);
    const text = await viommu(['maps', folder]);

    expect(json).toMatchObject({ code: 0, out: '' });
    expect(json.err).toBe(
      'viommu: translation is off (GSTS_REG.TES is 0): every request reaches guest memory as it is\n',
    );
    expect(text.out).toContain('VT-d, translation off (GSTS_REG.TES is 0)');
  });
});

describe('tables made to exhaust whoever walks them', () => {
  test('are cut at the budget, with the place and the remedy', async () => {
    const path = file('self.elf', selfReferencing());

    const { code, out, err } = await viommu(['maps', path, ...LEGACY, '--json', '--budget', '100000']);

    expect(code).toBe(1);
    expect(linesOf(out)).toHaveLength(100_000);
    expect(err).toContain(
      'viommu: 00:00.0: the walk was cut at IOVA 0x186a0000 after 100,000 of 100,000 mappings',
    );
    expect(err).toContain('raise --budget');
  });

  test('the budget is one for all requesters', async () => {
    const core = new VtdCore();
    const top = core.page();
    const context = core.bus(0);
    for (let devfn = 0; devfn < 256; devfn++) core.context(context, devfn, top);
    core.map(top, 4, 0, 0).map(top, 4, 1, 1);
    const path = file('shared.elf', core.bytes());

    const { code, out, err } = await viommu(['maps', path, ...LEGACY, '--json', '--budget', '5']);

    expect(code).toBe(1);
    expect(linesOf(out)).toHaveLength(5);
    expect(err).toContain('viommu: 00:00.2: the walk was cut at IOVA 0x1000');
  });

  test('without leaves they are cut by the entries that were read', async () => {
    const core = new VtdCore();
    const [a, b, c, d, top] = [core.page(), core.page(), core.page(), core.page(), core.page()];
    core.context(core.bus(0), 0, top, { aw: 3 });
    core
      .fill(top, a * 4096 + 3)
      .fill(a, b * 4096 + 3)
      .fill(b, c * 4096 + 3)
      .fill(c, d * 4096 + 3);
    const path = file('empty.elf', core.bytes());

    const { code, out, err } = await viommu(['maps', path, ...LEGACY]);

    expect(code).toBe(1);
    expect(out).toContain('nothing is mapped');
    expect(err).toMatch(/cut at IOVA 0x[0-9a-f]+ after 0 of 4,194,304 mappings/);
  });

  test('a person sees the runs and the counts up to the cut', async () => {
    const path = file('self-text.elf', selfReferencing());

    const { code, out } = await viommu(['maps', path, ...LEGACY, '--budget', '100000']);

    expect(code).toBe(1);
    expect(out).toContain('100,000 mappings in 100,000 runs');
  });

  test('the tables of 65,536 requesters are looked at once', async () => {
    const core = new VtdCore();
    const top = core.page();
    const context = core.bus(0);
    for (let bus = 1; bus < 256; bus++) core.bus(bus, context);
    for (let devfn = 0; devfn < 256; devfn++) core.context(context, devfn, top);
    core.map(top, 4, 1, 1);
    const { code, out } = await viommu(['maps', file('many.elf', core.bytes()), ...LEGACY]);

    expect(code).toBe(0);
    expect(linesOf(out).filter((line) => line === '  the same tables as 00:00.0')).toHaveLength(65_535);
  });
});

describe('long listings', () => {
  test('are written in pieces, each awaited', async () => {
    const { out, writes } = await viommu(['maps', mix, '--requester', '02:00.0', '--json']);

    expect(linesOf(out)).toHaveLength(17_809);
    expect(writes).toBe(2);
  });

  test('end without a failure when the reader has seen enough', async () => {
    const { code, out, err, writes } = await viommu(['maps', mix, '--json'], { closesAfter: 2 });

    expect({ code, err, writes }).toEqual({ code: 0, err: '', writes: 3 });
    expect(linesOf(out)).toHaveLength(16);
  });

  test('nested leaves that are taken up in the middle are not told twice', async () => {
    const core = new VtdCore(80);
    const second = core.page();
    const first = core.page();
    core.scalable(0x20, { pgtt: 3, first, second });
    core.map(first, 4, 0x40000, 0x40000, 3, 3, FIRST_STAGE_BITS);
    for (let page = 0; page < 80; page++) core.map(second, 4, page, page);
    // One second-stage table of 512 leaves, seen at 40 places of the first-stage leaf of 1 GiB.
    const table = core.page();
    core.fill(table, 0x5003);
    for (let i = 0; i < 40; i++) core.map(second, 4, 0x40000 + i * 512, 0, 3, 2);
    const level2 = core.tableOf(second, 4, 0x40000, 2);
    for (let i = 0; i < 40; i++) core.set(level2, i, table * 4096 + 3);
    const { out } = await viommu(['maps', file('long-nested.elf', core.bytes()), ...SCALABLE, '--json']);

    const iovas = jsonLines(out).map((line) => Number((line as { iova: string }).iova));
    expect(iovas).toHaveLength(20_480);
    expect(iovas.every((iova, i) => iova === 0x40000000 + i * 4096)).toBe(true);
  });
});

/** A table that is its own child at every level, under every requester. */
function selfReferencing(): Uint8Array {
  const core = new VtdCore();
  const top = core.page();
  const context = core.bus(0);
  for (let bus = 1; bus < 256; bus++) core.bus(bus, context);
  for (let devfn = 0; devfn < 256; devfn++) core.context(context, devfn, top);
  return core.fill(top, top * 4096 + 3).bytes();
}
