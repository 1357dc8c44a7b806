import { afterEach, describe, expect, it } from 'vitest';
import { DenseRamBlock } from '../../../src/memory/index.ts';
import {
  Command,
  dmaMapRequest,
  dmaUnmapReply,
  dmaUnmapRequest,
  Errno,
} from '../../../src/vfio-user/wire/index.ts';
import { fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import { mapPayload } from './raw-client.ts';
import { buildWorld, type World } from './world.ts';

const block = new DenseRamBlock(64);

/** Mappings as `iova+pages>offset access`, in pages; `s` for shared. */
function held({ server }: World): string[] {
  return [...server.memory.mappings()].map(
    ({ iova, size, offset, access, shared }) =>
      `${iova / 4096n}+${size / 4096n}>${offset / 4096n} ${['none', 'r', 'w', 'rw'][access]}${shared ? ' s' : ''}`,
  );
}

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

describe('DMA_MAP', () => {
  it('enters a mapping without a descriptor, to be reached by message', async () => {
    const world = buildWorld();
    const client = await world.client();

    expect(await client.map(16, 4, undefined, { access: 'r' })).toBe(0);

    expect(held(world)).toEqual(['16+4>0 r']);
    expect(world.log).toEqual(['connected', 'map 0x10000+0x4000 @0x0 r x1 ok']);
    client.channel.close();
  });

  it('enters a mapping of a shared file and keeps the file, not the descriptor', async () => {
    const world = buildWorld();
    const client = await world.client();
    const ram = world.files.share('ram', block);

    expect(await client.map(16, 4, ram, { offset: 60 })).toBe(0);
    ram.release();

    expect(held(world)).toEqual(['16+4>60 rw s']);
    expect(openFakeDescriptors()).toBe(0);
    expect(world.files.openFiles).toBe(1);
  });

  it('opens a file once and identifies it once for each mapping', async () => {
    const world = buildWorld();
    const client = await world.client();
    const ram = world.files.share('ram', block);

    for (let page = 0; page < 10; page++) await client.map(page, 1, ram, { offset: page });
    ram.release();

    expect(world.files.opened).toBe(1);
    expect(world.files.identified).toBe(10);
  });

  it('lets go of a file with its last mapping', async () => {
    const world = buildWorld();
    const client = await world.client();
    const ram = world.files.share('ram', block);
    await client.map(0, 1, ram);
    await client.map(1, 1, ram);
    ram.release();

    await client.unmap(0, 1);
    expect(world.files.openFiles).toBe(1);
    await client.unmap(1, 1);

    expect(world.files.openFiles).toBe(0);
  });

  it('opens a file that has grown anew, beside the mappings of what it was', async () => {
    const world = buildWorld();
    const client = await world.client();
    const before = world.files.share('ram', block);
    const after = world.files.share('ram', new DenseRamBlock(128));
    await client.map(0, 64, before);

    expect(await client.map(64, 64, after, { offset: 64 })).toBe(0);
    expect(await client.map(128, 1, before, { offset: 3 })).toBe(0);
    before.release();
    after.release();

    expect(held(world)).toEqual(['0+64>0 rw s', '64+64>64 rw s', '128+1>3 rw s']);
    expect(world.files.opened).toBe(2);
    await client.unmapAll();
    expect(world.files.openFiles).toBe(0);
  });

  it('opens a file anew that only now comes writable', async () => {
    const world = buildWorld();
    const client = await world.client();
    const readable = world.files.share('ram', block, { writable: false });
    const writable = world.files.share('ram', block);
    await client.map(0, 1, readable, { access: 'r' });

    expect(await client.map(1, 1, writable)).toBe(0);
    readable.release();
    writable.release();

    expect(world.files.opened).toBe(2);
  });

  it.each([
    ['address', { address: 1n, size: 4096n, offset: 0n }],
    ['size', { address: 0n, size: 4097n, offset: 0n }],
    ['offset', { address: 0n, size: 4096n, offset: 2048n }],
  ])('refuses a mapping whose %s is not whole pages', async (_what, fields) => {
    const world = buildWorld();
    const client = await world.client();

    const { errno } = await client.ask(
      Command.DMA_MAP,
      dmaMapRequest.encode({ read: true, write: true, ...fields }),
    );

    expect(errno).toBe(Errno.EINVAL);
    expect(world.server.memory.size).toBe(0);
  });

  it.each([
    ['no size', 0n, 0n, Errno.EINVAL],
    ['an end beyond 2^64', 2n ** 63n, 2n ** 63n + 4096n, Errno.EINVAL],
    ['a size of 2^63 over another', 0n, 2n ** 63n, Errno.EEXIST],
  ])('refuses %s', async (_what, address, size, expected) => {
    const world = buildWorld();
    const client = await world.client();
    await client.map(2, 1);
    const payload = mapPayload(0, 1);
    const view = new DataView(payload.buffer);
    view.setBigUint64(16, address, true);
    view.setBigUint64(24, size, true);

    const { errno } = await client.ask(Command.DMA_MAP, payload);

    expect(errno).toBe(expected);
    expect(held(world)).toEqual(['2+1>0 rw']);
  });

  it('takes one mapping of all 2^64 bytes but the last page', async () => {
    const world = buildWorld();
    const client = await world.client();

    expect(await client.map(0, 2 ** 52 - 1)).toBe(0);

    expect(world.server.memory.size).toBe(1);
    expect(await client.unmap(0, 2 ** 52 - 1)).toBe(0);
  });

  it('refuses a mapping that allows nothing', async () => {
    const client = await buildWorld().client();

    expect(await client.map(0, 1, undefined, { access: 'none' })).toBe(Errno.EINVAL);
  });

  it.each([
    ['the same', 16, 4],
    ['inside', 17, 1],
    ['around', 15, 6],
    ['over the beginning', 15, 2],
    ['over the end', 19, 2],
  ])('refuses a mapping that overlaps: %s', async (_what, page, pages) => {
    const world = buildWorld();
    const client = await world.client();
    await client.map(16, 4);

    expect(await client.map(page, pages)).toBe(Errno.EEXIST);

    expect(held(world)).toEqual(['16+4>0 rw']);
    expect(world.log.at(-1)).toMatch(/x0 EEXIST$/);
  });

  it('is refused beyond what the device can reach, and taken right below', async () => {
    const world = buildWorld({}, { limits: { reachablePages: 32 } });
    const client = await world.client();

    expect(await client.map(31, 2)).toBe(Errno.ERANGE);
    expect(await client.map(31, 1)).toBe(0);

    expect(held(world)).toEqual(['31+1>0 rw']);
    client.channel.close();
  });

  it('refuses more mappings than it holds, and accepts again after an unmap', async () => {
    const world = buildWorld({}, { limits: { maxMappings: 2 } });
    const client = await world.client();
    await client.map(0, 1);
    await client.map(1, 1);

    expect(await client.map(2, 1)).toBe(Errno.ENOSPC);
    await client.unmap(0, 1);

    expect(await client.map(2, 1)).toBe(0);
  });

  it('refuses a mapping beyond the end of its file and lets the file go', async () => {
    const world = buildWorld();
    const client = await world.client();
    const ram = world.files.share('ram', block);

    expect(await client.map(0, 2, ram, { offset: 63 })).toBe(Errno.EINVAL);
    ram.release();

    expect(world.files.opened).toBe(1);
    expect(world.files.openFiles).toBe(0);
  });

  it('refuses a mapping of a part of the file that has been cut off since', async () => {
    const world = buildWorld();
    const client = await world.client();
    const ram = world.files.share('ram', block);
    await client.map(0, 1, ram);
    world.files.truncate('ram', 32);

    expect(await client.map(1, 1, ram, { offset: 40 })).toBe(Errno.EINVAL);
    ram.release();

    expect(held(world)).toEqual(['0+1>0 rw s']);
  });

  it('answers with the errno with which a file was refused', async () => {
    const world = buildWorld();
    const client = await world.client();
    const pipe = world.files.share('pipe', block, { refused: 'ENODEV' });

    expect(await client.map(0, 1, pipe)).toBe(Errno.ENODEV);
    pipe.release();
  });

  it('refuses what is no file', async () => {
    const client = await buildWorld().client();
    const nothing = fakeDescriptor(3);

    expect(await client.map(0, 1, nothing)).toBe(Errno.EINVAL);
    nothing.release();
  });

  it('refuses writes to a file that is not writable, and takes reads', async () => {
    const world = buildWorld();
    const client = await world.client();
    const rom = world.files.share('rom', block, { writable: false });

    expect(await client.map(0, 1, rom)).toBe(Errno.EACCES);
    expect(world.files.openFiles).toBe(0);
    expect(await client.map(0, 1, rom, { access: 'r' })).toBe(0);
    rom.release();
  });

  it('refuses more distinct files than it may open', async () => {
    const world = buildWorld({}, { limits: { maxFiles: 2 } });
    const client = await world.client();
    const files = ['a', 'b', 'c'].map((key) => world.files.share(key, block));

    const errnos = [];
    for (const [i, file] of files.entries()) errnos.push(await client.map(i, 1, file));
    for (const file of files) file.release();

    expect(errnos).toEqual([0, 0, Errno.EMFILE]);
    expect(world.files.openFiles).toBe(2);
  });

  it('refuses files that together are longer than all addresses', async () => {
    const world = buildWorld();
    const client = await world.client();
    const huge = { pages: 2 ** 51, locate: () => undefined };
    const files = ['a', 'b', 'c'].map((key) => world.files.share(key, huge));

    const errnos = [];
    for (const [i, file] of files.entries()) errnos.push(await client.map(i, 1, file));
    await client.unmap(0, 1);
    errnos.push(await client.map(2, 1, files[2], { offset: 2 ** 51 - 1 }));
    for (const file of files) file.release();

    expect(errnos).toEqual([0, 0, Errno.ENOMEM, 0]);
    expect(held(world)).toEqual(['1+1>0 rw s', `2+1>${2 ** 51 - 1} rw s`]);
  });

  it('refuses two descriptors and releases both', async () => {
    const world = buildWorld();
    const client = await world.client();
    const two = [world.files.share('a', block), world.files.share('b', block)];

    const { errno } = await client.ask(Command.DMA_MAP, mapPayload(0, 1), two);
    for (const descriptor of two) descriptor.release();

    expect(errno).toBe(Errno.EINVAL);
    expect(openFakeDescriptors()).toBe(0);
  });

  it('reaches memory by message when it cannot open files', async () => {
    const world = buildWorld({}, { files: undefined as never });
    const client = await world.client();
    const ram = world.files.share('ram', block);

    expect(await client.map(0, 1, ram)).toBe(0);
    ram.release();

    expect(held(world)).toEqual(['0+1>0 rw']);
  });
});

describe('DMA_UNMAP', () => {
  it('answers with the 24 bytes that it was asked with', async () => {
    const client = await buildWorld().client();
    await client.map(16, 4);
    const request = { all: false, dirtyBitmap: false, address: 0x10000n, size: 0x4000n };

    const { payload } = await client.ask(Command.DMA_UNMAP, dmaUnmapRequest.encode(request));

    expect(payload).toHaveLength(24);
    expect(dmaUnmapReply.decode(payload)).toEqual({ ok: true, value: request });
  });

  it('takes an unmap that covers many mappings, and says how many', async () => {
    const world = buildWorld();
    const client = await world.client();
    for (const page of [1, 3, 5, 9]) await client.map(page, 1);

    expect(await client.unmap(0, 8)).toBe(0);

    expect(held(world)).toEqual(['9+1>0 rw']);
    expect(world.log.at(-1)).toBe('unmap 0x0+0x8000 x3 ok');
  });

  it('names the mapping when it was one exactly', async () => {
    const world = buildWorld();
    const client = await world.client();
    await client.map(3, 2, undefined, { offset: 7, access: 'r' });

    await client.unmap(3, 2);

    expect(world.log.at(-1)).toBe('unmap 0x3000+0x2000 @0x7000 r x1 ok');
  });

  it('takes an unmap where nothing is mapped', async () => {
    const client = await buildWorld().client();

    expect(await client.unmap(5, 5)).toBe(0);
  });

  it.each([
    ['the beginning of a mapping', 10, 2],
    ['the end', 12, 2],
    ['the middle', 11, 1],
    ['one after covering another', 0, 12],
  ])('refuses to cut %s and removes nothing', async (_what, page, pages) => {
    const world = buildWorld();
    const client = await world.client();
    await client.map(1, 1);
    await client.map(10, 4);

    expect(await client.unmap(page, pages)).toBe(Errno.EINVAL);

    expect(held(world)).toEqual(['1+1>0 rw', '10+4>0 rw']);
  });

  it('takes a range that ends at 2^64, as QEMU sends it', async () => {
    const world = buildWorld();
    const client = await world.client();
    await client.map(0xfef00, 1);
    await client.map(2 ** 52 - 1, 1);
    const request = { all: false, dirtyBitmap: false, address: 0xfef00000n, size: 0xffffffff01100000n };

    const { errno } = await client.ask(Command.DMA_UNMAP, dmaUnmapRequest.encode(request));

    expect(errno).toBe(0);
    expect(world.server.memory.size).toBe(0);
  });

  it('removes everything when asked for all', async () => {
    const world = buildWorld();
    const client = await world.client();
    for (let page = 0; page < 5; page++) await client.map(page * 2, 1);

    expect(await client.unmapAll()).toBe(0);

    expect(world.server.memory.size).toBe(0);
    expect(world.log.at(-1)).toBe('unmap 0x0+0x10000000000000000 x5 ok');
  });

  it('refuses all with a range', async () => {
    const client = await buildWorld().client();
    const request = { all: true, dirtyBitmap: false, address: 0n, size: 4096n };

    const { errno } = await client.ask(Command.DMA_UNMAP, dmaUnmapRequest.encode(request));

    expect(errno).toBe(Errno.EINVAL);
  });

  it('refuses to say which pages were written', async () => {
    const world = buildWorld();
    const client = await world.client();
    await client.map(0, 1);
    const request = { all: false, dirtyBitmap: true, address: 0n, size: 4096n };

    const { errno } = await client.ask(Command.DMA_UNMAP, dmaUnmapRequest.encode(request));

    expect(errno).toBe(Errno.EOPNOTSUPP);
    expect(world.server.memory.size).toBe(1);
  });

  it('refuses a range that is not whole pages', async () => {
    const client = await buildWorld().client();
    const request = { all: false, dirtyBitmap: false, address: 512n, size: 4096n };

    expect((await client.ask(Command.DMA_UNMAP, dmaUnmapRequest.encode(request))).errno).toBe(Errno.EINVAL);
  });
});

describe('a server as strict as libvfio-user', () => {
  it('refuses an overlapping map with EINVAL', async () => {
    const client = await buildWorld({}, { unmap: 'exact' }).client();
    await client.map(16, 4);

    expect(await client.map(18, 4)).toBe(Errno.EINVAL);
  });

  it('takes the very same mapping again without counting it', async () => {
    const world = buildWorld({}, { unmap: 'exact' });
    const client = await world.client();
    const ram = world.files.share('ram', block);
    await client.map(16, 4, ram, { offset: 2 });

    expect(await client.map(16, 4, ram, { offset: 2 })).toBe(0);
    ram.release();

    expect(world.server.memory.size).toBe(1);
    await client.unmap(16, 4);
    expect(world.files.openFiles).toBe(0);
  });

  it.each([
    ['another offset', { offset: 3 }],
    ['another access', { offset: 2, access: 'r' as const }],
  ])('refuses the same range with %s', async (_what, how) => {
    const world = buildWorld({}, { unmap: 'exact' });
    const client = await world.client();
    const ram = world.files.share('ram', block);
    await client.map(16, 4, ram, { offset: 2 });

    expect(await client.map(16, 4, ram, how)).toBe(Errno.EINVAL);
    ram.release();

    expect(held(world)).toEqual(['16+4>2 rw s']);
  });

  it('refuses the same range of another file and does not keep that', async () => {
    const world = buildWorld({}, { unmap: 'exact' });
    const client = await world.client();
    const [one, other] = [world.files.share('one', block), world.files.share('other', block)];
    await client.map(16, 4, one);

    expect(await client.map(16, 4, other)).toBe(Errno.EINVAL);
    one.release();
    other.release();

    expect(world.files.openFiles).toBe(1);
  });

  it.each([
    ['two mappings', 16, 8],
    ['part of one', 16, 2],
    ['none', 100, 1],
  ])('refuses an unmap of %s with ENOENT', async (_what, page, pages) => {
    const world = buildWorld({}, { unmap: 'exact' });
    const client = await world.client();
    await client.map(16, 4);
    await client.map(20, 4);

    expect(await client.unmap(page, pages)).toBe(Errno.ENOENT);

    expect(world.server.memory.size).toBe(2);
  });

  it('takes an unmap that names one', async () => {
    const world = buildWorld({}, { unmap: 'exact' });
    const client = await world.client();
    await client.map(16, 4);

    expect(await client.unmap(16, 4)).toBe(0);

    expect(world.server.memory.size).toBe(0);
  });
});
