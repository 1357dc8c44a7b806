/** Which requesters a guest's device table says something about. @module */
import { Access } from '../../../memory/index.ts';
import { type AmdviState, type DeviceTranslation, lookupDevice, spec } from '../../../models/amdvi/index.ts';
import type { RequesterFinding } from '../translation.ts';
import { amdviFault, translationOf } from './amdvi-translation.ts';

const REQUESTERS = 65_536;

/** Every requester that is translated, passes by an entry of its own, or has an entry that cannot be used. */
export function* amdviRequesters(state: AmdviState): Generator<RequesterFinding, void, undefined> {
  const entries = Math.min(state.deviceTable.entries, REQUESTERS);
  for (let requester = 0; requester < entries; requester++) {
    const found = lookupDevice(state, requester);
    if (found.kind === 'fault' && found.fault === spec.ENTRY_UNREADABLE) {
      // A page of the table is there or not for all that have their entries in it.
      const last = Math.min(requester + spec.DEVICE_TABLE_ENTRIES_A_PAGE, entries) - 1;
      yield { kind: 'blocked', first: requester, last, fault: amdviFault(found.fault) };
      requester = last;
    } else if (isTold(found)) {
      yield { kind: 'requester', requester, translation: translationOf(found) };
    }
  }
}

/** A guest gives a device that it does not know an entry of zeros, or one that permits nothing. */
function isTold(found: DeviceTranslation): boolean {
  if (found.kind === 'identity') return found.access !== Access.None;
  return found.kind !== 'pass-through';
}
