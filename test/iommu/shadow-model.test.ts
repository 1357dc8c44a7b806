import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplayError } from '../../src/iommu/index.ts';
import {
  AddressSpace,
  ContainerRegion,
  DeviceRegion,
  MemoryTopology,
  type MemoryRegion,
  PAGES_END,
  type PageRange,
  RamRegion,
  SparseRamBlock,
} from '../../src/memory/index.ts';
import { type NaivePlace, type NaiveRegion, placesBelow } from '../reference/naive-memory.ts';
import { desired, type NaivePiece, type NaiveWish, widened } from '../reference/naive-sink.ts';
import { EditedGuest, type GuestEdit, SLOT_PAGES } from '../support/edited-guest.ts';
import { RadixRegion } from '../support/radix-region.ts';
import { StrictSink } from '../support/strict-sink.ts';
import { TableWriter } from '../support/table-writer.ts';

const SLOTS = 2;
const IOVA_PAGES = SLOTS * SLOT_PAGES;
const TARGET_PAGES = 4096;
const TABLES_AT = 0x10000;

/** Sinks by number; ranges count from the origin. */
const WISHES: readonly NaiveWish[] = [
  { start: -Infinity, end: Infinity, granule: 1, isWrite: false },
  { start: 100, end: 700, granule: 1, isWrite: false },
  { start: -Infinity, end: Infinity, granule: 16, isWrite: false },
  { start: -Infinity, end: Infinity, granule: 1, isWrite: true },
  { start: 8, end: 1001, granule: 16, isWrite: false },
];

type MemoryName = 'low' | 'rom' | 'over' | 'device' | 'high';

type Step =
  | GuestEdit
  | { readonly edit: 'invalidate'; start: number; pages: number }
  | { readonly edit: 'invalidate all' }
  | { readonly edit: 'register' | 'unregister'; sink: number }
  | { readonly edit: 'toggle' | 'replace'; name: MemoryName }
  | { readonly edit: 'arm'; sink: number; after: number; action: Action };

/** What a sink does from inside notify(). */
type Action =
  | { readonly does: 'refuse' | 'throw' }
  | { readonly does: 'register' | 'unregister'; sink: number }
  | { readonly does: 'invalidate'; start: number; pages: number }
  | { readonly does: 'toggle'; name: MemoryName };

const BROKEN = new Error('the sink is broken');

interface Sink {
  readonly strict: StrictSink;
  readonly wish: NaiveWish;
  /** Registrations so far. */
  generation: number;
  /** What the reference says that it holds. */
  believed: readonly NaivePiece[];
}

/** The engine and the reference side by side. */
class ModelWorld {
  readonly origin: number;
  readonly topology = new MemoryTopology();
  readonly root = new ContainerRegion('guest-physical', PAGES_END);
  readonly region: RadixRegion;
  readonly guest: EditedGuest;
  readonly sinks: readonly Sink[];
  /** Whether a sink did anything from inside notify() since it was last cleared. */
  disturbed = false;
  #naive: readonly NaiveRegion[] = [];
  #places: readonly NaivePlace[] | undefined;
  readonly #real: Map<MemoryName, MemoryRegion> = new Map();
  #replacements = 0;

  constructor(top: boolean) {
    const levels = 3;
    this.origin = top ? PAGES_END - IOVA_PAGES : 0;
    this.root.add(new RamRegion('tables', new SparseRamBlock(0x1000)), TABLES_AT);
    this.#add('low', 'ram', 0, 1024, 0);
    this.#add('rom', 'rom', 1024, 256, 0);
    this.#add('high', 'ram', 2048, 2048, 0);
    this.#add('over', 'ram', 512, 128, 1);
    this.#add('device', 'device', 2100, 10, 1);
    this.toggle('over');
    const space = new AddressSpace('guest-physical', this.root, this.topology);
    let next = TABLES_AT;
    const base = top ? PAGES_END - 512 ** levels : 0;
    const tables = new TableWriter({ memory: space, allocate: () => next++, levels, base });
    this.guest = new EditedGuest(tables, this.origin, SLOTS);
    this.region = new RadixRegion(top ? PAGES_END : 512 ** levels, space);
    this.region.tables.set(0, tables);
    this.sinks = WISHES.map((relative) => {
      const start = Math.max(0, this.origin + relative.start);
      const end = Math.min(PAGES_END, this.origin + relative.end);
      const strict = new StrictSink({ start, end });
      return {
        strict,
        wish: { ...relative, start, end: Math.min(end, this.region.pages) },
        generation: 0,
        believed: [],
      };
    });
  }

  isRegistered(sink: Sink): boolean {
    return this.region.notifiers.includes(sink.strict);
  }

  /** What the reference says that `sink` should hold. */
  desired(sink: Sink): NaivePiece[] {
    return desired(this.guest.reference, this.places, sink.wish);
  }

  /** What lies at each target page. */
  get places(): readonly NaivePlace[] {
    this.#places ??= placesBelow(this.#naive, TARGET_PAGES);
    return this.#places;
  }

  /** The sections of RAM, as text. */
  ramSections(): string {
    return this.places.map(({ kind, section }) => (kind === 'ram' || kind === 'rom' ? section : '-')).join();
  }

  register(sink: Sink): void {
    if (this.isRegistered(sink)) return;
    sink.generation++;
    try {
      this.region.registerNotifierReplay(sink.strict, BigInt(sink.wish.granule) * 4096n, sink.wish.isWrite);
    } catch (error) {
      if (!(error instanceof ReplayError)) throw error;
    }
  }

  unregister(sink: Sink): void {
    try {
      this.region.unregisterNotifier(sink.strict);
    } catch (error) {
      if (error !== BROKEN) throw error;
    }
  }

  arm(sink: Sink, after: number, action: Action): void {
    let left = after;
    sink.strict.hook = () => {
      if (left-- > 0) return true;
      sink.strict.hook = undefined;
      this.disturbed = true;
      const { generation } = sink;
      const kept = this.act(action);
      // Whoever is unregistered before it returns from a map has not taken it.
      return kept && sink.generation === generation && this.isRegistered(sink);
    };
  }

  act(action: Action): boolean {
    switch (action.does) {
      case 'refuse':
        return false;
      case 'throw':
        throw BROKEN;
      case 'register':
        this.register(this.sinks[action.sink]);
        return true;
      case 'unregister':
        this.unregister(this.sinks[action.sink]);
        return true;
      case 'invalidate':
        this.region.invalidate(this.range(action.start, action.pages));
        return true;
      case 'toggle':
        this.toggle(action.name);
        return true;
    }
  }

  range(start: number, pages: number): PageRange {
    return { start: this.origin + start, end: Math.min(this.origin + start + pages, PAGES_END) };
  }

  toggle(name: MemoryName): void {
    const region = this.#real.get(name)!;
    this.#setNaive(
      this.#naive.map((known) => (known.id === region.name ? { ...known, enabled: !known.enabled } : known)),
    );
    region.setEnabled(!region.enabled);
  }

  replace(name: MemoryName): void {
    const old = this.#real.get(name)!;
    const known = this.#naive.find(({ id }) => id === old.name)!;
    this.#setNaive(this.#naive.filter((region) => region !== known));
    this.topology.transaction(() => {
      this.root.remove(old);
      this.#add(name, known.kind, known.start, known.pages, known.priority);
    });
  }

  #setNaive(regions: readonly NaiveRegion[]): void {
    this.#naive = regions;
    this.#places = undefined;
  }

  #add(name: MemoryName, kind: NaiveRegion['kind'], start: number, pages: number, priority: number): void {
    const id = `${name}-${this.#replacements++}`;
    const block = new SparseRamBlock(pages);
    const region =
      kind === 'device'
        ? new DeviceRegion(id, pages, { read: () => true, write: () => true })
        : new RamRegion(id, block, { readonly: kind === 'rom' });
    this.#setNaive([...this.#naive, { id, kind, start, pages, priority, enabled: true }]);
    this.#real.set(name, region);
    this.root.add(region, start, priority);
  }
}

type Piece = Omit<NaivePiece, 'leafStart' | 'leafEnd'>;

function key(piece: Piece): string {
  const { iova, pages, target, access, ram } = piece;
  return `${iova}+${pages}>${target} ${access} ${ram}`;
}

const keys = (pieces: readonly Piece[]): string[] => pieces.map(key);

/** Takes one step and holds every sink against the reference. */
function take(world: ModelWorld, step: Step): void {
  const before = world.sinks.map((sink) => world.isRegistered(sink));
  const changesMemory = step.edit === 'toggle' || step.edit === 'replace';
  const sections = changesMemory ? world.ramSections() : '';
  world.disturbed = false;
  for (const { strict } of world.sinks) strict.takeLog();
  perform(world, step);
  expectBooksKept(world);
  if (world.disturbed) {
    for (const { strict } of world.sinks) strict.hook = undefined;
    world.region.invalidate({ start: 0, end: PAGES_END });
    expectBooksKept(world);
    for (const sink of world.sinks) expectEqual(world, sink);
  } else if (step.edit === 'invalidate' || step.edit === 'invalidate all') {
    const range = rangeOf(world, step);
    for (const sink of world.sinks) if (world.isRegistered(sink)) expectFollowed(world, sink, range);
  } else if (step.edit === 'register' && !before[step.sink]) {
    expectEqual(world, world.sinks[step.sink]);
  } else if (changesMemory && world.ramSections() !== sections) {
    for (const sink of world.sinks) expectEqual(world, sink);
  } else if (step.edit === 'unregister') {
    world.sinks[step.sink].believed = [];
  } else {
    for (const { strict } of world.sinks) expect(strict.log).toEqual([]);
  }
}

function rangeOf(world: ModelWorld, step: Step): PageRange {
  return step.edit === 'invalidate' ? world.range(step.start, step.pages) : { start: 0, end: PAGES_END };
}

function perform(world: ModelWorld, step: Step): void {
  switch (step.edit) {
    case 'invalidate':
    case 'invalidate all':
      world.region.invalidate(rangeOf(world, step));
      break;
    case 'register':
      world.register(world.sinks[step.sink]);
      break;
    case 'unregister':
      world.unregister(world.sinks[step.sink]);
      break;
    case 'toggle':
      world.toggle(step.name);
      break;
    case 'replace':
      world.replace(step.name);
      break;
    case 'arm':
      world.arm(world.sinks[step.sink], step.after, step.action);
      break;
    default:
      world.guest.apply(step);
  }
}

/** No sink was ever asked to overlap or bisect, and each holds what its ledger says; unregistered ones nothing. */
function expectBooksKept(world: ModelWorld): void {
  for (const { strict } of world.sinks) {
    expect(strict.violations).toEqual([]);
    const ledger = world.region.ledgerOf(strict);
    const entered = [...(ledger?.mappings() ?? [])].map(({ flags, ...rest }) => ({
      ...rest,
      access: flags & 3,
      ram: (flags & 4) === 0,
    }));
    expect(keys(strict.held)).toEqual(keys(entered));
  }
}

/** The sink holds all that it should, or nothing when it is not registered. */
function expectEqual(world: ModelWorld, sink: Sink): void {
  sink.believed = world.isRegistered(sink) ? world.desired(sink) : [];
  expect(keys(sink.strict.held)).toEqual(keys(sink.believed));
}

/** Inside the widened range the sink is right, outside it heard nothing, and of what stayed it heard nothing either. */
function expectFollowed(world: ModelWorld, sink: Sink, range: PageRange): void {
  const held = sink.believed;
  const sure = widened(range, world.guest.reference, held, sink.wish);
  const inside = ({ iova }: NaivePiece): boolean => iova >= sure.start && iova < sure.end;
  const now = [...held.filter((piece) => !inside(piece)), ...world.desired(sink).filter(inside)];
  sink.believed = now.toSorted((a, b) => a.iova - b.iova);
  expect(keys(sink.strict.held)).toEqual(keys(sink.believed));
  const old = new Set(keys(held));
  const fresh = new Set(keys(sink.believed));
  const unmaps = held.filter((piece) => !fresh.has(key(piece)));
  const maps = sink.believed.filter((piece) => !old.has(key(piece)));
  expect(sink.strict.log).toEqual([
    ...unmaps.map(({ iova, pages }) => `unmap ${iova}+${pages}`),
    ...maps.map(({ iova, pages }) => `map ${iova}+${pages}`),
  ]);
}

const slot = fc.nat(SLOTS - 1);
const at = fc.nat(SLOT_PAGES - 1);
const access = fc.constantFrom(3, 3, 3, 1, 2, 0);
const target = fc.oneof(
  fc.nat(TARGET_PAGES - 1),
  fc.nat(255).map((n) => n * 16),
);
const sink = fc.nat(WISHES.length - 1);
const name = fc.constantFrom<MemoryName>('low', 'rom', 'over', 'device', 'high');
const count = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant(SLOT_PAGES));
const part = fc.record({
  start: fc.nat(IOVA_PAGES - 1),
  pages: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 600 })),
});

const guestEdit: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ edit: fc.constant('pages' as const), slot, at, count, target, access }),
  fc.record({
    edit: fc.constant('pages' as const),
    slot,
    at: fc.nat(31).map((n) => n * 16),
    count,
    target,
    access,
  }),
  fc.record({ edit: fc.constant('contiguous' as const), slot, at, target, access }),
  fc.record({ edit: fc.constant('clear' as const), slot, at, count }),
  fc.record({ edit: fc.constant('large' as const), slot, target: fc.nat(7).map((n) => n * 512), access }),
  fc.record({ edit: fc.constant('drop' as const), slot }),
  fc.record({ edit: fc.constant('split' as const), slot }),
  fc.record({ edit: fc.constant('restrict' as const), slot, access }),
);
const registration: fc.Arbitrary<Step> = fc.record({
  edit: fc.constantFrom('register' as const, 'register' as const, 'unregister' as const),
  sink,
});
const invalidation: fc.Arbitrary<Step> = fc.oneof(
  part.map(({ start, pages }) => ({ edit: 'invalidate' as const, start, pages })),
  fc.constant({ edit: 'invalidate all' as const }),
);
const memory: fc.Arbitrary<Step> = fc.record({
  edit: fc.constantFrom('toggle' as const, 'replace' as const),
  name,
});
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ does: fc.constantFrom('refuse' as const, 'throw' as const) }),
  fc.record({ does: fc.constantFrom('register' as const, 'unregister' as const), sink }),
  part.map(({ start, pages }) => ({ does: 'invalidate' as const, start, pages })),
  fc.record({ does: fc.constant('toggle' as const), name }),
);
const arming: fc.Arbitrary<Step> = fc.record({
  edit: fc.constant('arm' as const),
  sink,
  after: fc.nat(20),
  action,
});

function check(steps: fc.Arbitrary<Step>, numRuns: number, top: boolean): void {
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 30, size: 'max' }), (list) => {
      const world = new ModelWorld(top);
      for (const step of list) take(world, step);
    }),
    { numRuns },
  );
}

describe('a shadow against the reference', () => {
  it.each([
    ['from page 0', false],
    ['up to 2^64', true],
  ])('follows any edits and invalidations, %s', (_where, top) => {
    check(
      fc.oneof(
        { weight: 4, arbitrary: guestEdit },
        { weight: 3, arbitrary: invalidation },
        { weight: 1, arbitrary: registration },
      ),
      60,
      top,
    );
  });

  it('follows RAM that appears, disappears and is replaced', () => {
    check(
      fc.oneof(
        { weight: 4, arbitrary: guestEdit },
        { weight: 2, arbitrary: invalidation },
        { weight: 2, arbitrary: registration },
        { weight: 3, arbitrary: memory },
      ),
      60,
      false,
    );
  });

  it('keeps its books whatever sinks do from inside notify()', () => {
    check(
      fc.oneof(
        { weight: 4, arbitrary: guestEdit },
        { weight: 2, arbitrary: invalidation },
        { weight: 3, arbitrary: registration },
        { weight: 1, arbitrary: memory },
        { weight: 4, arbitrary: arming },
      ),
      60,
      false,
    );
  });
});
