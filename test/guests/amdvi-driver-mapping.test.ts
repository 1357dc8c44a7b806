import { describe, expect, it } from 'vitest';
import type { AmdviGuestDriver, AmdviMode } from '../../src/guests/amdvi-driver/driver.ts';
import type { GuestDomain } from '../../src/guests/driver/domain.ts';
import { Access } from '../../src/memory/index.ts';
import { spec } from '../../src/models/amdvi/index.ts';
import {
  AmdviDriverMachine,
  DEVICE_TABLE_PAGES as deviceTablePages,
  type MachineOptions,
  NIC,
} from './amdvi-driver-machine.ts';
import { done } from './driver-leaves.ts';
import { refusalCode } from './driver-refusal.ts';

const MIB2 = 512;
const GIB = 512 * 512;

interface Mapped extends Pick<AmdviDriverMachine, 'driver' | 'ear' | 'allocator'> {
  readonly machine: AmdviDriverMachine;
  readonly domain: GuestDomain;
  /** What the tables hold. */
  readonly leaves: () => string[];
  /** The page of the table of a level on the way to an IOVA. */
  readonly table: (iova: number, level: number) => number;
}

/** A booted guest whose NIC has an empty domain; the ear has heard nothing. */
function guest(options: MachineOptions & { readonly mode?: AmdviMode } = {}): Mapped {
  const { mode = 4, ...rest } = options;
  const machine = new AmdviDriverMachine(rest);
  const { driver, ear, allocator } = machine;
  done(driver.boot({ deviceTablePages }));
  const domain = driver.createDomain({ mode });
  done(driver.attachDevice(NIC, domain));
  ear.take();
  const table = (iova: number, level: number): number => {
    const page = domain.tables?.tableAt(iova, level);
    if (page === undefined) throw new Error(`no table of level ${level} leads to ${iova}`);
    return page;
  };
  return { machine, driver, ear, allocator, domain, leaves: () => machine.leaves(NIC), table };
}

const map = (driver: AmdviGuestDriver, domain: GuestDomain, iova: number, pages: number, target = 0): void =>
  done(driver.map(domain, iova, pages, target, Access.ReadWrite));

const nextLevel = (lo: number): number => (lo & spec.PTE_NEXT_LEVEL) >>> spec.PTE_NEXT_LEVEL_SHIFT;

describe('map', () => {
  it('uses the largest leaves that alignment allows, of every power of two', () => {
    const { driver, domain, leaves } = guest();

    map(driver, domain, 1, 2 * MIB2 - 2, 1);

    expect(leaves().slice(0, 10)).toEqual([
      '1+1>1 rw',
      '2+2>2 rw',
      '4+4>4 rw',
      '8+8>8 rw',
      '10+10>10 rw',
      '20+20>20 rw',
      '40+40>40 rw',
      '80+80>80 rw',
      '100+100>100 rw',
      '200+100>200 rw',
    ]);
    expect(leaves()).toHaveLength(18);
  });

  it('looks at the alignment of the target too', () => {
    const { driver, domain, leaves } = guest();

    map(driver, domain, 0, 8, 1);

    expect(leaves()).toHaveLength(8);
  });

  it.each([
    [1, 1],
    [MIB2, 2],
    [GIB, 3],
  ])('writes a leaf of %d pages with NextLevel 0 into one entry of level %d', (pages, level) => {
    const { machine, driver, domain, leaves, table } = guest();

    done(driver.map(domain, pages, pages, pages, Access.Read));

    const [lo, hi] = machine.entry(table(pages, level), 1);
    expect(nextLevel(lo)).toBe(0);
    expect(spec.pageOf(lo, hi & spec.PTE_PAGE_HI)).toBe(pages);
    expect(machine.entry(table(pages, level), 2)).toEqual([0, 0]);
    expect(leaves()).toEqual([`${pages.toString(16)}+${pages.toString(16)}>${pages.toString(16)} r`]);
  });

  it.each([
    [2, 1, 2],
    [256, 1, 256],
    [2 * MIB2, 2, 2],
    [256 * MIB2, 2, 256],
    [2 * GIB, 3, 2],
  ])(
    'repeats a leaf of %d pages with NextLevel 7 in entries of level %d, %d of them',
    (pages, level, count) => {
      const { machine, driver, domain, leaves, table } = guest();

      done(driver.map(domain, pages, pages, 0, Access.Write));

      const entries = Array.from({ length: count }, (_, i) => machine.entry(table(pages, level), count + i));
      const [lo, hi] = entries[0] ?? [0, 0];
      expect(nextLevel(lo)).toBe(7);
      expect(spec.encodedPages(lo, hi)).toBe(pages);
      expect(new Set(entries.map(String)).size).toBe(1);
      expect(machine.entry(table(pages, level), 2 * count)).toEqual([0, 0]);
      expect(leaves()).toEqual([`${pages.toString(16)}+${pages.toString(16)}>0 w`]);
    },
  );

  it('uses the leaf size that it is told', () => {
    const { driver, domain, leaves } = guest();

    done(driver.map(domain, 0, MIB2, 0, Access.Read, { leafPages: 128 }));

    expect(leaves()).toEqual(['0+80>0 r', '80+80>80 r', '100+80>100 r', '180+80>180 r']);
  });

  it('takes a whole table of level 1 as one domain', () => {
    const { driver, domain, leaves } = guest({ mode: 1 });

    map(driver, domain, 0, 512, 1024);

    expect(domain.end).toBe(512);
    expect(leaves()).toEqual(['0+100>400 rw', '100+100>500 rw']);
  });

  it('reaches targets above 4 GiB', () => {
    const { driver, domain, leaves } = guest();

    done(driver.map(domain, 2, 2, 0xf_1234_7ffe, Access.Write));

    expect(leaves()).toEqual(['2+2>f12347ffe w']);
  });

  it('tells a unit that caches what is not present', () => {
    const { driver, domain, ear } = guest();

    map(driver, domain, 7, 2);

    expect(ear.take()).toEqual(['pages domain 2 address 7 s pde']);
  });

  it('tells a unit that does not cache it nothing', () => {
    const { driver, domain, ear } = guest({ capability: { NpCache: false } });

    map(driver, domain, 7, 2);

    expect(ear.take()).toEqual([]);
  });

  it.each([
    ['of one entry', MIB2, 1],
    ['of several entries', 4 * MIB2, 2],
  ])('replaces emptied tables by a large leaf %s and frees them', (_what, pages, tables) => {
    const { driver, domain, ear, allocator, leaves } = guest();
    map(driver, domain, pages, 1);
    map(driver, domain, 2 * pages - 1, 1);
    done(driver.unmap(domain, pages, 1));
    done(driver.unmap(domain, 2 * pages - 1, 1));
    const before = allocator.available;
    ear.take();

    done(driver.map(domain, pages, pages, 0, Access.ReadWrite, { leafPages: pages }));

    expect(allocator.available).toBe(before + tables);
    expect(leaves()).toEqual([`${pages.toString(16)}+${pages.toString(16)}>0 rw`]);
  });

  it.each([
    ['a 4 KiB leaf under a larger one', 2 * MIB2 + 3, 1],
    ['a 4 KiB leaf in the middle of a sized one', 10, 1],
    ['a large leaf over a 4 KiB one', MIB2, MIB2],
    ['a sized leaf whose last entry is in use', 4, 4],
    ['a run whose end is mapped', 0, 16],
  ])('refuses %s and leaves what is there', async (_what, iova, pages) => {
    const { driver, domain, leaves, allocator } = guest();
    map(driver, domain, 7, 1);
    map(driver, domain, 8, 8, 8);
    map(driver, domain, MIB2 + 1, 1);
    map(driver, domain, 2 * MIB2, 2 * MIB2);
    const before = leaves();
    const free = allocator.available;

    expect(await refusalCode(() => driver.map(domain, iova, pages, 0, Access.Read))).toBe('mapped');
    expect(leaves()).toEqual(before);
    expect(allocator.available).toBe(free);
  });

  it('keeps every table when the last of several in the way is in use', async () => {
    const { driver, domain, leaves, allocator } = guest();
    map(driver, domain, 0, 1);
    done(driver.unmap(domain, 0, 1));
    map(driver, domain, 2 * MIB2 - 1, 1);
    const free = allocator.available;

    const code = await refusalCode(() =>
      driver.map(domain, 0, 2 * MIB2, 0, Access.Read, { leafPages: 2 * MIB2 }),
    );

    expect(code).toBe('mapped');
    expect(allocator.available).toBe(free);
    expect(leaves()).toEqual(['3ff+1>0 rw']);
  });

  it.each([
    ['of no size', 3, 0, 0],
    ['that do not fit the IOVA', 8, 4, 0],
    ['that do not fit the target', 8, 0, 1],
    ['larger than 52-bit addresses allow', 2 ** 40, 0, 0],
  ])('refuses leaves %s', async (_what, leafPages, iova, target) => {
    const { driver, domain } = guest({ mode: 6 });

    const code = await refusalCode(() => driver.map(domain, iova, 24, target, Access.Read, { leafPages }));

    expect(code).toBe('bad-argument');
  });

  it('refuses leaves as large as all of the tables', async () => {
    const { driver, domain } = guest({ mode: 1 });

    const code = await refusalCode(() => driver.map(domain, 0, 512, 0, Access.Read, { leafPages: 512 }));

    expect(code).toBe('bad-argument');
  });

  it('refuses to map over an entry that means nothing', async () => {
    const { driver, domain, table } = guest();
    map(driver, domain, 0, 1);
    driver.writeEntry(table(0, 1), 5, spec.PTE_PR | (3 << spec.PTE_NEXT_LEVEL_SHIFT), 0);

    expect(await refusalCode(() => driver.map(domain, 5, 1, 0, Access.Read))).toBe('mapped');
  });
});

describe('map with levels skipped', () => {
  const skipping = { skipLevels: true } as const;

  it('links a table past the levels of which only the first entry would be used', () => {
    const { machine, driver, domain, leaves, allocator } = guest();
    const before = allocator.available;

    done(driver.map(domain, 5, 1, 9, Access.Read, skipping));

    const [lo] = machine.entry(domain.tables?.root ?? 0, 0);
    expect(nextLevel(lo)).toBe(1);
    expect(before - allocator.available).toBe(1);
    expect(leaves()).toEqual(['5+1>9 r']);
  });

  it('skips some levels under an entry other than the first', () => {
    const { machine, driver, domain, leaves } = guest();
    const start = 3 * 2 ** 27;

    done(driver.map(domain, start + MIB2 + 5, 1, 9, Access.Read, skipping));

    expect(nextLevel(machine.entry(domain.tables?.root ?? 0, 3)[0])).toBe(2);
    expect(leaves()).toEqual([`${(start + MIB2 + 5).toString(16)}+1>9 r`]);
  });

  it('keeps a level for a leaf that is as large as a table', () => {
    const { driver, domain, leaves } = guest();

    done(driver.map(domain, 0, MIB2, 0, Access.Read, { ...skipping, leafPages: MIB2 }));

    expect(leaves()).toEqual(['0+200>0 r']);
  });

  it('puts a table between when something behind it is mapped, and tells the unit', () => {
    const { machine, driver, domain, ear, leaves } = guest({ capability: { NpCache: false } });
    done(driver.map(domain, 5, 1, 9, Access.Read, skipping));
    const quiet = ear.take();

    done(driver.map(domain, MIB2 + 1, 1, 8, Access.Write, skipping));

    expect(nextLevel(machine.entry(domain.tables?.root ?? 0, 0)[0])).toBe(2);
    expect(leaves()).toEqual(['5+1>9 r', '201+1>8 w']);
    expect(quiet).toEqual([]);
    expect(ear.take()).toEqual(['pages domain 2 address 201 pde']);
  });

  it('puts a table between for a mapping that skips nothing, too', () => {
    const { driver, domain, leaves } = guest({ mode: 6 });
    done(driver.map(domain, 5, 1, 9, Access.Read, skipping));

    done(driver.map(domain, 2 ** 45 - 1, 2, 16, Access.Write));

    expect(leaves()).toEqual(['5+1>9 r', '1fffffffffff+1>10 w', '200000000000+1>11 w']);
  });

  it('finds no table on the way to what a skipping entry does not reach', () => {
    const { driver, domain } = guest();
    done(driver.map(domain, 5, 1, 9, Access.Read, skipping));

    expect(domain.tables?.tableAt(5, 1)).toBeDefined();
    expect(domain.tables?.tableAt(5, 2)).toBeUndefined();
    expect(domain.tables?.tableAt(MIB2, 1)).toBeUndefined();
  });

  it('is undone by unmapping, which frees the table', () => {
    const { driver, domain, leaves, allocator } = guest();
    const before = allocator.available;
    done(driver.map(domain, 5, 1, 9, Access.Read, skipping));

    done(driver.unmap(domain, 0, domain.end));

    expect(leaves()).toEqual([]);
    expect(allocator.available).toBe(before);
  });

  it('leaves what is mapped alone when what lies behind it is unmapped', () => {
    const { driver, domain, ear, leaves } = guest();
    done(driver.map(domain, 5, 1, 9, Access.Read, skipping));
    ear.take();

    done(driver.unmap(domain, MIB2, GIB));

    expect(leaves()).toEqual(['5+1>9 r']);
    expect(ear.take()).toEqual([]);
  });
});

describe('unmap', () => {
  it('clears every entry of a sized leaf', () => {
    const { machine, driver, domain, leaves, table } = guest();
    map(driver, domain, 0, 16);
    map(driver, domain, 16, 1, 3);

    done(driver.unmap(domain, 0, 16));

    expect(leaves()).toEqual(['10+1>3 rw']);
    expect(machine.entry(table(16, 1), 0)).toEqual([0, 0]);
    expect(machine.entry(table(16, 1), 15)).toEqual([0, 0]);
  });

  it.each([
    ['its start', 8 + 1, 15],
    ['its end', 0, 12],
    ['both', 9, 3],
  ])('refuses to cut a sized leaf at %s, and changes nothing', async (_where, iova, pages) => {
    const { driver, domain, leaves } = guest();
    map(driver, domain, 3, 1);
    map(driver, domain, 8, 8);

    expect(await refusalCode(() => driver.unmap(domain, iova, pages))).toBe('bisects');
    expect(leaves()).toEqual(['3+1>0 rw', '8+8>0 rw']);
  });

  it('frees every table but the root when it covers everything', () => {
    const { driver, domain, allocator, leaves } = guest({ mode: 6 });
    const before = allocator.available;
    map(driver, domain, 5, 1000, 1);
    map(driver, domain, 2 ** 51 + 1, 1);

    done(driver.unmap(domain, 0, 2 ** 52));

    expect(allocator.available).toBe(before);
    expect(leaves()).toEqual([]);
  });

  it('ends on a table that leads into itself', () => {
    const { driver, allocator } = guest();
    const other = driver.createDomain({ mode: 4 });
    map(driver, other, 0, 1);
    const table = other.tables?.tableAt(0, 3) ?? 0;
    const lo = ((table << 12) | (2 << spec.PTE_NEXT_LEVEL_SHIFT) | spec.PTE_PR) >>> 0;
    for (let index = 0; index < 512; index++) {
      driver.writeEntry(table, index, lo, Math.floor(table / 2 ** 20));
    }

    done(driver.unmap(other, 0, 2 ** 36));

    expect(allocator.inUse(table)).toBe(false);
    expect(other.tables?.tableAt(0, 3)).toBeUndefined();
  });

  it('takes away entries that mean nothing', () => {
    const { machine, driver, domain, table } = guest();
    map(driver, domain, 0, 1);
    driver.writeEntry(table(0, 1), 5, spec.PTE_PR | (3 << spec.PTE_NEXT_LEVEL_SHIFT), 0);

    done(driver.unmap(domain, 5, 1));

    expect(machine.entry(table(0, 1), 5)).toEqual([0, 0]);
  });

  it('invalidates a domain at a time in lazy mode, when it is flushed', () => {
    const { driver, domain, ear, leaves } = guest({ invalidation: 'lazy' });
    map(driver, domain, 0, 4);
    ear.take();

    done(driver.unmap(domain, 0, 4));
    const early = ear.take();
    done(driver.flush());

    expect(leaves()).toEqual([]);
    expect(early).toEqual([]);
    expect(ear.take()).toEqual(['pages domain 2 address 7ffffffffffff s pde']);
  });
});

describe('remap', () => {
  it('changes access and keeps sizes and targets', () => {
    const { driver, domain, leaves } = guest();
    map(driver, domain, 0, 8 + MIB2);

    done(driver.remap(domain, 0, 8 + MIB2, Access.Read));

    expect(leaves()).toEqual(['0+200>0 r', '200+8>200 r']);
  });

  it('moves the target of every entry of a sized leaf', () => {
    const { machine, driver, domain, leaves, table } = guest();
    map(driver, domain, 8, 8, 8);

    done(driver.remap(domain, 8, 8, Access.Write, 0x40));

    expect(leaves()).toEqual(['8+8>40 w']);
    expect(machine.entry(table(8, 1), 15)).toEqual(machine.entry(table(8, 1), 8));
  });
});
