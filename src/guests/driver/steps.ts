/** What a driver's operation gives: nothing when it is complete, a promise when the unit has to be waited for. */
export type Completion = void | Promise<void>;

/** Runs `steps` in order, waiting only where one gives a promise: with a unit that answers at once nothing waits. */
export function inOrder(...steps: readonly (() => Completion)[]): Completion {
  for (const [i, step] of steps.entries()) {
    const result = step();
    if (result !== undefined) return result.then(() => inOrder(...steps.slice(i + 1)));
  }
}
