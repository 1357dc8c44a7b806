import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Fifo } from '../../src/vfio-user/fifo.ts';

type Step = number | 'shift' | 'clear';

/** What each step gives and leaves, of a queue and of an array that is used as one. */
function play(steps: readonly Step[]): { ofFifo: unknown[]; ofArray: unknown[] } {
  const fifo = new Fifo<number>();
  const array: number[] = [];
  const ofFifo: unknown[] = [];
  const ofArray: unknown[] = [];
  for (const step of steps) {
    if (step === 'shift') {
      ofFifo.push(fifo.shift());
      ofArray.push(array.shift());
    } else if (step === 'clear') {
      ofFifo.push(fifo.clear());
      ofArray.push(array.splice(0));
    } else {
      fifo.push(step);
      array.push(step);
    }
    ofFifo.push(fifo.length, fifo.toArray());
    ofArray.push(array.length, [...array]);
  }
  return { ofFifo, ofArray };
}

test('a queue is what an array is, whatever is done with it', () => {
  const step = fc.oneof(fc.nat(), fc.constantFrom('shift' as const, 'clear' as const));

  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const { ofFifo, ofArray } = play(steps);

      expect(ofFifo).toEqual(ofArray);
    }),
  );
});
