import { describe, expect, test } from 'vitest';
import { Access, type AddressSpace, type IommuTlbEntry, TranslatingRegion } from '../../src/memory/index.ts';
import { type HostStrictness, MemoryHostIommu } from '../../src/vfio/index.ts';
import { DelayedHostIommu } from './delayed-host.ts';
import { BAR, differences, held, HIGH, HOLE, LOW, refusalOf, ROM, show, World } from './world.ts';

/** Translates, and cannot be followed. */
class Opaque extends TranslatingRegion {
  readonly target: AddressSpace;

  constructor(target: AddressSpace) {
    super('opaque', 0x10);
    this.target = target;
  }

  override translatePage(page: number): IommuTlbEntry {
    return { iova: page, pages: 1, target: page, access: Access.ReadWrite };
  }
}

const STRICTNESSES: readonly HostStrictness[] = ['type1', 'iommufd', 'vfio-user'];

describe.each(STRICTNESSES)('a plug onto %s', (strictness) => {
  test.each([0, 1, 1000])('replays %i mappings, one map each', async (count) => {
    const world = new World();
    for (let i = 0; i < count; i++) world.iommu.put(0x1000 + 3 * i, 1, HIGH.start + i);
    const host = new MemoryHostIommu({ strictness });
    const container = world.container(host);

    const report = await container.attach();

    expect(report).toEqual({
      replayed: count,
      ramSections: 0,
      notRam: 0,
      entriesRead: count,
      faultCount: 0,
      faults: [],
    });
    expect(held(host)).toEqual(world.iommu.leaves.map(show));
    expect([...container.mappings()].map(show)).toEqual(held(host));
    expect(host.messages.map).toBe(count);
    expect(host.messages.unmap).toBe(0);
    expect(container.state).toEqual({ kind: 'attached' });
  });

  test('maps RAM that the device sees directly, a section a mapping, and ROM for reading', async () => {
    const world = new World({ translated: false });
    const host = new MemoryHostIommu({ strictness });

    const report = await world.container(host).attach();

    expect(report.ramSections).toBe(3);
    expect(report.replayed).toBe(0);
    expect(held(host)).toEqual(['0+100 -> 0 3', '200+20 -> 200 1', '400+800 -> 400 3']);
    expect(differences(world, host)).toEqual([]);
  });

  test('keeps leaves at their own size', async () => {
    const world = new World();
    world.iommu.put(0x200, 512, HIGH.start);
    world.iommu.put(0x400, 1, LOW.start, Access.Read);
    world.iommu.put(0x401, 1, LOW.start + 1, Access.Write);
    const host = new MemoryHostIommu({ strictness });

    await world.container(host).attach();

    expect(held(host)).toEqual(['200+200 -> 400 3', '400+1 -> 0 1', '401+1 -> 1 2']);
  });

  test('leaves out what leads to no RAM, and maps the rest of the leaf', async () => {
    const world = new World();
    world.iommu.put(0x800, 0x400, 0);
    world.iommu.put(0x2000, 1, BAR.start);
    const host = new MemoryHostIommu({ strictness });

    const report = await world.container(host).attach();

    expect(held(host)).toEqual(['800+100 -> 0 3', 'a00+20 -> 200 1']);
    expect(report.replayed).toBe(2);
    expect(report.notRam).toBe(3);
    expect(world.observed('not-ram').map(({ details }) => details?.['iova'])).toEqual([
      '0x900000',
      '0xa20000',
      '0x2000000',
    ]);
  });

  test('counts mappings without RAM, and reports the first few', async () => {
    const world = new World();
    for (let i = 0; i < 100; i++) world.iommu.put(i, 1, HOLE + i);
    const host = new MemoryHostIommu({ strictness });

    const report = await world.container(host).attach();

    expect(report.notRam).toBe(100);
    expect(world.observed('not-ram')).toHaveLength(9);
    expect(world.observed('not-ram').at(-1)?.message).toContain('further ones are only counted');
    expect(host.messages.map).toBe(0);
  });

  test('and unplug leaves nothing, by exact unmaps', async () => {
    const world = new World();
    world.iommu.put(0x200, 512, HIGH.start);
    world.iommu.put(0x400, 1, LOW.start);
    world.iommu.put(0x401, 1, HOLE);
    const host = new MemoryHostIommu({ strictness });
    const container = world.container(host);
    await container.attach();

    await container.detach();

    expect(host.size).toBe(0);
    expect(host.messages.unmap).toBe(2);
    expect(world.traceless).toBe(true);
    expect(container.state).toEqual({ kind: 'detached' });
    expect(world.events.map(({ kind }) => kind)).toEqual(['not-ram']);
  });
});

describe('a plug', () => {
  test('shifts what a region shows at another place of the address space', async () => {
    const world = new World();
    world.bus.remove(world.iommu);
    world.bus.add(world.iommu, 0x10_0000);
    world.iommu.put(0x20, 1, HIGH.start);
    const host = new MemoryHostIommu({ strictness: 'vfio-user' });
    const container = world.container(host);
    await container.attach();

    world.iommu.map(0x21, 1, HIGH.start + 1);
    world.iommu.unmap(0x20, 1);
    await container.barrier();

    expect(held(host)).toEqual(['100021+1 -> 401 3']);
    expect([...container.mappings()].map(show)).toEqual(held(host));
    expect(container.state).toEqual({ kind: 'attached' });
  });

  test('reports the faults of the tables where the device sees them', async () => {
    const world = new World();
    world.bus.remove(world.iommu);
    world.bus.add(world.iommu, 0x10_0000);
    const fault = { code: 5, reason: 'a reserved bit is set' };
    world.iommu.faults.push({ iova: 0x20, pages: 512, fault });
    world.iommu.put(0, 1, HIGH.start);

    const report = await world.container(new MemoryHostIommu({ strictness: 'type1' })).attach();

    expect(report).toMatchObject({ replayed: 1, faultCount: 1 });
    expect(report.faults).toEqual([{ iova: 0x10_0020, pages: 512, fault }]);
  });

  test('leaves out a translating region that tells nobody of its mappings, and says so', async () => {
    const world = new World();
    world.bus.add(new Opaque(world.system), 0x40, 1);
    world.iommu.put(0, 0x80, HIGH.start);
    const host = new MemoryHostIommu({ strictness: 'type1' });

    await world.container(host).attach();

    expect(held(host)).toEqual(['0+40 -> 400 3', '50+30 -> 450 3']);
    expect(world.observed('not-mapped').map(({ message }) => message)).toEqual([
      '0x40000-0x4ffff of opaque is not mapped, for it tells nobody of its mappings: use an IommuRegion',
    ]);
  });

  test('follows a region on both sides of a window that hides part of it', async () => {
    const world = new World();
    world.bus.add(world.low, 0x300, 1);
    world.iommu.put(0x200, 512, HIGH.start);
    const host = new MemoryHostIommu({ strictness: 'vfio-user' });
    const container = world.container(host);

    const report = await container.attach();

    expect(report).toMatchObject({ replayed: 1, ramSections: 1 });
    expect(held(host)).toEqual(['200+100 -> 400 3', '300+100 -> 300 3']);
    expect(container.state).toEqual({ kind: 'attached' });
  });

  test('is confirmed by the host before it resolves', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner, { answers: 'when-told' });
    const container = world.container(host);
    let done = false;

    const plug = container.attach().then(() => (done = true));
    await new Promise((resolve) => setImmediate(resolve));
    const doneBefore = done;
    const stateBefore = container.state;
    host.answer();
    await plug;

    expect(doneBefore).toBe(false);
    expect(stateBefore).toEqual({ kind: 'attaching' });
    expect(inner.size).toBe(1);
  });

  test('takes in what the guest changes while the host still answers', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const container = world.container(new DelayedHostIommu(inner));

    const plug = container.attach();
    world.iommu.map(2, 1, LOW.start + 1);
    world.iommu.unmap(1, 1);
    await plug;
    await world.space.barrier();

    expect(held(inner)).toEqual(['2+1 -> 1 3']);
    expect(container.state).toEqual({ kind: 'attached' });
  });

  test('of an attached container is an error and changes nothing', async () => {
    const world = new World();
    const container = world.container(new MemoryHostIommu({ strictness: 'type1' }));
    await container.attach();

    await expect(container.attach()).rejects.toThrow(/attached already/);

    expect(container.state).toEqual({ kind: 'attached' });
    expect(world.iommu.notifiers).toHaveLength(1);
  });

  test('and unplug asked for in one breath take turns', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const container = world.container(new DelayedHostIommu(inner));

    const steps = [container.attach(), container.detach(), container.detach(), container.attach()];
    await Promise.all(steps);

    expect(container.state).toEqual({ kind: 'attached' });
    expect(held(inner)).toEqual(['1+1 -> 0 3']);
    expect(inner.messages).toMatchObject({ map: 2, unmap: 1 });
  });

  test('can be repeated after an unplug, and unplugging twice does nothing more', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const host = new MemoryHostIommu({ strictness: 'vfio-user' });
    const container = world.container(host);
    await container.attach();
    await container.detach();
    await container.detach();

    const report = await container.attach();

    expect(report.replayed).toBe(1);
    expect(host.messages).toMatchObject({ map: 2, unmap: 1 });
  });

  test('onto a host without page sizes is refused when the container is made', () => {
    const world = new World();
    const host = new MemoryHostIommu({ strictness: 'type1' });
    const without = new Proxy(host, {
      get: (target, key) =>
        key === 'limits' ? { ...target.limits, pageSizes: 0n } : (Reflect.get(target, key) as unknown),
    });

    expect(() => world.container(without)).toThrow(/no page size/);
  });
});

describe('a refused plug leaves no trace', () => {
  test('when the guest IOMMU cannot tell of its mappings', async () => {
    const world = new World();
    world.iommu.refusal = 'caching mode is off: turn it on';
    const host = new MemoryHostIommu({ strictness: 'type1' });
    const container = world.container(host);

    const { message, code, refusal } = await refusalOf(container.attach());

    expect(code).toBe('VIOMMU_PLUG_REFUSED');
    expect(message).toContain('caching mode is off: turn it on');
    expect(refusal.cause).toBe('iommu-refused');
    expect(host.size).toBe(0);
    expect(world.traceless).toBe(true);
    expect(container.state).toEqual({ kind: 'detached' });
    expect(world.quarantines).toEqual([]);
  });

  test('when the walk is cut', async () => {
    const world = new World({ leafBudget: 10 });
    for (let i = 0; i < 20; i++) world.iommu.put(i, 1, LOW.start + i);
    const host = new MemoryHostIommu({ strictness: 'type1' });

    const { message, refusal } = await refusalOf(world.container(host).attach());

    expect(message).toMatch(/the walk was cut at IOVA 0xa000 .*raise the budget/);
    expect(refusal).toMatchObject({ cause: 'iommu-refused', mapping: undefined });
    expect(host.size).toBe(0);
    expect(host.messages).toMatchObject({ map: 10, unmap: 10 });
    expect(world.traceless).toBe(true);
  });

  test('when the host refuses one mapping of many, which is not unmapped again', async () => {
    const world = new World();
    for (let i = 0; i < 10; i++) world.iommu.put(i, 1, LOW.start + i, Access.Read);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const container = world.container(new DelayedHostIommu(inner, { failAt: 4 }));

    const { message, refusal } = await refusalOf(container.attach());

    expect(message).toBe(
      'nic cannot be given its mappings on host delayed vfio-user: host delayed vfio-user refused to map 4 KiB ' +
        'at IOVA 0x3000 with ENOMEM: no memory: free some',
    );
    expect(refusal).toMatchObject({
      cause: 'host-refused',
      errno: 'ENOMEM',
      mapping: { iova: 3, pages: 1, target: 3, access: Access.Read },
    });
    expect(inner.size).toBe(0);
    expect(inner.messages).toMatchObject({ map: 9, unmap: 9 });
    expect(world.traceless).toBe(true);
  });

  test('until the host has confirmed that, and is listened to for so long', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    world.iommu.put(2, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner, { answers: 'when-told', failAt: 1 });
    const plug = refusalOf(world.container(host).attach());

    host.answer();
    await new Promise((resolve) => setImmediate(resolve));
    const tracelessBefore = world.traceless;
    const sizeBefore = inner.size;
    host.answer();
    await plug;

    expect(sizeBefore).toBe(1);
    expect(tracelessBefore).toBe(false);
    expect(inner.size).toBe(0);
    expect(world.traceless).toBe(true);
  });

  test('and can be repeated when the cause is gone', async () => {
    const world = new World();
    for (let i = 0; i < 5; i++) world.iommu.put(i, 1, LOW.start + i);
    const host = new MemoryHostIommu({ strictness: 'type1', maxMappings: 4 });
    const container = world.container(host);
    await refusalOf(container.attach());
    world.iommu.drop(0, 1);

    const report = await container.attach();

    expect(report.replayed).toBe(4);
    expect(differences(world, host)).toEqual([]);
  });

  test('when the host is lost, which it then stays', async () => {
    const world = new World({ translated: false });
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const container = world.container(new DelayedHostIommu(inner, { failAt: 4, fault: 'lose' }));

    const first = await refusalOf(container.attach());
    const second = await refusalOf(container.attach());

    expect(first.message).toContain('is lost (the connection broke): unplug the device');
    expect(first.cause).toBeInstanceOf(Error);
    expect(second.refusal.cause).toBe('host-lost');
    expect(inner.size).toBe(0);
    expect(world.traceless).toBe(true);
  });

  test('while other devices of the same IOMMU keep theirs', async () => {
    const world = new World();
    for (let i = 0; i < 5; i++) world.iommu.put(i, 1, ROM.start + i);
    const good = new MemoryHostIommu({ strictness: 'type1' });
    await world.container(good).attach();
    const poor = new MemoryHostIommu({ strictness: 'type1', maxMappings: 4 });

    await refusalOf(world.container(poor, 'poor').attach());
    world.iommu.map(5, 1, ROM.start + 5);
    await world.space.barrier();

    expect(poor.size).toBe(0);
    expect(differences(world, good)).toEqual([]);
    expect(world.iommu.notifiers).toHaveLength(1);
  });
});
