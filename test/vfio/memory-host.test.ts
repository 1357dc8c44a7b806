import { describe, expect, test } from 'vitest';
import { Access, DenseRamBlock } from '../../src/memory/index.ts';
import {
  HostRefusedError,
  type HostIommu,
  type HostStrictness,
  MemoryHostIommu,
} from '../../src/vfio/index.ts';
import { held } from './world.ts';

const STRICTNESSES: readonly HostStrictness[] = ['type1', 'iommufd', 'vfio-user'];
const block = new DenseRamBlock(0x1000);
const ram = { block, page: 0x10 };

function mapAt(
  host: HostIommu,
  iova: number,
  pages: number,
  page = 0x10,
  access: Access = Access.ReadWrite,
): void {
  host.map({ iova, pages, target: 0x1_0000 + page, access }, { block, page });
}

/** What the barrier refused, as `op iova+pages errno`. */
function refusalsOf(host: MemoryHostIommu): string[] {
  try {
    host.barrier();
    return [];
  } catch (error) {
    if (!(error instanceof HostRefusedError)) throw error;
    return error.refusals.map(({ op, iova, pages, errno }) => `${op} ${iova.toString(16)}+${pages} ${errno}`);
  }
}

describe.each(STRICTNESSES)('%s in memory', (strictness) => {
  test('holds what is mapped until it is unmapped', () => {
    const host = new MemoryHostIommu({ strictness });

    mapAt(host, 0x100, 4);
    mapAt(host, 0x200, 512);
    host.unmap(0x100, 4);

    expect(refusalsOf(host)).toEqual([]);
    expect(held(host)).toEqual(['200+200 -> 10010 3']);
    expect(host.messages).toEqual({ map: 2, unmap: 1, barrier: 1 });
  });

  test('refuses overlap with EEXIST and keeps what it had', () => {
    const host = new MemoryHostIommu({ strictness });
    mapAt(host, 0x100, 4);

    mapAt(host, 0x103, 4);

    expect(refusalsOf(host)).toEqual(['map 103+4 EEXIST']);
    expect(held(host)).toEqual(['100+4 -> 10010 3']);
  });

  test('reports a refusal once', () => {
    const host = new MemoryHostIommu({ strictness });
    mapAt(host, 0x100, 4);
    mapAt(host, 0x100, 1);
    refusalsOf(host);

    expect(refusalsOf(host)).toEqual([]);
  });

  test('never bisects a mapping', () => {
    const host = new MemoryHostIommu({ strictness });
    mapAt(host, 0x200, 512);

    host.unmap(0x200, 1);
    host.unmap(0x3ff, 1);
    host.unmap(0x210, 1);

    const errno = strictness === 'type1' ? 'EINVAL' : 'ENOENT';
    expect(refusalsOf(host)).toEqual([
      `unmap 200+1 ${errno}`,
      `unmap 3ff+1 ${errno}`,
      `unmap 210+1 ${errno}`,
    ]);
    expect(held(host)).toEqual(['200+200 -> 10010 3']);
  });

  test('refuses what is not made of its smallest page with EINVAL', () => {
    const host = new MemoryHostIommu({ strictness, pageSizes: 0x1_0000n });

    mapAt(host, 0x108, 16);
    mapAt(host, 0x110, 8);
    mapAt(host, 0x120, 16, 0x18);

    expect(refusalsOf(host)).toEqual(['map 108+16 EINVAL', 'map 110+8 EINVAL', 'map 120+16 EINVAL']);
    expect(host.size).toBe(0);
  });

  test('refuses what reaches out of its apertures with EINVAL', () => {
    const apertures = [
      { start: 0x10, end: 0x20 },
      { start: 0x30, end: 0x40 },
    ];
    const host = new MemoryHostIommu({ strictness, apertures });

    mapAt(host, 0x10, 16);
    mapAt(host, 0x3f, 2);
    mapAt(host, 0x20, 1);

    expect(refusalsOf(host)).toEqual(['map 3f+2 EINVAL', 'map 20+1 EINVAL']);
    expect(held(host)).toEqual(['10+10 -> 10010 3']);
  });

  test('refuses a mapping that allows nothing with EINVAL', () => {
    const host = new MemoryHostIommu({ strictness });

    mapAt(host, 0x10, 1, 0x10, Access.None);

    expect(refusalsOf(host)).toEqual(['map 10+1 EINVAL']);
  });

  test('refuses one mapping too many, and takes another when there is room again', () => {
    const host = new MemoryHostIommu({ strictness, maxMappings: 2 });
    mapAt(host, 1, 1);
    mapAt(host, 2, 1);

    mapAt(host, 3, 1);
    host.unmap(1, 1);
    mapAt(host, 4, 1);

    expect(refusalsOf(host)).toEqual([`map 3+1 ${strictness === 'vfio-user' ? 'EINVAL' : 'ENOSPC'}`]);
    expect(held(host)).toEqual(['2+1 -> 10010 3', '4+1 -> 10010 3']);
  });

  test('shows a device where its addresses lead', () => {
    const host = new MemoryHostIommu({ strictness });
    mapAt(host, 0x100, 4, 0x20, Access.Read);

    expect(host.translate(0x102_0abn)).toEqual({
      gpa: 0x1_0022_0abn,
      access: Access.Read,
      ram: { block, page: 0x22 },
    });
    expect(host.translate(0x104_000n)).toBeUndefined();
    expect(host.find(0x103)?.iova).toBe(0x100);
    expect(host.find(0xff)).toBeUndefined();
  });

  test('tells blocks and guest-physical places apart', () => {
    const host = new MemoryHostIommu({ strictness });
    const other = new DenseRamBlock(0x10);

    host.map({ iova: 1, pages: 1, target: 0x5000, access: Access.Read }, { block: other, page: 3 });
    host.map({ iova: 2, pages: 1, target: 0x6003, access: Access.Write }, { block: other, page: 3 });
    host.map({ iova: 3, pages: 1, target: 0x5001, access: Access.Read }, { block: other, page: 4 });
    host.map({ iova: 4, pages: 1, target: 0x10, access: Access.Read }, ram);

    expect([...host.mappings()].map(({ target, ram }) => [target, ram.block, ram.page])).toEqual([
      [0x5000, other, 3],
      [0x6003, other, 3],
      [0x5001, other, 4],
      [0x10, block, 0x10],
    ]);
  });

  test('maps up to the last page of a 64-bit address space', () => {
    const host = new MemoryHostIommu({ strictness });

    mapAt(host, 2 ** 52 - 16, 16);
    host.unmap(2 ** 52 - 16, 16);

    expect(refusalsOf(host)).toEqual([]);
    expect(host.size).toBe(0);
  });
});

describe('what sets the hosts apart', () => {
  test('type1 holds 65,535 mappings and refuses the next with ENOSPC', () => {
    const host = new MemoryHostIommu({ strictness: 'type1' });
    for (let iova = 0; iova < 65_535; iova++) mapAt(host, iova, 1);

    mapAt(host, 65_535, 1);

    expect(refusalsOf(host)).toEqual(['map ffff+1 ENOSPC']);
    expect(host.size).toBe(65_535);
  });

  test('iommufd has no such limit', () => {
    const host = new MemoryHostIommu({ strictness: 'iommufd' });

    for (let iova = 0; iova < 65_536; iova++) mapAt(host, iova, 1);

    expect(refusalsOf(host)).toEqual([]);
    expect(host.size).toBe(65_536);
    expect(host.limits.maxMappings).toBe(Number.POSITIVE_INFINITY);
  });

  test('type1 unmaps several mappings, or none, in one range', () => {
    const host = new MemoryHostIommu({ strictness: 'type1' });
    mapAt(host, 0x10, 1);
    mapAt(host, 0x20, 4);
    mapAt(host, 0x40, 1);

    host.unmap(0x8, 0x1c);
    host.unmap(0x8, 0x1c);

    expect(refusalsOf(host)).toEqual([]);
    expect(held(host)).toEqual(['40+1 -> 10010 3']);
  });

  test('type1 removes nothing when it refuses to bisect', () => {
    const host = new MemoryHostIommu({ strictness: 'type1' });
    mapAt(host, 0x10, 1);
    mapAt(host, 0x20, 4);

    host.unmap(0x10, 0x12);

    expect(refusalsOf(host)).toEqual(['unmap 10+18 EINVAL']);
    expect(host.size).toBe(2);
  });

  test('iommufd unmaps several mappings in one range, but not none', () => {
    const host = new MemoryHostIommu({ strictness: 'iommufd' });
    mapAt(host, 0x10, 1);
    mapAt(host, 0x20, 4);

    host.unmap(0x8, 0x1c);
    host.unmap(0x8, 0x1c);

    expect(refusalsOf(host)).toEqual(['unmap 8+28 ENOENT']);
    expect(host.size).toBe(0);
  });

  test('iommufd has removed what came before the mapping that it refuses to bisect', () => {
    const host = new MemoryHostIommu({ strictness: 'iommufd' });
    mapAt(host, 0x10, 1);
    mapAt(host, 0x20, 4);

    host.unmap(0x10, 0x12);

    expect(refusalsOf(host)).toEqual(['unmap 10+18 ENOENT']);
    expect(held(host)).toEqual(['20+4 -> 10010 3']);
  });

  test('vfio-user unmaps exactly what was mapped and nothing else', () => {
    const host = new MemoryHostIommu({ strictness: 'vfio-user' });
    mapAt(host, 0x10, 1);
    mapAt(host, 0x11, 1);

    host.unmap(0x10, 2);
    host.unmap(0x30, 1);
    host.unmap(0x11, 1);

    expect(refusalsOf(host)).toEqual(['unmap 10+2 ENOENT', 'unmap 30+1 ENOENT']);
    expect(held(host)).toEqual(['10+1 -> 10010 3']);
  });

  test('vfio-user takes the very same map twice, and only that', () => {
    const host = new MemoryHostIommu({ strictness: 'vfio-user' });
    mapAt(host, 0x10, 2);

    mapAt(host, 0x10, 2);
    mapAt(host, 0x10, 2, 0x11);
    mapAt(host, 0x10, 2, 0x10, Access.Read);

    expect(refusalsOf(host)).toEqual(['map 10+2 EEXIST', 'map 10+2 EEXIST']);
    expect(held(host)).toEqual(['10+2 -> 10010 3']);
  });

  test('a page below 4 KiB, or none, is no page size', () => {
    expect(() => new MemoryHostIommu({ strictness: 'type1', pageSizes: 0x1400n })).toThrow(RangeError);
    expect(() => new MemoryHostIommu({ strictness: 'type1', pageSizes: 0n })).toThrow(/bits of 4 KiB/);
  });
});
