import { describe, expect, test } from 'vitest';
import {
  alignColumns,
  formatBytes,
  formatCount,
  formatEntry,
  jsonBytes,
  sizeLines,
} from '../../src/cli/terminal/text.ts';

describe('numbers as people read them', () => {
  test.each([
    [0n, '0 bytes'],
    [1023n, '1,023 bytes'],
    [4096n, '4 KiB'],
    [1_425_408n, '1.3 MiB'],
    [2n ** 30n, '1 GiB'],
    [2n ** 64n, '16 EiB'],
    [2n ** 64n * 1024n, '16,384 EiB'],
  ])('%s bytes: %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  test.each([
    [0, '0'],
    [999, '999'],
    [1000, '1,000'],
    [1_234_567, '1,234,567'],
  ])('%i: %s', (count, text) => {
    expect(formatCount(count)).toBe(text);
  });

  test('a size in JSON keeps every digit', () => {
    expect(jsonBytes(1)).toBe('4096');
    expect(jsonBytes(2 ** 52)).toBe('18446744073709551616');
  });

  test('an entry has sixteen digits, also where a word is negative to bit operators', () => {
    expect(formatEntry(0x80000001 | 0, 1)).toBe('0x0000000180000001');
  });

  test('columns', () => {
    expect(
      alignColumns([
        ['a', 'bbb', 'c'],
        ['aaaa', 'b', 'a long last one'],
      ]),
    ).toEqual(['a     bbb  c', 'aaaa  b    a long last one']);
  });

  test('counts: a line a size, permissions in one order', () => {
    expect(
      sizeLines([
        { bytes: 2n ** 21n, perm: 'rw', count: 3 },
        { bytes: 4096n, perm: 'rw', count: 15_531 },
        { bytes: 4096n, perm: 'r', count: 758 },
        { bytes: 4096n, perm: 'w', count: 1 },
      ]),
    ).toEqual(['4 KiB: 758 r, 1 w, 15,531 rw', '2 MiB: 3 rw']);
  });
});
