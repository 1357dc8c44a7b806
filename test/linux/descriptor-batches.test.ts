/** No descriptor is lost, kept or given to another message when many messages that have some are read at once. */
import { beforeAll, describe, expect, test } from 'vitest';
import { EventFd, openDescriptors, type SystemError } from '../../src/linux/index.ts';
import type { Descriptor } from '../../src/vfio-user/index.ts';
import { connectedEnds, noKoffi, Heard, pattern, turns, warmUp } from './sockets.ts';

/** More than one call reads. */
const MANY = 100;

describe.skipIf(noKoffi)('a batch of messages with descriptors', () => {
  let bell: EventFd;
  let before: number;

  beforeAll(async () => {
    bell = EventFd.create();
    await warmUp();
    before = openDescriptors();
  });

  const some = (count: number): Descriptor[] => Array.from({ length: count }, () => bell.descriptor);

  test('is handed over message by message, each with its own', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    for (let i = 0; i < MANY; i++) near.send(pattern(40 + i, i), some(1 + (i % 3)));

    far.start(heard);
    await heard.until((h) => h.reads.length === MANY);

    expect(heard.reads.map(({ bytes, descriptors }) => [bytes.length, descriptors.length])).toEqual(
      Array.from({ length: MANY }, (_, i) => [40 + i, 1 + (i % 3)]),
    );
    expect(heard.reads.every(({ bytes }, i) => Buffer.compare(bytes, pattern(40 + i, i)) === 0)).toBe(true);
    expect(new Set(heard.descriptors.map(({ number }) => number)).size).toBe(heard.descriptors.length);
    heard.release();
    near.close();
    far.close();
    expect(openDescriptors()).toBe(before);
  });

  test('may have messages among it that are larger than such a read, and ones without', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    const sizes = [48, 48, 48, 9000, 48, 30_000, 48, 48];
    const descriptors = [1, 1, 1, 1, 1, 0, 0, 1];
    for (const [i, size] of sizes.entries()) near.send(pattern(size, i), some(descriptors[i] ?? 0));

    far.start(heard);
    await heard.until((h) => h.bytes === sizes.reduce((sum, size) => sum + size));

    const begins = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, size) => sum + size, 0));
    const brought: number[] = [];
    let at = 0;
    for (const read of heard.reads) {
      // The last message that begins in what was read.
      const message = begins.findLastIndex((begin) => begin >= at && begin < at + read.bytes.length);
      if (read.descriptors.length > 0) brought.push(message);
      at += read.bytes.length;
    }
    expect(brought).toEqual([0, 1, 2, 3, 4, 7]);
    expect(heard.whole()).toEqual(Buffer.concat(sizes.map((size, i) => pattern(size, i))));
    heard.release();
    near.close();
    far.close();
    expect(openDescriptors()).toBe(before);
  });

  test('of a peer that is gone is handed over to its last byte', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    for (let i = 0; i < 20; i++) near.send(pattern(48), some(1));
    near.send(pattern(7), some(1));
    near.close();

    far.start(heard);
    await heard.until((h) => h.closes.length > 0);

    expect(heard.closes).toEqual([undefined]);
    expect([heard.bytes, heard.descriptors.length]).toEqual([20 * 48 + 7, 21]);
    heard.release();
    expect(openDescriptors()).toBe(before);
  });

  test('of a peer that went without reading is handed over all the same', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    for (let i = 0; i < 20; i++) near.send(pattern(48), some(1));
    far.send(pattern(10));
    near.close(true);

    far.start(heard);
    await heard.until((h) => h.closes.length > 0);

    expect(heard.closes).toEqual([undefined]);
    expect([heard.bytes, heard.descriptors.length]).toEqual([20 * 48, 20]);
    heard.release();
    expect(openDescriptors()).toBe(before);
  });

  test('in which one message has too many ends the connection there, and the rest is closed', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    for (let i = 0; i < 5; i++) near.send(pattern(48), some(1));
    near.send(pattern(48), some(17));
    for (let i = 0; i < 5; i++) near.send(pattern(48), some(2));

    far.start(heard);
    await heard.until((h) => h.closes.length > 0);

    expect((heard.closes[0] as SystemError).code).toBe('VIOMMU_DESCRIPTORS_LOST');
    expect([heard.reads.length, heard.descriptors.length]).toEqual([5, 5]);
    heard.release();
    near.close();
    expect(openDescriptors()).toBe(before);
  });

  test.each([
    ['closes the channel', (close: () => void) => close(), [undefined]],
    [
      'throws',
      () => {
        throw new Error('a mistake');
      },
      [new Error('a mistake')],
    ],
  ])('whose listener %s amid it is over there, and the rest is closed', async (_what, act, closes) => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    heard.onReceived = () => {
      if (heard.reads.length === 5) act(() => far.close());
    };
    for (let i = 0; i < MANY; i++) near.send(pattern(48), some(1));

    far.start(heard);
    await heard.until((h) => h.closes.length > 0);
    await turns();

    expect(heard.closes).toEqual(closes);
    expect([heard.reads.length, heard.descriptors.length]).toEqual([5, 5]);
    heard.release();
    near.close(true);
    expect(openDescriptors()).toBe(before);
  });

  test('whose listener pauses amid it stops after it, and goes on where it stopped', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    heard.onReceived = () => {
      if (heard.reads.length === 5) far.pause();
    };
    for (let i = 0; i < MANY; i++) near.send(pattern(48, i), some(1));

    far.start(heard);
    await heard.until((h) => h.reads.length >= 5);
    await turns();
    const whilePaused = heard.reads.length;
    far.resume();
    await heard.until((h) => h.reads.length === MANY);

    expect(whilePaused).toBeLessThan(40);
    expect(heard.whole()).toEqual(Buffer.concat(Array.from({ length: MANY }, (_, i) => pattern(48, i))));
    expect(heard.descriptors.length).toBe(MANY);
    heard.release();
    near.close();
    far.close();
    expect(openDescriptors()).toBe(before);
  });

  test('that is closed unread leaves nothing open', async () => {
    const { near, far } = await connectedEnds();
    const heard = new Heard();
    heard.onReceived = () => far.close(true);
    for (let i = 0; i < MANY; i++) near.send(pattern(48), some(2));

    far.start(heard);
    await heard.until((h) => h.closes.length > 0);

    expect(heard.descriptors.length).toBe(2);
    heard.release();
    near.close(true);
    expect(openDescriptors()).toBe(before);
  });
});
