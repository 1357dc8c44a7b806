import { describe, expect, test } from 'vitest';
import { Access, DenseRamBlock, RamRegion } from '../../src/memory/index.ts';
import { type HostStrictness, MemoryHostIommu } from '../../src/vfio/index.ts';
import { BAR, differences, held, HIGH, HOLE, LOW, reached, World } from './world.ts';

const STRICTNESSES: readonly HostStrictness[] = ['type1', 'iommufd', 'vfio-user'];

/** A plugged device; the host refuses nothing, or the container would not stay attached. */
async function plugged(strictness: HostStrictness, options: { readonly translated: boolean }) {
  const world = new World(options);
  world.iommu.put(0x10, 1, HIGH.start, Access.Read);
  world.iommu.put(0x200, 512, HIGH.start);
  world.iommu.put(0x600, 1, BAR.start);
  const host = new MemoryHostIommu({ strictness });
  const container = world.container(host);
  await container.attach();
  return { world, host, container };
}

describe.each(STRICTNESSES)('a device on %s', (strictness) => {
  test('whose translation is turned on loses RAM and gets its mappings', async () => {
    const { world, host, container } = await plugged(strictness, { translated: false });

    world.translate(true);
    await world.space.barrier();

    expect(held(host)).toEqual(['10+1 -> 400 1', '200+200 -> 400 3']);
    expect(host.messages).toMatchObject({ map: 3 + 2, unmap: 3 });
    expect(container.state).toEqual({ kind: 'attached' });
  });

  test('whose translation is turned off with a 2 MiB mapping live gets all RAM', async () => {
    const { world, host, container } = await plugged(strictness, { translated: true });

    world.translate(false);
    await world.space.barrier();

    expect(held(host)).toEqual(['0+100 -> 0 3', '200+20 -> 200 1', '400+800 -> 400 3']);
    expect(host.messages).toMatchObject({ map: 2 + 3, unmap: 2 });
    expect(container.state).toEqual({ kind: 'attached' });
    expect(world.iommu.notifiers).toEqual([]);
  });

  test('is followed after having been switched to and fro', async () => {
    const { world, host, container } = await plugged(strictness, { translated: true });

    world.translate(false);
    world.iommu.map(0x20, 1, LOW.start);
    world.translate(true);
    world.iommu.map(0x21, 1, LOW.start + 1);
    world.iommu.unmap(0x10, 1);
    await world.space.barrier();

    expect(container.state).toEqual({ kind: 'attached' });
    expect(differences(world, host)).toEqual([]);
    expect([...container.mappings()]).toHaveLength(3);
  });

  test('that is switched to and fro in one transaction is not disturbed', async () => {
    const { world, host } = await plugged(strictness, { translated: true });

    world.topology.transaction(() => {
      world.translate(false);
      world.translate(true);
    });

    expect(host.messages).toMatchObject({ map: 2, unmap: 0 });
  });

  test('follows a leaf that is replaced by smaller ones, and back', async () => {
    const { world, host, container } = await plugged(strictness, { translated: true });

    world.iommu.drop(0x200, 512);
    world.iommu.put(0x210, 1, HIGH.start + 7);
    world.iommu.invalidate({ start: 0x210, end: 0x211 });
    await world.space.barrier();
    const small = held(host);
    world.iommu.map(0x200, 512, HIGH.start);
    await world.space.barrier();

    expect(small).toEqual(['10+1 -> 400 1', '210+1 -> 407 3']);
    expect(held(host)).toEqual(['10+1 -> 400 1', '200+200 -> 400 3']);
    expect(container.state).toEqual({ kind: 'attached' });
  });

  test('sees RAM that is plugged in and out, where it sees it directly', async () => {
    const { world, host, container } = await plugged(strictness, { translated: false });
    const dimm = new RamRegion('DIMM', new DenseRamBlock(0x40));

    world.memory.add(dimm, HOLE);
    await world.space.barrier();
    const withDimm = held(host);
    world.memory.remove(dimm);
    await world.space.barrier();

    expect(withDimm).toEqual(['0+100 -> 0 3', '200+20 -> 200 1', '400+800 -> 400 3', '1000+40 -> 1000 3']);
    expect(host.size).toBe(3);
    expect(host.messages).toMatchObject({ map: 4, unmap: 1 });
    expect(container.state).toEqual({ kind: 'attached' });
  });

  test('sees RAM that is plugged in and out, where an IOMMU leads there', async () => {
    const { world, host, container } = await plugged(strictness, { translated: true });
    const dimm = new RamRegion('DIMM', new DenseRamBlock(0x40));
    world.iommu.map(0x700, 0x10, HOLE + 0x38);
    await world.space.barrier();

    world.memory.add(dimm, HOLE);
    await world.space.barrier();
    const withDimm = reached(world, host);
    const differencesWithDimm = differences(world, host);
    world.memory.remove(dimm);
    await world.space.barrier();

    expect(differencesWithDimm).toEqual([]);
    expect(withDimm.get(0x707)).toBe('DIMM 63 3');
    expect(host.size).toBe(2);
    expect(container.state).toEqual({ kind: 'attached' });
  });

  test.each([true, false])(
    'sees RAM that takes the place of other RAM (translated: %s)',
    async (translated) => {
      const { world, host, container } = await plugged(strictness, { translated });
      world.iommu.map(0x20, 4, LOW.start);
      await world.space.barrier();
      const other = new RamRegion('other RAM', new DenseRamBlock(LOW.pages));

      world.topology.transaction(() => {
        world.memory.remove(world.low);
        world.memory.add(other, LOW.start);
      });
      await world.space.barrier();

      expect(differences(world, host)).toEqual([]);
      expect(host.translate(translated ? 0x20_000n : 0n)?.ram.block).toBe(other.block);
      expect(container.state).toEqual({ kind: 'attached' });
    },
  );
});
