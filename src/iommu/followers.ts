import type { AddressSpace, Observer } from '../memory/index.ts';
import type { IommuRegion } from './iommu-region.ts';
import { formatRequesterId, type RequesterId } from './requester-id.ts';

/** Somebody whose mappings others follow. */
export interface Followed {
  readonly requester: RequesterId;
  /** What its DMA meets. */
  readonly space: AddressSpace;
  /** Its translated requests. */
  readonly region: IommuRegion;
}

/** Whoever follows the mappings of requesters may fail; the guest and its other devices go on, and an observer hears of it. */
export class Followers {
  readonly #source: string;
  readonly #observer: Observer | undefined;

  /** `source` is the IOMMU's name for people; `observer` hears `sink-failed`. */
  constructor(source: string, observer: Observer | undefined) {
    this.#source = source;
    this.#observer = observer;
  }

  /** Runs `call`, which tells those who follow `followed`, or several. Gives what it gives; undefined when it throws. */
  tell<T>(followed: Followed | undefined, call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this.#failed(followed, error);
      return undefined;
    }
  }

  /** Returns, or resolves, when all that follow these have confirmed. Never rejects. */
  confirmed(all: Iterable<Followed>): void | Promise<void> {
    const pending: Promise<void>[] = [];
    const ask = (followed: Followed, barrier: () => void | Promise<void>): void => {
      const answer = this.tell(followed, barrier);
      if (answer !== undefined) pending.push(answer.catch((error: unknown) => this.#failed(followed, error)));
    };
    for (const followed of all) {
      ask(followed, () => followed.space.barrier());
      ask(followed, () => followed.region.barrier());
    }
    if (pending.length > 0) return Promise.all(pending).then(() => undefined);
  }

  #failed(followed: Followed | undefined, error: unknown): void {
    const who = followed === undefined ? 'a requester' : formatRequesterId(followed.requester);
    const why = error instanceof Error ? error.message : String(error);
    this.#observer?.observe({
      kind: 'sink-failed',
      source: this.#source,
      message: `what follows the mappings of ${who} failed and may still hold some that the guest has withdrawn: ${why}`,
      details: followed === undefined ? {} : { requester: who },
    });
  }
}
