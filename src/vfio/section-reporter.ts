import type { Mapping } from '../iommu/index.ts';
import {
  formatPage,
  formatRange,
  type ObservedEvent,
  type Observer,
  type PageRange,
} from '../memory/index.ts';
import { formatSize } from './format-size.ts';

/** Mappings without RAM behind them that are reported one by one; a guest can make any number of them. */
const NOT_RAM_SINGLY = 8;

/** Tells an observer what a container does not map, and why. */
export class SectionReporter {
  readonly #source: string;
  readonly #observer: Observer | undefined;
  #notRam = 0;

  constructor(source: string, observer: Observer | undefined) {
    this.#source = source;
    this.#observer = observer;
  }

  /** Mappings without RAM behind them that were met so far. */
  get notRamCount(): number {
    return this.#notRam;
  }

  observe(event: Omit<ObservedEvent, 'source'>): void {
    this.#observer?.observe({ ...event, source: this.#source });
  }

  /** Pages of the address space that stay unmapped; `why` completes "not mapped, ...". */
  notMapped(range: PageRange, region: string, why: string): void {
    this.observe({
      kind: 'not-mapped',
      message: `${formatRange(range)} of ${region} is not mapped, ${why}`,
      details: { iova: formatPage(range.start), pages: range.end - range.start, region },
    });
  }

  /** A mapping whose target is no RAM. The first few are told, then that there are more, then no more. */
  notRam(mapping: Mapping): void {
    this.#notRam++;
    if (this.#notRam > NOT_RAM_SINGLY + 1) return;
    const { iova, pages, target } = mapping;
    const where = `IOVA ${formatPage(iova)}, ${formatSize(pages)}, leads to ${formatPage(target)}, where there is no RAM`;
    this.observe({
      kind: 'not-ram',
      message:
        this.#notRam <= NOT_RAM_SINGLY
          ? `${where}: it is not mapped`
          : `${where}: it is not mapped, and further ones are only counted`,
      details: { iova: formatPage(iova), pages, target: formatPage(target), count: this.#notRam },
    });
  }
}
