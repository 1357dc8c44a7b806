import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Access } from '../../../src/memory/index.ts';
import type { Operation } from '../../../src/vfio-user/client/operation-queue.ts';
import { SentOperations } from '../../../src/vfio-user/client/sent-operations.ts';
import type { Stretch } from '../../../src/vfio-user/client/stretches.ts';

const STRETCH: Stretch = { unsent: 0, open: 0, refusals: [] };

function map(iova: number, pages = 1, access: Access = Access.ReadWrite): Operation {
  return { op: 'map', iova, pages, target: 0x1000 + iova, access };
}

describe('sent operations', () => {
  test('come out in their order, each once it and all before it are answered', () => {
    const sent = new SentOperations();
    const [one, two] = [map(1, 2, Access.Read), { ...map(9), op: 'unmap' as const }];
    const numbers = [sent.add(one, STRETCH, true), sent.add(two, STRETCH, false)];

    sent.answer(numbers[1]!, 22);
    const early = sent.shift();
    sent.answer(numbers[0]!, 0);

    expect(early).toBeUndefined();
    const rest = { stretch: STRETCH, closedFile: false };
    expect(sent.shift()).toEqual({ ...one, ...rest, entered: true, errno: 0 });
    expect(sent.shift()).toMatchObject({ op: 'unmap', iova: 9, entered: false, errno: 22 });
    expect([sent.shift(), sent.length]).toEqual([undefined, 0]);
  });

  test('that were not sent say so', () => {
    const sent = new SentOperations();

    sent.refuseClosed(sent.add(map(1), STRETCH, true), 9);

    expect(sent.shift()).toMatchObject({ op: 'map', access: Access.ReadWrite, errno: 9, closedFile: true });
  });

  test('are found as long as the ledger has them not and they are not refused', () => {
    const sent = new SentOperations();
    const first = sent.add(map(1), STRETCH, true);
    const old = sent.add(map(10, 4, Access.Read), STRETCH, false);
    sent.add({ ...map(10, 4), op: 'unmap' }, STRETCH, false);
    const young = sent.add(map(12, 1), STRETCH, false);

    expect(sent.findMap(1)).toBeUndefined();
    expect(sent.findMap(12)).toEqual({ iova: 12, pages: 1, target: 0x100c, access: Access.ReadWrite });
    sent.answer(young, 22);
    expect(sent.findMap(12)?.iova).toBe(10);
    expect([sent.findMap(9), sent.findMap(14)]).toEqual([undefined, undefined]);
    sent.answer(old, 0);
    expect(sent.findMap(13)?.iova).toBe(10);
    sent.answer(first, 0);
    sent.shift();
    sent.shift();
    expect(sent.findMap(13)).toBeUndefined();
  });

  test('are the same as in a list of objects, whatever happens', () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ add: fc.integer({ min: 1, max: 900 }) }) },
      { weight: 3, arbitrary: fc.record({ answer: fc.nat(900), errno: fc.constantFrom(0, 0, 22) }) },
      { weight: 1, arbitrary: fc.constant({ clear: true }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const sent = new SentOperations();
        let model: { number: number; iova: number; errno: number | undefined }[] = [];
        let iova = 0;
        for (const what of steps) {
          if ('add' in what) {
            for (let i = 0; i < what.add; i++) {
              model.push({ number: sent.add(map(++iova), STRETCH, true), iova, errno: undefined });
            }
          } else if ('answer' in what) {
            for (const one of model.slice(0, what.answer).toReversed()) {
              one.errno = what.errno;
              sent.answer(one.number, what.errno);
            }
          } else {
            sent.clear();
            model = [];
          }
          while (model[0]?.errno !== undefined) {
            const { iova: expected, errno } = model.shift()!;
            expect(sent.shift()).toMatchObject({ iova: expected, errno });
          }
          expect([sent.shift(), sent.length]).toEqual([undefined, model.length]);
        }
      }),
    );
  });
});
