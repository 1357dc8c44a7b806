import { afterEach, describe, expect, it } from 'vitest';
import { DenseRamBlock, PageCursor } from '../../../src/memory/index.ts';
import {
  Command,
  Errno,
  type RegionInfo,
  regionInfoReply,
  regionInfoRequest,
  regionReadRequest,
  regionWriteMultiReply,
  regionWriteMultiRequest,
} from '../../../src/vfio-user/wire/index.ts';
import { fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import type { RawClient } from './raw-client.ts';
import { buildWorld, plainBar } from './world.ts';

async function info(
  client: RawClient,
  index: number,
  argsz = 256,
): Promise<{ info: RegionInfo; descriptors: number[] } | number> {
  const request = regionInfoRequest.encode({ argsz, index });
  const { errno, payload, descriptors } = await client.ask(Command.DEVICE_GET_REGION_INFO, request);
  if (errno !== 0) return errno;
  const reply = regionInfoReply.decode(payload);
  if (!reply.ok) throw new Error(reply.reason);
  const numbers = descriptors.map(({ number }) => number);
  for (const descriptor of descriptors) descriptor.release();
  return { info: reply.value, descriptors: numbers };
}

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

describe('regions', () => {
  it('are nine, of which those that the device lacks have no size', async () => {
    const client = await buildWorld({ bars: [undefined, plainBar(8192)] }).client();

    const sizes = [];
    for (let index = 0; index < 9; index++) {
      const answer = await info(client, index);
      sizes.push(typeof answer === 'number' ? answer : Number(answer.info.size));
    }

    expect(sizes).toEqual([0, 8192, 0, 0, 0, 0, 0, 256, 0]);
    expect(await info(client, 9)).toBe(Errno.EINVAL);
  });

  it('are read and written', async () => {
    const client = await buildWorld({ bars: [plainBar(4096)] }).client();

    expect(await client.write(0, 4092, Uint8Array.of(1, 2, 3, 4))).toBe(0);

    expect(await client.read(0, 4090, 6)).toEqual(Uint8Array.of(0, 0, 1, 2, 3, 4));
  });

  it.each([
    ['beyond the end', 0, 4093n, 4],
    ['behind the end', 0, 4096n, 1],
    ['of nothing', 0, 0n, 0],
    ['of a region without size', 1, 0n, 1],
    ['of a region that no device has', 9, 0n, 1],
    ['at 2^63', 0, 2n ** 63n, 4],
    ['that wraps around', 0, 2n ** 64n - 2n, 4],
    ['of more than was agreed', 0, 0n, (1 << 20) + 1],
    ['of 2^32 - 1 bytes', 0, 0n, 0xffff_ffff],
  ])('refuse an access %s', async (_what, region, offset, count) => {
    const client = await buildWorld({ bars: [plainBar(4096)] }).client();

    const { errno } = await client.ask(
      Command.REGION_READ,
      regionReadRequest.encode({ region, offset, count }),
    );

    expect(errno).toBe(Errno.EINVAL);
  });

  it('take as much at once as was agreed', async () => {
    const client = await buildWorld({ bars: [plainBar(2 ** 21)] }).client();
    const data = new Uint8Array(2 ** 20).fill(7);

    expect(await client.write(0, 2 ** 20, data)).toBe(0);

    const back = (await client.read(0, 2 ** 20, 2 ** 20)) as Uint8Array;
    expect(back.length).toBe(2 ** 20);
    expect(back.every((byte) => byte === 7)).toBe(true);
  });

  it('take several writes in one message, in order', async () => {
    const bar = plainBar(4096);
    const order: number[] = [];
    const slow = {
      ...bar,
      write: (offset: number, data: Uint8Array) => {
        order.push(offset);
        bar.bytes.set(data, offset);
        return offset === 8 ? Promise.resolve() : undefined;
      },
    };
    const client = await buildWorld({ bars: [slow] }).client();
    const writes = [0, 8, 4].map((offset, i) => ({
      region: 0,
      offset: BigInt(offset),
      count: 2,
      data: Uint8Array.of(i + 1, i + 1),
    }));

    const { payload } = await client.ask(
      Command.REGION_WRITE_MULTI,
      regionWriteMultiRequest.encode({ writes }),
    );

    expect(regionWriteMultiReply.decode(payload)).toEqual({ ok: true, value: { completed: 3 } });
    expect(order).toEqual([0, 8, 4]);
    expect(bar.bytes.subarray(0, 10)).toEqual(Uint8Array.of(1, 1, 0, 0, 3, 3, 0, 0, 2, 2));
  });

  it('do none of several writes when one is invalid', async () => {
    const bar = plainBar(4096);
    const client = await buildWorld({ bars: [bar] }).client();
    const writes = [0n, 4096n].map((offset) => ({ region: 0, offset, count: 1, data: Uint8Array.of(1) }));

    const { errno } = await client.ask(
      Command.REGION_WRITE_MULTI,
      regionWriteMultiRequest.encode({ writes }),
    );

    expect(errno).toBe(Errno.EINVAL);
    expect(bar.bytes[0]).toBe(0);
  });
});

describe('a BAR of memory', () => {
  it('is read and written by message in the memory', async () => {
    const ram = new DenseRamBlock(2);
    const client = await buildWorld({ bars: [{ size: 8192, kind: 'memory32', memory: { ram } }] }).client();

    await client.write(0, 4094, Uint8Array.of(1, 2, 3, 4));

    expect(await client.read(0, 4094, 4)).toEqual(Uint8Array.of(1, 2, 3, 4));
    const cursor = new PageCursor();
    ram.locate(1, cursor, false);
    expect(cursor.bytes().subarray(0, 2)).toEqual(Uint8Array.of(3, 4));
    expect(await info(client, 0)).toMatchObject({ info: { mmap: false }, descriptors: [] });
  });

  it('may have handlers for what is not mapped', async () => {
    const plain = plainBar(4096);
    const bar = { ...plain, memory: { ram: new DenseRamBlock(1) } };
    const client = await buildWorld({ bars: [bar] }).client();

    await client.write(0, 8, Uint8Array.of(1));

    expect(plain.bytes[8]).toBe(1);
    expect(await client.read(0, 8, 1)).toEqual(Uint8Array.of(1));
  });

  it('can be mapped by the client when it is shared', async () => {
    const file = fakeDescriptor(42);
    const ram = Object.assign(new DenseRamBlock(2), { share: { descriptor: file, offset: 0x3000n } });
    const client = await buildWorld({ bars: [{ size: 8192, kind: 'memory32', memory: { ram } }] }).client();

    const answer = await info(client, 0);

    expect(answer).toMatchObject({ info: { mmap: true, offset: 0x3000n, argsz: 32 }, descriptors: [42] });
    expect(file.closed).toBe(false);
    file.release();
  });

  it('says which parts can be mapped, to who has the room', async () => {
    const file = fakeDescriptor(42);
    const ram = Object.assign(new DenseRamBlock(2), { share: { descriptor: file, offset: 0n } });
    const areas = [{ offset: 4096n, size: 4096n }];
    const client = await buildWorld({
      bars: [{ size: 8192, kind: 'memory32', memory: { ram, areas } }],
    }).client();

    expect(await info(client, 0, 32)).toMatchObject({ info: { argsz: 64 }, descriptors: [] });
    expect(await info(client, 0, 64)).toMatchObject({
      info: { argsz: 64, sparse: areas },
      descriptors: [42],
    });
    file.release();
  });

  it('is only read and written where no descriptors pass', async () => {
    const file = fakeDescriptor(42);
    const ram = Object.assign(new DenseRamBlock(1), { share: { descriptor: file, offset: 0n } });
    const world = buildWorld({ bars: [{ size: 4096, kind: 'memory32', memory: { ram } }] });
    const client = await world.client({ descriptors: false });

    expect(await info(client, 0)).toMatchObject({ info: { mmap: false }, descriptors: [] });
    file.release();
  });
});

describe('the MSI-X table and its pending bits', () => {
  const layout = { vectors: 2, bar: 0, tableOffset: 0x100, pbaOffset: 0x200 };

  it('are kept from the device', async () => {
    const bar = plainBar(4096);
    const client = await buildWorld({ bars: [bar], msix: layout }).client();

    await client.write(0, 0xfe, new Uint8Array(0x24).fill(5));
    await client.write(0, 0x1fe, new Uint8Array(0x0c).fill(6));

    const written = [...bar.bytes.keys()].filter((at) => bar.bytes[at] !== 0);
    expect(written).toEqual([0xfe, 0xff, 0x120, 0x121, 0x1fe, 0x1ff, 0x208, 0x209]);
    expect(await client.read(0, 0x100, 0x20)).toEqual(new Uint8Array(0x20).fill(5));
    expect(await client.read(0, 0x200, 8)).toEqual(new Uint8Array(8));
  });

  it('are as after power-on when the device is reset: every vector masked', async () => {
    const client = await buildWorld({ bars: [plainBar(4096)], msix: layout }).client();
    await client.write(0, 0x100, new Uint8Array(0x20).fill(5));

    await client.ask(Command.DEVICE_RESET);

    const table = (await client.read(0, 0x100, 0x20)) as Uint8Array;
    expect([...table.keys()].filter((at) => table[at] !== 0)).toEqual([0x0c, 0x1c]);
  });
});
