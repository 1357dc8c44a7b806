import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { shippedCaptures } from '../../src/guests/index.ts';
import { buildElf } from '../guests/build-elf.ts';
import { type CaptureFile, captureCopies, withWord } from './capture-copy.ts';
import { type Outcome, viommu } from './console.ts';
import { LEGACY, SCALABLE, scratchFiles, VtdCore } from './vtd-core.ts';

const captures = await shippedCaptures();
const shipped = (name: string): string => captures.find((folder) => basename(folder) === name) ?? '';
const good = shipped('vtd-legacy-e1000-aw39');
const copyOf = captureCopies();
const file = scratchFiles();
const folder = mkdtempSync(join(tmpdir(), 'viommu-cli-empty-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Refused, in one or two lines for people, without a word on standard output. */
function expectRefusal({ code, out, err }: Outcome, said: readonly string[]): void {
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(err).toMatch(/^viommu: [^\n]+\n$/);
  expect(err).not.toContain('internal error');
  for (const part of said) expect(err).toContain(part);
}

/** Whatever a command does with `argv`, it does not fail in a way that was not meant. */
function expectOrderly({ code, err }: Outcome): void {
  expect([0, 1, 2]).toContain(code);
  expect(err).not.toContain('internal error');
  expect(err).not.toMatch(/^\s+at /m);
  expect(err).toMatch(code === 2 ? /^viommu: / : /^/);
}

describe('nothing to read', () => {
  test.each([
    ['a path that does not exist', '/nonexistent/capture', 'does not exist'],
    ['an empty path', '', 'does not exist'],
    ['a path with a zero byte', 'capture\0', 'is not a path that can exist'],
    ['a folder without capture.json', folder, 'capture.json: does not exist'],
  ])('%s', async (_name, path, said) => {
    expectRefusal(await viommu(['maps', path]), [said]);
    expectRefusal(await viommu(['translate', path, '--requester', '00:00.0', '0x0']), [said]);
  });

  test('a device is no file', async () => {
    expectRefusal(await viommu(['maps', '/dev/zero', ...LEGACY]), ['/dev/zero', 'is not a regular file']);
  });
});

describe('capture.json', () => {
  test.each([
    ['no JSON', '{', 'capture.json: is not JSON'],
    ['an array a million deep', '['.repeat(1_000_000), 'capture.json: is not JSON'],
    ['an array that ends a hundred thousand deep', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, '($)'],
    [
      'an object a hundred thousand deep',
      `${'{"iommu":'.repeat(100_000)}1${'}'.repeat(100_000)}`,
      '($.format)',
    ],
    ['null', 'null', '($)'],
    ['no bytes', '', 'is not JSON'],
  ])('%s', async (_name, content, said) => {
    const copy = copyOf(good);
    writeFileSync(join(copy, 'capture.json'), content);

    expectRefusal(await viommu(['maps', copy]), [copy, said]);
  });

  test.each<[string, (json: CaptureFile) => void, string[]]>([
    [
      'an unknown model: file, place, model and those that are supported',
      (json) => (json.iommu.model = 'smmuv3'),
      ['capture.json', '$.iommu.model', '"smmuv3"', 'a supported model: vtd, amdvi, virtio'],
    ],
    [
      'a model that would be a property of every object',
      (json) => (json.iommu.model = '__proto__'),
      ['$.iommu.model', '"__proto__"'],
    ],
    [
      'registers too short to say what the unit is',
      (json) => (json.iommu.registers.hex = json.iommu.registers.hex.slice(0, 46)),
      ['$.iommu.registers.hex', '23 bytes, but 24 are needed'],
    ],
    [
      'registers that end before the last one of the unit',
      (json) => (json.iommu.registers.hex = json.iommu.registers.hex.slice(0, 200)),
      ['$.iommu.registers.hex', 'the register dump has 100 bytes', 'record the capture again'],
    ],
    [
      'no registers',
      (json) => (json.iommu = { model: 'vtd' } as unknown as CaptureFile['iommu']),
      ['$.iommu.registers', 'no register dump'],
    ],
    [
      'registers whose capabilities place two at one offset',
      // CAP_REG.FRO 0: fault records where VER_REG is.
      (json) => (json.iommu.registers = withWord(json.iommu.registers, 8, (word) => word & 0x00ffffff)),
      ['$.iommu.registers.hex', 'CAP_REG.FRO'],
    ],
    [
      'RAM that the memory file does not keep to',
      (json) => (json.ram = [{ gpa: '0x0', size: '0x1000' }]),
      ['memory.elf.gz', 'there is no RAM', '$.ram'],
    ],
    ['no memory', (json) => void delete json.files['memory'], ['$.files.memory', 'no memory']],
    [
      'a memory file that is not there',
      (json) => (json.files['memory'] = 'gone'),
      ['gone', '$.files.memory'],
    ],
    ['a memory file elsewhere', (json) => (json.files['memory'] = '../../etc/passwd'), ['$.files.memory']],
    ['a memory file that is none', (json) => (json.files['memory'] = 'capture.json'), ['not an ELF file']],
    [
      'more pieces of RAM than any machine has',
      (json) =>
        (json.ram = Array.from({ length: 100_000 }, (_, i) => ({
          gpa: `0x${(i * 8192).toString(16)}`,
          size: '0x1000',
        }))),
      ['capture.json', '100000 separate runs of RAM'],
    ],
  ])('%s', async (_name, change, said) => {
    expectRefusal(await viommu(['maps', copyOf(good, change)]), said);
  });

  test('--final without a final state', async () => {
    expectRefusal(await viommu(['maps', shipped('vtd-vfio-mix'), '--final']), [
      '$.files.finalMemory',
      'leave --final out',
    ]);
  });

  test('--final with a wrong final register dump names that one', async () => {
    const copy = copyOf(good, (json) => {
      json.iommu.finalRegisters = { base: '0xfed90000', hex: json.iommu.registers.hex.slice(0, 200) };
    });

    expectRefusal(await viommu(['maps', copy, '--final']), ['$.iommu.finalRegisters.hex']);
  });

  test('as many pieces of RAM as are read take no time worth a word', async () => {
    // One piece holds the tables, all others are single pages.
    const copy = copyOf(good, (json) => {
      const far = Array.from({ length: 8_191 }, (_, i) => ({
        gpa: `0x${(0x1_0000_0000 + i * 8192).toString(16)}`,
        size: '0x1000',
      }));
      json.ram = [...json.ram, ...far];
    });

    const { code } = await viommu(['maps', copy, '--json']);

    expect(code).toBe(0);
  });
});

describe('memory files', () => {
  const gzip = readFileSync(join(good, 'memory.elf.gz'));
  const plain = gunzipSync(gzip);

  test.each([
    ['gzip cut short', gzip.subarray(0, gzip.length - 20)],
    ['ELF cut short', plain.subarray(0, plain.length - 5000)],
    ['ELF header alone', plain.subarray(0, 64)],
    ['half an ELF header', plain.subarray(0, 30)],
    ['nothing', new Uint8Array(0)],
  ])('%s', async (_name, content) => {
    const copy = copyOf(good, (json) => (json.files['memory'] = 'cut.elf'));
    writeFileSync(join(copy, 'cut.elf'), content);

    expectRefusal(await viommu(['maps', copy]), ['cut.elf']);
    expectRefusal(await viommu(['maps', join(copy, 'cut.elf'), ...LEGACY]), ['cut.elf']);
  });

  test('a core of more separate pages than are read', async () => {
    const segments = Array.from({ length: 20_000 }, (_, i) => ({
      paddr: BigInt(i) * 8192n,
      content: new Uint8Array(0),
      memBytes: 4096n,
    }));

    const path = file('pieces.elf', buildElf(segments));

    expectRefusal(await viommu(['maps', path, ...LEGACY]), ['pieces.elf', '20000 separate runs of RAM']);
  });

  test('a core that says it has all but one page of 2^64 bytes', async () => {
    const core = new VtdCore();
    const top = core.page();
    core
      .context(core.bus(0), 0, top, { aw: 3 })
      .map(top, 5, 1, 2 ** 40 - 1)
      .fill(core.page(), 0);
    const path = file('endless.elf', core.bytes(2n ** 64n - 4096n));

    const { code, out } = await viommu(['maps', path, ...LEGACY, '--requester', '00:00.0', '--json']);

    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({ iova: '0x1000', size: 4096, gpa: '0xffffffffff000', perm: 'rw' });
  });

  test.each([
    ['--cap', '0x0'],
    ['--cap', '0xffffffffffffffff'],
    ['--ecap', '0x0'],
    ['--ecap', '0xffffffffffffffff'],
  ])('%s %s is refused or taken, and nothing else', async (option, value) => {
    const core = new VtdCore();
    const top = core.page();
    core.context(core.bus(0), 0, top).map(top, 4, 1, 2);
    const path = file('caps.elf', core.bytes());

    expectOrderly(await viommu(['maps', path, ...LEGACY, option, value]));
    expectOrderly(
      await viommu(['translate', path, ...LEGACY, option, value, '--requester', '00:00.0', '0x1000']),
    );
  });
});

describe('random damage', () => {
  const budget = ['--budget', '2000'];

  test('any register values', async () => {
    const { registers } = (JSON.parse(readFileSync(join(good, 'capture.json'), 'utf8')) as CaptureFile).iommu;
    const bytes = registers.hex.length / 2;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: bytes / 4 - 1 }), fc.integer({ min: 0, max: 0xffffffff })), {
          maxLength: 6,
        }),
        async (words) => {
          const copy = copyOf(good, (json) => {
            for (const [index, value] of words) {
              json.iommu.registers = withWord(json.iommu.registers, index * 4, () => value);
            }
          });

          expectOrderly(await viommu(['maps', copy, '--json', ...budget]));
          expectOrderly(await viommu(['translate', copy, '--requester', '02:00.0', '0xfff00123']));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('any bytes of the memory file changed, header included', async () => {
    const plain = new Uint8Array(gunzipSync(readFileSync(join(good, 'memory.elf.gz'))));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: plain.length - 1 }), fc.nat({ max: 255 })), { maxLength: 20 }),
        fc.boolean(),
        async (changes, inHeader) => {
          const bytes = plain.slice();
          for (const [at, value] of changes) bytes[inHeader ? at % 700 : at] = value;
          const path = file('damaged.elf', bytes);
          const args = [path, '--model', 'vtd', '--rtaddr', '0x2c7d000'];

          expectOrderly(await viommu(['maps', ...args, '--json', ...budget]));
          expectOrderly(await viommu(['translate', ...args, '--requester', '02:00.0', '0xfff00123']));
        },
      ),
      { numRuns: 100 },
    );
  });

  test('random tables in a few pages, in every mode', async () => {
    const pages = 12;
    const entry = fc.tuple(
      fc.nat({ max: pages - 1 }),
      fc.nat({ max: 511 }),
      fc.nat({ max: 0xfff }),
      fc.nat({ max: 15 }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { minLength: 1, maxLength: 60 }),
        fc.constantFrom('0x1000', '0x1400', '0x1800', '0x1c00'),
        fc.constantFrom('0x0', '0x1000', '0xfee00000', '0x8000000000', '0xffffffffffffffff'),
        async (entries, rtaddr, iova) => {
          const core = new VtdCore(pages);
          core.scalable(0, { pgtt: 3, first: 5, second: 6 });
          for (const [page, index, low, target] of entries) core.set(page, index % 8, target * 4096 + low);
          for (const [page, , low, target] of entries.slice(0, 2))
            core.fill(page, target * 4096 + (low & 0x87));
          const args = [file('random.elf', core.bytes()), '--model', 'vtd', '--rtaddr', rtaddr];

          expectOrderly(await viommu(['maps', ...args, ...budget]));
          expectOrderly(
            await viommu(['translate', ...args, '--requester', '00:00.0', '--access', 'w', iova]),
          );
          expectOrderly(await viommu(['translate', ...args, '--requester', '00:00.1', '--pasid', '3', iova]));
        },
      ),
      { numRuns: 60 },
    );
  });
});

test('a translation table mode that is reserved blocks everything', async () => {
  const path = file('reserved.elf', new VtdCore().bytes());

  const { code, out } = await viommu(['maps', path, '--model', 'vtd', '--rtaddr', '0x1800']);

  expect(code).toBe(0);
  expect(out).toContain('reserved mode (TTM 2)');
  expect(out).toContain('RTA.1');
});

test('a request with PASID in legacy mode is told so', async () => {
  const path = file('legacy-pasid.elf', new VtdCore().bytes());

  const { code, err } = await viommu(['maps', path, ...LEGACY, '--pasid', '5', '--json']);

  expect(code).toBe(0);
  expect(err).toBe('viommu: 00:00.0-ff:1f.7: RTA.2 (0x31): A request with PASID arrived in legacy mode.\n');
});

test('scalable tables read in legacy mode do no harm', async () => {
  const core = new VtdCore();
  core.scalable(0x20, { pgtt: 2, second: 9 });
  const path = file('mode.elf', core.bytes());

  expectOrderly(await viommu(['maps', path, ...LEGACY]));
  expectOrderly(await viommu(['maps', path, ...SCALABLE]));
});
