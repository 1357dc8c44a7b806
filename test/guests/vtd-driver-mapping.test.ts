import { describe, expect, it } from 'vitest';
import type { VtdGuestDriver } from '../../src/guests/vtd-driver/driver.ts';
import type { GuestDomain } from '../../src/guests/driver/domain.ts';
import { Access } from '../../src/memory/index.ts';
import { spec } from '../../src/models/vtd/index.ts';
import { done } from './driver-leaves.ts';
import { DriverMachine, type MachineOptions, NIC } from './vtd-driver-machine.ts';
import { refusalCode } from './driver-refusal.ts';

const MIB2 = 512;
const GIB = 512 * 512;

interface Mapped extends Pick<DriverMachine, 'driver' | 'ear' | 'allocator'> {
  readonly machine: DriverMachine;
  readonly domain: GuestDomain;
  /** What the tables hold. */
  readonly leaves: () => string[];
}

/** A booted guest whose NIC has an empty domain; the ear has heard nothing. */
function guest(options: MachineOptions = {}): Mapped {
  const machine = new DriverMachine(options);
  const { driver, ear, allocator } = machine;
  done(driver.boot({ mode: 'legacy' }));
  const domain = driver.createDomain({ levels: 4 });
  done(driver.attachDevice(NIC, domain));
  ear.take();
  return { machine, driver, ear, allocator, domain, leaves: () => machine.leaves(NIC) };
}

const map = (driver: VtdGuestDriver, domain: GuestDomain, iova: number, pages: number, target = 0): void =>
  done(driver.map(domain, iova, pages, target, Access.ReadWrite));

describe('map', () => {
  it('uses the largest leaves that alignment allows', () => {
    const { driver, domain, leaves } = guest();

    map(driver, domain, GIB - MIB2 - 1, GIB + MIB2 + 3, GIB - MIB2 - 1);

    expect(leaves()).toEqual([
      '3fdff+1>3fdff rw',
      '3fe00+200>3fe00 rw',
      '40000+40000>40000 rw',
      '80000+1>80000 rw',
      '80001+1>80001 rw',
    ]);
  });

  it('looks at the alignment of the target too', () => {
    const { driver, domain, leaves } = guest();

    map(driver, domain, 0, MIB2, 1);

    expect(leaves()).toHaveLength(512);
  });

  it.each([
    ['only 4 KiB', 0, 1],
    ['up to 2 MiB', spec.SSLPS_2M, MIB2],
    ['1 GiB and 4 KiB', spec.SSLPS_1G, 1],
  ])('uses no leaves that the unit lacks: %s', (_what, SSLPS, pages) => {
    const { driver, domain, leaves } = guest({ capability: { SSLPS } });

    map(driver, domain, 0, MIB2);

    expect(leaves()[0]).toBe(`0+${pages.toString(16)}>0 rw`);
    expect(leaves()).toHaveLength(MIB2 / pages);
  });

  it('uses the leaf size that it is told', () => {
    const { driver, domain, leaves } = guest();

    done(driver.map(domain, 0, GIB, 0, Access.Read, { leafPages: MIB2 }));

    expect(leaves()).toHaveLength(512);
    expect(leaves()[511]).toBe('3fe00+200>3fe00 r');
  });

  it('reaches targets above 4 GiB', () => {
    const { driver, domain, leaves } = guest();

    done(driver.map(domain, 1, 2, 0xf_1234_7fff, Access.Write));

    expect(leaves()).toEqual(['1+1>f12347fff w', '2+1>f12348000 w']);
  });

  it('tells a unit with caching mode the pages, rounded up to an aligned power of two', () => {
    const { driver, domain, ear } = guest();

    map(driver, domain, 7, 2);

    expect(ear.take()).toEqual(['iotlb domain 2 page 0 am 4']);
  });

  it('tells a unit without caching mode nothing', () => {
    const { driver, domain, ear } = guest({ capability: { CM: false } });

    map(driver, domain, 7, 2);

    expect(ear.take()).toEqual([]);
  });

  it.each([true, false])('replaces an emptied table by a large leaf and frees it, caching mode %s', (CM) => {
    const { driver, domain, ear, allocator, leaves } = guest({ capability: { CM } });
    map(driver, domain, MIB2, 2);
    done(driver.unmap(domain, MIB2, 2));
    const before = allocator.available;
    ear.take();

    map(driver, domain, MIB2, MIB2);

    expect(ear.take()).toEqual(['iotlb domain 2 page 200 am 9']);
    expect(allocator.available).toBe(before + 1);
    expect(leaves()).toEqual(['200+200>0 rw']);
  });

  it.each([
    ['a 4 KiB leaf under a large one', MIB2, 4 * MIB2],
    ['a large leaf over a 4 KiB one', 0, MIB2],
    ['a run whose end is mapped', MIB2 - 2, 8],
  ])('refuses %s and leaves what is there', async (_what, iova, pages) => {
    const { driver, domain, leaves } = guest();
    map(driver, domain, 3, 1);
    map(driver, domain, MIB2 + 1, 1);
    map(driver, domain, 3 * MIB2, MIB2);
    const before = leaves();

    expect(await refusalCode(() => driver.map(domain, iova, pages, 0, Access.Read))).toBe('mapped');
    expect(leaves()).toEqual(before);
  });

  it('maps nothing when tables run out half way, and works again when there is room', async () => {
    const { driver, domain, allocator, leaves } = guest({ tableRam: { start: 2 ** 21, end: 2 ** 21 + 12 } });
    const other = driver.createDomain({ levels: 3 });
    map(driver, other, 0, 1);

    const code = await refusalCode(() => driver.map(domain, 0, 8 * MIB2, 1, Access.Read));
    const left = leaves();
    driver.freeDomain(other);
    map(driver, domain, 0, 3 * MIB2, 1);

    expect(code).toBe('out-of-memory');
    expect(left).toEqual([]);
    expect(leaves()).toHaveLength(3 * MIB2);
    expect(allocator.available).toBeLessThan(5);
  });

  it('leaves a table that it takes out to the unit until that is told, even when it fails later', async () => {
    const { driver, domain, ear, allocator } = guest({ capability: { CM: false } });
    map(driver, domain, 0, 1);
    done(driver.unmap(domain, 0, 1));
    map(driver, domain, MIB2, 1);
    ear.take();
    const before = allocator.available;

    expect(await refusalCode(() => driver.map(domain, 0, 2 * MIB2, 0, Access.Read))).toBe('mapped');
    expect(ear.take()).toEqual(['iotlb domain 2 page 0 am 9']);
    expect(allocator.available).toBe(before + 1);
  });

  it('refuses to map in a table outside RAM, and takes back what it wrote', async () => {
    const { driver, domain, leaves } = guest();
    map(driver, domain, 0, 1);
    driver.writeEntry(domain.tables?.tableAt(0, 2) ?? 0, 1, 3, 0xfff);

    expect(await refusalCode(() => driver.map(domain, 500, 20, 0, Access.Read))).toBe('outside-ram');
    expect(leaves()).toEqual([
      '0+1>0 rw',
      'fault: LSS.1: A second-stage paging entry below the top table could not be read.',
    ]);
  });

  it.each([
    ['no pages', 0, 0, 0, Access.Read],
    ['half a page', 0.5, 1, 0, Access.Read],
    ['pages beyond the tables', 2 ** 36 - 1, 2, 0, Access.Read],
    ['targets beyond 52 bits', 0, 2, 2 ** 40 - 1, Access.Read],
    ['no access', 0, 1, 0, Access.None],
  ])('refuses %s', async (_what, iova, pages, target, access) => {
    const { driver, domain } = guest();

    expect(await refusalCode(() => driver.map(domain, iova, pages, target, access))).toBe('bad-argument');
  });

  it.each([
    ['of no size', 2, 0, 0],
    ['that the unit lacks', GIB, 0, 0],
    ['that do not fit the IOVA', MIB2, 1, 0],
    ['that do not fit the target', MIB2, 0, 1],
  ])('refuses leaves %s', async (_what, leafPages, iova, target) => {
    const { driver, domain } = guest({ capability: { SSLPS: spec.SSLPS_2M } });

    const code = await refusalCode(() => driver.map(domain, iova, GIB, target, Access.Read, { leafPages }));

    expect(code).toBe('bad-argument');
  });

  it('refuses to map in the pass-through domain', async () => {
    const { driver } = guest();

    const code = await refusalCode(() => driver.map(driver.passThroughDomain(), 0, 1, 0, Access.Read));

    expect(code).toBe('bad-argument');
  });
});

describe('unmap', () => {
  it.each([
    ['one page', 5, 1, 'iotlb domain 2 page 5 am 0 ih'],
    ['pages across a power of two', 7, 2, 'iotlb domain 2 page 0 am 4 ih'],
    ['three pages', 4, 3, 'iotlb domain 2 page 4 am 2 ih'],
    ['pages of two tables', 511, 2, 'iotlb domain 2 page 0 am 10 ih'],
  ])('invalidates %s', (_what, iova, pages, expected) => {
    const { driver, domain, ear, leaves } = guest();
    map(driver, domain, 0, 2 * MIB2, 1);
    ear.take();

    done(driver.unmap(domain, iova, pages));

    expect(ear.take()).toEqual([expected]);
    expect(leaves()).toHaveLength(2 * MIB2 - pages);
  });

  it('says that more than leaves changed when tables are freed', () => {
    const { driver, domain, ear, allocator } = guest();
    map(driver, domain, 0, MIB2, 1);
    const before = allocator.available;
    ear.take();

    done(driver.unmap(domain, 0, MIB2));

    expect(ear.take()).toEqual(['iotlb domain 2 page 0 am 9']);
    expect(allocator.available).toBe(before + 1);
  });

  it('keeps a table that it emptied in parts, as Linux does', () => {
    const { driver, domain, allocator } = guest();
    map(driver, domain, 0, MIB2, 1);
    const before = allocator.available;

    done(driver.unmap(domain, 0, MIB2 / 2));
    done(driver.unmap(domain, MIB2 / 2, MIB2 / 2));

    expect(allocator.available).toBe(before);
  });

  it('frees every table but the root when it covers everything', () => {
    const { driver, domain, allocator, leaves } = guest();
    const before = allocator.available;
    map(driver, domain, 5, 1000, 1);
    map(driver, domain, 2 ** 35, 1);

    done(driver.unmap(domain, 0, 2 ** 36));

    expect(allocator.available).toBe(before);
    expect(leaves()).toEqual([]);
  });

  it.each([
    ['beyond MAMV', { MAMV: 8 }],
    ['without page-selective invalidation', { PSI: false }],
  ])('invalidates the domain for pages %s', (_what, capability) => {
    const { driver, domain, ear } = guest({ capability });
    map(driver, domain, 0, MIB2);
    ear.take();

    done(driver.unmap(domain, 0, MIB2));

    expect(ear.take()).toEqual(['iotlb domain 2']);
  });

  it('tells the unit nothing when nothing was there', () => {
    const { driver, domain, ear } = guest();

    done(driver.unmap(domain, 0, 2 ** 36));

    expect(ear.take()).toEqual([]);
  });

  it.each([
    ['its start', MIB2 + 1, MIB2],
    ['its end', 0, MIB2 + 1],
    ['both', MIB2 + 1, 1],
  ])('refuses to cut a leaf at %s, and changes nothing', async (_where, iova, pages) => {
    const { driver, domain, leaves } = guest();
    map(driver, domain, 3, 1);
    map(driver, domain, MIB2, MIB2);

    expect(await refusalCode(() => driver.unmap(domain, iova, pages))).toBe('bisects');
    expect(leaves()).toEqual(['3+1>0 rw', '200+200>0 rw']);
  });

  it.each([
    ['everything', 2 ** 36],
    ['what one entry of the loop stands for', GIB],
  ])(
    'ends on a table that leads into itself, and frees nothing that is still used, for %s',
    (_what, pages) => {
      const { driver, domain, allocator } = guest();
      const other = driver.createDomain({ levels: 4 });
      map(driver, other, 0, 1);
      const table = other.tables?.tableAt(0, 3) ?? 0;
      const [lo, hi] = [((table << 12) | 3) >>> 0, Math.floor(table / 2 ** 20)];
      for (let index = 0; index < 512; index++) driver.writeEntry(table, index, lo, hi);

      done(driver.unmap(other, 0, pages));

      expect(allocator.inUse(table)).toBe(pages === GIB);
      expect(allocator.inUse(other.tables?.root ?? 0)).toBe(true);
      expect(other.tables?.tableAt(0, 3)).toBe(pages === GIB ? table : undefined);
      expect(driver.domainOf(NIC)).toBe(domain);
    },
  );

  it('takes a table outside RAM for an empty one', () => {
    const { driver, domain, ear, leaves } = guest();
    map(driver, domain, 0, 1);
    driver.writeEntry(domain.tables?.tableAt(0, 3) ?? 0, 1, 3, 0xfff);
    ear.take();

    done(driver.unmap(domain, GIB + 5, 1));
    const untouched = ear.take();
    done(driver.unmap(domain, GIB, GIB));

    expect(untouched).toEqual([]);
    expect(ear.take()).toEqual(['iotlb domain 2 page 40000 am 18']);
    expect(leaves()).toEqual(['0+1>0 rw']);
  });

  it('does not free what a foreign table points at and nobody has taken', () => {
    const { driver, domain, allocator } = guest();
    map(driver, domain, 0, 1);
    const untouched = 2 ** 21 + 7;
    const root = domain.tables?.root ?? 0;
    driver.writeEntry(root, 1, ((untouched << 12) | 3) >>> 0, Math.floor(untouched / 2 ** 20));
    const before = allocator.available;

    done(driver.unmap(domain, 2 ** 27, 2 ** 27));

    expect(allocator.available).toBe(before);
  });
});

describe('remap', () => {
  it('changes access and keeps sizes and targets', () => {
    const { driver, domain, ear, leaves } = guest({ capability: { CM: false } });
    map(driver, domain, 0, MIB2 + 1);

    done(driver.remap(domain, 0, MIB2 + 1, Access.Read));

    expect(leaves()).toEqual(['0+200>0 r', '200+1>200 r']);
    expect(ear.take()).toEqual(['iotlb domain 2 page 0 am 10 ih']);
  });

  it('moves targets', () => {
    const { driver, domain, leaves } = guest();
    map(driver, domain, 4, 2, 8);

    done(driver.remap(domain, 4, 2, Access.Write, 0x99));

    expect(leaves()).toEqual(['4+1>99 w', '5+1>9a w']);
  });

  it.each([
    ['a hole', 'not-mapped', 0, 4, undefined],
    ['a part of a leaf', 'bisects', MIB2, 1, undefined],
    ['a target that a leaf cannot have', 'bad-argument', MIB2, MIB2, 1],
    ['a target beyond 52 bits', 'bad-argument', MIB2, MIB2, 2 ** 40],
  ] as const)('refuses %s and changes nothing', async (_what, code, iova, pages, target) => {
    const { driver, domain, leaves } = guest();
    map(driver, domain, 0, 2);
    map(driver, domain, MIB2, MIB2);
    const before = leaves();

    expect(await refusalCode(() => driver.remap(domain, iova, pages, Access.Read, target))).toBe(code);
    expect(leaves()).toEqual(before);
  });
});

describe('lazy mode', () => {
  it('says nothing at an unmap and names the whole domain at a flush', () => {
    const { driver, domain, ear, leaves } = guest({ invalidation: 'lazy' });
    map(driver, domain, 0, 4);
    ear.take();

    done(driver.unmap(domain, 0, 2));
    const silent = ear.take();
    done(driver.unmap(domain, 2, 2));
    done(driver.flush());

    expect(silent).toEqual([]);
    expect(ear.take()).toEqual(['iotlb domain 2']);
    expect(leaves()).toEqual([]);
  });

  it('flushes only domains that have something to flush', () => {
    const { driver, domain, ear } = guest({ invalidation: 'lazy' });
    map(driver, domain, 0, 4);
    done(driver.unmap(domain, 0, 2));
    done(driver.flush(domain));
    ear.take();

    done(driver.flush());

    expect(ear.take()).toEqual([]);
  });

  it('keeps tables that it took out until the flush', () => {
    const { driver, domain, allocator } = guest({ invalidation: 'lazy' });
    map(driver, domain, 0, MIB2, 1);
    const before = allocator.available;

    done(driver.unmap(domain, 0, MIB2));
    const unflushed = allocator.available;
    done(driver.flush());

    expect([unflushed, allocator.available]).toEqual([before, before + 1]);
  });
});
