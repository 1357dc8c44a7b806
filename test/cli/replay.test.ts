import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ReplayJob } from '../../src/cli/replay.ts';
import type { ReplayOptions, ReplayResult } from '../../src/cli/replay/replay-result.ts';
import { GuestFileError } from '../../src/guests/index.ts';
import { linesOf, viommu } from './console.ts';

const EQUAL: ReplayResult = {
  capture: 'a-guest',
  description: 'with two leaves',
  requester: '02:00.0',
  replayed: 348,
  matchesQemu: true,
  eventsPlayed: 25_797,
  playedUnit: 'event',
  mappedIn: 'tables',
  finalMappings: 398,
  finalEqual: true,
  equal: true,
  hostMessages: { maps: 13_000, unmaps: 12_602, barriers: 1 },
  times: { loadMs: 41.7, replayMs: 2.34, eventsMs: 1234.5, qemuReplayMs: 3.11 },
  bySize: [
    { size: 4096, access: 'r', count: 12 },
    { size: 2_097_152, access: 'rw', count: 1234 },
    { size: 4096, access: 'rw', count: 5 },
    { size: 4096, access: 'w', count: 7 },
  ],
  notes: [],
  differences: [],
  differenceCount: 0,
};

const DIFFERENT: ReplayResult = {
  ...EQUAL,
  capture: 'another',
  matchesQemu: false,
  finalEqual: false,
  equal: false,
  notes: ['the guest has no caching mode'],
  differences: [
    { what: 'missing', where: 'replay against QEMU', iova: 0x1000n, size: 0x1000n, expected: '0x5000 rw' },
    { what: 'extra', where: 'replay against QEMU', iova: 0x3000n, size: 0x1000n, actual: '0x7000 r' },
    {
      what: 'different',
      where: 'host against the final tables',
      iova: 0x200000n,
      size: 0x200000n,
      expected: '0x0 rw',
      actual: '0x0 r',
    },
  ],
  differenceCount: 1005,
};

/** A job that answers by name of the folder, and remembers what it was asked. */
function jobOf(answers: Record<string, ReplayResult | Error>): {
  job: ReplayJob;
  asked: { folder: string; host: string; hostPageSize: number }[];
} {
  const asked: { folder: string; host: string; hostPageSize: number }[] = [];
  const job: ReplayJob = (folder, { host, hostPageSize }: ReplayOptions) => {
    asked.push({ folder, host, hostPageSize });
    const answer = answers[folder] ?? EQUAL;
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  return { job, asked };
}

const unreadable = new GuestFileError({
  code: 'json',
  file: 'broken/capture.json',
  problem: 'is not JSON',
  remedy: 'copy the file again',
});

describe('for programs', () => {
  test('one object a capture, these keys in this order', async () => {
    const { job } = jobOf({ b: DIFFERENT });

    const { code, out, err } = await viommu(['replay', 'a', 'b', '--json'], { job });

    expect({ code, err }).toEqual({ code: 1, err: '' });
    expect(linesOf(out)).toEqual([
      '{"capture":"a-guest","requester":"02:00.0","replayed":348,"matchesQemu":true,"eventsPlayed":25797,"finalMappings":398,"finalEqual":true,"equal":true}',
      '{"capture":"another","requester":"02:00.0","replayed":348,"matchesQemu":false,"eventsPlayed":25797,"finalMappings":398,"finalEqual":false,"equal":false}',
    ]);
  });

  test('nothing by QEMU to compare with is null', async () => {
    const { job } = jobOf({ a: { ...EQUAL, matchesQemu: null } });

    const { code, out } = await viommu(['replay', 'a', '--json'], { job });

    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ matchesQemu: null });
  });

  test('the reason of a refused plug goes to standard error', async () => {
    const { job } = jobOf({ a: { ...DIFFERENT, refused: 'no caching mode; turn it on' } });

    const { code, out, err } = await viommu(['replay', 'a', '--json'], { job });

    expect({ code, err }).toEqual({ code: 1, err: 'viommu: a: no caching mode; turn it on\n' });
    expect(linesOf(out)).toHaveLength(1);
  });
});

describe('for people', () => {
  test('a capture that is equal', async () => {
    const { code, out } = await viommu(['replay', 'a'], jobOf({}));

    expect(code).toBe(0);
    expect(linesOf(out)).toEqual([
      'a-guest: equal',
      '  with two leaves',
      '  device    requester 02:00.0, onto a host IOMMU like type1 with pages of 4 KiB',
      '  replay    348 mappings replayed, as QEMU did',
      "  events    25,797 events played; 398 mappings at the end, equal to the guest's tables",
      '  mappings  4 KiB: 12 r, 7 w, 5 rw',
      '            2 MiB: 1,234 rw',
      '  host      13,000 maps, 12,602 unmaps, 1 barrier',
      '  times     load 42 ms, replay 2.3 ms (QEMU: 3.1 ms), events 1,235 ms',
      '',
      '1 capture: all equal',
    ]);
  });

  test('a capture that differs: what differs, by comparison', async () => {
    const { code, out } = await viommu(['replay', 'a', 'b'], jobOf({ b: DIFFERENT }));

    expect(code).toBe(1);
    expect(linesOf(out).slice(10)).toEqual([
      'another: different',
      '  with two leaves',
      '  device    requester 02:00.0, onto a host IOMMU like type1 with pages of 4 KiB',
      '  replay    348 mappings replayed, not as QEMU did',
      "  events    25,797 events played; 398 mappings at the end, not equal to the guest's tables",
      '  mappings  4 KiB: 12 r, 7 w, 5 rw',
      '            2 MiB: 1,234 rw',
      '  host      13,000 maps, 12,602 unmaps, 1 barrier',
      '  times     load 42 ms, replay 2.3 ms (QEMU: 3.1 ms), events 1,235 ms',
      '  note      the guest has no caching mode',
      '  1,005 differences:',
      '    replay against QEMU',
      '      missing 0x1000-0x1fff: expected 0x5000 rw',
      '      extra 0x3000-0x3fff: found 0x7000 r',
      '    host against the final tables',
      '      different 0x200000-0x3fffff: expected 0x0 rw, found 0x0 r',
      '    ... and 1,002 more',
      '',
      '2 captures: 1 equal, 1 different, 0 unreadable',
    ]);
  });

  test('a capture without events says so', async () => {
    const { job } = jobOf({ a: { ...EQUAL, eventsPlayed: 0, matchesQemu: null, bySize: [] } });

    const { out } = await viommu(['replay', 'a'], { job });

    expect(linesOf(out).slice(3, 8)).toEqual([
      '  replay    348 mappings replayed; the capture holds no replay by QEMU to compare with',
      "  events    none in the capture; 398 mappings at the end, equal to the guest's tables",
      '  mappings  none',
      '  host      13,000 maps, 12,602 unmaps, 1 barrier',
      '  times     load 42 ms, replay 2.3 ms (QEMU: 3.1 ms)',
    ]);
  });

  test('what stands in a capture cannot steer the terminal', async () => {
    const { job } = jobOf({ a: { ...EQUAL, capture: '\x1b]0;x', description: 'a\rb', notes: ['\x07'] } });

    const { out } = await viommu(['replay', 'a'], { job });

    expect(linesOf(out).slice(0, 2)).toEqual(['\\u001b]0;x: equal', '  a\\u000db']);
    expect(out).not.toMatch(/(?!\n)\p{Cc}/u);
  });

  test('a plug that was refused has its reason instead of figures', async () => {
    const { job } = jobOf({ a: { ...EQUAL, equal: false, refused: 'no caching mode; turn it on' } });

    const { code, out } = await viommu(['replay', 'a'], { job });

    expect(code).toBe(1);
    expect(linesOf(out).slice(0, 5)).toEqual([
      'a-guest: the plug was refused',
      '  with two leaves',
      '  device   requester 02:00.0, onto a host IOMMU like type1 with pages of 4 KiB',
      '  refused  no caching mode; turn it on',
      '',
    ]);
  });
});

describe('which captures, and how', () => {
  test('without arguments, those that ship with the package', async () => {
    const { job, asked } = jobOf({});

    const { code } = await viommu(['replay', '--json'], { job });

    expect(code).toBe(0);
    expect(asked.map(({ folder }) => basename(folder))).toEqual([
      'amdvi-e1000',
      'amdvi-vfio-mix',
      'virtio-iommu-e1000',
      'vtd-legacy-e1000',
      'vtd-legacy-e1000-aw39',
      'vtd-sm-first-stage',
      'vtd-sm-second-stage',
      'vtd-vfio-mix',
    ]);
  });

  test.each([
    [[], 'type1', 4096],
    [['--host', 'iommufd'], 'iommufd', 4096],
    [['--host', 'vfio-user', '--host-page-size', '65536'], 'vfio-user', 65_536],
    [['--host-page-size', '64K'], 'type1', 65_536],
    [['--host-page-size', '2MiB'], 'type1', 2_097_152],
    [['--host-page-size', '1g'], 'type1', 1_073_741_824],
  ])('%j', async (options, host, hostPageSize) => {
    const { job, asked } = jobOf({});

    await viommu(['replay', 'a', ...options], { job });

    expect(asked).toEqual([{ folder: 'a', host, hostPageSize }]);
  });

  test.each([
    ['--host', 'smmu'],
    ['--host-page-size', '0'],
    ['--host-page-size', '2048'],
    ['--host-page-size', '12288'],
    ['--host-page-size', '2G'],
    ['--host-page-size', '64Q'],
    ['--host-page-size', '-4096'],
    ['--host-page-size', '1e4'],
  ])('%s %s is refused', async (option, value) => {
    const { job, asked } = jobOf({});

    const { code, out, err } = await viommu(['replay', 'a', option, value], { job });

    expect({ code, out, asked }).toEqual({ code: 2, out: '', asked: [] });
    expect(err).toContain(`viommu: option '${option}`);
  });
});

describe('captures that cannot be read', () => {
  test('are told, and the others are reported all the same', async () => {
    const { job } = jobOf({ broken: unreadable, b: DIFFERENT });

    const { code, out, err } = await viommu(['replay', 'broken', 'a', 'b'], { job });

    expect({ code, err }).toEqual({
      code: 2,
      err: 'viommu: broken/capture.json: is not JSON; copy the file again\n',
    });
    expect(linesOf(out).filter((line) => line.startsWith('a'))).toEqual([
      'a-guest: equal',
      'another: different',
    ]);
    expect(linesOf(out).at(-1)).toBe('3 captures: 1 equal, 1 different, 1 unreadable');
  });

  test('in JSON they have no line', async () => {
    const { job } = jobOf({ broken: unreadable });

    const { code, out } = await viommu(['replay', 'broken', 'a', '--json'], { job });

    expect(code).toBe(2);
    expect(linesOf(out)).toHaveLength(1);
  });

  test('a mistake of our own ends the command and is called one', async () => {
    const { job } = jobOf({ a: new Error('oops') });

    const { code, err } = await viommu(['replay', 'a'], { job });

    expect(code).toBe(2);
    expect(err).toMatch(/^viommu: internal error: oops; please report it/);
  });
});
