import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CaptureRequest, requestsAsMeant } from '../../src/guests/capture-requests.ts';
import { GuestFileError } from '../../src/guests/guest-file-error.ts';
import { spec } from '../../src/models/virtio/index.ts';
import { captureWith, temporaryFolder } from './build-capture.ts';
import { refusal } from './refusal.ts';

const root = await temporaryFolder();

const requests = async (...lines: string[]): Promise<readonly CaptureRequest[] | undefined> =>
  (
    await captureWith(
      root,
      { files: { requests: 'requests.ndjson' } },
      { 'requests.ndjson': lines.join('\n') },
    )
  ).requests();

describe('requests', () => {
  it('are what the guest sent, in order, with the moment of the plug between them', async () => {
    const map =
      '"op":"map","domain":5,"virt_start":"0x1000","virt_end":"0x2fff","phys_start":"0x4000","flags":3}';

    const found = await requests(
      '{"t":1,"op":"attach","domain":5,"endpoint":512}',
      `{"t":2,${map}`,
      '{"t":3,"op":"plug"}',
      '{"t":4,"op":"unmap","domain":5,"virt_start":"0x0","virt_end":"0xffffffffffffffff"}',
      '{"t":5,"op":"detach","domain":5,"endpoint":512}',
    );

    expect(found).toEqual([
      { t: 1, op: 'request', request: { type: 1, domain: 5, endpoint: 512, flags: 0, reserved: 0 } },
      {
        t: 2,
        op: 'request',
        request: {
          type: 3,
          domain: 5,
          virt_start: 0x1000n,
          virt_end: 0x2fffn,
          phys_start: 0x4000n,
          flags: 3,
        },
      },
      { t: 3, op: 'plug' },
      {
        t: 4,
        op: 'request',
        request: { type: 4, domain: 5, virt_start: 0n, virt_end: 2n ** 64n - 1n, reserved: 0 },
      },
      { t: 5, op: 'request', request: { type: 2, domain: 5, endpoint: 512 } },
    ]);
  });

  it('are undefined where the capture names no file of them', async () => {
    expect(await (await captureWith(root, {})).requests()).toBeUndefined();
  });

  it('keep addresses that no page begins at, for the device to refuse', async () => {
    const line = '{"t":1,"op":"unmap","domain":1,"virt_start":"0x123","virt_end":"0x456"}';

    expect(await requests(line)).toMatchObject([{ request: { virt_start: 0x123n, virt_end: 0x456n } }]);
  });

  const good = {
    t: 1,
    op: 'map',
    domain: 1,
    virt_start: '0x0',
    virt_end: '0xfff',
    phys_start: '0x0',
    flags: 1,
  };
  it.each<[string, Record<string, unknown>, string]>([
    ['a time in text', { t: '1' }, 't'],
    ['another op', { op: 'mapp' }, 'op'],
    ['an op from the prototype', { op: 'constructor' }, 'op'],
    ['no domain', { domain: undefined }, 'domain'],
    ['a domain beyond 32 bits', { domain: 2 ** 32 }, 'domain'],
    ['a negative domain', { domain: -1 }, 'domain'],
    ['half a domain', { domain: 0.5 }, 'domain'],
    ['an endpoint in text', { op: 'attach', endpoint: '512' }, 'endpoint'],
    ['attach flags in text', { op: 'attach', endpoint: 1, flags: '0' }, 'flags'],
    ['a start that is a number', { virt_start: 4096 }, 'virt_start'],
    ['an end beyond 64 bits', { virt_end: '0x10000000000000000' }, 'virt_end'],
    ['no target', { phys_start: undefined }, 'phys_start'],
    ['no flags', { flags: undefined }, 'flags'],
  ])('are refused with %s, naming line and field', async (_what, change, field) => {
    const error = await refusal(() => requests(JSON.stringify(good), JSON.stringify({ ...good, ...change })));

    expect([error.code, error.place]).toEqual(['capture', `line 2, field ${field}`]);
  });

  it('are read or refused with a GuestFileError, whatever stands in a line', async () => {
    const field = fc.constantFrom('t', 'op', 'domain', 'endpoint', 'virt_start', 'virt_end', 'flags');
    await fc.assert(
      fc.asyncProperty(field, fc.jsonValue(), async (name, value) => {
        const line = JSON.stringify({ ...good, endpoint: 1, [name]: value });

        const found = await requests(line).catch((error: unknown) => error);

        expect(Array.isArray(found) || found instanceof GuestFileError).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});

/** An ATTACH as recorded. */
function attach(endpoint: number, domain = 1): CaptureRequest {
  const request = { type: spec.T_ATTACH, domain, endpoint, flags: 0, reserved: 0 } as const;
  return { t: 0, op: 'request', request };
}

/** An UNMAP as recorded. */
function unmap(domain: number): CaptureRequest {
  const request = { type: spec.T_UNMAP, domain, virt_start: 0n, virt_end: 0n, reserved: 0 } as const;
  return { t: 0, op: 'request', request };
}

describe('requestsAsMeant', () => {
  it('reads digits back when more endpoints exist so, and the domains of all requests with them', () => {
    const plug = { t: 1, op: 'plug' } as const;
    const recorded = [attach(0x248), attach(0x999), plug, attach(0x512, 0x10), unmap(0x10)];

    const meant = requestsAsMeant(recorded, new Set([248, 512]));

    expect(meant).toEqual([attach(248), attach(999), plug, attach(512, 10), unmap(10)]);
  });

  it.each([
    ['all endpoints exist as they stand', [attach(0x10), attach(10)], [16, 10]],
    ['no endpoint exists in either way', [attach(0x512), attach(0x600)], [8]],
    ['as many exist as they stand', [attach(0x512), attach(16)], [512, 16]],
    ['an endpoint has no decimal digits', [attach(0x51a)], [512]],
    ['nothing is attached', [unmap(0x10)], [512]],
  ])('leaves requests alone where %s', (_what, recorded, endpoints) => {
    expect(requestsAsMeant(recorded, new Set(endpoints))).toBe(recorded);
  });
});
