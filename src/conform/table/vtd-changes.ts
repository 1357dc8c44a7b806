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

/** Tables that change, and invalidations that say so. */
export const VTD_CHANGES: readonly Scenario[] = [
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
  {
    id: 'vtd-less-access',
    model: 'vtd',
    title: 'a page that may be written may only be read from now on',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'remap', domain: 'd', iova: '0x1000', size: '4K', access: 'r' },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 r'] } },
    ],
  },
  {
    id: 'vtd-more-access',
    model: 'vtd',
    title: 'pages that may be read may be written, too, from now on',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x400000', size: '2M', to: '0x100400000', access: 'r', leaf: '2M' },
      { do: 'plug', who: 'nic' },
      { do: 'remap', domain: 'd', iova: '0x400000', size: '2M', access: 'rw' },
      { do: 'expect', ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] } },
    ],
  },
  {
    id: 'vtd-other-target',
    model: 'vtd',
    title: 'pages lead elsewhere from now on',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '12K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'remap', domain: 'd', iova: '0x2000', size: '4K', to: '0x100009000', access: 'rw' },
      {
        do: 'expect',
        ledger: {
          nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100009000 rw', '0x3000 4K -> 0x100003000 rw'],
        },
        messages: { nic: { maps: 4, unmaps: 1 } },
      },
    ],
  },
  {
    id: 'vtd-too-wide',
    model: 'vtd',
    title: 'one page of many changes, and far too much is invalidated',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x400000', size: '64K', to: '0x100000000', access: 'rw', leaf: '4K' },
      { do: 'plug', who: 'nic' },
      { do: 'expect', messages: { nic: { maps: 16, unmaps: 0 } } },
      { do: 'entry', domain: 'd', level: 1, iova: '0x404000', is: 'nothing' },
      { do: 'invalidate', what: 'all' },
      { do: 'expect', messages: { nic: { maps: 0, unmaps: 1 } } },
      { do: 'invalidate', what: 'domain', domain: 'd' },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x0', size: '16M' },
      { do: 'expect', messages: { nic: { maps: 0, unmaps: 0 } } },
    ],
  },
  {
    id: 'vtd-structures-unchanged',
    model: 'vtd',
    title: 'context entries are invalidated, and nothing has changed',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'expect', messages: { nic: { maps: 1, unmaps: 0 } } },
      { do: 'invalidate', what: 'structures' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] },
        messages: { nic: { maps: 0, unmaps: 0 } },
        qemu: { messages: { nic: { maps: 1, unmaps: 28 } } },
      },
    ],
    finding: {
      id: 'R23',
      qemu: 'unmaps everything in 28 pieces and maps it anew: DMA that is under way meanwhile fails.',
      section: 'VT-d 6.5.2.1',
      requires: 'an invalidation makes hardware look at the structures again; what they say has not changed.',
    },
  },
  {
    id: 'vtd-too-narrow',
    model: 'vtd',
    title: 'two pages are cleared and one is invalidated: the other may stay until it is',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '12K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'entry', domain: 'd', level: 1, iova: '0x1000', is: 'nothing' },
      { do: 'entry', domain: 'd', level: 1, iova: '0x3000', is: 'nothing' },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x3000', size: '4K' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'] },
      },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x0', size: '16K' },
      { do: 'expect', ledger: { nic: ['0x2000 4K -> 0x100002000 rw'] } },
    ],
  },
  {
    id: 'vtd-other-domain',
    model: 'vtd',
    title: 'an invalidation of another domain changes nothing',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'domain', name: 'other' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'attach', who: 'disk', domain: 'other' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'plug', who: 'disk' },
      { do: 'entry', domain: 'd', level: 1, iova: '0x1000', is: 'nothing' },
      { do: 'invalidate', what: 'domain', domain: 'other' },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'], disk: [] } },
      { do: 'invalidate', what: 'domain', domain: 'd' },
      { do: 'expect', ledger: { nic: [], disk: [] } },
    ],
  },
  {
    id: 'vtd-reserved-bit',
    model: 'vtd',
    title: 'a leaf with a reserved bit set is taken away, and comes back without it',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '8K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      // Bit 51 is beyond the host address width.
      { do: 'entry', domain: 'd', level: 1, iova: '0x1000', is: 'raw', bits: '0x8000100001003' },
      { do: 'invalidate', what: 'domain', domain: 'd' },
      {
        do: 'expect',
        ledger: { nic: ['0x2000 4K -> 0x100002000 rw'] },
        qemu: { ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'] } },
      },
      { do: 'entry', domain: 'd', level: 1, iova: '0x1000', is: 'leaf', to: '0x100001000', access: 'rw' },
      { do: 'invalidate', what: 'domain', domain: 'd' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'] },
      },
    ],
    finding: {
      id: 'R24',
      qemu: 'ends its walk at the entry and leaves the old mapping of it in place.',
      section: 'VT-d 7.1.3, LSS.2',
      requires: 'a request through an entry with a reserved bit set is blocked.',
    },
  },
  {
    id: 'vtd-table-loop',
    model: 'vtd',
    title: 'a table that points at itself ends where levels do',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      // The first page of the driver's tables that is never a table; its entries are zeros.
      { do: 'entry', domain: 'd', level: 3, iova: '0x40000000', is: 'raw', bits: '0x7ffff003' },
      { do: 'plug', who: 'nic' },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
    ],
  },
];
