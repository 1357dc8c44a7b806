import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { shippedCaptures } from '../../src/guests/index.ts';
import { linesOf, viommu } from './console.ts';

const page = readFileSync(new URL('../../docs/command.md', import.meta.url), 'utf8');
const captures = await shippedCaptures();

describe('docs/command.md', () => {
  test.each(['replay', 'maps', 'translate', 'conform'])('names every option of %s', async (command) => {
    const { out } = await viommu(['help', command]);

    const options = [...out.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map((match) => match[1] ?? '');
    expect(options.length).toBeGreaterThan(3);
    expect(options.filter((option) => option !== '--help' && !page.includes(option))).toEqual([]);
  });

  test('shows what the command prints', async () => {
    const examples = [...page.matchAll(/^```console\n\$ viommu ([^\n]+)\n([\s\S]*?)^```/gm)];

    for (const [, line = '', shown = ''] of examples) {
      const argv = line
        .split(' ')
        .map((word) => captures.find((folder) => word === `captures/${basename(folder)}`) ?? word);
      const { out } = await viommu(argv);
      const printed = new Set(linesOf(out));
      expect(linesOf(shown).filter((text) => text !== '...' && !printed.has(text))).toEqual([]);
    }
    expect(examples).toHaveLength(4);
  });
});
