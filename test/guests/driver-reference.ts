import type { GuestDomain } from '../../src/guests/driver/domain.ts';
import { GuestDriverError } from '../../src/guests/driver/error.ts';
import type { GuestDriver } from '../../src/guests/driver/guest-driver.ts';
import type { Access } from '../../src/memory/index.ts';
import { done, leafText } from './driver-leaves.ts';

interface Leaf {
  readonly pages: number;
  readonly target: number;
  readonly access: Access;
}

/** What the tables should hold, kept without tables: leaves by IOVA. */
export class Reference {
  readonly leaves: Map<number, Leaf> = new Map();
  readonly #sizes: readonly number[];

  /** `sizes` are those of the leaves that a driver chooses from, descending. */
  constructor(sizes: readonly number[]) {
    this.#sizes = sizes;
  }

  overlapping(iova: number, pages: number): [number, Leaf][] {
    return [...this.leaves].filter(([at, leaf]) => at < iova + pages && at + leaf.pages > iova);
  }

  /** The code of the refusal to expect, or undefined once it is done. */
  map(iova: number, pages: number, target: number, access: Access, leafPages?: number): string | undefined {
    if (this.overlapping(iova, pages).length > 0) return 'mapped';
    for (let at = 0; at < pages; ) {
      const fits = (size: number): boolean =>
        (iova + at) % size === 0 && (target + at) % size === 0 && at + size <= pages;
      const size = leafPages ?? this.#sizes.find(fits) ?? 1;
      this.leaves.set(iova + at, { pages: size, target: target + at, access });
      at += size;
    }
    return undefined;
  }

  unmap(iova: number, pages: number): string | undefined {
    const found = this.overlapping(iova, pages);
    if (found.some(([at, leaf]) => at < iova || at + leaf.pages > iova + pages)) return 'bisects';
    for (const [at] of found) this.leaves.delete(at);
    return undefined;
  }

  remap(iova: number, pages: number, access: Access): string | undefined {
    const found = this.overlapping(iova, pages);
    if (found.some(([at, leaf]) => at < iova || at + leaf.pages > iova + pages)) return 'bisects';
    if (found.reduce((sum, [, leaf]) => sum + leaf.pages, 0) !== pages) return 'not-mapped';
    for (const [at, leaf] of found) this.leaves.set(at, { ...leaf, access });
    return undefined;
  }

  get texts(): string[] {
    const ascending = [...this.leaves].sort(([a], [b]) => a - b);
    return ascending.map(([iova, { pages, target, access }]) => leafText(iova, pages, target, access));
  }
}

/** Something that a guest does with a domain. */
export type Step =
  | {
      readonly op: 'map';
      iova: number;
      pages: number;
      target: number;
      access: Access;
      leafPages?: number;
      skipLevels?: boolean;
    }
  | { readonly op: 'unmap'; iova: number; pages: number }
  | { readonly op: 'remap'; iova: number; pages: number; access: Access };

/** Takes a step; the code of the refusal, or undefined. */
export function apply(driver: GuestDriver, domain: GuestDomain, step: Step): string | undefined {
  try {
    if (step.op === 'map') {
      const { iova, pages, target, access, leafPages, skipLevels = false } = step;
      const options = leafPages === undefined ? { skipLevels } : { leafPages, skipLevels };
      done(driver.map(domain, iova, pages, target, access, options));
    } else if (step.op === 'remap') {
      done(driver.remap(domain, step.iova, step.pages, step.access));
    } else {
      done(driver.unmap(domain, step.iova, step.pages));
    }
    return undefined;
  } catch (error) {
    if (error instanceof GuestDriverError) return error.code;
    throw error;
  }
}

/** What the reference says of the same step, which it takes too. */
export function expected(reference: Reference, step: Step): string | undefined {
  if (step.op === 'map')
    return reference.map(step.iova, step.pages, step.target, step.access, step.leafPages);
  if (step.op === 'remap') return reference.remap(step.iova, step.pages, step.access);
  return reference.unmap(step.iova, step.pages);
}
