import { describe, expect, it } from 'vitest';
import { dmaRead, dmaWrite } from '../../../src/memory/index.ts';
import { AmdviIommu, RegisterDumpError, spec } from '../../../src/models/amdvi/index.ts';
import { guestMemory } from '../../support/guest-memory.ts';
import {
  AmdviGuest,
  CMD_BUF_RUN,
  COMMAND_HEAD,
  CONTROL,
  DEVICE,
  DEVICE_TABLE_BASE,
  EVENT_LOG_RUN,
  invalidatePage,
  RUNNING,
  STATUS,
  wait,
} from './amdvi-guest.ts';
import { FollowingHost } from './following-host.ts';
import { leafText } from './observe.ts';

/** Bytes of every register, as a dump of the MMIO space holds them. */
function dump(iommu: AmdviIommu, bytes = 0x2028): Uint8Array {
  const view = new DataView(new ArrayBuffer(bytes));
  for (let at = 0; at < bytes; at += 4) view.setUint32(at, Number(iommu.readRegister(at, 4)), true);
  return new Uint8Array(view.buffer);
}

function running(): AmdviGuest {
  const guest = new AmdviGuest();
  guest.entry(DEVICE, { root: guest.tables([0x1000, 0x800]), domain: 5 });
  guest.start();
  return guest;
}

describe('registers', () => {
  it.each([
    { name: 'Device Table Base', offset: 0x00, reset: 0n, kept: 0x000f_ffff_ffff_f1ffn },
    { name: 'Command Buffer Base', offset: 0x08, reset: 8n << 56n, kept: 0x0f0f_ffff_ffff_f000n },
    { name: 'Event Log Base', offset: 0x10, reset: 8n << 56n, kept: 0x0f0f_ffff_ffff_f000n },
    { name: 'Exclusion Base', offset: 0x20, reset: 0n, kept: 0x000f_ffff_ffff_f003n },
    { name: 'Exclusion Range Limit', offset: 0x28, reset: 0n, kept: 0x000f_ffff_ffff_f000n },
    { name: 'Extended Feature', offset: 0x30, reset: 0x841n, kept: 0x841n },
    { name: 'Command Buffer Head', offset: 0x2000, reset: 0n, kept: 0x7_fff0n },
    { name: 'Command Buffer Tail', offset: 0x2008, reset: 0n, kept: 0x7_fff0n },
    { name: 'Event Log Head', offset: 0x2010, reset: 0n, kept: 0x7_fff0n },
    { name: 'Event Log Tail', offset: 0x2018, reset: 0n, kept: 0x7_fff0n },
    { name: 'Status', offset: 0x2020, reset: 0n, kept: 0n },
    { name: 'one that is not there', offset: 0x38, reset: 0n, kept: 0n },
  ])('$name holds $reset after reset and $kept of all ones', ({ offset, reset, kept }) => {
    const guest = new AmdviGuest();
    const before = guest.read(offset);
    guest.write(offset, 0xffff_ffff_ffff_ffffn);

    expect([before, guest.read(offset)]).toEqual([reset, kept]);
  });

  it('take halves', () => {
    const { iommu } = new AmdviGuest();
    iommu.writeRegister(0, 0x1234_5007n, 4);
    iommu.writeRegister(4, 0x9n, 4);

    expect(iommu.readRegister(0, 8)).toBe(0x9_1234_5007n);
    expect(iommu.readRegister(4, 4)).toBe(9n);
  });

  it.each([
    [1, 4],
    [4, 8],
    [0x4000, 4],
    [-8, 8],
  ] as const)('refuse an access at %i of %i bytes', (offset, bytes) => {
    const { iommu } = new AmdviGuest();

    expect(() => iommu.readRegister(offset, bytes)).toThrow(RangeError);
    expect(() => iommu.writeRegister(offset, 0n, bytes)).toThrow(RangeError);
  });

  it('lie in memory where they are placed', () => {
    const guest = running();
    guest.memory.root.add(guest.iommu.registers, 0xfed80);
    const data = new Uint8Array(8);
    const reading = dmaRead(guest.memory.space, 0xfed8_0018n, data);
    const odd = dmaWrite(guest.memory.space, 0xfed8_0018n, new Uint8Array(2));

    expect(reading.failure).toBeUndefined();
    expect(data[0]).toBe(RUNNING & 0xff);
    expect(odd.failure?.kind).toBe('device-refused');
  });
});

describe('a register dump', () => {
  it('restored leaves the registers and the mappings as they were', () => {
    const guest = running();
    guest.submit(wait(1n));
    const bytes = dump(guest.iommu);
    const second = AmdviIommu.fromRegisters({ memory: guest.memory.space, bytes });
    const host = new FollowingHost(second, DEVICE);

    expect(dump(second)).toEqual(bytes);
    expect(second.capability).toEqual(spec.BASE_CAPABILITY);
    expect(host.mappings).toEqual([leafText(0x1000, 1, 0x800, 3)]);
  });

  it('restored does what stands between head and tail', () => {
    const guest = running();
    guest.put(wait(9n));
    const bytes = dump(guest.iommu);
    new DataView(bytes.buffer).setUint32(0x2008, 0x10, true);

    const second = AmdviIommu.fromRegisters({ memory: guest.memory.space, bytes });

    expect(guest.stored()).toBe(9n);
    expect(second.readRegister(COMMAND_HEAD, 4)).toBe(0x10n);
  });

  it('that ends before Status is of an IOMMU in which everything enabled runs', () => {
    const guest = running();
    const second = AmdviIommu.fromRegisters({ memory: guest.memory.space, bytes: dump(guest.iommu, 0x38) });

    expect(Number(second.readRegister(STATUS, 4))).toBe(CMD_BUF_RUN | EVENT_LOG_RUN);
  });

  it('with a capability header without NpCache is of an IOMMU without', () => {
    const guest = running();
    const bytes = dump(guest.iommu);

    const second = AmdviIommu.fromRegisters({ memory: guest.memory.space, bytes, header: 0x080b_000f });

    expect(second.capability.NpCache).toBe(false);
  });

  it('that is too short says how much is needed', () => {
    const { space } = guestMemory([0, 16]);

    expect(() => AmdviIommu.fromRegisters({ memory: space, bytes: new Uint8Array(0x37) })).toThrow(
      RegisterDumpError,
    );
  });

  it('of another IOMMU is refused and changes nothing', () => {
    const guest = running();
    const other = new AmdviGuest({ capability: { HATS: 0 } });

    expect(() => guest.iommu.restore(dump(other.iommu))).toThrow(/HATS 0 instead of 2/);
    expect(guest.read(CONTROL)).toBe(BigInt(RUNNING));
  });
});

describe('reset', () => {
  it('lets everything pass, with the registers as after power-on', () => {
    const guest = running();
    const host = new FollowingHost(guest.iommu, DEVICE);
    guest.iommu.reset();

    expect([guest.read(CONTROL), guest.read(DEVICE_TABLE_BASE), guest.read(STATUS)]).toEqual([0n, 0n, 0n]);
    expect(host.mappings).toEqual([]);
    expect([...host.direct]).toEqual(['0-4000']);
  });

  it('during a run of commands leaves no trace of them', async () => {
    const guest = running();
    const host = new FollowingHost(guest.iommu, DEVICE);
    host.hold();
    guest.submit(invalidatePage(5, 0x1000), wait(7n));
    guest.iommu.reset();
    await host.confirm();

    expect(guest.stored()).toBe(0n);
    expect(guest.read(COMMAND_HEAD)).toBe(0n);
  });
});

describe('requesters', () => {
  it('see the same space each time, until it is released', () => {
    const { iommu } = running();
    const space = iommu.addressSpace(DEVICE);
    const again = iommu.addressSpace(DEVICE);
    iommu.releaseAddressSpace(DEVICE);

    expect(again).toBe(space);
    expect(iommu.addressSpace(DEVICE)).not.toBe(space);
  });

  it('are 0 to 0xffff', () => {
    const { iommu } = running();

    expect(() => iommu.addressSpace(0x10000)).toThrow(RangeError);
  });
});
