import { describe, expect, test } from 'vitest';
import { Access, DenseRamBlock, DeviceRegion, RamRegion } from '../../src/memory/index.ts';
import { type HostStrictness, MemoryHostIommu } from '../../src/vfio/index.ts';
import { differences, held, HIGH, LOW, refusalOf, ROM, World } from './world.ts';

function registers(pages: number): DeviceRegion {
  return new DeviceRegion('registers', pages, { read: () => true, write: () => true });
}

const STRICTNESSES: readonly HostStrictness[] = ['type1', 'iommufd', 'vfio-user'];

describe.each(STRICTNESSES)('a %s host with pages of 64 KiB', (strictness) => {
  const pageSizes = 0x1_0000n;

  test('is given sixteen neighbouring 4 KiB leaves as one mapping', async () => {
    const world = new World();
    for (let i = 0; i < 16; i++) world.iommu.put(0x20 + i, 1, HIGH.start + i);
    const host = new MemoryHostIommu({ strictness, pageSizes });

    const report = await world.container(host).attach();

    expect(report.replayed).toBe(1);
    expect(held(host)).toEqual(['20+10 -> 400 3']);
  });

  test('refuses the plug when one of the sixteen is missing, and names IOVA, both page sizes and the remedy', async () => {
    const world = new World();
    for (let i = 0; i < 16; i++) if (i !== 9) world.iommu.put(0x20 + i, 1, HIGH.start + i);
    const host = new MemoryHostIommu({ strictness, pageSizes });

    const { message, refusal } = await refusalOf(world.container(host).attach());

    expect(message).toBe(
      `nic cannot be given its mappings on host ${strictness}: the guest maps 4 KiB at IOVA 0x20000 in pages of ` +
        `4 KiB, but the smallest page of host ${strictness} is 64 KiB: have the guest map aligned pages of 64 KiB, ` +
        'or use a host with pages of 4 KiB',
    );
    expect(refusal.pageSizes).toEqual({ guest: 4096n, host: 65_536n });
    expect(refusal.mapping).toEqual({ iova: 0x20, pages: 1, target: HIGH.start, access: Access.ReadWrite });
    expect(host.messages.map).toBe(0);
    expect(world.traceless).toBe(true);
  });

  test('refuses an aligned IOVA whose memory is not aligned', async () => {
    const world = new World();
    world.iommu.put(0x20, 16, HIGH.start + 2);
    const host = new MemoryHostIommu({ strictness, pageSizes });

    const { message } = await refusalOf(world.container(host).attach());

    expect(message).toContain('the guest maps 64 KiB at IOVA 0x20000 in pages of 8 KiB');
  });

  test('takes RAM cut inward to whole pages, and hears what is left out', async () => {
    const world = new World({ translated: false });
    world.bus.add(registers(8), 0x8, 1);
    world.bus.add(registers(1), 0x7f8, 1);
    const host = new MemoryHostIommu({ strictness, pageSizes });

    const report = await world.container(host).attach();

    expect(held(host)).toEqual(['10+f0 -> 10 3', '200+20 -> 200 1', '400+3f0 -> 400 3', '800+400 -> 800 3']);
    expect(report.ramSections).toBe(4);
    expect(world.observed('not-mapped').map(({ message }) => message)).toEqual([
      expect.stringMatching(
        /^0x0-0x7fff of low RAM is not mapped, for it holds no whole page of the host: .*64 KiB/,
      ),
      expect.stringMatching(/^0x7f0000-0x7f7fff of high RAM is not mapped, for it does not end at a page/),
      expect.stringMatching(/^0x7f9000-0x7fffff of high RAM is not mapped, for it does not begin at a page/),
    ]);
  });

  test('does not take RAM whose memory is aligned differently', async () => {
    const world = new World({ translated: false });
    world.bus.add(new RamRegion('askew', new DenseRamBlock(0x40)), 0x1008);
    const host = new MemoryHostIommu({ strictness, pageSizes });

    const report = await world.container(host).attach();

    expect(report.ramSections).toBe(3);
    expect(world.observed('not-mapped').map(({ message }) => message)).toEqual([
      expect.stringMatching(/^0x1008000-0x1047fff of askew is not mapped, for its place and its memory/),
    ]);
  });

  test('is followed at run time, too', async () => {
    const world = new World();
    const host = new MemoryHostIommu({ strictness, pageSizes });
    const container = world.container(host);
    await container.attach();

    world.iommu.map(0x20, 16, HIGH.start + 16);
    world.iommu.map(0x40, 512, HIGH.start + 512);
    world.iommu.unmap(0x20, 16);
    await container.barrier();

    expect(container.state).toEqual({ kind: 'attached' });
    expect(held(host)).toEqual(['40+200 -> 600 3']);
  });
});

describe.each(STRICTNESSES)('a %s host with apertures', (strictness) => {
  const apertures = [
    { start: 0, end: 0x300 },
    { start: 0x400, end: 0x1_0000 },
  ];

  test('is given what lies within them', async () => {
    const world = new World({ translated: false });
    const host = new MemoryHostIommu({ strictness, apertures });

    const report = await world.container(host).attach();

    expect(report.ramSections).toBe(3);
    expect(differences(world, host)).toEqual([]);
  });

  test.each([
    ['in a reserved window', 0x350, 1, '0x350000-0x350fff'],
    ['reaching into a reserved window', 0x200, 512, '0x200000-0x3fffff'],
    ['beyond the last', 0x1_0000, 1, '0x10000000-0x10000fff'],
  ])('refuses a plug with a mapping %s', async (_where, iova, pages, range) => {
    const world = new World();
    world.iommu.put(0, 1, LOW.start);
    world.iommu.put(iova, pages, HIGH.start);
    const host = new MemoryHostIommu({ strictness, apertures });

    const { message, refusal } = await refusalOf(world.container(host).attach());

    expect(message).toContain(
      `IOVA ${range} lies outside what host ${strictness} can map (0x0-0x2fffff, 0x400000-0xfffffff): keep the guest`,
    );
    expect(refusal).toMatchObject({ cause: 'aperture', mapping: { iova, pages } });
    expect(host.size).toBe(0);
    expect(world.traceless).toBe(true);
  });

  test('refuses a plug with RAM outside them', async () => {
    const world = new World({ translated: false });
    const host = new MemoryHostIommu({ strictness, apertures: [{ start: 0, end: 0x600 }] });

    const { refusal } = await refusalOf(world.container(host).attach());

    expect(refusal).toMatchObject({ cause: 'aperture', mapping: { iova: HIGH.start, pages: HIGH.pages } });
    expect(host.size).toBe(0);
    expect(host.messages).toMatchObject({ map: 2, unmap: 2 });
  });
});

describe('the number of mappings', () => {
  test.each(['type1', 'vfio-user'] as const)('%s takes a plug of 65,535', async (strictness) => {
    const world = new World();
    for (let i = 0; i < 65_535; i++) world.iommu.put(i, 1, HIGH.start + (i % HIGH.pages));
    const host = new MemoryHostIommu({ strictness });

    const report = await world.container(host).attach();

    expect(report.replayed).toBe(65_535);
    expect(host.size).toBe(65_535);
  });

  test.each(['type1', 'vfio-user'] as const)('%s refuses a plug of 65,536 as a whole', async (strictness) => {
    const world = new World();
    for (let i = 0; i < 65_536; i++) world.iommu.put(i, 1, HIGH.start + (i % HIGH.pages));
    const host = new MemoryHostIommu({ strictness });

    const { message, refusal } = await refusalOf(world.container(host).attach());

    expect(message).toContain(
      `the mapping of 4 KiB at IOVA 0xffff000 is one more than the 65535 that host ${strictness} can hold: have`,
    );
    expect(refusal).toMatchObject({ cause: 'too-many-mappings', mapping: { iova: 65_535 } });
    expect(host.size).toBe(0);
    expect(world.traceless).toBe(true);
  });

  test('iommufd takes a plug of 65,536', async () => {
    const world = new World();
    for (let i = 0; i < 65_536; i++) world.iommu.put(i, 1, HIGH.start + (i % HIGH.pages));
    const host = new MemoryHostIommu({ strictness: 'iommufd' });

    const report = await world.container(host).attach();

    expect(report.replayed).toBe(65_536);
  });

  test('counts RAM and mappings without RAM as what they are', async () => {
    const world = new World();
    world.bus.add(new RamRegion('window', new DenseRamBlock(1)), 0x1000, 1);
    world.iommu.put(0, 1, LOW.start);
    world.iommu.put(1, 1, 0x2000);
    world.iommu.put(2, 1, ROM.start);
    const host = new MemoryHostIommu({ strictness: 'type1', maxMappings: 3 });

    const report = await world.container(host).attach();

    expect(report).toMatchObject({ replayed: 2, ramSections: 1, notRam: 1 });
    expect(host.size).toBe(3);
  });

  test('is kept while mappings are replaced at the limit', async () => {
    const world = new World();
    for (let i = 0; i < 4; i++) world.iommu.put(i, 1, LOW.start + i);
    const host = new MemoryHostIommu({ strictness: 'type1', maxMappings: 4 });
    const container = world.container(host);
    await container.attach();

    for (let i = 0; i < 4; i++) world.iommu.put(i, 1, HIGH.start + i, Access.Read);
    world.iommu.invalidate({ start: 0, end: 4 });
    await container.barrier();

    expect(container.state).toEqual({ kind: 'attached' });
    expect(differences(world, host)).toEqual([]);
  });
});
