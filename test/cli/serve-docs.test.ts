import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { viommu } from './console.ts';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const command = read('docs/command.md');
const manual = read('docs/vfio-user.md');

describe('docs/command.md', () => {
  test.each(['serve', 'proxy'])('names every option of %s in its section', async (name) => {
    const section = command.slice(command.indexOf(`\n## ${name}\n`)).split('\n## ')[1] ?? '';
    const { out } = await viommu(['help', name]);

    const options = [...out.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map((match) => match[1] ?? '');

    expect(options.length).toBeGreaterThan(4);
    expect(options.filter((option) => option !== '--help' && !section.includes(option))).toEqual([]);
  });
});

describe('docs/vfio-user.md', () => {
  test('shows the example as it is', () => {
    expect(manual).toContain(`\`\`\`ts\n${read('examples/device.ts')}\`\`\``);
  });

  test.each([['"driver":"vfio-user-pci"'], ['memory-backend-memfd,id=mem,size=2G,share=on']])(
    'and --help name the same for QEMU: %s',
    async (text) => {
      const { out } = await viommu(['serve', '--help']);

      expect(out).toContain(text);
      expect(manual).toContain(text);
    },
  );
});
