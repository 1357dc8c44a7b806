/** What the listing of a guest's mappings goes through: requesters, one after the other, within one budget. @module */
import { type RequesterId, type WalkBudget, WalkReport } from '../../iommu/index.ts';
import type { OpenIommu } from '../models/open-iommu.ts';
import type { RequesterFinding, Translation } from '../models/translation.ts';
import type { LeafWalk } from './mapping-chunks.ts';
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

/** One requester, or every one that the IOMMU knows. */
export function* chosenRequesters(
  unit: OpenIommu,
  requester: RequesterId | undefined,
  pasid: number | undefined,
): Generator<RequesterFinding, void, undefined> {
  if (requester === undefined) yield* unit.requesters(pasid);
  else yield { kind: 'requester', requester, translation: unit.translation(requester, pasid) };
}

/** The walk of what `translation` leads to; undefined where there are no mappings (pass-through, a fault). */
export function leafWalk(
  unit: OpenIommu,
  requester: RequesterId,
  pasid: number | undefined,
  translation: Translation,
): LeafWalk | undefined {
  if (translation.kind !== 'mapped') return undefined;
  const region = unit.region(requester);
  return (range, visit, report) => region.walk(range, pasid ?? 0, visit, report, 1);
}

/** Requesters with the same key see the same leaves. */
export function tablesKey(translation: Translation): string | undefined {
  return translation.kind === 'mapped' ? translation.key : undefined;
}
