import { afterEach, describe, expect, test } from 'vitest';
import { Access, DenseRamBlock, PageCursor } from '../../../src/memory/index.ts';
import type { Reply } from '../../../src/vfio-user/command.ts';
import {
  Command,
  dmaReadReply,
  dmaWriteReply,
  dmaWriteRequest,
  Errno,
} from '../../../src/vfio-user/wire/index.ts';
import { fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import { connected, errorOf, mapping, ram, type Rig, settle } from './rig.ts';

const NONE = new Uint8Array(0);

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

/** A client with pages 0x10 to 0x13 mapped: two readable and writable, one readable, one writable. */
async function mapped(): Promise<Rig & { block: DenseRamBlock }> {
  const block = new DenseRamBlock(16);
  const rig = await connected();
  rig.client.map(mapping(0x10, 2), ram(4, block));
  rig.client.map(mapping(0x12, 1, Access.Read), ram(1, block));
  rig.client.map(mapping(0x13, 1, Access.Write), ram(2, block));
  await rig.client.barrier();
  return Object.assign(rig, { block });
}

function bytesAt(block: DenseRamBlock, page: number): Uint8Array {
  const cursor = new PageCursor();
  block.locate(page, cursor, true);
  return cursor.bytes();
}

function dataOf(reply: Reply): Uint8Array | undefined {
  const decoded = dmaReadReply.decode(reply.payload);
  return decoded.ok ? decoded.value.data : undefined;
}

describe('a read by the server', () => {
  test('gets the RAM behind the mapping', async () => {
    const { server, block } = await mapped();
    bytesAt(block, 4).set([1, 2, 3, 4], 0x100);

    const reply = await server.dmaRead(0x1_0101n, 2n);

    expect(reply.errno).toBe(0);
    expect(dmaReadReply.decode(reply.payload)).toEqual({
      ok: true,
      value: { address: 0x1_0101n, count: 2n, data: Uint8Array.of(2, 3) },
    });
  });

  test('goes across pages and neighbouring mappings', async () => {
    const { server, block } = await mapped();
    bytesAt(block, 4).fill(4);
    bytesAt(block, 5).fill(5);
    bytesAt(block, 1).fill(1);

    const data = dataOf(await server.dmaRead(0x1_0ffen, 0x1004n));

    expect(data?.slice(0, 3)).toEqual(Uint8Array.of(4, 4, 5));
    expect(data?.slice(-3)).toEqual(Uint8Array.of(5, 1, 1));
  });

  test('of nothing is answered with nothing', async () => {
    const { server } = await mapped();

    expect(dataOf(await server.dmaRead(0n, 0n))).toEqual(NONE);
  });

  test.each<[string, bigint, bigint, number]>([
    ['where nothing is mapped', 0x1_4000n, 1n, Errno.ENODEV],
    ['that ends where nothing is mapped', 0x1_0ff0n, 0x4000n, Errno.ENODEV],
    ['that the mapping does not allow', 0x1_3000n, 1n, Errno.ENODEV],
    ['of more than one message may carry', 0x1_0000n, 0x10_0001n, Errno.E2BIG],
    ['of 2^63 bytes', 0x1_0000n, 2n ** 63n, Errno.E2BIG],
    ['beyond 2^64', 2n ** 64n - 1n, 2n, Errno.EINVAL],
  ])('%s is refused', async (_, address, count, errno) => {
    const { server } = await mapped();

    expect((await server.dmaRead(address, count)).errno).toBe(errno);
  });

  test('of the most that one message may carry is answered', async () => {
    const rig = await connected();
    rig.client.map(mapping(0x10, 256), ram());
    await rig.client.barrier();

    expect(dataOf(await rig.server.dmaRead(0x1_0000n, 0x10_0000n))).toHaveLength(0x10_0000);
  });
});

describe('a write by the server', () => {
  test('goes into the RAM behind the mapping', async () => {
    const { server, block } = await mapped();

    const reply = await server.dmaWrite(0x1_0fffn, Uint8Array.of(7, 8));

    expect(dmaWriteReply.decode(reply.payload)).toEqual({
      ok: true,
      value: { address: 0x1_0fffn, count: 2n },
    });
    expect([bytesAt(block, 4)[4095], bytesAt(block, 5)[0]]).toEqual([7, 8]);
  });

  test('without a wish for an answer is done and not answered', async () => {
    const { server, block } = await mapped();
    const payload = dmaWriteRequest.encode({ address: 0x1_0000n, count: 1n, data: Uint8Array.of(9) });

    server.connection.post(Command.DMA_WRITE, payload);
    await settle();

    expect(bytesAt(block, 4)[0]).toBe(9);
    expect(server.connection.isOpen).toBe(true);
  });

  test.each<[string, bigint, number]>([
    ['where nothing is mapped', 0x1_4000n, Errno.ENODEV],
    ['that the mapping does not allow', 0x1_2000n, Errno.ENODEV],
    ['that ends where it is not allowed', 0x1_1ffcn, Errno.ENODEV],
  ])('%s is refused, and nothing of it is done', async (_, address, errno) => {
    const { server, block } = await mapped();

    expect((await server.dmaWrite(address, new Uint8Array(8).fill(1))).errno).toBe(errno);
    expect([bytesAt(block, 5)[4092], bytesAt(block, 1)[0]]).toEqual([0, 0]);
  });

  test('that claims more than it brings is refused', async () => {
    const { server } = await mapped();
    const payload = dmaWriteRequest.encode({ address: 0x1_0000n, count: 1n, data: Uint8Array.of(9) });
    payload[8] = 2;

    expect((await server.connection.request(Command.DMA_WRITE, payload)).errno).toBe(Errno.EINVAL);
  });
});

describe('other commands of the server', () => {
  test('are unknown to a client', async () => {
    const { server } = await mapped();

    expect((await server.connection.request(Command.DMA_MAP)).errno).toBe(Errno.ENOSYS);
  });

  test('are refused when they bring descriptors', async () => {
    const { server } = await mapped();
    const descriptor = fakeDescriptor(1);
    const reply = server.connection.request(Command.DMA_READ, new Uint8Array(16), [descriptor]);
    descriptor.release();

    expect((await reply).errno).toBe(Errno.EINVAL);
  });
});

describe('what the server may use', () => {
  test('is a mapping from when it is sent until its unmap is confirmed', async () => {
    const { client, server } = await connected({ held: true });
    client.map(mapping(0x10), ram(1));
    await settle();
    const beforeMapped = await server.dmaRead(0x1_0000n, 1n);
    server.answerHeld();
    client.unmap(0x10, 1);
    await settle();
    const beforeUnmapped = await server.dmaRead(0x1_0000n, 1n);
    server.answerHeld();
    await client.barrier();
    const afterwards = await server.dmaRead(0x1_0000n, 1n);

    expect([beforeMapped, beforeUnmapped, afterwards].map(({ errno }) => errno)).toEqual([
      0,
      0,
      Errno.ENODEV,
    ]);
  });

  test('while a mapping is replaced is the old one, then the new one', async () => {
    const block = new DenseRamBlock(4);
    bytesAt(block, 1).fill(1);
    bytesAt(block, 2).fill(2);
    const { client, server } = await connected({ held: true });
    client.map(mapping(0x10), ram(1, block));
    await settle();
    server.answerHeld();
    client.unmap(0x10, 1);
    client.map(mapping(0x10, 2), ram(2, block));
    await settle();
    const old = [await server.dmaRead(0x1_0000n, 1n), await server.dmaRead(0x1_1000n, 1n)];
    server.answerOldest();
    await settle();
    const between = await server.dmaRead(0x1_0000n, 1n);
    server.answerHeld();
    await client.barrier();
    const after = await server.dmaRead(0x1_0000n, 1n);

    expect(old.map(dataOf)).toEqual([Uint8Array.of(1), Uint8Array.of(0)]);
    expect([between, after].map(dataOf)).toEqual([Uint8Array.of(2), Uint8Array.of(2)]);
  });

  test('is not what it refused', async () => {
    const { client, server } = await connected({ refuse: (n) => (n === 1 ? Errno.ENOMEM : undefined) });
    client.map(mapping(0x10), ram(1));
    await errorOf(() => client.barrier());

    expect((await server.dmaRead(0x1_0000n, 1n)).errno).toBe(Errno.ENODEV);
  });

  test('is not what it refused in the place of something else', async () => {
    const block = new DenseRamBlock(4);
    bytesAt(block, 1).fill(1);
    const { client, server } = await connected({ held: true, refuse: (n) => (n === 2 ? Errno.EIO : 0) });
    client.map(mapping(0x10), ram(1, block));
    client.map(mapping(0x10), ram(2, block));
    await settle();
    server.answerHeld((waiting) => waiting.reverse());
    await errorOf(() => client.barrier());

    expect(dataOf(await server.dmaRead(0x1_0000n, 1n))).toEqual(Uint8Array.of(1));
  });

  test('is what stayed after answers in another order', async () => {
    const block = new DenseRamBlock(8);
    bytesAt(block, 3).fill(3);
    const { client, server } = await connected({ held: true });
    for (let i = 1; i <= 3; i++) {
      if (i > 1) client.unmap(0x10, 1);
      client.map(mapping(0x10), ram(i, block));
    }
    await settle();
    server.answerHeld((waiting) => waiting.reverse());
    await client.barrier();

    expect(dataOf(await server.dmaRead(0x1_0000n, 1n))).toEqual(Uint8Array.of(3));
  });

  test('is served while a barrier waits', async () => {
    const { client, server } = await connected({ held: true });
    client.map(mapping(0x10), ram(1));
    const barrier = client.barrier();
    await settle();

    const reply = await server.dmaRead(0x1_0000n, 4096n);
    server.answerHeld();
    await barrier;

    expect(dataOf(reply)).toEqual(new Uint8Array(4096));
  });
});

test('a server that floods with reads without taking the answers waits for itself', async () => {
  const { client, server, channels } = await connected();
  client.map(mapping(0x10, 256), ram());
  await client.barrier();
  const answers: (Reply | undefined)[] = [];
  channels[0]?.pause();
  const payload = new Uint8Array(16);
  new DataView(payload.buffer).setBigUint64(0, 0x1_0000n, true);
  new DataView(payload.buffer).setBigUint64(8, 0x10_0000n, true);
  for (let i = 0; i < 50; i++) {
    server.connection.send(Command.DMA_READ, payload, undefined, (reply) => answers.push(reply));
  }
  await settle();
  const answered = channels[0]?.sentBytes;

  channels[0]?.resume();
  while (answers.length < 50) await settle();

  expect(answered).toBeLessThan(20_000);
  expect(answers.every((reply) => reply?.errno === 0)).toBe(true);
});
