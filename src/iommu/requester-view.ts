import type { AddressSpace } from '../memory/index.ts';
import type { Followed } from './followers.ts';
import type { RequesterId } from './requester-id.ts';

/** What one requester sees through an IOMMU whose structures lie in memory and say, for each requester, how it is translated. */
export interface RequesterView extends Followed {
  /** Looks the requester's structures up anew and shows memory or the region accordingly. Notifiers are not told. */
  refresh(): void;
  /** Domain of the structures that translate requests of `index` now; undefined when nothing does. */
  domainOf(index: number): number | undefined;
  /** Whether another stage lies behind that of the tables: then its pages are no pages of the requester's addresses. */
  isNested(index: number): boolean;
  /** Ends its ties to memory; no listener may be left. */
  dispose(): void;
}

/** What makes views, and what they depend on. */
export interface RequesterViews<V extends RequesterView> {
  /** Name of the IOMMU for people. */
  readonly name: string;
  /** Where its structures are, and where requests go. */
  readonly memory: AddressSpace;
  /** Whether there are other requests than those without PASID. */
  readonly hasPasids: boolean;
  /** Whether requests are translated at all at the moment. */
  isTranslating(): boolean;
  /** A new view, up to date. */
  make(requester: RequesterId): V;
}
