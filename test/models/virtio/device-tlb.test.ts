/** What a device with a translation cache of its own (ATS) is told to forget: virtio has no request for that. @module */
import { describe, expect, test } from 'vitest';
import { ALL_PAGES, type PageRange } from '../../../src/memory/index.ts';
import { spec } from '../../../src/models/virtio/index.ts';
import { MemoryHostIommu } from '../../../src/vfio/index.ts';
import { attach, detach, Guest, map, unmap } from './guest.ts';

const DOMAIN = 7;
const EVERYTHING: PageRange = ALL_PAGES;

/** Page 1 is mapped for an endpoint; `forgotten` lists what its cache is told from then on. */
function cached(options: ConstructorParameters<typeof Guest>[0] = {}) {
  const guest = Guest.started({ bootBypass: false, ...options });
  guest.do(attach(DOMAIN, 8));
  guest.do(map(DOMAIN, 1, 1, 1));
  const forgotten: PageRange[] = [];
  guest.iommu.endpointSpace(8).region.registerNotifier({
    events: 'device-iotlb-unmap',
    range: ALL_PAGES,
    index: 0,
    notify: ({ iova, pages }) => void forgotten.push({ start: iova, end: iova + pages }),
  });
  return { guest, forgotten };
}

describe('a cache in a device forgets', () => {
  test.each([
    ['what an UNMAP takes', unmap(DOMAIN, 0, 8), { start: 1, end: 2 }],
    ['everything at an ATTACH to another domain', attach(9, 8), EVERYTHING],
    ['everything at a DETACH', detach(DOMAIN, 8), EVERYTHING],
  ])('%s', (_what, request, range) => {
    const { guest, forgotten } = cached();

    guest.do(request);

    expect(forgotten).toEqual([range]);
  });

  test('nothing at a MAP', () => {
    const { guest, forgotten } = cached();

    guest.do(map(DOMAIN, 2, 1, 2));

    expect(forgotten).toEqual([]);
  });

  test('everything at a reset', () => {
    const { guest, forgotten } = cached();

    guest.iommu.device.writeStatus(0);

    expect(forgotten).toEqual([EVERYTHING]);
  });

  test('everything when unattached endpoints are no longer in bypass mode', () => {
    const { guest, forgotten } = cached({ bootBypass: true });

    guest.iommu.device.writeConfig(spec.BYPASS_OFFSET, new Uint8Array([0]));

    expect(forgotten).toEqual([EVERYTHING]);
  });

  test('everything once more when an ATTACH is refused in the end', async () => {
    const { guest, forgotten } = cached();
    await guest.plug(8, new MemoryHostIommu({ strictness: 'vfio-user', maxMappings: 1 }));
    guest.do(attach(9, 9));
    guest.do(map(9, 1, 1, 1));
    guest.do(map(9, 2, 1, 2));

    const status = guest.do(attach(9, 8));

    expect(status).toBe(spec.S_UNSUPP);
    expect(forgotten).toEqual([EVERYTHING, EVERYTHING]);
  });
});
