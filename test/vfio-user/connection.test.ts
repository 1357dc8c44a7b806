import { afterEach, describe, expect, test } from 'vitest';
import {
  Command,
  Connection,
  type ConnectionOptions,
  ConnectionLostError,
  Errno,
  HEADER_BYTES,
  type IncomingCommand,
  releaseAll,
  type Reply,
  writeHeader,
} from '../../src/vfio-user/index.ts';
import {
  type ChannelPairOptions,
  createChannelPair,
  fakeDescriptor,
  type MemoryChannel,
  openFakeDescriptors,
} from './memory-channel.ts';
import { FakeTimers } from './fake-timers.ts';

const BYTES = Uint8Array.of(1, 2, 3);

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

describe('requests and replies', () => {
  test('a request gets the reply with its payload', async () => {
    const { near } = pair({ onCommand: (command) => command.reply(command.payload) });

    expect(await near.request(Command.REGION_READ, BYTES)).toEqual({
      errno: 0,
      payload: BYTES,
      descriptors: [],
    });
  });

  test('a refused request gets the errno and nothing else', async () => {
    const { near } = pair({ onCommand: (command) => command.fail(Errno.ENOENT) });

    expect(await near.request(Command.DMA_UNMAP)).toMatchObject({
      errno: Errno.ENOENT,
      payload: new Uint8Array(0),
    });
  });

  test('commands arrive in order, and may be answered in any', async () => {
    const seen: IncomingCommand[] = [];
    const { near } = pair({ onCommand: (command) => seen.push(command) });
    const first = near.request(Command.REGION_READ);
    const second = near.request(Command.DEVICE_RESET);
    await settle();

    seen[1]?.reply(Uint8Array.of(2));
    seen[0]?.reply(Uint8Array.of(1));

    expect(seen.map(({ command }) => command)).toEqual([Command.REGION_READ, Command.DEVICE_RESET]);
    expect((await first).payload).toEqual(Uint8Array.of(1));
    expect((await second).payload).toEqual(Uint8Array.of(2));
  });

  test('a posted command is handed over, and its answer is not sent', async () => {
    const seen: boolean[] = [];
    const { near, far } = pair({
      onCommand: (command) => {
        seen.push(command.noReply);
        command.reply();
      },
    });

    near.post(Command.REGION_WRITE, BYTES);
    await settle();

    expect(seen).toEqual([true]);
    expect(far.sentBytes).toBe(0);
  });

  test('answering twice is a mistake of the program', async () => {
    const seen: IncomingCommand[] = [];
    const { near } = pair({ onCommand: (command) => seen.push(command) });
    near.post(Command.DEVICE_RESET);
    await settle();
    seen[0]?.reply();

    expect(() => seen[0]?.fail(Errno.EIO)).toThrow('DEVICE_RESET was answered twice');
  });

  test('both sides may ask at once', async () => {
    const { near, farConnection } = pair(
      { onCommand: (command) => command.reply(Uint8Array.of(1)) },
      { onCommand: (command) => command.reply(Uint8Array.of(2)) },
    );

    const [there, back] = await Promise.all([
      near.request(Command.REGION_READ),
      farConnection.request(Command.DMA_READ),
    ]);

    expect([there.payload, back.payload]).toEqual([Uint8Array.of(1), Uint8Array.of(2)]);
  });

  test.each([1, 3, 15, 16, 17, 64])('messages survive deliveries of %i bytes', async (split) => {
    const { near } = pair({ onCommand: (command) => command.reply(command.payload) }, {}, { split });
    const payloads = [0, 1, 15, 16, 17, 300].map((length) => new Uint8Array(length).fill(length));

    const replies = await Promise.all(payloads.map((payload) => near.request(Command.REGION_READ, payload)));

    expect(replies.map(({ payload }) => payload)).toEqual(payloads);
  });

  test('messages sent in one turn travel in one send', async () => {
    const { near, sends } = pair({ onCommand: (command) => command.reply() });

    await Promise.all(Array.from({ length: 100 }, () => near.request(Command.DMA_UNMAP, new Uint8Array(24))));

    expect(sends()).toBe(1);
  });

  test('more requests than identifiers are all answered', async () => {
    const { near } = pair({ onCommand: (command) => command.reply(command.payload) });

    const replies = await Promise.all(
      Array.from({ length: 70_000 }, (_, i) => near.request(Command.REGION_READ, Uint8Array.of(i & 255))),
    );

    expect(replies.every(({ payload }, i) => payload[0] === (i & 255))).toBe(true);
  });
});

describe('descriptors', () => {
  test('go with their own message, whatever is around it', async () => {
    const counts: number[] = [];
    const { near } = pair({
      onCommand: (command) => {
        counts.push(command.descriptors.length);
        releaseAll(command.descriptors);
        command.reply();
      },
    });
    const descriptor = fakeDescriptor(7);

    await Promise.all([
      near.request(Command.DMA_UNMAP, new Uint8Array(24)),
      near.request(Command.DMA_MAP, new Uint8Array(32), [descriptor]),
      near.request(Command.DMA_UNMAP, new Uint8Array(24)),
      near.request(Command.DEVICE_SET_IRQS, new Uint8Array(20), [descriptor, descriptor]),
    ]);
    descriptor.release();

    expect(counts).toEqual([0, 1, 0, 2]);
  });

  test('come with a message that arrives in parts', async () => {
    const counts: number[] = [];
    const { near } = pair(
      {
        onCommand: (command) => {
          counts.push(command.descriptors.length);
          releaseAll(command.descriptors);
          command.reply();
        },
      },
      {},
      { split: 5 },
    );
    const descriptor = fakeDescriptor(7);

    await near.request(Command.DMA_MAP, new Uint8Array(32), [descriptor]);
    descriptor.release();

    expect(counts).toEqual([1]);
  });

  test('come back with a reply', async () => {
    const { near } = pair({
      onCommand: (command) => {
        const descriptor = fakeDescriptor(9);
        command.reply(BYTES, [descriptor]);
        descriptor.release();
      },
    });

    const reply = await near.request(Command.DEVICE_GET_REGION_INFO);

    expect(reply.descriptors.map(({ number }) => number)).toEqual([9]);
    releaseAll(reply.descriptors);
  });

  test('of a message that never came whole are released', async () => {
    const { near, raw } = pairWithRaw({});
    const descriptor = fakeDescriptor(7);
    raw.send(message({ size: 48, length: 20 }), [descriptor]);
    descriptor.release();
    await settle();

    raw.close();
    const reason = await near.closed;

    expect(reason).toEqual({
      kind: 'closed-by-peer',
      message: 'the peer closed the connection, 20 bytes into a message',
    });
  });

  test('in the middle of a message break the protocol', async () => {
    const { near, raw } = pairWithRaw({});
    const descriptor = fakeDescriptor(7);
    raw.send(message({ size: 48, length: 20 }));
    await settle();

    raw.send(new Uint8Array(4), [descriptor]);
    descriptor.release();

    expect((await near.closed).message).toContain('1 descriptors came in the middle of a message');
  });

  test('more than announced break the protocol', async () => {
    const { near, raw } = pairWithRaw({ maxDescriptors: 2 });
    const descriptors = [1, 2, 3].map(fakeDescriptor);

    raw.send(message({}), descriptors);
    releaseAll(descriptors);

    expect((await near.closed).message).toContain('3 descriptors came with one message, 2 are the most');
  });

  test('of a message that begins behind the one at which the connection is closed are released', async () => {
    const { near, raw } = pairWithRaw({ onCommand: () => near.close('no more') });
    const descriptor = fakeDescriptor(7);
    raw.send(message({}));
    raw.send(message({ size: 48 }), [descriptor]);
    descriptor.release();
    await near.closed;
    await settle();

    expect(openFakeDescriptors()).toBe(0);
  });

  test('held back with their commands are released at the end', async () => {
    const seen: IncomingCommand[] = [];
    const { near, raw } = pairWithRaw({ maxUnanswered: 1, onCommand: (command) => seen.push(command) });
    const descriptor = fakeDescriptor(7);
    raw.send(message({}));
    raw.send(message({}), [descriptor]);
    descriptor.release();
    await settle();

    raw.close();
    await near.closed;

    expect(seen.length).toBe(1);
  });
});

describe('peers that lie', () => {
  test.each([
    ['a size below the header', message({ size: 15 }), 'claims 15 bytes, less than its header'],
    ['a size above the limit', message({ size: 0xffff_ffff }), 'claims 4294967295 bytes'],
    ['a type that is none', message({ flags: 2 }), 'neither a command nor a reply'],
    ['a reply nobody asked for', message({ flags: 1 }), 'that nobody asked for'],
  ])('%s ends the connection', async (_, bytes, what) => {
    const { near, raw } = pairWithRaw({});

    raw.send(bytes);
    const reason = await near.closed;

    expect(reason.kind).toBe('protocol-error');
    expect(reason.message).toContain(what);
    expect(near.isOpen).toBe(false);
  });

  test('a reply to another command than asked loses the request', async () => {
    const { near, raw } = pairWithRaw({});
    const request = near.request(Command.REGION_READ);
    await settle();

    raw.send(message({ flags: 1, command: Command.DMA_MAP }));

    await expect(request).rejects.toBeInstanceOf(ConnectionLostError);
  });

  test('what follows the lie is not looked at', async () => {
    const seen: IncomingCommand[] = [];
    const { near, raw } = pairWithRaw({ onCommand: (command) => seen.push(command) });

    raw.send(Uint8Array.of(...message({ size: 3 }), ...message({})));
    await near.closed;

    expect(seen).toEqual([]);
  });
});

describe('back-pressure', () => {
  test('a flood of commands is held back, and goes on as answers are given', async () => {
    const seen: IncomingCommand[] = [];
    const { near } = pair({ maxUnanswered: 4, onCommand: (command) => seen.push(command) });
    const replies = Array.from({ length: 10 }, () => near.request(Command.DEVICE_RESET));
    await settle();
    const before = seen.length;

    for (let i = 0; i < 10; i++) {
      seen[i]?.reply();
      await settle();
    }

    expect(before).toBe(4);
    expect((await Promise.all(replies)).every(({ errno }) => errno === 0)).toBe(true);
  });

  test('replies pass commands that are held back', async () => {
    const { near, farConnection } = pair(
      { maxUnanswered: 1, onCommand: () => {} },
      { onCommand: (c) => c.reply(BYTES) },
    );
    for (let i = 0; i < 5; i++) near.send(Command.DEVICE_RESET, undefined, undefined, () => {});
    await settle();

    const reply = await farConnection.request(Command.DMA_READ);

    expect(farConnection.unanswered).toBe(5);
    expect(reply.payload).toEqual(BYTES);
    near.close('done');
  });

  test('reading stops when what is held back is large, and goes on afterwards', async () => {
    const seen: IncomingCommand[] = [];
    const { far, raw } = pairWithFar({ maxUnanswered: 1, onCommand: (command) => seen.push(command) });
    const large = new Uint8Array(1 << 20);
    writeHeader(large, 0, {
      id: 0,
      command: Command.REGION_WRITE,
      size: large.length,
      type: 'command',
      noReply: true,
      errno: 0,
    });
    for (let i = 0; i < 12; i++) raw.send(large);
    await settle();
    const waiting = raw.queuedBytes;

    while (seen.length < 12) {
      seen.at(-1)?.reply();
      await settle();
    }

    expect(waiting).toBeGreaterThan(4 << 20);
    expect(raw.queuedBytes).toBe(0);
    expect(far.unanswered).toBe(1);
  });

  test('commands are held back when their descriptors are many', async () => {
    const seen: IncomingCommand[] = [];
    const { near } = pair({ onCommand: (command) => seen.push(command) });
    const descriptors = Array.from({ length: 16 }, (_, number) => fakeDescriptor(number));

    for (let i = 0; i < 100; i++) near.post(Command.DMA_MAP, BYTES, descriptors);
    await settle();
    const before = seen.length;
    for (let i = 0; i < 100; i++) {
      releaseAll(seen[i]?.descriptors ?? []);
      seen[i]?.reply();
      await settle();
    }

    expect(before).toBe(16);
    expect(seen.length).toBe(100);
    releaseAll(descriptors);
  });

  test('a peer that never reads is not fed without bound', async () => {
    const { far, raw } = pairWithFar({ onCommand: (command) => command.reply(new Uint8Array(1 << 20)) });
    raw.pause();

    for (let i = 0; i < 100; i++) raw.send(message({ id: i }));
    await settle();

    expect(raw.queuedBytes).toBe(0);
    expect(far.unanswered).toBeGreaterThan(90);
  });

  test('a peer that reads again gets everything', async () => {
    const { raw, bytesRead } = pairWithFar({
      onCommand: (command) => command.reply(new Uint8Array(1 << 20)),
    });
    raw.pause();
    for (let i = 0; i < 20; i++) raw.send(message({ id: i }));
    await settle();

    raw.resume();
    await settle(400);

    expect(bytesRead()).toBe(20 * (HEADER_BYTES + (1 << 20)));
  });
});

describe('order', () => {
  test('a posted command does not overtake requests that wait for room', async () => {
    const seen: number[] = [];
    const { near } = pair({
      onCommand: (command) => {
        seen.push(command.payload[0] ?? 0);
        command.reply();
      },
    });
    for (let i = 0; i < 9000; i++) near.send(Command.DEVICE_RESET, Uint8Array.of(1), undefined, () => {});

    near.post(Command.DEVICE_RESET, Uint8Array.of(2));
    await settle(400);

    expect(seen.length).toBe(9001);
    expect(seen.indexOf(2)).toBe(9000);
  });

  test('large commands are held back by their size', async () => {
    const seen: IncomingCommand[] = [];
    const { near } = pair({ onCommand: (command) => seen.push(command) });

    for (let i = 0; i < 8; i++) near.post(Command.REGION_WRITE, new Uint8Array(1 << 20));
    await settle();

    expect(seen.length).toBe(4);
    near.close('done');
  });
});

describe('the end', () => {
  test('loses every request, and nothing can be asked afterwards', async () => {
    const { near, far } = pair({ onCommand: () => {} });
    const request = near.request(Command.DEVICE_RESET);
    await settle();

    far.close(true);

    await expect(request).rejects.toThrow('the peer closed the connection');
    await expect(near.request(Command.DEVICE_RESET)).rejects.toBeInstanceOf(ConnectionLostError);
  });

  test('by close lets what was sent arrive', async () => {
    const seen: number[] = [];
    const { near } = pair({ onCommand: (command) => seen.push(command.command) });

    near.post(Command.DEVICE_RESET);
    near.close('done');
    await settle();

    expect(seen).toEqual([Command.DEVICE_RESET]);
    expect(await near.closed).toEqual({ kind: 'closed-here', message: 'done' });
  });

  test('by close refuses what was not answered, held back or not', async () => {
    const { near, farConnection } = pair({ maxUnanswered: 2, onCommand: () => {} });
    const replies = [1, 2, 3, 4].map(() => near.request(Command.DMA_MAP));
    near.post(Command.REGION_WRITE);
    await settle();

    farConnection.close('done');

    const errnos = (await Promise.all(replies)).map(({ errno }) => errno);
    expect(errnos).toEqual([Errno.ENODEV, Errno.ENODEV, Errno.ENODEV, Errno.ENODEV]);
    expect((await near.closed).kind).toBe('closed-by-peer');
  });

  test('by close amid held-back commands leaves alone those that were handed over', async () => {
    const seen: IncomingCommand[] = [];
    const { near, farConnection } = pair({
      maxUnanswered: 1,
      onCommand: (command) => {
        seen.push(command);
        if (seen.length === 2) command.reply();
        if (seen.length === 3) farConnection.close('done');
      },
    });
    const descriptors = [1, 2, 3, 4].map(fakeDescriptor);
    const replies = descriptors.map((descriptor) => near.request(Command.DMA_MAP, BYTES, [descriptor]));
    await settle();

    seen[0]?.reply();
    await near.closed;

    const outcomes = await Promise.all(replies.map((reply) => reply.then(({ errno }) => errno, String)));
    expect(outcomes).toEqual([0, 0, Errno.ENODEV, Errno.ENODEV]);
    for (const command of seen) releaseAll(command.descriptors);
    releaseAll(descriptors);
  });

  test('by close refuses what still comes, until the peer is quiet', async () => {
    const timers = new FakeTimers();
    const { near, farConnection } = pair({ timers, lingers: true, onCommand: () => {} });
    farConnection.close('done');
    const descriptor = fakeDescriptor(7);
    const replies: Reply[] = [];
    for (let i = 0; i < 3; i++) {
      replies.push(await near.request(Command.DMA_MAP, new Uint8Array(32), [descriptor]));
      timers.advance(40);
    }
    descriptor.release();
    const open = near.isOpen;

    timers.advance(100);

    expect(replies.map(({ errno }) => errno)).toEqual([Errno.ENODEV, Errno.ENODEV, Errno.ENODEV]);
    expect(open).toBe(true);
    expect((await near.closed).kind).toBe('closed-by-peer');
    expect(timers.pending).toBe(0);
  });

  test('by close comes in the end to a peer that never becomes quiet', async () => {
    const timers = new FakeTimers();
    const { near, farConnection } = pair({ timers, lingers: true, onCommand: () => {} });
    farConnection.close('done');

    for (let i = 0; i < 100; i++) {
      near.post(Command.REGION_WRITE);
      await settle();
      timers.advance(40);
    }

    expect((await near.closed).kind).toBe('closed-by-peer');
  });

  test('an answer after it goes nowhere', async () => {
    const seen: IncomingCommand[] = [];
    const { near, farConnection } = pair({ onCommand: (command) => seen.push(command) });
    near.post(Command.DEVICE_RESET);
    await settle();
    near.close('done');
    await farConnection.closed;

    expect(() => seen[0]?.reply()).not.toThrow();
  });

  test('comes when the peer answers nothing for too long', async () => {
    const timers = new FakeTimers();
    const { near } = pair({ onCommand: () => {} }, { timers, requestTimeout: 1000 });
    const request = near.request(Command.DEVICE_RESET);
    await settle();

    // That the peer read the request counts as the last thing it did.
    timers.advance(2000);

    await expect(request).rejects.toThrow('has answered none of 1 requests for 1000 ms');
    expect((await near.closed).kind).toBe('timeout');
  });

  test('does not come while answers arrive, however slowly', async () => {
    const timers = new FakeTimers();
    const seen: IncomingCommand[] = [];
    const { near } = pair({ onCommand: (command) => seen.push(command) }, { timers, requestTimeout: 1000 });
    const replies: Promise<Reply>[] = Array.from({ length: 10 }, () => near.request(Command.DMA_MAP));
    await settle();

    for (const command of seen) {
      timers.advance(900);
      command.reply();
      await settle();
    }

    expect((await Promise.all(replies)).length).toBe(10);
  });

  test('comes when the peer reads nothing for too long', async () => {
    const timers = new FakeTimers();
    const { far, raw } = pairWithFar({
      onCommand: (command) => command.reply(BYTES),
      timers,
      requestTimeout: 1000,
    });
    raw.pause();
    raw.send(message({}));
    await settle();

    timers.advance(1000);

    expect((await far.closed).message).toBe('the peer has read none of 19 bytes for 1000 ms');
  });

  test('by close does not wait forever for a peer that never reads', async () => {
    const timers = new FakeTimers();
    const { far, raw } = pairWithFar({ timers, requestTimeout: 1000 });
    raw.pause();
    far.post(Command.DEVICE_RESET);
    far.close('done');
    const waiting = raw.over;

    timers.advance(2000);
    await settle();

    expect(waiting).toBe(false);
    expect(raw.over).toBe(true);
    expect(timers.pending).toBe(0);
  });

  test('leaves no timer behind', async () => {
    const timers = new FakeTimers();
    const { near } = pair({ onCommand: () => {} }, { timers, requestTimeout: 1000 });
    near.send(Command.DEVICE_RESET, undefined, undefined, () => {});

    near.close('done');
    timers.advance(100);
    await settle();

    expect(timers.pending).toBe(0);
  });
});

type Options = Partial<ConnectionOptions>;

function connection(channel: MemoryChannel, options: Options): Connection {
  return new Connection(channel, { name: 'the peer', onCommand: () => {}, ...options });
}

/** Two connections to each other; `farOptions` are the answering side's. */
function pair(farOptions: Options, nearOptions: Options = {}, channel: ChannelPairOptions = {}) {
  const [one, far] = createChannelPair(channel);
  let sends = 0;
  const send = one.send.bind(one);
  one.send = (...args) => {
    sends++;
    send(...args);
  };
  const near = connection(one, nearOptions);
  return { near, far, farConnection: connection(far, farOptions), sends: () => sends };
}

/** A connection, and the bare other end of its channel. */
function pairWithRaw(options: Options): { near: Connection; raw: MemoryChannel; bytesRead: () => number } {
  const [one, raw] = createChannelPair();
  let read = 0;
  raw.start({
    received: (bytes, descriptors) => {
      read += bytes.length;
      releaseAll(descriptors);
    },
    idle: () => {},
    drained: () => {},
    closed: () => {},
  });
  return { near: connection(one, { onCommand: ignore, ...options }), raw, bytesRead: () => read };
}

function ignore({ descriptors }: IncomingCommand): void {
  releaseAll(descriptors);
}

function pairWithFar(options: Options): { far: Connection; raw: MemoryChannel; bytesRead: () => number } {
  const { near, ...rest } = pairWithRaw(options);
  return { far: near, ...rest };
}

/** A message of zeros behind its header, whose fields can be wrong; `length` bytes of it. */
function message({
  id = 0,
  command = Command.DEVICE_RESET as number,
  size = 16,
  flags = 0,
  length = 16,
}): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, id, true);
  view.setUint16(2, command, true);
  view.setUint32(4, size, true);
  view.setUint32(8, flags, true);
  return bytes;
}

/** Lets everything that was sent arrive and be answered. */
async function settle(turns = 50): Promise<void> {
  for (let i = 0; i < turns; i++) await Promise.resolve();
}
