/** What follows a requester's space as a VFIO container does, strict about what it is told. @module */
import type { IommuEvent } from '../../../src/iommu/index.ts';
import type { MemoryListener, MemorySection, PageRange } from '../../../src/memory/index.ts';
import { type AmdviIommu, AmdviRegion } from '../../../src/models/amdvi/index.ts';
import { StrictSink } from '../../support/strict-sink.ts';
import { leafText } from './observe.ts';

export class FollowingHost implements MemoryListener {
  readonly #iommu: AmdviIommu;
  /** By first page of the section. */
  readonly #sinks: Map<number, StrictSink> = new Map();
  /** Everything the sinks were told, oldest first, and sections of RAM that came and went. */
  readonly log: string[] = [];
  readonly violations: string[] = [];
  /** Why regions could not be followed. */
  readonly refused: Error[] = [];
  /** `start-end` of RAM that the requester sees directly, in hexadecimal. */
  readonly direct: Set<string> = new Set();
  #held: (() => void)[] | undefined;

  constructor(iommu: AmdviIommu, requester: number) {
    this.#iommu = iommu;
    iommu.addressSpace(requester).addListener(this);
  }

  sectionAdded({ region, start, end, offset }: MemorySection): void {
    if (!(region instanceof AmdviRegion)) {
      if (region.name !== 'ram0') return;
      this.direct.add(sectionText(start, end));
      this.log.push(`ram ${sectionText(start, end)}`);
      return;
    }
    const sink = new LoggingSink({ start: offset, end: offset + (end - start) }, this.log);
    try {
      region.registerNotifierReplay(sink, 4096n, false);
      this.#sinks.set(start, sink);
    } catch (error) {
      this.refused.push(error as Error);
    }
  }

  sectionRemoved({ region, start, end }: MemorySection): void {
    if (!(region instanceof AmdviRegion)) {
      if (this.direct.delete(sectionText(start, end))) this.log.push(`no ram ${sectionText(start, end)}`);
      return;
    }
    const sink = this.#sinks.get(start);
    if (sink === undefined) return;
    this.#sinks.delete(start);
    region.unregisterNotifier(sink);
    this.violations.push(...sink.violations);
  }

  barrier(): void | Promise<void> {
    if (this.#held === undefined) return;
    return new Promise((resolve) => this.#held?.push(resolve));
  }

  /** Barriers do not resolve from now on. */
  hold(): void {
    this.#held ??= [];
  }

  /** Confirms every barrier that waits, and all to come. */
  async confirm(): Promise<void> {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const resolve of held) resolve();
    await this.#iommu.settled();
  }

  /** What is mapped, ascending; `!` marks what is no RAM. */
  get mappings(): string[] {
    return [...this.#sinks.values()]
      .flatMap(({ held }) => held)
      .sort((a, b) => a.iova - b.iova)
      .map((m) => `${leafText(m.iova, m.pages, m.target, m.access)}${m.ram ? '' : '!'}`);
  }

  get allViolations(): string[] {
    return [...this.violations, ...[...this.#sinks.values()].flatMap((sink) => sink.violations)];
  }

  takeLog(): string[] {
    return this.log.splice(0);
  }
}

/** Tells one log of what several sinks hear. */
class LoggingSink extends StrictSink {
  readonly #told: string[];

  constructor(range: PageRange, told: string[]) {
    super(range);
    this.#told = told;
  }

  override notify(event: IommuEvent): boolean | void {
    this.#told.push(`${event.op} ${event.iova.toString(16)}+${event.pages.toString(16)}`);
    return super.notify(event);
  }
}

function sectionText(start: number, end: number): string {
  return `${start.toString(16)}-${end.toString(16)}`;
}
