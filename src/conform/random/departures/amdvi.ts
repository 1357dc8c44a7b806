import type { Requester } from '../../scenario.ts';
import { type ActionStep, type GuestState, rangeOf, requesterOf } from '../guest-state.ts';
import { around, inside, span } from '../known-tables.ts';
import type { KnownDeparture } from '../known-departure.ts';
import {
  accessesInterrupts,
  entryRange,
  hasInterrupts,
  heldIn,
  newLeaves,
  plugsSecondUntold,
} from './shared.ts';

/** Of QEMU's AMD-Vi. R7 and R14 are about messages, which are not compared. */
export const AMDVI_DEPARTURES: readonly KnownDeparture[] = [
  {
    finding: 'R6',
    model: 'amdvi',
    why: 'no table that hosts follow goes with leaves in it: QEMU would end on an assertion',
    excludes: (step, state) => takesTable(step, state),
  },
  {
    finding: 'R18, R21',
    model: 'amdvi',
    why: 'hosts have no limits: their refusals are printed and forgotten',
    excludes: (step) => step.do === 'plug' && step.sink !== undefined,
  },
  {
    finding: 'R26',
    model: 'amdvi',
    why: 'a plug is followed by an invalidation of the device table entry, until which the device reaches all memory',
    disturbs: (step, slot) => step.do === 'plug' && step.who === slot,
    settles: (step, slot, state) => invalidatesEntry(step, slot) && state.translating,
    remedy: (step, state) => {
      if (step.do === 'plug') return [{ do: 'invalidate', what: 'requester', who: step.who }];
      const isOn = step.do === 'translation' && step.on;
      return isOn ? state.plugged.map((who) => ({ do: 'invalidate', what: 'requester', who })) : [];
    },
  },
  {
    finding: 'R27',
    model: 'amdvi',
    why: 'a device that is plugged does not move from tables to tables: it would keep the mappings of the first',
    excludes: (step, state) =>
      step.do === 'switch' &&
      state.isPlugged(step.who) &&
      state.tablesOf(state.domainOf(step.who)) !== undefined &&
      state.tablesOf(step.domain) !== undefined,
  },
  {
    finding: 'R27',
    model: 'amdvi',
    why: 'a device that is plugged does not leave tables in silence: when it is told of, it is in tables again, or was all along',
    excludes: (step, state) =>
      'tell' in step && state.isPlugged(step.who) && state.tablesOf(state.domainOf(step.who)) !== undefined,
  },
  {
    finding: 'R28',
    model: 'amdvi',
    why: 'devices that are detached are not compared: they reach all memory',
    hides: (slot, state) => state.running && state.domainOf(slot) === undefined,
  },
  {
    finding: 'R29',
    model: 'amdvi',
    why: 'nothing is mapped in tables that hosts follow where they may still hold something else: it would stay',
    excludes: (step, state) => replaces(step, state),
  },
  {
    finding: 'R30',
    model: 'amdvi',
    why: 'a device whose leaves were rewritten in place is detached and attached again: no change of access or target is seen',
    disturbs: (step, who, state) => step.do === 'remap' && state.domainOf(who) === step.domain,
    settles: (step, who, state) => entersTables(step, who, state),
    remedy: (step, state) => (step.do === 'remap' ? reattached(step.domain, state) : []),
  },
  {
    finding: 'R31',
    model: 'amdvi',
    why: 'nothing is compared while the IOMMU is off: mappings stay as they are',
    hides: (_slot, state) => !state.translating,
  },
  {
    finding: 'R31',
    model: 'amdvi',
    why: 'no plugged device moves while the IOMMU is off: when it is on again, only tables are looked at',
    excludes: (step, state) =>
      (step.do === 'attach' || step.do === 'switch' || step.do === 'detach') &&
      !state.translating &&
      state.isPlugged(step.who),
  },
  {
    finding: 'R32',
    model: 'amdvi',
    why: 'of events the access and the address are not compared: there is none',
    blurs: (fault) => fault.replace(/ [rw] 0x[0-9a-f]+ /, ' '),
  },
  {
    finding: 'none',
    model: 'amdvi',
    why: 'nothing is read from or written to the interrupt range: what is there is no matter of the IOMMU',
    excludes: accessesInterrupts,
  },
  {
    finding: 'R49',
    model: 'amdvi',
    why: 'no second device of a requester is plugged while tables have changed untold: the first would not learn of it',
    excludes: plugsSecondUntold,
  },
  {
    finding: 'R50',
    model: 'amdvi',
    why: 'no page of the interrupt range is mapped: QEMU would end on an assertion when the device has left the tables',
    excludes: (step) => {
      const written = newLeaves(step);
      return written !== undefined && hasInterrupts(written.range);
    },
  },
  {
    finding: 'R51',
    model: 'amdvi',
    why: 'who is attached in silence is not compared until its own entry is invalidated: INVALIDATE_IOMMU_ALL does not do',
    disturbs: (step, slot, state) =>
      (step.do === 'attach' || step.do === 'switch') &&
      requesterOf(step.who) === requesterOf(slot) &&
      state.untoldTo(slot) === 'structures',
    settles: (step, slot, state) => invalidatesEntry(step, slot) && state.translating,
  },
];

/** Whether an entry that leads to smaller leaves is overwritten, or cleared because all that it leads to goes. */
function takesTable(step: ActionStep, state: GuestState): boolean {
  if (step.do === 'unmap' && state.isFollowed(step.domain)) {
    const range = rangeOf(step);
    return heldIn(state, step.domain, range).some(
      ({ start, end }) => end - start < TABLE && inside(around(start, TABLE), range),
    );
  }
  if (step.do !== 'entry' || step.level === 1 || !state.isFollowed(step.domain)) return false;
  const range = entryRange(step);
  return heldIn(state, step.domain, range).some(({ start, end }) => end - start < range.end - range.start);
}

/** Pages that a table of the lowest level stands for. */
const TABLE: number = span(2);

function replaces(step: ActionStep, state: GuestState): boolean {
  if (!('domain' in step) || !state.isFollowed(step.domain)) return false;
  if (step.do === 'entry' && step.is === 'table')
    return heldIn(state, step.domain, entryRange(step)).length > 0;
  const written = newLeaves(step);
  return written !== undefined && heldIn(state, step.domain, written.range).length > 0;
}

function invalidatesEntry(step: ActionStep, who: Requester): boolean {
  return step.do === 'invalidate' && step.what === 'requester' && requesterOf(step.who) === requesterOf(who);
}

/** R27: devices come to tables from elsewhere only, and then all of the tables is looked at. */
function entersTables(step: ActionStep, who: Requester, state: GuestState): boolean {
  return (
    (step.do === 'attach' || step.do === 'switch') &&
    requesterOf(step.who) === requesterOf(who) &&
    state.tablesOf(step.domain) !== undefined &&
    state.untoldTo(who) !== 'structures'
  );
}

function reattached(domain: string, state: GuestState): readonly ActionStep[] {
  const inside = state.plugged.filter((slot) => state.domainOf(slot) === domain);
  const each = inside.filter(
    (slot, i) => inside.findIndex((one) => requesterOf(one) === requesterOf(slot)) === i,
  );
  return each.flatMap((who): ActionStep[] => [
    { do: 'detach', who },
    { do: 'attach', who, domain },
  ]);
}
