import type { Incomplete, IommuEvent, IommuNotifier, NotifierEvents } from '../../src/iommu/index.ts';
import { ALL_PAGES, type PageRange } from '../../src/memory/index.ts';

/** A notifier without books that writes down what it hears. */
export class Hearer implements IommuNotifier {
  readonly events: NotifierEvents;
  readonly range: PageRange;
  readonly index: number;
  readonly log: string[] = [];
  readonly incompletes: Incomplete[] = [];
  hook: (() => void) | undefined;

  constructor(events: NotifierEvents, range: PageRange = ALL_PAGES, index = 0) {
    this.events = events;
    this.range = range;
    this.index = index;
  }

  notify({ op, iova, pages }: IommuEvent): void {
    this.log.push(`${op} ${iova}+${pages}`);
    this.hook?.();
  }

  incomplete(why: Incomplete): void {
    this.incompletes.push(why);
  }
}
