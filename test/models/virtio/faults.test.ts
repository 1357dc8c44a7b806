import { describe, expect, test } from 'vitest';
import { dmaRead, dmaWrite } from '../../../src/memory/index.ts';
import { spec, type VirtioIommuOptions } from '../../../src/models/virtio/index.ts';
import { attach, Guest, map, unmap } from './guest.ts';

/** A guest without bypass, with four buffers for events. */
function watched(options: Omit<VirtioIommuOptions, 'memory'> = {}): Guest {
  const guest = Guest.started({ bootBypass: false, ...options });
  guest.offerEvents(4);
  return guest;
}

function read(guest: Guest, endpoint: number, address: bigint): string | undefined {
  return dmaRead(guest.iommu.addressSpace(endpoint), address, new Uint8Array(4)).failure?.kind;
}

function write(guest: Guest, endpoint: number, address: bigint): string | undefined {
  return dmaWrite(guest.iommu.addressSpace(endpoint), address, new Uint8Array(4)).failure?.kind;
}

describe('fault reports (5.13.6.9)', () => {
  test('DOMAIN: "The endpoint attempted to access address without being attached to a domain."', () => {
    const guest = watched();

    expect(read(guest, 8, 0x1000n)).toBe('translation');
    expect(guest.faults()).toEqual([
      {
        reason: spec.FAULT_R_DOMAIN,
        flags: spec.FAULT_F_ADDRESS | spec.FAULT_F_READ,
        endpoint: 8,
        address: 0x1000n,
      },
    ]);
    expect(guest.notified).toEqual([spec.EVENTQ]);
  });

  test('MAPPING: "The endpoint attempted to access address, which wasn\'t mapped in the domain or didn\'t have the correct protection flags."', () => {
    const guest = watched();
    guest.do(attach(1, 8));
    guest.do(map(1, 1, 1, 1, spec.MAP_F_READ));
    guest.do(map(1, 2, 1, 2, spec.MAP_F_WRITE));
    guest.do(map(1, 3, 1, 3, 0));

    expect(write(guest, 8, 0x1000n)).toBe('translation');
    expect(read(guest, 8, 0x2000n)).toBe('translation');
    expect(read(guest, 8, 0x3000n)).toBe('translation');
    expect(read(guest, 8, 0x4000n)).toBe('translation');
    expect(guest.faults()).toEqual(
      [
        { flags: spec.FAULT_F_WRITE, address: 0x1000n },
        { flags: spec.FAULT_F_READ, address: 0x2000n },
        { flags: spec.FAULT_F_READ, address: 0x3000n },
        { flags: spec.FAULT_F_READ, address: 0x4000n },
      ].map(({ flags, address }) => ({
        reason: spec.FAULT_R_MAPPING,
        flags: flags | spec.FAULT_F_ADDRESS,
        endpoint: 8,
        address,
      })),
    );
  });

  test('an access that the mapping allows leads to the memory mapped, and is no fault', () => {
    const guest = watched();
    guest.do(attach(1, 8));
    guest.do(map(1, 0x123, 5, 0x77));
    dmaWrite(guest.iommu.addressSpace(8), 0x12_5678n, new Uint8Array([1, 2, 3]));

    const seen = new Uint8Array(3);
    dmaRead(guest.memory, 0x7_9678n, seen);

    expect([...seen]).toEqual([1, 2, 3]);
    expect(guest.faults()).toEqual([]);
  });

  test('an unmapped page faults from then on', () => {
    const guest = watched();
    guest.do(attach(1, 8));
    guest.do(map(1, 1, 1, 1));
    const before = read(guest, 8, 0x1000n);
    guest.do(unmap(1, 1, 1));

    expect([before, read(guest, 8, 0x1000n)]).toEqual([undefined, 'translation']);
  });

  test('"Endpoints attached to different domains are isolated from each other", those of one domain share it', () => {
    const guest = watched();
    guest.do(attach(1, 8));
    guest.do(attach(1, 9));
    guest.do(attach(2, 10));
    guest.do(map(1, 1, 1, 1));

    expect([8, 9, 10].map((endpoint) => read(guest, endpoint, 0x1000n))).toEqual([
      undefined,
      undefined,
      'translation',
    ]);
  });

  test('without a buffer they are dropped and counted, and the observer hears it', () => {
    const guest = Guest.started({ bootBypass: false });

    read(guest, 8, 0x1000n);

    expect(guest.iommu.droppedFaults).toBe(1);
    expect(guest.observed.map(({ kind, details }) => [kind, details?.['outcome']])).toEqual([
      ['guest-fault', 'dropped'],
    ]);
  });

  test('before the driver is ready they are dropped', () => {
    const guest = new Guest({ bootBypass: false });

    expect(read(guest, 8, 0x1000n)).toBe('translation');
    expect(guest.iommu.droppedFaults).toBe(1);
  });

  test('"If a buffer is too small to contain the fault report, the device SHOULD NOT use multiple buffers to describe it."', () => {
    const guest = Guest.started({ bootBypass: false });
    guest.offerEvents(2, spec.FAULT_BYTES - 1);

    read(guest, 8, 0x1000n);

    expect(guest.events.used().map(({ len }) => len)).toEqual([0]);
    expect(guest.iommu.droppedFaults).toBe(1);
  });

  test('"the driver does not want to be notified" holds for events, too', () => {
    const guest = watched();
    guest.events.setFlags(spec.AVAIL_F_NO_INTERRUPT);

    read(guest, 8, 0x1000n);

    expect(guest.notified).toEqual([]);
    expect(guest.faults().length).toBe(1);
  });
});

describe('reserved regions (5.13.6.8.1)', () => {
  const reserved = [
    { subtype: spec.RESV_MEM_T_MSI, start: 0xfee0_0000n, end: 0xfeef_ffffn },
    { subtype: spec.RESV_MEM_T_RESERVED, start: 0x1000n, end: 0x2fffn },
  ];

  test('what is written to the MSI doorbell is an interrupt, attached or not', () => {
    const sent: [bigint, number][] = [];
    const guest = watched({ reserved, sendInterrupt: (address, data) => sent.push([address, data]) });

    dmaWrite(guest.iommu.addressSpace(8), 0xfee0_1004n, new Uint8Array([0x31, 0, 0, 1]));
    guest.do(attach(1, 8));
    dmaWrite(guest.iommu.addressSpace(8), 0xfee0_2000n, new Uint8Array([0x32, 0, 0, 0]));

    expect(sent).toEqual([
      [0xfee0_1004n, 0x0100_0031],
      [0xfee0_2000n, 0x32],
    ]);
    expect(guest.faults()).toEqual([]);
  });

  test('a read of the doorbell, and a write of another size, is refused', () => {
    const guest = watched({ reserved });
    const space = guest.iommu.addressSpace(8);

    expect(dmaRead(space, 0xfee0_0000n, new Uint8Array(4)).failure?.kind).toBe('device-refused');
    expect(dmaWrite(space, 0xfee0_0000n, new Uint8Array(8)).failure?.kind).toBe('device-refused');
    expect(dmaWrite(space, 0xfee0_0002n, new Uint8Array(4)).failure?.kind).toBe('device-refused');
  });

  test('an access to a RESERVED region is a fault', () => {
    const guest = watched({ reserved });
    guest.do(attach(1, 8));

    expect(write(guest, 8, 0x1000n)).toBe('translation');
    expect(guest.faults()[0]?.reason).toBe(spec.FAULT_R_MAPPING);
  });

  test.each([
    ['overlap', [reserved[1], { ...reserved[1], start: 0x2000n, end: 0x3fffn }], 'overlap'],
    ['are two doorbells', [reserved[0], { ...reserved[0], start: 0n, end: 0xfffn }], 'one MSI doorbell'],
    ['are not made of pages', [{ ...reserved[1], end: 0x2000n }], 'whole pages'],
    [
      'do not fit probe_size',
      Array.from({ length: 22 }, (_, i) => ({
        subtype: 0,
        start: BigInt(i) << 12n,
        end: (BigInt(i) << 12n) + 0xfffn,
      })),
      'give 528 or more',
    ],
  ])('that %s are refused', (_what, regions, message) => {
    expect(() => new Guest({ reserved: regions })).toThrow(message);
  });
});
