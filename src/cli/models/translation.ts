/** How a guest's IOMMU treats a requester, in terms that hold for every kind of IOMMU. @module */
import type { RequesterId } from '../../iommu/index.ts';
import type { FaultWords } from './fault-words.ts';

/** How a requester's requests are translated. */
export type Translation =
  | { readonly kind: 'fault'; readonly fault: FaultWords }
  | {
      readonly kind: 'pass-through';
      /** One line for people. */
      readonly text: string;
      readonly domain: number | undefined;
    }
  | {
      readonly kind: 'mapped';
      /** By what, in a word or two for programs: `second-stage`. */
      readonly by: string;
      /** The same in one line for people. */
      readonly text: string;
      readonly domain: number;
      /** Requesters with the same key have the same mappings, for they share... */
      readonly key: string;
      /** ...this: `tables`. */
      readonly shared: string;
    };

/** A requester that the IOMMU knows. */
export interface FoundRequester {
  readonly kind: 'requester';
  readonly requester: RequesterId;
  readonly translation: Translation;
}

/** Requesters about which nothing can be known because what leads to them is broken. */
export interface BlockedRequesters {
  readonly kind: 'blocked';
  readonly first: RequesterId;
  /** Inclusive. */
  readonly last: RequesterId;
  readonly fault: FaultWords;
}

/** What an IOMMU knows about its requesters. */
export type RequesterFinding = FoundRequester | BlockedRequesters;
