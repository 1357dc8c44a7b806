import type { IommuEvent, IommuNotifier } from '../../src/iommu/index.ts';
import { ALL_PAGES } from '../../src/memory/index.ts';

/** A host whose confirmations come when the test lets them. */
export class SlowHost implements IommuNotifier {
  readonly events = 'map-and-unmap';
  readonly range = ALL_PAGES;
  readonly index = 0;
  readonly told: string[] = [];
  #pending: (() => void)[] = [];
  #open = false;

  notify({ op, iova }: IommuEvent): boolean {
    this.told.push(`${op} ${iova}`);
    return true;
  }

  barrier(): void | Promise<void> {
    if (!this.#open) return new Promise((resolve) => this.#pending.push(resolve));
  }

  /** Confirms what waits, and everything later at once. */
  confirm(): void {
    this.#open = true;
    for (const resolve of this.#pending.splice(0)) resolve();
  }
}
