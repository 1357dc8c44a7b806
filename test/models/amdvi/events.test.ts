import { describe, expect, it } from 'vitest';
import { Access, dmaRead, dmaWrite } from '../../../src/memory/index.ts';
import {
  AmdviGuest,
  CONTROL,
  DEVICE,
  type DeviceTableFields,
  EVENT_BASE,
  EVENT_HEAD,
  EVENT_INT_EN,
  EVENT_LOG_EN,
  EVENT_LOG_INT,
  EVENT_LOG_RUN,
  EVENT_OVERFLOW,
  EVENT_TAIL,
  EVENTS,
  INVALIDATE_ALL,
  invalidateEntry,
  RAM_PAGES,
  RUNNING,
  STATUS,
} from './amdvi-guest.ts';

const FAULT = 0x2000n << 48n;
const RW = 1n << 53n;

/** A device in domain 5 whose tables map page 0x1000 for reading, in an IOMMU that runs. */
function running(fields: DeviceTableFields = {}, control = RUNNING): AmdviGuest {
  const guest = new AmdviGuest();
  const root = guest.table();
  guest.map(root, 3, 0x1000, 1, 0x800, Access.Read);
  guest.entry(DEVICE, { root, domain: 5, ...fields });
  guest.start(control);
  return guest;
}

function read(guest: AmdviGuest, address: bigint): void {
  dmaRead(guest.iommu.addressSpace(DEVICE), address, new Uint8Array(4));
}

function write(guest: AmdviGuest, address: bigint): void {
  dmaWrite(guest.iommu.addressSpace(DEVICE), address, new Uint8Array(4));
}

describe('a request that faults', () => {
  const who = BigInt(DEVICE) | (5n << 32n);

  it('is logged with what it was, its device, its domain and its address', () => {
    const guest = running();
    read(guest, 0x2000n);
    write(guest, 0x2000n);
    write(guest, 0x100_0000n);

    expect(guest.takeEvents()).toEqual([
      [FAULT | who, 0x2000n],
      [FAULT | RW | who, 0x2000n],
      [FAULT | RW | (0x50n << 48n) | who, 0x100_0000n],
    ]);
  });

  it('beyond what the tables translate is a page that is not present', () => {
    const guest = running();
    read(guest, 0x80_0000_0000n);

    expect(guest.takeEvents()).toEqual([[FAULT | who, 0x80_0000_0000n]]);
  });

  it('at a table outside RAM is logged with the address of the entry', () => {
    const guest = running();
    const root = guest.table();
    guest.poke(root, 2, (0x50_000n << 12n) | (2n << 9n) | (3n << 61n) | 1n);
    guest.entry(DEVICE, { root, domain: 5 });
    read(guest, (2n << 30n) | (7n << 21n));

    expect(guest.takeEvents()).toEqual([[(0x4200n << 48n) | who, 0x5000_0038n]]);
  });

  it('at a root outside RAM too', () => {
    const guest = running({ root: 0x50_001 });
    read(guest, 3n << 30n);

    expect(guest.takeEvents()).toEqual([[(0x4200n << 48n) | who, 0x5000_1018n]]);
  });

  it('is told to the observer in a sentence', () => {
    const guest = running();
    write(guest, 0x2000n);

    expect(guest.observed).toEqual([
      {
        kind: 'guest-fault',
        source: 'AMD-Vi',
        message:
          'the write of 02:00.0 at 0x2000 was blocked. IO_PAGE_FAULT: the page is not present. It was logged.',
        details: { requester: '02:00.0', address: 0x2000n, access: 'w', reason: 0x2000, outcome: 'logged' },
      },
    ]);
  });

  it('is not logged when somebody only asks', () => {
    const guest = running();
    guest.iommu.requesterSpace(DEVICE).region.translate(0x2000n, Access.None);

    expect(guest.takeEvents()).toEqual([]);
  });

  it('with a PASID is not translated', () => {
    const guest = running();
    dmaRead(guest.iommu.addressSpace(DEVICE), 0x100_0000n, new Uint8Array(4), 3);

    expect(guest.takeEvents()).toHaveLength(1);
  });
});

describe('events that a device table entry suppresses', () => {
  it('with SA all page faults are left out', () => {
    const guest = running({ sa: true, se: true });
    read(guest, 0x2000n);

    expect(guest.takeEvents()).toEqual([]);
    expect(guest.observed[0]?.details?.['outcome']).toBe('suppressed');
  });

  it('with SE all but the first, until the entry is invalidated', () => {
    const guest = running({ se: true });
    read(guest, 0x2000n);
    read(guest, 0x3000n);
    const first = guest.takeEvents();
    guest.submit(invalidateEntry(DEVICE));
    read(guest, 0x4000n);
    read(guest, 0x5000n);
    const second = guest.takeEvents();
    guest.submit(INVALIDATE_ALL);
    read(guest, 0x6000n);

    expect([first, second, guest.takeEvents()].map((events) => events.map(([, address]) => address))).toEqual(
      [[0x2000n], [0x4000n], [0x6000n]],
    );
  });

  it('with SA other events are logged', () => {
    const guest = running({ sa: true, mode: 7 });
    read(guest, 0x2000n);

    expect(guest.takeEvents()).toHaveLength(1);
  });
});

describe('the event log', () => {
  it('is quiet while it is not enabled', () => {
    const guest = running({}, RUNNING & ~EVENT_LOG_EN);
    read(guest, 0x2000n);

    expect(guest.status & EVENT_LOG_RUN).toBe(0);
    expect(guest.read(EVENT_TAIL)).toBe(0n);
    expect(guest.observed[0]?.details?.['outcome']).toBe('stopped');
  });

  it('with a reserved length does not start', () => {
    const guest = running({}, 0);
    guest.write(EVENT_BASE, BigInt(EVENTS * 4096));
    guest.write(CONTROL, RUNNING);

    expect(guest.status & EVENT_LOG_RUN).toBe(0);
  });

  it('sets EventLogInt and interrupts once until software clears it', () => {
    const guest = running({}, RUNNING | EVENT_INT_EN);
    guest.iommu.interruptMessage = { address: 0xfee0_0000n, data: 0x22 };
    read(guest, 0x2000n);
    read(guest, 0x2000n);
    const during = [guest.status & EVENT_LOG_INT, guest.messages.length];
    guest.write(STATUS, EVENT_LOG_INT);
    const after = guest.status & EVENT_LOG_INT;
    read(guest, 0x2000n);

    expect(during).toEqual([EVENT_LOG_INT, 1]);
    expect(after).toBe(0);
    expect(guest.messages).toHaveLength(2);
  });

  it('without EventIntEn does neither', () => {
    const guest = running();
    guest.iommu.interruptMessage = { address: 0xfee0_0000n, data: 0x22 };
    read(guest, 0x2000n);

    expect(guest.status & EVENT_LOG_INT).toBe(0);
    expect(guest.messages).toEqual([]);
  });

  it('that is full sets EventOverflow and stops', () => {
    const guest = running({}, RUNNING | EVENT_INT_EN);
    guest.iommu.interruptMessage = { address: 0xfee0_0000n, data: 0x22 };
    for (let i = 0; i < 255; i++) read(guest, 0x2000n);
    guest.write(STATUS, EVENT_LOG_INT);
    const full = guest.status & (EVENT_OVERFLOW | EVENT_LOG_RUN);
    read(guest, 0x2000n);
    read(guest, 0x2000n);

    expect(full).toBe(EVENT_LOG_RUN);
    expect(guest.status & (EVENT_OVERFLOW | EVENT_LOG_RUN)).toBe(EVENT_OVERFLOW);
    expect(guest.read(EVENT_TAIL)).toBe(0xff0n);
    expect(guest.messages).toHaveLength(2);
    expect(guest.observed.slice(-2).map(({ details }) => details?.['outcome'])).toEqual([
      'overflow',
      'stopped',
    ]);
  });

  it('starts again when software has cleared EventOverflow and set EventLogEn anew', () => {
    const guest = running();
    for (let i = 0; i < 256; i++) read(guest, 0x2000n);
    guest.takeEvents();
    guest.write(CONTROL, RUNNING & ~EVENT_LOG_EN);
    guest.write(STATUS, EVENT_OVERFLOW);
    guest.write(CONTROL, RUNNING);
    read(guest, 0x3000n);

    expect(guest.status & (EVENT_OVERFLOW | EVENT_LOG_RUN)).toBe(EVENT_LOG_RUN);
    expect(guest.takeEvents().map(([, address]) => address)).toEqual([0x3000n]);
  });

  it('does not start again while EventOverflow is set', () => {
    const guest = running();
    for (let i = 0; i < 256; i++) read(guest, 0x2000n);
    guest.write(CONTROL, RUNNING & ~EVENT_LOG_EN);
    guest.write(CONTROL, RUNNING);

    expect(guest.status & EVENT_LOG_RUN).toBe(0);
  });

  it('runs past its end to its beginning', () => {
    const guest = running();
    for (let i = 0; i < 250; i++) read(guest, 0x2000n);
    guest.takeEvents();
    for (let i = 0; i < 10; i++) read(guest, 0x3000n);

    expect(guest.read(EVENT_TAIL)).toBe(0x40n);
    expect(guest.takeEvents()).toHaveLength(10);
  });

  it('outside RAM loses events and says so', () => {
    const guest = running({}, 0);
    guest.write(EVENT_BASE, (8n << 56n) | BigInt(RAM_PAGES * 4096));
    guest.write(CONTROL, RUNNING);
    read(guest, 0x2000n);

    expect(guest.read(EVENT_TAIL)).toBe(0n);
    expect(guest.observed[0]?.details?.['outcome']).toBe('unwritable');
  });

  it.each([0x7_fff0n, 0xffff_ffffn])('takes any head, %x among them, as one inside it', (head) => {
    const guest = running();
    guest.write(EVENT_HEAD, head);
    for (let i = 0; i < 255; i++) read(guest, 0x2000n);

    expect(guest.status & EVENT_OVERFLOW).toBe(EVENT_OVERFLOW);
    expect(guest.read(EVENT_TAIL)).toBe(0xfe0n);
  });
});

describe('a host that refuses a mapping', () => {
  it('is an I/O page fault without permission', () => {
    const guest = running();
    guest.iommu.hostRefused(DEVICE, { iova: 0x1000, pages: 4, target: 0x800, access: Access.Write });

    expect(guest.takeEvents()).toEqual([
      [FAULT | RW | (0x50n << 48n) | BigInt(DEVICE) | (5n << 32n), 0x100_0000n],
    ]);
  });

  it('of a device that passes through is one without domain', () => {
    const guest = running({ v: false });
    guest.iommu.hostRefused(DEVICE, { iova: 0x1000, pages: 4, target: 0x800, access: Access.ReadWrite });

    expect(guest.takeEvents()).toEqual([[FAULT | (0x50n << 48n) | BigInt(DEVICE), 0x100_0000n]]);
  });
});
