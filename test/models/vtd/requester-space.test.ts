import { describe, expect, it } from 'vitest';
import { dmaRead, dmaWrite, type MemorySection, PAGES_END } from '../../../src/memory/index.ts';
import { RequesterSpace } from '../../../src/models/vtd/requester-space.ts';
import { takeFaults } from './observe.ts';
import { failure, RAM, sections, world } from './requester-world.ts';
import { Guest, REQUESTER, SCALABLE_CAPABILITY } from './table-builder.ts';

const RW = 0b11n;
const INTERRUPTS = 'fee00-fef00 02:03.1 interrupt range';

const name = ({ start, region }: MemorySection): string => `${start.toString(16)} ${region.name}`;

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
});
