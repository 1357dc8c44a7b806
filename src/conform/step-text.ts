import type { Step } from './scenario.ts';

/** A step in one line for people, as `invalidate pages d 0x405000 4K`. What it must bring about is left out. */
export function stepText(step: Step): string {
  const { qemu: _departure, answer: _answer, ...rest } = step;
  if (rest.do === 'expect') return 'checkpoint';
  return Object.entries(rest)
    .map(([name, value]: [string, unknown]) =>
      PLAIN.has(name) ? String(value) : `${name}=${JSON.stringify(value)}`,
    )
    .join(' ')
    .replaceAll('"', '');
}

/** Fields whose values speak for themselves. */
const PLAIN: ReadonlySet<string> = new Set([
  'do',
  'who',
  'domain',
  'name',
  'what',
  'is',
  'iova',
  'size',
  'access',
]);
