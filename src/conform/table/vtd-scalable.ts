import type { Finding, Scenario, Step } from '../scenario.ts';
import { VTD_CHANGES } from './vtd-changes.ts';
import { VTD_DOMAINS } from './vtd-domains.ts';
import { VTD_SIZES } from './vtd-sizes.ts';
import { VTD_SPLITS } from './vtd-splits.ts';
import { VTD_STAGES } from './vtd-stages.ts';

/** Scenarios of legacy mode that run in scalable mode, too, where QEMU departs in the same way. */
const ALIKE: readonly string[] = [
  'vtd-leaf-2m',
  'vtd-leaf-1g',
  'vtd-leaf-1g-interrupts',
  'vtd-split-narrow',
  'vtd-split-domain',
  'vtd-split-elsewhere',
  'vtd-merge-narrow',
  'vtd-less-access',
  'vtd-too-wide',
  'vtd-structures-unchanged',
  'vtd-reserved-bit',
  'vtd-plug-unattached',
  'vtd-bridge',
  'vtd-translation-off',
  'vtd-translation-off-exact',
  'vtd-plug-before-boot',
  'vtd-full-at-plug',
];

const LEGACY: readonly Scenario[] = [
  ...VTD_SIZES,
  ...VTD_SPLITS,
  ...VTD_CHANGES,
  ...VTD_DOMAINS,
  ...VTD_STAGES,
];

const TWICE: readonly Scenario[] = ALIKE.map((id) => {
  const scenario = LEGACY.find((one) => one.id === id);
  if (scenario === undefined)
    throw new Error(`${id} is to run in scalable mode, and there is no such scenario`);
  return {
    ...scenario,
    id: id.replace('vtd-', 'vtd-scalable-'),
    title: `scalable mode: ${scenario.title}`,
    machine: { mode: 'scalable' },
  };
});

/** Two domains with a page each, the device in the first. */
const TWO_DOMAINS: readonly Step[] = [
  { do: 'domain', name: 'a' },
  { do: 'domain', name: 'b' },
  { do: 'map', domain: 'a', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
  { do: 'map', domain: 'b', iova: '0x2000', size: '4K', to: '0x100002000', access: 'rw' },
  { do: 'attach', who: 'nic', domain: 'a' },
];

const IN_A: readonly string[] = ['0x1000 4K -> 0x100001000 rw'];
const IN_B: readonly string[] = ['0x2000 4K -> 0x100002000 rw'];

const PASID_CACHE_RULE = {
  section: 'VT-d 6.5.2.2',
  requires: 'the invalidation of a PASID-table entry by domain and PASID ends what was cached of it.',
};

const NOT_CACHED: Finding = {
  id: 'R19',
  qemu: 'looks for the entry in its own cache, where that of a hotplugged device is not yet, and does nothing.',
  ...PASID_CACHE_RULE,
};

const RESERVED_BIT: Finding = {
  id: 'R45',
  qemu: 'does not look at bit 10 of the entry and translates as before.',
  section: 'VT-d 7.1.3, SPT.3',
  requires: 'a request through a PASID-table entry with a reserved bit set is blocked.',
};

/** Scalable mode: PASID-table entries, second-stage and first-stage tables. */
export const VTD_SCALABLE: readonly Scenario[] = [
  ...TWICE,
  {
    id: 'vtd-scalable-switch',
    model: 'vtd',
    title: 'scalable mode: a PASID-table entry is rewritten in place for another domain',
    machine: { mode: 'scalable' },
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'expect', ledger: { nic: IN_A } },
      { do: 'switch', who: 'nic', domain: 'b' },
      { do: 'expect', ledger: { nic: IN_B }, qemu: { ledger: { nic: IN_A } } },
      { do: 'invalidate', what: 'domain', domain: 'b' },
      { do: 'expect', ledger: { nic: IN_B } },
    ],
    finding: NOT_CACHED,
  },
  {
    id: 'vtd-scalable-switch-back',
    model: 'vtd',
    title: 'scalable mode: a PASID-table entry is rewritten twice, after everything was invalidated once',
    machine: { mode: 'scalable' },
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'structures' },
      { do: 'switch', who: 'nic', domain: 'b' },
      { do: 'expect', ledger: { nic: IN_B } },
      { do: 'switch', who: 'nic', domain: 'a' },
      { do: 'expect', ledger: { nic: IN_A }, qemu: { ledger: { nic: IN_B } } },
    ],
    finding: { id: 'R19', qemu: 'follows the first change and not the second.', ...PASID_CACHE_RULE },
  },
  {
    id: 'vtd-scalable-pass-through-left',
    model: 'vtd',
    title: 'scalable mode: a device that was there all the time is passed through and then is not',
    machine: { mode: 'scalable' },
    steps: [
      { do: 'domain', name: 'a' },
      { do: 'domain', name: 'through', kind: 'pass-through' },
      { do: 'attach', who: 'edu', domain: 'a' },
      { do: 'switch', who: 'edu', domain: 'through' },
      { do: 'dma', access: 'r', iova: '0x9000' },
      { do: 'expect', faults: [] },
      { do: 'switch', who: 'edu', domain: 'a' },
      { do: 'dma', access: 'r', iova: '0x9000' },
      { do: 'expect', faults: ['00:05.0 r 0x9000 SSS.2'], qemu: { faults: [] } },
    ],
    finding: {
      id: 'R19',
      qemu: 'follows the first change and not the second: the device goes on reading all of memory.',
      ...PASID_CACHE_RULE,
    },
  },
  {
    id: 'vtd-scalable-detach',
    model: 'vtd',
    title: 'scalable mode: a PASID-table entry is cleared, and later written for another domain',
    machine: { mode: 'scalable' },
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'detach', who: 'nic' },
      { do: 'expect', ledger: { nic: [] }, qemu: { ledger: { nic: IN_A } } },
      { do: 'attach', who: 'nic', domain: 'b' },
      { do: 'expect', ledger: { nic: IN_B } },
    ],
    finding: NOT_CACHED,
  },
  {
    id: 'vtd-scalable-pass-through',
    model: 'vtd',
    title: 'scalable mode: a device is passed through, and then is not',
    machine: { mode: 'scalable' },
    steps: [
      { do: 'domain', name: 'pt', kind: 'pass-through' },
      { do: 'domain', name: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'attach', who: 'nic', domain: 'pt' },
      { do: 'plug', who: 'nic' },
      { do: 'expect', ledger: { nic: 'RAM' } },
      { do: 'switch', who: 'nic', domain: 'd' },
      { do: 'expect', ledger: { nic: IN_A }, qemu: { ledger: { nic: 'RAM' } } },
    ],
    finding: NOT_CACHED,
  },
  {
    id: 'vtd-scalable-switch-untold',
    model: 'vtd',
    title: 'scalable mode: a PASID-table entry is rewritten, and takes effect when everything is invalidated',
    machine: { mode: 'scalable' },
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'switch', who: 'nic', domain: 'b', tell: false },
      { do: 'expect', ledger: { nic: IN_A } },
      { do: 'invalidate', what: 'structures' },
      { do: 'expect', ledger: { nic: IN_B } },
    ],
  },
  {
    id: 'vtd-scalable-spoilt',
    model: 'vtd',
    title: 'scalable mode: a PASID-table entry gets a reserved bit, and everything is invalidated',
    machine: { mode: 'scalable' },
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'spoil', who: 'nic' },
      { do: 'expect', ledger: { nic: IN_A } },
      { do: 'invalidate', what: 'structures' },
      { do: 'expect', ledger: { nic: [] }, qemu: { ledger: { nic: IN_A } } },
    ],
    finding: RESERVED_BIT,
  },
  {
    id: 'vtd-scalable-spoilt-plug',
    model: 'vtd',
    title: 'scalable mode: a device is plugged whose PASID-table entry has a reserved bit set',
    machine: { mode: 'scalable' },
    steps: [
      ...TWO_DOMAINS,
      { do: 'spoil', who: 'nic' },
      { do: 'plug', who: 'nic' },
      { do: 'expect', ledger: { nic: [] }, qemu: { ledger: { nic: IN_A } } },
    ],
    finding: RESERVED_BIT,
  },
  {
    id: 'vtd-scalable-follow',
    model: 'vtd',
    title: 'scalable mode: pages come and go in second-stage tables',
    machine: { mode: 'scalable' },
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'map', domain: 'd', iova: '0x400000', size: '2M', to: '0x100400000', access: 'rw', leaf: '2M' },
      { do: 'unmap', domain: 'd', iova: '0x1000', size: '4K' },
      { do: 'expect', ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] } },
    ],
  },
  {
    id: 'vtd-scalable-faults',
    model: 'vtd',
    title: 'scalable mode: accesses without permission, without a mapping and without an entry are recorded',
    machine: { mode: 'scalable' },
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'edu', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'r' },
      { do: 'dma', access: 'w', iova: '0x1000' },
      { do: 'expect', faults: ['00:05.0 w 0x1000 SGN.6'], qemu: { faults: ['00:05.0 w 0x1000 LGN.2'] } },
      { do: 'dma', access: 'r', iova: '0x9000' },
      { do: 'expect', faults: ['00:05.0 r 0x9000 SSS.2'], qemu: { faults: ['00:05.0 r 0x9000 LGN.3'] } },
      { do: 'detach', who: 'edu' },
      { do: 'dma', access: 'r', iova: '0x1000' },
      { do: 'expect', faults: ['00:05.0 r 0x1000 SPT.2'], qemu: { faults: ['00:05.0 r 0x1000 SPT.4'] } },
    ],
    finding: {
      id: 'R46',
      qemu: 'records the conditions of legacy mode, and an entry that is not present as one that is invalid.',
      section: 'VT-d 7.1.3',
      requires:
        'scalable mode has fault conditions of its own: SGN.6, SSS.2, and SPT.2 for an entry that is not present.',
    },
  },
  {
    id: 'vtd-first-stage',
    model: 'vtd',
    title: 'scalable mode: a device is plugged that first-stage tables translate',
    machine: { mode: 'first-stage' },
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'first-stage', who: 'nic' },
      { do: 'plug', who: 'nic', answer: 'refused', qemu: { answer: 'done' } },
    ],
    finding: {
      id: 'R15',
      qemu: 'accepts the device and never sends it a mapping.',
      section: 'VT-d 6.1',
      requires:
        'new first-stage entries need not be reported even in caching mode, so nobody can follow them for a host.',
    },
  },
];
