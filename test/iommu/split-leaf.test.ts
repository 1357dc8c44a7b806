import { describe, expect, it } from 'vitest';
import { MemoryHostIommu } from '../../src/vfio/index.ts';
import { held, World } from '../vfio/world.ts';

describe("a leaf that the machine's memory splits", () => {
  it('goes as a whole when one of its pages is invalidated', async () => {
    const world = new World();
    world.iommu.put(0x200, 512, 0x80);
    const host = new MemoryHostIommu({ strictness: 'vfio-user' });
    await world.container(host).attach();
    expect(held(host).length).toBe(2);
    world.iommu.drop(0x200, 512);
    world.iommu.invalidate({ start: 0x200, end: 0x201 });
    await world.space.barrier();
    expect(held(host)).toEqual([]);
  });

  it('goes as a whole when the invalidated page is in its last piece', async () => {
    const world = new World();
    world.iommu.put(0x200, 512, 0x80);
    const host = new MemoryHostIommu({ strictness: 'vfio-user' });
    await world.container(host).attach();
    world.iommu.drop(0x200, 512);
    world.iommu.invalidate({ start: 0x3ff, end: 0x400 });
    await world.space.barrier();
    expect(held(host)).toEqual([]);
  });
});
