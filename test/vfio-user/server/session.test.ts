import { afterEach, describe, expect, it } from 'vitest';
import { DenseRamBlock } from '../../../src/memory/index.ts';
import type { Channel, ChannelListener } from '../../../src/vfio-user/channel.ts';
import {
  Command,
  deviceFeatureRequest,
  deviceInfoReply,
  deviceInfoRequest,
  Errno,
  readHeader,
  regionIoFdsReply,
  regionIoFdsRequest,
  versionRequest,
} from '../../../src/vfio-user/wire/index.ts';
import { fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import { frame, mapPayload, QEMU_PROPOSAL, writePayload } from './raw-client.ts';
import { buildWorld, plainBar, settle } from './world.ts';

/** A channel whose other end is the test. */
class HandChannel implements Channel {
  readonly passesDescriptors = true;
  readonly queuedBytes = 0;
  readonly sent: Uint8Array[] = [];
  listener: ChannelListener | undefined;

  start(listener: ChannelListener): void {
    this.listener = listener;
  }

  send(bytes: Uint8Array): void {
    this.sent.push(bytes.slice());
  }

  pause(): void {}

  resume(): void {}

  close(): void {}
}

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

describe('VERSION', () => {
  it('announces what the server takes', async () => {
    const client = buildWorld().connect();

    expect(await client.version()).toEqual({
      major: 0,
      minor: 0,
      capabilities: {
        maxMsgFds: 16,
        maxDataXferSize: 1_048_576,
        maxDmaMaps: 65_535,
        pgsizes: 4096n,
        writeMultiple: true,
      },
    });
  });

  it.each([
    [0, 0],
    [1, 1],
    [7, 1],
  ])('answers minor version %i with %i', async (minor, expected) => {
    const client = buildWorld().connect();

    expect(await client.version({ ...QEMU_PROPOSAL, minor })).toMatchObject({ major: 0, minor: expected });
  });

  it('announces no feature that was not proposed', async () => {
    const client = buildWorld().connect();

    const reply = await client.version({ major: 0, minor: 1, capabilities: {} });

    expect(Object.keys((reply as typeof QEMU_PROPOSAL).capabilities)).not.toContain('writeMultiple');
  });

  it('announces no more mappings than were proposed', async () => {
    const client = buildWorld().connect();
    const capabilities = { ...QEMU_PROPOSAL.capabilities, maxDmaMaps: 100 };

    expect(await client.version({ ...QEMU_PROPOSAL, capabilities })).toMatchObject({
      capabilities: { maxDmaMaps: 100 },
    });
  });

  it('announces no more mappings than it holds', async () => {
    const client = buildWorld({}, { limits: { maxMappings: 50 } }).connect();

    expect(await client.version()).toMatchObject({ capabilities: { maxDmaMaps: 50 } });
  });

  it('announces as many mappings as were proposed, if it holds them', async () => {
    const client = buildWorld({}, { limits: { maxMappings: 2_000_000 } }).connect();
    const capabilities = { ...QEMU_PROPOSAL.capabilities, maxDmaMaps: 1_000_000 };

    expect(await client.version({ ...QEMU_PROPOSAL, capabilities })).toMatchObject({
      capabilities: { maxDmaMaps: 1_000_000 },
    });
  });

  it('announces no descriptors where none pass', async () => {
    const client = buildWorld().connect({ descriptors: false });

    expect(await client.version()).toMatchObject({ capabilities: { maxMsgFds: 0 } });
  });

  it('refuses another major version and ends the connection', async () => {
    const world = buildWorld();
    const client = world.connect();

    expect(await client.version({ ...QEMU_PROPOSAL, major: 1 })).toBe(Errno.EINVAL);
    await client.whenClosed();

    expect(world.server.connected).toBe(false);
    expect(world.observed.at(-1)?.message).toContain('it speaks version 1.0, and 0.1 is needed');
  });

  it('refuses anything else as the first command and ends the connection', async () => {
    const world = buildWorld();
    const client = world.connect();

    const { errno } = await client.ask(Command.DEVICE_GET_INFO, deviceInfoRequest.encode({ argsz: 16 }));
    await client.whenClosed();

    expect(errno).toBe(Errno.EINVAL);
    expect(world.observed.at(-1)?.message).toContain('its first command is DEVICE_GET_INFO');
  });

  it('carries out nothing that follows a refused one', async () => {
    const world = buildWorld();
    const client = world.connect();

    const first = client.ask(Command.DEVICE_RESET);
    void client.version();
    await client.whenClosed();

    expect((await first).errno).toBe(Errno.EINVAL);
    expect(world.log).toEqual([]);
  });

  it('refuses a client that takes no data', async () => {
    const client = buildWorld().connect();
    const capabilities = { ...QEMU_PROPOSAL.capabilities, maxDataXferSize: 0 };

    expect(await client.version({ ...QEMU_PROPOSAL, capabilities })).toBe(Errno.EINVAL);
  });

  it('refuses broken capabilities', async () => {
    const client = buildWorld().connect();
    const text = new TextEncoder().encode('\0\0\0\0{"capabilities":{"max_msg_fds":"many"}}\0');

    const { errno } = await client.ask(Command.VERSION, text);
    await client.whenClosed();

    expect(errno).toBe(Errno.EINVAL);
  });

  it('refuses a second one and goes on', async () => {
    const world = buildWorld();
    const client = await world.client();

    expect(await client.version()).toBe(Errno.EINVAL);

    expect(await client.map(0, 1)).toBe(0);
  });

  it('accepts commands that were sent right behind it', async () => {
    const world = buildWorld();
    const client = world.connect();

    const answers = await Promise.all([client.version(), client.map(0, 1), client.unmap(0, 1)]);

    expect(answers.slice(1)).toEqual([0, 0]);
    expect(world.log[0]).toBe('connected');
  });
});

describe('clients', () => {
  it('are served one at a time: another is told so and let go', async () => {
    const world = buildWorld();
    const first = await world.client();
    const second = world.connect();

    expect(await second.version()).toBe(Errno.EBUSY);
    await second.whenClosed();

    expect(await first.map(0, 1)).toBe(0);
    expect(world.observed.at(-1)?.message).toContain('another client is using device under test');
  });

  it('can come when the one before has gone, even in the same moment', async () => {
    const world = buildWorld();
    const first = await world.client();
    await first.map(0, 1);
    const second = world.connect();

    first.channel.close();
    await settle();

    expect(await second.version()).toMatchObject({ minor: 0 });
    expect(world.server.memory.size).toBe(0);
    expect(world.log).toEqual([
      'connected',
      'map 0x0+0x1000 @0x0 rw x1 ok',
      'disconnected closed-by-peer',
      'connected',
    ]);
  });

  it('wait for the one before, which has just gone, to be cleared away', async () => {
    const world = buildWorld();
    const [first, second] = [new HandChannel(), new HandChannel()];
    world.server.accept(first);
    world.server.accept(second);
    const proposal = frame(
      { id: 1, command: Command.VERSION, type: 'command', noReply: false, errno: 0 },
      versionRequest.encode(QEMU_PROPOSAL),
    );
    first.listener?.received(proposal, []);

    first.listener?.closed();
    second.listener?.received(proposal, []);
    await settle();

    expect(world.log).toEqual(['connected', 'disconnected closed-by-peer', 'connected']);
    expect(second.sent).toHaveLength(1);
    expect(readHeader(second.sent[0], 0)).toMatchObject({ id: 1, errno: 0 });
  });

  it('that go while they wait for that are not served', async () => {
    const world = buildWorld();
    const [first, second] = [new HandChannel(), new HandChannel()];
    world.server.accept(first);
    world.server.accept(second);
    const proposal = frame(
      { id: 1, command: Command.VERSION, type: 'command', noReply: false, errno: 0 },
      versionRequest.encode(QEMU_PROPOSAL),
    );
    first.listener?.received(proposal, []);

    first.listener?.closed();
    second.listener?.received(proposal, []);
    second.listener?.closed();
    await settle();

    expect(world.log).toEqual(['connected', 'disconnected closed-by-peer']);
    expect(world.server.connected).toBe(false);
  });

  it('that never say VERSION make room for others', async () => {
    const world = buildWorld({}, { limits: { maxWaiting: 3 } });
    const silent = Array.from({ length: 4 }, () => world.connect());

    await silent[0].whenClosed();

    expect(silent.map(({ closed }) => closed)).toEqual([true, false, false, false]);
    expect(await world.connect().version()).toMatchObject({ major: 0 });
  });

  it('take their memory, their files and their interrupts with them', async () => {
    const world = buildWorld({ intx: true });
    const client = await world.client();
    const ram = world.files.share('ram', new DenseRamBlock(16));
    const eventfd = fakeDescriptor(7);
    await client.map(0, 4, ram);
    await client.setIrqs({ index: 0, start: 0, count: 1, action: 'trigger', data: 'eventfd' }, [eventfd]);
    ram.release();
    eventfd.release();
    expect(openFakeDescriptors()).toBe(1);

    client.channel.close();
    await settle();

    expect(world.server.memory.size).toBe(0);
    expect(world.files.openFiles).toBe(0);
    expect(openFakeDescriptors()).toBe(0);
    expect(world.context.interrupts.mode).toBe('none');
  });

  it('leave the device as it is', async () => {
    const bar = plainBar(4096);
    const calls: string[] = [];
    const world = buildWorld({
      bars: [bar],
      connected: () => calls.push('connected'),
      disconnected: () => calls.push('disconnected'),
    });
    const first = await world.client();
    await first.write(0, 8, Uint8Array.of(1, 2, 3));
    first.channel.close();
    await settle();

    const second = await world.client();

    expect(await second.read(0, 8, 3)).toEqual(Uint8Array.of(1, 2, 3));
    expect(calls).toEqual(['connected', 'disconnected', 'connected']);
  });

  it('are sent away when the server is closed', async () => {
    const world = buildWorld();
    const client = await world.client();

    await world.server.close();
    await client.whenClosed();
    const late = world.connect();
    await late.whenClosed();

    expect(world.log.at(-1)).toBe('disconnected closed-here');
  });
});

describe('commands', () => {
  it('say what the device is', async () => {
    const client = await buildWorld().client();

    const { payload } = await client.ask(Command.DEVICE_GET_INFO, deviceInfoRequest.encode({ argsz: 16 }));

    expect(deviceInfoReply.decode(payload)).toEqual({
      ok: true,
      value: { reset: true, pci: true, regions: 9, irqs: 5 },
    });
  });

  it.each([
    ['unknown', 99],
    ['of dirty pages, which are no more', 14],
    ['that only servers send', Command.DMA_READ],
    ['of migration', Command.MIG_DATA_READ],
  ])('%s are refused with EINVAL and the connection goes on', async (_what, command) => {
    const client = await buildWorld().client();

    const { errno } = await client.ask(command, new Uint8Array(16));

    expect(errno).toBe(Errno.EINVAL);
    expect(await client.map(0, 1)).toBe(0);
  });

  it('about features are refused with ENOTTY', async () => {
    const client = await buildWorld().client();
    const request = { argsz: 16, feature: 1, get: true, set: false, probe: false, data: new Uint8Array(0) };

    const { errno } = await client.ask(Command.DEVICE_FEATURE, deviceFeatureRequest.encode(request));

    expect(errno).toBe(Errno.ENOTTY);
  });

  it('about descriptors for regions are answered with none', async () => {
    const client = await buildWorld().client();
    const request = regionIoFdsRequest.encode({ argsz: 64, index: 0 });

    const { payload } = await client.ask(Command.DEVICE_GET_REGION_IO_FDS, request);

    expect(regionIoFdsReply.decode(payload)).toMatchObject({ ok: true, value: { count: 0, subRegions: [] } });
  });

  it('that take no descriptors are refused when some come, and release them', async () => {
    const client = await buildWorld().client();
    const descriptors = [fakeDescriptor(1), fakeDescriptor(2)];

    const { errno } = await client.ask(Command.DEVICE_RESET, new Uint8Array(0), descriptors);
    for (const descriptor of descriptors) descriptor.release();

    expect(errno).toBe(Errno.EINVAL);
    expect(openFakeDescriptors()).toBe(0);
  });

  it('without an answer are carried out and not answered', async () => {
    const bar = plainBar(4096);
    const client = await buildWorld({ bars: [bar] }).client();

    client.send(Command.REGION_WRITE, writePayload(0, 0, Uint8Array.of(9)), { noReply: true });
    client.send(99, new Uint8Array(0), { noReply: true });
    const answer = await client.read(0, 0, 1);

    expect(answer).toEqual(Uint8Array.of(9));
    expect(client.replied).toEqual([0, 3]);
  });

  it('wait behind one that takes its time, and are answered in order', async () => {
    let finish: (() => void) | undefined;
    const slow = { ...plainBar(4096), read: () => new Promise<void>((resolve) => (finish = resolve)) };
    const world = buildWorld({ bars: [slow] });
    const client = await world.client();

    const answers = [client.read(0, 0, 4), client.map(0, 1), client.map(0, 1)];
    await settle();
    expect(client.replied).toEqual([0]);
    expect(world.server.memory.size).toBe(0);
    finish?.();

    expect(await Promise.all(answers)).toEqual([new Uint8Array(4), 0, Errno.EEXIST]);
    expect(client.replied).toEqual([0, 1, 2, 3]);
  });

  it('that wait are dropped with their descriptors when the client goes', async () => {
    const slow = { ...plainBar(4096), read: () => new Promise<void>(() => undefined) };
    const world = buildWorld({ bars: [slow] });
    const client = await world.client();
    void client.read(0, 0, 4);
    const descriptor = fakeDescriptor(1);
    client.send(Command.DMA_MAP, mapPayload(0, 1), { descriptors: [descriptor] });
    descriptor.release();
    await settle();
    expect(openFakeDescriptors()).toBe(1);

    client.channel.close();
    await settle();

    expect(openFakeDescriptors()).toBe(0);
  });
});

function fail(): void {
  throw new Error('oops');
}

describe('a device that fails', () => {
  it('gets its client EIO and is reported', async () => {
    const bar = {
      ...plainBar(4096),
      read: () => {
        throw new Error('no such register');
      },
      write: () => Promise.reject(new Error('too late')),
    };
    const world = buildWorld({ bars: [bar] });
    const client = await world.client();

    expect(await client.read(0, 0, 4)).toBe(Errno.EIO);
    expect(await client.write(0, 0, Uint8Array.of(1))).toBe(Errno.EIO);

    expect(world.observed.map(({ kind, message }) => `${kind}: ${message}`)).toEqual([
      'device-failed: the device failed in REGION_READ, which was answered with EIO: no such register',
      'device-failed: the device failed in REGION_WRITE, which was answered with EIO: too late',
    ]);
    expect(await client.map(0, 1)).toBe(0);
  });

  it('in connected or disconnected is reported and served on', async () => {
    const world = buildWorld({ connected: fail, disconnected: fail });
    const client = await world.client();
    client.channel.close();
    await settle();

    expect(world.observed.filter(({ kind }) => kind === 'device-failed')).toHaveLength(2);
    expect(await world.connect().version()).toMatchObject({ major: 0 });
  });
});
