import { afterEach, describe, expect, it } from 'vitest';
import type { Descriptor } from '../../../src/vfio-user/descriptor.ts';
import {
  Command,
  Errno,
  type IrqInfo,
  irqInfoReply,
  irqInfoRequest,
  IrqIndex,
  type SetIrqs,
} from '../../../src/vfio-user/wire/index.ts';
import { fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import type { RawClient } from './raw-client.ts';
import { buildWorld, plainBar, settle, type World } from './world.ts';

const { INTX, MSI, MSIX, ERR, REQ } = IrqIndex;
const everything = {
  intx: true,
  msi: { vectors: 4 },
  msix: { vectors: 8, bar: 0, tableOffset: 0, pbaOffset: 0x800 },
  bars: [plainBar(4096)],
};

/** Wires interrupts `start` and so on to eventfds of the given numbers. */
async function wire(
  client: RawClient,
  index: number,
  numbers: readonly number[],
  start = 0,
): Promise<number> {
  const eventfds = numbers.map((number) => fakeDescriptor(number));
  const errno = await client.setIrqs(
    { index, start, count: numbers.length, action: 'trigger', data: 'eventfd' },
    eventfds,
  );
  for (const eventfd of eventfds) eventfd.release();
  return errno;
}

function set(client: RawClient, request: Partial<SetIrqs>): Promise<number> {
  return client.setIrqs({ index: INTX, start: 0, count: 1, action: 'trigger', data: 'none', ...request });
}

async function info(client: RawClient, index: number): Promise<IrqInfo | number> {
  const { errno, payload } = await client.ask(
    Command.DEVICE_GET_IRQ_INFO,
    irqInfoRequest.encode({ argsz: 16, index }),
  );
  if (errno !== 0) return errno;
  const reply = irqInfoReply.decode(payload);
  if (!reply.ok) throw new Error(reply.reason);
  return reply.value;
}

let world: World;
let client: RawClient;
async function connect(): Promise<void> {
  world = buildWorld(everything);
  client = await world.client();
}

afterEach(async () => {
  client.channel.close();
  await settle();
  expect(openFakeDescriptors()).toBe(0);
});

describe('DEVICE_GET_IRQ_INFO', () => {
  it('counts the interrupts of each type', async () => {
    await connect();

    const counts = [];
    for (let index = 0; index < 5; index++) counts.push(((await info(client, index)) as IrqInfo).count);

    expect(counts).toEqual([1, 4, 8, 1, 1]);
    expect(await info(client, 5)).toBe(Errno.EINVAL);
  });

  it('says that INTA masks itself and that vectors can be added', async () => {
    await connect();

    expect(await info(client, INTX)).toMatchObject({ eventfd: true, maskable: true, automasked: true });
    expect(await info(client, MSIX)).toMatchObject({ eventfd: true, automasked: false, noresize: false });
  });
});

describe('DEVICE_SET_IRQS', () => {
  it('wires vectors, in pieces as QEMU sends them', async () => {
    await connect();

    expect(await wire(client, MSIX, [10, 11])).toBe(0);
    expect(await wire(client, MSIX, [12], 2)).toBe(0);

    for (const vector of [2, 0, 1]) expect(world.context.interrupts.trigger(vector)).toBe(true);
    expect(world.eventfds.rung).toEqual([12, 10, 11]);
  });

  it('replaces an eventfd and releases the one before', async () => {
    await connect();
    await wire(client, MSIX, [10]);

    await wire(client, MSIX, [20]);

    world.context.interrupts.trigger(0);
    expect(world.eventfds.rung).toEqual([20]);
    expect(openFakeDescriptors()).toBe(1);
  });

  it('refuses descriptors of which one is no eventfd, and wires none of them', async () => {
    await connect();

    expect(await wire(client, MSIX, [10, -1])).toBe(Errno.EINVAL);

    expect(world.context.interrupts.trigger(0)).toBe(false);
    expect(openFakeDescriptors()).toBe(0);
  });

  it('takes eventfds away again', async () => {
    await connect();
    await wire(client, MSIX, [10, 11]);

    expect(await set(client, { index: MSIX, start: 1, count: 1, data: 'eventfd' })).toBe(0);

    expect(world.context.interrupts.trigger(1)).toBe(false);
    expect(world.context.interrupts.trigger(0)).toBe(true);
    expect(openFakeDescriptors()).toBe(1);
  });

  it('disables a type with count 0', async () => {
    await connect();
    await wire(client, MSIX, [10, 11]);

    expect(await set(client, { index: MSIX, count: 0 })).toBe(0);

    expect(openFakeDescriptors()).toBe(0);
    expect(world.context.interrupts.mode).toBe('none');
  });

  it('lets the client trigger, all or some', async () => {
    await connect();
    await wire(client, MSI, [1, 2, 3]);

    await set(client, { index: MSI, count: 2 });
    await set(client, { index: MSI, count: 3, data: [false, false, true] });

    expect(world.eventfds.rung).toEqual([1, 2, 3]);
  });

  it.each<[string, Partial<SetIrqs>]>([
    ['an unknown type', { index: 5 }],
    ['a start beyond the end', { index: MSIX, start: 8 }],
    ['more than there are', { index: MSIX, start: 7, count: 2 }],
    ['2^32 - 1 of them', { index: MSIX, count: 0xffff_ffff }],
    ['masks of errors', { index: ERR, action: 'mask' }],
    ['masks of requests', { index: REQ, action: 'unmask' }],
  ])('refuses %s', async (_what, request) => {
    await connect();

    expect(await set(client, request)).toBe(Errno.EINVAL);
  });

  it('refuses more eventfds than interrupts, and releases them', async () => {
    await connect();
    const eventfds = [1, 2, 3].map((number) => fakeDescriptor(number));

    const errno = await client.setIrqs(
      { index: MSIX, start: 0, count: 2, action: 'trigger', data: 'eventfd' },
      eventfds,
    );
    release(eventfds);

    expect(errno).toBe(Errno.EINVAL);
    expect(openFakeDescriptors()).toBe(0);
  });

  it('refuses descriptors with other data, and releases them', async () => {
    await connect();
    const eventfds = [fakeDescriptor(1)];

    const errno = await client.setIrqs(
      { index: MSIX, start: 0, count: 1, action: 'trigger', data: 'none' },
      eventfds,
    );
    release(eventfds);

    expect(errno).toBe(Errno.EINVAL);
    expect(openFakeDescriptors()).toBe(0);
  });

  it('refuses masking by eventfd, and releases it', async () => {
    await connect();
    const eventfds = [fakeDescriptor(1)];

    const errno = await client.setIrqs(
      { index: INTX, start: 0, count: 1, action: 'unmask', data: 'eventfd' },
      eventfds,
    );
    release(eventfds);

    expect(errno).toBe(Errno.ENOTTY);
  });

  it('refuses to wire anything when the server rings no bells', async () => {
    world = buildWorld(everything, { eventfds: undefined as never });
    client = await world.client();

    expect(await wire(client, MSIX, [1])).toBe(Errno.EOPNOTSUPP);
  });
});

function release(descriptors: readonly Descriptor[]): void {
  for (const descriptor of descriptors) descriptor.release();
}

describe('a device that interrupts', () => {
  it('uses the best that the client has wired', async () => {
    await connect();
    const { interrupts } = world.context;
    expect(interrupts.mode).toBe('none');
    expect(interrupts.trigger()).toBe(false);
    interrupts.lower();

    await wire(client, INTX, [1]);
    expect(interrupts.mode).toBe('intx');
    await wire(client, MSI, [2]);
    expect(interrupts.mode).toBe('msi');
    await wire(client, MSIX, [3]);
    expect(interrupts.mode).toBe('msix');

    interrupts.trigger();
    await set(client, { index: MSIX, count: 0 });
    interrupts.trigger();
    await set(client, { index: MSI, count: 0 });
    interrupts.trigger();

    expect(world.eventfds.rung).toEqual([3, 2, 1]);
  });

  it('gets false for a vector that is not wired', async () => {
    await connect();
    await wire(client, MSIX, [1]);

    expect(world.context.interrupts.trigger(5)).toBe(false);
    expect(world.context.interrupts.trigger(5000)).toBe(false);
  });

  it('leaves a masked vector pending, which goes out when it is unmasked', async () => {
    await connect();
    await wire(client, MSIX, [1, 2]);
    await set(client, { index: MSIX, start: 1, action: 'mask' });

    expect(world.context.interrupts.trigger(1)).toBe(false);
    expect(await client.read(0, 0x800, 1)).toEqual(Uint8Array.of(2));
    await set(client, { index: MSIX, start: 1, action: 'unmask' });

    expect(world.eventfds.rung).toEqual([2]);
    expect(await client.read(0, 0x800, 1)).toEqual(Uint8Array.of(0));
  });

  it('tells of errors and asks to be removed, if somebody listens', async () => {
    await connect();
    const { interrupts } = world.context;
    expect([interrupts.error(), interrupts.requestRemoval()]).toEqual([false, false]);

    await wire(client, ERR, [8]);
    await wire(client, REQ, [9]);

    expect([interrupts.error(), interrupts.requestRemoval()]).toEqual([true, true]);
    expect(world.eventfds.rung).toEqual([8, 9]);
  });
});

describe('INTA', () => {
  it('is signalled once, and again when it is unmasked while it is up', async () => {
    await connect();
    await wire(client, INTX, [1]);
    const { interrupts } = world.context;

    expect([interrupts.trigger(), interrupts.trigger()]).toEqual([true, false]);
    await set(client, { action: 'unmask' });
    expect(world.eventfds.rung).toEqual([1, 1]);

    interrupts.lower();
    await set(client, { action: 'unmask' });
    expect(world.eventfds.rung).toEqual([1, 1]);
  });

  it('is signalled when it is wired while it is up', async () => {
    await connect();
    world.context.interrupts.trigger();

    await wire(client, INTX, [1]);

    expect(world.eventfds.rung).toEqual([1]);
  });

  it('is kept quiet by the command register, and shows in the status register', async () => {
    await connect();
    await wire(client, INTX, [1]);
    await client.write(7, 4, Uint8Array.of(0, 4));

    expect(world.context.interrupts.trigger()).toBe(false);
    expect(await client.read(7, 6, 1)).toEqual(Uint8Array.of(0x18));
    await client.write(7, 4, Uint8Array.of(0, 0));

    expect(world.eventfds.rung).toEqual([1]);
    world.context.interrupts.lower();
    expect(await client.read(7, 6, 1)).toEqual(Uint8Array.of(0x10));
  });

  it('is not there in a device without it', async () => {
    world = buildWorld();
    client = await world.client();

    expect(world.context.interrupts.trigger()).toBe(false);
    expect(await wire(client, INTX, [1])).toBe(Errno.EINVAL);
  });
});

describe('a reset', () => {
  it('leaves eventfds wired and forgets what was pending', async () => {
    await connect();
    await wire(client, MSIX, [1]);
    await wire(client, INTX, [2]);
    await set(client, { index: MSIX, action: 'mask' });
    world.context.interrupts.trigger(0);

    await client.ask(Command.DEVICE_RESET);
    await set(client, { index: MSIX, action: 'unmask' });

    expect(world.eventfds.rung).toEqual([]);
    expect(world.context.interrupts.trigger(0)).toBe(true);
  });

  it('does not let INTA through that the command register kept quiet', async () => {
    await connect();
    await wire(client, INTX, [1]);
    await client.write(7, 4, Uint8Array.of(0, 4));
    world.context.interrupts.trigger();

    await client.ask(Command.DEVICE_RESET);

    expect(world.eventfds.rung).toEqual([]);
    expect(world.context.interrupts.trigger()).toBe(true);
  });

  it('waits for the device', async () => {
    let finish: (() => void) | undefined;
    world = buildWorld({ reset: () => new Promise<void>((resolve) => (finish = resolve)) });
    client = await world.client();

    const answer = client.ask(Command.DEVICE_RESET);
    await settle();
    expect(client.replied).toEqual([0]);
    finish?.();

    expect((await answer).errno).toBe(0);
  });
});
