import type { Mapping } from '../iommu/index.ts';
import { Access, type MemorySection, type RamRegion } from '../memory/index.ts';
import { formatSize } from './format-size.ts';
import type { Refusal } from './refusal.ts';
import type { MapperContext, SectionMapper } from './section-mapper.ts';

/** RAM or ROM that a device sees directly: one mapping, cut inward to whole pages of the host. */
export class RamSection implements SectionMapper {
  readonly #context: MapperContext;
  readonly #section: MemorySection;
  readonly #region: RamRegion;
  #mapped: Mapping | undefined;

  /** `region` is the section's. */
  constructor(context: MapperContext, section: MemorySection, region: RamRegion) {
    this.#context = context;
    this.#section = section;
    this.#region = region;
  }

  /** Whether any of it is mapped. */
  get mapped(): boolean {
    return this.#mapped !== undefined;
  }

  activate(): Refusal | undefined {
    const { queue, guard } = this.#context;
    const cut = this.#cut();
    if (cut === undefined) return undefined;
    const refusal = guard.check(cut.mapping, cut.page, queue.held);
    if (refusal !== undefined) return refusal;
    queue.map(cut.mapping, { block: this.#region.block, page: cut.page });
    this.#mapped = cut.mapping;
    return undefined;
  }

  deactivate(): void {
    const mapped = this.#mapped;
    if (mapped === undefined) return;
    this.#mapped = undefined;
    this.#context.queue.unmap(mapped.iova, mapped.pages);
  }

  forget(iova: number, pages: number): boolean {
    if (this.#mapped?.iova !== iova || this.#mapped.pages !== pages) return false;
    this.#mapped = undefined;
    return true;
  }

  renew(): Refusal | undefined {
    return this.#mapped === undefined ? this.activate() : undefined;
  }

  mappings(): Iterable<Mapping> {
    return this.#mapped === undefined ? [] : [this.#mapped];
  }

  find(page: number): Mapping | undefined {
    const mapped = this.#mapped;
    return mapped !== undefined && mapped.iova <= page && page < mapped.iova + mapped.pages
      ? mapped
      : undefined;
  }

  /** The part that whole host pages can hold, and its first page in the block; what they cannot is reported. */
  #cut(): { readonly mapping: Mapping; readonly page: number } | undefined {
    const { start, end, offset } = this.#section;
    const { granule } = this.#context.guard;
    const from = Math.ceil(start / granule) * granule;
    const to = Math.floor(end / granule) * granule;
    const page = from - start + offset;
    if (from >= to) {
      this.#report(start, end, 'it holds no whole page of the host');
      return undefined;
    }
    if (page % granule !== 0) {
      this.#report(start, end, 'its place and its memory are aligned differently');
      return undefined;
    }
    if (start < from) this.#report(start, from, 'it does not begin at a page of the host');
    if (to < end) this.#report(to, end, 'it does not end at a page of the host');
    const access = this.#region.readonly ? Access.Read : Access.ReadWrite;
    return { mapping: { iova: from, pages: to - from, target: from, access }, page };
  }

  #report(start: number, end: number, why: string): void {
    const size = formatSize(this.#context.guard.granule);
    this.#context.reporter.notMapped(
      { start, end },
      this.#region.name,
      `for ${why}: place RAM at multiples of ${size}, or use a host with smaller pages`,
    );
  }
}
