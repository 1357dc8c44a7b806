import { describe, expect, it } from 'vitest';
import {
  Access,
  AddressSpace,
  dmaRead,
  type DmaResult,
  dmaWrite,
  type MemoryListener,
  type MemorySection,
  PAGES_END,
} from '../../../src/memory/index.ts';
import { RequesterSpace } from '../../../src/models/vtd/requester-space.ts';
import { StrictSink } from '../../support/strict-sink.ts';
import { leafText, takeFaults, translated, walked } from './observe.ts';
import { Guest, type GuestOptions, PS, REQUESTER, SCALABLE_CAPABILITY, spanOf, TableTree } from './table-builder.ts';

const RW = 0b11n;

/** RAM as a machine has it: a hole below 4 GiB, in which the interrupt range is. */
const RAM = [
  [0, 0xc0000],
  [0x100000, 0x80000],
] as const;

interface World {
  readonly guest: Guest;
  readonly tables: TableTree;
  readonly context: number;
  readonly requester: RequesterSpace;
  readonly space: AddressSpace;
  /** Interrupt requests that arrived: address and data. */
  readonly interrupts: [bigint, number[]][];
}

function world(options: GuestOptions = {}): World {
  const guest = new Guest({ ram: RAM, ...options });
  const tables = new TableTree(guest, 4);
  const { context } = guest.legacy({ root: tables.root });
  const interrupts: World['interrupts'] = [];
  const interrupt = (address: bigint, data: Uint8Array): boolean => {
    interrupts.push([address, [...data]]);
    return true;
  };
  const requester = new RequesterSpace(guest.state, REQUESTER, { interrupt });
  return { guest, tables, context, requester, space: requester.space, interrupts };
}

/** Sections as `start-end name`, hexadecimal, end exclusive. */
function sections({ space }: World): string[] {
  return space.view.sections.map(({ start, end, region }) => `${start.toString(16)}-${end.toString(16)} ${region.name}`);
}

function failure({ failure: why }: DmaResult): string {
  return why?.kind ?? 'none';
}

const INTERRUPTS = 'fee00-fef00 02:03.1 interrupt range';

describe('the interrupt range 0xfee00000-0xfeefffff (VT-d 3.14)', () => {
  it.each([0xfee00000n, 0xfee01004n, 0xfeefffffn - 3n])('takes a DWORD written to 0x%x as an interrupt request', (address) => {
    const made = world();
    made.tables.map(0xc0000, 3, 0x100000, RW);

    const result = dmaWrite(made.space, address, Uint8Array.of(1, 2, 3, 4));

    expect(result).toEqual({ completed: 4 });
    expect(made.interrupts).toEqual([[address, [1, 2, 3, 4]]]);
    expect(takeFaults(made.guest)).toEqual([]);
  });

  it.each([1, 2, 3, 5, 8, 4096])('refuses a write of %i bytes', (length) => {
    const made = world();
    made.tables.map(0xc0000, 3, 0x100000, RW);

    const result = dmaWrite(made.space, 0xfee00000n, new Uint8Array(length));

    expect(failure(result)).toBe('device-refused');
    expect(made.interrupts).toEqual([]);
  });

  it('refuses four bytes that are no DWORD', () => {
    const made = world();

    const result = dmaWrite(made.space, 0xfee00002n, new Uint8Array(4));

    expect(failure(result)).toBe('device-refused');
    expect(made.interrupts).toEqual([]);
  });

  it('refuses reads', () => {
    const made = world();
    made.tables.map(0xc0000, 3, 0x100000, RW);

    expect(failure(dmaRead(made.space, 0xfee00000n, new Uint8Array(4)))).toBe('device-refused');
    expect(failure(dmaRead(made.space, 0xfeefffffn, new Uint8Array(1)))).toBe('device-refused');
  });

  it('says so when nobody takes the interrupt', () => {
    const { guest } = world();
    const { space } = new RequesterSpace(guest.state, REQUESTER, { interrupt: () => false });

    expect(failure(dmaWrite(space, 0xfee00000n, new Uint8Array(4)))).toBe('device-refused');
  });

  it('takes interrupts while translation is off, and of a requester that passes through', () => {
    const made = world();
    made.guest.state.translationEnabled = false;
    made.requester.refresh();
    dmaWrite(made.space, 0xfee00000n, Uint8Array.of(1, 0, 0, 0));
    made.guest.state.translationEnabled = true;
    made.guest.setContext(made.context, { tt: 0b10 });
    made.requester.refresh();
    dmaWrite(made.space, 0xfee00000n, Uint8Array.of(2, 0, 0, 0));

    expect(made.interrupts.map(([, [first]]) => first)).toEqual([1, 2]);
  });

  it('ends where it ends: the pages beside it are translated', () => {
    const made = world();
    for (const [i, page] of [0xfedff, 0xfee00, 0xfeeff, 0xfef00].entries()) made.tables.map(page, 1, 0x100 + i, RW);

    const results = [0xfedffffcn, 0xfee00000n, 0xfeeffffcn, 0xfef00000n].map((address) =>
      failure(dmaWrite(made.space, address, Uint8Array.of(7, 7, 7, 7))),
    );

    expect(results).toEqual(['none', 'none', 'none', 'none']);
    expect(made.interrupts).toHaveLength(2);
    expect([made.guest.get(0x100, 511) >> 32n, made.guest.get(0x103, 0)]).toEqual([0x07070707n, 0x07070707n]);
    expect([made.guest.get(0x101, 0), made.guest.get(0x102, 511)]).toEqual([0n, 0n]);
  });

  it('stops a longer write that runs into it', () => {
    const made = world();
    made.tables.map(0xfedff, 1, 0x100, RW);

    const result = dmaWrite(made.space, 0xfedffffen, new Uint8Array(8));

    expect(result).toEqual({ completed: 2, failure: { kind: 'device-refused', address: 0xfee00000n } });
  });
});

/** A notifier in each section of an IOMMU region, as a host mirrors them. */
function mirror(made: World): StrictSink[] {
  const sinks: StrictSink[] = [];
  const listener: MemoryListener = {
    sectionAdded: ({ start, end, region, offset }: MemorySection) => {
      if (region !== made.requester.region) return;
      const sink = new StrictSink({ start: offset, end: offset + (end - start) });
      made.requester.region.registerNotifierReplay(sink, 4096n, false);
      sinks.push(sink);
    },
    sectionRemoved: () => undefined,
  };
  made.space.addListener(listener);
  return sinks;
}

describe('a 1 GiB leaf at 0xc0000000, which covers the interrupt range', () => {
  it('is mapped in two pieces around it', () => {
    const made = world();
    made.tables.map(0xc0000, 3, 0x140000, RW);

    const sinks = mirror(made);

    expect(sinks.map(({ list }) => list)).toEqual([
      [`${0xc0000}+${0x3ee00}>${0x140000} rw`],
      [`${0xfef00}+${0x1100}>${0x17ef00} rw`],
    ]);
    expect(sinks.flatMap(({ violations }) => violations)).toEqual([]);
  });

  it('is translated on both sides of it', () => {
    const made = world();
    made.tables.map(0xc0000, 3, 0x140000, RW);

    dmaWrite(made.space, 0xfedffff8n, new Uint8Array(8).fill(1));
    dmaWrite(made.space, 0xfef00000n, new Uint8Array(8).fill(2));

    expect(made.guest.get(0x17edff, 511)).toBe(0x0101010101010101n);
    expect(made.guest.get(0x17ef00, 0)).toBe(0x0202020202020202n);
  });

  it.each([0xc0000, 0xfedff, 0xfee00, 0xfeeff, 0xfef00, 0xfffff])(
    'is followed in both pieces when page %i of it is invalidated',
    (page) => {
      const made = world();
      const range = { start: page, end: page + 1 };
      const sinks = mirror(made);
      const seen: string[][][] = [];
      const step = (entry: bigint): void => {
        made.tables.setEntry(0xc0000, 3, entry);
        made.requester.region.invalidate(range);
        seen.push(sinks.map(({ list }) => [...list]));
      };

      step((0x140000n << 12n) | PS | RW);
      step((0x100000n << 12n) | PS | RW);
      step(0n);

      expect(seen).toEqual([
        [[`${0xc0000}+${0x3ee00}>${0x140000} rw`], [`${0xfef00}+${0x1100}>${0x17ef00} rw`]],
        [[`${0xc0000}+${0x3ee00}>${0x100000} rw`], [`${0xfef00}+${0x1100}>${0x13ef00} rw`]],
        [[], []],
      ]);
      expect(sinks.flatMap(({ violations }) => violations)).toEqual([]);
    },
  );

  it('costs those nothing who hold no such leaf: a page that did not change is not told again', () => {
    const made = world();
    for (const page of [0xc0000, 0xfedff, 0xfef00, 0xfffff]) made.tables.map(page, 1, 0x100, RW);
    const sinks = mirror(made);
    for (const sink of sinks) sink.takeLog();
    made.tables.map(0xc0000, 1, 0x101, RW);
    made.tables.map(0xfffff, 1, 0x101, RW);

    made.requester.region.invalidate({ start: 0xfedff, end: 0xfee00 });

    // What changed elsewhere has not been invalidated, and has not been looked at.
    expect(sinks.flatMap((sink) => sink.takeLog())).toEqual([]);
  });
});

describe('a 2 MiB leaf at 0xfee00000, of which the second half is no interrupt range', () => {
  it('is followed when a page of its first half is invalidated', () => {
    const made = world();
    made.tables.map(0xfee00, 2, 0x200, RW);
    const sinks = mirror(made);
    made.tables.map(0xfee00, 2, 0x400, RW);

    made.requester.region.invalidate({ start: 0xfee00, end: 0xfee01 });

    expect(sinks.map(({ list }) => list)).toEqual([[], [`${0xfef00}+${0x100}>${0x500} rw`]]);
  });
});

describe('a leaf whose target is in the interrupt range', () => {
  it.each([
    { name: 'first', page: 0x400, outcome: 'LGN.4' },
    { name: 'last', page: 0x4ff, outcome: 'LGN.4' },
    { name: 'first beyond', page: 0x500, outcome: leafText(0x500, 0x100, 0xfef00, 3) },
    { name: 'last of the leaf', page: 0x5ff, outcome: leafText(0x500, 0x100, 0xfef00, 3) },
  ])('is judged by the page asked for: the $name', ({ page, outcome }) => {
    const { guest, tables } = world();
    tables.map(0x400, 2, 0xfee00, RW);
    const region = guest.region();

    expect(translated(region, page, Access.Write)).toBe(outcome);
    expect(translated(region, page)).toBe(outcome);
  });

  it('is judged anew after a page beside it was translated', () => {
    const { guest, tables } = world();
    tables.map(0x40000, 3, 0xc0000, RW);
    const region = guest.region();
    translated(region, 0x40000, Access.Write);
    translated(region, 0x40000 + 0x3ef00, Access.Write);

    const outcomes = [0x3edff, 0x3ee00, 0x3eeff, 0x3ef00].map((page) => translated(region, 0x40000 + page, Access.Write));

    expect(outcomes.map((text) => (text === 'LGN.4' ? text : 'mapped'))).toEqual(['mapped', 'LGN.4', 'LGN.4', 'mapped']);
  });

  it('is SGN.8 in scalable mode', () => {
    const guest = new Guest({ capability: SCALABLE_CAPABILITY });
    const tables = new TableTree(guest, 4);
    tables.map(0x400, 1, 0xfee00, RW);
    guest.scalable({ secondStage: tables.root });

    expect(translated(guest.region(), 0x400, Access.Read)).toBe('SGN.8');
  });

  it('is refused for want of permission first', () => {
    const { guest, tables } = world();
    tables.map(0x400, 1, 0xfee00, 0b01n);

    expect(translated(guest.region(), 0x400, Access.Write)).toBe('LGN.2');
  });

  it('is no RAM to whoever follows the mappings', () => {
    const made = world();
    made.tables.map(0x400, 2, 0xfee00, RW);
    const sink = new StrictSink();

    made.requester.region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.list).toEqual([`${0x400}+${0x200}>${0xfee00} rw!`]);
  });
});

describe('what a requester is shown', () => {
  const UNTRANSLATED = ['0-c0000 ram0', INTERRUPTS, '100000-180000 ram1'];
  const TRANSLATED = ['0-fee00 VT-d 02:03.1', INTERRUPTS, `fef00-${PAGES_END.toString(16)} VT-d 02:03.1`];

  it('is system memory while translation is off', () => {
    const made = world();
    made.guest.state.translationEnabled = false;

    made.requester.refresh();

    expect(sections(made)).toEqual(UNTRANSLATED);
  });

  it('is its IOMMU region while it is translated', () => {
    expect(sections(world())).toEqual(TRANSLATED);
  });

  it('is system memory while its context entry passes it through', () => {
    const made = world();
    made.guest.setContext(made.context, { tt: 0b10 });
    const before = sections(made);

    made.requester.refresh();

    expect(before).toEqual(TRANSLATED);
    expect(sections(made)).toEqual(UNTRANSLATED);
  });

  it('is the region, in which everything faults, while it has no structures', () => {
    const made = world();
    made.guest.setContext(made.context, { present: false });

    made.requester.refresh();

    expect(sections(made)).toEqual(TRANSLATED);
    expect(failure(dmaRead(made.space, 0n, new Uint8Array(1)))).toBe('translation');
    expect(takeFaults(made.guest)).toEqual(['LCT.2']);
  });

  it('is the region while it passes through but may send PASIDs', () => {
    const guest = new Guest({ capability: SCALABLE_CAPABILITY, ram: RAM });
    guest.scalable({ pgtt: 0b100 }, { paside: true });
    const requester = new RequesterSpace(guest.state, REQUESTER, { interrupt: () => true });

    expect(requester.space.view.find(0)?.region).toBe(requester.region);
    expect(dmaWrite(requester.space, 0x8000n, Uint8Array.of(9))).toEqual({ completed: 1 });
    expect(guest.get(8, 0)).toBe(9n);
  });

  it('goes from each to each other, told as exact differences', () => {
    const made = world();
    const log: string[] = [];
    const name = ({ start, region }: MemorySection): string => `${start.toString(16)} ${region.name}`;
    made.space.addListener({
      sectionAdded: (section) => log.push(`+${name(section)}`),
      sectionRemoved: (section) => log.push(`-${name(section)}`),
    });
    log.splice(0);
    const toUntranslated = ['-fef00 VT-d 02:03.1', '-0 VT-d 02:03.1', '+0 ram0', '+100000 ram1'];
    const toTranslated = ['-100000 ram1', '-0 ram0', '+0 VT-d 02:03.1', '+fef00 VT-d 02:03.1'];

    made.guest.state.translationEnabled = false;
    made.requester.refresh();
    const off = log.splice(0);
    made.guest.setContext(made.context, { tt: 0b10 });
    made.guest.state.translationEnabled = true;
    made.requester.refresh();
    const passing = log.splice(0);
    made.guest.setContext(made.context, { root: made.tables.root });
    made.requester.refresh();
    const on = log.splice(0);
    made.requester.refresh();

    expect([off, passing, on]).toEqual([toUntranslated, [], toTranslated]);
    expect(log).toEqual([]);
  });

  it('follows RAM that is added later', () => {
    const made = world();
    made.guest.state.translationEnabled = false;
    made.requester.refresh();

    made.guest.memory.root.remove(made.guest.memory.ram[1]);

    expect(sections(made)).toEqual(UNTRANSLATED.slice(0, 2));
  });

  it('ends with it', () => {
    const made = world();
    made.requester.dispose();

    made.guest.state.translationEnabled = false;
    made.guest.memory.root.remove(made.guest.memory.ram[1]);

    expect(sections(made)).toEqual(TRANSLATED);
  });
});

describe('protected memory', () => {
  const RANGES = [
    { start: 0x200, end: 0x400 },
    { start: 0x101000, end: 0x102000 },
  ];

  it('hides its pages from untranslated requests', () => {
    const made = world();
    made.guest.state.translationEnabled = false;
    made.requester.refresh();

    made.requester.setProtected(RANGES);

    expect(failure(dmaWrite(made.space, 0x1fffffn, Uint8Array.of(1)))).toBe('none');
    expect(failure(dmaWrite(made.space, 0x200000n, Uint8Array.of(1)))).toBe('device-refused');
    expect(failure(dmaRead(made.space, 0x3fffffn, new Uint8Array(1)))).toBe('device-refused');
    expect(failure(dmaRead(made.space, 0x101ffffffn, new Uint8Array(1)))).toBe('device-refused');
    expect(failure(dmaWrite(made.space, 0x400000n, Uint8Array.of(1)))).toBe('none');
    expect(made.guest.get(0x200, 0)).toBe(0n);
  });

  it('hides them from requests that pass through', () => {
    const made = world();
    made.guest.setContext(made.context, { tt: 0b10 });
    made.requester.refresh();
    made.requester.setProtected(RANGES);

    expect(failure(dmaRead(made.space, 0x200000n, new Uint8Array(1)))).toBe('device-refused');
  });

  it('hides nothing from translated requests', () => {
    const made = world();
    made.tables.map(0x10, 1, 0x200, RW);
    made.tables.map(0x200, 1, 0x10, RW);
    made.requester.setProtected(RANGES);

    expect(failure(dmaWrite(made.space, 0x10000n, Uint8Array.of(5)))).toBe('none');
    expect(failure(dmaWrite(made.space, 0x200000n, Uint8Array.of(6)))).toBe('none');
    expect([made.guest.get(0x200, 0), made.guest.get(0x10, 0) & 0xffn]).toEqual([5n, 6n]);
  });

  it('is replaced by the next call, and gone after an empty one', () => {
    const made = world();
    made.guest.state.translationEnabled = false;
    made.requester.refresh();
    made.requester.setProtected(RANGES);

    made.requester.setProtected([{ start: 0x300, end: 0x500 }]);
    const replaced = [0x2ff000n, 0x300000n, 0x4ff000n].map((address) =>
      failure(dmaRead(made.space, address, new Uint8Array(1))),
    );
    made.requester.setProtected([]);

    expect(replaced).toEqual(['none', 'device-refused', 'device-refused']);
    expect(failure(dmaRead(made.space, 0x300000n, new Uint8Array(1)))).toBe('none');
  });
});

describe('the domain of a requester', () => {
  it('is the DID of the structures that translate it, while translation is on', () => {
    const made = world();
    const seen = [made.requester.domainOf(0)];
    made.guest.setContext(made.context, { tt: 0b10, did: 7 });
    seen.push(made.requester.domainOf(0));
    made.guest.setContext(made.context, { present: false, did: 7 });
    seen.push(made.requester.domainOf(0));
    made.guest.state.translationEnabled = false;
    made.guest.setContext(made.context, { did: 9 });
    seen.push(made.requester.domainOf(0));

    expect(seen).toEqual([1, 7, undefined, undefined]);
  });

  it('is each PASID’s own', () => {
    const guest = new Guest({ capability: SCALABLE_CAPABILITY });
    const { table } = guest.scalable({ pgtt: 0b100, did: 3 }, { paside: true });
    guest.setPasid(table, 5, { pgtt: 0b010, did: 4 });
    const requester = new RequesterSpace(guest.state, REQUESTER, { interrupt: () => true });

    expect([0, 5, 6].map((index) => requester.domainOf(index))).toEqual([3, 4, undefined]);
  });

  it('has the indexes that are followed, and that of requests without PASID', () => {
    const made = world();
    made.requester.region.registerNotifier(new StrictSink(undefined, 5));
    made.requester.region.registerNotifier({ ...new StrictSink(undefined, 9), notify: () => true });

    expect([...made.requester.indexes()]).toEqual([0, 5, 9]);
  });
});

describe('a walk of a region', () => {
  it('knows nothing of the interrupt range, which its requester space takes out', () => {
    const made = world();
    made.tables.map(0xc0000, 3, 0x140000, RW);

    expect(walked(made.requester.region).leaves).toEqual([leafText(0xc0000, spanOf(3), 0x140000, 3)]);
  });
});
