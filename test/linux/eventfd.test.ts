import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { EventFd, linuxPlatform, openDescriptors } from '../../src/linux/index.ts';
import { aioRinger, writingRinger } from '../../src/linux/eventfd-ringer.ts';
import { needLibc, openLibc } from '../../src/linux/libc.ts';
import type { Eventfds } from '../../src/vfio-user/index.ts';
import { noKoffi, scratchPath } from './sockets.ts';

describe.skipIf(noKoffi)('an eventfd', () => {
  const eventfds = linuxPlatform().eventfds as Eventfds;

  test('counts its signals until it is read', () => {
    const bell = EventFd.create();

    for (let i = 0; i < 3; i++) eventfds.signal(bell.descriptor);
    const counts = [bell.read(), bell.read()];
    bell.close();

    expect(counts).toEqual([3n, 0n]);
  });

  test('wakes those who wait, in order', async () => {
    const bell = EventFd.create();
    const waits = [bell.wait(), bell.wait()];

    bell.signal();
    const first = await waits[0];
    bell.signal();
    bell.signal();
    const second = await waits[1];
    bell.close();

    expect([first, second]).toEqual([1n, 2n]);
  });

  test('has told those who wait when it is closed', async () => {
    const bell = EventFd.create();
    const wait = bell.wait();

    bell.close();

    await expect(wait).rejects.toThrow('the eventfd was closed');
    await expect(bell.wait()).rejects.toThrow('the eventfd was closed');
  });

  test('leaves nothing open', () => {
    const before = openDescriptors();

    for (let i = 0; i < 100; i++) {
      const bell = EventFd.create();
      bell.close();
      bell.close();
    }

    expect(openDescriptors()).toBe(before);
  });
});

const libc = openLibc();
const ringers = [
  { kind: 'asynchronous I/O', ring: libc && aioRinger(libc) },
  { kind: 'write', ring: libc && writingRinger(libc) },
];
if (libc !== undefined && ringers[0]?.ring === undefined) {
  console.warn('ringing by asynchronous I/O is not tested: this system has none that works');
}

describe.each(ringers)('ringing by $kind', ({ ring }) => {
  test.skipIf(ring === undefined)('adds one, however often', () => {
    const bell = EventFd.create();

    for (let i = 0; i < 1000; i++) ring?.(bell.descriptor.number);
    const count = bell.read();
    bell.close();

    expect(count).toBe(1000n);
  });

  test.skipIf(ring === undefined)('does not wait for a full counter, even of a blocking eventfd', () => {
    const libc = needLibc('a test');
    const fd = libc.eventfd(0, 0);
    const full = 2n ** 64n - 2n;
    libc.write(fd, new Uint8Array(new BigUint64Array([full]).buffer), 8);

    ring?.(fd);
    ring?.(fd);

    const count = new BigUint64Array(1);
    libc.read(fd, new Uint8Array(count.buffer), 8);
    closeSync(fd);
    expect(count[0]).toBeGreaterThanOrEqual(full);
  });

  test.skipIf(ring === undefined)('leaves alone what is no eventfd', () => {
    const path = scratchPath('file');
    writeFileSync(path, 'as it was');
    const fd = openSync(path, 'r+');

    ring?.(fd);
    ring?.(1_000_000);

    closeSync(fd);
    expect(readFileSync(path, 'utf8')).toBe('as it was');
  });
});
