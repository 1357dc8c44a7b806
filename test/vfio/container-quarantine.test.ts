import { describe, expect, test } from 'vitest';
import { Access, DenseRamBlock, RamRegion } from '../../src/memory/index.ts';
import { type HostStrictness, MemoryHostIommu } from '../../src/vfio/index.ts';
import { type Answers, DelayedHostIommu } from './delayed-host.ts';
import { differences, held, HIGH, HOLE, LOW, reached, refusalOf, World } from './world.ts';

const STRICTNESSES: readonly HostStrictness[] = ['type1', 'iommufd', 'vfio-user'];

/** A plugged device with `count` mappings on a host that has room for just as many. */
async function fullHost(count: number, strictness: HostStrictness = 'type1') {
  const world = new World();
  for (let i = 0; i < count; i++) world.iommu.put(i, 1, LOW.start + i);
  const host = new MemoryHostIommu({ strictness, maxMappings: count });
  const container = world.container(host);
  await container.attach();
  return { world, host, container };
}

describe.each(STRICTNESSES)('a mapping that %s cannot hold at run time', (strictness) => {
  test('cuts the device off: nothing is left, by exact unmaps', async () => {
    const { world, host, container } = await fullHost(4, strictness);

    world.iommu.map(9, 1, HIGH.start, Access.Read);
    await world.space.barrier();

    expect(host.size).toBe(0);
    expect(host.messages).toMatchObject({ map: 4, unmap: 4 });
    expect([...container.mappings()]).toEqual([]);
    expect(container.state).toMatchObject({
      kind: 'quarantined',
      cause: 'too-many-mappings',
      mapping: { iova: 9, pages: 1, target: HIGH.start, access: Access.Read },
    });
  });

  test('is told once to the machine and to the observer, with IOVA, reason and remedy', async () => {
    const { world, container } = await fullHost(4, strictness);

    world.iommu.map(9, 1, HIGH.start);
    world.iommu.map(10, 1, HIGH.start);
    await world.space.barrier();

    expect(world.quarantines).toEqual([container.state]);
    expect(world.observed('quarantined')).toEqual([
      {
        kind: 'quarantined',
        source: 'nic',
        message: expect.stringMatching(
          /^nic is cut off from memory: the mapping of 4 KiB at IOVA 0x9000 is one more than the 4 .*: have the guest/,
        ) as string,
        details: { cause: 'too-many-mappings', iova: '0x9000', pages: 1 },
      },
    ]);
  });

  test('leaves the device cut off whatever the guest changes afterwards', async () => {
    const { world, host, container } = await fullHost(4, strictness);
    world.iommu.map(9, 1, HIGH.start);

    world.iommu.unmap(0, 10);
    world.iommu.map(2, 1, HIGH.start);
    world.translate(false);
    world.memory.remove(world.low);
    await world.space.barrier();

    expect(host.size).toBe(0);
    expect(host.messages.map).toBe(4);
    expect(container.state.kind).toBe('quarantined');
  });
});

describe('a quarantine', () => {
  test.each(STRICTNESSES)(
    'on %s is lifted by one reconcile with what the guest has by then',
    async (strictness) => {
      const { world, host, container } = await fullHost(4, strictness);
      world.iommu.map(9, 1, HIGH.start);
      world.iommu.unmap(0, 2);

      await container.release();

      expect(container.state).toEqual({ kind: 'attached' });
      expect(differences(world, host)).toEqual([]);
      expect(host.messages.map).toBe(4 + 3);
      expect(world.observed('released')).toHaveLength(1);
    },
  );

  test('is lifted into whatever sections there are by then', async () => {
    const { world, host, container } = await fullHost(4);
    world.iommu.map(9, 1, HIGH.start);
    world.translate(false);

    await container.release();

    expect(differences(world, host)).toEqual([]);
    expect(host.size).toBe(3);
  });

  test('lasts when its release is refused, for the new reason, and nothing is left of the release', async () => {
    const { world, host, container } = await fullHost(4);
    world.iommu.map(9, 1, HIGH.start);
    world.iommu.map(10, 1, HIGH.start);
    world.iommu.drop(0, 1);

    const { refusal } = await refusalOf(container.release());

    expect(refusal.mapping).toMatchObject({ iova: 10 });
    expect(container.state).toMatchObject({ kind: 'quarantined', mapping: { iova: 10 } });
    expect(host.size).toBe(0);
    expect(world.quarantines).toHaveLength(1);
    expect(world.iommu.notifiers).toEqual([]);
  });

  test('is followed again after its release, and may come back', async () => {
    const { world, host, container } = await fullHost(4);
    world.iommu.map(9, 1, HIGH.start);
    world.iommu.unmap(9, 1);
    await container.release();

    world.iommu.map(1, 1, HIGH.start);
    await world.space.barrier();
    const between = reached(world, host);
    world.iommu.map(9, 1, HIGH.start);
    await world.space.barrier();

    expect(between.get(1)).toBe('high RAM 0 3');
    expect(container.state.kind).toBe('quarantined');
    expect(world.quarantines).toHaveLength(2);
    expect(host.size).toBe(0);
  });

  test('of one device leaves the others theirs', async () => {
    const { world, container } = await fullHost(4);
    const roomy = new MemoryHostIommu({ strictness: 'vfio-user' });
    const other = world.container(roomy, 'other');
    await other.attach();

    world.iommu.map(9, 1, HIGH.start);
    await world.space.barrier();

    expect(container.state.kind).toBe('quarantined');
    expect(other.state).toEqual({ kind: 'attached' });
    expect(differences(world, roomy)).toEqual([]);
  });

  test('ends with an unplug', async () => {
    const { world, host, container } = await fullHost(4);
    world.iommu.map(9, 1, HIGH.start);

    await container.detach();

    expect(container.state).toEqual({ kind: 'detached' });
    expect(world.traceless).toBe(true);
    expect(host.size).toBe(0);
  });

  test('does not begin again when a device without one is released', async () => {
    const { container } = await fullHost(1);

    await container.release();

    expect(container.state).toEqual({ kind: 'attached' });
  });

  test('goes on when the machine fails to hear of it', async () => {
    const world = new World();
    const host = new MemoryHostIommu({ strictness: 'type1', maxMappings: 1 });
    const container = world.container(host);
    world.quarantines.push = () => {
      throw new Error('no such requester');
    };
    await container.attach();

    world.topology.transaction(() => {
      world.iommu.map(1, 1, LOW.start);
      world.iommu.map(2, 1, LOW.start);
    });

    expect(container.state.kind).toBe('quarantined');
    expect(world.observed('callback-failed')[0]?.message).toContain('no such requester');
    expect(host.size).toBe(0);
  });
});

describe('what quarantines at run time', () => {
  test('a page smaller than the host has', async () => {
    const world = new World();
    const host = new MemoryHostIommu({ strictness: 'type1', pageSizes: 0x1_0000n });
    const container = world.container(host);
    await container.attach();

    world.iommu.map(0x10, 1, LOW.start);

    expect(container.state).toMatchObject({
      cause: 'page-size',
      pageSizes: { guest: 4096n, host: 65_536n },
      mapping: { iova: 0x10 },
    });
  });

  test('a hole torn into a large page of the host', async () => {
    const world = new World();
    for (let i = 0; i < 16; i++) world.iommu.put(0x20 + i, 1, HIGH.start + i);
    const host = new MemoryHostIommu({ strictness: 'vfio-user', pageSizes: 0x1_0000n });
    const container = world.container(host);
    await container.attach();

    world.iommu.unmap(0x25, 1);
    await world.space.barrier();

    expect(container.state).toMatchObject({ kind: 'quarantined', cause: 'page-size' });
    expect(host.size).toBe(0);
    expect(host.messages).toMatchObject({ map: 1, unmap: 1 });
  });

  test('a walk that is cut', async () => {
    const world = new World({ leafBudget: 8 });
    const host = new MemoryHostIommu({ strictness: 'type1' });
    const container = world.container(host);
    await container.attach();

    for (let i = 0; i < 9; i++) world.iommu.put(i, 1, LOW.start + i);
    world.iommu.invalidate({ start: 0, end: 16 });

    expect(container.state).toMatchObject({ cause: 'iommu-refused', mapping: undefined });
    expect(world.quarantines[0]?.reason).toContain('the walk was cut at IOVA');
    expect(host.size).toBe(0);
  });

  test('RAM that appears where the host maps nothing', async () => {
    const world = new World({ translated: false });
    const host = new MemoryHostIommu({ strictness: 'type1', apertures: [{ start: 0, end: HOLE }] });
    const container = world.container(host);
    await container.attach();

    world.memory.add(new RamRegion('DIMM', new DenseRamBlock(0x10)), HOLE);

    expect(container.state).toMatchObject({ cause: 'aperture', mapping: { iova: HOLE, pages: 0x10 } });
    expect(host.size).toBe(0);
  });

  test('an IOMMU that is turned on and cannot tell of its mappings', async () => {
    const world = new World({ translated: false });
    const host = new MemoryHostIommu({ strictness: 'vfio-user' });
    const container = world.container(host);
    await container.attach();
    world.iommu.refusal = 'caching mode is off: turn it on';

    world.translate(true);

    expect(container.state).toMatchObject({
      cause: 'iommu-refused',
      reason: 'translated: caching mode is off: turn it on',
    });
    expect(host.size).toBe(0);
    expect(world.iommu.notifiers).toEqual([]);
  });
});

describe('a host that refuses at run time what it said it could hold', () => {
  test('is not asked to unmap what it refused', async () => {
    const world = new World();
    for (let i = 0; i < 3; i++) world.iommu.put(i, 1, LOW.start + i);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner, { answers: 'at-once' });
    const container = world.container(host);
    await container.attach();
    world.iommu.unmap(0, 1);
    void world.space.barrier();
    host.failAt = host.calls + 1;

    world.iommu.map(7, 2, HIGH.start, Access.Write);
    const answer = world.space.barrier();

    expect(answer).toBeUndefined();
    expect(container.state).toMatchObject({
      kind: 'quarantined',
      cause: 'host-refused',
      errno: 'ENOMEM',
      mapping: { iova: 7, pages: 2, target: HIGH.start, access: Access.Write },
      reason: 'host delayed vfio-user refused to map 8 KiB at IOVA 0x7000 with ENOMEM',
      remedy: 'no memory: free some',
    });
    expect(inner.size).toBe(0);
    expect(inner.messages).toMatchObject({ map: 3, unmap: 3 });
    expect(world.observed('host-lost')).toEqual([]);
  });

  test.each(STRICTNESSES)(
    'and is replaced before %s answered: the new one is unmapped, too',
    async (strictness) => {
      const world = new World();
      const inner = new MemoryHostIommu({ strictness });
      const host = new DelayedHostIommu(inner);
      const container = world.container(host);
      await container.attach();
      host.failAt = host.calls + 1;

      world.iommu.map(7, 1, HIGH.start);
      world.iommu.map(7, 1, HIGH.start + 1);
      await world.space.barrier();

      expect(inner.messages.map).toBe(1);
      expect(inner.size).toBe(0);
      expect(container.state.kind).toBe('quarantined');
      expect(world.observed('host-lost')).toEqual([]);
    },
  );

  test('and is withdrawn before the host answered: its unmap finding nothing is no fault', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner, { answers: 'when-told' });
    const container = world.container(host);
    const plug = container.attach();
    host.answer();
    await plug;
    host.failAt = host.calls + 1;

    world.iommu.map(7, 1, HIGH.start);
    const first = world.space.barrier();
    world.iommu.unmap(7, 1);
    const second = world.space.barrier();
    host.answer();
    await new Promise((resolve) => setImmediate(resolve));
    host.answer();
    await Promise.all([first, second]);

    expect(container.state).toMatchObject({
      kind: 'quarantined',
      mapping: { iova: 7, pages: 1, target: 0, access: Access.None },
    });
    expect(inner.size).toBe(0);
    expect(world.observed('host-lost')).toEqual([]);
    expect(world.quarantines).toHaveLength(1);
  });

  test.each<[Answers, number]>([
    ['at-once', 0],
    ['at-once', 3],
    ['later', 0],
    ['later', 3],
  ])(
    'can be released, and what it took then is unmapped with the rest (%s, %i others)',
    async (answers, others) => {
      const world = new World();
      for (let i = 0; i < others; i++) world.iommu.put(i, 1, LOW.start + i);
      const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
      const host = new DelayedHostIommu(inner, { answers });
      const container = world.container(host);
      await container.attach();
      host.failAt = host.calls + 1;
      world.iommu.map(7, 1, HIGH.start);
      await world.space.barrier();

      const release = container.release();
      world.iommu.unmap(7, 1);
      await release;
      await world.space.barrier();

      expect(container.state).toEqual({ kind: 'attached' });
      expect(differences(world, inner)).toEqual([]);
      expect(inner.messages).toMatchObject({ map: 2 * others + 1, unmap: others + 1 });
    },
  );
});

describe('a host that is lost', () => {
  test('ends in a quarantine that says so, and the barrier ends', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner);
    const container = world.container(host);
    await container.attach();
    host.failAt = host.calls + 1;
    host.fault = 'die';

    world.iommu.map(2, 1, LOW.start);
    await world.space.barrier();

    expect(container.state).toMatchObject({
      kind: 'host-lost',
      cause: 'host-lost',
      mapping: undefined,
      reason: 'host delayed vfio-user is lost (the connection broke)',
    });
    expect(world.observed('host-lost')).toHaveLength(1);
    expect(world.quarantines).toEqual([container.state]);
    expect([...container.mappings()]).toEqual([]);
  });

  test('cannot be released, but unplugged', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const host = new DelayedHostIommu(new MemoryHostIommu({ strictness: 'vfio-user' }));
    const container = world.container(host);
    await container.attach();
    host.failAt = host.calls + 1;
    host.fault = 'die';
    world.iommu.map(2, 1, LOW.start);
    await world.space.barrier();

    const { message } = await refusalOf(container.release());
    const stateBetween = container.state.kind;
    await container.detach();

    expect(message).toContain('unplug the device, end its connection to the host, and plug it anew');
    expect(stateBetween).toBe('host-lost');
    expect(container.state).toEqual({ kind: 'detached' });
    expect(world.traceless).toBe(true);
  });

  test('that comes back is still given every unmap', async () => {
    const world = new World();
    for (let i = 0; i < 3; i++) world.iommu.put(i, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner);
    const container = world.container(host);
    await container.attach();
    host.failAt = host.calls + 2;
    host.fault = 'lose';

    world.iommu.unmap(1, 1);
    await world.space.barrier();

    expect(container.state.kind).toBe('host-lost');
    expect(inner.size).toBe(0);
  });

  test('is one that does not carry out an unmap', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    world.iommu.put(2, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner);
    const container = world.container(host);
    await container.attach();
    host.failAt = host.calls + 1;

    world.iommu.unmap(1, 1);
    await world.space.barrier();

    expect(container.state).toMatchObject({ kind: 'host-lost' });
    expect(world.quarantines[0]?.reason).toContain(
      'did not carry out an unmap and may still let the device reach',
    );
    expect(held(inner)).toEqual(['1+1 -> 0 3']);
  });

  test('is one that does not unmap what it said that it had refused', async () => {
    const world = new World();
    const host = new DelayedHostIommu(new MemoryHostIommu({ strictness: 'vfio-user' }));
    const container = world.container(host);
    await container.attach();
    host.failAt = host.calls + 1;
    host.failures = 2;

    world.iommu.map(1, 1, LOW.start);
    world.iommu.unmap(1, 1);
    await world.space.barrier();

    expect(container.state.kind).toBe('host-lost');
  });

  test('is one that keeps a mapping in the place of a new one', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner);
    const container = world.container(host);
    await container.attach();
    host.failAt = host.calls + 1;

    world.iommu.map(1, 2, LOW.start + 1);
    await world.space.barrier();

    expect(container.state.kind).toBe('host-lost');
    expect(world.observed('host-lost')).toHaveLength(1);
    expect(held(inner)).toEqual(['1+1 -> 0 3']);
  });

  test('while a quarantine is under way turns it into its own', async () => {
    const { world, container } = await (async () => {
      const world = new World();
      for (let i = 0; i < 4; i++) world.iommu.put(i, 1, LOW.start + i);
      const inner = new MemoryHostIommu({ strictness: 'type1', maxMappings: 4 });
      const host = new DelayedHostIommu(inner, { failAt: 7, fault: 'die' });
      const container = world.container(host);
      await container.attach();
      return { world, container };
    })();

    world.iommu.map(9, 1, HIGH.start);
    await world.space.barrier();

    expect(container.state).toMatchObject({ kind: 'host-lost' });
    expect(world.quarantines.map(({ kind }) => kind)).toEqual(['quarantined']);
    expect(world.events.map(({ kind }) => kind)).toEqual(['quarantined', 'host-lost']);
  });

  test('during an unplug is reported, and the unplug ends', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const host = new DelayedHostIommu(new MemoryHostIommu({ strictness: 'vfio-user' }));
    const container = world.container(host);
    await container.attach();
    host.failAt = host.calls + 1;
    host.fault = 'die';

    await container.detach();

    expect(container.state).toEqual({ kind: 'detached' });
    expect(world.observed('host-lost')).toHaveLength(1);
    expect(world.quarantines).toEqual([]);
    expect(world.traceless).toBe(true);
  });

  test.each(['map', 'unmap'])('is one whose %s throws, which reaches nobody else', async (op) => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    world.iommu.put(2, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner, { answers: 'at-once' });
    const container = world.container(host);
    await container.attach();
    host.failAt = host.calls + 1;
    host.fault = 'throw';

    if (op === 'map') world.iommu.map(3, 1, LOW.start);
    else world.iommu.unmap(2, 1);
    void world.space.barrier();

    expect(container.state).toMatchObject({
      kind: 'host-lost',
      reason: expect.stringContaining('the host threw') as string,
    });
    expect(host.barriers).toBe(2);
  });

  test('by a throw is asked for what it did before', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner, { answers: 'at-once' });
    await world.container(host).attach();
    world.iommu.map(2, 1, LOW.start);
    host.failAt = host.calls + 2;
    host.fault = 'throw';

    world.iommu.unmap(2, 1);
    world.iommu.unmap(1, 1);
    void world.space.barrier();

    expect(host.barriers).toBe(2);
    expect(held(inner)).toEqual(['1+1 -> 0 3']);
  });
});
