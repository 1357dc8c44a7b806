import { describe, expect, it } from 'vitest';
import { Access, ALL_PAGES } from '../../src/memory/index.ts';
import { type GuestMemory, guestMemory } from '../support/guest-memory.ts';
import { RadixRegion } from '../support/radix-region.ts';
import { StrictSink } from '../support/strict-sink.ts';
import { TableWriter } from '../support/table-writer.ts';

const RAM_PAGES = 1 << 20;
const TABLES_AT = RAM_PAGES - 4096;

interface World extends GuestMemory {
  readonly region: RadixRegion;
  readonly tables: TableWriter;
}

function world(levels = 4): World {
  const memory = guestMemory([0, RAM_PAGES]);
  let next = TABLES_AT;
  const tables = new TableWriter({ memory: memory.space, allocate: () => next++, levels });
  const region = new RadixRegion(512 ** levels, memory.space);
  region.tables.set(0, tables);
  return { ...memory, region, tables };
}

describe('registerNotifierReplay', () => {
  it('tells what exists, ascending, each leaf at its own size', () => {
    const { region, tables } = world();
    tables.map(0x40000, 0x40000, Access.ReadWrite, 3);
    tables.map(0x400, 0x800, Access.Read, 2);
    tables.map(0x10, 0x77, Access.ReadWrite);
    const sink = new StrictSink();

    const report = region.registerNotifierReplay(sink, 4096n, false);

    expect(sink.list).toEqual(['16+1>119 rw', '1024+512>2048 r', '262144+262144>262144 rw']);
    expect(report.mappings).toBe(3);
    expect(sink.violations).toEqual([]);
  });

  it('follows a change afterwards', () => {
    const { region, tables } = world();
    tables.map(0x10, 0x77, Access.ReadWrite);
    const sink = new StrictSink();
    region.registerNotifierReplay(sink, 4096n, false);

    tables.map(0x10, 0x78, Access.ReadWrite);
    tables.map(0x11, 0x79, Access.ReadWrite);
    region.invalidate({ start: 0x10, end: 0x12 });

    expect(sink.list).toEqual(['16+1>120 rw', '17+1>121 rw']);
    expect(sink.violations).toEqual([]);
  });

  it('leaves a notifier alone that nothing changed for', () => {
    const { region, tables } = world();
    for (let i = 0; i < 1000; i++) tables.map(i, i, Access.ReadWrite);
    const sink = new StrictSink();
    region.registerNotifierReplay(sink, 4096n, false);
    sink.takeLog();

    region.invalidate(ALL_PAGES);

    expect(sink.log).toEqual([]);
  });
});
