import { describe, expect, test } from 'vitest';
import {
  AddressSpace,
  ContainerRegion,
  DenseRamBlock,
  DeviceRegion,
  dmaRead,
  dmaWrite,
  MemoryTopology,
  PAGES_END,
  RamRegion,
} from '../../../src/memory/index.ts';
import { isPossible, type QueueFeatures, spec, SplitQueue } from '../../../src/models/virtio/index.ts';
import { Ring } from './ring.ts';

const SIZE = 8;
const RING = 0x1_0000n;
const TABLE = 0x3_0000n;
const NOWHERE = 0x100_0000n;
const REGISTERS = 0x20_0000n;
const HIGH_RAM = 0xffff_ffff_ffff_f000n;

/** 1 MiB of RAM, a page of it at the end of 64 bits, and registers that must not be touched. */
class QueueWorld {
  readonly memory: AddressSpace;
  readonly ring: Ring;
  readonly queue: SplitQueue;
  touched = 0;

  constructor(features: Partial<QueueFeatures> = {}) {
    const system = new ContainerRegion('system', PAGES_END);
    system.add(new RamRegion('RAM', new DenseRamBlock(0x100)), 0);
    system.add(new RamRegion('high RAM', new DenseRamBlock(1)), PAGES_END - 1);
    const touch = (): boolean => {
      this.touched++;
      return true;
    };
    system.add(new DeviceRegion('registers', 1, { read: touch, write: touch }), 0x200);
    this.memory = new AddressSpace('system', system, new MemoryTopology());
    this.ring = new Ring(this.memory, RING, SIZE);
    this.queue = new SplitQueue(this.memory, this.ring.setup, {
      indirect: true,
      eventIndex: false,
      ...features,
    });
  }

  /** The flaw of the chain whose head is descriptor 0. */
  flaw(): string | undefined {
    this.ring.offer(0);
    return this.queue.take()?.flaw;
  }
}

function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

describe('a buffer', () => {
  test('is read and written across its parts, whatever their arrangement (2.7.4)', () => {
    const { memory, ring, queue } = new QueueWorld();
    dmaWrite(memory, 0x4ffen, new TextEncoder().encode('hello'));
    ring.add([
      { addr: 0x4ffen, len: 3 },
      { addr: 0x9000n, len: 0 },
      { addr: 0x5001n, len: 2 },
      { addr: 0x6fffn, len: 2, write: true },
      { addr: 0x8000n, len: 4, write: true },
    ]);

    const chain = queue.take();
    const isWritten = chain?.write(1, new TextEncoder().encode('abcd'));
    const tail = new Uint8Array(3);
    dmaRead(memory, 0x8000n, tail);

    expect(text(chain?.read(64))).toBe('hello');
    expect(text(chain?.read(4))).toBe('hell');
    expect(chain?.writableBytes).toBe(6);
    expect(isWritten).toBe(true);
    expect(text(tail)).toBe('bcd');
  });

  test('is written within its device-writable part only', () => {
    const { ring, queue } = new QueueWorld();
    ring.add([{ addr: 0x4000n, len: 4, write: true }]);

    const chain = queue.take();

    expect([chain?.canWrite(0, 4), chain?.canWrite(0, 5), chain?.canWrite(4, 1)]).toEqual([
      true,
      false,
      false,
    ]);
    expect(chain?.write(1, new Uint8Array(4))).toBe(false);
  });

  test('is given back with the length that was written', () => {
    const { ring, queue } = new QueueWorld();
    ring.add([{ addr: 0x4000n, len: 4 }]);
    ring.add([{ addr: 0x4000n, len: 4, write: true }]);

    const chains = [queue.take(), queue.take()];
    queue.put(chains[1]!, 4);
    queue.put(chains[0]!, 0);

    expect(ring.used()).toEqual([
      { id: 1, len: 4 },
      { id: 0, len: 0 },
    ]);
  });

  test('goes round the ring and the 16-bit index any number of times', () => {
    const { ring, queue } = new QueueWorld();
    let wrong = 0;

    for (let i = 0; i < 70_000; i++) {
      const head = ring.add([{ addr: 0x4000n, len: 4 }]);
      const chain = queue.take();
      if (chain?.head !== head) wrong++;
      else queue.put(chain, i);
      if (ring.used()[0]?.len !== i) wrong++;
    }

    expect(wrong).toBe(0);
    expect(queue.broken).toBeUndefined();
  });

  test('in RAM at the end of 64 bits is reached, and ends there', () => {
    const { ring, queue } = new QueueWorld();
    ring.add([{ addr: HIGH_RAM + 0xffcn, len: 4, write: true }]);
    ring.add([{ addr: HIGH_RAM + 0xffdn, len: 4, write: true }]);

    const [inside, over] = [queue.take(), queue.take()];

    expect([inside?.canWrite(0, 4), over?.canWrite(0, 4)]).toEqual([true, false]);
  });

  test.each([NOWHERE, REGISTERS, 0xfffffn])('that does not lie in RAM (at %i) is not touched', (addr) => {
    const world = new QueueWorld();
    world.ring.add([
      { addr, len: 4 },
      { addr, len: 4, write: true },
    ]);

    const chain = world.queue.take();

    expect(chain?.read(4)).toBeUndefined();
    expect(chain?.canWrite(0, 4)).toBe(false);
    expect(chain?.write(0, new Uint8Array(4))).toBe(false);
    expect(world.touched).toBe(0);
  });
});

describe('an indirect table (2.7.5.3)', () => {
  test('holds a buffer, behind zero or more descriptors of the queue', () => {
    const { memory, ring, queue } = new QueueWorld();
    dmaWrite(memory, 0x4000n, new TextEncoder().encode('abcdef'));
    ring.describe(0, { addr: 0x4000n, len: 2, flags: spec.DESC_F_NEXT, next: 1 });
    // "The device MUST ignore the write-only flag in the descriptor that refers to an indirect table."
    ring.describe(1, { addr: TABLE, len: 48, flags: spec.DESC_F_INDIRECT | spec.DESC_F_WRITE });
    ring.describe(0, { addr: 0x4002n, len: 2, flags: spec.DESC_F_NEXT, next: 2 }, TABLE);
    ring.describe(2, { addr: 0x5000n, len: 8, flags: spec.DESC_F_WRITE }, TABLE);
    ring.offer(0);

    const chain = queue.take();

    expect(chain?.flaw).toBeUndefined();
    expect(text(chain?.read(64))).toBe('abcd');
    expect(chain?.writableBytes).toBe(8);
  });

  test.each([
    ['within an indirect table', { addr: TABLE, len: 16, flags: spec.DESC_F_INDIRECT }, 'refers to another'],
    ['that goes on', { addr: 0x4000n, len: 1, flags: spec.DESC_F_NEXT, next: 1 }, 'beyond its table of 1'],
  ])('%s is a flaw', (_what, descriptor, flaw) => {
    const world = new QueueWorld();
    world.ring.describe(0, { addr: TABLE, len: 16, flags: spec.DESC_F_INDIRECT });
    world.ring.describe(0, descriptor, TABLE);

    expect(world.flaw()).toContain(flaw);
  });

  test.each([
    ['of no bytes', { addr: TABLE, len: 0, flags: spec.DESC_F_INDIRECT }, 'whole descriptors'],
    ['of 17 bytes', { addr: TABLE, len: 17, flags: spec.DESC_F_INDIRECT }, 'whole descriptors'],
    ['outside RAM', { addr: NOWHERE, len: 16, flags: spec.DESC_F_INDIRECT }, 'not lie in RAM'],
    ['in registers', { addr: REGISTERS, len: 16, flags: spec.DESC_F_INDIRECT }, 'not lie in RAM'],
    ['with NEXT', { addr: TABLE, len: 16, flags: spec.DESC_F_INDIRECT | spec.DESC_F_NEXT }, 'not the last'],
  ])('%s is a flaw', (_what, descriptor, flaw) => {
    const world = new QueueWorld();
    world.ring.describe(0, descriptor);

    expect(world.flaw()).toContain(flaw);
    expect(world.touched).toBe(0);
  });

  test('is a flaw when it was not negotiated', () => {
    const world = new QueueWorld({ indirect: false });
    world.ring.describe(0, { addr: TABLE, len: 16, flags: spec.DESC_F_INDIRECT });

    expect(world.flaw()).toContain('not negotiated');
  });

  test('that loops is a flaw', () => {
    const world = new QueueWorld();
    world.ring.describe(0, { addr: TABLE, len: 0xffff_fff0, flags: spec.DESC_F_INDIRECT });
    world.ring.describe(0, { addr: 0x4000n, len: 1, flags: spec.DESC_F_NEXT, next: 0 }, TABLE);

    expect(world.flaw()).toContain('longer than the queue');
  });
});

describe('a chain', () => {
  test('that loops is a flaw', () => {
    const world = new QueueWorld();
    world.ring.describe(0, { addr: 0x4000n, len: 1, flags: spec.DESC_F_NEXT, next: 1 });
    world.ring.describe(1, { addr: 0x4000n, len: 1, flags: spec.DESC_F_NEXT, next: 0 });

    expect(world.flaw()).toBe('the chain is longer than the queue, which has 8 descriptors');
  });

  test('that leads out of its table is a flaw', () => {
    const world = new QueueWorld();
    world.ring.describe(0, { addr: 0x4000n, len: 1, flags: spec.DESC_F_NEXT, next: SIZE });

    expect(world.flaw()).toBe('descriptor 8 lies beyond its table of 8');
  });

  test('with a readable part behind a writable one is a flaw (2.7.4.2)', () => {
    const world = new QueueWorld();
    world.ring.describe(0, { addr: 0x4000n, len: 1, flags: spec.DESC_F_NEXT | spec.DESC_F_WRITE, next: 1 });
    world.ring.describe(1, { addr: 0x4000n, len: 1 });

    expect(world.flaw()).toBe('a device-readable part follows a device-writable one');
  });

  test('of more than 2^32 bytes is a flaw (2.7.5.2)', () => {
    const world = new QueueWorld();
    world.ring.describe(0, { addr: 0n, len: 0xffff_ffff, flags: spec.DESC_F_NEXT, next: 1 });
    world.ring.describe(1, { addr: 0n, len: 2 });

    expect(world.flaw()).toBe('the chain has more than 2^32 bytes');
  });

  test('with a flaw has no parts, and can be given back', () => {
    const { ring, queue } = new QueueWorld();
    ring.describe(0, { addr: 0x4000n, len: 1, flags: spec.DESC_F_NEXT | spec.DESC_F_WRITE, next: 0 });
    ring.offer(0);

    const chain = queue.take();
    queue.put(chain!, 0);

    expect([chain?.writableBytes, chain?.read(8)?.length, chain?.canWrite(0, 1)]).toEqual([0, 0, false]);
    expect(ring.used()).toEqual([{ id: 0, len: 0 }]);
    expect(queue.broken).toBeUndefined();
  });
});

describe('a queue is broken by', () => {
  test.each([SIZE + 1, 0x8000, 0xffff])('an available index that jumps by %i', (index) => {
    const { ring, queue } = new QueueWorld();
    ring.setAvailable(index);

    expect(queue.take()).toBeUndefined();
    expect(queue.broken).toBe(`${index} buffers are available in a queue of 8`);
  });

  test('an available index that goes back', () => {
    const { ring, queue } = new QueueWorld();
    ring.add([{ addr: 0x4000n, len: 1 }]);
    queue.take();
    ring.setAvailable(0);

    expect(queue.take()).toBeUndefined();
    expect(queue.broken).toContain('65535 buffers');
  });

  test('a head that is no descriptor', () => {
    const { ring, queue } = new QueueWorld();
    ring.offer(SIZE);

    expect(queue.take()).toBeUndefined();
    expect(queue.broken).toBe('descriptor 8 is available in a queue of 8');
  });

  test('rings that do not lie in RAM', () => {
    const { memory, ring } = new QueueWorld();
    const features = { indirect: true, eventIndex: false };
    const noAvail = new SplitQueue(memory, { ...ring.setup, driver: NOWHERE }, features);
    const noUsed = new SplitQueue(memory, { ...ring.setup, device: NOWHERE }, features);
    ring.add([{ addr: 0x4000n, len: 1 }]);

    const nothing = noAvail.take();
    const chain = noUsed.take();
    noUsed.put(chain!, 0);

    expect(nothing).toBeUndefined();
    expect([noAvail.broken, noUsed.broken]).toEqual([
      'the available ring does not lie in RAM',
      'the used ring does not lie in RAM',
    ]);
  });

  test('something, and then hands out and takes nothing more', () => {
    const { ring, queue } = new QueueWorld();
    ring.add([{ addr: 0x4000n, len: 1 }]);
    const chain = queue.take();
    ring.setAvailable(0x4000);
    queue.take();
    ring.setAvailable(2);

    queue.put(chain!, 1);

    expect(queue.take()).toBeUndefined();
    expect(ring.used()).toEqual([]);
    expect(queue.wantsNotification()).toBe(false);
  });
});

/** Makes `count` buffers available and uses them; whether the driver wants to hear of that. */
function use(world: QueueWorld, count: number): boolean {
  for (let i = 0; i < count; i++) world.ring.add([{ addr: 0x4000n, len: 1 }]);
  for (let chain = world.queue.take(); chain !== undefined; chain = world.queue.take())
    world.queue.put(chain, 0);
  return world.queue.wantsNotification();
}

describe('notifications', () => {
  test('without EVENT_IDX follow the flag of the available ring (2.7.7.2)', () => {
    const world = new QueueWorld();

    const idle = world.queue.wantsNotification();
    const first = use(world, 1);
    world.ring.setFlags(spec.AVAIL_F_NO_INTERRUPT);
    const second = use(world, 1);

    expect([idle, first, second]).toEqual([false, true, false]);
  });

  test('with EVENT_IDX come when used_event is reached (2.7.7.2)', () => {
    const world = new QueueWorld({ eventIndex: true });
    world.ring.setUsedEvent(2);
    world.ring.setFlags(spec.AVAIL_F_NO_INTERRUPT);

    const wanted = [use(world, 1), use(world, 1), use(world, 1), use(world, 1)];

    expect(wanted).toEqual([false, false, true, false]);
  });

  test('with EVENT_IDX come once for a stretch in which used_event was reached', () => {
    const world = new QueueWorld({ eventIndex: true });
    world.ring.setUsedEvent(2);

    expect(use(world, 5)).toBe(true);
  });

  test('of available buffers are asked for by avail_event (2.7.10.2)', () => {
    const world = new QueueWorld({ eventIndex: true });
    use(world, 3);

    world.queue.expectMore();

    expect(world.ring.availEvent).toBe(3);
  });
});

describe('a queue can be set up', () => {
  const setup = { size: 8, descriptors: 0x1000n, driver: 0x2000n, device: 0x3000n };

  test.each([
    [{}, true],
    [{ size: 256 }, true],
    [{ size: 1 }, true],
    [{ size: 0 }, false],
    [{ size: 6 }, false],
    [{ size: 512 }, false],
    [{ size: 0.5 }, false],
    [{ descriptors: 0x1008n }, false],
    [{ driver: 0x2001n }, false],
    [{ driver: 0x2002n }, true],
    [{ device: 0x3002n }, false],
    [{ device: 2n ** 64n }, false],
    [{ device: -4n }, false],
  ])('with %o: %s', (change, possible) => {
    expect(isPossible({ ...setup, ...change }, 256)).toBe(possible);
  });
});
