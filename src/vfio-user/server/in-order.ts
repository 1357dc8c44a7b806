/**
 * Does one step after the other, each when the one before has finished; at once as long as no step returns a promise,
 * so that what can be answered at once is.
 */
export function inOrder(steps: readonly (() => void | Promise<void>)[], from = 0): void | Promise<void> {
  for (let i = from; i < steps.length; i++) {
    const pending = steps[i]!();
    if (pending !== undefined) return pending.then(() => inOrder(steps, i + 1));
  }
}
