import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SendQueue } from '../../src/linux/send-queue.ts';
import { Descriptor } from '../../src/vfio-user/index.ts';
import { pattern } from './sockets.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

describe('a queue of what waits to be sent', () => {
  test('puts small messages together', () => {
    const queue = new SendQueue();

    for (let i = 0; i < 1000; i++) queue.push(pattern(16, i * 16));

    expect(Buffer.compare(queue.head()?.bytes as Uint8Array, pattern(16_000))).toBe(0);
    expect(queue.length).toBe(16_000);
  });

  test('lets nothing follow descriptors in one send, nor go before them', () => {
    const queue = new SendQueue();
    const descriptor = new Descriptor(3, () => {});
    queue.push(pattern(1));
    queue.push(pattern(2), [descriptor]);
    queue.push(pattern(3));

    const sends: [number, number][] = [];
    for (let head = queue.head(); head !== undefined; head = queue.head()) {
      sends.push([head.bytes.length, head.descriptors.length]);
      queue.taken(head.bytes.length);
    }

    expect(sends).toEqual([
      [1, 0],
      [2, 1],
      [3, 0],
    ]);
  });

  test('lets go of descriptors with the first byte', () => {
    const queue = new SendQueue();
    const closed: number[] = [];
    const descriptor = new Descriptor(3, (number) => closed.push(number));
    queue.push(pattern(10), [descriptor]);
    descriptor.release();
    const before = [...closed];

    queue.taken(1);

    expect([before, closed]).toEqual([[], [3]]);
    expect(queue.head()).toEqual({ bytes: pattern(9, 1), descriptors: [] });
  });

  test('keeps no bytes that were taken', async () => {
    const queue = new SendQueue();
    for (let i = 0; i < 10; i++) queue.push(pattern(100_000));
    const kept: WeakRef<ArrayBufferLike>[] = [];
    for (let head = queue.head(); head !== undefined; head = queue.head()) {
      kept.push(new WeakRef(head.bytes.buffer));
      queue.taken(head.bytes.length);
    }

    // What a WeakRef was made of in this turn stays until its end.
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();

    expect(kept.length).toBe(10);
    expect(kept.filter((buffer) => buffer.deref() !== undefined)).toEqual([]);
    expect(queue.length).toBe(0);
  });

  test('lets go of all descriptors when it is cleared', () => {
    const queue = new SendQueue();
    const closed: number[] = [];
    for (const number of [3, 4]) {
      const descriptor = new Descriptor(number, (n) => closed.push(n));
      queue.push(pattern(10), [descriptor]);
      descriptor.release();
    }

    queue.clear();

    expect([closed, queue.length, queue.head()]).toEqual([[3, 4], 0, undefined]);
  });

  test('gives back the bytes that were put in, whatever is taken at a time', () => {
    const step = fc.oneof(
      fc.record({ push: fc.integer({ min: 1, max: 70_000 }), with: fc.boolean() }),
      fc.record({ take: fc.integer({ min: 1, max: 100_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const queue = new SendQueue();
        const closed: number[] = [];
        let pushed = 0;
        let withDescriptors = 0;
        const out: Uint8Array[] = [];
        const take = (most: number): void => {
          const head = queue.head();
          if (head === undefined) return;
          const count = Math.min(most, head.bytes.length);
          out.push(head.bytes.slice(0, count));
          queue.taken(count);
        };
        for (const one of steps) {
          if ('take' in one) take(one.take);
          else {
            const descriptors = one.with ? [new Descriptor(withDescriptors++, (n) => closed.push(n))] : [];
            queue.push(pattern(one.push, pushed), descriptors);
            for (const descriptor of descriptors) descriptor.release();
            pushed += one.push;
          }
        }
        const waiting = queue.length;
        const taken = out.reduce((sum, bytes) => sum + bytes.length, 0);
        while (queue.length > 0) take(1_000_000);

        expect(waiting).toBe(pushed - taken);
        expect(Buffer.compare(Buffer.concat(out), pattern(pushed))).toBe(0);
        expect(closed).toEqual(Array.from({ length: withDescriptors }, (_, i) => i));
      }),
      { numRuns: 40 },
    );
  });
});
