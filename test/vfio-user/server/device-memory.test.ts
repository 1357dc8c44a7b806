import { afterEach, describe, expect, it } from 'vitest';
import { DenseRamBlock, dmaRead, dmaWrite, PageCursor } from '../../../src/memory/index.ts';
import { DmaError } from '../../../src/vfio-user/server/index.ts';
import {
  Command,
  dmaReadReply,
  dmaReadRequest,
  dmaWriteReply,
  dmaWriteRequest,
  Errno,
} from '../../../src/vfio-user/wire/index.ts';
import { openFakeDescriptors } from '../memory-channel.ts';
import {
  QEMU_PROPOSAL,
  type RawAnswer,
  type RawClient,
  type RawCommand,
  writePayload,
} from './raw-client.ts';
import { buildWorld, plainBar, settle, type World } from './world.ts';

const PAGE = 4096n;

/** A block whose bytes are the number of their page. */
function numbered(pages: number): DenseRamBlock {
  const block = new DenseRamBlock(pages);
  const cursor = new PageCursor();
  for (let page = 0; page < pages; page++) {
    block.locate(page, cursor, true);
    cursor.bytes().fill(page);
  }
  return block;
}

/** Answers DMA_READ and DMA_WRITE out of `memory`, which begins at address 0. */
function server(memory: Uint8Array): (command: RawCommand) => RawAnswer {
  return ({ header, payload }) => {
    if (header.command === Command.DMA_READ) {
      const request = dmaReadRequest.decode(payload);
      if (!request.ok) return { errno: request.errno };
      const { address, count } = request.value;
      const data = memory.subarray(Number(address), Number(address + count));
      return { payload: dmaReadReply.encode({ address, count, data }) };
    }
    const request = dmaWriteRequest.decode(payload);
    if (!request.ok) return { errno: request.errno };
    memory.set(request.value.data, Number(request.value.address));
    return { payload: dmaWriteReply.encode(request.value) };
  };
}

/** The error of a promise that must reject with one. */
async function refusal(promise: Promise<unknown>): Promise<DmaError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof DmaError)) throw new Error(`not refused: ${String(error)}`);
  return error;
}

async function shared(world: World, client: RawClient, page: number, pages: number): Promise<void> {
  const ram = world.files.share('ram', numbered(64));
  expect(await client.map(page, pages, ram, { offset: page % 64 })).toBe(0);
  ram.release();
}

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

describe('memory that came with a file', () => {
  it('is read and written in place', async () => {
    const world = buildWorld();
    const client = await world.client();
    const block = numbered(64);
    const ram = world.files.share('ram', block);
    await client.map(0x100, 2, ram, { offset: 5 });
    ram.release();

    const data = new Uint8Array(4);
    await world.server.memory.read(0x100ffen, data);
    await world.server.memory.write(0x101000n, Uint8Array.of(0xaa));

    expect(data).toEqual(Uint8Array.of(5, 5, 6, 6));
    const cursor = new PageCursor();
    block.locate(6, cursor, false);
    expect(cursor.bytes()[0]).toBe(0xaa);
    expect(client.commands).toEqual([]);
  });

  it('is in the address space, where each access is looked up anew', async () => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0x100, 2);
    const { space } = world.server.memory;
    const data = new Uint8Array(2);

    expect(dmaRead(space, 0x100fffn, data)).toEqual({ completed: 2 });
    await client.unmap(0x100, 2);

    expect(dmaRead(space, 0x100fffn, data)).toMatchObject({
      completed: 0,
      failure: { kind: 'translation', fault: { code: Errno.EFAULT } },
    });
  });

  it('of several files is found in each', async () => {
    const world = buildWorld();
    const client = await world.client();
    const [a, b] = [world.files.share('a', numbered(8)), world.files.share('b', numbered(16))];
    await client.map(0, 1, a, { offset: 7 });
    await client.map(1, 1, b, { offset: 12 });
    await client.map(2, 1, a, { offset: 3 });

    const data = new Uint8Array(3 * 4096);
    await world.server.memory.read(0n, data);
    a.release();
    b.release();

    expect([data[0], data[4096], data[8192]]).toEqual([7, 12, 3]);
    await client.unmapAll();
    expect(world.files.openFiles).toBe(0);
  });

  it('is refused where the mapping does not allow it', async () => {
    const world = buildWorld();
    const client = await world.client();
    const ram = world.files.share('ram', numbered(4));
    await client.map(0, 1, ram, { access: 'r' });
    ram.release();
    const { memory } = world.server;

    expect(await refusal(memory.write(16n, Uint8Array.of(1)))).toMatchObject({
      errno: 'EACCES',
      address: 16n,
    });
    expect(dmaWrite(memory.space, 16n, Uint8Array.of(1)).failure).toMatchObject({
      fault: { code: Errno.EACCES },
    });
  });
});

describe('memory that came without a file', () => {
  it('is read and written by messages', async () => {
    const world = buildWorld();
    const client = await world.client();
    const memory = new Uint8Array(0x4000).map((_, i) => i >> 12);
    client.serve = server(memory);
    await client.map(0, 4);

    const data = new Uint8Array(4);
    await world.server.memory.read(0x1ffen, data);
    await world.server.memory.write(0x2fffn, Uint8Array.of(0xaa, 0xbb));

    expect(data).toEqual(Uint8Array.of(1, 1, 2, 2));
    expect([...memory.subarray(0x2ffe, 0x3002)]).toEqual([2, 0xaa, 0xbb, 3]);
    expect(client.commands.map(({ header }) => header.command)).toEqual([
      Command.DMA_READ,
      Command.DMA_WRITE,
    ]);
  });

  it('is transferred in messages of the size that the client takes', async () => {
    const world = buildWorld();
    const client = world.connect();
    await client.version({ ...QEMU_PROPOSAL, capabilities: { maxDataXferSize: 1000 } });
    const memory = new Uint8Array(0x4000);
    client.serve = server(memory);
    await client.map(0, 4);

    await world.server.memory.write(10n, new Uint8Array(2500).fill(7));

    expect(client.commands).toHaveLength(3);
    expect(memory.findIndex((byte) => byte === 7)).toBe(10);
    expect(memory.findLastIndex((byte) => byte === 7)).toBe(2509);
  });

  it('does not fault the address space silently', async () => {
    const world = buildWorld();
    const client = await world.client();
    await client.map(0, 1);

    const result = dmaRead(world.server.memory.space, 0n, new Uint8Array(4));

    expect(result.failure).toMatchObject({ kind: 'translation', fault: { code: Errno.EOPNOTSUPP } });
  });

  it('is transferred across mappings of both kinds', async () => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0, 1);
    await client.map(1, 1);
    await shared(world, client, 2, 1);
    client.serve = server(new Uint8Array(0x3000).fill(0xee));

    const data = new Uint8Array(0x3000);
    await world.server.memory.read(0n, data);

    expect([data[0], data[0xfff], data[0x1000], data[0x1fff], data[0x2000]]).toEqual([0, 0, 0xee, 0xee, 2]);
  });

  it('is refused while the client waits for the answer to a command', async () => {
    let first: Promise<DmaError> | undefined;
    const bar = {
      ...plainBar(4096),
      write: () => {
        first = refusal(world.server.memory.read(0n, new Uint8Array(1)));
      },
    };
    const world: World = buildWorld({ bars: [bar] });
    const client = await world.client();
    await client.map(0, 1);

    await client.write(0, 0, Uint8Array.of(1));

    expect(await first).toMatchObject({ errno: 'EBUSY', completed: 0 });
    expect((await first)?.message).toContain('answer first, then do DMA');
    expect(client.commands).toEqual([]);
  });

  it('is reached once the handler has returned', async () => {
    let later: Promise<void> | undefined;
    const bar = {
      ...plainBar(4096),
      write: (_offset: number, data: Uint8Array) => {
        later = Promise.resolve().then(() => world.server.memory.write(0n, data));
      },
    };
    const world: World = buildWorld({ bars: [bar] });
    const client = await world.client();
    const memory = new Uint8Array(4096);
    client.serve = server(memory);
    await client.map(0, 1);

    await client.write(0, 0, Uint8Array.of(5));
    await later;

    expect(memory[0]).toBe(5);
  });

  it('is reached from the handler of a write that nobody waits for', async () => {
    let done: Promise<void> | undefined;
    const bar = {
      ...plainBar(4096),
      write: () => {
        done = world.server.memory.write(0n, Uint8Array.of(5));
      },
    };
    const world: World = buildWorld({ bars: [bar] });
    const client = await world.client();
    const memory = new Uint8Array(4096);
    client.serve = server(memory);
    await client.map(0, 1);

    client.send(Command.REGION_WRITE, writePayload(0, 0, Uint8Array.of(1)), { noReply: true });
    await settle();
    await done;

    expect(memory[0]).toBe(5);
  });

  it.each([
    ['refuses', { errno: Errno.ENODEV }, 'ENODEV'],
    ['answers with less', { payload: new Uint8Array(18) }, 'EIO'],
    [
      'answers for another address',
      { payload: dmaReadReply.encode({ address: 8n, count: 4n, data: new Uint8Array(4) }) },
      'EIO',
    ],
    [
      'answers with more',
      { payload: dmaReadReply.encode({ address: 0n, count: 8n, data: new Uint8Array(8) }) },
      'EIO',
    ],
  ])('fails when the client %s', async (_what, answer, errno) => {
    const world = buildWorld();
    const client = await world.client();
    client.serve = () => answer;
    await client.map(0, 1);

    expect(await refusal(world.server.memory.read(0n, new Uint8Array(4)))).toMatchObject({
      errno,
      completed: 0,
    });
    expect(await client.map(1, 1)).toBe(0);
  });

  it('says how much was done before it failed', async () => {
    const world = buildWorld();
    const client = world.connect();
    await client.version({ ...QEMU_PROPOSAL, capabilities: { maxDataXferSize: 1024 } });
    const memory = server(new Uint8Array(4096));
    client.serve = (command) => (client.commands.length > 2 ? { errno: Errno.ENODEV } : memory(command));
    await client.map(0, 1);

    const error = await refusal(world.server.memory.read(0n, new Uint8Array(4096)));

    expect(error).toMatchObject({ code: 'VIOMMU_DMA', address: 2048n, completed: 2048 });
  });

  it('fails when the client goes meanwhile', async () => {
    const world = buildWorld();
    const client = await world.client();
    await client.map(0, 1);

    const read = refusal(world.server.memory.read(0n, new Uint8Array(4)));
    client.channel.close();

    expect(await read).toMatchObject({ errno: 'ENOTCONN' });
  });
});

describe('addresses that are not memory', () => {
  it.each([
    ['where nothing is mapped', 0x5000n, 4],
    ['below 0', -1n, 4],
    ['across 2^64', 2n ** 64n - 2n, 4],
  ])('are refused: %s', async (_what, address, count) => {
    const world = buildWorld();
    await world.client();

    expect(await refusal(world.server.memory.read(address, new Uint8Array(count)))).toMatchObject({
      errno: 'EFAULT',
      completed: 0,
    });
  });

  it('are refused after what lies before them was done', async () => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0, 1);

    const error = await refusal(world.server.memory.read(4000n, new Uint8Array(200)));

    expect(error).toMatchObject({ address: PAGE, completed: 96 });
  });

  it('are no trouble when nothing is transferred', async () => {
    await expect(buildWorld().server.memory.read(0n, new Uint8Array(0))).resolves.toBeUndefined();
  });
});

describe('a hold', () => {
  it('keeps an unmap from being answered, and commands behind it, until it is released', async () => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0, 4);
    const hold = world.server.memory.hold(0x1000n, 16n);

    const unmap = client.unmap(0, 4);
    const map = client.map(0x80, 1);
    await settle();

    expect(world.server.memory.size).toBe(1);
    expect(world.files.openFiles).toBe(1);
    expect(dmaRead(world.server.memory.space, 0x1000n, new Uint8Array(1))).toEqual({ completed: 1 });
    hold.release();
    expect(await Promise.all([unmap, map])).toEqual([0, 0]);
    expect(world.files.openFiles).toBe(0);
    expect(world.log.slice(-2)).toEqual([
      'unmap 0x0+0x4000 @0x0 rw x1 ok',
      'map 0x80000+0x1000 @0x0 rw x1 ok',
    ]);
  });

  it('refuses new access to what is being unmapped, and none elsewhere', async () => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0, 4);
    await shared(world, client, 8, 4);
    const { memory } = world.server;
    const hold = memory.hold(0x1000n, 16n);
    void client.unmap(0, 4);
    await settle();

    expect(await refusal(memory.read(0x3000n, new Uint8Array(1)))).toMatchObject({ errno: 'EFAULT' });
    expect(() => memory.hold(0x3000n, 1n)).toThrow('the client is unmapping it');
    await expect(memory.read(0x8000n, new Uint8Array(1))).resolves.toBeUndefined();

    hold.release();
    await settle();
    expect(memory.size).toBe(1);
  });

  it('elsewhere keeps no unmap waiting', async () => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0, 1);
    await shared(world, client, 8, 1);
    const hold = world.server.memory.hold(0x8000n, 16n);

    expect(await client.unmap(0, 1)).toBe(0);

    expect(hold.valid).toBe(true);
    hold.release();
  });

  it('that is the second in the range is waited for too', async () => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0, 4);
    const holds = [world.server.memory.hold(0n, 1n), world.server.memory.hold(0x3fffn, 1n)];
    const unmap = client.unmapAll();
    await settle();

    holds[0].release();
    await settle();
    expect(world.server.memory.size).toBe(1);
    holds[1].release();

    expect(await unmap).toBe(0);
  });

  it('may be released twice', async () => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0, 1);
    const hold = world.server.memory.hold(0n, 1n);

    hold.release();
    hold.release();

    expect(hold.valid).toBe(false);
    expect(await client.unmap(0, 1)).toBe(0);
  });

  it('is no longer valid when the client has gone, and the next client is not held up', async () => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0, 1);
    const hold = world.server.memory.hold(0n, 1n);
    void client.unmap(0, 1);
    await settle();

    client.channel.close();
    await settle();

    expect(hold.valid).toBe(false);
    expect(world.files.openFiles).toBe(0);
    const next = await world.client();
    await shared(world, next, 0, 1);
    hold.release();
    await settle();
    expect(world.server.memory.size).toBe(1);
    expect(await next.unmap(0, 1)).toBe(0);
  });

  it.each([
    ['memory without a file', 0x1000n, 1n, 'EOPNOTSUPP'],
    ['a hole', 0x5000n, 1n, 'EFAULT'],
    ['memory that ends in a hole', 0x0n, 0x3000n, 'EOPNOTSUPP'],
    ['nothing', 0n, 0n, 'EFAULT'],
    ['more than there is', 1n, 2n ** 64n, 'EFAULT'],
  ])('is refused of %s', async (_what, address, size, errno) => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0, 1);
    await client.map(1, 1);

    const hold = async (): Promise<unknown> => world.server.memory.hold(address, size);

    expect(await refusal(hold())).toMatchObject({ errno });
  });
});

describe('an unmap of memory that messages are on their way to', () => {
  it('is answered at once, the message abandoned and its late answer ignored', async () => {
    const world = buildWorld();
    const client = await world.client();
    await client.map(0, 2);
    const read = refusal(world.server.memory.read(0n, new Uint8Array(4)));
    await settle();
    expect(client.commands).toHaveLength(1);

    expect(await client.unmap(0, 2)).toBe(0);

    expect(await read).toMatchObject({ errno: 'EFAULT', completed: 0 });
    client.answer(client.commands[0], {
      payload: dmaReadReply.encode({ address: 0n, count: 4n, data: new Uint8Array(4) }),
    });
    expect(await client.map(0, 1)).toBe(0);
  });

  it('lets none of those go out later that still wait for room', async () => {
    const world = buildWorld();
    const client = await world.client();
    await client.map(0, 1);
    const writes = Array.from({ length: 33_000 }, () =>
      refusal(world.server.memory.write(0n, new Uint8Array(1))),
    );
    await settle();
    const sent = client.commands.length;

    await client.unmap(0, 1);
    for (const command of client.commands.slice(0, 100)) client.answer(command, { errno: Errno.ENODEV });
    await settle();

    expect((await Promise.all(writes)).every(({ errno }) => errno === 'EFAULT')).toBe(true);
    expect(sent).toBeLessThan(33_000);
    expect(client.commands.length).toBe(sent);
    await client.map(0, 1);
    const again = refusal(world.server.memory.write(0n, new Uint8Array(1)));
    await settle();
    expect(client.commands.length).toBe(sent + 1);
    client.channel.close();
    expect(await again).toMatchObject({ errno: 'ENOTCONN' });
  });

  it('leaves messages elsewhere alone', async () => {
    const world = buildWorld();
    const client = await world.client();
    await client.map(0, 1);
    await client.map(8, 1);
    const data = new Uint8Array(1);
    const read = world.server.memory.read(0n, data);
    await settle();

    await client.unmap(8, 1);
    client.answer(client.commands[0], {
      payload: dmaReadReply.encode({ address: 0n, count: 1n, data: Uint8Array.of(9) }),
    });
    await read;

    expect(data[0]).toBe(9);
  });

  it('is the end of a transfer in several messages', async () => {
    const world = buildWorld();
    const client = world.connect();
    await client.version({ ...QEMU_PROPOSAL, capabilities: { maxDataXferSize: 4096 } });
    await client.map(0, 1);
    await client.map(1, 1);
    const read = refusal(world.server.memory.read(0n, new Uint8Array(8192)));
    await settle();

    await client.unmap(1, 1);
    client.answer(client.commands[0], {
      payload: dmaReadReply.encode({ address: 0n, count: 4096n, data: new Uint8Array(4096) }),
    });

    expect(await read).toMatchObject({ errno: 'EFAULT', address: PAGE, completed: 4096 });
  });
});

describe('quiesce', () => {
  it('waits for holds and messages, and lets nothing begin', async () => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0, 1);
    await client.map(1, 1);
    const { memory } = world.server;
    const hold = memory.hold(0n, 1n);
    const read = memory.read(0x1000n, new Uint8Array(1));
    await settle();
    let isQuiet = false;
    const quiet = world.server.quiesce().then(() => (isQuiet = true));

    expect(await refusal(memory.read(0n, new Uint8Array(1)))).toMatchObject({ errno: 'EBUSY' });
    expect(() => memory.hold(0n, 1n)).toThrow('EBUSY');
    expect(dmaRead(memory.space, 0n, new Uint8Array(1)).completed).toBe(1);
    hold.release();
    await settle();
    expect(isQuiet).toBe(false);
    client.answer(client.commands[0], {
      payload: dmaReadReply.encode({ address: PAGE, count: 1n, data: new Uint8Array(1) }),
    });
    await Promise.all([read, quiet]);

    expect(dmaRead(memory.space, 0n, new Uint8Array(1)).failure).toMatchObject({
      fault: { code: Errno.EBUSY },
    });
  });

  it('ends with resume', async () => {
    const world = buildWorld();
    const client = await world.client();
    await shared(world, client, 0, 1);
    await world.server.quiesce();

    world.server.resume();

    await expect(world.server.memory.read(0n, new Uint8Array(1))).resolves.toBeUndefined();
  });

  it('keeps maps and unmaps going', async () => {
    const world = buildWorld();
    const client = await world.client();
    await world.server.quiesce();

    expect([await client.map(0, 1), await client.unmap(0, 1)]).toEqual([0, 0]);
  });
});
