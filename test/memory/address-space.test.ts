import { describe, expect, it } from 'vitest';
import {
  AddressSpace,
  MemoryTopology,
  PageCursor,
  RamRegion,
  SparseRamBlock,
} from '../../src/memory/index.ts';
import { LoggingListener } from '../support/listeners.ts';
import { listenTo, ramOf, smallSpace } from '../support/small-space.ts';

describe('a commit', () => {
  it('tells of a section that appeared, and of no other', () => {
    const { root, space } = smallSpace();
    root.add(ramOf('a', 2), 10);
    const listener = listenTo(space);

    root.add(ramOf('b', 2), 20);

    expect(listener.log).toEqual(['+20-22 b@0', '.']);
  });

  it('tells of a section that is gone', () => {
    const { root, space } = smallSpace();
    const region = ramOf('a', 2);
    root.add(region, 10);
    const listener = listenTo(space);

    root.remove(region);

    expect(listener.log).toEqual(['-10-12 a@0', '.']);
  });

  it('tells of the pieces into which an overlay cuts a section', () => {
    const { root, space } = smallSpace();
    root.add(ramOf('a', 10), 10);
    const listener = listenTo(space);

    root.add(ramOf('b', 2), 14, 1);

    expect(listener.log).toEqual(['-10-20 a@0', '+10-14 a@0', '+14-16 b@0', '+16-20 a@6', '.']);
  });

  it('tells removals, descending, before additions, ascending', () => {
    const { topology, root, space } = smallSpace();
    const [a, b] = [ramOf('a', 2), ramOf('b', 2)];
    root.add(a, 10);
    root.add(b, 20);
    const listener = listenTo(space);

    topology.transaction(() => {
      root.remove(a);
      root.remove(b);
      root.add(ramOf('d', 2), 30);
      root.add(ramOf('c', 2), 0);
    });

    expect(listener.log).toEqual(['-20-22 b@0', '-10-12 a@0', '+0-2 c@0', '+30-32 d@0', '.']);
  });

  it('tells of a region that takes the place of another', () => {
    const { topology, root, space } = smallSpace();
    const old = ramOf('a', 2);
    root.add(old, 10);
    const listener = listenTo(space);

    topology.transaction(() => {
      root.remove(old);
      root.add(ramOf('a', 2), 10);
    });

    expect(listener.log).toEqual(['-10-12 a@0', '+10-12 a@0', '.']);
  });

  it('is silent when nothing that is seen changed', () => {
    const { root, space } = smallSpace();
    root.add(ramOf('a', 10), 10);
    const listener = listenTo(space);

    root.add(ramOf('hidden', 2), 14, -1);

    expect(listener.log).toEqual([]);
  });

  it('shows the new view to whoever asks from inside a callback', () => {
    const { root, space } = smallSpace();
    const listener = listenTo(space);
    const seen: boolean[] = [];
    listener.hook = () => seen.push(space.locate(10, new PageCursor()));

    root.add(ramOf('a', 2), 10);

    expect(seen).toEqual([true, true]);
  });
});

describe('a transaction', () => {
  it('commits once, when it ends', () => {
    const { topology, root, space } = smallSpace();
    const listener = listenTo(space);

    topology.transaction(() => {
      root.add(ramOf('a', 2), 10);
      root.add(ramOf('b', 2), 20);
      expect(listener.log).toEqual([]);
    });

    expect(listener.log).toEqual(['+10-12 a@0', '+20-22 b@0', '.']);
  });

  it('inside another one commits with that', () => {
    const { topology, root, space } = smallSpace();
    const listener = listenTo(space);

    topology.transaction(() => {
      topology.transaction(() => root.add(ramOf('a', 2), 10));
      expect(listener.log).toEqual([]);
    });

    expect(listener.log).toEqual(['+10-12 a@0', '.']);
  });

  it('says nothing of what was undone within it', () => {
    const { topology, root, space } = smallSpace();
    const region = ramOf('a', 2);
    root.add(region, 10);
    const listener = listenTo(space);

    topology.transaction(() => {
      region.setEnabled(false);
      region.setEnabled(true);
    });

    expect(listener.log).toEqual([]);
  });

  it('commits what was done before it threw', () => {
    const { topology, root, space } = smallSpace();
    const listener = listenTo(space);
    const change = (): void => {
      root.add(ramOf('a', 2), 10);
      throw new Error('half way');
    };

    expect(() => topology.transaction(change)).toThrow('half way');

    expect(listener.log).toEqual(['+10-12 a@0', '.']);
  });

  it('returns what the change returned', () => {
    expect(new MemoryTopology().transaction(() => 42)).toBe(42);
  });

  it('commits every address space that shows what changed', () => {
    const { topology, root, space } = smallSpace();
    const other = new AddressSpace('other', root, topology);
    const listeners = [listenTo(space), listenTo(other)];

    root.add(ramOf('a', 2), 10);

    expect(listeners.map(({ log }) => log)).toEqual([
      ['+10-12 a@0', '.'],
      ['+10-12 a@0', '.'],
    ]);
  });
});

describe('an address space', () => {
  it('finds ROM for whoever does not ask to write', () => {
    const { root, space } = smallSpace();
    root.add(new RamRegion('rom', new SparseRamBlock(1), { readonly: true }), 0);
    const cursor = new PageCursor();

    expect([space.locate(0, cursor), space.locate(0, cursor, true)]).toEqual([true, false]);
  });

  it('tells a removed listener nothing', () => {
    const { root, space } = smallSpace();
    const listener = listenTo(space);
    space.removeListener(listener);

    root.add(ramOf('a', 2), 10);

    expect(listener.log).toEqual([]);
  });

  it('is not disposed of while it has listeners', () => {
    const { space } = smallSpace();
    listenTo(space);

    expect(() => space.dispose()).toThrow(/space still has listeners/);
  });

  it('follows nothing once it is disposed of', () => {
    const { root, space } = smallSpace();
    space.dispose();

    root.add(ramOf('a', 2), 10);

    expect(space.view.sections).toEqual([]);
  });

  it('has a barrier that returns at once when no listener waits', () => {
    const { space } = smallSpace();
    listenTo(space);

    expect(space.barrier()).toBeUndefined();
  });

  it('has a barrier that waits for every listener', async () => {
    const { space } = smallSpace();
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
