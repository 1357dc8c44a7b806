import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GuestFileError } from '../../src/guests/guest-file-error.ts';
import { captureWith, temporaryFolder } from './build-capture.ts';
import { refusal } from './refusal.ts';

const root = await temporaryFolder();

const mappings = async (text: string | Uint8Array): Promise<unknown> =>
  (await captureWith(root, {}, { 'mappings.ndjson': text })).mappings();

const events = async (...lines: string[]): Promise<unknown> =>
  (
    await captureWith(root, { files: { events: 'events.ndjson' } }, { 'events.ndjson': lines.join('\n') })
  ).events();

describe('mappings', () => {
  it('are page numbers, read from plain lines and from gzip alike, blank lines passed over', async () => {
    const text =
      '{"iova":"0xffe59000","size":4096,"gpa":"0x2de0000","perm":"w"}\n\n' +
      '{"iova":"0x100000000","size":1073741824,"gpa":"0x40000000","perm":"rw"}\r\n';
    const expected = [
      { iova: 0xffe59, pages: 1, target: 0x2de0, access: 2 },
      { iova: 0x10_0000, pages: 0x4_0000, target: 0x4_0000, access: 3 },
    ];
    expect(await mappings(text)).toEqual(expected);
    expect(await mappings(gzipSync(text))).toEqual(expected);
  });

  it('may end at 2^64', async () => {
    const text = '{"iova":"0xfffffffffffff000","size":4096,"gpa":"0xFFFFFFFFFFFFF000","perm":"r"}';
    expect(await mappings(text)).toEqual([{ iova: 2 ** 52 - 1, pages: 1, target: 2 ** 52 - 1, access: 1 }]);
  });

  const good = { iova: '0x1000', size: 4096, gpa: '0x2000', perm: 'rw' };
  it.each<[string, Record<string, unknown>, string]>([
    ['an unaligned iova', { iova: '0x1800' }, 'iova'],
    ['an iova beyond 64 bits', { iova: '0x10000000000000000' }, 'iova'],
    ['a decimal iova', { iova: '4096' }, 'iova'],
    ['an iova that is a number', { iova: 4096 }, 'iova'],
    ['no gpa', { gpa: undefined }, 'gpa'],
    ['a gpa past 2^64', { gpa: '0xfffffffffffff000', size: 8192 }, 'gpa'],
    ['size zero', { size: 0 }, 'size'],
    ['a negative size', { size: -4096 }, 'size'],
    ['half a page', { size: 2048 }, 'size'],
    ['a size in text', { size: '4096' }, 'size'],
    ['an iova + size past 2^64', { iova: '0xfffffffffffff000', size: 8192 }, 'size'],
    ['another permission', { perm: 'x' }, 'perm'],
    ['a permission from the prototype', { perm: 'constructor' }, 'perm'],
  ])('are refused with %s, naming line and field', async (_what, change, field) => {
    const text = `${JSON.stringify({ ...good, iova: '0x0' })}\n${JSON.stringify({ ...good, ...change })}\n`;
    const error = await refusal(() => mappings(text));
    expect([error.code, error.place]).toEqual(['capture', `line 2, field ${field}`]);
    expect(basename(error.file)).toBe('mappings.ndjson');
  });

  it('are refused when they overlap or go back', async () => {
    const line = JSON.stringify({ ...good, size: 8192 });
    const next = JSON.stringify({ ...good, iova: '0x2000' });
    const error = await refusal(() => mappings(`${line}\n${next}\n`));
    expect(error.place).toBe('line 2, field iova');
  });

  it.each([
    ['a line cut short', `${JSON.stringify(good)}\n{"iova":"0x`, 'line 2'],
    ['a line that is a list', '[]', 'line 1'],
    ['null', 'null', 'line 1'],
    ['bytes that are not UTF-8', Uint8Array.of(0x22, 0xff, 0x22), 'line 1'],
    ['a line without end', `\n${' '.repeat(100_000)}`, 'line 2'],
    ['a very long line in the middle', `{"a":"${'x'.repeat(70_000)}"}\n{}`, 'line 1'],
    [
      'a line nested 30,000 deep',
      `{"perm":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
      'line 1, field iova',
    ],
  ])('are refused with %s', async (_what, text, place) => {
    const error = await refusal(() => mappings(text));
    expect(error.place).toBe(place);
  });

  it('are refused when the gzip is cut at any byte', async () => {
    const packed = gzipSync(`${JSON.stringify(good)}\n`);
    const capture = await captureWith(root, {});
    for (let length = 2; length < packed.length; length++) {
      await writeFile(join(capture.folder, 'mappings.ndjson'), packed.subarray(0, length));
      const error = await refusal(() => capture.mappings());
      expect(error.code).toBe('truncated');
    }
  });

  it('are refused when the file that the capture names is missing', async () => {
    const error = await refusal(async () => (await captureWith(root, {})).mappings());
    expect([error.code, error.place]).toEqual(['not-found', '$.files.mappings of capture.json']);
    expect(error.remedy).toBe('copy the whole folder of the capture');
  });

  it('are undefined for a requester that the capture does not list', async () => {
    expect(await (await captureWith(root, {})).mappings('05:00.0')).toBeUndefined();
  });
});

describe('events', () => {
  it('are maps, maps of something that is not RAM, and unmaps', async () => {
    expect(
      await events(
        '{"t":0.5,"op":"map","iova":"0x1000","size":4096,"gpa":"0x2000","perm":"r"}',
        '{"t":0.6,"op":"map","iova":"0xfd000000","size":8192,"other_fd":{"nfds":0},"perm":"rw"}',
        '{"t":0.7,"op":"unmap","iova":"0x1000","size":4096,"flags":0}',
      ),
    ).toEqual([
      { t: 0.5, op: 'map', iova: 1, pages: 1, target: 2, access: 1 },
      { t: 0.6, op: 'map', iova: 0xfd000, pages: 2, target: undefined, access: 3 },
      { t: 0.7, op: 'unmap', iova: 1, pages: 1, target: undefined, access: 0 },
    ]);
  });

  it('may be wider than 2^53 bytes, up to all of 2^64', async () => {
    const result = await events(
      '{"t":0,"op":"unmap","iova":"0x100000000","size":18446744069414584320,"flags":0}',
      '{"t":0,"op":"unmap","iova":"0x0","size": 18446744073709551616}',
    );
    expect(result).toEqual([
      { t: 0, op: 'unmap', iova: 2 ** 20, pages: 2 ** 52 - 2 ** 20, target: undefined, access: 0 },
      { t: 0, op: 'unmap', iova: 0, pages: 2 ** 52, target: undefined, access: 0 },
    ]);
  });

  it.each([
    ['2^64 - 1, which JSON rounds to 2^64', '18446744073709551615'],
    ['2^53 + 1, which JSON rounds to 2^53', '9007199254740993'],
    ['2^64 in floating point, which hides its last digits', '1.8446744073709551616e19'],
    ['two sizes of which one would be rounded', '4096,"size":9007199254740993'],
    ['infinity', '1e999'],
  ])('are refused with a size of %s', async (_what, size) => {
    const error = await refusal(() => events(`{"t":0,"op":"unmap","iova":"0x0","size":${size}}`));
    expect(error.place).toBe('line 1, field size');
  });

  it.each([
    ['no time', '{"op":"unmap","iova":"0x0","size":4096}', 't'],
    ['another operation', '{"t":1,"op":"remap","iova":"0x0","size":4096}', 'op'],
    ['a map without permission', '{"t":1,"op":"map","iova":"0x0","size":4096}', 'perm'],
  ])('are refused with %s', async (_what, line, field) => {
    expect((await refusal(() => events(line))).place).toBe(`line 1, field ${field}`);
  });

  it('are read or refused with a GuestFileError, whatever bytes of the line changed', async () => {
    const line = Buffer.from('{"t":0.5,"op":"map","iova":"0x1000","size":4096,"gpa":"0x2000","perm":"r"}\n');
    const capture = await captureWith(root, { files: { events: 'events.ndjson' } });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(line.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        async (edits) => {
          const bytes = Uint8Array.from(line);
          for (const [at, value] of edits) {
            bytes[at] = value;
          }
          await writeFile(join(capture.folder, 'events.ndjson'), bytes);
          const outcome = await capture.events().catch((error: unknown) => error);
          expect(Array.isArray(outcome) || outcome instanceof GuestFileError).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });
});
