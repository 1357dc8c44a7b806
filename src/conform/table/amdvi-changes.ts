import type { Scenario, Step } from '../scenario.ts';

/** A device with one leaf of 2 MiB, plugged. */
const ONE_LARGE_LEAF: readonly Step[] = [
  { do: 'domain', name: 'd' },
  { do: 'attach', who: 'nic', domain: 'd' },
  { do: 'map', domain: 'd', iova: '0x400000', size: '2M', to: '0x100400000', access: 'rw', leaf: '2M' },
  { do: 'plug', who: 'nic' },
  { do: 'invalidate', what: 'requester', who: 'nic' },
];

/** A device with two pages in one table, plugged. */
const TWO_PAGES: readonly Step[] = [
  { do: 'domain', name: 'd' },
  { do: 'attach', who: 'nic', domain: 'd' },
  { do: 'map', domain: 'd', iova: '0x400000', size: '8K', to: '0x100001000', access: 'rw', leaf: '4K' },
  { do: 'plug', who: 'nic' },
  { do: 'invalidate', what: 'requester', who: 'nic' },
];

const RULE = {
  section: 'AMD-Vi 2.4.3',
  requires:
    'the command invalidates every translation of the domain that has a page in the range, large ones as a whole; the tables are read anew.',
};

/** Tables that change, and commands that say so. */
export const AMDVI_CHANGES: readonly Scenario[] = [
  {
    id: 'amdvi-table-gone',
    model: 'amdvi',
    title: 'a table with two pages is taken away, and one of them is invalidated',
    steps: [
      ...TWO_PAGES,
      { do: 'entry', domain: 'd', level: 2, iova: '0x400000', is: 'nothing' },
      {
        do: 'invalidate',
        what: 'pages',
        domain: 'd',
        iova: '0x400000',
        size: '4K',
        qemu: { ends: 'amdvi_notify_iommu: Assertion' },
      },
      { do: 'invalidate', what: 'domain', domain: 'd' },
      { do: 'expect', ledger: { nic: [] } },
    ],
    finding: {
      id: 'R6',
      qemu: 'ends on an assertion: what is not mapped any more is larger than what was.',
      ...RULE,
    },
  },
  {
    id: 'amdvi-table-gone-whole',
    model: 'amdvi',
    title: 'a table with two pages is taken away, and all that it covered is invalidated',
    steps: [
      ...TWO_PAGES,
      { do: 'entry', domain: 'd', level: 2, iova: '0x400000', is: 'nothing' },
      {
        do: 'invalidate',
        what: 'pages',
        domain: 'd',
        iova: '0x400000',
        size: '2M',
        qemu: { ends: 'amdvi_notify_iommu: Assertion' },
      },
      { do: 'expect', ledger: { nic: [] } },
    ],
    finding: {
      id: 'R6',
      qemu: 'ends on an assertion: what is not mapped any more is larger than what was.',
      ...RULE,
    },
  },
  {
    id: 'amdvi-split-narrow',
    model: 'amdvi',
    title: 'a leaf of 2 MiB becomes a table with one page, and that page is invalidated',
    steps: [
      ...ONE_LARGE_LEAF,
      { do: 'entry', domain: 'd', level: 2, iova: '0x400000', is: 'table' },
      { do: 'entry', domain: 'd', level: 1, iova: '0x405000', is: 'leaf', to: '0x100009000', access: 'rw' },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x405000', size: '4K' },
      {
        do: 'expect',
        ledger: { nic: ['0x405000 4K -> 0x100009000 rw'] },
        qemu: { ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] } },
      },
    ],
    finding: {
      id: 'R29',
      qemu: 'keeps the leaf that is no longer there and maps nothing.',
      ...RULE,
    },
  },
  {
    id: 'amdvi-split-domain',
    model: 'amdvi',
    title: 'a leaf of 2 MiB becomes a table with one page, and the domain is invalidated',
    steps: [
      ...ONE_LARGE_LEAF,
      { do: 'entry', domain: 'd', level: 2, iova: '0x400000', is: 'table' },
      { do: 'entry', domain: 'd', level: 1, iova: '0x405000', is: 'leaf', to: '0x100009000', access: 'rw' },
      { do: 'invalidate', what: 'domain', domain: 'd' },
      { do: 'expect', ledger: { nic: ['0x405000 4K -> 0x100009000 rw'] }, qemu: { ledger: { nic: [] } } },
      { do: 'invalidate', what: 'domain', domain: 'd' },
      { do: 'expect', ledger: { nic: ['0x405000 4K -> 0x100009000 rw'] } },
    ],
    finding: {
      id: 'R29',
      qemu: 'unmaps the leaf and does not map the page that took its place.',
      ...RULE,
    },
  },
  {
    id: 'amdvi-merge',
    model: 'amdvi',
    title: 'a table with pages gives way to a leaf of 2 MiB, and the whole of it is invalidated',
    steps: [
      ...TWO_PAGES,
      { do: 'entry', domain: 'd', level: 2, iova: '0x400000', is: 'leaf', to: '0x100400000', access: 'rw' },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x400000', size: '2M' },
      {
        do: 'expect',
        ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] },
        qemu: { ledger: { nic: ['0x400000 4K -> 0x100001000 rw', '0x401000 4K -> 0x100002000 rw'] } },
      },
    ],
    finding: {
      id: 'R29',
      qemu: 'keeps the pages that are no longer there.',
      ...RULE,
    },
  },
  {
    id: 'amdvi-sized-leaf-gone',
    model: 'amdvi',
    title: 'a leaf of 64 KiB is cleared, and one page of it is invalidated',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x10000', size: '64K', to: '0x100010000', access: 'rw', leaf: '64K' },
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      ...Array.from({ length: 16 }, (_, i): Step => {
        const iova = `0x${(0x10000 + i * 0x1000).toString(16)}`;
        return { do: 'entry', domain: 'd', level: 1, iova, is: 'nothing' };
      }),
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x15000', size: '4K' },
      { do: 'expect', ledger: { nic: [] }, qemu: { ledger: { nic: ['0x10000 64K -> 0x100010000 rw'] } } },
    ],
    finding: {
      id: 'R29',
      qemu: 'keeps the leaf that is no longer there.',
      ...RULE,
    },
  },
  {
    id: 'amdvi-less-access',
    model: 'amdvi',
    title: 'a page that may be written may only be read from now on',
    steps: [
      ...TWO_PAGES,
      { do: 'remap', domain: 'd', iova: '0x400000', size: '4K', access: 'r' },
      {
        do: 'expect',
        ledger: { nic: ['0x400000 4K -> 0x100001000 r', '0x401000 4K -> 0x100002000 rw'] },
        qemu: { ledger: { nic: ['0x400000 4K -> 0x100001000 rw', '0x401000 4K -> 0x100002000 rw'] } },
      },
    ],
    finding: {
      id: 'R30',
      qemu: 'does nothing: the device may still write.',
      ...RULE,
    },
  },
  {
    id: 'amdvi-other-target',
    model: 'amdvi',
    title: 'a page leads elsewhere from now on',
    steps: [
      ...TWO_PAGES,
      { do: 'remap', domain: 'd', iova: '0x401000', size: '4K', to: '0x10000a000', access: 'rw' },
      {
        do: 'expect',
        ledger: { nic: ['0x400000 4K -> 0x100001000 rw', '0x401000 4K -> 0x10000a000 rw'] },
        qemu: { ledger: { nic: ['0x400000 4K -> 0x100001000 rw', '0x401000 4K -> 0x100002000 rw'] } },
      },
    ],
    finding: {
      id: 'R30',
      qemu: 'does nothing: the device still reaches the old page, which the guest may use for something else.',
      ...RULE,
    },
  },
  {
    id: 'amdvi-too-wide',
    model: 'amdvi',
    title: 'one page of two is cleared, and everything is invalidated',
    steps: [
      ...TWO_PAGES,
      { do: 'entry', domain: 'd', level: 1, iova: '0x400000', is: 'nothing' },
      { do: 'invalidate', what: 'all' },
      { do: 'expect', ledger: { nic: ['0x401000 4K -> 0x100002000 rw'] } },
    ],
  },
  {
    id: 'amdvi-unchanged',
    model: 'amdvi',
    title: 'everything is invalidated, and nothing has changed',
    steps: [
      ...TWO_PAGES,
      { do: 'forget', who: 'nic' },
      { do: 'invalidate', what: 'domain', domain: 'd' },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x400000', size: '2M' },
      { do: 'invalidate', what: 'all' },
      {
        do: 'expect',
        ledger: { nic: ['0x400000 4K -> 0x100001000 rw', '0x401000 4K -> 0x100002000 rw'] },
        messages: { nic: { maps: 0, unmaps: 0 } },
      },
    ],
  },
  {
    id: 'amdvi-too-narrow',
    model: 'amdvi',
    title: 'two pages are cleared and one is invalidated: the other may stay until it is',
    steps: [
      ...TWO_PAGES,
      { do: 'entry', domain: 'd', level: 1, iova: '0x400000', is: 'nothing' },
      { do: 'entry', domain: 'd', level: 1, iova: '0x401000', is: 'nothing' },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x401000', size: '4K' },
      { do: 'expect', ledger: { nic: ['0x400000 4K -> 0x100001000 rw'] } },
      { do: 'invalidate', what: 'domain', domain: 'd' },
      { do: 'expect', ledger: { nic: [] } },
    ],
  },
];
