import { Followers, type RequesterId } from '../../iommu/index.ts';
import type { Observer, PageRange } from '../../memory/index.ts';
import type { Domain } from './domain-table.ts';
import { EndpointSpace, type EndpointSpaceOptions } from './endpoint-space.ts';
import type { TranslationState } from './virtio-region.ts';

/** The spaces of endpoints that somebody has asked for, and how changes get into them. Nothing here throws for what a listener does. */
export class EndpointSpaces {
  readonly #state: TranslationState;
  readonly #options: EndpointSpaceOptions;
  readonly #followers: Followers;
  readonly #spaces: Map<RequesterId, EndpointSpace> = new Map();

  /** `observer` hears `sink-failed`. */
  constructor(state: TranslationState, options: EndpointSpaceOptions, observer: Observer | undefined) {
    this.#state = state;
    this.#options = options;
    this.#followers = new Followers('virtio-iommu', observer);
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
    return this.all().filter(({ requester }) => this.#state.domainOf(requester) === domain);
  }

  /** All spaces. */
  all(): readonly EndpointSpace[] {
    return [...this.#spaces.values()];
  }

  /** Mappings in `range` came or went. */
  changed(spaces: readonly EndpointSpace[], range: PageRange): void {
    for (const space of spaces) this.#followers.tell(space, () => space.region.invalidate(range));
  }

  /** Mappings in `range` went: an endpoint's own translation cache must not hold them any more. */
  dropped(spaces: readonly EndpointSpace[], range: PageRange): void {
    for (const space of spaces)
      this.#followers.tell(space, () => space.region.invalidateDeviceIotlb(range, 0));
  }

  /** Attachments, or what they mean, changed. */
  refresh(spaces: readonly EndpointSpace[]): void {
    for (const space of spaces) this.#followers.tell(space, () => space.refresh());
  }

  /** Returns, or resolves, when all that follow these spaces have confirmed. Never rejects. */
  confirmed(spaces: Iterable<EndpointSpace>): void | Promise<void> {
    return this.#followers.confirmed(spaces);
  }
}
