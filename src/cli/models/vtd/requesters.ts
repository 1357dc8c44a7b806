/** Which requesters a guest's root and context tables know. @module */
import { lookupRequest, type RemappingState, spec } from '../../../models/vtd/index.ts';
import type { RequesterFinding } from '../translation.ts';
import { translationOf, vtdFaultOf } from './vtd-translation.ts';

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
export function* vtdRequesters(
  state: RemappingState,
  pasid: number | undefined,
): Generator<RequesterFinding, void, undefined> {
  const sharing = state.translationTableMode === spec.TTM_LEGACY ? BUS : HALF_BUS;
  for (let first = 0; first < REQUESTERS; first += sharing) {
    for (let requester = first; requester < first + sharing; requester++) {
      let structures = 0;
      const found = lookupRequest(state, requester, pasid, () => structures++);
      const translation = translationOf(found);
      if (found.kind !== 'fault') {
        yield { kind: 'requester', requester, translation };
        continue;
      }
      const { code } = found;
      const fault = vtdFaultOf(code);
      if (structures === 0) {
        // Not even a root entry could be read, and there is one root table.
        yield { kind: 'blocked', first: 0, last: REQUESTERS - 1, fault };
        return;
      }
      if (structures === 1) {
        // A root entry, or the context table that it names, is the same for its neighbours.
        if (!ABSENT.has(code)) yield { kind: 'blocked', first, last: first + sharing - 1, fault };
        break;
      }
      if (ABSENT.has(code) || (pasid !== undefined && ABSENT_PASID.has(code))) continue;
      yield { kind: 'requester', requester, translation };
    }
  }
}
