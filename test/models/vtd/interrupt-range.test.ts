import { describe, expect, it } from 'vitest';
import { Access, dmaRead, dmaWrite } from '../../../src/memory/index.ts';
import { RequesterSpace } from '../../../src/models/vtd/requester-space.ts';
import { StrictSink } from '../../support/strict-sink.ts';
import { leafText, takeFaults, translated, walked } from './observe.ts';
import { failure, held, mirror, world } from './requester-world.ts';
import { Guest, REQUESTER, SCALABLE_CAPABILITY } from './table-builder.ts';
import { PS, spanOf, TableTree } from './table-tree.ts';

const RW = 0b11n;

describe('the interrupt range 0xfee00000-0xfeefffff (VT-d 3.14)', () => {
  it.each([0xfee00000n, 0xfee01004n, 0xfeefffffn - 3n])(
    'takes a DWORD written to 0x%x as an interrupt request',
    (address) => {
      const made = world();
      made.tables.map(0xc0000, 3, 0x100000, RW);

      const result = dmaWrite(made.space, address, Uint8Array.of(1, 2, 3, 4));

      expect(result).toEqual({ completed: 4 });
      expect(made.interrupts).toEqual([[address, [1, 2, 3, 4]]]);
      expect(takeFaults(made.guest)).toEqual([]);
    },
  );

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
    for (const [i, page] of [0xfedff, 0xfee00, 0xfeeff, 0xfef00].entries())
      made.tables.map(page, 1, 0x100 + i, RW);

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

describe('a 1 GiB leaf at 0xc0000000, which covers the interrupt range', () => {
  it('is mapped in two pieces around it', () => {
    const made = world();
    made.tables.map(0xc0000, 3, 0x140000, RW);

    const sinks = mirror(made);

    expect(sinks.map(held)).toEqual([
      [leafText(0xc0000, 0x3ee00, 0x140000, 3)],
      [leafText(0xfef00, 0x1100, 0x17ef00, 3)],
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
        seen.push(sinks.map(held));
      };

      step((0x140000n << 12n) | PS | RW);
      step((0x100000n << 12n) | PS | RW);
      step(0n);

      expect(seen).toEqual([
        [[leafText(0xc0000, 0x3ee00, 0x140000, 3)], [leafText(0xfef00, 0x1100, 0x17ef00, 3)]],
        [[leafText(0xc0000, 0x3ee00, 0x100000, 3)], [leafText(0xfef00, 0x1100, 0x13ef00, 3)]],
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

    expect(sinks.map(held)).toEqual([[], [leafText(0xfef00, 0x100, 0x500, 3)]]);
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

    const outcomes = [0x3edff, 0x3ee00, 0x3eeff, 0x3ef00].map((page) =>
      translated(region, 0x40000 + page, Access.Write),
    );

    expect(outcomes.map((text) => (text === 'LGN.4' ? text : 'mapped'))).toEqual([
      'mapped',
      'LGN.4',
      'LGN.4',
      'mapped',
    ]);
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

    expect(held(sink)).toEqual([`${leafText(0x400, 0x200, 0xfee00, 3)}!`]);
  });
});

describe('a walk of a region', () => {
  it('knows nothing of the interrupt range, which its requester space takes out', () => {
    const made = world();
    made.tables.map(0xc0000, 3, 0x140000, RW);

    expect(walked(made.requester.region).leaves).toEqual([leafText(0xc0000, spanOf(3), 0x140000, 3)]);
  });
});
