import type { Finding, Scenario, Step } from '../scenario.ts';

/** A device with one page in its domain. */
const ONE_PAGE: readonly Step[] = [
  { do: 'domain', name: 'd' },
  { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
  { do: 'attach', who: 'nic', domain: 'd' },
];

/** Two domains with a page each, the device in the first. */
const TWO_DOMAINS: readonly Step[] = [
  { do: 'domain', name: 'a' },
  { do: 'domain', name: 'b' },
  { do: 'map', domain: 'a', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
  { do: 'map', domain: 'b', iova: '0x2000', size: '4K', to: '0x100002000', access: 'rw' },
  { do: 'attach', who: 'nic', domain: 'a' },
];

/** What QEMU does with an entry that blocks. */
export const BLOCKED: Finding = {
  id: 'R28',
  qemu: 'takes Mode 0 for pass-through whatever IR and IW say: the blocked device reaches all of memory.',
  section: 'AMD-Vi 2.2.2.1, Mode',
  requires: '000b: translation is disabled, and access is controlled by IR and IW.',
};

/** Device table entries, and plugs. */
export const AMDVI_DEVICES: readonly Scenario[] = [
  {
    id: 'amdvi-plug',
    model: 'amdvi',
    title: 'a device is plugged whose device table entry translates already',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] },
        qemu: { ledger: { nic: 'RAM' } },
      },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
    ],
    finding: {
      id: 'R26',
      qemu: 'lets the device reach all of memory until its device table entry is invalidated.',
      section: 'AMD-Vi 2.2.2',
      requires: 'the device table entry of the requester says how its requests are translated.',
    },
  },
  {
    id: 'amdvi-attach',
    model: 'amdvi',
    title: 'the device table entry of a plugged device is switched to translation',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '8K', to: '0x100001000', access: 'rw', leaf: '4K' },
      { do: 'domain', name: 'pt', kind: 'pass-through' },
      { do: 'attach', who: 'nic', domain: 'pt' },
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      {
        do: 'expect',
        ledger: { nic: 'RAM' },
        messages: { nic: { maps: 2, unmaps: 0 } },
        qemu: { messages: { nic: { maps: 6, unmaps: 0 } } },
      },
      { do: 'switch', who: 'nic', domain: 'd' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'] },
        messages: { nic: { maps: 2, unmaps: 2 } },
        qemu: { messages: { nic: { maps: 2, unmaps: 50 } } },
      },
    ],
    finding: {
      id: 'R7',
      qemu: 'sends 50 unmaps of power-of-two pieces of the address space before the maps.',
      section: 'vfio-user, VFIO_USER_DMA_UNMAP',
      requires: 'an unmap names a range that was mapped.',
    },
  },
  {
    id: 'amdvi-entry-rewritten',
    model: 'amdvi',
    title: 'the device table entry of a plugged device is written again, and nothing in it has changed',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'forget', who: 'nic' },
      { do: 'switch', who: 'nic', domain: 'd' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] },
        messages: { nic: { maps: 0, unmaps: 0 } },
      },
    ],
  },
  {
    id: 'amdvi-entry-blocked',
    model: 'amdvi',
    title: 'a device is blocked for a moment and gets its domain back, as Linux does it',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'forget', who: 'nic' },
      { do: 'detach', who: 'nic' },
      { do: 'attach', who: 'nic', domain: 'd' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] },
        messages: { nic: { maps: 1, unmaps: 1 } },
        qemu: { messages: { nic: { maps: 7, unmaps: 96 } } },
      },
    ],
    finding: {
      id: 'R14',
      qemu: 'maps all of memory for the moment in which the device is blocked, for it takes Mode 0 for pass-through.',
      section: 'AMD-Vi 2.2.2.1, Mode',
      requires: '000b: translation is disabled, and access is controlled by IR and IW.',
    },
  },
  {
    id: 'amdvi-switch',
    model: 'amdvi',
    title: 'a device moves to another domain and back',
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'switch', who: 'nic', domain: 'b' },
      {
        do: 'expect',
        ledger: { nic: ['0x2000 4K -> 0x100002000 rw'] },
        qemu: { ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
      },
      { do: 'invalidate', what: 'domain', domain: 'b' },
      { do: 'expect', ledger: { nic: ['0x2000 4K -> 0x100002000 rw'] } },
      { do: 'switch', who: 'nic', domain: 'a' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] },
        qemu: { ledger: { nic: ['0x2000 4K -> 0x100002000 rw'] } },
      },
    ],
    finding: {
      id: 'R27',
      qemu: 'does not look at the new tables: the device keeps the mappings of the domain that it has left, until pages of the new one are invalidated.',
      section: 'AMD-Vi 2.4.2',
      requires: 'after the command the IOMMU reads the device table entry anew.',
    },
  },
  {
    id: 'amdvi-switch-untold',
    model: 'amdvi',
    title: 'a device table entry is rewritten, and takes effect when it is invalidated',
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'switch', who: 'nic', domain: 'b', tell: false },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      {
        do: 'expect',
        ledger: { nic: ['0x2000 4K -> 0x100002000 rw'] },
        qemu: { ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
      },
    ],
    finding: {
      id: 'R27',
      qemu: 'does not look at the new tables: the device keeps the mappings of the domain that it has left, until pages of the new one are invalidated.',
      section: 'AMD-Vi 2.4.2',
      requires: 'after the command the IOMMU reads the device table entry anew.',
    },
  },
  {
    id: 'amdvi-detach',
    model: 'amdvi',
    title: 'a device is detached and attached again',
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'detach', who: 'nic' },
      { do: 'expect', ledger: { nic: [] }, qemu: { ledger: { nic: 'RAM' } } },
      { do: 'attach', who: 'nic', domain: 'b' },
      { do: 'expect', ledger: { nic: ['0x2000 4K -> 0x100002000 rw'] } },
    ],
    finding: BLOCKED,
  },
  {
    id: 'amdvi-two-devices',
    model: 'amdvi',
    title: 'two devices in one domain follow together, and one goes',
    steps: [
      ...ONE_PAGE,
      { do: 'attach', who: 'disk', domain: 'd' },
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'plug', who: 'disk' },
      { do: 'invalidate', what: 'requester', who: 'disk' },
      { do: 'map', domain: 'd', iova: '0x2000', size: '4K', to: '0x100002000', access: 'rw' },
      {
        do: 'expect',
        ledger: {
          nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'],
          disk: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'],
        },
      },
      { do: 'unplug', who: 'nic' },
      { do: 'unmap', domain: 'd', iova: '0x1000', size: '4K' },
      { do: 'expect', ledger: { disk: ['0x2000 4K -> 0x100002000 rw'] } },
    ],
  },
  {
    id: 'amdvi-bridge',
    model: 'amdvi',
    title: 'two devices behind one PCIe-to-PCI bridge are one requester',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'pci1', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'pci1' },
      { do: 'invalidate', what: 'requester', who: 'pci1' },
      { do: 'plug', who: 'pci2' },
      { do: 'invalidate', what: 'requester', who: 'pci2' },
      { do: 'map', domain: 'd', iova: '0x2000', size: '4K', to: '0x100002000', access: 'rw' },
      {
        do: 'expect',
        ledger: {
          pci1: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'],
          pci2: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'],
        },
      },
    ],
  },
  {
    id: 'amdvi-plug-blocked',
    model: 'amdvi',
    title: 'a device is plugged whose device table entry blocks it',
    steps: [
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'expect', ledger: { nic: [] }, qemu: { ledger: { nic: 'RAM' } } },
    ],
    finding: BLOCKED,
  },
  {
    id: 'amdvi-spoilt',
    model: 'amdvi',
    title: 'a device table entry gets a reserved bit, which counts when it is invalidated',
    steps: [
      ...ONE_PAGE,
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'spoil', who: 'nic' },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'expect', ledger: { nic: [] } },
    ],
  },
];
