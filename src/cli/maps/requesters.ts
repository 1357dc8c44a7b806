/** Which requesters a guest's root and context tables know. @module */
import type { RequesterId } from '../../iommu/index.ts';
import { lookupRequest, type RemappingState, type RequestTranslation, spec } from '../../models/vtd/index.ts';

/** A requester with a context entry. */
export interface FoundRequester {
  readonly requester: RequesterId;
  /** A fault when the structures from the context entry on cannot be used. */
  readonly translation: RequestTranslation;
}

/** Requesters that have no context entry because what leads to it is broken. */
export interface BlockedRequesters {
  readonly first: RequesterId;
  /** Inclusive. */
  readonly last: RequesterId;
  /** Fault reason (FRCD_REG.FR). */
  readonly code: number;
}

/** What there is in the tables, in the order of requester IDs. */
export type TableFinding =
  | ({ readonly kind: 'requester' } & FoundRequester)
  | ({ readonly kind: 'blocked' } & BlockedRequesters);

const REQUESTERS = 65_536;
/** Requesters that share a context table: a bus in legacy mode, half a bus in scalable mode. */
const BUS = 256;
const HALF_BUS = 128;

/** Faults that mean "there is nothing here" rather than "this is wrong". */
const ABSENT: ReadonlySet<number> = new Set([spec.LRT_2, spec.SRT_2, spec.LCT_2, spec.SCT_2]);
/** The same for one PASID: its requester does not use it. */
const ABSENT_PASID: ReadonlySet<number> = new Set([spec.SCT_6, spec.SCT_7, spec.SPD_2, spec.SPT_2]);

/**
 * Every requester that the tables know, by looking at each of the 65,536 IDs at most once.
 *
 * @param pasid only requesters that translate this PASID; undefined for requests without PASID
 */
export function* findRequesters(
  state: RemappingState,
  pasid: number | undefined,
): Generator<TableFinding, void, undefined> {
  const sharing = state.translationTableMode === spec.TTM_LEGACY ? BUS : HALF_BUS;
  for (let first = 0; first < REQUESTERS; first += sharing) {
    for (let requester = first; requester < first + sharing; requester++) {
      let structures = 0;
      const translation = lookupRequest(state, requester, pasid, () => structures++);
      if (translation.kind !== 'fault') {
        yield { kind: 'requester', requester, translation };
        continue;
      }
      const { code } = translation;
      if (structures === 0) {
        // Not even a root entry could be read, and there is one root table.
        yield { kind: 'blocked', first: 0, last: REQUESTERS - 1, code };
        return;
      }
      if (structures === 1) {
        // A root entry, or the context table that it names, is the same for its neighbours.
        if (!ABSENT.has(code)) yield { kind: 'blocked', first, last: first + sharing - 1, code };
        break;
      }
      if (ABSENT.has(code) || (pasid !== undefined && ABSENT_PASID.has(code))) continue;
      yield { kind: 'requester', requester, translation };
    }
  }
}
