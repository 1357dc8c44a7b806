/** The client against our own server, over a channel in memory. @module */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { probeDevice } from '../../../src/devices/index.ts';
import { Access, DenseRamBlock, PageCursor, type RamBlock } from '../../../src/memory/index.ts';
import { VfioUserClient, type VfioUserClientOptions } from '../../../src/vfio-user/client/index.ts';
import { VfioUserServer, type VfioUserServerOptions } from '../../../src/vfio-user/server/index.ts';
import { HIGH, refusalOf, World } from '../../vfio/world.ts';
import { createChannelPair, FakeFiles, type MemoryChannel, openFakeDescriptors } from '../memory-channel.ts';
import { errorOf, mapping, settle, SharedBlock } from './rig.ts';

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

interface Pair {
  readonly server: VfioUserServer;
  readonly files: FakeFiles;
  readonly client: VfioUserClient;
  /** The client's ends, oldest first. */
  readonly ends: MemoryChannel[];
}

type PairOptions = Partial<VfioUserServerOptions> &
  Omit<VfioUserClientOptions, 'open'> & { readonly split?: number };

/** A client of a server that is as strict as libvfio-user unless told otherwise. */
async function pair(options: PairOptions = {}): Promise<Pair> {
  const { split = 65_536, ...rest } = options;
  const files = new FakeFiles();
  const server = new VfioUserServer({ device: probeDevice(), files, unmap: 'exact', ...rest });
  const ends: MemoryChannel[] = [];
  const client = await VfioUserClient.connect({
    ...rest,
    open: () => {
      const [near, far] = createChannelPair({ split });
      server.accept(far);
      ends.push(near);
      return Promise.resolve(near);
    },
  });
  return { server, files, client, ends };
}

/** What the server holds, as `IOVA+pages -> offset access` in pages, hexadecimal. */
function held(server: VfioUserServer): string[] {
  return [...server.memory.mappings()].map(
    ({ iova, size, offset, access }) =>
      `${(iova >> 12n).toString(16)}+${(size >> 12n).toString(16)} -> ${(offset >> 12n).toString(16)} ${access}`,
  );
}

function bytesAt(block: RamBlock, page: number): Uint8Array {
  const cursor = new PageCursor();
  block.locate(page, cursor, true);
  return cursor.bytes();
}

describe('DMA of the device', () => {
  test('reaches RAM in a file without messages', async () => {
    const { server, files, client, ends } = await pair();
    const memory = new DenseRamBlock(16);
    const descriptor = files.share('ram', memory);
    const block = new SharedBlock(16, descriptor);
    client.map(mapping(0x10, 2), { block, page: 3 });
    await client.barrier();
    bytesAt(memory, 4).set([1, 2, 3]);
    const sent = ends[0]?.sentBytes;

    const data = new Uint8Array(3);
    await server.memory.read(0x1_1000n, data);

    expect(data).toEqual(Uint8Array.of(1, 2, 3));
    expect(ends[0]?.sentBytes).toBe(sent);
    await client.close();
    descriptor.release();
  });

  test('reaches other RAM through the client, both ways', async () => {
    const { server, client } = await pair();
    const block = new DenseRamBlock(16);
    client.map(mapping(0x10, 2), { block, page: 3 });
    await client.barrier();
    bytesAt(block, 3).fill(5);

    const data = new Uint8Array(6);
    await server.memory.read(0x1_0ffdn, data);
    await server.memory.write(0x1_0fffn, Uint8Array.of(8, 9));

    expect(data).toEqual(Uint8Array.of(5, 5, 5, 0, 0, 0));
    expect([bytesAt(block, 3)[4095], bytesAt(block, 4)[0]]).toEqual([8, 9]);
  });

  test('fails where nothing is mapped or it is not allowed', async () => {
    const { server, client } = await pair();
    client.map(mapping(0x10, 1, Access.Read), { block: new DenseRamBlock(16), page: 3 });
    await client.barrier();

    const errors = [
      await errorOf(() => server.memory.read(0x1_1000n, new Uint8Array(1))),
      await errorOf(() => server.memory.write(0x1_0000n, new Uint8Array(1))),
    ];

    expect(errors.map(({ name }) => name)).toEqual(['DmaError', 'DmaError']);
  });
});

describe('a device', () => {
  test('is what the server describes', async () => {
    const { client } = await pair();

    expect(client.info).toMatchObject({ reset: true, pci: true, regions: 9, irqs: 5 });
    expect(await client.regionInfo(7)).toMatchObject({ index: 7, read: true, write: true, descriptors: [] });
    expect((await client.readRegion(7, 0n, 4)).toString()).toBe('244,26,240,16');
    expect(await client.irqInfo(1)).toMatchObject({ index: 1, count: 1, eventfd: true });
    await client.writeRegion(0, 0n, new Uint8Array(8));
    await client.reset();
  });
});

describe('a connection', () => {
  test('can be opened anew with the same server, which has forgotten everything', async () => {
    const { server, client } = await pair();
    client.map(mapping(0x10), { block: new DenseRamBlock(16), page: 3 });
    await client.barrier();

    await client.reopen();

    expect(held(server)).toEqual([]);
    expect(client.barrier()).toBeUndefined();
  });

  test('that breaks is opened anew by a release, with a full replay', async () => {
    const { server, client, ends } = await pair();
    const world = new World();
    for (let i = 0; i < 300; i++) world.iommu.put(i, 1, HIGH.start + i);
    const container = world.container(client);
    await container.attach();
    const before = held(server);
    ends[0]?.fail(new Error('broken'));
    await settle();
    const lost = container.state.kind;
    const between = held(server);

    await container.release();

    expect(lost).toBe('host-lost');
    expect(between).toEqual([]);
    expect(before).toHaveLength(300);
    expect(held(server)).toEqual(before);
  });

  test('of a second client is refused while the first is there, with the reason', async () => {
    const { server } = await pair();
    const [near, far] = createChannelPair();
    server.accept(far);

    const error = await errorOf(() => VfioUserClient.connect({ open: () => Promise.resolve(near) }));

    expect(error).toMatchObject({ code: 'VIOMMU_SERVER_REFUSED', command: 'VERSION', errno: 'EBUSY' });
  });
});

test('a plug of more than the server takes leaves nothing there', async () => {
  const { server, client } = await pair({ limits: { maxMappings: 100 } });
  const world = new World();
  for (let i = 0; i < 101; i++) world.iommu.put(i, 1, HIGH.start + i);

  await refusalOf(world.container(client).attach());

  expect(held(server)).toEqual([]);
});

test('whatever a guest does, the server has exactly its mappings after each barrier', async () => {
  const page = fc.nat(60);
  const pages = fc.integer({ min: 1, max: 6 });
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constantFrom('map' as const, 'put' as const), page, pages }) },
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constantFrom('unmap' as const, 'drop' as const), page, pages }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('barrier' as const), page, pages }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constantFrom('all' as const, 'off and on' as const), page, pages }),
    },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 50 }),
      fc.integer({ min: 1, max: 200 }),
      async (steps, split) => {
        const { server, client } = await pair({ split });
        const world = new World();
        for (let i = 0; i < 4; i++) world.iommu.put(i * 8, 2, HIGH.start + i);
        const container = world.container(client);
        await container.attach();
        const seen: [string[], string[]][] = [];
        for (const { do: what, page, pages } of [...steps, { do: 'all' as const, page: 0, pages: 1 }]) {
          if (what === 'map') world.iommu.map(page, pages, HIGH.start + page, Access.ReadWrite);
          else if (what === 'put') world.iommu.put(page, pages, HIGH.start + page + 64, Access.Read);
          else if (what === 'unmap') world.iommu.unmap(page, pages);
          else if (what === 'drop') world.iommu.drop(page, pages);
          else if (what === 'off and on') {
            world.translate(false);
            world.translate(true);
          } else if (what === 'all') {
            world.iommu.invalidate({ start: 0, end: 128 });
            await world.space.barrier();
            const expected = world.iommu.leaves.map(
              ({ iova, pages: count, target, access }) =>
                `${iova.toString(16)}+${count.toString(16)} -> ${(target - HIGH.start).toString(16)} ${access}`,
            );
            seen.push([held(server), expected]);
          } else await world.space.barrier();
        }

        for (const [found, expected] of seen) expect(found).toEqual(expected);
        expect(container.state.kind).toBe('attached');
      },
    ),
    { numRuns: 150 },
  );
});
