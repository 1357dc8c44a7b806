import { describe, expect, test } from 'vitest';
import { Access, dmaRead, dmaWrite } from '../../../src/memory/index.ts';
import {
  FEADDR,
  FECTL,
  FEDATA,
  FEUADDR,
  FRCD,
  FSTS,
  IQE,
  PFO,
  PPF,
  SCALABLE,
  TE,
  UnitGuest,
} from './unit-guest.ts';

const DEVICE = 0x0208;
const F = 1n << 63n;

/** A device that meets an empty second stage, or no context entry when `fpd` is undefined. */
function faulting(options: { NFR?: number; fpd?: boolean } = {}): UnitGuest {
  const guest = new UnitGuest({ capability: { NFR: options.NFR ?? 0 } });
  guest.context(DEVICE, { root: guest.stage(), domain: 5, fpd: options.fpd ?? false });
  guest.translate();
  return guest;
}

/** DMA by `requester`, one byte at `page`. */
function access(guest: UnitGuest, page: number, kind: 'r' | 'w' = 'r', requester = DEVICE, pasid = 0): void {
  const space = guest.iommu.addressSpace(requester);
  if (kind === 'r') dmaRead(space, BigInt(page) << 12n, new Uint8Array(1), pasid);
  else dmaWrite(space, BigInt(page) << 12n, new Uint8Array(1), pasid);
}

describe('fault recording', () => {
  test('a read: address, source, reason and type', () => {
    const guest = faulting();
    access(guest, 0x12345);
    expect(guest.read64(FRCD)).toBe(0x1234_5000n);
    expect(guest.read64(FRCD + 8)).toBe(F | (1n << 62n) | (6n << 32n) | BigInt(DEVICE));
    expect(guest.read(FSTS)).toBe(PPF);
  });

  test('a write', () => {
    const guest = faulting();
    access(guest, 0x12345, 'w');
    expect(guest.read64(FRCD + 8)).toBe(F | (5n << 32n) | BigInt(DEVICE));
  });

  test('a request with PASID says so', () => {
    const guest = new UnitGuest({ capability: SCALABLE });
    guest.translate(1);
    access(guest, 0x12345, 'r', DEVICE, 0x4321);
    expect(guest.read64(FRCD + 8)).toBe(
      F | (1n << 62n) | (0x4321n << 40n) | (0x39n << 32n) | (1n << 31n) | BigInt(DEVICE),
    );
  });

  test('further faults of the same source are collapsed into the pending one', () => {
    const guest = faulting({ NFR: 3 });
    access(guest, 1);
    access(guest, 2);
    expect(guest.read64(FRCD)).toBe(0x1000n);
    expect(guest.read64(FRCD + 16 + 8)).toBe(0n);
    expect(guest.read(FSTS)).toBe(PPF);
  });

  test('other sources fill the ring, then overflow', () => {
    const guest = faulting({ NFR: 1 });
    access(guest, 1, 'r', 0x0100);
    access(guest, 2, 'r', 0x0101);
    access(guest, 3, 'r', 0x0102);
    expect([guest.read64(FRCD + 8) & 0xffffn, guest.read64(FRCD + 24) & 0xffffn]).toEqual([0x0100n, 0x0101n]);
    expect(guest.read(FSTS)).toBe(PPF | PFO);
  });

  test('while PFO is set nothing is recorded, even with a free register', () => {
    const guest = faulting();
    access(guest, 1, 'r', 0x0100);
    access(guest, 2, 'r', 0x0101);
    guest.write64(FRCD + 8, F);
    expect(guest.read(FSTS)).toBe(PFO);
    access(guest, 3, 'r', 0x0102);
    expect(guest.read64(FRCD + 8) & F).toBe(0n);
    guest.write(FSTS, PFO);
    access(guest, 4, 'r', 0x0103);
    expect(guest.read64(FRCD)).toBe(0x4000n);
  });

  test('the ring goes round, and FRI is the record that set PPF', () => {
    const guest = faulting({ NFR: 2 });
    access(guest, 1, 'r', 0x0100);
    guest.write(FRCD + 12, 0x8000_0000);
    expect(guest.read(FSTS)).toBe(0);
    access(guest, 2, 'r', 0x0101);
    expect(guest.read(FSTS)).toBe((1 << 8) | PPF);
    access(guest, 3, 'r', 0x0102);
    access(guest, 4, 'r', 0x0103);
    expect(guest.read64(FRCD)).toBe(0x4000n);
    expect(guest.read(FSTS)).toBe((1 << 8) | PPF);
  });

  test('PPF stays while any record is pending', () => {
    const guest = faulting({ NFR: 1 });
    access(guest, 1, 'r', 0x0100);
    access(guest, 2, 'r', 0x0101);
    guest.write64(FRCD + 8, F);
    expect(guest.read(FSTS)).toBe(PPF);
    guest.write64(FRCD + 24, F);
    expect(guest.read(FSTS)).toBe(0);
  });

  test('writing zero to F, or to anything else of a record, changes nothing', () => {
    const guest = faulting();
    access(guest, 1);
    const before = guest.read64(FRCD + 8);
    guest.write64(FRCD, 0xffff_ffff_ffff_ffffn);
    guest.write64(FRCD + 8, ~F);
    expect([guest.read64(FRCD), guest.read64(FRCD + 8)]).toEqual([0x1000n, before]);
  });

  test('turning translation off sets the ring to its first register', () => {
    const guest = faulting({ NFR: 3 });
    access(guest, 1);
    guest.write64(FRCD + 8, F);
    guest.command(0, TE);
    guest.command(TE);
    access(guest, 2);
    expect(guest.read64(FRCD)).toBe(0x2000n);
    expect(guest.read(FSTS)).toBe(PPF);
  });
});

describe('FPD', () => {
  test('a qualified fault is not recorded', () => {
    const guest = faulting({ fpd: true });
    access(guest, 1);
    expect(guest.read(FSTS)).toBe(0);
    expect(guest.events).toMatchObject([
      { kind: 'guest-fault', details: { outcome: 'suppressed', reason: 6 } },
    ]);
  });

  test('an unqualified one is', () => {
    const guest = faulting({ fpd: true });
    guest.iommu.recordFault({
      requester: DEVICE,
      page: 1,
      isWrite: false,
      pasid: undefined,
      code: 0x08,
      fpd: true,
    });
    expect(guest.read(FSTS)).toBe(PPF);
  });
});

describe('the fault event', () => {
  test('is sent to FEUADDR:FEADDR with FEDATA', () => {
    const guest = faulting();
    guest.write(FEDATA, 0x29);
    guest.write(FEADDR, 0xfee0_3000);
    guest.write(FEUADDR, 1);
    guest.write(FECTL, 0);
    access(guest, 1);
    expect(guest.messages).toEqual([{ address: 0x1_fee0_3000n, data: 0x29 }]);
    expect(guest.read(FECTL)).toBe(0);
  });

  test('is held pending while IM is set', () => {
    const guest = faulting();
    access(guest, 1);
    expect(guest.read(FECTL)).toBe(0xc000_0000);
    guest.write(FECTL, 0);
    expect(guest.messages).toHaveLength(1);
  });

  test('is dropped when every condition was serviced before IM is cleared', () => {
    const guest = faulting();
    access(guest, 1);
    guest.write64(FRCD + 8, F);
    guest.write(FECTL, 0);
    expect(guest.messages).toEqual([]);
  });

  test('is not raised again while a condition is set', () => {
    const guest = faulting({ NFR: 1 });
    guest.write(FECTL, 0);
    access(guest, 1, 'r', 0x0100);
    access(guest, 2, 'r', 0x0101);
    access(guest, 3, 'r', 0x0102);
    guest.queue();
    guest.submit([15n, 0n]);
    expect(guest.read(FSTS)).toBe(PPF | PFO | IQE);
    expect(guest.messages).toHaveLength(1);
  });

  test('is raised anew after everything was serviced', () => {
    const guest = faulting();
    guest.write(FECTL, 0);
    access(guest, 1);
    guest.write64(FRCD + 8, F);
    access(guest, 2);
    expect(guest.messages).toHaveLength(2);
  });

  test('a handler that clears the record at once sees a consistent unit', () => {
    const guest: UnitGuest = new UnitGuest({
      sendInterrupt: () => {
        guest.write64(FRCD + 8, F);
      },
    });
    guest.translate();
    guest.write(FECTL, 0);
    access(guest, 1);
    expect([guest.read(FSTS), guest.read(FECTL)]).toEqual([0, 0]);
  });
});

describe('reports', () => {
  test('each fault is told with requester, address and reason', () => {
    const guest = faulting();
    access(guest, 0x12345, 'w');
    expect(guest.events).toEqual([
      {
        kind: 'guest-fault',
        source: 'VT-d',
        message:
          'the write of 02:01.0 at 0x12345000 was blocked. LGN.2: The tables do not permit writing. It was recorded.',
        details: { requester: '02:01.0', address: 0x1234_5000n, access: 'w', reason: 5, outcome: 'recorded' },
      },
    ]);
  });

  test('what became of it is told too', () => {
    const guest = faulting();
    access(guest, 1);
    access(guest, 2);
    access(guest, 3, 'r', 0x0100);
    access(guest, 4, 'r', 0x0101);
    expect(guest.events.map(({ details }) => details?.outcome)).toEqual([
      'recorded',
      'collapsed',
      'overflow',
      'dropped',
    ]);
  });

  test('a host that refuses a mapping is a fault of its address', () => {
    const guest = faulting();
    guest.iommu.hostRefused(DEVICE, { iova: 0x77, pages: 4, target: 1, access: Access.ReadWrite });
    expect(guest.read64(FRCD)).toBe(0x7_7000n);
    expect((guest.read64(FRCD + 8) >> 32n) & 0xffn).toBe(4n);
  });

  test('in scalable mode with the reason of that mode', () => {
    const guest = new UnitGuest({ capability: SCALABLE });
    guest.translate(1);
    guest.iommu.hostRefused(DEVICE, { iova: 0x77, pages: 4, target: 1, access: Access.Write });
    expect(guest.read64(FRCD + 8)).toBe(F | (0x83n << 32n) | BigInt(DEVICE));
  });
});
