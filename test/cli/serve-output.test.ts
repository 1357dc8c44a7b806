import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OutputQueue } from '../../src/cli/serve/output-queue.ts';
import { OutputClosedError } from '../../src/cli/terminal/io.ts';

/** Standard output whose reader takes a write only when told to. */
function slowOutput(): { out: (text: string) => Promise<void>; writes: string[]; take: () => void } {
  const writes: string[] = [];
  let waiting: (() => void) | undefined;
  return {
    writes,
    out: (text) => {
      writes.push(text);
      return new Promise((resolve) => {
        waiting = resolve;
      });
    },
    take: () => {
      waiting?.();
      waiting = undefined;
    },
  };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const ignore = (): void => {};

describe('output that does not make anybody wait', () => {
  test('what comes in one turn is one write', async () => {
    const writes: string[] = [];
    const queue = new OutputQueue(async (text) => void writes.push(text), ignore, ignore);

    queue.write('a\n');
    queue.write('b\n');
    await queue.drained();

    expect(writes).toEqual(['a\nb\n']);
  });

  test('a text of pieces keeps its place between lines', async () => {
    const writes: string[] = [];
    const queue = new OutputQueue(async (text) => void writes.push(text), ignore, ignore);

    queue.write('before\n');
    const written = queue.writeAll(['[1,', '2]\n']);
    queue.write('after\n');
    await written;
    await queue.drained();

    expect(writes.join('')).toBe('before\n[1,2]\nafter\n');
  });

  test('pieces are taken only as they are written', async () => {
    const { out, take } = slowOutput();
    const queue = new OutputQueue(out, ignore, ignore);
    let taken = 0;
    const pieces = (function* () {
      for (; taken < 100; taken++) yield 'x';
    })();

    void queue.writeAll(pieces);
    await turn();
    await turn();

    expect(taken).toBe(0);
    take();
    await turn();
    expect(taken).toBe(1);
  });

  test('a slow reader is told of once, and once that there is room again', async () => {
    const { out, take } = slowOutput();
    const pressure: boolean[] = [];
    const queue = new OutputQueue(out, (full) => void pressure.push(full), ignore);
    const line = 'x'.repeat(1000);

    for (let i = 0; i < 3000; i++) queue.write(line);
    await turn();
    const before = [...pressure];
    take();
    await queue.drained();

    expect(before).toEqual([true]);
    expect(pressure).toEqual([true, false]);
    expect(queue.waiting).toBe(0);
  });

  test('an output that breaks is told once, and everybody who waits is let go', async () => {
    const pressure: boolean[] = [];
    const failures: unknown[] = [];
    const queue = new OutputQueue(
      () => Promise.reject(new OutputClosedError('gone')),
      (full) => void pressure.push(full),
      (error) => void failures.push(error),
    );

    queue.write('x'.repeat(3_000_000));
    const pieces = queue.writeAll(['y']);
    await pieces;
    queue.write('more');
    await queue.writeAll(['more']);
    await queue.drained();

    expect(failures).toHaveLength(1);
    expect(pressure).toEqual([true, false]);
    expect(queue.waiting).toBe(0);
  });

  test('everything arrives once and in order, whatever the turns', async () => {
    const step = fc.oneof(fc.string(), fc.array(fc.string(), { maxLength: 4 }), fc.constant(undefined));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        let written = '';
        const queue = new OutputQueue(
          async (text) => {
            await turn();
            written += text;
          },
          ignore,
          ignore,
        );
        let expected = '';
        for (const value of steps) {
          if (value === undefined) await turn();
          else if (typeof value === 'string') queue.write(value);
          else void queue.writeAll(value);
          expected += value === undefined ? '' : [value].flat().join('');
        }
        await queue.drained();
        expect(written).toBe(expected);
      }),
      { numRuns: 50 },
    );
  });
});
