/** The extension by which mappings name the file of the last descriptor. */
import { afterEach, describe, expect, it } from 'vitest';
import { DenseRamBlock } from '../../../src/memory/index.ts';
import type { Descriptor } from '../../../src/vfio-user/descriptor.ts';
import { Command, dmaMapRequest, Errno } from '../../../src/vfio-user/wire/index.ts';
import { type ChannelPairOptions, fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import { mapPayload, QEMU_PROPOSAL, type RawClient } from './raw-client.ts';
import { buildWorld, type World } from './world.ts';

const block = new DenseRamBlock(64);
const PROPOSAL = { ...QEMU_PROPOSAL, capabilities: { viommu: { sameFile: true } } };

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

/** A client that has proposed the extension. */
async function agreed(world: World, pair?: ChannelPairOptions): Promise<RawClient> {
  const client = world.connect(pair);
  await client.version(PROPOSAL);
  return client;
}

/** A mapping of the last file; the errno. */
async function mapSame(
  client: RawClient,
  page: number,
  fields: { pages?: number; offset?: number; write?: boolean } = {},
  descriptors: readonly Descriptor[] = [],
): Promise<number> {
  const { pages = 1, offset = 0, write = true } = fields;
  const payload = dmaMapRequest.encode({
    read: true,
    write,
    sameFile: true,
    offset: BigInt(offset) * 4096n,
    address: BigInt(page) * 4096n,
    size: BigInt(pages) * 4096n,
  });
  return (await client.ask(Command.DMA_MAP, payload, descriptors)).errno;
}

/** Mappings as `iova>offset`, in pages; `s` for shared. */
function held({ server }: World): string[] {
  return [...server.memory.mappings()].map(
    ({ iova, offset, shared }) => `${iova / 4096n}>${offset / 4096n}${shared ? ' s' : ''}`,
  );
}

function reasons({ observed }: World): string[] {
  return observed.filter(({ kind }) => kind === 'map-refused').map(({ message }) => message);
}

describe('same_file', () => {
  it('is agreed to when it is proposed', async () => {
    const world = buildWorld();

    expect(await world.connect().version(PROPOSAL)).toMatchObject({ capabilities: PROPOSAL.capabilities });
  });

  it.each([
    ['it is not proposed', {}, {}, QEMU_PROPOSAL],
    ['it is proposed as false', {}, {}, { ...PROPOSAL, capabilities: { viommu: { sameFile: false } } }],
    ['no descriptors pass', { descriptors: false }, {}, PROPOSAL],
    ['the server opens no files', {}, { files: undefined }, PROPOSAL],
  ])('is not agreed to when %s', async (_when, pair, options, proposal) => {
    const client = buildWorld({}, options).connect(pair);

    const reply = await client.version(proposal);
    const errno = await mapSame(client, 1);

    expect(Object.keys((reply as typeof PROPOSAL).capabilities)).not.toContain('viommu');
    expect(errno).toBe(Errno.EINVAL);
  });

  it('maps further pages of a file that came once', async () => {
    const world = buildWorld();
    const client = await agreed(world);
    const ram = world.files.share('ram', block);
    await client.map(1, 1, ram, { offset: 7 });
    ram.release();

    const errnos = [await mapSame(client, 2, { offset: 9 }), await mapSame(client, 3, { offset: 7 })];

    expect(errnos).toEqual([0, 0]);
    expect(held(world)).toEqual(['1>7 s', '2>9 s', '3>7 s']);
    expect([world.files.identified, world.files.opened]).toEqual([1, 1]);
    client.channel.close();
  });

  it('means the last file of several', async () => {
    const world = buildWorld();
    const client = await agreed(world);
    const [one, two] = [world.files.share('one', block), world.files.share('two', new DenseRamBlock(8))];
    await client.map(1, 1, one);
    await client.map(2, 1, two);

    const errnos = [await mapSame(client, 3, { offset: 7 }), await mapSame(client, 4, { offset: 8 })];
    await client.map(5, 1, one);
    errnos.push(await mapSame(client, 6, { offset: 8 }));
    one.release();
    two.release();

    expect(errnos).toEqual([0, Errno.EINVAL, 0]);
    client.channel.close();
  });

  it('stays when a mapping without a descriptor comes between', async () => {
    const world = buildWorld();
    const client = await agreed(world);
    const ram = world.files.share('ram', block);
    await client.map(1, 1, ram);
    ram.release();
    await client.map(2, 1);

    expect(await mapSame(client, 3)).toBe(0);
    expect(held(world)).toEqual(['1>0 s', '2>0', '3>0 s']);
    client.channel.close();
  });

  it('stays when nothing is mapped in it any more', async () => {
    const world = buildWorld();
    const client = await agreed(world);
    const ram = world.files.share('ram', block);
    await client.map(1, 1, ram);
    ram.release();
    await client.unmapAll();
    const openWhileUnmapped = world.files.openFiles;

    expect(await mapSame(client, 2, { offset: 3 })).toBe(0);
    expect(openWhileUnmapped).toBe(0);
    expect(held(world)).toEqual(['2>3 s']);
    client.channel.close();
  });

  it.each([
    ['overlaps another', mapPayload(1, 1)],
    ['is misaligned', dmaMapRequest.encode({ read: true, write: true, offset: 1n, address: 0n, size: 1n })],
    ['cannot be read', new Uint8Array(3)],
  ])('is also the file of a mapping that was refused because it %s', async (_why, payload) => {
    const world = buildWorld();
    const client = await agreed(world);
    await client.map(1, 1);
    const ram = world.files.share('ram', block);
    const { errno } = await client.ask(Command.DMA_MAP, payload, [ram]);
    ram.release();

    expect(await mapSame(client, 2, { offset: 5 })).toBe(0);
    expect(errno).not.toBe(0);
    expect(held(world)).toEqual(['1>0', '2>5 s']);
    client.channel.close();
  });

  it('is refused as the descriptor was', async () => {
    const world = buildWorld();
    const client = await agreed(world);
    const [refused, bell] = [world.files.share('ram', block, { refused: 'EACCES' }), fakeDescriptor(3)];

    const errnos = [await client.map(1, 1, refused), await mapSame(client, 1)];
    errnos.push(await client.map(1, 1, bell), await mapSame(client, 1));
    refused.release();
    bell.release();

    expect(errnos).toEqual([Errno.EACCES, Errno.EACCES, Errno.EINVAL, Errno.EINVAL]);
    client.channel.close();
  });

  it('is held to the length and the access of the file', async () => {
    const world = buildWorld();
    const client = await agreed(world);
    const ram = world.files.share('ram', block, { writable: false });
    await client.map(1, 1, ram, { access: 'r' });
    ram.release();

    const errnos = [
      await mapSame(client, 2, { write: true }),
      await mapSame(client, 2, { write: false, offset: 63 }),
      await mapSame(client, 3, { write: false, offset: 64 }),
    ];
    world.files.truncate('ram', 10);
    errnos.push(await mapSame(client, 3, { write: false, offset: 10 }));

    expect(errnos).toEqual([Errno.EACCES, 0, Errno.EINVAL, Errno.EINVAL]);
    client.channel.close();
  });

  it('is refused before any descriptor came', async () => {
    const world = buildWorld();
    const client = await agreed(world);

    expect(await mapSame(client, 1)).toBe(Errno.EINVAL);
    expect(reasons(world)).toEqual([
      'DMA_MAP at 0x1000 was refused with EINVAL: it names the last file and none came before: send a descriptor',
    ]);
    client.channel.close();
  });

  it('is refused when a descriptor comes with it, which then is the last', async () => {
    const world = buildWorld();
    const client = await agreed(world);
    const ram = world.files.share('ram', block);

    const errnos = [await mapSame(client, 1, {}, [ram]), await mapSame(client, 1)];
    ram.release();

    expect(errnos).toEqual([Errno.EINVAL, 0]);
    client.channel.close();
  });

  it('is nothing after several descriptors came at once', async () => {
    const world = buildWorld();
    const client = await agreed(world);
    const ram = world.files.share('ram', block);
    await client.map(1, 1, ram);
    await client.ask(Command.DMA_MAP, mapPayload(2, 1), [ram, ram]);
    ram.release();

    expect(await mapSame(client, 3)).toBe(Errno.EINVAL);
    client.channel.close();
  });

  it("is not the file of another command's descriptor", async () => {
    const world = buildWorld();
    const client = await agreed(world);
    const ram = world.files.share('ram', block);
    await client.ask(Command.DMA_UNMAP, new Uint8Array(0), [ram]);
    await client.ask(Command.DEVICE_RESET, undefined, [ram]);
    ram.release();

    expect(await mapSame(client, 1)).toBe(Errno.EINVAL);
    client.channel.close();
  });

  it('goes with its client, and the next one has to send its own', async () => {
    const world = buildWorld();
    const first = await agreed(world);
    const ram = world.files.share('ram', block);
    await first.map(1, 1, ram);
    ram.release();
    const heldMeanwhile = openFakeDescriptors();

    first.channel.close();
    const second = await agreed(world);

    expect(heldMeanwhile).toBe(1);
    expect([openFakeDescriptors(), world.files.openFiles]).toEqual([0, 0]);
    expect(await mapSame(second, 1)).toBe(Errno.EINVAL);
    second.channel.close();
  });
});
