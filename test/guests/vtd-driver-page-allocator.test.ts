import { describe, expect, it } from 'vitest';
import { PageAllocator, PageAllocatorError } from '../../src/guests/page-allocator.ts';

describe('a page allocator', () => {
  it('hands out pages from the top of RAM down', () => {
    const allocator = new PageAllocator([
      { start: 0, end: 4 },
      { start: 10, end: 12 },
    ]);

    expect(take(allocator, 4)).toEqual([11, 10, 3, 2]);
  });

  it('leaves out used pages, however they are listed', () => {
    const used = [
      { start: 8, end: 100 },
      { start: 2, end: 4 },
      { start: 3, end: 5 },
      { start: 6, end: 6 },
    ];
    const allocator = new PageAllocator(
      [
        { start: 6, end: 10 },
        { start: 0, end: 5 },
      ],
      used,
    );

    expect(take(allocator, 4)).toEqual([7, 6, 1, 0]);
    expect(allocator.available).toBe(0);
  });

  it('leaves out a used range that spans several ranges of RAM', () => {
    const allocator = new PageAllocator(
      [
        { start: 0, end: 4 },
        { start: 6, end: 9 },
      ],
      [{ start: 2, end: 8 }],
    );

    expect(take(allocator, 3)).toEqual([8, 1, 0]);
  });

  it('says that memory is out, and how much of it there is for a shorter run', () => {
    const allocator = new PageAllocator([
      { start: 0, end: 2 },
      { start: 3, end: 4 },
    ]);

    expect(codeOf(() => allocator.allocate(3))).toBe('out-of-memory');
    expect(() => allocator.allocate(3)).toThrow('3 pages are free');
    expect(allocator.allocate(2)).toBe(0);
    expect(allocator.allocate()).toBe(3);
    expect(codeOf(() => allocator.allocate())).toBe('out-of-memory');
  });

  it('hands a page that came back out again first', () => {
    const allocator = new PageAllocator([{ start: 0, end: 4 }]);
    const [top = 0] = take(allocator, 2);

    allocator.free(top);

    expect(allocator.available).toBe(3);
    expect(take(allocator, 2)).toEqual([3, 1]);
  });

  it('takes back a page that somebody else used', () => {
    const allocator = new PageAllocator([{ start: 0, end: 4 }], [{ start: 0, end: 4 }]);

    allocator.free(2);

    expect(allocator.allocate()).toBe(2);
  });

  it.each([
    ['that was never taken', 0],
    ['that came back already', 3],
    ['that is no RAM', 9],
  ])('does not take back a page %s', (_why, page) => {
    const allocator = new PageAllocator([{ start: 0, end: 4 }]);
    allocator.free(allocator.allocate());

    expect(codeOf(() => allocator.free(page))).toBe('not-in-use');
  });

  it('never hands out what was reserved, be it fresh or returned', () => {
    const allocator = new PageAllocator([{ start: 0, end: 5 }]);
    allocator.free(allocator.allocate());

    allocator.reserve({ start: 2, end: 9 });

    expect(take(allocator, 2)).toEqual([1, 0]);
    expect(allocator.available).toBe(0);
  });
});

function take(allocator: PageAllocator, count: number): number[] {
  return Array.from({ length: count }, () => allocator.allocate());
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof PageAllocatorError) return error.code;
    throw error;
  }
  throw new Error('expected a PageAllocatorError, but nothing was thrown');
}
