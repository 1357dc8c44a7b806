import { describe, expect, it } from 'vitest';
import { ReplayError } from '../../../src/iommu/index.ts';
import { Access, DeviceRegion, PAGES_END } from '../../../src/memory/index.ts';
import { StrictSink } from '../../support/strict-sink.ts';
import { nestedWorld } from './nested-world.ts';
import { leafText, takeFaults, translated, walked } from './observe.ts';
import { Guest, type GuestOptions, SCALABLE_CAPABILITY } from './table-builder.ts';
import { TableTree } from './table-tree.ts';

const RW = 0b11n;
const USER_RW = 0b111n;
const at = (page: number): bigint => BigInt(page) << 12n;

/** A legacy-mode requester with tables of four levels. */
function world(options: GuestOptions = {}): { guest: Guest; tables: TableTree } {
  const guest = new Guest(options);
  const tables = new TableTree(guest, 4);
  guest.legacy({ root: tables.root });
  return { guest, tables };
}

/** Makes every entry of a page `value`. */
function fill(guest: Guest, page: number, value: bigint): void {
  for (let i = 0; i < 512; i++) guest.set(page, i, value);
}

/** Four tables, each of whose 512 entries names the next; the last one's entries are `last`. */
function funnel(last: bigint, options: GuestOptions = {}): Guest {
  const { guest, tables } = world(options);
  const pages = [tables.root, guest.newPage(), guest.newPage(), guest.newPage()];
  for (let i = 0; i < 3; i++) fill(guest, pages[i], at(pages[i + 1]) | RW);
  fill(guest, pages[3], last);
  return guest;
}

describe('a top table that names itself', () => {
  it('ends at the level at which an entry is a leaf', () => {
    const { guest, tables } = world();
    guest.set(tables.root, 0, at(tables.root) | RW);
    const region = guest.region();

    const { leaves, report } = walked(region);

    expect(leaves).toEqual([leafText(0, 1, tables.root, 3)]);
    expect(report.entries).toBe(4 * 512);
    expect(translated(region, 0, Access.Write)).toBe(leaves[0]);
  });

  it('is cut at the budget when all 512 entries do', () => {
    const { guest, tables } = world();
    fill(guest, tables.root, at(tables.root) | RW);

    const { leaves, report } = walked(guest.region(), undefined, {
      budget: { entries: 2 ** 20, leaves: 1000 },
    });

    expect(leaves).toHaveLength(1000);
    expect(report.leaves).toBe(1000);
    expect(report.cutAt).toBe(1000);
    // Three tables above, and as many of the lowest as hold a thousand leaves.
    expect(report.entries).toBe(512 * (3 + 2));
  });
});

describe('512^3 entries that all name one table', () => {
  it('cost a walk no more entries than its budget, when nothing is in it', () => {
    const guest = funnel(0n);
    const entries = 2 ** 20;

    const { leaves, report } = walked(guest.region(), undefined, { budget: { entries, leaves: 1000 } });

    expect(leaves).toEqual([]);
    expect(report.entries).toBe(entries + 512);
    // The tables that were entered: one of level 4, then those of levels 3, 2 and 1 in the order of a walk.
    expect(report.cutAt).toBe((2 ** 20 / 512 - 3 - 3) * 512);
    expect(report.faultCount).toBe(0);
  });

  it('cost a walk no more leaves than its budget, when it is full of them', () => {
    const guest = funnel(at(0x8000) | RW);

    const { report } = walked(guest.region(), undefined, { budget: { entries: 2 ** 20, leaves: 2 ** 15 } });

    expect(report.leaves).toBe(2 ** 15);
    expect(report.cutAt).toBe(2 ** 15);
  });

  it('are counted but not all listed, when each is a fault', () => {
    const guest = funnel(at(0x8000) | (1n << 62n) | RW);

    const { faults, report } = walked(guest.region(), { start: 0, end: 512 ** 2 });

    expect(faults).toHaveLength(16);
    expect(report.faultCount).toBe(512 ** 2);
    expect(report.cutAt).toBeUndefined();
  });

  it('make a replay fail as a whole', () => {
    const guest = funnel(at(0x8000) | RW, { region: { budget: { entries: 2 ** 20, leaves: 1000 } } });
    const region = guest.region();
    const sink = new StrictSink();

    expect(() => region.registerNotifierReplay(sink, 4096n, false)).toThrow(ReplayError);
    expect(sink.held).toEqual([]);
    expect(sink.violations).toEqual([]);
    expect(region.notifiers).toEqual([]);
  });

  it('do not keep one page from being translated', () => {
    const guest = funnel(at(0x8000) | RW);

    expect(translated(guest.region(), 2 ** 36 - 1, Access.Write)).toBe(leafText(2 ** 36 - 1, 1, 0x8000, 3));
  });

  it('cost a nested walk no more than its budget', () => {
    const made = nestedWorld();
    const { guest, first } = made;
    first.map(0, 1, 0x40000, USER_RW);
    for (const level of [4, 3, 2])
      fill(guest, first.pageOf(first.tableAt(0, level)), first.getEntry(0, level));
    fill(guest, first.pageOf(first.tableAt(0, 1)), at(0x40000) | USER_RW);

    const { leaves, report } = walked(made.region, undefined, {
      budget: { entries: 2 ** 20, leaves: 2 ** 12 },
    });

    expect(leaves).toEqual([]);
    expect(report.leaves).toBe(2 ** 12);
    expect(report.cutAt).toBe(2 ** 12);
  });

  it('cost a nested walk no more than its budget when the second stage is as bad', () => {
    const made = nestedWorld();
    const { guest, first, second } = made;
    first.map(0, 3, 0x40000, USER_RW);
    second.map(0x40000, 1, 0x8000, RW);
    fill(guest, second.tableAt(0x40000, 2), second.getEntry(0x40000, 2));
    fill(guest, second.tableAt(0x40000, 1), 0n);

    const { report } = walked(made.region, undefined, { budget: { entries: 2 ** 16, leaves: 2 ** 12 } });

    expect(report.entries).toBeGreaterThan(2 ** 16);
    expect(report.entries).toBeLessThanOrEqual(2 ** 16 + 512);
    expect(report.cutAt).toBeLessThan(0x40000);
  });
});

describe('tables where there is no RAM', () => {
  it('end a walk at once at every level', () => {
    const { guest, tables } = world();
    for (const level of [2, 3, 4]) tables.setEntry(2 * 512 ** (level - 1), level, at(0x20000) | RW);
    fill(guest, tables.tableAt(0, 2), at(2 ** 34 - 1) | RW);

    const { leaves, report } = walked(guest.region());

    expect(leaves).toEqual([]);
    // 512 entries of level 2, one each of levels 3 and 4; three tables were read.
    expect(report.faultCount).toBe(514);
    expect(report.entries).toBe(3 * 512);
  });

  it('are not read from a device’s registers', () => {
    const { guest, tables } = world();
    tables.setEntry(0x200, 2, at(0xe0000) | RW);
    let reads = 0;
    const handler = {
      read: (): boolean => {
        reads++;
        return true;
      },
      write: (): boolean => false,
    };
    guest.memory.root.add(new DeviceRegion('device', 16, handler), 0xe0000);

    expect(translated(guest.region(), 0x200, Access.Read)).toBe('LSS.1');
    expect(reads).toBe(0);
  });

  it('are read from ROM, as any memory is', () => {
    const { guest, tables } = world();
    tables.map(0x400, 1, 0x8000, RW);
    guest.showAsRom(tables.root);
    guest.showAsRom(guest.state.rootTable);

    expect(translated(guest.region(), 0x400, Access.Write)).toBe(leafText(0x400, 1, 0x8000, 3));
  });

  it('are LRT.1 for a root table at the end of the address space', () => {
    const { guest } = world();
    guest.state.rootTable = PAGES_END - 1;

    expect(translated(guest.region(), 0, Access.Read)).toBe('LRT.1');
    expect(walked(guest.region()).faults).toEqual([`0+${PAGES_END.toString(16)} LRT.1`]);
  });
});

describe('structures at the end of RAM', () => {
  it('are read to their last entry', () => {
    const ram = [[0, 0x10000]] as const;
    const { guest, tables } = world({ ram });
    tables.map(0x400, 1, 0x8000, RW);
    const last = 0xffff;
    const requester = 0xffff;
    guest.state.rootTable = last;
    // Root entry and context entry are the same 16 bytes, which name their own page both times.
    guest.set(last, 510, at(last) | 1n);
    guest.set(last, 511, 0x102n);

    expect(translated(guest.region(requester), 0x400, Access.Read)).toBe('LRT.3');

    guest.set(last, 511, 0n);
    expect(translated(guest.region(requester), 0x400, Access.Read)).toBe('LCT.4');
  });

  it('are unreadable beyond it: a PASID directory that spans the end', () => {
    const guest = new Guest({ capability: SCALABLE_CAPABILITY, ram: [[0, 0x10000]] });
    const directory = 0xffff;
    const { table } = guest.scalable({ pgtt: 0b100 }, { paside: true, pdts: 7, directory }, 0x7fc0);
    guest.setPasid(table, 0x7fff, { pgtt: 0b100 });
    const region = guest.region();

    expect(translated(region, 0x400, Access.Read, 0x7fff)).toBe(leafText(0x400, 1, 0x400, 3));
    expect(translated(region, 0x400, Access.Read, 0x8000)).toBe('SPD.1');
    expect(translated(region, 0x400, Access.Read, 0xfffff)).toBe('SPD.1');
    expect(takeFaults(guest)).toEqual(['SPD.1', 'SPD.1']);
  });

  it('are read across a hole when RAM goes on behind it', () => {
    const ram = [
      [0, 0x4000],
      [0x4002, 0x1000],
    ] as const;
    const guest = new Guest({ capability: SCALABLE_CAPABILITY, ram });
    guest.scalable({ pgtt: 0b100 }, { paside: true, pdts: 7, directory: 0x3fff }, 3 * 0x8000);

    expect(translated(guest.region(), 0x400, Access.Read, 3 * 0x8000)).toBe(leafText(0x400, 1, 0x400, 3));
    expect(translated(guest.region(), 0x400, Access.Read, 2 * 0x8000)).toBe('SPD.1');
  });
});

describe('random words as structures', () => {
  // A linear congruential generator: the same words in every run.
  let seed = 0x2545f4914f6cdd1dn;
  function pick(values: readonly bigint[]): bigint {
    seed = (seed * 6364136223846793005n + 1442695040888963407n) & ((1n << 64n) - 1n);
    return values[Number((seed >> 33n) % BigInt(values.length))];
  }

  const MAYBE = [0n, 1n, 1n, 1n, 1n, 1n, 3n];
  const TYPES = [...MAYBE, 9n, 0x89n, 0xc9n, 0x49n, 0x109n, 0x29n];
  const RIGHTS = [0n, 1n, 2n, 3n, 3n, 7n, 7n, 7n, 0x83n, 0x87n, 0x887n];
  const NOTHING = [0n, 0n, 0n, 0n, 0n, 0n, 1n << 40n];
  const FIELDS = [0n, 0x101n, 0x102n, 0x102n, 0x103n];

  /** Pages 0-7 are root tables, 8-15 context tables, 16-23 directories, 24-31 PASID tables, all others paging tables. */
  function wordOf(page: number, index: number): bigint {
    const role = Math.min(4, page >> 3);
    const next = pick(Array.from({ length: 10 }, (_, i) => at(Math.min(4, role + 1) * 8 + i)));
    if (role === 0) return index % 2 === 0 || pick(MAYBE) === 0n ? next | pick(MAYBE) : 0n;
    // Scalable-mode context entries are twice as long as legacy ones, and their second half is reserved.
    if (role === 1 && index % 4 >= 2 && pick(MAYBE) === 1n) return 0n;
    if (role === 1) return index % 2 === 0 ? pick([next, next + at(16)]) | pick(MAYBE) : pick(FIELDS);
    if (role === 2) return next | pick(MAYBE);
    if (role === 3)
      return [next | pick(TYPES), pick(FIELDS), pick([0n, next]), pick(NOTHING)][index % 8] ?? 0n;
    return next | pick(RIGHTS) | pick(NOTHING);
  }

  it('give an outcome for every requester, and never throw', () => {
    const guest = new Guest({ capability: SCALABLE_CAPABILITY, ram: [[0, 0x28]] });
    for (let page = 0; page < 0x28; page++) {
      for (let i = 0; i < 512; i++) guest.set(page, i, wordOf(page, i));
    }
    const budget = { entries: 4096, leaves: 256 };
    const outcomes = new Set<string>();
    const tooMuch: number[] = [];

    for (const mode of [0, 0, 1, 1, 1, 1, 2, 3]) {
      guest.state.translationTableMode = mode;
      for (let i = 0; i < 1000; i++) {
        const requester = Number(pick([0n, 0x1234n, 0xffffn])) ^ ((i * 61) % 0x10000);
        guest.state.rootTable = i % 9;
        const region = guest.region(requester, { iotlb: false, budget });
        outcomes.add(
          translated(region, i * 0x3f1, i % 2 === 0 ? Access.Read : Access.Write).replace(/.*>.*/, 'mapped'),
        );
        const { report } = walked(region, undefined, { budget });
        if (report.entries > budget.entries + 512 || report.leaves > budget.leaves) tooMuch.push(requester);
      }
    }

    expect(tooMuch).toEqual([]);
    const far = ['mapped', 'LCT.4', 'LSS.1', 'SCT.1', 'SPT.3', 'SPT.4', 'SFS.6', 'RTA.1'];
    expect([...outcomes]).toEqual(expect.arrayContaining(far));
  });
});

describe('tables of which every entry is faulty', () => {
  const RESERVED = 1n << 51n;

  it.each([
    ['a reserved bit', RW | RESERVED],
    ['a table outside RAM', at(PAGES_END / 2 ** 14) | RW],
  ])('use up the budget for leaves by %s', (_what, entry) => {
    const { guest, tables } = world();
    const pages = [tables.root, guest.newPage(), guest.newPage()];
    for (let i = 0; i < 2; i++) fill(guest, pages[i], at(pages[i + 1]) | RW);
    fill(guest, pages[2], entry);

    const { leaves, report } = walked(guest.region(), undefined, {
      budget: { entries: 2 ** 20, leaves: 1000 },
    });

    expect(leaves).toEqual([]);
    expect(report.faultCount).toBe(1001);
    expect(report.cutAt).toBeGreaterThan(0);
    expect(report.faults).toHaveLength(16);
  });
});
