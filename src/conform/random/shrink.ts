import { pagesOfText, pagesText } from '../text.ts';
import type { ActionStep } from './guest-state.ts';
import { type StepContext, validOf } from './known-departure.ts';

/**
 * Fewer and smaller steps that fail, too: steps are dropped, many at once and then one by one, and sizes halved, until
 * nothing of that helps. Steps that can be taken no more are dropped with those that they need. At most `tries` attempts.
 */
export async function shrinkSteps(
  context: StepContext,
  steps: readonly ActionStep[],
  fails: (steps: readonly ActionStep[]) => Promise<boolean>,
  tries: number = 2000,
): Promise<readonly ActionStep[]> {
  let smallest = steps;
  let left = tries;
  const helps = async (candidate: readonly ActionStep[]): Promise<boolean> => {
    const valid = validOf(context, candidate);
    if (left === 0 || valid.length === 0) return false;
    left--;
    if (!(await fails(valid))) return false;
    smallest = valid;
    return true;
  };
  for (let before: readonly ActionStep[] = []; before !== smallest; ) {
    before = smallest;
    for (let count = Math.ceil(smallest.length / 2); count > 0; count = Math.floor(count / 2)) {
      for (let at = smallest.length - count; at >= 0; at--) {
        // eslint-disable-next-line no-await-in-loop -- each attempt starts from the last that helped
        await helps([...smallest.slice(0, at), ...smallest.slice(at + count)]);
      }
    }
    for (let at = 0; at < smallest.length; at++) {
      const step = smallest[at];
      const half = step === undefined ? undefined : halved(step);
      // eslint-disable-next-line no-await-in-loop
      if (half !== undefined && (await helps(smallest.with(at, half)))) at--;
    }
  }
  return smallest;
}

/** The step with half of its pages; undefined when it has none to halve. */
function halved(step: ActionStep): ActionStep | undefined {
  if (!('size' in step) || step.do === 'entry' || step.size === undefined) return undefined;
  const pages = pagesOfText(step.size);
  return pages < 2 ? undefined : { ...step, size: pagesText(Math.ceil(pages / 2)) };
}
