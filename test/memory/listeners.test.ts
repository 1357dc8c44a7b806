import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressSpace } from '../../src/memory/index.ts';
import { describeSection, LoggingListener } from '../support/listeners.ts';
import { listenTo, ramOf, smallSpace } from '../support/small-space.ts';

describe('a listener that registers', () => {
  it('is told of every section that exists, ascending', () => {
    const { root, space } = smallSpace();
    root.add(ramOf('b', 2), 20);
    root.add(ramOf('a', 2), 10);
    const listener = new LoggingListener();

    space.addListener(listener);

    expect(listener.log).toEqual(['+10-12 a@0', '+20-22 b@0', '.']);
  });

  it('is refused a second time', () => {
    const { space } = smallSpace();
    const listener = listenTo(space);

    expect(() => space.addListener(listener)).toThrow(/registered with space already/);
  });

  it('is not registered when it throws', () => {
    const { root, space } = smallSpace();
    root.add(ramOf('a', 2), 0);
    const listener = new LoggingListener();
    listener.hook = () => {
      throw new Error('no room');
    };

    expect(() => space.addListener(listener)).toThrow('no room');
    listener.take();
    root.add(ramOf('b', 2), 20);

    expect(listener.log).toEqual([]);
  });

  it('hears of what it changes meanwhile after it has heard of the rest', () => {
    const { root, space } = smallSpace();
    const late = ramOf('late', 2);
    root.add(ramOf('a', 2), 10);
    root.add(late, 20);
    const listener = new LoggingListener();
    listener.hook = (line) => {
      if (line === '+10-12 a@0') root.remove(late);
    };

    space.addListener(listener);

    expect(listener.log).toEqual(['+10-12 a@0', '+20-22 late@0', '.', '-20-22 late@0', '.']);
  });

  it('within a transaction hears of the view before it, then of the difference', () => {
    const { topology, root, space } = smallSpace();
    root.add(ramOf('a', 2), 10);
    const listener = new LoggingListener();

    topology.transaction(() => {
      root.add(ramOf('b', 2), 20);
      space.addListener(listener);
    });

    expect(listener.log).toEqual(['+10-12 a@0', '.', '+20-22 b@0', '.']);
  });

  it('and takes itself out meanwhile hears nothing more', () => {
    const { root, space } = smallSpace();
    root.add(ramOf('a', 2), 10);
    root.add(ramOf('b', 2), 20);
    const listener = new LoggingListener();
    listener.hook = () => space.removeListener(listener);

    space.addListener(listener);

    expect(listener.log).toEqual(['+10-12 a@0']);
  });
});

describe('a listener that changes the tree', () => {
  it('hears of it after the commit under way', () => {
    const { root, space } = smallSpace();
    const listener = listenTo(space);
    listener.hook = (line) => {
      if (line === '+10-12 a@0') root.add(ramOf('c', 2), 0);
    };

    root.add(ramOf('a', 2), 10);

    expect(listener.log).toEqual(['+10-12 a@0', '.', '+0-2 c@0', '.']);
  });

  it('lets the other listeners hear of both commits in order', () => {
    const { root, space } = smallSpace();
    const first = listenTo(space);
    const second = listenTo(space);
    first.hook = (line) => {
      if (line === '+10-12 a@0') root.add(ramOf('c', 2), 0);
    };

    root.add(ramOf('a', 2), 10);

    expect(second.log).toEqual(['+10-12 a@0', '.', '+0-2 c@0', '.']);
  });

  it('removes another listener, which hears nothing more', () => {
    const { root, space } = smallSpace();
    const first = listenTo(space);
    const second = listenTo(space);
    first.hook = () => space.removeListener(second);

    root.add(ramOf('a', 2), 10);

    expect(second.log).toEqual([]);
  });

  it('adds another listener, which hears of everything once', () => {
    const { root, space } = smallSpace();
    const first = listenTo(space);
    const second = new LoggingListener();
    first.hook = () => {
      first.hook = undefined;
      space.addListener(second);
    };

    root.add(ramOf('a', 2), 10);

    expect(second.log).toEqual(['+10-12 a@0', '.']);
  });

  it('leaves and comes back and hears of everything once', () => {
    const { root, space } = smallSpace();
    const listener = listenTo(space);
    listener.hook = () => {
      listener.hook = undefined;
      listener.take();
      space.removeListener(listener);
      space.addListener(listener);
    };

    root.add(ramOf('a', 2), 10);

    expect(listener.log).toEqual(['+10-12 a@0', '.']);
  });
});

const failing = (space: AddressSpace, message: string): void => {
  listenTo(space).hook = (line) => {
    if (line !== '.') throw new Error(message);
  };
};

describe('a listener that throws', () => {
  it('does not keep the others from hearing', () => {
    const { root, space } = smallSpace();
    failing(space, 'broken');
    const listener = listenTo(space);

    expect(() => root.add(ramOf('a', 2), 10)).toThrow('broken');

    expect(listener.log).toEqual(['+10-12 a@0', '.']);
  });

  it('does not keep other address spaces from committing', () => {
    const { topology, root, space } = smallSpace();
    failing(space, 'broken');
    const listener = listenTo(new AddressSpace('other', root, topology));

    expect(() => root.add(ramOf('a', 2), 10)).toThrow('broken');

    expect(listener.log).toEqual(['+10-12 a@0', '.']);
  });

  it('is reported with the others that threw', () => {
    const { root, space } = smallSpace();
    failing(space, 'one');
    failing(space, 'two');
    let thrown: unknown;

    try {
      root.add(ramOf('a', 2), 10);
    } catch (error) {
      thrown = error;
    }

    expect((thrown as AggregateError).errors.map(String)).toEqual(['Error: one', 'Error: two']);
  });

  it('leaves the view as it should be', () => {
    const { root, space } = smallSpace();
    failing(space, 'broken');

    expect(() => root.add(ramOf('a', 2), 10)).toThrow('broken');

    expect(space.view.find(10)?.region.name).toBe('a');
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
        const { topology, root, space } = smallSpace();
        const regions = [3, 7, 15, 30, 8, 8].map((pages, i) => ramOf(`r${i}`, pages));
        const listener = listenTo(space);
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
