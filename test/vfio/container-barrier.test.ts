import { describe, expect, test } from 'vitest';
import { type HostIommu, HostRefusedError, MemoryHostIommu, VfioContainer } from '../../src/vfio/index.ts';
import { type Answers, DelayedHostIommu } from './delayed-host.ts';
import { held, LOW, World } from './world.ts';

async function plugged(answers: Answers) {
  const world = new World();
  world.iommu.put(1, 1, LOW.start);
  world.iommu.put(2, 1, LOW.start);
  const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
  const host = new DelayedHostIommu(inner, { answers });
  const container = world.container(host);
  const plug = container.attach();
  if (answers === 'when-told') host.answer();
  await plug;
  return { world, inner, host, container };
}

/** Lets everything run that does not wait for the host. */
function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Whether each promise is settled by now. */
async function settled(promises: readonly (void | Promise<void>)[]): Promise<boolean[]> {
  const done = promises.map(() => false);
  promises.forEach((promise, i) => void Promise.resolve(promise).then(() => (done[i] = true)));
  await quiet();
  return [...done];
}

describe('a barrier on a host that answers at once', () => {
  test('is over when it returns, and no promise', async () => {
    const { world, inner, container } = await plugged('at-once');

    world.iommu.unmap(1, 1);
    const answers = [world.space.barrier(), world.iommu.barrier(), container.barrier()];

    expect(answers).toEqual([undefined, undefined, undefined]);
    expect(inner.size).toBe(1);
  });

  test('is no promise when it ends in a quarantine either', async () => {
    const { world, inner, host, container } = await plugged('at-once');
    host.failAt = host.calls + 1;

    world.iommu.map(3, 1, LOW.start);
    const answer = world.space.barrier();

    expect(answer).toBeUndefined();
    expect(container.state.kind).toBe('quarantined');
    expect(inner.size).toBe(0);
  });

  test('does not ask the host when nothing was sent since the last', async () => {
    const { world, host, container } = await plugged('at-once');
    const before = host.barriers;

    world.iommu.invalidate({ start: 0, end: 16 });
    void container.barrier();
    void world.space.barrier();

    expect(host.barriers).toBe(before);
  });
});

describe('a barrier on a host that answers later', () => {
  test('is over when the host has answered, whichever way it was asked for', async () => {
    const { world, inner, host, container } = await plugged('when-told');

    world.iommu.unmap(1, 1);
    const answers = [world.space.barrier(), world.iommu.barrier(), container.barrier()];
    const before = await settled(answers);
    const heldBefore = held(inner);
    host.answer();
    const after = await settled(answers);

    expect(before).toEqual([false, false, false]);
    expect(heldBefore).toHaveLength(2);
    expect(after).toEqual([true, true, true]);
    expect(held(inner)).toEqual(['2+1 -> 0 3']);
    expect(host.unanswered).toBe(0);
  });

  test('asked for again after more was sent waits for an answer of its own, which others share', async () => {
    const { world, inner, host } = await plugged('when-told');

    world.iommu.unmap(1, 1);
    const first = world.space.barrier();
    world.iommu.unmap(2, 1);
    const second = world.space.barrier();
    world.iommu.map(3, 1, LOW.start);
    const third = world.space.barrier();
    host.answer();
    const afterOne = await settled([first, second, third]);
    host.answer();
    const afterTwo = await settled([first, second, third]);

    expect(afterOne).toEqual([true, false, false]);
    expect(afterTwo).toEqual([true, true, true]);
    expect(held(inner)).toEqual(['3+1 -> 0 3']);
    expect(host.mostUnanswered).toBe(1);
  });

  test('asked for when nothing new was sent waits for the one under way', async () => {
    const { world, host } = await plugged('when-told');
    world.iommu.unmap(1, 1);
    void world.space.barrier();

    const again = world.space.barrier();
    const before = await settled([again]);
    host.answer();

    expect(before).toEqual([false]);
    expect(await settled([again])).toEqual([true]);
  });

  test('that ends in a quarantine is over when the removals are confirmed, too', async () => {
    const { world, inner, host, container } = await plugged('when-told');
    host.failAt = host.calls + 2;

    world.iommu.unmap(1, 1);
    world.iommu.map(3, 1, LOW.start);
    const barrier = world.space.barrier();
    host.answer();
    const afterOne = await settled([barrier]);
    const heldAfterOne = held(inner);
    const stateAfterOne = container.state.kind;
    host.answer();
    const afterTwo = await settled([barrier]);

    expect(afterOne).toEqual([false]);
    expect(heldAfterOne).toEqual(['2+1 -> 0 3']);
    expect(stateAfterOne).toBe('quarantined');
    expect(afterTwo).toEqual([true]);
    expect(inner.size).toBe(0);
  });

  test('is not needed for a quarantine to take effect', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user', maxMappings: 1 });
    const container = world.container(new DelayedHostIommu(inner));
    await container.attach();

    world.iommu.map(2, 1, LOW.start);
    await new Promise((resolve) => setTimeout(resolve, 5));

    expect(container.state.kind).toBe('quarantined');
    expect(inner.size).toBe(0);
  });

  test('does not wait for what a busy guest sends after it', async () => {
    const { world, host } = await plugged('when-told');

    world.iommu.unmap(1, 1);
    const barrier = world.space.barrier();
    world.iommu.unmap(2, 1);
    host.answer();

    expect(await settled([barrier])).toEqual([true]);
    expect(host.unanswered).toBe(0);
  });

  test('during an unplug waits for it', async () => {
    const { world, inner, host, container } = await plugged('when-told');

    const unplug = container.detach();
    const barrier = world.space.barrier();
    const before = await settled([barrier]);
    const stateBefore = container.state;
    host.answer();
    await unplug;

    expect(before).toEqual([false]);
    expect(stateBefore).toEqual({ kind: 'detaching' });
    expect(await settled([barrier])).toEqual([true]);
    expect(inner.size).toBe(0);
  });

  test('is waited for when the refusal came at once and the machine asked for another barrier meanwhile', async () => {
    const world = new World();
    world.iommu.put(1, 1, LOW.start);
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const answers: (() => void)[] = [];
    let calls = 0;
    const host: HostIommu = {
      name: 'hasty',
      limits: inner.limits,
      map: (mapping, ram) => inner.map(mapping, ram),
      unmap: (iova, pages) => inner.unmap(iova, pages),
      barrier: () => {
        calls++;
        if (calls === 1) return undefined;
        if (calls === 2) {
          throw new HostRefusedError([
            { op: 'map', iova: 2, pages: 1, errno: 'ENOMEM', reason: 'no memory' },
          ]);
        }
        return new Promise((resolve) => answers.push(resolve));
      },
    };
    const container = new VfioContainer(world.space, host, {
      name: 'nic',
      onQuarantine: () => void container.barrier(),
    });
    await container.attach();

    world.iommu.map(2, 1, LOW.start);
    const barrier = world.space.barrier();
    const before = await settled([barrier]);
    answers[0]?.();

    expect(before).toEqual([false]);
    expect(await settled([barrier])).toEqual([true]);
    expect(container.state.kind).toBe('quarantined');
  });
});
