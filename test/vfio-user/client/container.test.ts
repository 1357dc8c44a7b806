import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import type { VfioContainer } from '../../../src/vfio/index.ts';
import { Errno } from '../../../src/vfio-user/wire/index.ts';
import { HIGH, LOW, refusalOf, World } from '../../vfio/world.ts';
import { openFakeDescriptors } from '../memory-channel.ts';
import { connected, errorOf, type Rig, type RigOptions, settle } from './rig.ts';

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

interface Plugged extends Rig {
  readonly world: World;
  readonly container: VfioContainer;
}

/** A device of a guest with `count` mappings from IOVA page 0 on, not plugged yet. */
async function prepared(count: number, options: RigOptions = {}): Promise<Plugged> {
  const world = new World();
  for (let i = 0; i < count; i++) world.iommu.put(i, 1, HIGH.start + i);
  const rig = await connected(options);
  return Object.assign(Object.create(rig) as Rig, { world, container: world.container(rig.client) });
}

async function plugged(count: number, options: RigOptions = {}): Promise<Plugged> {
  const all = await prepared(count, options);
  await all.container.attach();
  return all;
}

/** What a server has to hold of what the guest maps: pages of `high RAM` begin at its first page. */
function expected({ world }: Plugged): string[] {
  return world.iommu.leaves.map(
    ({ iova, pages, target, access }) =>
      `${iova.toString(16)}+${pages.toString(16)} -> ${(target - HIGH.start).toString(16)} ${access}`,
  );
}

function refuseSecond(number: number): void {
  if (number === 2) throw new Error('connect ENOENT');
}

describe('a plug', () => {
  test('replays every mapping exactly', async () => {
    const all = await prepared(1000);

    const report = await all.container.attach();

    expect(report.replayed).toBe(1000);
    expect(all.server.mappings).toEqual(expected(all));
    expect([all.server.maps, all.server.unmaps]).toEqual([1000, 0]);
  });

  test('of more than the server takes is refused as a whole, and nothing is left there', async () => {
    const { container, server, world } = await prepared(1001, { capabilities: { maxDmaMaps: 1000 } });

    const { refusal } = await refusalOf(container.attach());

    expect(refusal).toMatchObject({ cause: 'too-many-mappings' });
    expect(refusal.reason).toContain('one more than the 1000 that host the server can hold');
    expect(server.maps).toBeLessThanOrEqual(1000);
    expect(server.ledger.size).toBe(0);
    expect(world.traceless).toBe(true);
  });

  test('that the server refuses says which mapping, with its errno, and leaves nothing there', async () => {
    const { container, server } = await prepared(50, { refuse: (n) => (n === 33 ? Errno.ENOSPC : 0) });

    const { refusal, message } = await refusalOf(container.attach());

    expect(refusal).toMatchObject({
      cause: 'host-refused',
      errno: 'ENOSPC',
      mapping: { iova: 32, pages: 1 },
    });
    expect(message).toContain('refused to map 4 KiB at IOVA 0x20000 with ENOSPC');
    expect(server.ledger.size).toBe(0);
  });

  test('to a server that is gone is refused for that reason', async () => {
    const { container, server } = await prepared(5, { opening: refuseSecond });
    server.connection.close('the end');
    await settle();

    const { refusal } = await refusalOf(container.attach());

    expect(refusal).toMatchObject({ cause: 'host-lost' });
    expect(refusal.reason).toContain('could not be opened anew (connect ENOENT)');
  });

  test('connects anew to a server that was gone', async () => {
    const all = await prepared(5);
    all.server.connection.close('the end');
    await settle();

    await all.container.attach();

    expect(all.servers).toHaveLength(2);
    expect(all.server.mappings).toEqual(expected(all));
  });
});

test('an unplug leaves nothing with the server', async () => {
  const { container, server, client } = await plugged(100);

  await container.detach();

  expect(server.ledger.size).toBe(0);
  expect(client.barrier()).toBeUndefined();
});

test('a device that is taken out when its server is gone can be plugged again, by a container of its own', async () => {
  const all = await plugged(5);
  all.server.connection.close('the end');
  await settle();
  await all.container.detach();

  await all.world.container(all.client).attach();

  expect(all.servers).toHaveLength(2);
  expect(all.server.mappings).toEqual(expected(all));
});

describe('a server that dies', () => {
  // A plug onto four mappings: 192 bytes of requests, 64 of answers.
  test.each([
    ['requests', 'server', 192],
    ['answers', 'client', 64],
  ] as const)(
    'at any byte of a replay in its %s refuses the plug, and a later one succeeds',
    async (_, end, total) => {
      for (let bytes = 0; bytes < total; bytes++) {
        const all = await prepared(4);
        all.fuses[0]?.[end].light(bytes);

        const { refusal } = await refusalOf(all.container.attach());
        const report = await all.container.attach();

        expect(refusal.cause).toBe('host-lost');
        expect(report.replayed).toBe(4);
        expect(all.servers).toHaveLength(2);
        expect(all.server.mappings).toEqual(expected(all));
      }
    },
  );

  test('while nothing is asked of it cuts the device off at once', async () => {
    const { world, server, container, events } = await plugged(5);

    server.connection.close('the end');
    await settle();

    expect(container.state).toMatchObject({ kind: 'host-lost' });
    expect(world.quarantines).toHaveLength(1);
    expect(events.map(({ kind }) => kind)).toEqual(['server-connected', 'server-lost']);
  });

  test('is connected to anew by a release, and gets everything again', async () => {
    const all = await plugged(500);
    all.server.connection.close('the end');
    await settle();

    all.world.iommu.map(1000, 2, HIGH.start + 600);
    await all.container.release();

    expect(all.container.state).toEqual({ kind: 'attached' });
    expect(all.servers).toHaveLength(2);
    expect(all.server.mappings).toEqual(expected(all));
    expect([all.server.maps, all.server.unmaps]).toEqual([501, 0]);
  });

  test('and comes back smaller is held to its new limits', async () => {
    const all = await plugged(5, { later: { capabilities: { maxDmaMaps: 4 } } });
    all.server.connection.close('the end');
    await settle();

    const { refusal } = await refusalOf(all.container.release());

    expect(all.client.limits.maxMappings).toBe(4);
    expect(refusal.cause).toBe('too-many-mappings');
    expect(all.server.ledger.size).toBe(0);
  });

  test('and cannot be reached leaves the device quarantined, until it can', async () => {
    const all = await plugged(5, { opening: refuseSecond });
    all.server.connection.close('the end');
    await settle();

    const { refusal } = await refusalOf(all.container.release());
    await all.container.release();

    expect(refusal.reason).toBe('host the server is lost and could not be opened anew (connect ENOENT)');
    expect(all.server.mappings).toEqual(expected(all));
  });

  test('during the second replay can be connected to a third time', async () => {
    const all = await plugged(300, { held: false, later: { held: true } });
    all.server.connection.close('the end');
    await settle();
    const release = refusalOf(all.container.release());
    await settle();
    const second = all.server;
    second.connection.close('the end again');
    await release;

    const third = all.container.release();
    await settle();
    all.server.held = false;
    all.server.answerHeld();
    await third;

    expect(second.ledger.size).toBe(300);
    expect(all.servers).toHaveLength(3);
    expect(all.server.mappings).toEqual(expected(all));
  });
});

describe('a client', () => {
  test('that is closed ends its connection, and is not lost', async () => {
    const { client, container, server, events } = await plugged(5);
    await container.detach();

    await client.close();

    expect((await client.closed).kind).toBe('closed-here');
    expect((await server.connection.closed).kind).toBe('closed-by-peer');
    expect(events.map(({ kind }) => kind)).toEqual(['server-connected']);
  });

  test('that is closed cannot be opened anew', async () => {
    const { client } = await connected();
    await client.close();

    await expect(client.reopen()).rejects.toThrow('was closed: connect anew');
  });

  test('that is closed while it is opened anew ends the new connection, too', async () => {
    let proceed: (() => void) | undefined;
    const { client, servers } = await connected({
      opening: (number) =>
        number === 1 ? undefined : new Promise((resolve) => (proceed = () => resolve(undefined))),
    });
    const reopening = errorOf(() => client.reopen());
    const closing = client.close();
    proceed?.();

    const [error] = await Promise.all([reopening, closing]);
    await settle();

    expect(error.message).toBe('the server was closed: connect anew');
    expect(servers.map(({ connection }) => connection.isOpen)).toEqual([false, false]);
  });

  test('that is closed while the server lets its opening wait does not wait with it', async () => {
    const { client, servers } = await connected({ later: { answer: () => true } });
    const reopening = errorOf(() => client.reopen());
    await settle();

    await client.close();

    expect((await reopening).message).toBe('the server was closed: connect anew');
    expect(servers.map(({ connection }) => connection.isOpen)).toEqual([false, false]);
  });

  test('that is closed takes its device with it', async () => {
    const { client, container } = await plugged(5);

    await client.close();
    await settle();

    expect(container.state).toMatchObject({ kind: 'host-lost' });
  });

  test('that is opened anew beneath a plugged device cuts it off, until it is released', async () => {
    const all = await plugged(5);

    await all.client.reopen();
    const { state } = all.container;
    await all.container.release();

    expect(state).toMatchObject({ kind: 'host-lost' });
    expect(all.server.mappings).toEqual(expected(all));
  });

  test('that is opened anew while it is being opened anew opens once', async () => {
    const { client, servers } = await connected();

    await Promise.all([client.reopen(), client.reopen()]);

    expect(servers.map(({ connection }) => connection.isOpen)).toEqual([false, true]);
  });
});

test('answers of a connection that is over change nothing in the next one', async () => {
  const all = await plugged(3, { later: {} });
  all.server.held = true;
  all.world.iommu.map(10, 1, LOW.start);
  const barrier = all.world.space.barrier();
  await settle();
  const [first] = all.servers;

  await all.client.reopen();
  first?.answerHeld();
  await barrier;
  await all.container.release();

  expect(all.container.state).toEqual({ kind: 'attached' });
  expect(all.server.ledger.size).toBe(4);
});

test('whatever a guest does, the server has its mappings after each barrier, and what it refused nowhere', async () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('map' as const),
        page: fc.nat(40),
        pages: fc.integer({ min: 1, max: 4 }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('unmap' as const),
        page: fc.nat(40),
        pages: fc.integer({ min: 1, max: 8 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('barrier' as const),
        page: fc.constant(0),
        pages: fc.constant(0),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constantFrom('kill' as const, 'switch' as const, 'release' as const, 'unplug' as const),
        page: fc.nat(3),
        pages: fc.constant(0),
      }),
    },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 1, max: 200 }),
      fc.integer({ min: 0, max: 400 }),
      async (steps, split, refuseAt) => {
        let operation = 0;
        const all = await prepared(5, {
          pair: { split },
          refuse: (_, op) => (op === 'map' && ++operation === refuseAt ? Errno.ENOMEM : 0),
        });
        const { world, container } = all;
        await container.attach().catch(() => {});
        for (const { do: what, page, pages } of steps) {
          if (what === 'map')
            world.iommu.map(page, pages, HIGH.start + page + 0x100, ((page % 3) + 1) as 1 | 2 | 3);
          else if (what === 'unmap') world.iommu.unmap(page, pages);
          else if (what === 'kill') all.server.connection.close('killed');
          else if (what === 'switch') world.translate(page % 2 === 0);
          else if (what === 'release') await container.release().catch(() => {});
          else if (what === 'unplug') {
            await container.detach();
            await container.attach().catch(() => {});
          } else await world.space.barrier();
        }
        await settle();
        await world.space.barrier();
        const cutOff = container.state.kind === 'quarantined' ? all.server.mappings : [];
        world.translate(true);
        await world.space.barrier();
        for (let i = 0; i < 3 && container.state.kind !== 'attached'; i++) {
          const step = container.state.kind === 'detached' ? container.attach() : container.release();
          await step.catch(() => {});
        }
        await world.space.barrier();

        expect(cutOff).toEqual([]);
        expect(container.state).toEqual({ kind: 'attached' });
        expect(all.server.mappings).toEqual(expected(all));
      },
    ),
    { numRuns: 150 },
  );
});
