import { IommuRegion } from '../iommu/index.ts';
import { type MemorySection, RamRegion, TranslatingRegion } from '../memory/index.ts';
import { IommuSection } from './iommu-section.ts';
import { RamSection } from './ram-section.ts';
import type { MapperContext, SectionMapper } from './section-mapper.ts';

/** The sections of an address space that a host can hold, each with what mirrors it. */
export class ContainerSections {
  readonly #context: MapperContext;
  /** By first page. */
  readonly #mappers: Map<number, SectionMapper> = new Map();

  /** `context` is what the mappers share. */
  constructor(context: MapperContext) {
    this.#context = context;
  }

  /** What will mirror `section`; undefined when no host can hold it. */
  add(section: MemorySection): SectionMapper | undefined {
    const mapper = this.#mapperOf(section);
    if (mapper !== undefined) this.#mappers.set(section.start, mapper);
    return mapper;
  }

  /** What mirrored `section`, and does no more. */
  remove(section: MemorySection): SectionMapper | undefined {
    const mapper = this.#mappers.get(section.start);
    this.#mappers.delete(section.start);
    return mapper;
  }

  clear(): void {
    this.#mappers.clear();
  }

  has(mapper: SectionMapper): boolean {
    for (const each of this.#mappers.values()) if (each === mapper) return true;
    return false;
  }

  /** The one that holds a mapping which covers `page` of the address space. */
  holding(page: number): SectionMapper | undefined {
    for (const mapper of this.#mappers.values()) if (mapper.find(page) !== undefined) return mapper;
    return undefined;
  }

  /** All, by first page. */
  ascending(): readonly SectionMapper[] {
    return [...this.#mappers].sort(([a], [b]) => a - b).map(([, mapper]) => mapper);
  }

  #mapperOf(section: MemorySection): SectionMapper | undefined {
    const { region } = section;
    if (region instanceof RamRegion) return new RamSection(this.#context, section, region);
    if (region instanceof IommuRegion) return new IommuSection(this.#context, section, region);
    if (region instanceof TranslatingRegion) {
      this.#context.reporter.notMapped(
        section,
        region.name,
        'for it tells nobody of its mappings: use an IommuRegion',
      );
    }
    return undefined;
  }
}
