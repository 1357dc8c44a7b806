import { afterEach, describe, expect, test } from 'vitest';
import {
  type Channel,
  type ChannelListener,
  Command,
  type Descriptor,
  HEADER_BYTES,
  writeHeader,
} from '../../../src/vfio-user/index.ts';
import { type ProxyEnd, VfioUserProxy } from '../../../src/vfio-user/proxy/index.ts';
import {
  createChannelPair,
  fakeDescriptor,
  type MemoryChannel,
  openFakeDescriptors,
} from '../memory-channel.ts';
import { FakeTimers } from '../fake-timers.ts';
import { numberedFiles, rig, settle, Vmm } from './rig.ts';
import { StrictServer } from './strict-server.ts';

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

/** A channel of a process that dies when it has sent so many bytes. */
class MortalChannel implements Channel {
  readonly passesDescriptors = true;
  readonly #channel: MemoryChannel;
  #left: number;

  constructor(channel: MemoryChannel, bytes: number) {
    this.#channel = channel;
    this.#left = bytes;
  }

  get queuedBytes(): number {
    return this.#channel.queuedBytes;
  }

  start(listener: ChannelListener): void {
    this.#channel.start(listener);
    if (this.#left === 0) this.#channel.close();
  }

  send(bytes: Uint8Array, descriptors?: readonly Descriptor[]): void {
    const sent = bytes.subarray(0, this.#left);
    this.#left -= sent.length;
    this.#channel.send(sent, sent.length === 0 ? [] : descriptors);
    if (this.#left === 0) this.#channel.close();
  }

  pause(): void {
    this.#channel.pause();
  }

  resume(): void {
    this.#channel.resume();
  }

  close(discard?: boolean): void {
    this.#channel.close(discard);
  }
}

/** The connection may end before the answer. */
const ignore = (): void => {};

/** A conversation with something of everything, in which a side may die. Returns how it ended and the bytes that each side sent. */
async function converse(
  merge: boolean,
  lives: { vmm?: number; server?: number },
): Promise<{
  end: ProxyEnd | undefined;
  vmmBytes: number;
  serverBytes: number;
  open: number;
  over: boolean[];
}> {
  const [vmmEnd, upstream] = createChannelPair();
  const [downstream, serverEnd] = createChannelPair();
  const proxy = new VfioUserProxy({ upstream, downstream, merge, files: numberedFiles });
  const server = new StrictServer(new MortalChannel(serverEnd, lives.server ?? Number.POSITIVE_INFINITY));
  const vmm = new Vmm(new MortalChannel(vmmEnd, lives.vmm ?? Number.POSITIVE_INFINITY), (command) => {
    const file = fakeDescriptor(8);
    command.reply(command.payload, [file]);
    file.release();
  });
  let end: ProxyEnd | undefined;
  const watch = async (): Promise<void> => {
    end = await proxy.closed;
  };
  void watch();
  void vmm.version().catch(ignore);
  await settle();
  for (let i = 0; i < 4; i++) void vmm.map({ iova: i, offset: i, file: 1 }).catch(ignore);
  void vmm.map({ iova: 9, file: 2 }).catch(ignore);
  const irq = fakeDescriptor(7);
  vmm.connection.post(Command.DEVICE_SET_IRQS, new Uint8Array(20), [irq]);
  irq.release();
  void vmm.connection.request(Command.REGION_READ, new Uint8Array(24)).catch(ignore);
  void vmm.unmap(1, 1).catch(ignore);
  await settle();
  void server.connection
    .request(Command.DMA_READ, new Uint8Array(16))
    .then(({ descriptors }) => descriptors.forEach((descriptor) => descriptor.release()))
    .catch(ignore);
  void vmm.unmap(0, 100).catch(ignore);
  await settle();
  const [vmmBytes, serverBytes] = [vmmEnd.sentBytes, serverEnd.sentBytes];
  const ended = end;
  if (ended === undefined) proxy.close();
  await settle();
  const over = [upstream.over, downstream.over];
  return { end: ended, vmmBytes, serverBytes, open: openFakeDescriptors(), over };
}

describe.each([{ merge: false }, { merge: true }])('death after any byte %j', ({ merge }) => {
  test.each(['vmm', 'server'] as const)(
    'of the %s ends the other side, and nothing is left',
    async (side) => {
      const whole = await converse(merge, {});
      expect(whole).toMatchObject({ end: undefined, open: 0, over: [true, true] });
      const bytes = side === 'vmm' ? whole.vmmBytes : whole.serverBytes;
      const wrong: unknown[] = [];

      for (let life = 0; life < bytes; life++) {
        const { end, open, over } = await converse(merge, { [side]: life });
        const isRight =
          end?.side === side && end.reason.kind === 'closed-by-peer' && open === 0 && over.every(Boolean);
        if (!isRight) wrong.push({ life, end, open, over });
      }

      expect(bytes).toBeGreaterThan(300);
      expect(wrong).toEqual([]);
    },
  );
});

test.each([
  ['vmm', 'the VMM closed the connection: the connection to the server was ended'],
  ['server', 'the server closed the connection: the connection to the VMM was ended'],
] as const)('the end of the %s says whose it was and what follows', async (side, message) => {
  const ended: ProxyEnd[] = [];
  const { proxy, channels } = rig({ proxy: { events: { ended: (end) => ended.push(end) } } });

  channels[side].close();

  expect(await proxy.closed).toMatchObject({ side, message });
  expect(ended).toEqual([await proxy.closed]);
});

test('a connection that fails says how', async () => {
  const { proxy, channels } = rig();

  channels.downstream.fail(new Error('recvmsg: ECONNRESET'));

  expect((await proxy.closed).message).toBe(
    'the connection to the server failed: recvmsg: ECONNRESET: the connection to the VMM was ended',
  );
});

test('closing it ends both sides, once', async () => {
  const { vmm, server, proxy } = rig();

  proxy.close('told to end');
  proxy.close('and again');

  expect(await proxy.closed).toMatchObject({
    side: 'here',
    message: 'told to end: both connections were ended',
  });
  expect([(await vmm.connection.closed).kind, (await server.connection.closed).kind]).toEqual([
    'closed-by-peer',
    'closed-by-peer',
  ]);
});

test('what passed on before the end still arrives', async () => {
  const { vmm, server, proxy, channels } = rig();

  vmm.connection.post(Command.REGION_WRITE, new Uint8Array(16));
  vmm.connection.flush();
  channels.vmm.close();
  await proxy.closed;
  await settle();

  expect(server.commands).toEqual([`${Command.REGION_WRITE}`]);
});

test('a server that never reads what passed on does not keep the connection, where there is a clock', async () => {
  const timers = new FakeTimers();
  const { vmm, proxy, channels } = rig({ proxy: { timers } });
  channels.server.pause();
  vmm.connection.post(Command.REGION_WRITE, new Uint8Array(16));
  await settle();
  channels.vmm.close();
  await proxy.closed;
  const before = channels.downstream.queuedBytes;

  timers.advance(60_000);
  await settle();

  expect([before > 0, channels.downstream.queuedBytes, timers.pending]).toEqual([true, 0, 0]);
});

/** A proxy whose server has some 10 MiB in front of it. */
async function stuffed(timers: FakeTimers): Promise<ReturnType<typeof rig>> {
  const all = rig({ proxy: { timers } });
  all.channels.server.pause();
  for (let i = 0; i < 160; i++) all.vmm.connection.post(Command.REGION_WRITE, new Uint8Array(65_536));
  await settle();
  return all;
}

describe('a server that reads no more', () => {
  test('ends the link in the end, for a VMM that waits to be read is not seen to leave', async () => {
    const timers = new FakeTimers();
    const { proxy, channels } = await stuffed(timers);
    const { paused } = channels.upstream;

    timers.advance(30_000);
    const end = await proxy.closed;
    timers.advance(30_000);

    expect([paused, end.side, end.reason.kind]).toEqual([true, 'server', 'timeout']);
    expect(end.message).toBe('the server has read nothing for 30 s: the connection to the VMM was ended');
    expect(timers.pending).toBe(0);
  });

  test('and reads again in time gets everything', async () => {
    const timers = new FakeTimers();
    const { vmm, proxy, server, channels } = await stuffed(timers);
    timers.advance(29_000);
    channels.server.resume();
    await settle();

    timers.advance(60_000);

    expect(server.commands).toHaveLength(160);
    expect([vmm.connection.isOpen, timers.pending]).toEqual([true, 0]);
    proxy.close();
    await settle();
  });
});

function message(id: number, command: number, size: number, type: 'command' | 'reply' = 'reply'): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  writeHeader(bytes, 0, { id, command, size, type, noReply: false, errno: 0 });
  return bytes;
}

/** A proxy whose server answers whatever it gets with `bytes`. */
async function lie(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): Promise<ProxyEnd> {
  const [vmmEnd, upstream] = createChannelPair();
  const [downstream, serverEnd] = createChannelPair();
  const proxy = new VfioUserProxy({ upstream, downstream, files: numberedFiles, merge: true });
  serverEnd.start({
    received: (_, handed) => {
      for (const descriptor of handed) descriptor.release();
      serverEnd.send(bytes, descriptors);
      for (const descriptor of descriptors) descriptor.release();
    },
    idle: () => {},
    drained: () => {},
    closed: () => {},
  });
  const vmm = new Vmm(vmmEnd, () => {});
  void vmm.map({ iova: 1, file: 1 }).catch(() => {});
  const end = await proxy.closed;
  await settle();
  return end;
}

describe('a server that lies', () => {
  test.each([
    ['a reply that nobody asked for', message(99, Command.DMA_MAP, 16), 'that nobody asked for'],
    ['a reply to another command', message(0, Command.DMA_UNMAP, 16), 'that nobody asked for'],
    ['a size below the header', message(0, Command.DMA_MAP, 3), 'less than its header'],
    ['a size beyond all bounds', message(0, Command.DMA_MAP, 0xffff_ffff), 'are the most'],
  ])('about %s ends the link with the reason', async (_, bytes, why) => {
    const end = await lie(bytes);

    expect([end.side, end.reason.kind]).toEqual(['server', 'protocol-error']);
    expect(end.message).toContain(why);
  });

  test('and sends more descriptors than it may ends it, and leaves none', async () => {
    const many = Array.from({ length: 17 }, (_, i) => fakeDescriptor(i));

    const end = await lie(message(0, Command.DMA_MAP, 16), many);

    expect(end.message).toContain('17 descriptors');
  });

  test('and sends a descriptor with the reply to a map leaves none', async () => {
    const { vmm, proxy } = rig();
    const [vmmEnd, upstream] = createChannelPair();
    const [downstream, serverEnd] = createChannelPair();
    const other = new VfioUserProxy({ upstream, downstream });
    serverEnd.start({
      received: () => {
        const stray = fakeDescriptor(5);
        serverEnd.send(message(0, Command.DMA_MAP, 16), [stray]);
        stray.release();
      },
      idle: () => {},
      drained: () => {},
      closed: () => {},
    });

    expect(await new Vmm(vmmEnd, () => {}).map({ iova: 1 })).toBe(0);

    expect([openFakeDescriptors(), vmm.connection.isOpen]).toEqual([0, true]);
    other.close();
    proxy.close();
  });
});

test('a VMM that maps without end is refused at the limit, and what it sent is not kept', async () => {
  const { vmm, proxy, server } = rig({ proxy: { merge: true, limits: { maxDmaMaps: 100 } } });

  const errnos = await Promise.all(Array.from({ length: 3000 }, (_, i) => vmm.map({ iova: 2 * i, file: i })));

  expect([errnos.filter((errno) => errno === 0).length, server.most, server.refusals]).toEqual([
    100,
    100,
    [],
  ]);
  expect(openFakeDescriptors()).toBe(64);
  expect(await vmm.unmapBytes(0n, 1n << 40n)).toBe(0);
  expect(server.table.size).toBe(0);
  proxy.close();
  await settle();
});
