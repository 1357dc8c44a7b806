import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import {
  Command,
  Connection,
  type Descriptor,
  HEADER_BYTES,
  type IncomingCommand,
  readHeader,
  releaseAll,
  writeHeader,
} from '../../../src/vfio-user/index.ts';
import { type PassedMessage, VfioUserProxy } from '../../../src/vfio-user/proxy/index.ts';
import {
  createChannelPair,
  fakeDescriptor,
  type MemoryChannel,
  openFakeDescriptors,
} from '../memory-channel.ts';
import { settle } from './rig.ts';

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

interface Answer {
  readonly errno: number;
  readonly payload: Uint8Array;
  readonly descriptors: readonly number[];
}

/** One command of a side, and what the other answers. */
interface Exchange {
  readonly command: number;
  readonly payload: Uint8Array;
  readonly noReply: boolean;
  readonly descriptors: readonly number[];
  readonly answer: Answer;
}

const bytes = fc.uint8Array({ maxLength: 300 });
const descriptors = fc.array(fc.integer({ min: 3, max: 9 }), { maxLength: 3 });
const exchange = (commands: readonly number[]): fc.Arbitrary<Exchange> =>
  fc.record({
    command: fc.constantFrom(...commands),
    payload: bytes,
    noReply: fc.boolean(),
    descriptors,
    answer: fc.record({
      errno: fc.constantFrom(0, 0, 5, 22),
      payload: bytes,
      descriptors,
    }),
  });
const fromVmm = exchange([4, 5, 6, 7, 8, 9, 10, 13, 15, 16, 17, 18, 99]);
const fromServer = exchange([Command.DMA_READ, Command.DMA_WRITE, 77]);

/** One end: sends its own commands and answers the other's as the script says, some later than others. */
class Peer {
  readonly connection: Connection;
  readonly received: unknown[] = [];
  readonly answers: unknown[] = [];
  readonly #script: readonly Exchange[];
  #next = 0;
  #late: (() => void)[] = [];

  constructor(channel: MemoryChannel, script: readonly Exchange[]) {
    this.#script = script;
    this.connection = new Connection(channel, {
      name: 'the proxy',
      onCommand: (command) => this.#take(command),
    });
  }

  send(script: readonly Exchange[]): void {
    script.forEach(({ command, payload, noReply, descriptors: numbers }, i) => {
      withDescriptors(numbers, (handed) => {
        if (noReply) {
          this.connection.post(command, payload, handed);
          return;
        }
        this.connection.send(command, payload, handed, (reply) => {
          const { errno = -1, payload: body = payload, descriptors: got = [] } = reply ?? {};
          this.answers[i] = { errno, payload: body, descriptors: got.map(({ number }) => number) };
          releaseAll(got);
        });
      });
    });
  }

  /** Gives the answers that were put off. */
  catchUp(): void {
    for (const answer of this.#late.splice(0).toReversed()) answer();
  }

  #take(command: IncomingCommand): void {
    const { answer } = this.#script[this.#next++]!;
    this.received.push({
      command: command.command,
      payload: command.payload.slice(),
      noReply: command.noReply,
      descriptors: command.descriptors.map(({ number }) => number),
    });
    releaseAll(command.descriptors);
    const give = (): void => {
      if (answer.errno !== 0) command.fail(answer.errno);
      else withDescriptors(answer.descriptors, (handed) => command.reply(answer.payload, handed));
    };
    if (this.#next % 3 === 0) this.#late.push(give);
    else give();
  }
}

function withDescriptors(numbers: readonly number[], use: (handed: readonly Descriptor[]) => void): void {
  const handed = numbers.map((number) => fakeDescriptor(number));
  use(handed);
  releaseAll(handed);
}

function expectedAnswers(script: readonly Exchange[]): unknown[] {
  const refused = { payload: new Uint8Array(0), descriptors: [] };
  const answers: unknown[] = [];
  script.forEach(({ noReply, answer }, i) => {
    if (!noReply) answers[i] = answer.errno === 0 ? answer : { errno: answer.errno, ...refused };
  });
  return answers;
}

function expectedCommands(script: readonly Exchange[]): unknown[] {
  return script.map(({ answer: _answer, ...command }) => command);
}

test('all but DMA maps and VERSION passes in order and as it is, both ways', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fromVmm, { maxLength: 30 }),
      fc.array(fromServer, { maxLength: 30 }),
      fc.infiniteStream(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant(65_536))),
      async (vmmScript, serverScript, splits) => {
        const split = (): number => splits.next().value as number;
        const [vmmEnd, upstream] = createChannelPair({ split });
        const [downstream, serverEnd] = createChannelPair({ split });
        const proxy = new VfioUserProxy({ upstream, downstream });
        const vmm = new Peer(vmmEnd, serverScript);
        const server = new Peer(serverEnd, vmmScript);

        vmm.send(vmmScript);
        server.send(serverScript);
        for (let i = 0; i < 3; i++) {
          await settle();
          vmm.catchUp();
          server.catchUp();
        }
        await settle();

        expect(server.received).toEqual(expectedCommands(vmmScript));
        expect(vmm.received).toEqual(expectedCommands(serverScript));
        expect(vmm.answers).toEqual(expectedAnswers(vmmScript));
        expect(server.answers).toEqual(expectedAnswers(serverScript));
        proxy.close();
        await settle();
        expect(openFakeDescriptors()).toBe(0);
      },
    ),
    { numRuns: 100 },
  );
});

/** A peer of raw bytes: what it gets is kept message by message. */
function rawPeer(channel: MemoryChannel): {
  headers: ReturnType<typeof readHeader>[];
  send(id: number, command: number, payload?: Uint8Array, noReply?: boolean): void;
} {
  const headers: ReturnType<typeof readHeader>[] = [];
  channel.start({
    received: (received) => {
      for (let at = 0; at < received.length; at += readHeader(received, at)!.size)
        headers.push(readHeader(received, at));
    },
    idle: () => {},
    drained: () => {},
    closed: () => {},
  });
  return {
    headers,
    send(id, command, payload = new Uint8Array(0), noReply = false) {
      const message = new Uint8Array(HEADER_BYTES + payload.length);
      writeHeader(message, 0, { id, command, size: message.length, type: 'command', noReply, errno: 0 });
      message.set(payload, HEADER_BYTES);
      channel.send(message);
    },
  };
}

test('identifiers are the sender’s own, even one twice at a time', async () => {
  const [vmmEnd, upstream] = createChannelPair();
  const [downstream, serverEnd] = createChannelPair();
  const proxy = new VfioUserProxy({ upstream, downstream });
  const server = new Connection(serverEnd, { name: 'the proxy', onCommand: (command) => command.reply() });
  const vmm = rawPeer(vmmEnd);

  vmm.send(0xbeef, Command.DEVICE_RESET);
  vmm.send(0xbeef, Command.DEVICE_GET_INFO);
  vmm.send(7, Command.REGION_READ);
  await settle();

  expect(vmm.headers.map((header) => [header?.id, header?.command])).toEqual([
    [0xbeef, Command.DEVICE_RESET],
    [0xbeef, Command.DEVICE_GET_INFO],
    [7, Command.REGION_READ],
  ]);
  expect(server.isOpen).toBe(true);
  proxy.close();
});

test('what passes can be watched', async () => {
  const passed: PassedMessage[] = [];
  const [vmmEnd, upstream] = createChannelPair();
  const [downstream, serverEnd] = createChannelPair();
  const events = { passed: (message: PassedMessage) => passed.push(message) };
  const proxy = new VfioUserProxy({ upstream, downstream, events });
  const vmm = new Peer(vmmEnd, []);
  const server = new Connection(serverEnd, {
    name: 'the proxy',
    onCommand: (command) => {
      releaseAll(command.descriptors);
      command.fail(22);
    },
  });

  vmm.send([
    {
      command: 9,
      payload: new Uint8Array(4),
      noReply: false,
      descriptors: [5],
      answer: { errno: 0, payload: new Uint8Array(0), descriptors: [] },
    },
  ]);
  await settle();

  expect(passed).toEqual([
    { from: 'vmm', kind: 'command', command: 'REGION_READ', size: 20, descriptors: 1, result: 'ok' },
    { from: 'server', kind: 'reply', command: 'REGION_READ', size: 16, descriptors: 0, result: 'EINVAL' },
  ]);
  expect(server.isOpen).toBe(true);
  proxy.close();
});

describe('sides that cannot receive descriptors', () => {
  test('get the message without', async () => {
    const [vmmEnd, upstream] = createChannelPair();
    const [downstream, serverEnd] = createChannelPair({ descriptors: false });
    const proxy = new VfioUserProxy({ upstream, downstream });
    const vmm = new Peer(vmmEnd, []);
    const counts: number[] = [];
    const server = new Connection(serverEnd, {
      name: 'the proxy',
      onCommand: (command) => {
        counts.push(command.descriptors.length);
        command.reply();
      },
    });

    withDescriptors([4], (handed) =>
      vmm.connection.post(Command.DEVICE_SET_IRQS, new Uint8Array(20), handed),
    );
    await settle();

    expect([counts, server.isOpen]).toEqual([[0], true]);
    proxy.close();
  });
});

describe('a side that does not read', () => {
  const MEGABYTE = new Uint8Array(1 << 20);

  test('makes the other wait, and everything arrives when it reads again', async () => {
    const [vmmEnd, upstream] = createChannelPair();
    const [downstream, serverEnd] = createChannelPair();
    const proxy = new VfioUserProxy({ upstream, downstream });
    const vmm = rawPeer(vmmEnd);
    const seen: number[] = [];
    const server = new Connection(serverEnd, {
      name: 'the proxy',
      onCommand: (command) => {
        seen.push(command.payload[0] ?? -1);
        command.reply();
      },
    });
    serverEnd.pause();

    const sent = Array.from({ length: 60 }, (_, i) => {
      MEGABYTE[0] = i;
      vmm.send(i, Command.REGION_WRITE, MEGABYTE, i % 2 === 0);
      return i;
    });
    await settle();

    expect(seen).toEqual([]);
    expect(downstream.queuedBytes).toBeLessThan(4 << 20);
    expect(upstream.paused).toBe(true);
    serverEnd.resume();
    for (let i = 0; i < 100 && seen.length < sent.length; i++) await settle();
    await settle();
    expect([seen, upstream.paused, server.isOpen]).toEqual([sent, false, true]);
    expect(vmm.headers.map((header) => header?.id)).toEqual(sent.filter((i) => i % 2 === 1));
    proxy.close();
  });

  test('holds up the replies for it, and no more of them than it has room for', async () => {
    const [vmmEnd, upstream] = createChannelPair();
    const [downstream, serverEnd] = createChannelPair();
    const proxy = new VfioUserProxy({ upstream, downstream });
    const vmm = new Connection(vmmEnd, { name: 'the proxy', onCommand: (command) => command.reply() });
    const server = new Connection(serverEnd, {
      name: 'the proxy',
      onCommand: (command) => command.reply(MEGABYTE),
    });
    vmmEnd.pause();
    const replies: number[] = [];

    for (let i = 0; i < 60; i++) {
      vmm.send(Command.REGION_READ, new Uint8Array(16), undefined, () => replies.push(i));
    }
    await settle();

    expect(upstream.queuedBytes).toBeLessThan(16 << 20);
    expect(downstream.paused).toBe(true);
    vmmEnd.resume();
    for (let i = 0; i < 100 && replies.length < 60; i++) await settle();
    expect([replies.length, downstream.paused, server.isOpen]).toEqual([60, false, true]);
    proxy.close();
  });
});
