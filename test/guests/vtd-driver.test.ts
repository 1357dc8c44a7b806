import { describe, expect, it } from 'vitest';
import { PageAllocator } from '../../src/guests/page-allocator.ts';
import { VtdGuestDriver } from '../../src/guests/vtd-driver/driver.ts';
import type { GuestDomain } from '../../src/guests/driver/domain.ts';
import { Access } from '../../src/memory/index.ts';
import { spec } from '../../src/models/vtd/index.ts';
import { done } from './driver-leaves.ts';
import { DISK, DriverMachine, type MachineOptions, NIC } from './vtd-driver-machine.ts';
import { refusalCode } from './driver-refusal.ts';

type Mode = 'legacy' | 'scalable';
const MODES: readonly Mode[] = ['legacy', 'scalable'];

interface Booted extends Pick<DriverMachine, 'unit' | 'driver' | 'ear' | 'allocator'> {
  readonly machine: DriverMachine;
  readonly domain: GuestDomain;
}

/** A booted guest with a domain that nobody is attached to yet; the ear has heard nothing. */
function booted(mode: Mode = 'legacy', options: MachineOptions = {}): Booted {
  const machine = new DriverMachine(options);
  const { unit, driver, ear, allocator } = machine;
  done(driver.boot({ mode }));
  const domain = driver.createDomain({ levels: 4 });
  ear.take();
  return { machine, unit, driver, ear, allocator, domain };
}

describe('boot', () => {
  it.each([
    ['legacy', spec.TTM_LEGACY],
    ['scalable', spec.TTM_SCALABLE],
  ] as const)('brings the unit up in %s mode', (mode, ttm) => {
    const { unit, driver } = new DriverMachine();

    done(driver.boot({ mode }));

    expect(unit.translationEnabled).toBe(true);
    expect(unit.translationTableMode).toBe(ttm);
    expect(Number(unit.readRegister(spec.GSTS_REG, 4)) >>> 0).toBe(
      (spec.GSTS_TES | spec.GSTS_RTPS | spec.GSTS_QIES) >>> 0,
    );
  });

  it('sets the queue up before the root table, and turns translation on last', () => {
    const { driver, ear } = new DriverMachine();

    done(driver.boot({ mode: 'legacy' }));

    const { IQT_REG, IQA_REG, GCMD_REG, RTADDR_REG } = spec;
    expect(ear.written).toEqual([IQT_REG, IQA_REG, GCMD_REG, RTADDR_REG, GCMD_REG, GCMD_REG]);
  });

  it('leaves translation off when asked to', () => {
    const { unit, driver } = new DriverMachine();

    done(driver.boot({ mode: 'legacy', translation: false }));

    expect(unit.translationEnabled).toBe(false);
  });

  it.each([
    ['legacy', ['context global', 'iotlb global']],
    ['scalable', ['context global', 'pasid-cache global', 'iotlb global']],
  ] as const)('invalidates everything in %s mode where setting the root table does not', (mode, expected) => {
    const { driver, ear } = new DriverMachine({ capability: { ESRTPS: false } });

    done(driver.boot({ mode }));

    expect(ear.take()).toEqual(expected);
  });

  it('is refused while the unit runs', async () => {
    const { driver } = booted();

    expect(await refusalCode(() => driver.boot({ mode: 'legacy' }))).toBe('state');
  });

  it('is refused in scalable mode where the unit has none', async () => {
    const { driver } = new DriverMachine({ capability: { SMTS: false } });

    expect(await refusalCode(() => driver.boot({ mode: 'scalable' }))).toBe('unsupported');
  });

  it('is the first thing to do', async () => {
    const { driver } = new DriverMachine();

    expect(await refusalCode(() => driver.createDomain({ levels: 4 }))).toBe('state');
  });

  it('needs queued invalidation', async () => {
    expect(await refusalCode(() => new DriverMachine({ capability: { QI: false } }))).toBe('unsupported');
  });
});

describe('taking over a running guest', () => {
  it.each(MODES)('goes on with its tables, its queue and its identifiers in %s mode', (mode) => {
    const { machine, unit, driver, domain } = booted(mode);
    done(driver.attachDevice(NIC, domain));
    done(driver.map(domain, 0x100, 1, 0x1000, Access.Read));
    const allocator = new PageAllocator([{ start: 0x80000, end: 0x80010 }]);
    const heir = new VtdGuestDriver({ memory: machine.memory, registers: unit, allocator });

    heir.attach();
    done(heir.map(NIC, 0x101, 1, 0x1001, Access.Write));
    done(heir.attachDevice(DISK, heir.createDomain({ levels: 3 })));

    expect(machine.leaves(NIC)).toEqual(['100+1>1000 r', '101+1>1001 w']);
    expect(heir.domainOf(NIC)?.id).toBe(2);
    expect(heir.domainOf(DISK)?.id).toBe(3);
  });

  it('does not hand out the pages of the queue', () => {
    const { machine, unit } = booted();
    const queue = Number(unit.readRegister(spec.IQA_REG, 8) >> 12n);
    const allocator = new PageAllocator([
      { start: queue, end: queue + 1 },
      { start: 5, end: 6 },
    ]);
    const heir = new VtdGuestDriver({ memory: machine.memory, registers: unit, allocator });

    heir.attach();

    expect(allocator.available).toBe(0);
  });

  it.each([
    ['without a root table', (machine: DriverMachine) => machine.unit.reset()],
    [
      'without a queue',
      (machine: DriverMachine) => machine.unit.writeRegister(spec.GCMD_REG, BigInt(spec.GCMD_TE), 4),
    ],
  ])('is refused %s', async (_what, spoil) => {
    const { machine } = booted();
    spoil(machine);
    const allocator = new PageAllocator([{ start: 0, end: 16 }]);
    const heir = new VtdGuestDriver({ memory: machine.memory, registers: machine.unit, allocator });

    expect(await refusalCode(() => heir.attach())).toBe('state');
  });

  it('is refused when the unit is in neither of the modes that it knows', async () => {
    const { machine, unit } = booted('legacy', { capability: { ADMS: true } });
    unit.writeRegister(spec.RTADDR_REG, BigInt(spec.TTM_ABORT_DMA << spec.RTADDR_TTM_SHIFT), 8);
    unit.writeRegister(
      spec.GCMD_REG,
      BigInt(spec.GCMD_TE) | BigInt(spec.GCMD_QIE) | BigInt(spec.GCMD_SRTP),
      4,
    );
    const allocator = new PageAllocator([{ start: 0, end: 16 }]);
    const heir = new VtdGuestDriver({ memory: machine.memory, registers: unit, allocator });

    expect(await refusalCode(() => heir.attach())).toBe('unsupported');
  });

  it('is refused when the root table is not in RAM', async () => {
    const { machine, unit } = booted();
    unit.writeRegister(spec.RTADDR_REG, 0xff_ffff_f000n, 8);
    unit.writeRegister(
      spec.GCMD_REG,
      BigInt(spec.GCMD_TE) | BigInt(spec.GCMD_QIE) | BigInt(spec.GCMD_SRTP),
      4,
    );
    const allocator = new PageAllocator([{ start: 0, end: 16 }]);
    const heir = new VtdGuestDriver({ memory: machine.memory, registers: unit, allocator });

    expect(await refusalCode(() => heir.attach())).toBe('outside-ram');
  });
});

describe('attaching', () => {
  it.each([
    ['legacy', ['context domain 0 source 200', 'iotlb domain 2']],
    [
      'scalable',
      [
        'context domain 0 source 200',
        'iotlb domain 0',
        'pasid-cache domain 2 pasid 0',
        'pasid-iotlb domain 2 pasid 0',
      ],
    ],
  ] as const)('tells a unit with caching mode, in %s mode', (mode, expected) => {
    const { driver, ear, domain } = booted(mode);

    done(driver.attachDevice(NIC, domain));

    expect(ear.take()).toEqual(expected);
  });

  it.each(MODES)('tells nothing to a unit without caching mode, in %s mode', (mode) => {
    const { driver, ear, domain } = booted(mode, { capability: { CM: false } });

    done(driver.attachDevice(NIC, domain));

    expect(ear.take()).toEqual([]);
  });

  it.each(MODES)('shares one domain between requesters in %s mode', (mode) => {
    const { machine, driver, domain } = booted(mode);
    done(driver.attachDevice(NIC, domain));
    done(driver.attachDevice(DISK, domain));

    done(driver.map(NIC, 5, 1, 0x77, Access.ReadWrite));

    expect(driver.domainOf(DISK)).toBe(domain);
    expect(machine.leaves(DISK)).toEqual(['5+1>77 rw']);
  });

  it('gives a PASID its own tables', () => {
    const { machine, driver, domain } = booted('scalable');
    const other = driver.createDomain({ levels: 5 });
    done(driver.attachDevice(NIC, domain));

    done(driver.attachDevice(NIC, other, 65));
    done(driver.map(other, 1, 1, 2, Access.Read));

    expect(driver.domainOf(NIC, 65)).toBe(other);
    expect(machine.leaves(NIC, 65)).toEqual(['1+1>2 r']);
    expect(machine.leaves(NIC)).toEqual([]);
  });

  it.each(MODES)('lets a requester pass through in %s mode', (mode) => {
    const { unit, driver } = booted(mode);

    done(driver.attachDevice(NIC, driver.passThroughDomain()));

    expect(unit.requesterSpace(NIC).region.translation(0).kind).toBe('pass-through');
    expect(driver.domainOf(NIC)).toBe(driver.passThroughDomain());
  });

  it.each([
    ['a requester that is attached', 'attachment', 'legacy', NIC, 0],
    ['a PASID in legacy mode', 'bad-argument', 'legacy', DISK, 1],
    ['a PASID beyond the directory', 'bad-argument', 'scalable', DISK, 32_768],
  ] as const)('is refused for %s', async (_what, code, mode, requester, pasid) => {
    const { driver, domain } = booted(mode);
    done(driver.attachDevice(NIC, domain));

    expect(await refusalCode(() => driver.attachDevice(requester, domain, pasid))).toBe(code);
  });
});

describe('detaching and switching', () => {
  it.each([
    ['legacy', ['context domain 2 source 200', 'iotlb domain 2']],
    ['scalable', ['pasid-cache domain 2 pasid 0', 'iotlb domain 2']],
  ] as const)('takes the tables away and says so in %s mode', (mode, expected) => {
    const { unit, driver, ear, domain } = booted(mode);
    done(driver.attachDevice(NIC, domain));
    ear.take();

    done(driver.detachDevice(NIC));

    expect(ear.take()).toEqual(expected);
    expect(driver.domainOf(NIC)).toBeUndefined();
    expect(unit.requesterSpace(NIC).region.translation(0).kind).toBe('fault');
  });

  it.each([
    [
      'legacy',
      ['context domain 2 source 200', 'iotlb domain 2', 'context domain 0 source 200', 'iotlb domain 3'],
    ],
    ['scalable', ['pasid-cache domain 2 pasid 0', 'iotlb domain 2']],
  ] as const)('switches to other tables in %s mode', (mode, expected) => {
    const { machine, driver, ear, domain } = booted(mode);
    const other = driver.createDomain({ levels: 3 });
    done(driver.attachDevice(NIC, domain));
    done(driver.map(other, 9, 1, 9, Access.Read));
    ear.take();

    done(driver.switchDomain(NIC, other));

    expect(ear.take()).toEqual(expected);
    expect(machine.leaves(NIC)).toEqual(['9+1>9 r']);
  });

  it('invalidates the PASID itself when a requester stops to pass through', () => {
    const { driver, ear } = booted('scalable');
    done(driver.attachDevice(NIC, driver.passThroughDomain()));
    ear.take();

    done(driver.detachDevice(NIC));

    expect(ear.take()).toEqual(['pasid-cache domain 1 pasid 0', 'pasid-iotlb domain 1 pasid 0']);
  });

  it.each(MODES)('is refused for a requester without tables in %s mode', async (mode) => {
    const { driver, domain } = booted(mode);

    expect(await refusalCode(() => driver.detachDevice(NIC))).toBe('attachment');
    expect(await refusalCode(() => driver.switchDomain(NIC, domain))).toBe('attachment');
    expect(await refusalCode(() => driver.map(NIC, 0, 1, 0, Access.Read))).toBe('attachment');
  });
});

describe('domains', () => {
  it('give every page back when they are freed', () => {
    const { driver, allocator } = booted();
    const before = allocator.available;
    const domain = driver.createDomain({ levels: 5 });
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

  it('run out with the identifiers of the unit', async () => {
    const { driver, domain } = booted('legacy', { capability: { ND: 0 } });
    const made = [domain, ...Array.from({ length: 13 }, () => driver.createDomain({ levels: 3 }))];

    expect(made.map(({ id }) => id)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    expect(await refusalCode(() => driver.createDomain({ levels: 3 }))).toBe('no-domain-id');
  });

  it('have only levels that the unit offers', async () => {
    const { driver } = booted('legacy', { capability: { SAGAW: spec.SAGAW_48, MGAW: 48 } });

    expect(await refusalCode(() => driver.createDomain({ levels: 3 }))).toBe('bad-argument');
  });

  it('pass through only where the unit can', async () => {
    const { driver } = booted('legacy', { capability: { PT: false } });

    expect(await refusalCode(() => driver.passThroughDomain())).toBe('unsupported');
  });
});

describe('translation of the whole unit', () => {
  it('goes off and on', () => {
    const { unit, driver } = booted();

    done(driver.setTranslation(false));
    const off = unit.translationEnabled;
    done(driver.setTranslation(true));

    expect([off, unit.translationEnabled]).toEqual([false, true]);
  });
});

describe('invalidations on demand', () => {
  it.each([
    ['global', 'iotlb global'],
    [{ domain: 7 }, 'iotlb domain 7'],
    [{ domain: 7, iova: 0x40, am: 3 }, 'iotlb domain 7 page 40 am 3'],
    [{ domain: 7, iova: 0x40, am: 3, ih: true }, 'iotlb domain 7 page 40 am 3 ih'],
  ] as const)('name in the IOTLB what was asked: %j', (scope, expected) => {
    const { driver, ear } = booted();

    done(driver.invalidateIotlb(scope));

    expect(ear.take()).toEqual([expected]);
  });

  it.each([
    ['global', 'context global'],
    [{ domain: 7 }, 'context domain 7'],
    [{ domain: 7, requester: NIC }, 'context domain 7 source 200'],
  ] as const)('name in the context cache what was asked: %j', (scope, expected) => {
    const { driver, ear } = booted();

    done(driver.invalidateContext(scope));

    expect(ear.take()).toEqual([expected]);
  });
});
