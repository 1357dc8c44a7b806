import { readFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { root } from './house/rooms.ts';

const readme = readFileSync(`${root}/README.md`, 'utf8');

/** The content of the first fenced block after `heading`, of the given language. */
function fenced(heading: string, language: string): string {
  const section = readme.slice(readme.indexOf(heading));
  const match = new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(section);
  if (!readme.includes(heading) || match === null)
    throw new Error(`README has no ${language} block after ${heading}`);
  return match[1] ?? '';
}

describe('README', () => {
  it('shows the library example as it is in examples/', () => {
    expect(fenced('## As a library', 'ts')).toBe(readFileSync(`${root}/examples/hotplug.ts`, 'utf8'));
  });

  it('shows what the library example prints', async () => {
    const lines: string[] = [];
    const log = vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
    await import('../examples/hotplug.ts').finally(() => log.mockRestore());
    expect(`${lines.join('\n')}\n`).toBe(fenced('It prints', 'text'));
  });
});
