import { describe, expect, test } from 'vitest';
import { openAttempt } from '../../src/memory/index.ts';
import { type HostStrictness, MemoryHostIommu, type VfioContainer } from '../../src/vfio/index.ts';
import { type Answers, DelayedHostIommu } from './delayed-host.ts';
import { differences, held, HIGH, World } from './world.ts';

interface Setting {
  readonly strictness: HostStrictness;
  readonly answers: Answers;
}

const SETTINGS: readonly Setting[] = [
  { strictness: 'vfio-user', answers: 'at-once' },
  { strictness: 'vfio-user', answers: 'later' },
  { strictness: 'type1', answers: 'at-once' },
  { strictness: 'type1', answers: 'later' },
];

interface Plugged {
  readonly inner: MemoryHostIommu;
  readonly host: DelayedHostIommu;
  readonly container: VfioContainer;
}

async function plug(
  world: World,
  { strictness, answers }: Setting,
  options: { readonly maxMappings?: number; readonly name?: string } = {},
): Promise<Plugged> {
  const { maxMappings = 1000, name = 'nic' } = options;
  const inner = new MemoryHostIommu({ strictness, maxMappings });
  const host = new DelayedHostIommu(inner, { answers });
  const container = world.container(host, name);
  await container.attach();
  return { inner, host, container };
}

/** The next `failures` operations of `host` are refused, beginning with the nth from now. */
function refuseNth(host: DelayedHostIommu, n: number, failures = 1): void {
  host.failAt = host.calls + n;
  host.failures = failures;
}

describe.each(SETTINGS)('a change on trial ($strictness, $answers)', (setting) => {
  test('that every host takes is there, and nothing is refused', async () => {
    const world = new World();
    const { inner, container } = await plug(world, setting);

    const attempt = openAttempt([world.space]);
    world.iommu.map(0x20, 4, HIGH.start);
    await world.space.barrier();
    const { refusals } = attempt;
    attempt.end();

    expect(refusals).toEqual([]);
    expect(held(inner)).toEqual(['20+4 -> 400 3']);
    expect(container.state.kind).toBe('attached');
  });

  test('that is beyond a limit is noted at once, and taken back without a trace', async () => {
    const world = new World();
    world.iommu.put(0x10, 1, HIGH.start);
    const { inner, container } = await plug(world, setting, { maxMappings: 1 });

    const attempt = openAttempt([world.space]);
    world.iommu.map(0x20, 4, HIGH.start);
    const noted = attempt.refusals.map(({ range }) => range);
    world.iommu.unmap(0x20, 4);
    await world.space.barrier();
    attempt.end();
    await world.space.barrier();

    expect(noted).toEqual([{ start: 0x20, end: 0x24 }]);
    expect(held(inner)).toEqual(['10+1 -> 400 3']);
    expect(container.state.kind).toBe('attached');
    expect(world.quarantines).toEqual([]);
  });

  test('that the host refuses is noted at the barrier, and no unmap is sent for it', async () => {
    const world = new World();
    world.iommu.put(0x10, 1, HIGH.start);
    const { inner, host, container } = await plug(world, setting);
    refuseNth(host, 1);

    const attempt = openAttempt([world.space]);
    world.iommu.map(0x20, 4, HIGH.start);
    const early = attempt.refusals.length;
    await world.space.barrier();
    const noted = attempt.refusals.map(({ range }) => range);
    world.iommu.unmap(0x20, 4);
    await world.space.barrier();
    attempt.end();
    await world.space.barrier();

    expect(early).toBe(0);
    expect(noted).toEqual([{ start: 0x20, end: 0x24 }]);
    expect(inner.messages.unmap).toBe(0);
    expect(held(inner)).toEqual(['10+1 -> 400 3']);
    expect([...container.mappings()].length).toBe(1);
    expect(container.state.kind).toBe('attached');
  });

  test.each([1, 2, 3, 4])('of which map %i is refused is taken back whole', async (n) => {
    const world = new World();
    const { inner, host, container } = await plug(world, setting);
    refuseNth(host, n);

    const attempt = openAttempt([world.space]);
    for (let i = 0; i < 4; i++) world.iommu.map(0x20 + i, 1, HIGH.start + i);
    await world.space.barrier();
    const noted = attempt.refusals.map(({ range }) => range);
    world.iommu.unmap(0x20, 4);
    await world.space.barrier();
    attempt.end();
    await world.space.barrier();

    expect(noted).toEqual([{ start: 0x20 + n - 1, end: 0x20 + n }]);
    expect(inner.messages.unmap).toBe(3);
    expect(held(inner)).toEqual([]);
    expect(container.state.kind).toBe('attached');
  });

  test('that one of two hosts refuses is taken back from the other', async () => {
    const world = new World();
    const one = await plug(world, setting);
    const other = await plug(world, setting, { name: 'disk' });
    refuseNth(other.host, 1);

    const attempt = openAttempt([world.space]);
    world.iommu.map(0x20, 4, HIGH.start);
    await world.space.barrier();
    const noted = attempt.refusals.length;
    world.iommu.unmap(0x20, 4);
    await world.space.barrier();
    attempt.end();
    await world.space.barrier();

    expect(noted).toBe(1);
    expect([held(one.inner), held(other.inner)]).toEqual([[], []]);
    expect([one.container.state.kind, other.container.state.kind]).toEqual(['attached', 'attached']);
  });

  test('from pass-through to translation that fails leads back to all of RAM', async () => {
    const world = new World({ translated: false });
    for (let i = 0; i < 4; i++) world.iommu.put(0x20 + i, 1, HIGH.start + i);
    const { inner, host, container } = await plug(world, setting);
    const before = held(inner);
    refuseNth(host, before.length + 3);

    const attempt = openAttempt([world.space]);
    world.translate(true);
    await world.space.barrier();
    const noted = attempt.refusals.length;
    world.translate(false);
    await world.space.barrier();
    attempt.end();
    await world.space.barrier();

    expect(noted).toBe(1);
    expect(held(inner)).toEqual(before);
    expect(container.state.kind).toBe('attached');
  });

  test('to a domain that the host has no room for leads back to the one before', async () => {
    const world = new World();
    world.iommu.put(0x10, 1, HIGH.start);
    world.iommu.put(0x11, 1, HIGH.start + 1);
    const { inner, container } = await plug(world, setting, { maxMappings: 2 });
    const before = held(inner);

    const attempt = openAttempt([world.space]);
    world.iommu.drop(0x10, 2);
    for (let i = 0; i < 3; i++) world.iommu.put(0x10 + i, 1, HIGH.start + 0x10 + i);
    world.iommu.invalidate({ start: 0, end: 0x1000 });
    await world.space.barrier();
    const noted = attempt.refusals.map(({ range }) => range);
    world.iommu.drop(0x10, 3);
    world.iommu.put(0x10, 1, HIGH.start);
    world.iommu.put(0x11, 1, HIGH.start + 1);
    world.iommu.invalidate({ start: 0, end: 0x1000 });
    await world.space.barrier();
    attempt.end();
    await world.space.barrier();

    expect(noted).toEqual([{ start: 0x12, end: 0x13 }]);
    expect(held(inner)).toEqual(before);
    expect(container.state.kind).toBe('attached');
  });

  test('that is not taken back is tried once more at the end, and then stands', async () => {
    const world = new World();
    const { inner, host, container } = await plug(world, setting);
    refuseNth(host, 1);

    const attempt = openAttempt([world.space]);
    world.iommu.map(0x20, 4, HIGH.start);
    await world.space.barrier();
    attempt.end();
    await world.space.barrier();

    expect(held(inner)).toEqual(['20+4 -> 400 3']);
    expect(container.state.kind).toBe('attached');
  });

  test('that is not taken back and refused again is a quarantine', async () => {
    const world = new World();
    const { inner, host, container } = await plug(world, setting);
    refuseNth(host, 1, 5);

    const attempt = openAttempt([world.space]);
    world.iommu.map(0x20, 4, HIGH.start);
    host.failures = 1;
    await world.space.barrier();
    refuseNth(host, 1);
    attempt.end();
    await world.space.barrier();

    expect(held(inner)).toEqual([]);
    expect(container.state).toMatchObject({ kind: 'quarantined', cause: 'host-refused' });
    expect(world.quarantines.length).toBe(1);
  });

  test('whose way back is refused, too, is a quarantine', async () => {
    const world = new World();
    world.iommu.put(0x10, 1, HIGH.start);
    const { inner, host, container } = await plug(world, setting);
    refuseNth(host, 2);

    const attempt = openAttempt([world.space]);
    world.iommu.drop(0x10, 1);
    world.iommu.put(0x10, 1, HIGH.start + 1);
    world.iommu.invalidate({ start: 0x10, end: 0x11 });
    await world.space.barrier();
    const noted = attempt.refusals.length;
    refuseNth(host, 1);
    world.iommu.map(0x10, 1, HIGH.start);
    await world.space.barrier();
    const early = world.quarantines.length;
    refuseNth(host, 1);
    attempt.end();
    await world.space.barrier();

    expect([noted, early]).toEqual([1, 0]);
    expect(held(inner)).toEqual([]);
    expect(container.state.kind).toBe('quarantined');
  });

  test('does not hide a section of RAM that failed for reasons of its own', async () => {
    const world = new World({ translated: false });
    world.high.setEnabled(false);
    const { inner, host, container } = await plug(world, setting);
    refuseNth(host, 1);

    const attempt = openAttempt([world.space]);
    world.high.setEnabled(true);
    await world.space.barrier();
    const noted = attempt.refusals.length;
    attempt.end();
    await world.space.barrier();

    expect(noted).toBe(1);
    expect(differences(world, inner)).toEqual([]);
    expect(container.state.kind).toBe('attached');
  });

  test('whose host is lost is a quarantine at once', async () => {
    const world = new World();
    const { host, container } = await plug(world, setting);
    host.fault = 'die';
    refuseNth(host, 1);

    const attempt = openAttempt([world.space]);
    world.iommu.map(0x20, 4, HIGH.start);
    await world.space.barrier();
    const { refusals } = attempt;
    attempt.end();
    await world.space.barrier();

    expect(refusals).toEqual([]);
    expect(container.state.kind).toBe('host-lost');
    expect(world.quarantines.length).toBe(1);
  });

  test('whose host keeps what was to go is no more refused than with any other lost host', async () => {
    const world = new World();
    world.iommu.put(0x20, 4, HIGH.start);
    const { host, container } = await plug(world, setting);
    refuseNth(host, 1);

    const attempt = openAttempt([world.space]);
    world.iommu.map(0x20, 4, HIGH.start + 8);
    await world.space.barrier();
    const { refusals } = attempt;
    attempt.end();
    await world.space.barrier();

    expect(refusals).toEqual([]);
    expect(container.state.kind).toBe('host-lost');
    expect(world.quarantines.map(({ cause }) => cause)).toEqual(['host-lost']);
  });

  test('does not keep a plug from failing as a whole', async () => {
    const world = new World();
    world.iommu.put(0x10, 1, HIGH.start);
    const inner = new MemoryHostIommu({ strictness: setting.strictness });
    const host = new DelayedHostIommu(inner, { answers: setting.answers, failAt: 2 });
    const container = world.container(host);

    const plugged = container.attach().catch(() => 'refused');
    const attempt = openAttempt([world.space]);
    world.iommu.map(0x20, 1, HIGH.start);
    await world.space.barrier();
    attempt.end();
    await world.space.barrier();

    const outcome = await plugged;
    expect(held(inner).length).toBe(outcome === 'refused' ? 0 : 2);
    expect(container.state.kind).toBe(outcome === 'refused' ? 'detached' : 'attached');
  });
});

test('an exact host that refuses what a limit has taken back already is not said to be lost', async () => {
  const world = new World({ translated: false });
  for (let i = 0; i < 5; i++) world.iommu.put(0x20 + i, 1, HIGH.start + i);
  const { inner, host, container } = await plug(
    world,
    { strictness: 'vfio-user', answers: 'later' },
    { maxMappings: 4 },
  );
  const before = held(inner);
  refuseNth(host, before.length + 1);

  const attempt = openAttempt([world.space]);
  world.translate(true);
  world.translate(false);
  await world.space.barrier();
  attempt.end();
  await world.space.barrier();

  expect(attempt.refusals.length).toBe(2);
  expect(held(inner)).toEqual(before);
  expect(container.state.kind).toBe('attached');
});

test('ending an attempt twice does nothing, and a refusal after its end is a quarantine', async () => {
  const world = new World();
  const { host, container } = await plug(world, { strictness: 'vfio-user', answers: 'later' });
  const attempt = openAttempt([world.space]);
  attempt.end();
  attempt.end();
  refuseNth(host, 1);

  world.iommu.map(0x20, 4, HIGH.start);
  await world.space.barrier();

  expect(container.state.kind).toBe('quarantined');
});

test('what a host refuses counts for nothing in its limit', async () => {
  const world = new World();
  const { inner, host } = await plug(
    world,
    { strictness: 'vfio-user', answers: 'later' },
    { maxMappings: 2 },
  );
  for (let i = 0; i < 3; i++) {
    const attempt = openAttempt([world.space]);
    refuseNth(host, 1);
    world.iommu.map(0x20, 4, HIGH.start);
    await world.space.barrier();
    world.iommu.unmap(0x20, 4);
    await world.space.barrier();
    attempt.end();
  }

  const attempt = openAttempt([world.space]);
  world.iommu.map(0x20, 1, HIGH.start);
  world.iommu.map(0x21, 1, HIGH.start);
  world.iommu.map(0x22, 1, HIGH.start);
  await world.space.barrier();

  expect(held(inner)).toEqual(['20+1 -> 400 3', '21+1 -> 400 3']);
  expect(attempt.refusals.length).toBe(1);
});

test('a mapping that takes the place of a refused one is taken back when it goes', async () => {
  const world = new World();
  const { inner, host, container } = await plugTold(world, 'vfio-user');
  const attempt = openAttempt([world.space]);
  refuseNth(host, 1);
  world.iommu.map(0x20, 1, HIGH.start);
  const first = world.space.barrier();
  // Something is on its way when the answer comes, so another follows.
  world.iommu.map(0x30, 1, HIGH.start);
  host.answer();
  await turn();
  world.iommu.map(0x20, 1, HIGH.start + 1);
  world.iommu.unmap(0x20, 1);
  host.answer();
  await first;
  const last = world.space.barrier();
  host.answer();
  await last;
  attempt.end();

  expect(held(inner)).toEqual(['30+1 -> 400 3']);
  expect(container.state.kind).toBe('attached');
});

test('a mapping that was replaced before its refusal came is not mistaken for the other', async () => {
  const world = new World();
  const { inner, host, container } = await plugTold(world, 'type1');
  const attempt = openAttempt([world.space]);
  refuseNth(host, 1);
  world.iommu.map(0x20, 1, HIGH.start);
  const first = world.space.barrier();
  world.iommu.unmap(0x20, 1);
  world.iommu.map(0x20, 1, HIGH.start + 1);
  host.answer();
  await turn();
  host.answer();
  await first;
  attempt.end();

  expect(held(inner)).toEqual([]);
  expect(container.state.kind).toBe('quarantined');
});

/** A device whose host answers when told. */
async function plugTold(world: World, strictness: HostStrictness): Promise<Plugged> {
  const inner = new MemoryHostIommu({ strictness });
  const host = new DelayedHostIommu(inner, { answers: 'when-told' });
  const container = world.container(host);
  world.iommu.put(0x10, 1, HIGH.start);
  const plugged = container.attach();
  host.answer();
  await plugged;
  world.iommu.unmap(0x10, 1);
  const empty = world.space.barrier();
  host.answer();
  await empty;
  return { inner, host, container };
}

/** Lets everything happen that has been answered. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
