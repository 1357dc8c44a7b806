import { describe, expect, test } from 'vitest';
import { dmaLine, ledgerJson } from '../../src/cli/serve/dma-json.ts';
import { DmaTally, eventText, rateText } from '../../src/cli/serve/dma-tally.ts';
import { type HeldMapping, LedgerSnapshot } from '../../src/cli/serve/ledger-snapshot.ts';
import { ledgerTable } from '../../src/cli/serve/ledger-table.ts';
import { PacedRemarks } from '../../src/cli/serve/paced-remarks.ts';
import type { Style } from '../../src/cli/terminal/style.ts';
import type { DmaEvent } from '../../src/vfio-user/index.ts';

const NOON = Date.UTC(2026, 0, 1, 12);
const page = (n: number): HeldMapping => ({
  iova: BigInt(n) * 4096n,
  size: 4096n,
  offset: BigInt(n) * 8192n,
  access: 3,
});
const event = (event: Partial<DmaEvent>): DmaEvent => ({
  iova: 0x1000n,
  size: 4096n,
  count: 1,
  result: 'ok',
  ...event,
});

describe('events as JSON', () => {
  test('a map', () => {
    expect(dmaLine('map', event({ offset: 0x2000n, access: 1 }), NOON + 0.25)).toBe(
      '{"t":1767268800.000250,"op":"map","iova":"0x1000","size":4096,"offset":"0x2000","perm":"r","result":"ok"}\n',
    );
  });

  test('an unmap of one mapping', () => {
    expect(dmaLine('unmap', event({ offset: 0n, access: 3 }), NOON)).toBe(
      '{"t":1767268800.000000,"op":"unmap","iova":"0x1000","size":4096,"offset":"0x0","perm":"rw","result":"ok","removed":1}\n',
    );
  });

  test('an unmap of a range keeps every digit of its size', () => {
    const line = dmaLine(
      'unmap',
      event({ iova: 0xfef0_0000n, size: 0xffff_ffff_0110_0000n, count: 3 }),
      NOON,
    );

    expect(line).toContain('"iova":"0xfef00000","size":18446744069432410112,"offset":null,"perm":null');
    expect(line).toContain('"removed":3}');
  });

  test('a refusal has the errno’s name', () => {
    expect(dmaLine('map', event({ offset: 0n, access: 3, result: 'EEXIST' }), NOON)).toContain(
      '"result":"EEXIST"}',
    );
  });

  test('a side comes before the operation', () => {
    expect(dmaLine('map', event({ offset: 0n, access: 2 }), NOON, '"side":"vmm",')).toMatch(
      /^\{"t":1767268800\.000000,"side":"vmm","op":"map",/,
    );
  });
});

describe('the ledger as JSON', () => {
  test('nothing', () => {
    expect([...ledgerJson(new LedgerSnapshot([]))].join('')).toBe('{"ledger":[]}\n');
  });

  test('keys as documented', () => {
    expect([...ledgerJson(new LedgerSnapshot([page(1), { ...page(5), access: 2 }]))].join('')).toBe(
      '{"ledger":[{"iova":"0x1000","size":4096,"offset":"0x2000","perm":"rw"},' +
        '{"iova":"0x5000","size":4096,"offset":"0xa000","perm":"w"}]}\n',
    );
  });

  test('many mappings are one line in pieces', () => {
    const snapshot = new LedgerSnapshot(Array.from({ length: 10_000 }, (_, n) => page(n)));

    const pieces = [...ledgerJson(snapshot)];

    const { ledger } = JSON.parse(pieces.join('')) as { ledger: { iova: string }[] };
    expect(pieces).toHaveLength(3);
    expect(ledger).toHaveLength(10_000);
    expect(ledger[9_999]?.iova).toBe('0x270f000');
  });

  test('exactly one piece of mappings ends well', () => {
    const snapshot = new LedgerSnapshot(Array.from({ length: 4096 }, (_, n) => page(n)));

    expect(JSON.parse([...ledgerJson(snapshot)].join(''))).toHaveProperty('ledger.length', 4096);
  });

  test('all 64 bits survive', () => {
    const last = { iova: 2n ** 64n - 4096n, size: 4096n, offset: 2n ** 64n - 1n, access: 3 } as const;

    expect(new LedgerSnapshot([last]).at(0)).toEqual(last);
  });
});

function plain(text: string): string {
  return text;
}

describe('the ledger for people', () => {
  const style: Style = { heading: plain, good: plain, bad: plain, aside: plain };

  test('rows of one width, and sums by size', () => {
    const snapshot = new LedgerSnapshot([page(1), { ...page(0x1000), size: 2n ** 21n, access: 1 }]);

    expect([...ledgerTable(snapshot, style)].join('')).toBe(
      '2 mapped\n' +
        '  0x0001000-0x0001fff  rw      4 KiB  offset 0x2000\n' +
        '  0x1000000-0x11fffff  r       2 MiB  offset 0x2000000\n' +
        '  2 MiB in all\n' +
        '  4 KiB: 1 rw\n' +
        '  2 MiB: 1 r\n',
    );
  });

  test('of many sizes the first are summed', () => {
    const many = Array.from({ length: 100 }, (_, n) => ({ ...page(n * 1000), size: BigInt(n + 1) * 4096n }));

    const lines = [...ledgerTable(new LedgerSnapshot(many), style)].join('').split('\n');

    expect(lines).toContain('  and of 84 further sizes');
    expect(lines).toHaveLength(1 + 100 + 1 + 16 + 1 + 1);
  });

  test('nothing', () => {
    expect([...ledgerTable(new LedgerSnapshot([]), style)].join('')).toBe('nothing is mapped\n');
  });
});

describe('sums', () => {
  test('what came and went', () => {
    const tally = new DmaTally(() => []);
    tally.add('map', event({ offset: 0n, access: 3 }));
    tally.add('map', event({ offset: 0n, access: 3, size: 2n ** 21n }));
    tally.add('map', event({ offset: 0n, access: 3, count: 0, result: 'EEXIST' }));

    tally.add('unmap', event({ offset: 0n, access: 3 }));

    expect(tally.heldText()).toBe('1 mapping, 2 MiB');
    expect(tally.takeWindow()).toEqual({ maps: 3, unmaps: 1, refused: 1 });
    expect(tally.takeWindow()).toEqual({ maps: 0, unmaps: 0, refused: 0 });
  });

  test('how things stand, in one line', () => {
    const tally = new DmaTally(() => []);
    const before = tally.summaryText(tally.takeWindow(), 1);

    tally.add('map', event({ offset: 0n, access: 3 }));

    expect(before).toBe('0 mappings, 0 bytes; 0 maps/s, 0 unmaps/s');
    expect(tally.summaryText(tally.takeWindow(), 0.25)).toBe(
      '1 mapping, 4 KiB; 4 maps/s, 0 unmaps/s; last: map 0x1000-0x1fff, 4 KiB, rw',
    );
  });

  test('after an unmap of several what is left is added up', () => {
    const tally = new DmaTally(() => [page(9)]);
    for (let i = 0; i < 3; i++) tally.add('map', event({ offset: 0n, access: 3, size: 2n ** 30n }));

    tally.add('unmap', event({ count: 2, size: 2n ** 40n }));

    expect(tally.heldText()).toBe('1 mapping, 4 KiB');
  });

  test('while more is on its way than was told, what is there counts, and is added up again', () => {
    const held = [page(9)];
    const tally = new DmaTally(() => held);
    for (let i = 0; i < 5; i++) tally.add('map', event({ offset: 0n, access: 3 }));
    tally.add('unmap', event({ count: 2, size: 2n ** 40n }));
    const meanwhile = tally.heldText();

    tally.add('unmap', event({ count: 2, size: 2n ** 40n }));

    expect(meanwhile).toBe('1 mapping, 4 KiB');
    expect(tally.heldText()).toBe('1 mapping, 4 KiB');
    expect(tally.mappings).toBe(1);
  });

  test('an identical mapping that was accepted again is not counted twice', () => {
    const tally = new DmaTally(() => []);
    tally.add('map', event({ offset: 0n, access: 3 }));

    tally.add('map', event({ offset: 0n, access: 3, count: 0 }));

    expect(tally.heldText()).toBe('1 mapping, 4 KiB');
  });

  test('the end of a connection clears it', () => {
    const tally = new DmaTally(() => []);
    tally.add('map', event({ offset: 0n, access: 3 }));

    tally.clear();

    expect(tally.mappings).toBe(0);
    expect(tally.summaryText(tally.takeWindow(), 1)).toBe('0 mappings, 0 bytes; 1 maps/s, 0 unmaps/s');
  });

  test.each([
    ['map', event({ offset: 0n, access: 2 }), 'map 0x1000-0x1fff, 4 KiB, w'],
    ['unmap', event({ size: 2n ** 20n, count: 12 }), 'unmap 0x1000-0x100fff, 1 MiB, 12 mappings'],
    ['unmap', event({ count: 0 }), 'unmap 0x1000-0x1fff, 4 KiB, 0 mappings'],
    ['unmap', event({ count: 0, result: 'ENOENT' }), 'unmap 0x1000-0x1fff, 4 KiB: ENOENT'],
    ['unmap', event({ iova: 0n, size: 0n, count: 2 }), 'unmap 0x0, 0 bytes, 2 mappings'],
  ] as const)('an event in words: %s', (op, it, text) => {
    expect(eventText(op, it)).toBe(text);
  });

  test('rates are a second', () => {
    expect(rateText({ maps: 25_000, unmaps: 1, refused: 0 }, 0.25)).toBe('100,000 maps/s, 4 unmaps/s');
  });
});

describe('remarks that a peer can cause', () => {
  test('are counted when there are too many, and said again later', () => {
    let now = 0;
    const said: string[] = [];
    const clock = { now: () => now, every: () => () => {}, wait: () => Promise.resolve() };
    const remarks = new PacedRemarks(clock, (line) => void said.push(line));
    for (let i = 0; i < 25; i++) remarks.add(`remark ${i}`);

    now = 10_000;
    remarks.add('later');

    expect(said).toHaveLength(22);
    expect(said.slice(-2)).toEqual(['5 further remarks were left out', 'later']);
  });

  test('cannot steer a terminal', () => {
    const said: string[] = [];
    const clock = { now: () => 0, every: () => () => {}, wait: () => Promise.resolve() };

    new PacedRemarks(clock, (line) => void said.push(line)).add('\x1b[2J');

    expect(said).toEqual(['\\u001b[2J']);
  });
});
