import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SCENARIOS } from '../../src/conform/index.ts';
import { QEMU, describeQemu } from '../qemu/harness/find-qemu.ts';
import { jsonLines, linesOf, viommu } from './console.ts';

describe("viommu conform, viommu's own models", () => {
  test('runs the scenarios chosen and counts them', async () => {
    const { code, out, err } = await viommu(['conform', '--model', 'vtd', '--only', 'vtd-leaf-4k']);

    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(linesOf(out)).toEqual([
      "viommu's own models",
      'each scenario in a machine of its own, in this process',
      '',
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
    expect(jsonLines(out)).toMatchObject(
      SCENARIOS.map(({ id, model, title }) => ({ scenario: id, model, title })),
    );
  });
});

describe('viommu conform --only', () => {
  test.each([
    { words: ['vtd-detach'], names: ['vtd-detach'] },
    {
      words: ['R9'],
      names: ['virtio-map-unaligned', 'virtio-map-unaligned-target', 'virtio-map-unaligned-end'],
    },
    { words: ['r4'], names: ['vtd-leaf-1g', 'vtd-scalable-leaf-1g'] },
    {
      words: ['virtio-probe', 'amdvi-mode'],
      names: ['amdvi-mode-1', 'amdvi-mode-3', 'amdvi-mode-6', 'virtio-probe'],
    },
  ])('$words', async ({ words, names }) => {
    const { out } = await viommu(['conform', '--list', '--json', '--only', ...words]);

    expect(jsonLines(out)).toMatchObject(names.map((scenario) => ({ scenario })));
  });

  test('several IOMMUs have a line each at the end', async () => {
    const { out } = await viommu(['conform', '--only', 'amdvi-mode', 'virtio-probe']);

    expect(linesOf(out).slice(-4)).toEqual([
      '',
      'AMD-Vi        3 scenarios: 3 ok, 0 differ',
      'virtio-iommu  1 scenario: 1 ok, 0 differ',
      '4 scenarios: 4 ok, 0 differ',
    ]);
  });
});

describe('viommu conform, what cannot be run', () => {
  test.each([
    {
      name: 'a word that means nothing',
      argv: ['--only', 'vtd-reset', 'nonsense'],
      problem: "none has 'nonsense' in its name; viommu conform --list has the names",
    },
    {
      name: 'nothing is left',
      argv: ['--only', 'vtd-reset', '--model', 'amdvi'],
      problem: 'no scenario is chosen',
    },
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

  test('a QEMU that starts no machine is reported once', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'viommu-test-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'qemu');
    const devices = 'name "intel-iommu"\nname "vfio-user-pci"';
    const script = `case "$*" in *version) echo 'QEMU version 10.2.0';; *help) echo '${devices}';; *) echo no q35 >&2; exit 1;; esac`;
    writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });

    const { code, out, err } = await viommu(['conform', '--vmm', path, '--model', 'vtd']);

    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain('this QEMU does not start a machine for vtd-leaf-4k');
    expect(err).toContain('no q35');
  });
});

describeQemu('viommu conform --vmm', () => {
  test('says where a QEMU differs, what the specification asks for, and that it is known', async () => {
    const { code, out } = await viommu(['conform', '--vmm', QEMU, '--only', 'vtd-split-domain', '--steps']);

    expect(code).toBe(1);
    expect(linesOf(out).slice(3)).toEqual([
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
