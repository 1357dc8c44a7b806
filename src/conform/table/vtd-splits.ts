import type { Scenario, Step } from '../scenario.ts';

/** A device with one leaf of 2 MiB, plugged. */
const ONE_LARGE_LEAF: readonly Step[] = [
  { do: 'domain', name: 'd' },
  { do: 'attach', who: 'nic', domain: 'd' },
  { do: 'map', domain: 'd', iova: '0x400000', size: '2M', to: '0x100400000', access: 'rw', leaf: '2M' },
  { do: 'plug', who: 'nic' },
];

/** The leaf gives way to a table with one page, and the unit is not told. */
const SPLIT: readonly Step[] = [
  { do: 'entry', domain: 'd', level: 2, iova: '0x400000', is: 'table' },
  { do: 'entry', domain: 'd', level: 1, iova: '0x405000', is: 'leaf', to: '0x100009000', access: 'rw' },
];

const SPLIT_RULE = {
  section: 'VT-d 6.5.2.3',
  requires: 'an invalidation takes every cached translation that it touches, a large page as a whole.',
};

/** Large leaves that give way to tables, and tables that give way to large leaves. */
export const VTD_SPLITS: readonly Scenario[] = [
  {
    id: 'vtd-split-narrow',
    model: 'vtd',
    title: 'a leaf of 2 MiB becomes a table with one page, and that page is invalidated',
    steps: [
      ...ONE_LARGE_LEAF,
      ...SPLIT,
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x405000', size: '4K' },
      {
        do: 'expect',
        ledger: { nic: ['0x405000 4K -> 0x100009000 rw'] },
        messages: { nic: { maps: 2, unmaps: 1 } },
        qemu: { ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] } },
      },
      { do: 'invalidate', what: 'all' },
      {
        do: 'expect',
        ledger: { nic: ['0x405000 4K -> 0x100009000 rw'] },
        messages: { nic: { maps: 0, unmaps: 0 } },
        qemu: {
          ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] },
          messages: { nic: { maps: 0, unmaps: 0 } },
        },
      },
      { do: 'invalidate', what: 'structures' },
      { do: 'expect', ledger: { nic: ['0x405000 4K -> 0x100009000 rw'] } },
    ],
    finding: {
      id: 'R3',
      qemu: 'unmaps 4 KiB of the 2 MiB, which no host does, and maps the page over the old leaf, which stays until the guest invalidates context entries.',
      ...SPLIT_RULE,
    },
  },
  {
    id: 'vtd-split-domain',
    model: 'vtd',
    title: 'a leaf of 2 MiB becomes a table with one page, and the domain is invalidated',
    steps: [
      ...ONE_LARGE_LEAF,
      ...SPLIT,
      { do: 'invalidate', what: 'domain', domain: 'd' },
      {
        do: 'expect',
        ledger: { nic: ['0x405000 4K -> 0x100009000 rw'] },
        qemu: { ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] } },
      },
    ],
    finding: {
      id: 'R3',
      qemu: 'maps the page over the old leaf, which it has not unmapped: the map is refused and the leaf stays.',
      ...SPLIT_RULE,
    },
  },
  {
    id: 'vtd-split-elsewhere',
    model: 'vtd',
    title: 'a leaf of 2 MiB becomes a table with one page, and another page that it covered is invalidated',
    steps: [
      ...ONE_LARGE_LEAF,
      ...SPLIT,
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x5ff000', size: '4K' },
      {
        do: 'expect',
        ledger: { nic: ['0x405000 4K -> 0x100009000 rw'] },
        qemu: { ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] } },
      },
    ],
    finding: {
      id: 'R3',
      qemu: 'unmaps 4 KiB of the 2 MiB, which no host does; the leaf stays.',
      ...SPLIT_RULE,
    },
  },
  {
    id: 'vtd-leaf-gone-narrow',
    model: 'vtd',
    title: 'a leaf of 2 MiB is cleared, and one page of it is invalidated',
    steps: [
      ...ONE_LARGE_LEAF,
      { do: 'entry', domain: 'd', level: 2, iova: '0x400000', is: 'nothing' },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x412000', size: '4K' },
      { do: 'expect', ledger: { nic: [] }, messages: { nic: { maps: 1, unmaps: 1 } } },
    ],
  },
  {
    id: 'vtd-merge',
    model: 'vtd',
    title: 'a table with pages gives way to a leaf of 2 MiB, and the whole of it is invalidated',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x400000', size: '8K', to: '0x100001000', access: 'rw', leaf: '4K' },
      { do: 'plug', who: 'nic' },
      { do: 'entry', domain: 'd', level: 2, iova: '0x400000', is: 'leaf', to: '0x100400000', access: 'rw' },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x400000', size: '2M' },
      { do: 'expect', ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] } },
    ],
  },
  {
    id: 'vtd-merge-narrow',
    model: 'vtd',
    title: 'a table with pages gives way to a leaf of 2 MiB, and one page of it is invalidated',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x400000', size: '8K', to: '0x100001000', access: 'rw', leaf: '4K' },
      { do: 'plug', who: 'nic' },
      { do: 'entry', domain: 'd', level: 2, iova: '0x400000', is: 'leaf', to: '0x100400000', access: 'rw' },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x401000', size: '4K' },
      { do: 'expect', ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] } },
    ],
  },
  {
    id: 'vtd-merge-1g',
    model: 'vtd',
    title: 'a leaf of 1 GiB takes the place of two of 2 MiB',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x40000000', size: '4M', to: '0x100400000', access: 'rw', leaf: '2M' },
      { do: 'plug', who: 'nic' },
      { do: 'entry', domain: 'd', level: 3, iova: '0x40000000', is: 'leaf', to: '0x140000000', access: 'rw' },
      { do: 'invalidate', what: 'domain', domain: 'd' },
      { do: 'expect', ledger: { nic: ['0x40000000 1G -> 0x140000000 rw'] } },
    ],
  },
  {
    id: 'vtd-split-1g',
    model: 'vtd',
    title: 'a leaf of 1 GiB becomes a table with one leaf of 2 MiB, and the domain is invalidated',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x40000000', size: '1G', to: '0x140000000', access: 'rw', leaf: '1G' },
      { do: 'plug', who: 'nic' },
      { do: 'entry', domain: 'd', level: 3, iova: '0x40000000', is: 'table' },
      { do: 'entry', domain: 'd', level: 2, iova: '0x40200000', is: 'leaf', to: '0x100400000', access: 'rw' },
      { do: 'invalidate', what: 'domain', domain: 'd' },
      {
        do: 'expect',
        ledger: { nic: ['0x40200000 2M -> 0x100400000 rw'] },
        qemu: { ledger: { nic: ['0x40000000 1G -> 0x140000000 rw'] } },
      },
    ],
    finding: {
      id: 'R3',
      qemu: 'maps the 2 MiB over the 1 GiB, which it has not unmapped: the map is refused and the leaf stays.',
      ...SPLIT_RULE,
    },
  },
];
