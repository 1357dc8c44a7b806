/** What the listing of a guest's mappings goes through: requesters, one after the other, within one budget. @module */
import { type RequesterId, type WalkBudget, WalkReport } from '../../iommu/index.ts';
import {
  lookupRequest,
  type RemappingState,
  type RequestTranslation,
  VtdRegion,
} from '../../models/vtd/index.ts';
import type { LeafWalk } from './mapping-chunks.ts';
import { findRequesters, type TableFinding } from './requesters.ts';
import type { Source } from '../source/source.ts';
import { formatCount } from '../terminal/text.ts';

/** What to list. */
export interface ListingRequest {
  readonly source: Source;
  /** undefined: every requester that the tables know. */
  readonly requester: RequesterId | undefined;
  /** undefined: requests without PASID. */
  readonly pasid: number | undefined;
  /** Most leaves over all requesters. */
  readonly leaves: number;
  /** Show every run; matters to people's listings only. */
  readonly all: boolean;
}

/** Leaves that are listed before a walk is cut, unless told otherwise: 16 GiB in 4 KiB pages. */
export const DEFAULT_LEAVES: number = 2 ** 22;
/** Entries that may be read for each of them: a table of its own for a leaf costs that many on average at the worst. */
const ENTRIES_A_LEAF = 64;
const LEAST_ENTRIES: number = 2 ** 28;

/** One budget for all walks of a command: what a walk used is gone for those that follow. */
export class SharedBudget {
  readonly total: WalkBudget;
  #entries: number;
  #leaves: number;

  /** @param leaves most leaves in all; the entries that may be read follow from it */
  constructor(leaves: number) {
    this.total = { entries: Math.max(LEAST_ENTRIES, leaves * ENTRIES_A_LEAF), leaves };
    this.#entries = this.total.entries;
    this.#leaves = leaves;
  }

  /** A report whose walk may use up what is left. */
  report(): WalkReport {
    return new WalkReport({ entries: this.#entries, leaves: this.#leaves });
  }

  /** What has been used and what there was, for people. */
  get spent(): string {
    const { entries, leaves } = this.total;
    return (
      `${formatCount(leaves - this.#leaves)} of ${formatCount(leaves)} mappings and ` +
      `${formatCount(entries - this.#entries)} of ${formatCount(entries)} table entries`
    );
  }

  /** Takes off what the walk of `report` used. */
  spend(report: WalkReport): void {
    this.#entries = Math.max(0, this.#entries - report.entries);
    this.#leaves = Math.max(0, this.#leaves - report.leaves);
  }
}

/** One requester, or every one that the tables know. */
export function* chosenRequesters(
  state: RemappingState,
  requester: RequesterId | undefined,
  pasid: number | undefined,
): Generator<TableFinding, void, undefined> {
  if (requester === undefined) yield* findRequesters(state, pasid);
  else yield { kind: 'requester', requester, translation: lookupRequest(state, requester, pasid) };
}

/** The walk of what `translation` leads to; undefined where there are no tables (pass-through, a fault). */
export function leafWalk(
  state: RemappingState,
  requester: RequesterId,
  pasid: number | undefined,
  translation: RequestTranslation,
): LeafWalk | undefined {
  if (translation.kind === 'fault' || translation.kind === 'pass-through') return undefined;
  const region = new VtdRegion('VT-d', state, requester, { iotlb: false });
  return (range, visit, report) => region.walk(range, pasid ?? 0, visit, report);
}

/** Requesters with the same key see the same leaves. */
export function tablesKey(translation: RequestTranslation): string | undefined {
  switch (translation.kind) {
    case 'fault':
    case 'pass-through':
      return undefined;
    case 'second-stage':
      return `second ${translation.secondStage.root} ${translation.secondStage.levels}`;
    case 'first-stage':
    case 'nested': {
      const { firstStage, secondStage } = translation;
      return `${translation.kind} ${firstStage.root} ${firstStage.levels} ${secondStage?.root} ${secondStage?.levels}`;
    }
  }
}
