import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ElfCore, type ElfReadOptions, loadElfCore, parseElfCore } from '../../src/guests/elf-core.ts';
import { GuestFileError } from '../../src/guests/guest-file-error.ts';
import { temporaryFolder } from './build-capture.ts';
import { buildElf, patternPages } from './build-elf.ts';
import { refusal } from './refusal.ts';

const folder = await temporaryFolder();

let files = 0;
async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(folder, `core-${files++}`);
  await writeFile(path, bytes);
  return path;
}

type Reader = (bytes: Uint8Array, options?: ElfReadOptions) => Promise<ElfCore>;

/** The four ways in; each must say the same about the same content. */
const READERS: [string, Reader][] = [
  ['from bytes', async (bytes, options) => parseElfCore(bytes, 'core', options)],
  ['from gzip bytes', async (bytes, options) => parseElfCore(gzipSync(bytes), 'core', options)],
  ['from a file', async (bytes, options) => loadElfCore(await fileOf(bytes), options)],
  ['from a gzip file', async (bytes, options) => loadElfCore(await fileOf(gzipSync(bytes)), options)],
];

const firstWords = (core: ElfCore): [number, number | undefined][] =>
  [...core.pages()].map(({ page, words }) => [page, words[0]]);

/** A core of one page with its headers edited. */
const header = (edit: (view: DataView) => void): Uint8Array => {
  const bytes = buildElf([{ paddr: 0n, content: patternPages(1, 0) }]);
  edit(new DataView(bytes.buffer));
  return bytes;
};

/** Page numbers of the pages whose first word is 77. */
const marked = (core: ElfCore): number[] =>
  [...core.pages()].filter(({ words }) => words[0] === 77).map(({ page }) => page);

/** What reading gave: the pages, or the refusal. Anything else is thrown on. */
const outcome = async (read: () => ElfCore | Promise<ElfCore>): Promise<unknown> => {
  try {
    return firstWords(await read());
  } catch (error) {
    if (!(error instanceof GuestFileError)) {
      throw error;
    }
    return error.code;
  }
};

describe.each(READERS)('an ELF core read %s', (_name, read) => {
  it('gives each page with its content, ascending by guest-physical address whatever the order in the file', async () => {
    const core = await read(
      buildElf([
        { paddr: 0x1_4000_0000n, content: patternPages(2, 100) },
        { paddr: 0x3000n, content: patternPages(1, 7) },
      ]),
    );
    expect(firstWords(core)).toEqual([
      [3, 7],
      [0x14_0000, 100],
      [0x14_0001, 1124],
    ]);
  });

  it('fills a tail shorter than a page with zeros', async () => {
    const core = await read(buildElf([{ paddr: 0n, content: patternPages(2, 1).subarray(0, 4100) }]));
    const [, tail] = [...core.pages()];
    expect(tail?.words.length).toBe(1024);
    expect([tail?.words[0], tail?.words[1], tail?.words[1023]]).toEqual([1025, 0, 0]);
  });

  it('gives words of bytes that lie at an odd offset', async () => {
    const core = await read(buildElf([{ paddr: 0x5000n, content: patternPages(1, 9) }], { gap: 3 }));
    expect([...core.pages()][0]?.words[1023]).toBe(9 + 1023);
  });

  it('takes no memory for p_memsz beyond p_filesz', async () => {
    const core = await read(buildElf([{ paddr: 0x1000n, content: patternPages(1, 5), memBytes: 2n ** 63n }]));
    expect(core.segments).toHaveLength(1);
    expect(core.segments[0]?.memBytes).toBe(2n ** 63n);
    expect(core.segments[0]?.fileBytes).toBe(4096);
    expect(firstWords(core)).toEqual([[1, 5]]);
  });

  it('takes the count of program headers from section header 0 when e_phnum is PN_XNUM', async () => {
    const core = await read(buildElf([{ paddr: 0x2000n, content: patternPages(1, 3) }], { extended: true }));
    expect(firstWords(core)).toEqual([[2, 3]]);
  });

  it('passes over program headers that are not PT_LOAD', async () => {
    const note = { paddr: 1n, content: new Uint8Array(20), type: 4 };
    const core = await read(buildElf([note, { paddr: 0n, content: patternPages(1, 2) }]));
    expect(firstWords(core)).toEqual([[0, 2]]);
  });

  it('refuses segments whose guest-physical pages overlap, naming both headers', async () => {
    const bytes = buildElf([
      { paddr: 0x1000n, content: patternPages(2, 0) },
      { paddr: 0x2000n, content: patternPages(1, 0) },
    ]);
    const error = await refusal(() => read(bytes));
    expect(error.code).toBe('elf');
    expect(error.place).toBe('program header 1, offset 0x78');
    expect(error.message).toContain('overlap those of program header 0');
  });

  it('refuses segments that share bytes of the file', async () => {
    const bytes = buildElf([
      { paddr: 0x1000n, content: patternPages(1, 0), offset: 0xb0n },
      { paddr: 0x9000n, content: patternPages(1, 0), offset: 0xc0n },
    ]);
    const error = await refusal(() => read(bytes));
    expect(error.message).toContain('its bytes in the file overlap those of program header 0');
  });

  it('refuses an unaligned p_paddr', async () => {
    const error = await refusal(() => read(buildElf([{ paddr: 0x1800n, content: patternPages(1, 0) }])));
    expect([error.code, error.place]).toEqual(['elf', 'program header 0, offset 0x40']);
    expect(error.message).toContain('p_paddr 0x1800 is not at a page boundary');
  });

  it('refuses p_filesz larger than p_memsz', async () => {
    const bytes = buildElf([{ paddr: 0n, content: patternPages(1, 0), memBytes: 4095n }]);
    expect((await refusal(() => read(bytes))).message).toContain('p_filesz 0x1000 exceeds p_memsz 0xfff');
  });

  it('refuses a segment that passes 2^64', async () => {
    const bytes = buildElf([{ paddr: 2n ** 64n - 4096n, content: patternPages(1, 0), memBytes: 4097n }]);
    expect((await refusal(() => read(bytes))).message).toContain('passes 2^64');
  });

  it('refuses bytes beyond the end of the file', async () => {
    const bytes = buildElf([{ paddr: 0n, content: patternPages(1, 0), memBytes: 8192n, fileBytes: 8192n }]);
    const error = await refusal(() => read(bytes));
    expect([error.code, error.place]).toEqual(['truncated', 'program header 0, offset 0x40']);
    expect(error.message).toContain('bytes up to 0x2078 but the content ends at 0x1078');
  });

  it('refuses an offset that no file reaches', async () => {
    const bytes = buildElf([{ paddr: 0n, content: patternPages(1, 0), offset: 2n ** 64n - 1n }]);
    expect((await refusal(() => read(bytes))).code).toBe('truncated');
  });

  it('refuses more content than maxBytes, before taking memory for it', async () => {
    const lying = { paddr: 0n, content: patternPages(1, 0), memBytes: 2n ** 40n, fileBytes: 2n ** 40n };
    const honest = { paddr: 0n, content: patternPages(300, 0) };
    const lie = await refusal(() => read(buildElf([lying]), { maxBytes: 2 ** 20 }));
    const truth = await refusal(() => read(buildElf([honest]), { maxBytes: 2 ** 20 }));
    expect(['truncated', 'too-large']).toContain(lie.code);
    expect(truth.code).toBe('too-large');
  });

  it.each([
    ['no ELF magic', (v: DataView) => v.setUint8(0, 0x7e), 'is not an ELF file'],
    ['32 bits', (v: DataView) => v.setUint8(4, 1), 'EI_CLASS is 1'],
    ['big endian', (v: DataView) => v.setUint8(5, 2), 'EI_DATA is 2'],
    ['an executable', (v: DataView) => v.setUint16(16, 2, true), 'e_type is 2'],
    ['program headers of another size', (v: DataView) => v.setUint16(54, 32, true), 'e_phentsize is 32'],
    ['no program headers', (v: DataView) => v.setUint16(56, 0, true), 'no program headers'],
    ['program headers beyond the end', (v: DataView) => v.setUint16(56, 5000, true), 'needs bytes up to'],
    ['PN_XNUM without a section header', (v: DataView) => v.setUint16(56, 0xffff, true), 'PN_XNUM'],
    [
      'nothing to load',
      (v: DataView) => v.setUint32(64, 4, true),
      'none of its program headers is a PT_LOAD',
    ],
  ])('refuses %s', async (_what, edit, message) => {
    const error = await refusal(() => read(header(edit)));
    expect(error.message).toContain(message);
    expect(error.place).toBeDefined();
    expect(error.remedy).not.toBe('');
  });

  it('refuses an extended count of four thousand million headers', async () => {
    const bytes = buildElf([{ paddr: 0n, content: patternPages(1, 0) }], { extended: true });
    new DataView(bytes.buffer).setUint32(64 + 56 + 44, 0xffff_ffff, true);
    expect((await refusal(() => read(bytes))).code).toBe('too-large');
  });

  it('refuses an empty file', async () => {
    expect((await refusal(() => read(new Uint8Array(0)))).message).toContain('is empty');
  });
});

describe('parseElfCore', () => {
  it('hands out views of the bytes it was given', () => {
    const bytes = buildElf([{ paddr: 0n, content: patternPages(1, 0) }]);
    const [page] = [...parseElfCore(bytes).pages()];
    expect(page?.words.buffer).toBe(bytes.buffer);
  });
});

describe('loadElfCore', () => {
  it('reads segments beyond 2 GiB of a plain file without reading what lies between', async () => {
    const far = 2n ** 31n + 5n * 4096n;
    const path = await fileOf(buildElf([{ paddr: 0x7000n, content: new Uint8Array(4096), offset: far }]));
    await truncate(path, Number(far) + 4096); // sparse: the file takes no space on disk
    const core = await loadElfCore(path);
    expect(firstWords(core)).toEqual([[7, 0]]);
  });

  it('reads a segment larger than one window from a plain file and from gzip alike', async () => {
    const content = new Uint8Array(65 * 1024 * 1024);
    new Uint32Array(content.buffer)[64 * 1024 * 256] = 77;
    const bytes = buildElf([{ paddr: 0n, content }]);
    const plain = await loadElfCore(await fileOf(bytes));
    const packed = await loadElfCore(await fileOf(gzipSync(bytes, { level: 1 })));
    expect(plain.segments[0]?.windows.map((window) => window.length)).toEqual([2 ** 26, 2 ** 20]);
    expect([marked(plain), marked(packed)]).toEqual([[64 * 256], [64 * 256]]);
  });

  it('stops a gzip bomb at maxBytes', async () => {
    const bomb = gzipSync(buildElf([{ paddr: 0n, content: new Uint8Array(32 * 1024 * 1024) }]));
    expect(bomb.length).toBeLessThan(64 * 1024);
    const error = await refusal(async () => loadElfCore(await fileOf(bomb), { maxBytes: 2 ** 20 }));
    expect(error.code).toBe('too-large');
  });

  it('detects damage to the checksum of a gzip file although every page was read', async () => {
    const packed = gzipSync(buildElf([{ paddr: 0n, content: patternPages(1, 0) }]));
    packed[packed.length - 8] = packed[packed.length - 8]! ^ 1;
    const error = await refusal(async () => loadElfCore(await fileOf(packed)));
    expect(error.code).toBe('gzip');
  });

  it('names a missing file, a folder and an impossible path', async () => {
    const missing = await refusal(() => loadElfCore(join(folder, 'missing')));
    const isFolder = await refusal(() => loadElfCore(folder));
    const impossible = await refusal(() => loadElfCore('a\0b'));
    expect([missing.code, isFolder.code, impossible.code]).toEqual(['not-found', 'unreadable', 'not-found']);
    expect(missing.message).toBe(`${join(folder, 'missing')}: does not exist; check the path`);
  });
});

describe('a damaged core', () => {
  const small = buildElf([
    { paddr: 0x4000n, content: patternPages(1, 1).subarray(0, 64) },
    { paddr: 0x1000n, content: patternPages(1, 2).subarray(0, 32), memBytes: 4096n },
  ]);

  it('is refused when cut at any byte', async () => {
    const codes = new Set<string>();
    for (let length = 0; length < small.length; length++) {
      const error = await refusal(() => parseElfCore(small.subarray(0, length), 'cut'));
      codes.add(error.code);
    }
    expect([...codes].sort()).toEqual(['elf', 'truncated']);
  });

  it('is refused when its gzip form is cut at any byte', async () => {
    const packed = gzipSync(small);
    for (let length = 0; length < packed.length; length++) {
      const path = await fileOf(packed.subarray(0, length));
      const fromFile = await refusal(() => loadElfCore(path));
      const fromBytes = await refusal(() => parseElfCore(packed.subarray(0, length)));
      expect(fromFile.code).toBe(fromBytes.code);
    }
  });

  const damage = fc.array(
    fc.tuple(fc.nat(64 + 2 * 56 + 16), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff))),
    { minLength: 1, maxLength: 12 },
  );

  it('is read or refused with a GuestFileError, whatever bytes of it changed', async () => {
    await fc.assert(
      fc.asyncProperty(damage, async (edits) => {
        const bytes = small.slice();
        for (const [at, value] of edits) {
          bytes[at] = value;
        }
        const result = await outcome(() => parseElfCore(bytes));
        expect(Array.isArray(result) ? result.length : 1).toBeLessThanOrEqual(2);
      }),
      { numRuns: 2000 },
    );
  });

  it('is judged alike from bytes and from a file', async () => {
    await fc.assert(
      fc.asyncProperty(damage, async (edits) => {
        const bytes = small.slice();
        for (const [at, value] of edits) {
          bytes[at] = value;
        }
        const path = join(folder, 'damaged');
        await writeFile(path, bytes);
        expect(await outcome(() => loadElfCore(path))).toEqual(await outcome(() => parseElfCore(bytes)));
      }),
      { numRuns: 150 },
    );
  });

  it('is read or refused with a GuestFileError when its gzip form is damaged', async () => {
    const packed = gzipSync(small);
    await fc.assert(
      fc.asyncProperty(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const bytes = Uint8Array.from(packed);
        bytes[at] = bytes[at]! ^ flip;
        const path = join(folder, 'damaged.gz');
        await writeFile(path, bytes);
        const [fromBytes, fromFile] = [
          await outcome(() => parseElfCore(bytes)),
          await outcome(() => loadElfCore(path)),
        ];
        expect(Array.isArray(fromFile) ? fromFile : 'refused').toEqual(
          Array.isArray(fromBytes) ? fromBytes : 'refused',
        );
      }),
      { numRuns: 200 },
    );
  });
});
