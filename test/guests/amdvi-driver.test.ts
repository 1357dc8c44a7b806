import { describe, expect, it } from 'vitest';
import { AmdviGuestDriver, type AmdviMode } from '../../src/guests/amdvi-driver/driver.ts';
import type { GuestDomain } from '../../src/guests/driver/domain.ts';
import { PageAllocator } from '../../src/guests/page-allocator.ts';
import { requesterId } from '../../src/iommu/index.ts';
import { Access } from '../../src/memory/index.ts';
import { spec } from '../../src/models/amdvi/index.ts';
import {
  AmdviDriverMachine,
  DEVICE_TABLE_PAGES as deviceTablePages,
  DISK,
  type MachineOptions,
  NIC,
} from './amdvi-driver-machine.ts';
import { done } from './driver-leaves.ts';
import { refusalCode } from './driver-refusal.ts';

interface Booted extends Pick<AmdviDriverMachine, 'unit' | 'driver' | 'ear' | 'allocator'> {
  readonly machine: AmdviDriverMachine;
  readonly domain: GuestDomain;
}

/** A booted guest with a domain that nobody is attached to yet; the ear has heard nothing. */
function booted(options: MachineOptions = {}): Booted {
  const machine = new AmdviDriverMachine(options);
  const { unit, driver, ear, allocator } = machine;
  done(driver.boot({ deviceTablePages }));
  const domain = driver.createDomain({ mode: 4 });
  ear.take();
  return { machine, unit, driver, ear, allocator, domain };
}

/** A second driver for the same unit, which has not taken it over yet. */
const heirOf = (machine: AmdviDriverMachine, allocator: PageAllocator): AmdviGuestDriver =>
  new AmdviGuestDriver({ memory: machine.memory, registers: machine.unit, allocator });

const kindOf = ({ unit }: Booted, requester: number): string =>
  unit.requesterSpace(requester).region.translation(0).kind;

describe('boot', () => {
  it('brings the unit up, with commands and events', () => {
    const { unit, driver } = new AmdviDriverMachine();

    done(driver.boot({ deviceTablePages }));

    expect(unit.enabled).toBe(true);
    expect(unit.deviceTable.entries).toBe(1024);
    expect(Number(unit.readRegister(spec.STATUS, 8))).toBe(spec.STATUS_CmdBufRun | spec.STATUS_EventLogRun);
  });

  it('has an entry for each requester when it is not told otherwise', () => {
    const { unit, driver } = new AmdviDriverMachine();

    done(driver.boot());

    expect(unit.deviceTable.entries).toBe(65_536);
  });

  it('sets tables and rings up before it turns the unit on', () => {
    const { driver, ear } = new AmdviDriverMachine();

    done(driver.boot({ deviceTablePages }));

    expect(ear.written).toEqual([
      spec.DEVICE_TABLE_BASE,
      spec.COMMAND_BUFFER_BASE,
      spec.EVENT_LOG_BASE,
      spec.COMMAND_BUFFER_HEAD,
      spec.COMMAND_BUFFER_TAIL,
      spec.EVENT_LOG_HEAD,
      spec.EVENT_LOG_TAIL,
      spec.CONTROL,
      spec.CONTROL,
      spec.COMMAND_BUFFER_TAIL,
    ]);
  });

  it('blocks every requester that is attached to nothing', () => {
    const guest = booted();

    expect(guest.unit.requesterSpace(NIC).region.translate(0x1000n, Access.Read).access).toBe(Access.None);
    expect(guest.driver.domainOf(NIC)).toBeUndefined();
  });

  it('leaves the unit off when asked to', () => {
    const { unit, driver } = new AmdviDriverMachine();

    done(driver.boot({ deviceTablePages, translation: false }));

    expect(unit.enabled).toBe(false);
  });

  it('invalidates everything', () => {
    const { driver, ear } = new AmdviDriverMachine();

    done(driver.boot({ deviceTablePages }));

    expect(ear.take()).toEqual(['all']);
  });

  it('invalidates entry by entry where the unit has no command for all', () => {
    const { driver, ear } = new AmdviDriverMachine({ capability: { IASup: false } });

    done(driver.boot({ deviceTablePages }));

    const heard = ear.take();
    expect(heard).toHaveLength(1024);
    expect(heard[1023]).toBe('entry 03:1f.7');
  });

  it('is refused while the unit runs', async () => {
    const { driver } = booted();

    expect(await refusalCode(() => driver.boot())).toBe('state');
  });

  it.each([0, 513, 1.5])('is refused with a device table of %d pages', async (pages) => {
    const { driver } = new AmdviDriverMachine();

    expect(await refusalCode(() => driver.boot({ deviceTablePages: pages }))).toBe('bad-argument');
  });

  it('is the first thing to do', async () => {
    const { driver } = new AmdviDriverMachine();

    expect(await refusalCode(() => driver.createDomain({ mode: 3 }))).toBe('state');
  });

  it('reads only registers that can be fetched in advance', () => {
    const { driver, ear, domain } = booted();
    done(driver.attachDevice(NIC, domain));
    done(driver.map(NIC, 0, 8, 8, Access.Read));
    driver.events();

    expect([...ear.read].sort((a, b) => a - b)).toEqual([
      spec.CONTROL,
      spec.EXTENDED_FEATURE,
      spec.COMMAND_BUFFER_HEAD,
      spec.EVENT_LOG_HEAD,
      spec.EVENT_LOG_TAIL,
      spec.STATUS,
    ]);
  });
});

describe('taking over a running guest', () => {
  it('goes on with its tables, its command buffer and its identifiers', () => {
    const { machine, driver, domain } = booted();
    done(driver.attachDevice(NIC, domain));
    done(driver.map(domain, 0x100, 1, 0x1000, Access.Read));
    const heir = heirOf(machine, new PageAllocator([{ start: 0x80000, end: 0x80010 }]));

    heir.attach();
    done(heir.map(NIC, 0x101, 1, 0x1001, Access.Write));
    done(heir.attachDevice(DISK, heir.createDomain({ mode: 3 })));

    expect(machine.leaves(NIC)).toEqual(['100+1>1000 r', '101+1>1001 w']);
    expect(heir.domainOf(NIC)?.id).toBe(2);
    expect(heir.domainOf(DISK)?.id).toBe(3);
  });

  it('does not hand out the pages of the device table and the rings', () => {
    const { machine, unit } = booted();
    const pageIn = (register: number): number =>
      Number((unit.readRegister(register, 8) >> 12n) & 0xff_ffff_ffffn);
    const [table, commands, events] = [
      pageIn(spec.DEVICE_TABLE_BASE),
      pageIn(spec.COMMAND_BUFFER_BASE),
      pageIn(spec.EVENT_LOG_BASE),
    ];
    const allocator = new PageAllocator([
      { start: table, end: table + 8 },
      { start: commands, end: commands + 2 },
      { start: events, end: events + 2 },
      { start: 5, end: 6 },
    ]);

    heirOf(machine, allocator).attach();

    expect(allocator.available).toBe(0);
  });

  it('is refused without a command buffer', async () => {
    const { machine, unit } = booted();
    unit.reset();
    unit.writeRegister(spec.DEVICE_TABLE_BASE, 0x1000n, 8);

    const code = await refusalCode(() =>
      heirOf(machine, new PageAllocator([{ start: 0, end: 16 }])).attach(),
    );

    expect(code).toBe('state');
  });

  it('is refused when the device table is not in RAM', async () => {
    const { machine, unit } = booted();
    unit.writeRegister(spec.DEVICE_TABLE_BASE, 0xff_ffff_f000n, 8);

    const code = await refusalCode(() =>
      heirOf(machine, new PageAllocator([{ start: 0, end: 16 }])).attach(),
    );

    expect(code).toBe('outside-ram');
  });
});

describe('attaching', () => {
  it('tells the unit of the entry', () => {
    const { driver, ear, domain } = booted();

    done(driver.attachDevice(NIC, domain));

    expect(ear.take()).toEqual(['entry 02:00.0']);
  });

  it('tells it nothing when it is to be silent', () => {
    const { driver, ear, domain } = booted();

    done(driver.attachDevice(NIC, domain, { silent: true }));

    expect(ear.take()).toEqual([]);
    expect(driver.domainOf(NIC)).toBe(domain);
  });

  it('shares one domain between requesters', () => {
    const { machine, driver, domain } = booted();
    done(driver.attachDevice(NIC, domain));
    done(driver.attachDevice(DISK, domain));

    done(driver.map(NIC, 5, 1, 0x77, Access.ReadWrite));

    expect(driver.domainOf(DISK)).toBe(domain);
    expect(machine.leaves(DISK)).toEqual(['5+1>77 rw']);
  });

  it('limits what the tables allow by the entry', () => {
    const { machine, driver, domain } = booted();

    done(driver.attachDevice(NIC, domain, { access: Access.Read }));
    done(driver.map(NIC, 5, 1, 0x77, Access.ReadWrite));

    expect(machine.leaves(NIC)).toEqual(['5+1>77 r']);
  });

  it('lets a requester pass through', () => {
    const guest = booted();
    const { driver } = guest;

    done(driver.attachDevice(NIC, driver.passThroughDomain()));

    expect(driver.domainOf(NIC)).toBe(driver.passThroughDomain());
    expect(guest.unit.requesterSpace(NIC).region.translate(0x1000n, Access.Write)).toMatchObject({
      target: 1,
      access: Access.ReadWrite,
    });
  });

  it('leaves what an entry says about interrupts as it is', () => {
    const { machine, driver, domain, unit } = booted();
    const words = [0, 0, 0, 0, 0xabc1, 0x3000_0000, 0, 0];
    driver.writeDeviceTableEntry(NIC, words);

    done(driver.attachDevice(NIC, domain));
    done(driver.detachDevice(NIC));

    const { page } = unit.deviceTable;
    expect(machine.entry(page + 4, 2)).toEqual([0xabc1, 0x3000_0000]);
  });

  it.each([
    ['a requester that is attached', 'attachment', NIC],
    ['a requester beyond the device table', 'bad-argument', requesterId(4, 0, 0)],
  ] as const)('is refused for %s', async (_what, code, requester) => {
    const { driver, domain } = booted();
    done(driver.attachDevice(NIC, domain));

    expect(await refusalCode(() => driver.attachDevice(requester, domain))).toBe(code);
  });
});

describe('detaching and switching', () => {
  it('takes the tables away and says so', () => {
    const guest = booted();
    const { driver, ear, domain } = guest;
    done(driver.attachDevice(NIC, domain));
    done(driver.map(NIC, 1, 1, 1, Access.Read));
    ear.take();

    done(driver.detachDevice(NIC));

    expect(ear.take()).toEqual(['entry 02:00.0', 'pages domain 2 address 7ffffffffffff s pde']);
    expect(driver.domainOf(NIC)).toBeUndefined();
    expect(guest.machine.leaves(NIC)).toEqual([]);
  });

  it('lets requests pass unchecked when asked to', () => {
    const guest = booted();
    done(guest.driver.attachDevice(NIC, guest.domain));

    done(guest.driver.detachDevice(NIC, { unchecked: true }));

    expect(kindOf(guest, NIC)).toBe('pass-through');
    expect(guest.driver.domainOf(NIC)).toBeUndefined();
  });

  it('tells nothing when it is to be silent', () => {
    const { driver, ear, domain } = booted();
    done(driver.attachDevice(NIC, domain));
    ear.take();

    done(driver.detachDevice(NIC, { silent: true }));

    expect(ear.take()).toEqual([]);
    expect(driver.domainOf(NIC)).toBeUndefined();
  });

  it('switches to other tables in place', () => {
    const { machine, driver, ear, domain } = booted();
    const other = driver.createDomain({ mode: 3 });
    done(driver.attachDevice(NIC, domain));
    done(driver.map(other, 9, 1, 9, Access.Read));
    ear.take();

    done(driver.switchDomain(NIC, other));

    expect(ear.take()).toEqual(['entry 02:00.0', 'pages domain 2 address 7ffffffffffff s pde']);
    expect(machine.leaves(NIC)).toEqual(['9+1>9 r']);
  });

  it('is refused for a requester without tables', async () => {
    const { driver, domain } = booted();

    expect(await refusalCode(() => driver.detachDevice(NIC))).toBe('attachment');
    expect(await refusalCode(() => driver.switchDomain(NIC, domain))).toBe('attachment');
    expect(await refusalCode(() => driver.map(NIC, 0, 1, 0, Access.Read))).toBe('attachment');
  });

  it.each([
    ['the reserved Mode', [spec.DTE_V | spec.DTE_TV | (7 << 9), 0x6000_0000]],
    ['guest translation', [spec.DTE_V | spec.DTE_TV | (3 << 9), 0x6080_0000]],
  ])('is refused for an entry with %s', async (_what, words) => {
    const { driver } = booted();
    driver.writeDeviceTableEntry(NIC, words);

    expect(await refusalCode(() => driver.detachDevice(NIC))).toBe('unsupported');
  });
});

describe('domains', () => {
  it.each([1, 2, 3, 4, 5, 6] as const)('of mode %d reach as far as their levels', (mode) => {
    const { machine, driver } = booted();
    const domain = driver.createDomain({ mode });
    done(driver.attachDevice(NIC, domain));

    done(driver.map(domain, domain.end - 1, 1, 7, Access.Read));

    expect(domain.end).toBe(Math.min(512 ** mode, 2 ** 52));
    expect(machine.leaves(NIC)).toEqual([`${(domain.end - 1).toString(16)}+1>7 r`]);
  });

  it.each([
    [5, 0],
    [6, 1],
    [1, 3],
  ] as const)('of mode %d are refused with HATS %d', async (mode: AmdviMode, HATS) => {
    const machine = new AmdviDriverMachine({ capability: { HATS } });
    done(machine.driver.boot({ deviceTablePages }));

    expect(await refusalCode(() => machine.driver.createDomain({ mode }))).toBe('bad-argument');
  });

  it('give every page back when they are freed', () => {
    const { driver, allocator } = booted();
    const before = allocator.available;
    const domain = driver.createDomain({ mode: 6 });
    done(driver.map(domain, 0, 1, 0, Access.Read));
    done(driver.map(domain, 2 ** 40, 600, 0, Access.Read));

    driver.freeDomain(domain);

    expect(allocator.available).toBe(before);
  });

  it('are not freed while a requester uses them', async () => {
    const { driver, domain } = booted();
    done(driver.attachDevice(NIC, domain));

    expect(await refusalCode(() => driver.freeDomain(domain))).toBe('attachment');
  });
});

describe('turning the unit off and on', () => {
  it('posts nothing while it is off, and invalidates everything after', () => {
    const { machine, driver, ear, domain, unit } = booted();
    done(driver.attachDevice(NIC, domain));
    ear.take();

    done(driver.setTranslation(false));
    done(driver.map(NIC, 3, 1, 4, Access.Read));
    done(driver.wait());
    const whileOff = ear.take();
    const off = unit.enabled;
    done(driver.setTranslation(true));

    expect(off).toBe(false);
    expect(whileOff).toEqual([]);
    expect(ear.take()).toEqual(['all']);
    expect(machine.leaves(NIC)).toEqual(['3+1>4 r']);
  });
});

describe('commands', () => {
  it.each([
    ['one page', { start: 5, end: 6 }, '5 pde'],
    ['two pages', { start: 4, end: 6 }, '4 s pde'],
    ['eight pages', { start: 8, end: 16 }, 'b s pde'],
    ['pages across a power of two', { start: 7, end: 9 }, '7 s pde'],
    ['everything', 'whole', '7ffffffffffff s pde'],
  ] as const)('name %s', (_what, range, expected) => {
    const { driver, ear, domain } = booted();

    done(driver.invalidatePages(domain, range));

    expect(ear.take()).toEqual([`pages domain 2 address ${expected}`]);
  });

  it('leave cached tables alone when asked to', () => {
    const { driver, ear, domain } = booted();

    done(driver.invalidatePages(domain, { start: 5, end: 6 }, { tables: false }));

    expect(ear.take()).toEqual(['pages domain 2 address 5']);
  });

  it('make the unit look at an entry that was written silently', () => {
    const { machine, driver, ear, domain } = booted();
    done(driver.map(domain, 1, 1, 2, Access.Read));
    done(driver.attachDevice(NIC, domain, { silent: true }));
    ear.take();

    done(driver.invalidateDeviceTableEntry(NIC));

    expect(ear.take()).toEqual(['entry 02:00.0']);
    expect(machine.leaves(NIC)).toEqual(['1+1>2 r']);
  });

  it('invalidate everything', () => {
    const { driver, ear } = booted();

    done(driver.invalidateAll());

    expect(ear.take()).toEqual(['all']);
  });

  it('invalidate every domain that was used where the unit has no command for all', () => {
    const { driver, ear, domain } = booted({ capability: { IASup: false } });
    done(driver.attachDevice(NIC, domain));
    ear.take();

    done(driver.invalidateAll());

    expect(ear.take().at(-1)).toBe('pages domain 2 address 7ffffffffffff s pde');
  });
});

describe('the event log', () => {
  it('tells of requests that faulted, once', () => {
    const { driver, unit, domain } = booted();
    done(driver.attachDevice(NIC, domain));
    unit.requesterSpace(NIC).region.translate(0x5000n, Access.Write);

    const events = driver.events();

    expect(events).toMatchObject([
      { code: spec.IO_PAGE_FAULT, requester: NIC, domain: 2, isWrite: true, address: 0x5000n },
    ]);
    expect(driver.events()).toEqual([]);
  });

  it('is read around its end', () => {
    const { driver, unit, domain } = booted();
    done(driver.attachDevice(NIC, domain));
    const region = unit.requesterSpace(NIC).region;
    const fault = (count: number): void => {
      for (let i = 0; i < count; i++) region.translate(BigInt(i) << 12n, Access.Read);
    };
    fault(400);
    driver.events();

    fault(400);

    expect(driver.events().map(({ address }) => address)).toEqual(
      Array.from({ length: 400 }, (_, i) => BigInt(i) << 12n),
    );
  });

  it('goes on after an overflow when it is started again', () => {
    const { driver, unit, domain } = booted();
    done(driver.attachDevice(NIC, domain));
    const region = unit.requesterSpace(NIC).region;
    for (let i = 0; i < 600; i++) region.translate(BigInt(i) << 12n, Access.Read);
    const overflow = driver.eventOverflow;
    const before = driver.events().length;

    driver.restartEventLog();
    region.translate(0x9000n, Access.Read);

    expect(overflow).toBe(true);
    expect(before).toBeGreaterThan(500);
    expect(driver.eventOverflow).toBe(false);
    expect(driver.events()).toMatchObject([{ address: 0x9000n }]);
  });
});
