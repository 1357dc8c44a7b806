import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Mapping } from '../../src/iommu/index.ts';
import { DenseRamBlock, RamRegion } from '../../src/memory/index.ts';
import {
  type HostIommu,
  type HostIommuLimits,
  MemoryHostIommu,
  type MemoryHostOptions,
  type RamSlice,
  type VfioContainer,
} from '../../src/vfio/index.ts';
import { HIGH, held, LOW, refusalOf, World } from './world.ts';

type Operation = (host: MemoryHostIommu) => void;

/** A host that can be lost at any moment and opened anew. What is queued reaches it when a barrier is answered. */
class LosableHost implements HostIommu {
  readonly name = 'remote';
  /** What the host is, and was before it was lost. */
  readonly hosts: MemoryHostIommu[] = [];
  /** Openings that fail, from the next on. */
  failures = 0;
  /** Openings asked for. */
  openings = 0;
  /** Operations that were queued while the host was lost. */
  dropped = 0;
  /** What the next host is like. */
  next: Omit<MemoryHostOptions, 'strictness'> = {};
  /** When set, openings and barriers wait for `answer()`. */
  manual = false;
  /** Losses that follow each opening, after so many operations. */
  loseAfter: number[] = [];
  /** Whether an opened host is lost before it is asked for anything. */
  loseAtOnce = false;
  #queue: Operation[] = [];
  #lost: Error | undefined;
  #listener: (() => void) | undefined;
  #waiting: (() => void)[] = [];
  #left = Number.POSITIVE_INFINITY;

  constructor(options: Omit<MemoryHostOptions, 'strictness'> = {}) {
    this.hosts.push(new MemoryHostIommu({ strictness: 'vfio-user', ...options }));
  }

  get now(): MemoryHostIommu {
    return this.hosts.at(-1) as MemoryHostIommu;
  }

  get limits(): HostIommuLimits {
    return this.now.limits;
  }

  map(mapping: Mapping, ram: RamSlice): void {
    this.#add((host) => host.map(mapping, ram));
  }

  unmap(iova: number, pages: number): void {
    this.#add((host) => host.unmap(iova, pages));
  }

  barrier(): void | Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#queue.length === 0) return undefined;
    const operations = this.#queue;
    this.#queue = [];
    return this.#carryOut(operations);
  }

  whenLost(listener: () => void): void {
    this.#listener = listener;
  }

  async reopen(): Promise<void> {
    this.openings++;
    await this.#told();
    if (this.failures > 0) {
      this.failures--;
      throw new Error('nobody listens');
    }
    this.hosts.push(new MemoryHostIommu({ strictness: 'vfio-user', ...this.next }));
    this.#queue = [];
    this.#lost = undefined;
    this.#left = this.loseAfter.shift() ?? Number.POSITIVE_INFINITY;
    if (this.loseAtOnce) this.lose(false);
  }

  /** The host vanishes, noticed at once or when it is asked next. */
  lose(noticed: boolean): void {
    this.#lost ??= new Error('the connection broke');
    this.#queue = [];
    if (noticed) this.#listener?.();
  }

  /** Lets the oldest opening or barrier that waits go on. */
  answer(): void {
    const next = this.#waiting.shift();
    if (next === undefined) throw new Error('nothing waits for an answer');
    next();
  }

  #add(operation: Operation): void {
    if (--this.#left < 0) this.lose(false);
    if (this.#lost !== undefined) this.dropped++;
    else this.#queue.push(operation);
  }

  async #carryOut(operations: readonly Operation[]): Promise<void> {
    await this.#told();
    if (this.#lost !== undefined) throw this.#lost;
    for (const operation of operations) operation(this.now);
    this.now.barrier();
  }

  #told(): Promise<void> {
    if (this.manual) return new Promise((resolve) => this.#waiting.push(resolve));
    return new Promise((resolve) => setImmediate(resolve));
  }
}

interface Attached {
  readonly world: World;
  readonly host: LosableHost;
  readonly container: VfioContainer;
}

/** A device with `count` mappings in its host, from IOVA page 0 on. */
async function attached(
  count: number,
  options: Omit<MemoryHostOptions, 'strictness'> = {},
): Promise<Attached> {
  const world = new World();
  for (let i = 0; i < count; i++) world.iommu.put(i, 1, HIGH.start + i);
  const host = new LosableHost(options);
  const container = world.container(host);
  await container.attach();
  return { world, host, container };
}

/** What the container believes its host to hold is what it holds, and what the tables say. */
function expectMirrored({ world, host }: Attached): void {
  expect(held(host.now)).toEqual(
    world.iommu.leaves.map(
      ({ iova, pages, target, access }) =>
        `${iova.toString(16)}+${pages.toString(16)} -> ${target.toString(16)} ${access}`,
    ),
  );
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a lost host that can be opened anew', () => {
  test('gets everything again, once, when the device is released', async () => {
    const all = await attached(5);
    all.host.lose(false);
    all.world.iommu.map(9, 1, LOW.start);
    await all.world.space.barrier();
    const lost = all.container.state;

    await all.container.release();

    expect(lost).toMatchObject({ kind: 'host-lost', cause: 'host-lost' });
    expect(all.container.state).toEqual({ kind: 'attached' });
    expectMirrored(all);
    expect(all.host.hosts).toHaveLength(2);
    expect(all.host.now.messages).toMatchObject({ map: 6, unmap: 0 });
    expect(all.world.events.map(({ kind }) => kind)).toEqual(['host-lost', 'released']);
  });

  test('is followed again afterwards', async () => {
    const all = await attached(5);
    all.host.lose(true);
    await all.container.release();

    all.world.iommu.unmap(2, 1);
    all.world.iommu.map(20, 4, HIGH.start + 20);
    await all.world.space.barrier();

    expectMirrored(all);
    expect(all.host.now.messages).toMatchObject({ map: 6, unmap: 1 });
  });

  test('is noticed without a change of the guest, and the guest is told', async () => {
    const { world, host, container } = await attached(2);

    host.lose(true);

    expect(container.state).toMatchObject({
      kind: 'host-lost',
      reason: 'host remote is lost (the connection broke)',
      remedy: 'see to it that the host can be reached, and release the device or plug it again',
    });
    expect(world.quarantines).toHaveLength(1);
    expect([...container.mappings()]).toEqual([]);
  });

  test('is noticed by a device without mappings, and found again', async () => {
    const all = await attached(0);
    all.host.lose(true);
    const lost = all.container.state.kind;

    await all.container.release();
    all.world.iommu.map(1, 1, LOW.start);
    await all.world.space.barrier();

    expect(lost).toBe('host-lost');
    expectMirrored(all);
  });

  test('that stays away leaves the device quarantined for that reason', async () => {
    const { world, host, container } = await attached(2);
    host.lose(true);
    host.failures = 1;

    const { refusal, message } = await refusalOf(container.release());

    expect(refusal).toMatchObject({ cause: 'host-lost', error: new Error('nobody listens') });
    expect(message).toBe(
      'nic cannot be given its mappings on host remote: host remote is lost and could not be opened anew (nobody ' +
        'listens): see to it that the host can be reached, and release the device or plug it again',
    );
    expect(container.state).toEqual({ ...refusal, kind: 'host-lost' });
    expect(world.quarantines).toHaveLength(1);
  });

  test('that stays away can be tried again', async () => {
    const all = await attached(3);
    all.host.lose(true);
    all.host.failures = 2;
    await refusalOf(all.container.release());
    await refusalOf(all.container.release());

    await all.container.release();

    expect(all.host.openings).toBe(3);
    expectMirrored(all);
  });

  test('lost during the replay is as lost as before, and is opened once more', async () => {
    const all = await attached(6);
    all.host.lose(true);
    all.host.loseAfter = [3];
    const { refusal } = await refusalOf(all.container.release());
    const between = all.container.state.kind;
    const left = [...all.container.mappings()];

    await all.container.release();

    expect(refusal.reason).toBe('host remote is lost (the connection broke)');
    expect(between).toBe('host-lost');
    expect(left).toEqual([]);
    expect(all.host.hosts.map(({ messages }) => messages.map)).toEqual([6, 0, 6]);
    expectMirrored(all);
  });

  test('lost again before anything was mapped is not taken for attached', async () => {
    const { host, container } = await attached(0);
    host.lose(true);
    host.loseAtOnce = true;

    await refusalOf(container.release());

    expect(container.state.kind).toBe('host-lost');
  });

  test('may be another: what it can hold counts from then on', async () => {
    const all = await attached(4);
    all.host.lose(true);
    all.host.next = { maxMappings: 3 };
    const { refusal } = await refusalOf(all.container.release());
    const state = all.container.state;
    all.world.iommu.unmap(0, 1);
    await all.container.release();

    expect(refusal).toMatchObject({ cause: 'too-many-mappings' });
    expect(state).toMatchObject({ kind: 'quarantined', cause: 'too-many-mappings' });
    expect(all.host.openings).toBe(1);
    expectMirrored(all);
  });

  test('may have larger pages: leaves that form one are joined as at a plug', async () => {
    const world = new World();
    for (let i = 0; i < 16; i++) world.iommu.put(0x20 + i, 1, HIGH.start + i);
    const host = new LosableHost();
    const container = world.container(host);
    await container.attach();
    host.lose(true);
    host.next = { pageSizes: 0x1_0000n };

    await container.release();

    expect(held(host.now)).toEqual([`20+10 -> ${HIGH.start.toString(16)} 3`]);
  });

  test('that was lost while the plug was under way is opened anew by the next plug', async () => {
    const world = new World();
    for (let i = 0; i < 4; i++) world.iommu.put(i, 1, HIGH.start + i);
    const host = new LosableHost();
    const container = world.container(host);
    const plug = container.attach();
    host.lose(false);
    await refusalOf(plug);

    const report = await container.attach();

    expect(report.replayed).toBe(4);
    expectMirrored({ world, host, container });
  });

  test('that was lost before its container was made is opened anew by the plug', async () => {
    const { world, host, container: first } = await attached(4);
    host.lose(true);
    await first.detach();
    const container = world.container(host);

    const report = await container.attach();

    expect(report.replayed).toBe(4);
    expect(host.openings).toBe(1);
    expectMirrored({ world, host, container });
  });

  test('that is lost while no device is plugged cuts nobody off', async () => {
    const all = await attached(2);
    await all.container.detach();
    all.host.lose(true);

    await all.container.attach();

    expect(all.world.events).toEqual([]);
    expect(all.world.quarantines).toEqual([]);
    expectMirrored(all);
  });

  test('that stays away refuses the next plug, and leaves no trace', async () => {
    const { world, host, container } = await attached(2);
    host.lose(true);
    await container.detach();
    host.failures = 1;

    const { refusal } = await refusalOf(container.attach());

    expect(refusal.reason).toContain('could not be opened anew (nobody listens)');
    expect(container.state).toEqual({ kind: 'detached' });
    expect(world.traceless).toBe(true);
  });
});

describe('while a lost host is opened anew', () => {
  test('the guest goes on, and what it changed is in the replay', async () => {
    const all = await attached(4);
    all.host.lose(true);
    all.host.manual = true;
    const release = all.container.release();
    all.world.iommu.map(30, 2, HIGH.start);
    all.world.iommu.unmap(1, 1);
    all.world.memory.add(new RamRegion('DIMM', new DenseRamBlock(0x10)), 0x1000);
    const answer = all.world.space.barrier();
    all.host.manual = false;

    all.host.answer();
    await release;

    expect(answer).toBeUndefined();
    expect(all.host.dropped).toBe(4);
    expectMirrored(all);
  });

  test('an unplug waits for it and takes everything back', async () => {
    const { world, host, container } = await attached(4);
    host.lose(true);
    host.manual = true;
    const release = container.release();
    const unplug = container.detach();
    host.manual = false;
    host.answer();

    await Promise.all([release, unplug]);

    expect(container.state).toEqual({ kind: 'detached' });
    expect(host.now.size).toBe(0);
    expect(host.now.messages).toMatchObject({ map: 4, unmap: 4 });
    expect(world.traceless).toBe(true);
  });

  test('a second release finds the device attached', async () => {
    const { host, container } = await attached(4);
    host.lose(true);

    await Promise.all([container.release(), container.release()]);

    expect(host.openings).toBe(1);
    expect(host.now.messages.map).toBe(4);
  });
});

test('a loss that is noticed while a barrier is under way is dealt with at its end', async () => {
  const all = await attached(2);
  all.host.manual = true;
  all.world.iommu.map(7, 1, LOW.start);
  const barrier = all.world.space.barrier();
  all.host.lose(true);
  const before = all.container.state.kind;
  all.host.manual = false;
  all.host.answer();
  await barrier;
  const after = all.container.state.kind;

  await all.container.release();

  expect([before, after]).toEqual(['attached', 'host-lost']);
  expect(all.world.quarantines).toHaveLength(1);
  expectMirrored(all);
});

test('whatever is lost and released when, an attached device is mirrored after a barrier', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('map' as const), page: fc.nat(15) }),
    fc.record({ do: fc.constant('unmap' as const), page: fc.nat(15) }),
    fc.record({
      do: fc.constantFrom('lose' as const, 'notice' as const, 'release' as const),
      page: fc.nat(9),
    }),
    fc.record({ do: fc.constantFrom('barrier' as const, 'fail' as const, 'turn' as const), page: fc.nat(3) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const all = await attached(3);
      const releases: Promise<unknown>[] = [];
      for (const { do: what, page } of steps) {
        if (what === 'map') all.world.iommu.map(page, 1, HIGH.start + 32 + page);
        else if (what === 'unmap') all.world.iommu.unmap(page, 1);
        else if (what === 'barrier') await all.world.space.barrier();
        else if (what === 'turn') await turn();
        else if (what === 'fail') all.host.failures = page;
        else if (what === 'release') {
          all.host.loseAfter = [page];
          releases.push(all.container.release().catch(() => {}));
        } else all.host.lose(what === 'notice');
      }
      await Promise.all(releases);
      all.host.failures = 0;
      all.host.loseAfter = [];
      all.world.iommu.map(40, 1, LOW.start);
      await all.world.space.barrier();

      await all.container.release();

      expect(all.container.state).toEqual({ kind: 'attached' });
      expectMirrored(all);
    }),
    { numRuns: 200 },
  );
});
