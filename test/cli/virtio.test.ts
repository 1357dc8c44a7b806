import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { replayCapture } from '../../src/cli/replay/replay-job.ts';
import type { ReplayResult } from '../../src/cli/replay/replay-result.ts';
import { shippedCaptures } from '../../src/guests/index.ts';
import { type CaptureFile, captureCopies } from './capture-copy.ts';
import { jsonLines, linesOf, type Outcome, viommu } from './console.ts';

const captures = await shippedCaptures();
const e1000 = captures.find((folder) => basename(folder) === 'virtio-iommu-e1000') ?? '';
const copyOf = captureCopies();

/** A request as a line has it. */
type Line = Readonly<Record<string, unknown>>;

const attach = (endpoint: number, domain: number, flags = 0): Line => ({
  t: 0,
  op: 'attach',
  domain,
  endpoint,
  flags,
});
const map = (domain: number, start: string, end: string, target: string, flags: number): Line => ({
  t: 0,
  op: 'map',
  domain,
  virt_start: start,
  virt_end: end,
  phys_start: target,
  flags,
});
const unmap = (domain: number, start: string, end: string): Line => ({
  t: 0,
  op: 'unmap',
  domain,
  virt_start: start,
  virt_end: end,
});
const PLUG: Line = { t: 1, op: 'plug' };

/** A capture of the same machine whose guest sent these requests, and of which nothing else was recorded. */
function guestThat(requests: readonly Line[], change?: (json: CaptureFile) => void): string {
  const folder = copyOf(e1000, (json) => {
    json.files = { requests: 'requests.ndjson' };
    change?.(json);
  });
  writeFileSync(
    join(folder, 'requests.ndjson'),
    requests.map((line) => `${JSON.stringify(line)}\n`).join(''),
  );
  return folder;
}

/** 02:00.0 (512) and 01:00.0 (256) in a domain with one read-only and one write-only mapping. */
const TWO = [
  attach(256, 5),
  attach(512, 5),
  map(5, '0x1000', '0x1fff', '0x9000', 1),
  map(5, '0x4000', '0x7fff', '0x10000', 2),
];

/** The addresses of a listing for programs. */
function iovas({ out }: Outcome): unknown[] {
  return jsonLines(out).map((line) => (line as { iova: string }).iova);
}

/** Makes a capture one that has no plug, with an empty listing of the requester that its events are about. */
function withoutPlug(json: CaptureFile): void {
  json['plug'] = null;
  json.files['mappingsByRequester'] = { '02:00.0': 'empty.ndjson' };
  json.files['events'] = 'empty.ndjson';
}

function translate(capture: string, ...argv: string[]): Promise<Outcome> {
  return viommu(['translate', capture, '--requester', '02:00.0', ...argv]);
}

function replay(folder: string): Promise<ReplayResult> {
  return replayCapture(folder, { host: 'vfio-user', hostPageSize: 4096 });
}

describe('translate', () => {
  test('from the endpoint to its domain to the mapping', async () => {
    const { code, out, err } = await translate(guestThat(TWO), '0x5123');

    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(linesOf(out).slice(1)).toEqual([
      '02:00.0 asks for 0x5123',
      '  endpoint 512  attached to domain 5',
      '  domain 5      mapping of 16 KiB at 0x4000 -> 0x10000, w',
      '0x5123 -> 0x11123, 16 KiB leaf, w',
    ]);
  });

  test('for programs: steps without tables', async () => {
    const { out } = await translate(guestThat(TWO), '0x1010', '--json');

    expect(JSON.parse(out)).toEqual({
      requester: '02:00.0',
      iova: '0x1010',
      access: 'none',
      translation: 'domain',
      domain: 5,
      steps: [
        { depth: 0, what: 'endpoint 512', entry: [], meaning: 'attached to domain 5' },
        { depth: 0, what: 'domain 5', entry: [], meaning: 'mapping of 4 KiB at 0x1000 -> 0x9000, r' },
      ],
      outcome: 'translated',
      gpa: '0x9010',
      perm: 'r',
      size: 4096,
      ram: true,
    });
  });

  const UNMAPPED =
    'fault: VIRTIO_IOMMU_FAULT_R_MAPPING (0x02): the address is not mapped in the domain, or not for this access';
  test.each([
    ['a write that the mapping does not permit', ['--access', 'w', '0x1000'], 1, UNMAPPED],
    ['where nothing is mapped', ['0x2000'], 1, UNMAPPED],
    [
      'the doorbell',
      ['0xfee00000'],
      1,
      'not translated: 0xfee00000-0xfeefffff is the interrupt range, where a write is an interrupt request, ' +
        'whatever is mapped (a reserved region of type MSI, virtio 5.13.6.7)',
    ],
  ])('%s', async (_what, argv, status, line) => {
    const { code, out } = await translate(guestThat(TWO), ...argv);

    expect({ code, end: linesOf(out).at(-1) }).toEqual({ code: status, end: line });
  });

  test.each([
    ['no domain', [attach(256, 5)], 'endpoint 512  attached to no domain'],
    ['a bypass domain', [attach(512, 5, 1)], 'endpoint 512  attached to domain 5'],
  ])('an endpoint that is attached to %s passes', async (_what, requests, step) => {
    const { code, out } = await translate(guestThat(requests), '0x5000');

    expect(code).toBe(0);
    expect(linesOf(out).slice(2)).toEqual([`  ${step}`, '0x5000 as it is: the endpoint is in bypass mode']);
  });
});

describe('maps', () => {
  test('endpoints in ascending order, those of one domain once', async () => {
    const { code, out } = await viommu(['maps', guestThat([...TWO, attach(8, 7, 1)])]);

    expect(code).toBe(0);
    expect(linesOf(out).slice(1)).toEqual([
      'virtio-iommu, 5 requests played, 2 domains',
      '',
      '00:01.0  (1234:1111, no driver)',
      '  bypass: attached to bypass domain 7',
      '',
      '01:00.0  (1b36:000e, no driver)',
      '  domain 5, mapped by request',
      '  0x1000-0x1fff  -> 0x9000   r  4 KiB',
      '  0x4000-0x7fff  -> 0x10000  w  16 KiB',
      '  2 mappings in 2 runs, 20 KiB; 4 KiB: 1 r; 16 KiB: 1 w',
      '',
      '02:00.0  (8086:100e, driver e1000; where the device was plugged in)',
      '  the same domain as 01:00.0',
    ]);
  });

  test('an endpoint that was detached again is not listed', async () => {
    const requests = [attach(512, 5), { t: 0, op: 'detach', domain: 5, endpoint: 512 }];

    const { out } = await viommu(['maps', guestThat(requests)]);

    expect(out).toMatch(/\nno requester is translated: no endpoint is attached to a domain\n$/);
  });

  test('requests up to the plug, and all with --final', async () => {
    const folder = guestThat([...TWO, PLUG, unmap(5, '0x0', '0x3fff')]);
    const argv = ['maps', folder, '--requester', '02:00.0', '--json'];

    const before = await viommu(argv);
    const after = await viommu([...argv, '--final']);

    expect([iovas(before), iovas(after)]).toEqual([['0x1000', '0x4000'], ['0x4000']]);
  });

  test('decimal digits that were recorded as hexadecimal ones are read back', async () => {
    const { out } = await viommu(['maps', guestThat([attach(0x512, 0x10)])]);

    expect(out).toContain(
      '\n02:00.0  (8086:100e, driver e1000; where the device was plugged in)\n  domain 10',
    );
  });
});

describe('replay', () => {
  test('nothing recorded after the plug', async () => {
    const result = await replay(guestThat([...TWO, PLUG]));

    expect(result).toMatchObject({ replayed: 2, eventsPlayed: 0, finalMappings: 2, equal: true, notes: [] });
  });

  test('a guest without a plug is played to its end', async () => {
    const result = await replay(guestThat(TWO));

    expect(result).toMatchObject({ replayed: 2, eventsPlayed: 0, finalMappings: 2, equal: true });
  });

  test('a request that the IOMMU refuses is told', async () => {
    const split = unmap(5, '0x5000', '0x5fff');

    const result = await replay(guestThat([...TWO, PLUG, split, unmap(9, '0x0', '0xfff')]));

    // Unmapping a part of a mapping is S_RANGE (5.13.6.6), and there is no domain 9.
    expect(result.notes).toEqual(['the IOMMU refused request 1 of 2 (UNMAP: S_RANGE), and 1 more after it']);
    expect(result.finalMappings).toBe(2);
  });

  test('a request that QEMU never saw is a difference to QEMU and to the listing', async () => {
    const folder = copyOf(e1000, (json) => (json.files['requests'] = 'requests.ndjson'));
    const text = gunzipSync(readFileSync(join(e1000, 'requests.ndjson.gz'))).toString();
    const more = map(5, '0x100000', '0x100fff', '0x1000', 3);
    writeFileSync(join(folder, 'requests.ndjson'), `${text}${JSON.stringify(more)}\n`);

    const result = await replay(folder);

    expect(result.equal).toBe(false);
    expect(result.differences.map(({ what, iova, where }) => `${what} ${iova}: ${where}`)).toEqual([
      'extra 1048576: final tables against the listing',
      'extra 1048576: host at the end against QEMU',
    ]);
  });

  test('for people: requests, and the domain that they end in', async () => {
    const { code, out } = await viommu(['replay', guestThat([...TWO, PLUG, unmap(5, '0x0', '0x3fff')])]);

    expect(code).toBe(0);
    expect(out).toContain(
      "  events    1 request played; 1 mapping at the end, equal to the guest's domain\n",
    );
  });
});

describe('what is refused', () => {
  test('a capture without requests', async () => {
    const folder = copyOf(e1000, (json) => delete json.files['requests']);

    const { code, err } = await viommu(['maps', folder]);

    expect(code).toBe(2);
    expect(err).toContain('$.files.requests');
  });

  test('requests that are not there', async () => {
    const folder = copyOf(e1000);
    rmSync(join(folder, 'requests.ndjson.gz'));

    const { code, err } = await viommu(['maps', folder]);

    expect(code).toBe(2);
    expect(err).toContain('$.files.requests of capture.json');
  });

  test('a plug among the requests of a capture that has none', async () => {
    const folder = guestThat([...TWO, PLUG], withoutPlug);
    writeFileSync(join(folder, 'empty.ndjson'), '');

    const { code, err } = await viommu(['replay', folder]);

    expect(code).toBe(2);
    expect(err).toContain('the requests have a line for a plug');
  });

  test('an ELF core, which does not hold what virtio-iommu maps', async () => {
    const core = join(captures[0] ?? '', 'memory.elf.gz');

    const { code, err } = await viommu(['maps', core, '--model', 'virtio']);

    expect(code).toBe(2);
    expect(err).toContain('an ELF core does not hold the mappings of virtio-iommu');
  });
});
