import { describe, expect, it } from 'vitest';
import {
  AliasRegion,
  ContainerRegion,
  PAGES_END,
  type RegionDependent,
  RamRegion,
  SparseRamBlock,
} from '../../src/memory/index.ts';

const ram = (name: string, pages: number): RamRegion => new RamRegion(name, new SparseRamBlock(pages));

/** Counts what climbs up to it. */
class Witness implements RegionDependent {
  changes = 0;

  regionChanged(): void {
    this.changes++;
  }
}

describe('a region', () => {
  it('has the size of its RAM block', () => {
    expect(ram('a', 12).pages).toBe(12);
  });

  it('may be a whole 64-bit address space', () => {
    expect(new ContainerRegion('all', PAGES_END).pages).toBe(PAGES_END);
  });

  it.each([0, -1, 1.5, PAGES_END + 1, Number.NaN])('of %d pages is refused', (pages) => {
    expect(() => new ContainerRegion('odd', pages)).toThrow(RangeError);
  });

  it('tells who watches it when it is enabled or disabled', () => {
    const region = ram('a', 1);
    const witness = new Witness();
    region.addDependent(witness);

    region.setEnabled(false);
    region.setEnabled(true);

    expect(witness.changes).toBe(2);
  });

  it('says nothing when it is enabled already', () => {
    const region = ram('a', 1);
    const witness = new Witness();
    region.addDependent(witness);

    region.setEnabled(true);

    expect(witness.changes).toBe(0);
  });
});

describe('a container', () => {
  it('lists the subregion that hides the others first', () => {
    const container = new ContainerRegion('c', 100);
    const [low, first, second, high] = ['low', 'first', 'second', 'high'].map((name) => ram(name, 1));

    container.add(low, 0, -1);
    container.add(first, 0);
    container.add(high, 0, 7);
    container.add(second, 0);

    expect(container.children.map(({ region }) => region.name)).toEqual(['high', 'second', 'first', 'low']);
  });

  it('refuses a region that it holds already', () => {
    const container = new ContainerRegion('c', 100);
    const region = ram('a', 1);
    container.add(region, 0);

    expect(() => container.add(region, 5)).toThrow(/show it twice through an AliasRegion/);
  });

  it('refuses to remove what it does not hold', () => {
    expect(() => new ContainerRegion('c', 100).remove(ram('a', 1))).toThrow(/a is not in c/);
  });

  it.each([-1, 0.5, PAGES_END + 1])('refuses to place a region at page %d', (start) => {
    expect(() => new ContainerRegion('c', 100).add(ram('a', 1), start)).toThrow(RangeError);
  });

  it('holds nothing of a region that it refused', () => {
    const container = new ContainerRegion('c', 100);

    expect(() => container.add(ram('a', 1), -1)).toThrow(RangeError);

    expect(container.children).toEqual([]);
  });

  it('refuses itself', () => {
    const container = new ContainerRegion('c', 100);

    expect(() => container.add(container, 0)).toThrow(/c would contain itself/);
  });

  it('refuses a container that holds it', () => {
    const outer = new ContainerRegion('outer', 100);
    const inner = new ContainerRegion('inner', 100);
    outer.add(inner, 0);

    expect(() => inner.add(outer, 0)).toThrow(/inner would contain itself through outer/);
  });

  it('refuses an alias of a container that holds it', () => {
    const outer = new ContainerRegion('outer', 100);
    const inner = new ContainerRegion('inner', 100);
    outer.add(inner, 0);
    const alias = new AliasRegion('alias', new AliasRegion('deeper', outer, 0, 10), 0, 10);

    expect(() => inner.add(alias, 0)).toThrow(/inner would contain itself through alias/);
  });

  it('passes changes of what it holds on, however deep', () => {
    const outer = new ContainerRegion('outer', 100);
    const inner = new ContainerRegion('inner', 100);
    const witness = new Witness();
    outer.addDependent(witness);
    outer.add(inner, 0);
    witness.changes = 0;

    inner.add(ram('a', 1), 0);

    expect(witness.changes).toBe(1);
  });

  it('passes nothing on of a region that was taken out', () => {
    const container = new ContainerRegion('c', 100);
    const region = ram('a', 1);
    container.add(region, 0);
    container.remove(region);
    const witness = new Witness();
    container.addDependent(witness);

    region.setEnabled(false);

    expect(witness.changes).toBe(0);
  });
});

describe('an alias', () => {
  it('refuses to show more than its target has', () => {
    expect(() => new AliasRegion('alias', ram('a', 8), 4, 5)).toThrow(
      /alias alias shows .* of a, which is shorter/,
    );
  });

  it('passes changes of its target on', () => {
    const target = new ContainerRegion('target', 100);
    const alias = new AliasRegion('alias', target, 0, 10);
    const witness = new Witness();
    alias.addDependent(witness);

    target.add(ram('a', 1), 0);

    expect(witness.changes).toBe(1);
  });

  it('passes nothing on after it was disposed of', () => {
    const target = new ContainerRegion('target', 100);
    const alias = new AliasRegion('alias', target, 0, 10);
    const witness = new Witness();
    alias.addDependent(witness);
    alias.dispose();

    target.add(ram('a', 1), 0);

    expect(witness.changes).toBe(0);
  });
});
