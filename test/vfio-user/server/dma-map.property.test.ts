import fc from 'fast-check';
import { assert, describe, expect, it } from 'vitest';
import { DenseRamBlock } from '../../../src/memory/index.ts';
import { Errno } from '../../../src/vfio-user/wire/index.ts';
import { openFakeDescriptors } from '../memory-channel.ts';
import { buildWorld, settle } from './world.ts';

const PAGES = 24;
/** No mapping reaches here. */
const NAIVE_END = PAGES + 8;
const FILES = ['a', 'b', 'c'] as const;
const FILE_PAGES = 8;
const MAX_MAPPINGS = 6;
const MAX_FILES = 2;

type Step =
  | {
      readonly does: 'map';
      readonly page: number;
      readonly pages: number;
      readonly offset: number;
      readonly file: string;
      readonly access: 'r' | 'w' | 'rw';
    }
  | { readonly does: 'unmap'; readonly page: number; readonly pages: number }
  | { readonly does: 'all' };

interface Held {
  readonly page: number;
  readonly pages: number;
  readonly text: string;
  readonly file: string;
}

/** What is mapped, page by page: each page knows its mapping. */
class NaiveTable {
  readonly pages: Map<number, Held> = new Map();
  readonly #isExact: boolean;

  constructor(isExact: boolean) {
    this.#isExact = isExact;
  }

  get mappings(): Held[] {
    return [...new Set(this.pages.values())].toSorted((a, b) => a.page - b.page);
  }

  get files(): Set<string> {
    return new Set(this.mappings.map(({ file }) => file).filter((file) => file !== 'none'));
  }

  map(step: Step & { does: 'map' }): number {
    const { page, pages, offset, file, access } = step;
    const held: Held = { page, pages, file, text: `${page}+${pages}>${file}@${offset} ${access}` };
    const covered = this.#within(page, pages);
    if (covered.size > 0) {
      if (!this.#isExact) return Errno.EEXIST;
      const [only] = covered;
      if (only.page !== page || only.pages !== pages) return Errno.EINVAL;
      const refused = this.#refuseFile(file, offset + pages);
      if (refused !== 0) return refused;
      return only.text === held.text ? 0 : Errno.EINVAL;
    }
    if (this.mappings.length >= MAX_MAPPINGS) return Errno.ENOSPC;
    const refused = this.#refuseFile(file, offset + pages);
    if (refused !== 0) return refused;
    for (let i = page; i < page + pages; i++) this.pages.set(i, held);
    return 0;
  }

  unmap(page: number, pages: number): number {
    const covered = [...this.#within(page, pages)];
    if (this.#isExact) {
      const isOne = covered.length === 1 && covered[0].page === page && covered[0].pages === pages;
      if (!isOne) return Errno.ENOENT;
    }
    const isCut = covered.some((held) => held.page < page || held.page + held.pages > page + pages);
    if (isCut) return Errno.EINVAL;
    for (let i = page; i < Math.min(page + pages, NAIVE_END); i++) this.pages.delete(i);
    return 0;
  }

  #refuseFile(file: string, end: number): number {
    if (file === 'none') return 0;
    // One that ends beyond its file could be of a file that has grown: only opening it tells.
    const isOpened = !this.files.has(file) || end > FILE_PAGES;
    if (isOpened && this.files.size >= MAX_FILES) return Errno.EMFILE;
    return end > FILE_PAGES ? Errno.EINVAL : 0;
  }

  #within(page: number, pages: number): Set<Held> {
    const found = new Set<Held>();
    for (let i = page; i < Math.min(page + pages, NAIVE_END); i++) {
      const held = this.pages.get(i);
      if (held !== undefined) found.add(held);
    }
    return found;
  }
}

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constant('map' as const),
      page: fc.nat(PAGES),
      pages: fc.integer({ min: 1, max: 4 }),
      offset: fc.nat(FILE_PAGES - 2),
      file: fc.constantFrom('none', ...FILES),
      access: fc.constantFrom('r' as const, 'w' as const, 'rw' as const),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      does: fc.constant('unmap' as const),
      page: fc.nat(PAGES),
      pages: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constantFrom(10, 2 ** 52 - PAGES)),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ does: 'all' as const }) },
);

describe.each([['contained'], ['exact']] as const)('maps and unmaps, %s', (unmap) => {
  it('give the answers and leave the mappings of a table kept page by page', async () => {
    let accepted = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30, size: 'max' }), async (steps) => {
        const world = buildWorld({}, { unmap, limits: { maxMappings: MAX_MAPPINGS, maxFiles: MAX_FILES } });
        const client = await world.client();
        const naive = new NaiveTable(unmap === 'exact');
        const descriptors = new Map(
          FILES.map((key) => [key as string, world.files.share(key, new DenseRamBlock(FILE_PAGES))]),
        );

        try {
          for (const one of steps) {
            let expected: number;
            let errno: number;
            if (one.does === 'map') {
              expected = naive.map(one);
              errno = await client.map(one.page, one.pages, descriptors.get(one.file), one);
            } else if (one.does === 'unmap') {
              expected = naive.unmap(one.page, one.pages);
              errno = await client.unmap(one.page, one.pages);
            } else {
              expected = 0;
              naive.pages.clear();
              errno = await client.unmapAll();
            }
            assert.strictEqual(errno, expected, JSON.stringify(one));
            if (errno === 0) accepted++;
            else refused++;
            assert.strictEqual(world.files.openFiles, naive.files.size);
          }
          const list = [...world.server.memory.mappings()].map(
            ({ iova, size, access }) => `${iova / 4096n}+${size / 4096n} ${['', 'r', 'w', 'rw'][access]}`,
          );
          expect(list).toEqual(
            naive.mappings.map(({ page, pages, text }) => `${page}+${pages} ${text.split(' ')[1]}`),
          );
          const places = [...world.server.memory.mappings()].map(
            ({ offset, shared }) => `${offset / 4096n} ${shared}`,
          );
          expect(places).toEqual(
            naive.mappings.map(({ text, file }) => `${/@(\d+)/.exec(text)?.[1]} ${file !== 'none'}`),
          );
        } finally {
          for (const descriptor of descriptors.values()) descriptor.release();
        }
        client.channel.close();
        await settle();
        assert.strictEqual(world.files.openFiles, 0);
        assert.strictEqual(openFakeDescriptors(), 0);
      }),
      { numRuns: 150 },
    );
    expect(accepted).toBeGreaterThan(300);
    expect(refused).toBeGreaterThan(300);
  });
});
