import { describe, expect, test } from 'vitest';
import { spec } from '../../../src/models/virtio/index.ts';

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Hexadecimal text without the gaps between fields. */
function packed(text: string): string {
  return text.replaceAll(' ', '');
}

describe('requests are laid out as 5.13.6 prints them', () => {
  test.each([
    {
      request: { type: spec.T_ATTACH, domain: 1, endpoint: 8, flags: 1, reserved: 0x0a0b0c0d },
      bytes: packed('01000000 01000000 08000000 01000000 0d0c0b0a'),
    },
    {
      request: { type: spec.T_DETACH, domain: 1, endpoint: 0x10 },
      bytes: packed('02000000 01000000 10000000 0000000000000000'),
    },
    {
      request: {
        type: spec.T_MAP,
        domain: 1,
        virt_start: 0x1000n,
        virt_end: 0x1fffn,
        phys_start: 0x1_2345_6000n,
        flags: 3,
      },
      bytes: packed('03000000 01000000 0010000000000000 ff1f000000000000 0060452301000000 03000000'),
    },
    {
      request: { type: spec.T_UNMAP, domain: 2, virt_start: 0n, virt_end: 2n ** 64n - 1n, reserved: 0 },
      bytes: packed('04000000 02000000 0000000000000000 ffffffffffffffff 00000000'),
    },
    {
      request: { type: spec.T_PROBE, endpoint: 3 },
      bytes: `${packed('05000000 03000000')}${'00'.repeat(64)}`,
    },
  ] as const)('type $request.type', ({ request, bytes }) => {
    const encoded = spec.encodeRequest(request);

    expect(hex(encoded)).toBe(bytes);
    expect(encoded.length).toBe(spec.readableBytes(request.type));
    expect(spec.decodeRequest(encoded)).toEqual(request);
  });

  test('a request that is one byte short, or of no known type, is none', () => {
    const map = spec.encodeRequest({ type: spec.T_PROBE, endpoint: 3 });

    expect(spec.decodeRequest(map.subarray(0, -1))).toBeUndefined();
    expect(spec.decodeRequest(new Uint8Array(128).fill(6))).toBeUndefined();
    expect(spec.decodeRequest(new Uint8Array(0))).toBeUndefined();
  });
});

test('the configuration is laid out as 5.13.4 prints it', () => {
  const config = {
    page_size_mask: 0xffff_ffff_ffff_f000n,
    input_range: { start: 0x1000n, end: 0x7f_ffff_ffffn },
    domain_range: { start: 1, end: 0xfffe },
    probe_size: 512,
    bypass: 1,
  };

  const bytes = spec.encodeConfig(config);

  expect(hex(bytes)).toBe(
    packed('00f0ffffffffffff 0010000000000000 ffffffff7f000000 01000000 feff0000 00020000 01 000000'),
  );
  expect(spec.decodeConfig(bytes)).toEqual(config);
});

describe('PROBE properties', () => {
  test('RESV_MEM is laid out as 5.13.6.8.1 prints it', () => {
    const region = { subtype: spec.RESV_MEM_T_MSI, start: 0xfee0_0000n, end: 0xfeef_ffffn };

    const bytes = spec.encodeReservedMemory(region);

    expect(hex(bytes)).toBe(packed('0100 1400 01 000000 0000e0fe00000000 ffffeffe00000000'));
    expect(spec.decodeReservedMemory(bytes)).toEqual([region]);
  });

  test('the list ends at an empty property; unknown and reserved ones are passed over by their length', () => {
    const region = { subtype: spec.RESV_MEM_T_RESERVED, start: 0n, end: 0xfffn };
    const list = new Uint8Array(128);
    list.set([0x02, 0x00, 0x04, 0x00, 1, 2, 3, 4]);
    list.set([0x01, 0x10, 0x00, 0x00], 8);
    list.set(spec.encodeReservedMemory(region), 12);
    list.set(spec.encodeReservedMemory({ ...region, start: 1n }), 12 + 24 + 4);

    expect(spec.decodeReservedMemory(list)).toEqual([region]);
  });

  test('a property that is cut off is none', () => {
    const bytes = spec.encodeReservedMemory({ subtype: 0, start: 0n, end: 1n });

    expect(spec.decodeReservedMemory(bytes.subarray(0, 20))).toEqual([]);
  });
});

describe('fault reports', () => {
  const fault = {
    reason: spec.FAULT_R_MAPPING,
    flags: spec.FAULT_F_WRITE | spec.FAULT_F_ADDRESS,
    endpoint: 8,
    address: 0x1234_5000n,
  };

  test('are laid out as 5.13.6.9 prints them', () => {
    const bytes = spec.encodeFaultReport(fault);

    expect(hex(bytes)).toBe(packed('02 000000 02010000 08000000 00000000 0050341200000000'));
    expect(spec.decodeFaultReport(bytes)).toEqual(fault);
  });

  test('are ignored when a reserved field is set or they are too short', () => {
    const bytes = spec.encodeFaultReport(fault);
    const reserved = bytes.slice();
    reserved[2] = 1;

    expect(spec.decodeFaultReport(reserved)).toBeUndefined();
    expect(spec.decodeFaultReport(bytes.subarray(1))).toBeUndefined();
  });
});

test('a descriptor is laid out as 2.7.5 prints it', () => {
  const descriptor = { addr: 0x1_0000_2000n, len: 36, flags: spec.DESC_F_NEXT | spec.DESC_F_WRITE, next: 7 };

  const bytes = spec.encodeDescriptor(descriptor);

  expect(hex(bytes)).toBe(packed('0020000001000000 24000000 0300 0700'));
  expect(spec.decodeDescriptor(bytes)).toEqual(descriptor);
});

test('the parts of a queue take the bytes that 2.7 says', () => {
  expect(spec.queueBytes(256)).toEqual({ desc: 4096, avail: 518, used: 2054 });
});
