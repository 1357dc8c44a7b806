import { describe, expect, test } from 'vitest';
import { SCENARIOS } from '../../src/conform/index.ts';
import { QEMU, describeQemu } from '../qemu/harness/find-qemu.ts';
import { jsonLines, linesOf, viommu } from './console.ts';

describe("viommu conform, viommu's own models", () => {
  test('runs the scenarios chosen and counts them', async () => {
    const { code, out, err } = await viommu(['conform', '--model', 'vtd', '--only', 'leaf-4k']);

    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(linesOf(out)).toEqual([
      "viommu's own models",
      'ok        vtd-leaf-4k: pages of 4 KiB are mapped and unmapped under a plugged device',
      '',
      '1 scenario: 1 ok, 0 differ',
    ]);
  });

  test('--json gives one object a scenario', async () => {
    const { out } = await viommu(['conform', '--only', 'vtd-leaf-4k', '--json']);

    expect(jsonLines(out)).toEqual([
      {
        scenario: 'vtd-leaf-4k',
        model: 'vtd',
        title: 'pages of 4 KiB are mapped and unmapped under a plugged device',
        verdict: 'ok',
      },
    ]);
  });

  test('--list names every scenario and runs none', async () => {
    const { code, out } = await viommu(['conform', '--list', '--json']);

    expect(code).toBe(0);
    expect(jsonLines(out)).toEqual(SCENARIOS.map(({ id, model, title }) => ({ scenario: id, model, title })));
  });
});

describe('viommu conform, what cannot be run', () => {
  test.each([
    { name: 'no scenario is chosen', argv: ['--only', 'nonsense'], problem: 'no scenario is chosen' },
    {
      name: 'no such model',
      argv: ['--model', 'smmuv9'],
      problem: 'Allowed choices are vtd, amdvi, virtio-iommu',
    },
  ])('$name', async ({ argv, problem }) => {
    const { code, err } = await viommu(['conform', ...argv]);

    expect(code).toBe(2);
    expect(err).toContain(problem);
  });

  test.each([
    { name: 'no such file', path: '/nonexistent/qemu', problem: '/nonexistent/qemu does not run' },
    { name: 'another program', path: process.execPath, problem: 'does not say which release of QEMU it is' },
  ])('a VMM that is no QEMU: $name', async ({ path, problem }) => {
    const { code, out, err } = await viommu(['conform', '--vmm', path]);

    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(problem);
  });
});

describeQemu('viommu conform --vmm', () => {
  test('says where a QEMU differs, what the specification asks for, and that it is known', async () => {
    const { code, out } = await viommu(['conform', '--vmm', QEMU, '--only', 'vtd-split-domain', '--steps']);

    expect(code).toBe(1);
    expect(linesOf(out).slice(1)).toEqual([
      'differs   vtd-split-domain: a leaf of 2 MiB becomes a table with one page, and the domain is invalidated',
      '            1  domain d',
      '            2  attach nic d',
      '            3  map d 0x400000 2M to=0x100400000 rw leaf=2M',
      '            4  plug nic',
      '            5  entry d level=2 0x400000 table',
      '            6  entry d level=1 0x405000 leaf to=0x100009000 rw',
      '            7  invalidate domain d',
      '            8  checkpoint',
      '          step 8, ledger of nic, after invalidate domain d:',
      '            expected  0x405000 4K -> 0x100009000 rw',
      '            seen      0x400000 2M -> 0x100400000 rw',
      '          VT-d 6.5.2.3: an invalidation takes every cached translation that it touches, a large page as a whole.',
      '          R3: QEMU 11.1.3 does the same: maps the page over the old leaf, which it has not unmapped: the map is refused and the leaf stays.',
      '',
      '1 scenario: 0 ok, 1 differ (1 as QEMU 11.1.3 was seen to)',
    ]);
  });

  test('--json has the differences by step', async () => {
    const { out } = await viommu(['conform', '--vmm', QEMU, '--only', 'vtd-split-domain', '--json']);

    expect(jsonLines(out)).toMatchObject([
      {
        scenario: 'vtd-split-domain',
        verdict: 'differs',
        known: true,
        differences: [
          {
            step: 8,
            when: 'after invalidate domain d',
            what: 'ledger of nic',
            expected: ['0x405000 4K -> 0x100009000 rw'],
            seen: ['0x400000 2M -> 0x100400000 rw'],
          },
        ],
        finding: { id: 'R3' },
      },
    ]);
  });
});
