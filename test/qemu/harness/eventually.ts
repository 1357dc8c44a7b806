import { expect } from 'vitest';

/** `expect` of what `look` gives, as soon as that is right; on a busy machine processes take their time. */
export function eventually<T>(look: () => T | Promise<T>): ReturnType<typeof expect.poll> {
  return expect.poll(look, { timeout: 20_000, interval: 20 });
}
