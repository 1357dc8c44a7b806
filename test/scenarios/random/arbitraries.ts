/** Random guests and operators. @module */
import fc from 'fast-check';
import type { HostSpec, Place, RawEdit, Start, Step, Target } from './steps.ts';

const place: fc.Arbitrary<Place> = fc.record({
  window: fc.constantFrom(0, 0, 0, 1, 1, 2, 3),
  slot: fc.constantFrom(0, 0, 0, 0, 1, 1, 2, 3),
  page: fc.oneof(fc.constantFrom(0, 0, 0, 1, 16, 255, 256, 496, 511), fc.nat(511)),
});

const target: fc.Arbitrary<Target> = fc.record({
  near: fc.nat(11),
  offset: fc.oneof(fc.constantFrom(0, 0, -1, 1, -8, 16, -512), fc.integer({ min: -600, max: 600 })),
  fits: fc.boolean(),
});

const access = fc.constantFrom(3 as const, 3 as const, 3 as const, 1 as const, 2 as const);
const pages = fc.oneof(
  fc.constantFrom(1, 1, 2, 16, 32, 512, 513, 1024, 262_144),
  fc.integer({ min: 1, max: 40 }),
);
const domain = fc.constantFrom(0, 0, 0, 1, 1, 2);
const levels = fc.constantFrom(3 as const, 4 as const, 5 as const);

const hostSpec: fc.Arbitrary<HostSpec> = fc.record({
  strictness: fc.constantFrom('type1' as const, 'iommufd' as const, 'vfio-user' as const),
  granule: fc.constantFrom(1 as const, 1 as const, 1 as const, 1 as const, 16 as const, 512 as const),
  room: fc.oneof(
    { weight: 2, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.constantFrom(-1, 0, 0, 1, 2, 8) },
  ),
  narrow: fc.constantFrom(false, false, false, false, true),
  late: fc.boolean(),
  failAt: fc.oneof(
    { weight: 4, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }) },
  ),
  fault: fc.constantFrom(
    'refuse' as const,
    'refuse' as const,
    'lose' as const,
    'die' as const,
    'throw' as const,
  ),
});

const rawEdit: fc.Arbitrary<RawEdit> = fc.oneof(
  fc.record({ raw: fc.constant('leaf' as const), target, access }),
  fc.record({ raw: fc.constant('pages' as const), count: fc.integer({ min: 1, max: 40 }), target, access }),
  fc.record({ raw: fc.constant('clear' as const) }),
  fc.record({ raw: fc.constant('restrict' as const), access }),
  fc.record({ raw: fc.constant('split' as const) }),
  fc.record({
    raw: fc.constant('table' as const),
    at: fc.nat(511),
    count: fc.integer({ min: 0, max: 20 }),
    target,
  }),
  fc.record({ raw: fc.constant('bad' as const), target }),
);

const attachTo = fc.constantFrom(0, 0, 1, 1, 2, 3, 4, 4);

const map = fc.record({ do: fc.constant('map' as const), domain, place, pages, target, access });
const plug = fc.record({
  do: fc.constant('plug' as const),
  slot: fc.nat(3),
  host: hostSpec,
  wait: fc.boolean(),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: map },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('unmap' as const), domain, place, pages }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('remap' as const),
      domain,
      place,
      access,
      target: fc.option(target, { nil: undefined }),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant('raw' as const),
      domain,
      place,
      level: fc.constantFrom(1, 1, 2, 2, 2, 3, 4, 5),
      edit: rawEdit,
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('invalidate-exactly' as const), domain }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('invalidate-pages' as const),
      domain,
      place,
      am: fc.constantFrom(0, 0, 1, 4, 9, 10, 18),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('invalidate-within' as const),
      domain,
      range: fc.nat(20),
      part: fc.nat(999),
      am: fc.constantFrom(0, 0, 0, 1, 4, 8),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('invalidate-domain' as const), domain }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('invalidate-all' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('invalidate-context' as const),
      requester: fc.option(fc.nat(2), { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('attach' as const), requester: fc.nat(2), to: attachTo }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('attach-silently' as const),
      requester: fc.nat(2),
      to: attachTo,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('invalidate-everything' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('translation' as const), on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('new-domain' as const), domain, levels }) },
  { weight: 5, arbitrary: plug },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('unplug' as const), slot: fc.nat(3), wait: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), slot: fc.nat(3) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('ram' as const),
      changes: fc.array(
        fc.record({ region: fc.nat(2), to: fc.constantFrom('out' as const, 'new' as const) }),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('tick' as const) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('barrier' as const) }) },
);

export const start: fc.Arbitrary<Start> = fc.record({
  mode: fc.constantFrom('legacy' as const, 'scalable' as const),
  invalidation: fc.constantFrom('strict' as const, 'strict' as const, 'lazy' as const),
  iotlb: fc.boolean(),
  PSI: fc.constantFrom(true, true, true, false),
  levels: fc.tuple(levels, levels, levels),
  attached: fc.tuple(attachTo, attachTo, attachTo),
});

/** A large leaf that is known gives way to something else, of which the unit is told too little at first. */
const scene: fc.Arbitrary<Step[]> = fc
  .record({
    domain,
    place,
    level: fc.constantFrom(2, 2, 3),
    before: rawEdit,
    after: rawEdit,
    part: fc.nat(999),
    next: fc.constantFrom('barrier' as const, 'tick' as const, undefined),
  })
  .map(({ domain, place, level, before, after, part, next }) => [
    { do: 'raw', domain, place, level, edit: before },
    { do: 'invalidate-exactly', domain },
    { do: 'raw', domain, place, level, edit: after },
    { do: 'invalidate-within', domain, range: 0, part, am: 0 },
    ...(next === undefined ? [] : [{ do: next }]),
  ]);

/** Devices and mappings come first, so that there is something to go wrong. */
export const steps: fc.Arbitrary<readonly Step[]> = fc
  .tuple(
    fc.array(map, { maxLength: 3 }),
    fc.array(plug, { maxLength: 3 }),
    fc.array(fc.oneof({ weight: 6, arbitrary: step.map((one) => [one]) }, { weight: 1, arbitrary: scene }), {
      minLength: 1,
      maxLength: 50,
      size: 'max',
    }),
  )
  .map(([maps, plugs, rest]) => [...maps, ...plugs, ...rest.flat()]);
