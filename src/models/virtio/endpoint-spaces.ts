import { formatRequesterId, type RequesterId } from '../../iommu/index.ts';
import type { Observer, PageRange } from '../../memory/index.ts';
import type { Domain } from './domain-table.ts';
import { EndpointSpace, type EndpointSpaceOptions } from './endpoint-space.ts';
import type { TranslationState } from './virtio-region.ts';

/** The spaces of endpoints that somebody has asked for, and how changes get into them. Nothing here throws for what a listener does. */
export class EndpointSpaces {
  readonly #state: TranslationState;
  readonly #options: EndpointSpaceOptions;
  readonly #observer: Observer | undefined;
  readonly #spaces: Map<RequesterId, EndpointSpace> = new Map();

  /** `observer` hears `sink-failed`. */
  constructor(state: TranslationState, options: EndpointSpaceOptions, observer: Observer | undefined) {
    this.#state = state;
    this.#options = options;
    this.#observer = observer;
  }

  /** The space of `requester`, made when first asked for. RangeError for what is no requester ID. */
  get(requester: RequesterId): EndpointSpace {
    if (!Number.isInteger(requester) || requester < 0 || requester > 0xffff) {
      throw new RangeError(`${requester} is no requester ID (0 to 0xffff)`);
    }
    let space = this.#spaces.get(requester);
    if (space === undefined) {
      space = new EndpointSpace(this.#state, requester, this.#options);
      this.#spaces.set(requester, space);
    }
    return space;
  }

  /** Forgets `requester`; throws, and forgets nothing, while its space has listeners. */
  release(requester: RequesterId): void {
    const space = this.#spaces.get(requester);
    if (space === undefined) return;
    space.dispose();
    this.#spaces.delete(requester);
  }

  /** The spaces of this endpoint: one or none. */
  ofEndpoint(endpoint: RequesterId): readonly EndpointSpace[] {
    const space = this.#spaces.get(endpoint);
    return space === undefined ? [] : [space];
  }

  /** The spaces of the endpoints that are attached to `domain`. */
  ofDomain(domain: Domain): readonly EndpointSpace[] {
    return this.all().filter(({ endpoint }) => this.#state.domainOf(endpoint) === domain);
  }

  /** All spaces. */
  all(): readonly EndpointSpace[] {
    return [...this.#spaces.values()];
  }

  /** Mappings in `range` came or went. */
  changed(spaces: readonly EndpointSpace[], range: PageRange): void {
    for (const space of spaces) this.#guard(space, () => space.region.invalidate(range));
  }

  /** Mappings in `range` went: an endpoint's own translation cache must not hold them any more. */
  dropped(spaces: readonly EndpointSpace[], range: PageRange): void {
    for (const space of spaces) this.#guard(space, () => space.region.invalidateDeviceIotlb(range, 0));
  }

  /** Attachments, or what they mean, changed. */
  refresh(spaces: readonly EndpointSpace[]): void {
    for (const space of spaces) this.#guard(space, () => space.refresh());
  }

  /** Returns, or resolves, when all that follow these spaces have confirmed. Never rejects. */
  confirmed(spaces: Iterable<EndpointSpace>): void | Promise<void> {
    const pending: Promise<void>[] = [];
    const ask = (space: EndpointSpace, barrier: () => void | Promise<void>): void => {
      const answer = this.#guard(space, barrier);
      if (answer !== undefined) pending.push(answer.catch((error: unknown) => this.#failed(space, error)));
    };
    for (const space of spaces) {
      ask(space, () => space.space.barrier());
      ask(space, () => space.region.barrier());
    }
    if (pending.length > 0) return Promise.all(pending).then(() => undefined);
  }

  /** Whoever listens may fail; the guest and its other devices go on. */
  #guard<T>(space: EndpointSpace, call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this.#failed(space, error);
      return undefined;
    }
  }

  #failed({ endpoint }: EndpointSpace, error: unknown): void {
    const requester = formatRequesterId(endpoint);
    const why = error instanceof Error ? error.message : String(error);
    this.#observer?.observe({
      kind: 'sink-failed',
      source: 'virtio-iommu',
      message: `what follows the mappings of ${requester} failed and may still hold some that the guest has withdrawn: ${why}`,
      details: { requester },
    });
  }
}
