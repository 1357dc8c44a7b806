import { describe, expect, it } from 'vitest';
import { formatRequesterId, parseRequesterId, requesterId } from '../../src/iommu/index.ts';

describe('a requester ID', () => {
  it('is made of bus, device and function', () => {
    expect(requesterId(0x02, 0x1f, 7)).toBe(0x02ff);
  });

  it.each([
    [256, 0, 0],
    [-1, 0, 0],
    [0, 32, 0],
    [0, 0, 8],
    [Number.NaN, 0, 0],
  ])('of %d:%d.%d is refused', (bus, device, fn) => {
    expect(() => requesterId(bus, device, fn)).toThrow(RangeError);
  });

  it.each([
    [0, '00:00.0'],
    [0x0200, '02:00.0'],
    [0xffff, 'ff:1f.7'],
  ])('%d is written %s', (requester, text) => {
    expect(formatRequesterId(requester)).toBe(text);
  });

  it.each([
    ['02:00.0', 0x0200],
    ['2:0.0', 0x0200],
    ['0000:FF:1F.7', 0xffff],
  ])('%s is read as %d', (text, requester) => {
    expect(parseRequesterId(text)).toBe(requester);
  });

  it.each(['', '02:00', '02:20.0', '02:00.8', '100:00.0', '0001:02:00.0', ' 02:00.0', '02:00.0x'])(
    '%j is none',
    (text) => {
      expect(parseRequesterId(text)).toBeUndefined();
    },
  );

  it('is read as it was written', () => {
    const all = Array.from({ length: 0x10000 }, (_, requester) => requester);

    expect(all.filter((requester) => parseRequesterId(formatRequesterId(requester)) !== requester)).toEqual(
      [],
    );
  });
});
