/** The main job on the captures that ship: equal to what was recorded, and a change of what was recorded is noticed. @module */
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { replayCapture } from '../../src/cli/replay/replay-job.ts';
import type { ReplayResult } from '../../src/cli/replay/replay-result.ts';
import { shippedCaptures } from '../../src/guests/index.ts';
import type { HostStrictness } from '../../src/vfio/index.ts';
import { captureCopies } from './capture-copy.ts';

const STRICTNESSES: readonly HostStrictness[] = ['type1', 'iommufd', 'vfio-user'];
const FOLDERS = await shippedCaptures();

/** What the captures say of themselves, counted from their files. */
const SHIPPED = [
  {
    capture: 'amdvi-e1000',
    requester: '02:00.0',
    replayed: 303,
    matchesQemu: true,
    eventsPlayed: 23_641,
    finalMappings: 257,
  },
  {
    capture: 'amdvi-vfio-mix',
    requester: '02:00.0',
    replayed: 13_981,
    matchesQemu: true,
    eventsPlayed: 0,
    finalMappings: 13_981,
  },
  {
    capture: 'virtio-iommu-e1000',
    requester: '02:00.0',
    replayed: 258,
    matchesQemu: true,
    eventsPlayed: 20_633,
    finalMappings: 257,
  },
  {
    capture: 'vtd-legacy-e1000',
    requester: '02:00.0',
    replayed: 348,
    matchesQemu: true,
    eventsPlayed: 25_797,
    finalMappings: 257,
  },
  {
    capture: 'vtd-legacy-e1000-aw39',
    requester: '02:00.0',
    replayed: 348,
    matchesQemu: true,
    eventsPlayed: 25_751,
    finalMappings: 257,
  },
  {
    capture: 'vtd-sm-first-stage',
    requester: '00:04.0',
    replayed: 265,
    matchesQemu: null,
    eventsPlayed: 0,
    finalMappings: 265,
  },
  {
    capture: 'vtd-sm-second-stage',
    requester: '01:00.0',
    replayed: 17_799,
    matchesQemu: true,
    eventsPlayed: 17_955,
    finalMappings: 17_799,
  },
  {
    capture: 'vtd-vfio-mix',
    requester: '02:00.0',
    replayed: 17_809,
    matchesQemu: true,
    eventsPlayed: 0,
    finalMappings: 17_809,
  },
] as const;

function folderOf(capture: string): string {
  return FOLDERS.find((folder) => basename(folder) === capture) ?? capture;
}

const copyOf = captureCopies();

/** A copy of a capture in which one line of a listing says something else. */
function tampered(
  capture: string,
  file: string,
  at: number,
  change: (line: Line) => Line | undefined,
): string {
  const folder = copyOf(folderOf(capture));
  const path = join(folder, file);
  const lines = gunzipSync(readFileSync(path)).toString().trimEnd().split('\n');
  const changed = change(JSON.parse(lines[at] ?? '') as Line);
  lines.splice(at, 1, ...(changed === undefined ? [] : [JSON.stringify(changed)]));
  writeFileSync(path, gzipSync(`${lines.join('\n')}\n`));
  return folder;
}

interface Line {
  op?: 'map' | 'unmap';
  iova: string;
  size: number;
  gpa?: string;
  perm?: string;
}

function linesOf(capture: string, file: string): string[] {
  const text = gunzipSync(readFileSync(join(folderOf(capture), file))).toString();
  return text.trimEnd().split('\n');
}

function lineOf(capture: string, file: string, at: number): Line {
  return JSON.parse(linesOf(capture, file)[at] ?? '') as Line;
}

function replay(folder: string, hostPageSize = 4096): Promise<ReplayResult> {
  return replayCapture(folder, { host: 'vfio-user', hostPageSize });
}

const results: Map<string, Promise<ReplayResult>> = new Map();

/** The same result for every test that asks: it takes seconds, and nobody changes it. */
function replayOnce(capture: string, host: HostStrictness): Promise<ReplayResult> {
  const key = `${host} ${capture}`;
  const result = results.get(key) ?? replayCapture(folderOf(capture), { host, hostPageSize: 4096 });
  results.set(key, result);
  return result;
}

/** Differences as `what IOVA: where`. */
function differences({ differences }: ReplayResult): string[] {
  return differences.map(({ what, iova, where }) => `${what} 0x${iova.toString(16)}: ${where}`);
}

test('the captures listed here are those that ship', () => {
  expect(FOLDERS.map((folder) => basename(folder))).toEqual(SHIPPED.map(({ capture }) => capture));
});

test.each(SHIPPED)('the counts of $capture are those of its capture.json', ({ capture, replayed }) => {
  const json = JSON.parse(readFileSync(join(folderOf(capture), 'capture.json'), 'utf8')) as {
    counts: { tables?: number | null; requests?: number; qemu?: number };
  };

  // A first-stage capture counts nothing: it has a listing for each requester instead.
  expect(json.counts.tables ?? json.counts.requests ?? 265).toBe(replayed);
  expect(json.counts.qemu ?? replayed).toBe(replayed);
});

describe.each(STRICTNESSES)('on a host as strict as %s', (host) => {
  test.each(SHIPPED)('$capture is replayed as QEMU did, and ends equal', async (expected) => {
    const result = await replayOnce(expected.capture, host);

    expect(result).toMatchObject({
      ...expected,
      finalEqual: true,
      equal: true,
      differenceCount: 0,
      differences: [],
    });
    expect(result.refused).toBeUndefined();
    expect(result.bySize.reduce((sum, { count }) => sum + count, 0)).toBe(expected.finalMappings);
  });

  test('what the guest did costs one map or unmap each and no more', async () => {
    const { hostMessages, finalMappings } = await replayOnce('vtd-legacy-e1000', host);

    expect(hostMessages.maps - hostMessages.unmaps).toBe(finalMappings);
    expect(hostMessages.maps + hostMessages.unmaps).toBe(348 + 25_797);
  });
});

describe('a host whose smallest page is 64 KiB', () => {
  test.each([
    { capture: 'vtd-legacy-e1000', iova: '0xffe59000' },
    { capture: 'vtd-vfio-mix', iova: '0x100009000' },
  ])('refuses $capture with IOVA, both page sizes and the remedy', async ({ capture, iova }) => {
    const result = await replay(folderOf(capture), 65_536);

    expect(result).toMatchObject({ replayed: 0, matchesQemu: false, equal: false, finalEqual: false });
    expect(result.refused).toContain(iova);
    expect(result.refused).toContain('4 KiB');
    expect(result.refused).toContain('64 KiB');
    expect(result.refused).toContain(
      'have the guest map aligned pages of 64 KiB, or use a host with pages of 4 KiB',
    );
  });
});

describe('a capture that was tampered with', () => {
  test('a mapping that leads elsewhere in the listing is a difference to host and final tables', async () => {
    const { iova } = lineOf('vtd-vfio-mix', 'mappings.ndjson.gz', 500);
    const folder = tampered('vtd-vfio-mix', 'mappings.ndjson.gz', 500, (line) => ({
      ...line,
      gpa: '0x1000',
    }));

    const result = await replay(folder);

    expect(result).toMatchObject({ equal: false, finalEqual: false, matchesQemu: true });
    expect(differences(result)).toEqual([
      `different ${iova}: replay against the tables`,
      `different ${iova}: final tables against the listing`,
    ]);
  });

  test.each([
    {
      name: 'other access',
      at: 500,
      change: (line: Line) => ({ ...line, perm: line.perm === 'r' ? 'rw' : 'r' }),
    },
    {
      name: 'another size',
      at: firstLargeLine(),
      change: (line: Line) => ({ ...line, size: line.size / 2 }),
    },
  ])('so is one with $name', async ({ at, change }) => {
    const { iova } = lineOf('vtd-vfio-mix', 'mappings.ndjson.gz', at);

    const result = await replay(tampered('vtd-vfio-mix', 'mappings.ndjson.gz', at, change));

    expect(result.equal).toBe(false);
    expect(differences(result)).toContain(`different ${iova}: replay against the tables`);
  });

  test('a mapping that is not listed is one too many', async () => {
    const { iova } = lineOf('vtd-vfio-mix', 'mappings.ndjson.gz', 100);

    const result = await replay(tampered('vtd-vfio-mix', 'mappings.ndjson.gz', 100, () => undefined));

    expect(result).toMatchObject({ equal: false, matchesQemu: true, replayed: 17_809 });
    expect(differences(result)).toEqual([
      `extra ${iova}: replay against the tables`,
      `extra ${iova}: final tables against the listing`,
    ]);
  });

  test('a map that QEMU did not send is a difference to QEMU', async () => {
    const { iova } = lineOf('vtd-vfio-mix', 'replay.ndjson.gz', 7);

    const result = await replay(tampered('vtd-vfio-mix', 'replay.ndjson.gz', 7, () => undefined));

    expect(result).toMatchObject({ equal: false, matchesQemu: false });
    expect(differences(result)).toEqual([`extra ${iova}: replay against QEMU`]);
  });

  test('a map that QEMU sent to elsewhere is a difference to QEMU', async () => {
    const { iova } = lineOf('vtd-vfio-mix', 'replay.ndjson.gz', 7);
    const folder = tampered('vtd-vfio-mix', 'replay.ndjson.gz', 7, (line) => ({ ...line, gpa: '0x1000' }));

    const result = await replay(folder);

    expect(result).toMatchObject({ equal: false, matchesQemu: false });
    expect(differences(result)).toEqual([`different ${iova}: replay against QEMU`]);
  });

  test('an event that never happened is missing in the final tables', async () => {
    const events = 'events.ndjson.gz';
    const at = lastMapOfAMapping('vtd-legacy-e1000');
    const { iova } = lineOf('vtd-legacy-e1000', events, at);

    const result = await replay(tampered('vtd-legacy-e1000', events, at, () => undefined));

    expect(result).toMatchObject({
      equal: false,
      finalEqual: false,
      matchesQemu: true,
      eventsPlayed: 25_796,
    });
    expect(differences(result)).toEqual([
      `missing ${iova}: final tables against the recorded memory`,
      `missing ${iova}: final tables against the listing`,
    ]);
  });

  test('an event with another target ends in other final tables', async () => {
    const events = 'events.ndjson.gz';
    const at = lastMapOfAMapping('vtd-legacy-e1000');
    const { iova } = lineOf('vtd-legacy-e1000', events, at);

    const result = await replay(
      tampered('vtd-legacy-e1000', events, at, (line) => ({ ...line, gpa: '0x1000' })),
    );

    expect(result).toMatchObject({ equal: false, finalEqual: false });
    expect(differences(result)).toContain(`different ${iova}: final tables against the listing`);
  });

  test('a final listing with other access does not bend the events to it', async () => {
    const file = 'final-mappings.ndjson.gz';
    const { iova, perm } = lineOf('vtd-legacy-e1000', file, 0);

    const result = await replay(tampered('vtd-legacy-e1000', file, 0, (line) => ({ ...line, perm: 'rw' })));

    expect(perm).toBe('w');
    expect(result).toMatchObject({ equal: false, finalEqual: false });
    expect(differences(result)).toEqual([`different ${iova}: final tables against the recorded memory`]);
  });

  test('a listing of another requester is held against its tables, too', async () => {
    const file = 'mappings-00-1f.2.ndjson.gz';
    const { iova } = lineOf('vtd-sm-first-stage', file, 3);

    const result = await replay(
      tampered('vtd-sm-first-stage', file, 3, (line) => ({ ...line, gpa: '0x1000' })),
    );

    expect(result.equal).toBe(false);
    expect(differences(result)).toEqual([`different ${iova}: replay against the tables`]);
  });
});

/** The last event that maps what the final listing begins with. */
function lastMapOfAMapping(capture: string): number {
  const { iova } = lineOf(capture, 'final-mappings.ndjson.gz', 0);
  return linesOf(capture, 'events.ndjson.gz').findLastIndex(
    (line) => line.includes('"map"') && line.includes(`"${iova}"`),
  );
}

function firstLargeLine(): number {
  return linesOf('vtd-vfio-mix', 'mappings.ndjson.gz').findIndex((line) => line.includes('"size":2097152'));
}
