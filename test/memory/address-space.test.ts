import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AddressSpace,
  ContainerRegion,
  MemoryTopology,
  PageCursor,
  RamRegion,
  SparseRamBlock,
} from '../../src/memory/index.ts';
import { describeSection, LoggingListener } from '../support/listeners.ts';

interface World {
  readonly topology: MemoryTopology;
  readonly root: ContainerRegion;
  readonly space: AddressSpace;
}

function world(): World {
  const topology = new MemoryTopology();
  const root = new ContainerRegion('root', 100);
  return { topology, root, space: new AddressSpace('space', root, topology) };
}

const ram = (name: string, pages: number): RamRegion => new RamRegion(name, new SparseRamBlock(pages));

function listen(space: AddressSpace): LoggingListener {
  const listener = new LoggingListener();
  space.addListener(listener);
  listener.take();
  return listener;
}

describe('a listener that registers', () => {
  it('is told of every section that exists, ascending', () => {
    const { root, space } = world();
    root.add(ram('b', 2), 20);
    root.add(ram('a', 2), 10);
    const listener = new LoggingListener();

    space.addListener(listener);

    expect(listener.log).toEqual(['+10-12 a@0', '+20-22 b@0', '.']);
  });

  it('is refused a second time', () => {
    const { space } = world();
    const listener = listen(space);

    expect(() => space.addListener(listener)).toThrow(/registered with space already/);
  });

  it('is not registered when it throws', () => {
    const { root, space } = world();
    root.add(ram('a', 2), 0);
    const listener = new LoggingListener();
    listener.hook = () => {
      throw new Error('no room');
    };

    expect(() => space.addListener(listener)).toThrow('no room');
    listener.take();
    root.add(ram('b', 2), 20);

    expect(listener.log).toEqual([]);
  });

  it('hears of what it changes meanwhile after it has heard of the rest', () => {
    const { root, space } = world();
    const late = ram('late', 2);
    root.add(ram('a', 2), 10);
    root.add(late, 20);
    const listener = new LoggingListener();
    listener.hook = (line) => {
      if (line === '+10-12 a@0') root.remove(late);
    };

    space.addListener(listener);

    expect(listener.log).toEqual(['+10-12 a@0', '+20-22 late@0', '.', '-20-22 late@0', '.']);
  });

  it('within a transaction hears of the view before it, then of the difference', () => {
    const { topology, root, space } = world();
    root.add(ram('a', 2), 10);
    const listener = new LoggingListener();

    topology.transaction(() => {
      root.add(ram('b', 2), 20);
      space.addListener(listener);
    });

    expect(listener.log).toEqual(['+10-12 a@0', '.', '+20-22 b@0', '.']);
  });

  it('and takes itself out meanwhile hears nothing more', () => {
    const { root, space } = world();
    root.add(ram('a', 2), 10);
    root.add(ram('b', 2), 20);
    const listener = new LoggingListener();
    listener.hook = () => space.removeListener(listener);

    space.addListener(listener);

    expect(listener.log).toEqual(['+10-12 a@0']);
  });
});

describe('a commit', () => {
  it('tells of a section that appeared, and of no other', () => {
    const { root, space } = world();
    root.add(ram('a', 2), 10);
    const listener = listen(space);

    root.add(ram('b', 2), 20);

    expect(listener.log).toEqual(['+20-22 b@0', '.']);
  });

  it('tells of a section that is gone', () => {
    const { root, space } = world();
    const region = ram('a', 2);
    root.add(region, 10);
    const listener = listen(space);

    root.remove(region);

    expect(listener.log).toEqual(['-10-12 a@0', '.']);
  });

  it('tells of the pieces into which an overlay cuts a section', () => {
    const { root, space } = world();
    root.add(ram('a', 10), 10);
    const listener = listen(space);

    root.add(ram('b', 2), 14, 1);

    expect(listener.log).toEqual(['-10-20 a@0', '+10-14 a@0', '+14-16 b@0', '+16-20 a@6', '.']);
  });

  it('tells removals, descending, before additions, ascending', () => {
    const { topology, root, space } = world();
    const [a, b] = [ram('a', 2), ram('b', 2)];
    root.add(a, 10);
    root.add(b, 20);
    const listener = listen(space);

    topology.transaction(() => {
      root.remove(a);
      root.remove(b);
      root.add(ram('d', 2), 30);
      root.add(ram('c', 2), 0);
    });

    expect(listener.log).toEqual(['-20-22 b@0', '-10-12 a@0', '+0-2 c@0', '+30-32 d@0', '.']);
  });

  it('tells of a region that takes the place of another', () => {
    const { topology, root, space } = world();
    const old = ram('a', 2);
    root.add(old, 10);
    const listener = listen(space);

    topology.transaction(() => {
      root.remove(old);
      root.add(ram('a', 2), 10);
    });

    expect(listener.log).toEqual(['-10-12 a@0', '+10-12 a@0', '.']);
  });

  it('is silent when nothing that is seen changed', () => {
    const { root, space } = world();
    root.add(ram('a', 10), 10);
    const listener = listen(space);

    root.add(ram('hidden', 2), 14, -1);

    expect(listener.log).toEqual([]);
  });

  it('shows the new view to whoever asks from inside a callback', () => {
    const { root, space } = world();
    const listener = listen(space);
    const seen: boolean[] = [];
    listener.hook = () => seen.push(space.locate(10, new PageCursor()));

    root.add(ram('a', 2), 10);

    expect(seen).toEqual([true, true]);
  });
});

describe('a transaction', () => {
  it('commits once, when it ends', () => {
    const { topology, root, space } = world();
    const listener = listen(space);

    topology.transaction(() => {
      root.add(ram('a', 2), 10);
      root.add(ram('b', 2), 20);
      expect(listener.log).toEqual([]);
    });

    expect(listener.log).toEqual(['+10-12 a@0', '+20-22 b@0', '.']);
  });

  it('inside another one commits with that', () => {
    const { topology, root, space } = world();
    const listener = listen(space);

    topology.transaction(() => {
      topology.transaction(() => root.add(ram('a', 2), 10));
      expect(listener.log).toEqual([]);
    });

    expect(listener.log).toEqual(['+10-12 a@0', '.']);
  });

  it('says nothing of what was undone within it', () => {
    const { topology, root, space } = world();
    const region = ram('a', 2);
    root.add(region, 10);
    const listener = listen(space);

    topology.transaction(() => {
      region.setEnabled(false);
      region.setEnabled(true);
    });

    expect(listener.log).toEqual([]);
  });

  it('commits what was done before it threw', () => {
    const { topology, root, space } = world();
    const listener = listen(space);
    const change = (): void => {
      root.add(ram('a', 2), 10);
      throw new Error('half way');
    };

    expect(() => topology.transaction(change)).toThrow('half way');

    expect(listener.log).toEqual(['+10-12 a@0', '.']);
  });

  it('returns what the change returned', () => {
    expect(new MemoryTopology().transaction(() => 42)).toBe(42);
  });

  it('commits every address space that shows what changed', () => {
    const { topology, root, space } = world();
    const other = new AddressSpace('other', root, topology);
    const listeners = [listen(space), listen(other)];

    root.add(ram('a', 2), 10);

    expect(listeners.map(({ log }) => log)).toEqual([
      ['+10-12 a@0', '.'],
      ['+10-12 a@0', '.'],
    ]);
  });
});

describe('a listener that changes the tree', () => {
  it('hears of it after the commit under way', () => {
    const { root, space } = world();
    const listener = listen(space);
    listener.hook = (line) => {
      if (line === '+10-12 a@0') root.add(ram('c', 2), 0);
    };

    root.add(ram('a', 2), 10);

    expect(listener.log).toEqual(['+10-12 a@0', '.', '+0-2 c@0', '.']);
  });

  it('lets the other listeners hear of both commits in order', () => {
    const { root, space } = world();
    const first = listen(space);
    const second = listen(space);
    first.hook = (line) => {
      if (line === '+10-12 a@0') root.add(ram('c', 2), 0);
    };

    root.add(ram('a', 2), 10);

    expect(second.log).toEqual(['+10-12 a@0', '.', '+0-2 c@0', '.']);
  });

  it('removes another listener, which hears nothing more', () => {
    const { root, space } = world();
    const first = listen(space);
    const second = listen(space);
    first.hook = () => space.removeListener(second);

    root.add(ram('a', 2), 10);

    expect(second.log).toEqual([]);
  });

  it('adds another listener, which hears of everything once', () => {
    const { root, space } = world();
    const first = listen(space);
    const second = new LoggingListener();
    first.hook = () => {
      first.hook = undefined;
      space.addListener(second);
    };

    root.add(ram('a', 2), 10);

    expect(second.log).toEqual(['+10-12 a@0', '.']);
  });

  it('leaves and comes back and hears of everything once', () => {
    const { root, space } = world();
    const listener = listen(space);
    listener.hook = () => {
      listener.hook = undefined;
      listener.take();
      space.removeListener(listener);
      space.addListener(listener);
    };

    root.add(ram('a', 2), 10);

    expect(listener.log).toEqual(['+10-12 a@0', '.']);
  });
});

describe('a listener that throws', () => {
  const failing = (space: AddressSpace, message: string): void => {
    listen(space).hook = (line) => {
      if (line !== '.') throw new Error(message);
    };
  };

  it('does not keep the others from hearing', () => {
    const { root, space } = world();
    failing(space, 'broken');
    const listener = listen(space);

    expect(() => root.add(ram('a', 2), 10)).toThrow('broken');

    expect(listener.log).toEqual(['+10-12 a@0', '.']);
  });

  it('does not keep other address spaces from committing', () => {
    const { topology, root, space } = world();
    failing(space, 'broken');
    const listener = listen(new AddressSpace('other', root, topology));

    expect(() => root.add(ram('a', 2), 10)).toThrow('broken');

    expect(listener.log).toEqual(['+10-12 a@0', '.']);
  });

  it('is reported with the others that threw', () => {
    const { root, space } = world();
    failing(space, 'one');
    failing(space, 'two');
    let thrown: unknown;

    try {
      root.add(ram('a', 2), 10);
    } catch (error) {
      thrown = error;
    }

    expect((thrown as AggregateError).errors.map(String)).toEqual(['Error: one', 'Error: two']);
  });

  it('leaves the view as it should be', () => {
    const { root, space } = world();
    failing(space, 'broken');

    expect(() => root.add(ram('a', 2), 10)).toThrow('broken');

    expect(space.view.find(10)?.region.name).toBe('a');
  });
});

describe('an address space', () => {
  it('tells a removed listener nothing', () => {
    const { root, space } = world();
    const listener = listen(space);
    space.removeListener(listener);

    root.add(ram('a', 2), 10);

    expect(listener.log).toEqual([]);
  });

  it('is not disposed of while it has listeners', () => {
    const { space } = world();
    listen(space);

    expect(() => space.dispose()).toThrow(/space still has listeners/);
  });

  it('follows nothing once it is disposed of', () => {
    const { root, space } = world();
    space.dispose();

    root.add(ram('a', 2), 10);

    expect(space.view.sections).toEqual([]);
  });

  it('has a barrier that returns at once when no listener waits', () => {
    const { space } = world();
    listen(space);

    expect(space.barrier()).toBeUndefined();
  });

  it('has a barrier that waits for every listener', async () => {
    const { space } = world();
    const done: string[] = [];
    const waiting = (name: string): void => {
      const barrier = (): Promise<void> => Promise.resolve().then(() => void done.push(name));
      space.addListener(Object.assign(new LoggingListener(), { barrier }));
    };
    waiting('one');
    waiting('two');

    await space.barrier();

    expect(done).toEqual(['one', 'two']);
  });
});

describe('a listener over any changes', () => {
  const place = fc.record({ region: fc.nat(5), start: fc.nat(90), priority: fc.nat(2) });
  const change = fc.oneof(
    place.map((at) => ({ does: 'place' as const, ...at })),
    fc.nat(5).map((region) => ({ does: 'remove' as const, region })),
    fc.nat(5).map((region) => ({ does: 'toggle' as const, region })),
  );

  it('knows exactly the view after each commit and heard of no section that stayed', () => {
    fc.assert(
      fc.property(fc.array(fc.array(change, { maxLength: 4 }), { maxLength: 12 }), (transactions) => {
        const { topology, root, space } = world();
        const regions = [3, 7, 15, 30, 8, 8].map((pages, i) => ram(`r${i}`, pages));
        const listener = listen(space);
        let known: string[] = [];
        for (const changes of transactions) {
          topology.transaction(() => {
            for (const step of changes) {
              const region = regions[step.region];
              const isPlaced = root.children.some((child) => child.region === region);
              if (step.does === 'toggle') region.setEnabled(!region.enabled);
              else if (isPlaced) root.remove(region);
              else if (step.does === 'place') root.add(region, step.start, step.priority);
            }
          });
          const now = space.view.sections.map(describeSection);
          const removed = known.filter((line) => !now.includes(line)).map((line) => `-${line}`);
          const added = now.filter((line) => !known.includes(line)).map((line) => `+${line}`);
          const isSilent = removed.length + added.length === 0;
          expect(listener.take()).toEqual(isSilent ? [] : [...removed.reverse(), ...added, '.']);
          known = now;
        }
      }),
      { numRuns: 300 },
    );
  });
});
