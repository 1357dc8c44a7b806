import { describe, expect, test, vi } from 'vitest';
import { LedgerCursor } from '../../../src/iommu/index.ts';
import { spec } from '../../../src/models/virtio/index.ts';
import { MemoryHostIommu } from '../../../src/vfio/index.ts';
import { held } from '../../vfio/world.ts';
import { attach, detach, Guest, map, probe, unmap } from './guest.ts';

const DOMAIN = 7;
const ENDPOINT = 8;

/** A guest with one endpoint attached to one domain. */
function attached(options: ConstructorParameters<typeof Guest>[0] = {}, features?: bigint): Guest {
  const guest = Guest.started(options, features);
  guest.do(attach(DOMAIN, ENDPOINT));
  return guest;
}

describe('ATTACH (5.13.6.3)', () => {
  test('creates a domain that did not exist', () => {
    const guest = Guest.started();

    expect(guest.do(attach(DOMAIN, ENDPOINT))).toBe(spec.S_OK);
    expect(guest.iommu.domainOf(ENDPOINT)?.id).toBe(DOMAIN);
  });

  test('"If the reserved field of an ATTACH request is not zero, the device MUST reject the request and set status to VIRTIO_IOMMU_S_INVAL."', () => {
    const guest = Guest.started();

    expect(guest.do(attach(DOMAIN, ENDPOINT, 0, 1))).toBe(spec.S_INVAL);
    expect(guest.iommu.domainOf(ENDPOINT)).toBeUndefined();
  });

  test.each([2, 0x8000_0000])(
    '"If the device does not recognize a flags bit, it MUST reject the request and set status to VIRTIO_IOMMU_S_INVAL." (%i)',
    (flags) => {
      expect(Guest.started().do(attach(DOMAIN, ENDPOINT, flags))).toBe(spec.S_INVAL);
    },
  );

  test('the flag BYPASS is not recognized when BYPASS_CONFIG was not negotiated', () => {
    const guest = Guest.started({}, spec.VIRTIO_F_VERSION_1 | spec.VIRTIO_IOMMU_F_MAP_UNMAP);

    expect(guest.do(attach(DOMAIN, ENDPOINT, spec.ATTACH_F_BYPASS))).toBe(spec.S_INVAL);
  });

  test.each([0x300, 0x1_0000, 0xffff_ffff])(
    '"If the endpoint identified by endpoint doesn\'t exist, the device MUST reject the request and set status to VIRTIO_IOMMU_S_NOENT." (%i)',
    (endpoint) => {
      const guest = Guest.started({ endpointExists: (id) => id !== 0x300 });

      expect(guest.do(attach(DOMAIN, endpoint))).toBe(spec.S_NOENT);
    },
  );

  test.each([0, 9])('domain %i lies outside domain_range: out-of-range parameters', (domain) => {
    const guest = Guest.started({ domainRange: { start: 1, end: 8 } });

    expect(guest.do(attach(domain, ENDPOINT))).toBe(spec.S_RANGE);
  });

  test('"If the feature is not offered, any domain value is valid."', () => {
    const features = spec.VIRTIO_IOMMU_F_MAP_UNMAP;
    const guest = Guest.started({ features, domainRange: { start: 1, end: 8 } });

    expect(guest.do(attach(0xffff_ffff, ENDPOINT))).toBe(spec.S_OK);
  });

  test.each([
    [0, spec.ATTACH_F_BYPASS],
    [spec.ATTACH_F_BYPASS, 0],
  ])(
    '"If the domain already exists and the VIRTIO_IOMMU_ATTACH_F_BYPASS flag is not consistent with that domain, the device SHOULD reject the request and set status to VIRTIO_IOMMU_S_INVAL." (%i, then %i)',
    (first, second) => {
      const guest = Guest.started();
      guest.do(attach(DOMAIN, ENDPOINT, first));

      expect(guest.do(attach(DOMAIN, ENDPOINT + 1, second))).toBe(spec.S_INVAL);
      expect(guest.do(attach(DOMAIN, ENDPOINT, second))).toBe(spec.S_INVAL);
      expect(guest.iommu.domainOf(ENDPOINT + 1)).toBeUndefined();
    },
  );

  test('"Multiple endpoints can be attached to the same domain."', () => {
    const guest = attached();

    expect(guest.do(attach(DOMAIN, ENDPOINT + 1))).toBe(spec.S_OK);
    expect([...(guest.iommu.domainOf(ENDPOINT)?.endpoints ?? [])]).toEqual([ENDPOINT, ENDPOINT + 1]);
  });

  test('once more to the same domain changes nothing', () => {
    const guest = attached();
    guest.do(map(DOMAIN, 1, 1, 1));

    expect(guest.do(attach(DOMAIN, ENDPOINT))).toBe(spec.S_OK);
    expect(guest.iommu.domainOf(ENDPOINT)?.mappings.size).toBe(1);
  });

  test('to another domain: "the device SHOULD behave as if the driver issued a DETACH request with this endpoint, followed by the ATTACH request."', () => {
    const guest = attached();
    guest.do(map(DOMAIN, 1, 1, 1));

    expect(guest.do(attach(9, ENDPOINT))).toBe(spec.S_OK);
    expect(guest.iommu.domainOf(ENDPOINT)?.id).toBe(9);
    expect(guest.do(map(DOMAIN, 2, 1, 2))).toBe(spec.S_NOENT);
    expect(guest.do(attach(DOMAIN, ENDPOINT))).toBe(spec.S_OK);
    expect(guest.iommu.domainOf(ENDPOINT)?.mappings.size).toBe(0);
  });

  test('of one domain more than the limit is refused for lack of resources; a move that frees one is not', () => {
    const guest = attached({ maxDomains: 1 });

    expect(guest.do(attach(9, ENDPOINT + 1))).toBe(spec.S_NOMEM);
    expect(guest.do(attach(9, ENDPOINT))).toBe(spec.S_OK);
  });
});

describe('DETACH (5.13.6.4)', () => {
  test('"If the endpoint identified by endpoint doesn\'t exist, then the device MUST reject the request and set status to VIRTIO_IOMMU_S_NOENT."', () => {
    const guest = Guest.started({ endpointExists: () => false });

    expect(guest.do(detach(DOMAIN, ENDPOINT))).toBe(spec.S_NOENT);
  });

  test.each([DOMAIN, 9])(
    '"If the domain doesn\'t exist, or if the endpoint isn\'t attached to this domain, then the device MAY set the request status to VIRTIO_IOMMU_S_INVAL." (%i)',
    (domain) => {
      const guest = Guest.started();
      guest.do(attach(DOMAIN, ENDPOINT + 1));

      expect(guest.do(detach(domain, ENDPOINT))).toBe(spec.S_INVAL);
    },
  );

  test('"The device MUST ignore reserved."', () => {
    const guest = attached();
    const bytes = spec.encodeRequest(detach(DOMAIN, ENDPOINT));
    bytes.fill(0xff, 12);
    bytes.fill(0xff, 1, 4);
    const number = guest.queue(bytes, 4);
    guest.iommu.device.notify(spec.REQUESTQ);

    expect(guest.reply(number)?.status).toBe(spec.S_OK);
  });

  test('"After all endpoints have been successfully detached from a domain, it ceases to exist and its ID can be reused"', () => {
    const guest = attached();
    guest.do(attach(DOMAIN, ENDPOINT + 1));
    guest.do(map(DOMAIN, 1, 1, 1));
    guest.do(detach(DOMAIN, ENDPOINT));

    expect(guest.do(map(DOMAIN, 2, 1, 2))).toBe(spec.S_OK);
    expect(guest.do(detach(DOMAIN, ENDPOINT + 1))).toBe(spec.S_OK);
    expect(guest.do(map(DOMAIN, 3, 1, 3))).toBe(spec.S_NOENT);
    expect(guest.do(attach(DOMAIN, ENDPOINT, spec.ATTACH_F_BYPASS))).toBe(spec.S_OK);
  });
});

describe('MAP (5.13.6.5)', () => {
  test.each([
    ['virt_start', { virt_start: 0x800n }],
    ['phys_start', { phys_start: 0x10_0010n }],
    ['virt_end + 1', { virt_end: 0x1ffen }],
  ])(
    '"If virt_start, phys_start or (virt_end + 1) is not aligned on the page granularity, the device SHOULD reject the request and set status to VIRTIO_IOMMU_S_RANGE." (%s)',
    (_field, change) => {
      const guest = attached();

      expect(guest.do({ ...map(DOMAIN, 1, 1, 0x100), ...change })).toBe(spec.S_RANGE);
    },
  );

  test('the granularity is the least significant bit of page_size_mask', () => {
    const guest = attached({ pageSizeMask: 0x1_0000n });

    expect(guest.do(map(DOMAIN, 0x10, 0x8, 0x10))).toBe(spec.S_RANGE);
    expect(guest.do(map(DOMAIN, 0x10, 0x30, 0x10))).toBe(spec.S_OK);
  });

  test.each([
    [4, 1],
    [0x10, 1],
    [0x12, 0x10],
    [0, 0x100],
    [0x1f, 1],
  ])(
    '"If a mapping already exists in the requested range, the device SHOULD reject the request and set status to VIRTIO_IOMMU_S_INVAL." (%i, %i)',
    (iova, pages) => {
      const guest = attached();
      guest.do(map(DOMAIN, 4, 1, 4));
      guest.do(map(DOMAIN, 0x10, 0x10, 0x10));

      expect(guest.do(map(DOMAIN, iova, pages, 0x100))).toBe(spec.S_INVAL);
      expect(guest.iommu.domainOf(ENDPOINT)?.mappings.size).toBe(2);
    },
  );

  test.each([8, 0x10, 0x8000_0001])(
    '"If the device doesn\'t recognize a flags bit, it MUST reject the request and set status to VIRTIO_IOMMU_S_INVAL." (%i)',
    (flags) => {
      expect(attached().do(map(DOMAIN, 1, 1, 1, flags))).toBe(spec.S_INVAL);
    },
  );

  test('the flag MMIO is recognized only with the feature', () => {
    const without = spec.VIRTIO_F_VERSION_1 | spec.VIRTIO_IOMMU_F_MAP_UNMAP;

    expect(attached().do(map(DOMAIN, 1, 1, 1, spec.MAP_F_MMIO | 3))).toBe(spec.S_OK);
    expect(attached({}, without).do(map(DOMAIN, 1, 1, 1, spec.MAP_F_MMIO | 3))).toBe(spec.S_INVAL);
  });

  test('"If domain does not exist, the device SHOULD reject the request and set status to VIRTIO_IOMMU_S_NOENT."', () => {
    expect(Guest.started().do(map(DOMAIN, 1, 1, 1))).toBe(spec.S_NOENT);
  });

  test('"If the domain is a bypass domain, the device SHOULD reject the request and set status to VIRTIO_IOMMU_S_INVAL."', () => {
    const guest = Guest.started();
    guest.do(attach(DOMAIN, ENDPOINT, spec.ATTACH_F_BYPASS));

    expect(guest.do(map(DOMAIN, 1, 1, 1))).toBe(spec.S_INVAL);
  });

  test.each([
    [0, 1],
    [0xf, 2],
    [0xff, 2],
  ])('"Any mapping request to virtual addresses outside of this range fails." (%i, %i)', (iova, pages) => {
    const guest = attached({ inputRange: { start: 0x1_0000n, end: 0xf_ffffn } });

    expect(guest.do(map(DOMAIN, iova, pages, 1))).toBe(spec.S_RANGE);
    expect(guest.do(map(DOMAIN, 0x10, 0xf0, 1))).toBe(spec.S_OK);
  });

  test('an end before the start is an invalid parameter', () => {
    expect(attached().do({ ...map(DOMAIN, 4, 1, 1), virt_end: 0x1fffn })).toBe(spec.S_INVAL);
  });

  test('physical addresses beyond 64 bits are bad addresses', () => {
    const request = { ...map(DOMAIN, 4, 2, 1), phys_start: 0xffff_ffff_ffff_f000n };

    expect(attached().do(request)).toBe(spec.S_FAULT);
  });

  test('"The device SHOULD reject a MAP request that overlaps a RESV_MEM region."', () => {
    const guest = attached();

    expect(guest.do(map(DOMAIN, 0xfedff, 2, 1))).toBe(spec.S_INVAL);
    expect(guest.do(map(DOMAIN, 0xfedff, 1, 1))).toBe(spec.S_OK);
    expect(guest.do(map(DOMAIN, 0xfef00, 1, 1))).toBe(spec.S_OK);
  });

  test('all of 64 bits can be mapped at once where nothing is reserved', () => {
    const guest = attached({ reserved: [] });

    expect(guest.do(map(DOMAIN, 0, 2 ** 52, 0))).toBe(spec.S_OK);
    expect(guest.do(unmap(DOMAIN, 0, 2 ** 52))).toBe(spec.S_OK);
  });

  test('of one mapping more than the limit is refused for lack of resources', () => {
    const guest = attached({ maxMappings: 2 });
    guest.do(map(DOMAIN, 1, 1, 1));
    guest.do(map(DOMAIN, 2, 1, 2));

    expect(guest.do(map(DOMAIN, 3, 1, 3))).toBe(spec.S_NOMEM);
    guest.do(unmap(DOMAIN, 1, 1));
    expect(guest.do(map(DOMAIN, 3, 1, 3))).toBe(spec.S_OK);
  });

  test('"This request is only available when VIRTIO_IOMMU_F_MAP_UNMAP has been negotiated."', () => {
    const guest = attached({}, spec.VIRTIO_F_VERSION_1);

    expect(guest.do(map(DOMAIN, 1, 1, 1))).toBe(spec.S_UNSUPP);
    expect(guest.do(unmap(DOMAIN, 1, 1))).toBe(spec.S_UNSUPP);
  });
});

describe('UNMAP (5.13.6.6)', () => {
  test('"If the reserved field of an UNMAP request is not zero, the device MAY set the request status to VIRTIO_IOMMU_S_INVAL"', () => {
    const guest = attached();
    guest.do(map(DOMAIN, 1, 1, 1));

    expect(guest.do(unmap(DOMAIN, 1, 1, 5))).toBe(spec.S_INVAL);
    expect(guest.iommu.domainOf(ENDPOINT)?.mappings.size).toBe(1);
  });

  test('"If domain does not exist, the device SHOULD set the request status to VIRTIO_IOMMU_S_NOENT."', () => {
    expect(Guest.started().do(unmap(DOMAIN, 1, 1))).toBe(spec.S_NOENT);
  });

  test('"If the domain is a bypass domain, the device SHOULD reject the request and set status to VIRTIO_IOMMU_S_INVAL."', () => {
    const guest = Guest.started();
    guest.do(attach(DOMAIN, ENDPOINT, spec.ATTACH_F_BYPASS));

    expect(guest.do(unmap(DOMAIN, 1, 1))).toBe(spec.S_INVAL);
  });

  test.each([
    { name: '(1)', maps: [], range: [0, 5], status: spec.S_OK, left: [] },
    { name: '(2)', maps: [[0, 10]], range: [0, 10], status: spec.S_OK, left: [] },
    {
      name: '(3)',
      maps: [
        [0, 5],
        [5, 5],
      ],
      range: [0, 10],
      status: spec.S_OK,
      left: [],
    },
    { name: '(4)', maps: [[0, 10]], range: [0, 5], status: spec.S_RANGE, left: [0] },
    {
      name: '(5)',
      maps: [
        [0, 5],
        [5, 5],
      ],
      range: [0, 5],
      status: spec.S_OK,
      left: [5],
    },
    { name: '(6)', maps: [[0, 5]], range: [0, 10], status: spec.S_OK, left: [] },
    {
      name: '(7)',
      maps: [
        [0, 5],
        [10, 5],
      ],
      range: [0, 15],
      status: spec.S_OK,
      left: [],
    },
    {
      name: 'whole, then cut',
      maps: [
        [0, 5],
        [5, 5],
      ],
      range: [0, 8],
      status: spec.S_RANGE,
      left: [0, 5],
    },
  ])('example $name', async ({ maps, range, status, left }) => {
    const guest = attached();
    const host = new MemoryHostIommu({ strictness: 'vfio-user' });
    await guest.plug(ENDPOINT, host);
    for (const [iova, pages] of maps) guest.do(map(DOMAIN, iova, pages, iova));

    expect(guest.do(unmap(DOMAIN, range[0], range[1]))).toBe(status);
    expect([...host.mappings()].map(({ iova }) => iova)).toEqual(left);
  });

  test.each([
    ['begins within the first byte of a page', { virt_start: 0x1001n }],
    ['ends before the last byte of a page', { virt_end: 0x1ffen }],
  ])('a range that %s would split the mapping', (_what, change) => {
    const guest = attached();
    guest.do(map(DOMAIN, 1, 1, 1));

    expect(guest.do({ ...unmap(DOMAIN, 1, 1), ...change })).toBe(spec.S_RANGE);
    expect(guest.iommu.domainOf(ENDPOINT)?.mappings.size).toBe(1);
  });

  test('a range that would split a mapping is refused without a look at the others', () => {
    const guest = attached();
    for (let page = 0; page < 100; page++) guest.do(map(DOMAIN, page, 1, page));
    guest.do(map(DOMAIN, 100, 2, 100));
    const steps = vi.spyOn(LedgerCursor.prototype, 'next');

    const status = guest.do(unmap(DOMAIN, 0, 101));

    expect([status, steps.mock.calls.length]).toEqual([spec.S_RANGE, 0]);
    steps.mockRestore();
  });

  test('a range need not be aligned where it spills over unmapped addresses', () => {
    const guest = attached();
    guest.do(map(DOMAIN, 1, 1, 1));

    expect(guest.do({ ...unmap(DOMAIN, 1, 1), virt_start: 0xffn, virt_end: 0x2001n })).toBe(spec.S_OK);
    expect(guest.iommu.domainOf(ENDPOINT)?.mappings.size).toBe(0);
  });

  test('an end before the start is an invalid parameter', () => {
    expect(attached().do({ ...unmap(DOMAIN, 4, 1), virt_end: 0n })).toBe(spec.S_INVAL);
  });
});

describe('PROBE (5.13.6.7)', () => {
  test('lists the reserved regions, and zeroes behind them', () => {
    const guest = Guest.started({
      reserved: [
        { subtype: spec.RESV_MEM_T_MSI, start: 0xfee0_0000n, end: 0xfeef_ffffn },
        { subtype: spec.RESV_MEM_T_RESERVED, start: 0x1000n, end: 0x2fffn },
      ],
    });

    const reply = guest.reply(guest.post(probe(ENDPOINT)));

    expect(reply).toMatchObject({ status: spec.S_OK, len: 516 });
    expect(spec.decodeReservedMemory(reply?.bytes.subarray(0, 512) ?? new Uint8Array(0))).toEqual([
      { subtype: spec.RESV_MEM_T_MSI, start: 0xfee0_0000n, end: 0xfeef_ffffn },
      { subtype: spec.RESV_MEM_T_RESERVED, start: 0x1000n, end: 0x2fffn },
    ]);
    expect(reply?.bytes.subarray(48).every((byte) => byte === 0)).toBe(true);
  });

  test('"If the endpoint identified by endpoint doesn\'t exist, then the device SHOULD reject the request and set status to VIRTIO_IOMMU_S_NOENT."', () => {
    const guest = Guest.started({ endpointExists: () => false });

    expect(guest.do(probe(ENDPOINT))).toBe(spec.S_NOENT);
  });

  test('"If the properties list is smaller than probe_size, the device SHOULD NOT write any property. It SHOULD reject the request and set status to VIRTIO_IOMMU_S_INVAL."', () => {
    const guest = Guest.started();

    const reply = guest.reply(guest.post(probe(ENDPOINT), 100));

    expect(reply).toMatchObject({ status: spec.S_INVAL, len: 100 });
    expect(spec.decodeReservedMemory(reply?.bytes.subarray(0, 96) ?? new Uint8Array(0))).toEqual([]);
  });

  test('"If the device does not offer the VIRTIO_IOMMU_F_PROBE feature, [...] the device SHOULD NOT write the buffer and SHOULD set the used length to zero."', () => {
    const guest = Guest.started({ features: spec.VIRTIO_IOMMU_F_MAP_UNMAP });

    const reply = guest.reply(guest.post(probe(ENDPOINT)));

    expect(reply?.len).toBe(0);
    expect(reply?.bytes.every((byte) => byte === 0xee)).toBe(true);
  });

  test('"The device MUST ignore field reserved of a PROBE request."', () => {
    const guest = Guest.started();
    const bytes = spec.encodeRequest(probe(ENDPOINT));
    bytes.fill(0xff, 8);
    const number = guest.queue(bytes, 516);
    guest.iommu.device.notify(spec.REQUESTQ);

    expect(guest.reply(number)?.status).toBe(spec.S_OK);
  });
});

describe('requests that are none (5.13.6)', () => {
  test.each([0, 6, 255])(
    '"If a request type is not recognized, the device SHOULD NOT write the buffer and SHOULD set the used length to zero." (%i)',
    (type) => {
      const guest = Guest.started();
      const number = guest.queue(new Uint8Array(64).fill(type), 4);
      guest.iommu.device.notify(spec.REQUESTQ);

      expect(guest.reply(number)).toEqual({ status: -1, len: 0, bytes: new Uint8Array(4).fill(0xee) });
    },
  );

  test.each([0, 1, 4, 19])('one of %i readable bytes is given back unused', (length) => {
    const guest = Guest.started();
    const number = guest.queue(spec.encodeRequest(attach(DOMAIN, ENDPOINT)).subarray(0, length), 4);
    guest.iommu.device.notify(spec.REQUESTQ);

    expect(guest.reply(number)?.len).toBe(0);
    expect(guest.iommu.domainOf(ENDPOINT)).toBeUndefined();
  });

  test.each([0, 3])('one with %i writable bytes is given back unused, and not carried out', (length) => {
    const guest = Guest.started();

    const reply = guest.reply(guest.post(attach(DOMAIN, ENDPOINT), length));

    expect(reply?.len).toBe(0);
    expect(guest.iommu.domainOf(ENDPOINT)).toBeUndefined();
  });

  test('the tail is written in full, its reserved field zero', () => {
    const guest = Guest.started();

    const reply = guest.reply(guest.post(attach(DOMAIN, ENDPOINT), 8));

    expect(reply?.bytes).toEqual(new Uint8Array([0, 0, 0, 0, 0xee, 0xee, 0xee, 0xee]));
    expect(reply?.len).toBe(4);
  });
});

test('one MAP request is one mapping of the host, and one unmap, whatever its size and alignment', async () => {
  const guest = attached();
  const host = new MemoryHostIommu({ strictness: 'vfio-user' });
  await guest.plug(ENDPOINT, host);

  guest.do(map(DOMAIN, 0x123, 0x345, 0x77));
  const mapped = held(host);
  guest.do(unmap(DOMAIN, 0, 0x1000));

  expect(mapped).toEqual(['123+345 -> 77 3']);
  expect(host.messages).toMatchObject({ map: 1, unmap: 1 });
});
