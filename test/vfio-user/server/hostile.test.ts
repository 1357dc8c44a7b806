import fc from 'fast-check';
import { afterEach, assert, describe, expect, it } from 'vitest';
import { DenseRamBlock } from '../../../src/memory/index.ts';
import type { Descriptor } from '../../../src/vfio-user/descriptor.ts';
import {
  Command,
  irqInfoRequest,
  regionReadRequest,
  setIrqsRequest,
  versionRequest,
} from '../../../src/vfio-user/wire/index.ts';
import { FakeTimers } from '../fake-timers.ts';
import { fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import { frame, mapPayload, QEMU_PROPOSAL, unmapPayload, writePayload } from './raw-client.ts';
import { buildWorld, plainBar, settle, type World } from './world.ts';

interface Sent {
  readonly bytes: Uint8Array;
  readonly descriptors: readonly Descriptor[];
}

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

function message(
  command: number,
  payload: Uint8Array = new Uint8Array(0),
  descriptors: readonly Descriptor[] = [],
): Sent {
  const header = { id: command, command, type: 'command' as const, noReply: false, errno: 0 };
  return { bytes: frame(header, payload), descriptors };
}

/** A session as a VMM has it, message by message; the descriptors are the caller's. */
function conversation(world: World): Sent[] {
  const eventfds = [fakeDescriptor(1), fakeDescriptor(2)];
  const irqs = setIrqsRequest.encode({ index: 1, start: 0, count: 2, action: 'trigger', data: 'eventfd' });
  return [
    message(Command.VERSION, versionRequest.encode(QEMU_PROPOSAL)),
    message(Command.DMA_MAP, mapPayload(0, 4), [world.files.share('a', new DenseRamBlock(8))]),
    message(Command.DEVICE_SET_IRQS, irqs, eventfds),
    message(Command.DMA_MAP, mapPayload(4, 4), [world.files.share('b', new DenseRamBlock(8))]),
    message(Command.REGION_WRITE, writePayload(0, 0, Uint8Array.of(1, 2, 3, 4))),
    message(Command.DMA_MAP, mapPayload(8, 4)),
    message(Command.DMA_UNMAP, unmapPayload(0, 4)),
    message(Command.DEVICE_RESET),
  ];
}

function worldOfBars(): World {
  return buildWorld({ bars: [plainBar(4096)], msi: { vectors: 4 } }, { timers: new FakeTimers() });
}

function release(sent: readonly Sent[]): void {
  for (const { descriptors } of sent) for (const descriptor of descriptors) descriptor.release();
}

describe('a client that vanishes', () => {
  it('at any byte of a conversation leaves nothing behind', async () => {
    const whole = conversation(worldOfBars());
    const length = whole.reduce((sum, { bytes }) => sum + bytes.length, 0);
    release(whole);
    for (let cut = 0; cut <= length; cut++) {
      const world = worldOfBars();
      const client = world.connect();
      const sent = conversation(world);
      let left = cut;
      for (const { bytes, descriptors } of sent) {
        const part = bytes.subarray(0, left);
        left -= part.length;
        if (part.length > 0) client.channel.send(part, descriptors);
      }
      release(sent);
      client.channel.close();
      await settle();
      assert.isFalse(world.server.connected, `served after ${cut} bytes`);
      assert.strictEqual(world.server.memory.size, 0, `mappings after ${cut} bytes`);
      assert.strictEqual(world.files.openFiles, 0, `files after ${cut} bytes`);
      assert.strictEqual(openFakeDescriptors(), 0, `descriptors after ${cut} bytes`);
    }
    expect(length).toBeGreaterThan(400);
  });

  it('is served as any other when its bytes come in pieces', async () => {
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.integer({ min: 1, max: 40 })), async (sizes) => {
        const world = worldOfBars();
        const client = world.connect({ split: () => sizes.next().value as number });
        const sent = conversation(world);

        for (const { bytes, descriptors } of sent) client.channel.send(bytes, descriptors);
        release(sent);
        await settle();

        expect(client.replied).toHaveLength(sent.length);
        expect(world.server.memory.size).toBe(2);
        expect(world.files.openFiles).toBe(1);
        client.channel.close();
        await settle();
        expect(openFakeDescriptors()).toBe(0);
      }),
      { numRuns: 50 },
    );
  });
});

describe('a client that sends anything', () => {
  it('is answered or let go, and leaves nothing behind', async () => {
    const commands = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.nat(0xffff));
    const messages = fc.array(
      fc.record({
        command: commands,
        payload: fc.uint8Array({ maxLength: 64 }),
        noReply: fc.boolean(),
        descriptors: fc.nat(3),
      }),
      { maxLength: 20 },
    );
    let answered = 0;
    await fc.assert(
      fc.asyncProperty(messages, async (list) => {
        const world = worldOfBars();
        const client = await world.client();
        for (const { command, payload, noReply, descriptors: count } of list) {
          const descriptors = Array.from({ length: count }, (_, i) => fakeDescriptor(i));
          client.send(command, payload, { noReply, descriptors });
          for (const descriptor of descriptors) descriptor.release();
        }
        await settle();
        const expected = list.filter(({ noReply }) => !noReply).length;
        expect(client.replied).toHaveLength(1 + expected);
        answered += expected;

        client.channel.close();
        await settle();
        expect(openFakeDescriptors()).toBe(0);
        expect(world.files.openFiles).toBe(0);
      }),
      { numRuns: 200 },
    );
    expect(answered).toBeGreaterThan(400);
  });

  it('survives mutated commands that almost mean something', async () => {
    const world = worldOfBars();
    const client = await world.client();
    const templates: readonly (readonly [number, Uint8Array])[] = [
      [Command.DMA_MAP, mapPayload(0, 4)],
      [Command.DMA_UNMAP, unmapPayload(0, 4)],
      [Command.REGION_READ, regionReadRequest.encode({ region: 7, offset: 0n, count: 4 })],
      [Command.REGION_WRITE, writePayload(7, 4, Uint8Array.of(1, 2))],
      [Command.DEVICE_GET_IRQ_INFO, irqInfoRequest.encode({ argsz: 16, index: 1 })],
      [
        Command.DEVICE_SET_IRQS,
        setIrqsRequest.encode({ index: 1, start: 0, count: 2, action: 'trigger', data: 'eventfd' }),
      ],
    ];
    const mutation = fc.record({
      which: fc.nat(templates.length - 1),
      at: fc.nat(31),
      byte: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff),
      run: fc.integer({ min: 1, max: 8 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 30 }), async (list) => {
        const before = client.replied.length;
        for (const { which, at, byte, run } of list) {
          const [command, template] = templates[which];
          const payload = template.slice().fill(byte, at, at + run);
          client.send(command, payload);
        }
        await settle();
        expect(client.replied.length - before).toBe(list.length);
      }),
      { numRuns: 300 },
    );
    expect(world.observed.filter(({ kind }) => kind === 'device-failed')).toEqual([]);
    client.channel.close();
    await settle();
    expect(world.server.memory.size).toBe(0);
  });
});

describe('a client that is turned away', () => {
  it('leaves no descriptor of a message that it had only begun', async () => {
    const timers = new FakeTimers();
    const client = buildWorld({}, { timers }).connect();
    const descriptors = [fakeDescriptor(1), fakeDescriptor(2)];
    const { bytes } = message(Command.DMA_MAP, mapPayload(0, 4));
    client.send(Command.DEVICE_RESET);
    client.channel.send(bytes.subarray(0, 20), descriptors);
    release([{ bytes, descriptors }]);
    await settle();

    timers.advance(100);
    await client.whenClosed();

    expect(client.replied).toHaveLength(1);
    expect(openFakeDescriptors()).toBe(0);
  });
});

describe('a client that floods', () => {
  it('does not make answers pile up when it never reads', async () => {
    const world = buildWorld({ bars: [plainBar(2 ** 20)] });
    const client = await world.client();
    client.channel.pause();
    const request = regionReadRequest.encode({ region: 0, offset: 0n, count: 2 ** 20 });
    const [, there] = [client.channel, world.channels.at(-1)!];

    for (let i = 0; i < 100; i++) client.send(Command.REGION_READ, request);
    await settle();

    expect(there.queuedBytes).toBeLessThan(8 << 20);
    client.channel.close();
    await settle();
    expect(world.server.connected).toBe(false);
  });

  it('does not make answers pile up behind a command that takes its time, either', async () => {
    let finish: (() => void) | undefined;
    const reset = (): Promise<void> => new Promise((resolve) => (finish = resolve));
    const world = buildWorld({ bars: [plainBar(2 ** 20)], reset });
    const client = await world.client();
    client.channel.pause();
    const request = regionReadRequest.encode({ region: 0, offset: 0n, count: 2 ** 20 });
    client.send(Command.DEVICE_RESET);
    for (let i = 0; i < 30; i++) client.send(Command.REGION_READ, request);
    await settle();

    finish?.();
    await settle();
    const queued = world.channels.at(-1)!.queuedBytes;
    client.channel.resume();
    await settle();

    expect(queued).toBeLessThan(8 << 20);
    expect(client.replied).toHaveLength(32);
    client.channel.close();
    await settle();
  });

  it('is let go when it neither reads nor answers for too long', async () => {
    const timers = new FakeTimers();
    const world = buildWorld({ bars: [plainBar(2 ** 20)] }, { timers, limits: { requestTimeout: 1000 } });
    const client = await world.client();
    await client.map(0, 1);
    const read = world.server.memory.read(0n, new Uint8Array(1)).catch((error: unknown) => error);
    await settle();

    timers.advance(1000);
    timers.advance(1000);
    await settle();

    expect(await read).toMatchObject({ errno: 'ENOTCONN' });
    expect(world.log.at(-1)).toBe('disconnected timeout');
  });

  it('is let go when it answers what nobody asked', async () => {
    const world = buildWorld();
    const client = await world.client();

    client.channel.send(
      frame({ id: 7, command: Command.DMA_READ, type: 'reply', noReply: false, errno: 0 }, new Uint8Array(0)),
    );
    await client.whenClosed();

    expect(world.log.at(-1)).toBe('disconnected protocol-error');
  });

  it('is let go when it claims a message of 4 GiB', async () => {
    const world = buildWorld();
    const client = await world.client();
    const bytes = frame({ id: 7, command: 1, type: 'command', noReply: false, errno: 0 }, new Uint8Array(0));
    new DataView(bytes.buffer).setUint32(4, 0xffff_ffff, true);

    client.channel.send(bytes);
    await client.whenClosed();

    expect(world.log.at(-1)).toBe('disconnected protocol-error');
  });
});
