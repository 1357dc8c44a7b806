/** What QEMU gets wrong does not come up, and all else does. @module */
import { describe, expect, test } from 'vitest';
import {
  type ActionStep,
  ComparableSteps,
  QEMU_DEPARTURES,
  type RandomMachine,
  RANDOM_MACHINES,
  randomSteps,
  SCENARIOS,
  type Slot,
  validOf,
} from '../../../src/conform/index.ts';

const FINDINGS = new Set(SCENARIOS.flatMap(({ finding }) => (finding === undefined ? [] : [finding.id])));

function after(
  machine: Pick<RandomMachine, 'model' | 'machine'>,
  steps: readonly ActionStep[],
): ComparableSteps {
  const rules = new ComparableSteps({ ...machine, departures: QEMU_DEPARTURES });
  for (const step of steps) rules.take(step);
  return rules;
}

/** A device with one leaf of 2 MiB, plugged. */
const LARGE_LEAF: readonly ActionStep[] = [
  { do: 'domain', name: 'd' },
  { do: 'attach', who: 'nic', domain: 'd' },
  { do: 'map', domain: 'd', iova: '0x400000', size: '2M', to: '0x100400000', access: 'rw', leaf: '2M' },
  { do: 'plug', who: 'nic' },
];
const CLEARED: ActionStep = { do: 'entry', domain: 'd', level: 2, iova: '0x400000', is: 'nothing' };
const SMALL_LEAF: ActionStep = {
  do: 'map',
  domain: 'd',
  iova: '0x401000',
  size: '4K',
  to: '0x100000000',
  access: 'rw',
  leaf: '4K',
};

function invalidate(who: Slot): ActionStep {
  return { do: 'invalidate', what: 'requester', who };
}

/** 8 KiB. */
function map(iova: string): ActionStep {
  return { do: 'map', domain: 'd', iova, size: '8K', to: '0x100000000', access: 'rw' };
}

function unmap(size: string): ActionStep {
  return { do: 'unmap', domain: 'd', iova: '0x1000', size };
}

describe('departures', () => {
  test.each(QEMU_DEPARTURES.filter(({ finding }) => finding !== 'none'))(
    '$model, $finding: are findings of the table',
    ({ finding }) => {
      expect(finding.split(', ').filter((id) => !FINDINGS.has(id))).toEqual([]);
    },
  );

  test.each(RANDOM_MACHINES)('$name: as many steps as asked for are left', ({ name: _name, ...machine }) => {
    const context = { ...machine, departures: QEMU_DEPARTURES };

    const steps = randomSteps(11, { ...context, steps: 200 });

    expect(steps).toHaveLength(200);
    expect(validOf(context, steps)).toEqual(steps);
  });
});

describe('R3', () => {
  const VTD = { model: 'vtd' } as const;

  const structures = { do: 'invalidate', what: 'structures' } as const;

  test('what takes the place of a large leaf is compared when all structures were invalidated, which is next', () => {
    const rules = after(VTD, [...LARGE_LEAF, CLEARED, SMALL_LEAF]);
    const before = rules.shows('nic');
    const remedies = rules.remedies(SMALL_LEAF);

    rules.take(structures);

    expect([before, rules.shows('nic')]).toEqual([false, true]);
    expect(remedies).toEqual([structures]);
  });

  test('a leaf that is gone and told of is nothing special', () => {
    const told: ActionStep = { do: 'invalidate', what: 'domain', domain: 'd' };

    const rules = after(VTD, [...LARGE_LEAF, CLEARED, told, SMALL_LEAF]);

    expect(rules.shows('nic')).toBe(true);
  });

  test('a large leaf takes the place of smaller ones', () => {
    const rules = after(VTD, [
      ...LARGE_LEAF.slice(0, 2),
      SMALL_LEAF,
      { do: 'plug', who: 'nic' },
      { do: 'entry', domain: 'd', level: 2, iova: '0x400000', is: 'leaf', to: '0x100400000', access: 'r' },
    ]);

    expect(rules.shows('nic')).toBe(true);
  });
});

describe('R26', () => {
  const AMDVI = { model: 'amdvi' } as const;

  test('a plugged device is not compared before its entry is invalidated', () => {
    const rules = after(AMDVI, LARGE_LEAF);
    const before = rules.shows('nic');

    rules.take(invalidate('disk'));
    const other = rules.shows('nic');
    rules.take(invalidate('nic'));

    expect([before, other, rules.shows('nic')]).toEqual([false, false, true]);
  });

  test('it is invalidated next', () => {
    const plug = { do: 'plug', who: 'nic' } as const;

    expect(after(AMDVI, LARGE_LEAF).remedies(plug)).toEqual([invalidate('nic')]);
  });

  test('an invalidation that a unit does not fetch, being off, is none', () => {
    const rules = after(AMDVI, [...LARGE_LEAF, { do: 'translation', on: false }, invalidate('nic')]);

    rules.take({ do: 'translation', on: true });

    expect(rules.shows('nic')).toBe(false);
  });
});

test('R30: whose leaves were rewritten in place is compared when it was attached again, which is next', () => {
  const remap = { do: 'remap', domain: 'd', iova: '0x400000', size: '2M', access: 'r' } as const;
  const rules = after({ model: 'amdvi' }, [...LARGE_LEAF, invalidate('nic')]);
  rules.take(remap);
  const before = rules.shows('nic');
  const remedies = rules.remedies(remap);

  for (const step of remedies) rules.take(step);

  expect([before, rules.shows('nic')]).toEqual([false, true]);
  expect(remedies).toEqual([
    { do: 'detach', who: 'nic' },
    { do: 'attach', who: 'nic', domain: 'd' },
  ]);
});

test('R11: an UNMAP may split the only mapping that it touches, and no other', () => {
  const rules = after({ model: 'virtio-iommu' }, [
    { do: 'domain', name: 'd' },
    { do: 'plug', who: 'nic' },
    { do: 'attach', who: 'nic', domain: 'd' },
    map('0x1000'),
    map('0x3000'),
  ]);

  expect([unmap('4K'), unmap('8K'), unmap('12K')].map((step) => rules.allows(step))).toEqual([
    true,
    true,
    false,
  ]);
});
