import { afterEach, describe, expect, test } from 'vitest';
import { Access } from '../../../src/memory/index.ts';
import { HostRefusedError } from '../../../src/vfio/index.ts';
import { ConnectionLostError } from '../../../src/vfio-user/close-reason.ts';
import { Command, Errno, HEADER_BYTES, writeHeader } from '../../../src/vfio-user/wire/index.ts';
import { FakeTimers } from '../fake-timers.ts';
import { fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import { connected, errorOf, mapping, ram, settle, SharedBlock } from './rig.ts';

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

describe('maps and unmaps', () => {
  test('arrive exactly, in bytes on the wire, and are confirmed by a barrier', async () => {
    const { client, server } = await connected();

    client.map(mapping(0x10, 2, Access.Read), ram(5));
    client.map(mapping(0xf_ffff_ffff, 1, Access.Write), ram(6));
    client.map(mapping(2 ** 52 - 1), ram(7));
    client.unmap(0x10, 2);
    await client.barrier();

    expect(server.mappings).toEqual(['fffffffff+1 -> 6 2', 'fffffffffffff+1 -> 7 3']);
    expect([server.maps, server.unmaps]).toEqual([3, 1]);
  });

  test('are all on their way before the first answer', async () => {
    const { client, server } = await connected({ held: true });

    for (let i = 0; i < 1000; i++) client.map(mapping(i), ram(i));
    const barrier = client.barrier();
    await settle();
    const waiting = server.waiting;
    server.answerHeld();
    await barrier;

    expect(waiting).toBe(1000);
    expect(server.ledger.size).toBe(1000);
  });

  test('are held back beyond 32,768, and none is lost', async () => {
    const { client, server } = await connected({ held: true, maxDmaMaps: 60_000 });

    for (let i = 0; i < 60_000; i++) client.map(mapping(i), ram(i));
    const barrier = client.barrier();
    await settle();
    const outstanding = client.outstanding;
    server.held = false;
    server.answerHeld();
    await barrier;

    expect(outstanding).toBe(60_000);
    expect(server.mostHeld).toBe(32_768);
    expect(server.ledger.size).toBe(60_000);
    expect(client.outstanding).toBe(0);
  });

  test('need no barrier to be sent', async () => {
    const { client, server } = await connected();

    client.map(mapping(1), ram(1));
    await settle();

    expect(server.ledger.size).toBe(1);
  });

  test('cost one request each, and agreeing two', async () => {
    const { client, server } = await connected();
    client.map(mapping(1), ram(1));
    await client.barrier();

    expect(server.commands).toEqual(['VERSION', 'DEVICE_GET_INFO']);
    expect(server.maps).toBe(1);
  });
});

describe('descriptors', () => {
  test('of RAM in a file come with each map, with the offset in the file', async () => {
    const file = fakeDescriptor(7);
    const block = new SharedBlock(0x100, file, 0x20_0000n);
    const { client, server } = await connected();

    client.map(mapping(1, 4), { block, page: 3 });
    client.map(mapping(9, 1), { block, page: 9 });
    await client.barrier();
    const files = [...server.files.values()].map(({ number }) => number);

    expect(files).toEqual([7, 7]);
    expect(server.mappings).toEqual(['1+4 -> 203 3', '9+1 -> 209 3']);
    client.unmap(1, 4);
    client.unmap(9, 1);
    await client.barrier();
    file.release();
  });

  test('are left out where none can be passed', async () => {
    const file = fakeDescriptor(7);
    const block = new SharedBlock(0x100, file, 0x20_0000n);
    const { client, server } = await connected({ pair: { descriptors: false } });

    client.map(mapping(1), { block, page: 3 });
    await client.barrier();

    expect(client.sharesMemory).toBe(false);
    expect(server.files.size).toBe(0);
    expect(server.mappings).toEqual(['1+1 -> 203 3']);
    file.release();
  });

  test('are left out for a server that takes none', async () => {
    const file = fakeDescriptor(7);
    const { client, server } = await connected({ capabilities: { maxMsgFds: 0 } });

    client.map(mapping(1), { block: new SharedBlock(16, file), page: 3 });
    await client.barrier();

    expect(client.sharesMemory).toBe(false);
    expect(server.files.size).toBe(0);
    file.release();
  });

  test('that a server sends with its answers are let go', async () => {
    const { client } = await connected({
      answer: (command) => {
        if (command.command !== Command.DMA_MAP) return false;
        const descriptor = fakeDescriptor(9);
        command.reply(undefined, [descriptor]);
        descriptor.release();
        return true;
      },
    });

    client.map(mapping(1), ram());
    await client.barrier();

    expect(openFakeDescriptors()).toBe(0);
  });

  test('of a file that is closed are a refusal of that map, however many there are', async () => {
    const file = fakeDescriptor(7);
    const block = new SharedBlock(0x1_0000, file);
    file.release();
    const { client, server } = await connected();

    for (let i = 0; i < 30_000; i++) client.map(mapping(i), { block, page: i });
    client.map(mapping(40_000), ram());
    const error = await errorOf(() => client.barrier());

    expect((error as HostRefusedError).refusals).toHaveLength(30_000);
    expect((error as HostRefusedError).refusals[0]).toEqual({
      op: 'map',
      iova: 0,
      pages: 1,
      errno: 'EBADF',
      reason: 'the file of this RAM was closed: keep it open while it is mapped',
    });
    expect(server.maps).toBe(1);
  });
});

describe('a barrier', () => {
  test('answers at once when nothing is under way', async () => {
    const { client } = await connected();

    expect(client.barrier()).toBeUndefined();
  });

  test('waits for what was asked before it, and not for what comes later', async () => {
    const { client, server } = await connected({ held: true });
    client.map(mapping(1), ram());
    const first = client.barrier();
    await settle();
    client.map(mapping(2), ram());
    await settle();

    server.answerHeld(([one]) => [one as () => void]);

    await expect(first).resolves.toBeUndefined();
    expect(client.outstanding).toBe(1);
    server.connection.close('the end');
  });

  test('does not pass another that was asked for before it', async () => {
    const { client, server } = await connected({ held: true });
    const order: number[] = [];
    client.map(mapping(1), ram());
    const first = (client.barrier() as Promise<void>).then(() => order.push(1));
    const second = (client.barrier() as Promise<void>).then(() => order.push(2));
    client.map(mapping(2), ram());
    const third = (client.barrier() as Promise<void>).then(() => order.push(3));
    await settle();

    server.answerHeld((waiting) => waiting.reverse());
    await Promise.all([first, second, third]);

    expect(order).toEqual([1, 2, 3]);
  });
});

describe('a refusal', () => {
  test('names its operation, whatever the order of the answers', async () => {
    const { client, server } = await connected({
      held: true,
      refuse: (n) => ({ 3: Errno.ENOSPC, 7: Errno.EINVAL })[n],
    });
    for (let i = 1; i <= 8; i++) client.map(mapping(i * 16, i), ram());
    const barrier = errorOf(() => client.barrier());
    await settle();

    server.answerHeld((waiting) => waiting.reverse());
    const error = await barrier;

    expect(error).toBeInstanceOf(HostRefusedError);
    expect((error as HostRefusedError).refusals).toEqual([
      {
        op: 'map',
        iova: 48,
        pages: 3,
        errno: 'ENOSPC',
        reason: expect.stringContaining('no room') as string,
      },
      {
        op: 'map',
        iova: 112,
        pages: 7,
        errno: 'EINVAL',
        reason: expect.stringContaining('a mapping') as string,
      },
    ]);
    expect(server.ledger.size).toBe(6);
  });

  test('belongs to the barrier after its operation, and to no other', async () => {
    const { client, server } = await connected({
      held: true,
      refuse: (n) => (n === 2 ? Errno.ENOMEM : undefined),
    });
    client.map(mapping(1), ram());
    const first = client.barrier();
    client.map(mapping(2), ram());
    const second = errorOf(() => client.barrier());
    client.map(mapping(3), ram());
    const third = client.barrier();
    await settle();
    server.answerHeld((waiting) => waiting.reverse());

    await expect(first).resolves.toBeUndefined();
    expect((await second).message).toContain('ENOMEM');
    await expect(third).resolves.toBeUndefined();
  });

  test('that is known already when the barrier is asked for is thrown by it, once', async () => {
    const { client } = await connected({ refuse: () => Errno.EEXIST });
    client.map(mapping(1), ram());
    await settle();

    expect(() => client.barrier()).toThrow(HostRefusedError);
    expect(client.barrier()).toBeUndefined();
  });

  test('of an unmap is one too', async () => {
    const { client } = await connected();
    client.unmap(5, 2);

    const error = await errorOf(() => client.barrier());

    expect((error as HostRefusedError).refusals).toEqual([
      {
        op: 'unmap',
        iova: 5,
        pages: 2,
        errno: 'ENOENT',
        reason: expect.stringContaining('exactly') as string,
      },
    ]);
  });

  test('with an errno that has no name here is told all the same', async () => {
    const { client } = await connected({ refuse: () => 4000 });
    client.map(mapping(1), ram());

    expect((await errorOf(() => client.barrier())).message).toBe(
      'errno 4000: the server gives no other reason: see what it logs',
    );
  });
});

describe('a server that is lost', () => {
  test('rejects barriers that wait with the reason, and those that follow', async () => {
    const { client, channels } = await connected({ held: true });
    client.map(mapping(1), ram());
    const waiting = errorOf(() => client.barrier());
    await settle();

    channels[0]?.close(true);
    const errors = [await waiting, await errorOf(() => client.barrier())];

    expect(errors[0]).toBeInstanceOf(ConnectionLostError);
    expect(errors.map(({ message }) => message)).toEqual([
      'the server closed the connection',
      'the server closed the connection',
    ]);
  });

  test('is told at once, without a barrier', async () => {
    const { client, server, events } = await connected();
    let calls = 0;
    client.whenLost(() => {
      calls++;
      expect(() => client.barrier()).toThrow(ConnectionLostError);
    });

    server.connection.close('the end');
    await settle();

    expect(calls).toBe(1);
    expect(events.map(({ kind }) => kind)).toEqual(['server-connected', 'server-lost']);
  });

  test('is not asked for anything more', async () => {
    const { client, server } = await connected();
    server.connection.close('the end');
    await settle();

    client.map(mapping(1), ram());
    client.unmap(1, 1);

    expect(client.outstanding).toBe(0);
    expect((await errorOf(() => client.barrier())).message).toContain('closed the connection');
  });

  test('because it answers what nobody asked says so', async () => {
    const { client, channels } = await connected({ held: true });
    client.map(mapping(1), ram());
    const barrier = errorOf(() => client.barrier());
    const reply = new Uint8Array(HEADER_BYTES);
    const header = { id: 999, command: Command.DMA_MAP, size: HEADER_BYTES, type: 'reply' } as const;
    writeHeader(reply, 0, { ...header, noReply: false, errno: 0 });
    channels[0]?.send(reply);

    expect((await barrier).message).toContain('a reply to DMA_MAP that nobody asked for (message 999)');
    expect((await client.closed).kind).toBe('protocol-error');
  });

  test('because it reads no more does not take memory without end', async () => {
    const { client, channels } = await connected({ maxDmaMaps: 10 });
    channels[0]?.pause();

    for (let i = 0; i < 110_000; i++) client.map(mapping(i), ram());

    expect((await client.closed).message).toBe(
      'the server is 65577 maps and unmaps behind and does not catch up',
    );
  });
});

describe('a slow server', () => {
  test('of 1 ms a map takes 10 s for 10,000, with a time-out of 100 ms, and loses none', async () => {
    const timers = new FakeTimers();
    const { client, server } = await connected({ held: true, timers, requestTimeout: 100 });
    for (let i = 0; i < 10_000; i++) client.map(mapping(i), ram(i));
    let over = false;
    const barrier = (client.barrier() as Promise<void>).then(() => (over = true));
    await settle();

    for (let ms = 1; ms <= 10_000; ms++) {
      timers.advance(1);
      server.answerOldest();
      if (ms % 64 === 0) await settle();
    }
    await barrier;

    expect(over).toBe(true);
    expect(server.ledger.size).toBe(10_000);
    expect(client.outstanding).toBe(0);
  });

  test('that stops answering for the time-out is lost', async () => {
    const timers = new FakeTimers();
    const { client } = await connected({ held: true, timers, requestTimeout: 100 });
    client.map(mapping(1), ram());
    const barrier = errorOf(() => client.barrier());
    await settle();

    timers.advance(100);
    timers.advance(100);

    expect((await barrier).message).toContain('answered none of 1 requests for 100 ms');
    expect(timers.pending).toBe(0);
  });

  test('is given 30 s where nothing else is said', async () => {
    const timers = new FakeTimers();
    const { client } = await connected({ held: true, timers });
    client.map(mapping(1), ram());
    const barrier = errorOf(() => client.barrier());
    await settle();

    timers.advance(60_000);

    expect((await barrier).message).toContain('answered none of 1 requests for 30000 ms');
  });

  test('has all the time in the world with a time-out of 0', async () => {
    const timers = new FakeTimers();
    const { client, server } = await connected({ held: true, timers, requestTimeout: 0 });
    client.map(mapping(1), ram());
    const barrier = client.barrier();
    await settle();

    timers.advance(10_000_000);
    server.answerHeld();
    await barrier;

    expect(client.outstanding).toBe(0);
  });

  test('leaves no timer behind when everything is answered', async () => {
    const timers = new FakeTimers();
    const { client } = await connected({ timers, requestTimeout: 100 });
    client.map(mapping(1), ram());
    await client.barrier();

    timers.advance(200);

    expect(client.barrier()).toBeUndefined();
    expect(timers.pending).toBe(0);
  });
});
