import type { Timers } from '../vfio-user/index.ts';

/** What setTimeout takes; more would be taken as 1 ms. */
const MAX_MILLISECONDS = 2 ** 31 - 1;

/** The event loop's timers. One that is pending keeps the process alive. */
export const timers: Timers = {
  after(milliseconds: number, action: () => void): { cancel(): void } {
    const timer = setTimeout(action, Math.min(milliseconds, MAX_MILLISECONDS));
    return { cancel: () => clearTimeout(timer) };
  },
};
