import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Access } from '../../../src/memory/index.ts';
import { DenseRamBlock } from '../../../src/memory/index.ts';
import { BlockPages } from '../../../src/vfio-user/client/block-pages.ts';
import { type Operation, OperationQueue } from '../../../src/vfio-user/client/operation-queue.ts';

const access = fc.constantFrom<Access>(0, 1, 2, 3);

describe('the queue of operations', () => {
  test('gives back what was put in, in its order, however full it was', () => {
    const bursts = fc.array(fc.tuple(fc.nat(3000), fc.nat(3000), access), { maxLength: 8 });
    fc.assert(
      fc.property(bursts, (steps) => {
        const queue = new OperationQueue();
        const model: Operation[] = [];
        const taken: (Operation | undefined)[] = [];
        const expected: (Operation | undefined)[] = [];
        let next = 0;
        for (const [puts, takes, access] of steps) {
          for (let i = 0; i < puts; i++) {
            const iova = 2 ** 52 - ++next;
            if (next % 3 === 0) {
              queue.unmap(iova, i + 1);
              model.push({ op: 'unmap', iova, pages: i + 1, target: 0, access: 0 });
            } else {
              queue.map(iova, i + 1, next * 7, access);
              model.push({ op: 'map', iova, pages: i + 1, target: next * 7, access });
            }
          }
          for (let i = 0; i < takes; i++) {
            taken.push(queue.shift());
            expected.push(model.shift());
          }
        }

        expect(taken).toEqual(expected);
        expect(queue.length).toBe(model.length);
      }),
      { numRuns: 50 },
    );
  });

  test('is empty when it was cleared', () => {
    const queue = new OperationQueue();
    for (let i = 0; i < 5000; i++) queue.unmap(i, 1);

    queue.clear();
    queue.unmap(7, 2);

    expect(queue.shift()).toMatchObject({ op: 'unmap', iova: 7, pages: 2 });
    expect(queue.shift()).toBeUndefined();
  });
});

describe('numbers of pages', () => {
  test('lead back to block and page', () => {
    const blocks = [new DenseRamBlock(10), new DenseRamBlock(1), new DenseRamBlock(2 ** 40)];
    const slices = [blocks[0], blocks[1], blocks[2], blocks[0], blocks[2]].map((block, i) => ({
      block: block as DenseRamBlock,
      page: i === 4 ? 2 ** 40 - 1 : 0,
    }));
    const pages = new BlockPages();

    const numbers = slices.map((slice) => pages.number(slice));

    expect(numbers.map((number) => pages.slice(number))).toEqual(slices);
    expect(new Set(numbers).size).toBe(4);
  });

  test('are given anew when they were forgotten', () => {
    const pages = new BlockPages();
    pages.number({ block: new DenseRamBlock(100), page: 5 });
    pages.clear();
    const slice = { block: new DenseRamBlock(3), page: 2 };

    expect(pages.number(slice)).toBe(2);
    expect(pages.slice(2)).toEqual(slice);
  });
});
