import { Errno } from '../../../src/vfio-user/index.ts';
import { PAGES_END } from '../../../src/memory/index.ts';
import type { Map } from './rig.ts';

/** What a VMM does to its mappings; numbers are pages. */
export type Step =
  | ({ readonly op: 'map' } & Map)
  | { readonly op: 'unmap'; readonly iova: number; readonly pages: number }
  | { readonly op: 'unmap-above'; readonly iova: number }
  | { readonly op: 'unmap-all' };

/** VFIO type1, version 2, in the simplest words, but that the very same map may come again. */
export class ReferenceType1 {
  #mappings: Required<Map>[] = [];

  /** Mappings held. */
  get size(): number {
    return this.#mappings.length;
  }

  /** Carries a step out and returns its errno. `isFull`: there is no room for one more. */
  do(step: Step, isFull: boolean): number {
    if (step.op === 'map') return this.#map(step, isFull);
    const start = step.op === 'unmap-all' ? 0 : step.iova;
    const end = step.op === 'unmap' ? start + step.pages : PAGES_END;
    const touched = this.#mappings.filter(({ iova, pages }) => iova < end && start < iova + pages);
    if (touched.some(({ iova, pages }) => iova < start || iova + pages > end)) return Errno.EINVAL;
    this.#mappings = this.#mappings.filter((mapping) => !touched.includes(mapping));
    return 0;
  }

  /** Page by page, what each leads to. */
  pages(): [page: number, leadsTo: string][] {
    return this.#mappings
      .flatMap(({ iova, pages, offset, access, file }) =>
        Array.from({ length: pages }, (_, i): [number, string] => [
          iova + i,
          file === undefined ? `messages ${access}` : `file ${file} page ${offset + i} ${access}`,
        ]),
      )
      .toSorted(([a], [b]) => a - b);
  }

  /** First pages, ascending. */
  starts(): number[] {
    return this.#mappings.map(({ iova }) => iova).toSorted((a, b) => a - b);
  }

  #map({ iova, pages = 1, offset = 0, access = 3, file }: Map, isFull: boolean): number {
    const wanted = { iova, pages, offset, access, file };
    const over = this.#mappings.filter((held) => held.iova < iova + pages && iova < held.iova + held.pages);
    if (over.some((held) => JSON.stringify(held) === JSON.stringify(wanted))) return 0;
    if (over.length > 0) return Errno.EEXIST;
    if (isFull) return Errno.ENOSPC;
    this.#mappings.push(wanted as Required<Map>);
    return 0;
  }
}
