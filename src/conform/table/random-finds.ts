import type { Scenario } from '../scenario.ts';

const EVERY_DEVICE = 'the command invalidates the translations of the domain, for every device in it.';

/** What random guests came upon. */
export const RANDOM_FINDS: readonly Scenario[] = [
  {
    id: 'vtd-second-plug-untold',
    model: 'vtd',
    title: 'a second device of a requester is plugged between a change of the tables and its invalidation',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'pci1', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'pci1' },
      { do: 'entry', domain: 'd', level: 1, iova: '0x2000', is: 'leaf', to: '0x100002000', access: 'rw' },
      { do: 'plug', who: 'pci2' },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x2000', size: '4K' },
      {
        do: 'expect',
        ledger: {
          pci1: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'],
          pci2: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'],
        },
        qemu: { ledger: { pci1: ['0x1000 4K -> 0x100001000 rw'] } },
      },
    ],
    finding: {
      id: 'R49',
      qemu: 'the replay to the second device records the change for both: the first never learns of it.',
      section: 'VT-d 6.5.2.3',
      requires: EVERY_DEVICE,
    },
  },
  {
    id: 'vtd-scalable-fault-root',
    model: 'vtd',
    title: 'scalable mode: an access without a root entry is recorded',
    machine: { mode: 'scalable' },
    steps: [
      { do: 'dma', access: 'r', iova: '0x9000' },
      { do: 'expect', faults: ['00:05.0 r 0x9000 SRT.2'], qemu: { faults: ['00:05.0 r 0x9000 LRT.2'] } },
    ],
    finding: {
      id: 'R46',
      qemu: 'records the condition of legacy mode.',
      section: 'VT-d 7.1.3, SRT.2',
      requires: 'scalable mode has fault conditions of its own: SRT.2 for a root entry that is not present.',
    },
  },
  {
    id: 'amdvi-second-plug-untold',
    model: 'amdvi',
    title: 'a second device of a requester is plugged between a change of the tables and its invalidation',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'pci1', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '8K', to: '0x100001000', access: 'rw', leaf: '4K' },
      { do: 'plug', who: 'pci1' },
      { do: 'invalidate', what: 'requester', who: 'pci1' },
      { do: 'entry', domain: 'd', level: 1, iova: '0x2000', is: 'nothing' },
      { do: 'plug', who: 'pci2' },
      { do: 'invalidate', what: 'requester', who: 'pci2' },
      { do: 'invalidate', what: 'pages', domain: 'd', iova: '0x2000', size: '4K' },
      {
        do: 'expect',
        ledger: { pci1: ['0x1000 4K -> 0x100001000 rw'], pci2: ['0x1000 4K -> 0x100001000 rw'] },
        qemu: { ledger: { pci1: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'] } },
      },
    ],
    finding: {
      id: 'R49',
      qemu: 'the replay to the second device forgets what the first was sent: it keeps the page that is gone.',
      section: 'AMD-Vi 2.4.3',
      requires: EVERY_DEVICE,
    },
  },
  {
    id: 'amdvi-page-in-interrupts',
    model: 'amdvi',
    title: 'a page inside the interrupt range is mapped, and the device goes to another domain',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'domain', name: 'empty' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0xfee00000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'expect', ledger: { nic: [] } },
      { do: 'detach', who: 'nic' },
      { do: 'attach', who: 'nic', domain: 'empty', qemu: { ends: 'amdvi_notify_iommu: Assertion' } },
      { do: 'expect', ledger: { nic: [] } },
    ],
    finding: {
      id: 'R50',
      qemu: 'ends on an assertion: the page, which no notifier covers, is still recorded, and smaller than the hole.',
      section: 'AMD-Vi 2.4.2',
      requires: 'after the command the IOMMU reads the device table entry anew.',
    },
  },
  {
    id: 'amdvi-attach-untold-all',
    model: 'amdvi',
    title: 'a device table entry is switched to translation, and INVALIDATE_IOMMU_ALL says so',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'domain', name: 'pt', kind: 'pass-through' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'attach', who: 'nic', domain: 'pt' },
      { do: 'plug', who: 'nic' },
      { do: 'invalidate', what: 'requester', who: 'nic' },
      { do: 'switch', who: 'nic', domain: 'd', tell: false },
      { do: 'invalidate', what: 'structures' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] },
        qemu: { ledger: { nic: 'RAM' } },
      },
    ],
    finding: {
      id: 'R51',
      qemu: 'looks at no device table entry: the device still reaches all of memory.',
      section: 'AMD-Vi 2.4.8',
      requires:
        'the command invalidates everything that the IOMMU has cached, device table entries included.',
    },
  },
];
