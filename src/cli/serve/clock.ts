/** Time, so that tests can pass it themselves. */
export interface Clock {
  /** Milliseconds since 1970, with a fraction. */
  now(): number;
  /** Calls `action` every `milliseconds`, until what is returned is called. Does not keep the process alive. */
  every(milliseconds: number, action: () => void): () => void;
  /** Resolves after `milliseconds`, or at once when `signal` is aborted. */
  wait(milliseconds: number, signal: AbortSignal): Promise<void>;
}

/** The clock of the system. */
export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  every: (milliseconds, action) => {
    const timer = setInterval(action, milliseconds);
    timer.unref();
    return () => clearInterval(timer);
  },
  wait: (milliseconds, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      signal.addEventListener('abort', done);
    }),
};

/** `t` in JSON: Unix seconds, to the microsecond. */
export function jsonTime(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(6);
}

/** The time of day for people: `09:05:00`. */
export function timeOfDay(milliseconds: number): string {
  const date = new Date(milliseconds);
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
}
